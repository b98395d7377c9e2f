/* The numbers at /metrics, as OpenMetrics 1.0 text. Counters run since the service opened and count durable events only; gauges are asked
 * of whoever knows when somebody looks. Labels are few and bounded: no job, owner, key or address is ever one. Thread: loop. */
#pragma once
#include "server/service_own.h"

#define METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

struct metrics {
    uint64_t answers[6];                      /* HTTP answers begun, by the first digit of their status */
    uint64_t jobs_created, jobs_ended[JOB_STATUS_COUNT];
    uint64_t items_done, items_failed, items_skipped, items_retried;
    uint64_t records_done, records_failed;    /* failed: or dropped */
    uint64_t crashes, timeouts;               /* workers that ended, or were ended, over an item */
};

/* A durable event. */
void metrics_seen(struct metrics *metrics, const struct job *job, const struct row *row);
void metrics_render(struct service *service, struct buf *ret);
