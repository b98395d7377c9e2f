/* The words for UTF-8, numbers and times against plain readings of the papers: RFC 3629's table of well-formed sequences, digit by digit, day by day. */
#include "fuzz.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>

/* RFC 3629 §4, row by row: how many bytes the character at the front has; 0 = it is none. */
static size_t well_formed(const unsigned char *at, size_t count)
{
    static const struct { unsigned char first[2], second[2]; size_t length; } rows[] = {
        {{0x00, 0x7f}, {0, 0}, 1},       {{0xc2, 0xdf}, {0x80, 0xbf}, 2}, {{0xe0, 0xe0}, {0xa0, 0xbf}, 3},
        {{0xe1, 0xec}, {0x80, 0xbf}, 3}, {{0xed, 0xed}, {0x80, 0x9f}, 3}, {{0xee, 0xef}, {0x80, 0xbf}, 3},
        {{0xf0, 0xf0}, {0x90, 0xbf}, 4}, {{0xf1, 0xf3}, {0x80, 0xbf}, 4}, {{0xf4, 0xf4}, {0x80, 0x8f}, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (at[0] < rows[i].first[0] || at[0] > rows[i].first[1])
            continue;
        if (count < rows[i].length)
            return 0;
        for (size_t k = 1; k < rows[i].length; k++)
            if (at[k] < (k == 1 ? rows[i].second[0] : 0x80) || at[k] > (k == 1 ? rows[i].second[1] : 0xbf))
                return 0;
        return rows[i].length;
    }
    return 0;
}

static bool all_well_formed(struct bytes text)
{
    while (text.count) {
        size_t length = well_formed((const unsigned char *)text.at, text.count);
        if (!length)
            return false;
        text = (struct bytes){text.at + length, text.count - length};
    }
    return true;
}

static void check_characters(struct bytes text)
{
    struct buf one BUF_OWNED;
    buf_init(&one, 8);
    while (text.count) {
        size_t count, want = well_formed((const unsigned char *)text.at, text.count);
        int32_t code = text_decode(text, &count);
        fuzz_must((code >= 0) == (want > 0), "a character is one where the table says so");
        fuzz_must(count == (want ? want : 1), "it is as long as the table says");
        buf_clear(&one);
        if (code >= 0) {
            fuzz_must(text_encode(&one, (uint32_t)code), "a character is written");
            fuzz_must(bytes_equal(buf_bytes(&one), (struct bytes){text.at, count}), "and comes out as it went in");
        }
        text = (struct bytes){text.at + count, text.count - count};
    }
}

static void check_clean(struct bytes text, size_t max)
{
    struct buf clean BUF_OWNED, again BUF_OWNED;
    buf_init(&clean, text.count * 3);
    buf_init(&again, text.count * 3);
    fuzz_must(text_clean(&clean, text), "three times the room is enough");
    fuzz_must(all_well_formed(buf_bytes(&clean)), "what was cleaned is UTF-8");
    for (size_t i = 0; i < clean.count; i++)
        fuzz_must((unsigned char)clean.at[i] >= ' ' && clean.at[i] != 0x7f, "without control characters");
    fuzz_must(text_clean(&again, buf_bytes(&clean)) && bytes_equal(buf_bytes(&clean), buf_bytes(&again)), "cleaning twice changes nothing");
    size_t cut = text_cut(text, max);
    fuzz_must(cut <= max && cut <= text.count, "a cut is not beyond what was asked");
    if (all_well_formed(text)) {
        fuzz_must(all_well_formed((struct bytes){text.at, cut}), "a cut text is UTF-8");
        fuzz_must(cut == text.count || cut + 4 > max, "no whole character is lost");
    }
}

static bool reads_as(struct bytes text, bool sign, uint64_t most, uint64_t *ret)
{
    *ret = 0;
    if (sign)
        text = (struct bytes){text.at + 1, text.count - 1};
    for (size_t i = 0; i < text.count; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        unsigned __int128 next = (unsigned __int128)*ret * 10 + (unsigned)(text.at[i] - '0');
        if (next > most)
            return false;
        *ret = (uint64_t)next;
    }
    return text.count > 0;
}

static void check_numbers(struct bytes text)
{
    uint64_t have, want;
    int64_t signed_have;
    bool minus = text.count && text.at[0] == '-';
    bool good = reads_as(text, false, UINT64_MAX, &want);
    fuzz_must(bytes_to_u64(text, &have) == good && (!good || have == want), "digits are a number, and nothing else is");
    good = reads_as(text, minus, minus ? (uint64_t)INT64_MAX + 1 : INT64_MAX, &want);
    fuzz_must(bytes_to_i64(text, &signed_have) == good, "and the same with a minus");
    fuzz_must(!good || (uint64_t)signed_have == (minus ? 0 - want : want), "of that value");
}

/* By counting days: the date that is told must come to the day that it was made of. */
static void check_time(int64_t us)
{
    char text[TEXT_TIME_SIZE];
    text_time(us, text);
    int year, month, day, hour, minute, second, ms;
    fuzz_must(strlen(text) == 24 && sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &year, &month, &day, &hour, &minute, &second, &ms) == 7, "a time has its form");
    int64_t y = year - (month <= 2), era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    fuzz_must(((days * 24 + hour) * 60 + minute) * 60 + second == us / 1000000 && ms == us / 1000 % 1000, "a time is that time");
}

FUZZ_TARGET(text)
{
    size_t max = fuzz_byte(&input);
    fuzz_must(text_is_utf8(input) == all_well_formed(input), "UTF-8 is what the table says");
    check_characters(input);
    check_clean(input, max);
    check_numbers(input);
    check_time((int64_t)(fuzz_number(&input, 8) % 253402300800000000u));
}
