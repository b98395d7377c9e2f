/* How long things took: counts by upper bound, and the sum. One thread adds, any thread reads: each number is whole, and all of them
 * together are as of about now. Zeroed = empty. */
#pragma once
#include <stdint.h>

enum { HISTOGRAM_BOUNDS = 18 };

struct histogram {
    uint64_t counts[HISTOGRAM_BOUNDS + 1];     /* the last: above every bound */
    uint64_t sum_us;
};

extern const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS];     /* inclusive */

void histogram_add(struct histogram *histogram, int64_t us);
struct histogram histogram_now(const struct histogram *histogram);
