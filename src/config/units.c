#include "config/units.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit times[] = {
    {"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"min", 60000000}, {"h", 3600000000}, {"d", 86400000000}, {0},
};
static const struct unit sizes[] = {
    {"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1000}, {"kB", 1000}, {"MB", 1000000}, {"GB", 1000000000}, {0},
};
static const struct unit counts[] = {{"", 1}, {"k", 1000}, {"K", 1000}, {"M", 1000000}, {"G", 1000000000}, {0}};
static const struct unit periods[] = {
    {"s", 1000000}, {"sec", 1000000}, {"second", 1000000}, {"m", 60000000}, {"min", 60000000}, {"minute", 60000000}, {"h", 3600000000},
    {"hour", 3600000000}, {"d", 86400000000}, {"day", 86400000000}, {0},
};

static size_t digits(struct bytes text)
{
    size_t count = 0;
    while (count < text.count && text.at[count] >= '0' && text.at[count] <= '9')
        count++;
    return count;
}

static bool factor_of(const struct unit *units, struct bytes name, int64_t *ret)
{
    for (; units->name; units++)
        if (bytes_equal(name, bytes_of(units->name))) {
            *ret = units->factor;
            return true;
        }
    return false;
}

/* Digits, perhaps a fraction, then a unit: a whole number of the smallest. */
static bool quantity(struct bytes text, const struct unit *units, int64_t *ret)
{
    uint64_t whole, part = 0;
    int64_t scale = 1, factor, fraction;
    size_t count = digits(text), more = 0;
    if (!count || !bytes_to_u64((struct bytes){text.at, count}, &whole) || whole > INT64_MAX)
        return false;
    if (count < text.count && text.at[count] == '.') {
        struct bytes rest = {text.at + count + 1, text.count - count - 1};
        more = digits(rest);
        if (!more || more > 9)
            return false;
        bytes_to_u64((struct bytes){rest.at, more}, &part);
        for (size_t i = 0; i < more; i++)
            scale *= 10;
        more++;
    }
    if (!factor_of(units, (struct bytes){text.at + count + more, text.count - count - more}, &factor))
        return false;
    if (__builtin_mul_overflow((int64_t)part, factor, &fraction) || fraction % scale)
        return false;
    int64_t value;
    if (__builtin_mul_overflow((int64_t)whole, factor, &value) || __builtin_add_overflow(value, fraction / scale, &value))
        return false;
    *ret = value;
    return true;
}

bool units_time(struct bytes text, int64_t *ret_us)
{
    if (bytes_equal(text, BYTES("0"))) {
        *ret_us = 0;
        return true;
    }
    return quantity(text, times, ret_us);
}

/* Where ".." stands, or text.count. */
static size_t dots(struct bytes text)
{
    for (size_t i = 0; i + 1 < text.count; i++)
        if (text.at[i] == '.' && text.at[i + 1] == '.')
            return i;
    return text.count;
}

bool units_time_range(struct bytes text, int64_t ret_us[2])
{
    size_t at = dots(text);
    int64_t ends[2];
    if (at == text.count) {
        if (!units_time(text, &ends[0]))
            return false;
        ends[1] = ends[0];
    } else if (!units_time((struct bytes){text.at, at}, &ends[0]) ||
               !units_time((struct bytes){text.at + at + 2, text.count - at - 2}, &ends[1]) || ends[1] < ends[0]) {
        return false;
    }
    ret_us[0] = ends[0];
    ret_us[1] = ends[1];
    return true;
}

bool units_size(struct bytes text, int64_t *ret_bytes)
{
    return quantity(text, sizes, ret_bytes);
}

bool units_count(struct bytes text, int64_t *ret)
{
    return quantity(text, counts, ret);
}

bool units_rate(struct bytes text, int64_t *ret_count, int64_t *ret_per_us)
{
    struct bytes rest = text, count = bytes_cut(&rest, '/');
    int64_t how_many, per_us;
    if (count.count == text.count || !units_count(count, &how_many) || !how_many)
        return false;
    if (!factor_of(periods, rest, &per_us) && !units_time(rest, &per_us))
        return false;
    if (!per_us)
        return false;
    *ret_count = how_many;
    *ret_per_us = per_us;
    return true;
}

bool units_number(struct bytes text, double *ret)
{
    char copy[64], *end;
    struct bytes figures = text.count && text.at[0] == '-' ? (struct bytes){text.at + 1, text.count - 1} : text;
    size_t count = digits(figures);
    if (!count || text.count >= sizeof copy || (count > 1 && figures.at[0] == '0'))
        return false;
    for (size_t i = count; i < figures.count; i++)
        if (!memchr("0123456789.eE+-", figures.at[i], 15))
            return false;
    memcpy(copy, text.at, text.count);
    copy[text.count] = 0;
    double value = strtod(copy, &end);
    if (end != copy + text.count || end[-1] == '.' || !isfinite(value))
        return false;
    *ret = value;
    return true;
}

bool units_range(struct bytes text, double ret[2])
{
    size_t at = dots(text);
    double ends[2];
    if (at == text.count || !units_number((struct bytes){text.at, at}, &ends[0]) ||
        !units_number((struct bytes){text.at + at + 2, text.count - at - 2}, &ends[1]) || ends[1] < ends[0])
        return false;
    ret[0] = ends[0];
    ret[1] = ends[1];
    return true;
}
