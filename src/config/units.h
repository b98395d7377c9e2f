/* Quantities as people write them in pipeline files: 500ms, 10MiB, 40M, 500/min, 1s..30s. Each function answers false, and leaves its output alone,
 * on anything else, on an overflow and on a negative number. Pure. */
#pragma once
#include "base/bytes.h"

/* "500us" "500ms" "30s" "5m" "1h" "14d", fractions too ("1.5s"); a unit is needed but for 0. */
bool units_time(struct bytes text, int64_t *ret_us);
/* "1s..30s", or one time for both ends; the second must not be less. */
bool units_time_range(struct bytes text, int64_t ret_us[2]);
/* "1000", "64KiB" "10MiB" "1GiB" (powers of 1024), "64KB" "10MB" "1GB" (of 1000). */
bool units_size(struct bytes text, int64_t *ret_bytes);
/* "50", "200k", "40M", "2G" (of 1000), fractions too ("1.5k") where a whole number comes of it. */
bool units_count(struct bytes text, int64_t *ret);
/* "500/min", "10/s", "200k/h", "5/10s": how many in which time. */
bool units_rate(struct bytes text, int64_t *ret_count, int64_t *ret_per_us);
/* "1..10", "-1..1", "0.5..1": both ends as numbers. */
bool units_range(struct bytes text, double ret[2]);
/* A number as JSON writes it, without a unit. */
bool units_number(struct bytes text, double *ret);
