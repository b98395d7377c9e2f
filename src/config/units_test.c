#include "config/units.h"
#include "base/test.h"

static int64_t time_of(const char *text)
{
    int64_t us = -1;
    return units_time(bytes_of(text), &us) ? us : -1;
}

static int64_t size_of(const char *text)
{
    int64_t bytes = -1;
    return units_size(bytes_of(text), &bytes) ? bytes : -1;
}

static int64_t count_of(const char *text)
{
    int64_t count = -1;
    return units_count(bytes_of(text), &count) ? count : -1;
}

TEST(a_time_has_a_unit)
{
    CHECK_INT(time_of("0"), 0);
    CHECK_INT(time_of("250us"), 250);
    CHECK_INT(time_of("500ms"), 500000);
    CHECK_INT(time_of("30s"), 30000000);
    CHECK_INT(time_of("1.5s"), 1500000);
    CHECK_INT(time_of("5m"), 300000000);
    CHECK_INT(time_of("1h"), 3600000000);
    CHECK_INT(time_of("14d"), 14 * 86400000000);
    CHECK_INT(time_of("9223372036854.775807s"), INT64_MAX);
    static const char *const bad[] = {"", "5", "s", "-5s", "5 s", "5x", "5ss", "1.s", ".5s", "0.0000001s", "9223372036854775807s", "1e3s", "5s ",
                                      "99999999999999999999s", "18446744073709551615s", "0.999999999d", "9223372036854.775808s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_note("%s", bad[i]);
        CHECK_INT(time_of(bad[i]), -1);
    }
}

TEST(a_range_of_times_rises)
{
    int64_t us[2] = {-1, -1};
    CHECK(units_time_range(BYTES("500ms..8s"), us));
    CHECK_INT(us[0], 500000);
    CHECK_INT(us[1], 8000000);
    CHECK(units_time_range(BYTES("2s"), us));
    CHECK_INT(us[0], us[1]);
    CHECK(!units_time_range(BYTES("8s..500ms"), us));
    CHECK(!units_time_range(BYTES("8s.."), us));
    CHECK(!units_time_range(BYTES("..8s"), us));
    CHECK(!units_time_range(BYTES("1s...8s"), us));
    CHECK_INT(us[0], 2000000);
}

TEST(sizes_and_counts_have_units_of_their_own)
{
    CHECK_INT(size_of("1000"), 1000);
    CHECK_INT(size_of("10MiB"), 10 << 20);
    CHECK_INT(size_of("1.5KiB"), 1536);
    CHECK_INT(size_of("10MB"), 10000000);
    CHECK_INT(size_of("10M"), -1);
    CHECK_INT(size_of("10 MiB"), -1);
    CHECK_INT(count_of("40M"), 40000000);
    CHECK_INT(count_of("200k"), 200000);
    CHECK_INT(count_of("1.5k"), 1500);
    CHECK_INT(count_of("1.5"), -1);
    CHECK_INT(count_of("40MiB"), -1);
    CHECK_INT(count_of("10000000000G"), -1);
}

TEST(a_rate_is_so_many_in_a_time)
{
    int64_t count = 0, per_us = 0;
    CHECK(units_rate(BYTES("500/min"), &count, &per_us));
    CHECK_INT(count, 500);
    CHECK_INT(per_us, 60000000);
    CHECK(units_rate(BYTES("200k/h"), &count, &per_us));
    CHECK_INT(count, 200000);
    CHECK(units_rate(BYTES("5/10s"), &count, &per_us));
    CHECK_INT(per_us, 10000000);
    CHECK(!units_rate(BYTES("500"), &count, &per_us));
    CHECK(!units_rate(BYTES("0/s"), &count, &per_us));
    CHECK(!units_rate(BYTES("5/0"), &count, &per_us));
    CHECK(!units_rate(BYTES("5/week"), &count, &per_us));
    CHECK(!units_rate(BYTES("/s"), &count, &per_us));
}

TEST(a_range_of_numbers_may_be_negative_or_broken)
{
    double ends[2];
    CHECK(units_range(BYTES("1..10"), ends) && ends[0] == 1 && ends[1] == 10);
    CHECK(units_range(BYTES("-1..0.5"), ends) && ends[0] == -1 && ends[1] == 0.5);
    CHECK(!units_range(BYTES("10..1"), ends));
    CHECK(!units_range(BYTES("1..x"), ends));
    CHECK(!units_range(BYTES("1"), ends));
    double number;
    CHECK(units_number(BYTES("-1.5e3"), &number) && number == -1500);
    CHECK(!units_number(BYTES("nan"), &number) && !units_number(BYTES("0x10"), &number) && !units_number(BYTES("01"), &number));
    CHECK(!units_number(BYTES("1e999"), &number) && !units_number(BYTES("1."), &number) && !units_number(BYTES(""), &number));
}
