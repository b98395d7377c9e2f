#include "base/histogram.h"

const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000,
                                                       2500000, 5000000, 10000000, 60000000, 300000000};

/* There is one writer, so a plain load and store do; they are atomic for the readers' sake. */
static void add(uint64_t *at, uint64_t more)
{
    __atomic_store_n(at, __atomic_load_n(at, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}

void histogram_add(struct histogram *histogram, int64_t us)
{
    int at = 0;
    while (at < HISTOGRAM_BOUNDS && us > histogram_bounds_us[at])
        at++;
    add(&histogram->counts[at], 1);
    add(&histogram->sum_us, us > 0 ? (uint64_t)us : 0);
}

struct histogram histogram_now(const struct histogram *histogram)
{
    struct histogram now;
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++)
        now.counts[i] = __atomic_load_n(&histogram->counts[i], __ATOMIC_RELAXED);
    now.sum_us = __atomic_load_n(&histogram->sum_us, __ATOMIC_RELAXED);
    return now;
}
