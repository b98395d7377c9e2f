#include "base/histogram.h"
#include "base/test.h"

TEST(a_time_is_counted_under_the_first_bound_that_is_not_below_it)
{
    struct histogram histogram = {0};
    histogram_add(&histogram, 0);
    histogram_add(&histogram, 100);
    histogram_add(&histogram, 101);
    histogram_add(&histogram, 300000000);
    histogram_add(&histogram, 300000001);
    histogram_add(&histogram, -5);
    struct histogram now = histogram_now(&histogram);
    CHECK(now.counts[0] == 3 && now.counts[1] == 1 && now.counts[HISTOGRAM_BOUNDS - 1] == 1 && now.counts[HISTOGRAM_BOUNDS] == 1);
    CHECK(now.sum_us == 600000202);
    for (int i = 1; i < HISTOGRAM_BOUNDS; i++)
        CHECK(histogram_bounds_us[i] > histogram_bounds_us[i - 1]);
}
