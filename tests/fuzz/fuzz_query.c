/* Query strings, the place that a reader comes back to (Last-Event-ID, ?after=), and quantities. A query of pairs that was written by the rules is read as
 * it was written; any other is read alike by all that read it. */
#include "fuzz.h"

#include "base/text.h"
#include "config/units.h"
#include "http/query.h"
#include "readers/frame.h"
#include "server/stream/whence.h"

#include <inttypes.h>
#include <stdio.h>

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;
    return at && (c < 'A' || c > 'F' ? strchr(digits, c) != NULL : true) ? (int)(at - digits) : -1;
}

/* Percent-decoding by the letter. */
static bool decoded(struct bytes raw, struct buf *ret)
{
    for (size_t i = 0; i < raw.count; i++) {
        char c = raw.at[i] == '+' ? ' ' : raw.at[i];
        if (raw.at[i] == '%') {
            if (i + 2 >= raw.count || hex_digit(raw.at[i + 1]) < 0 || hex_digit(raw.at[i + 2]) < 0)
                return false;
            c = (char)(hex_digit(raw.at[i + 1]) << 4 | hex_digit(raw.at[i + 2]));
            i += 2;
        }
        if (!c)
            return false;
        buf_byte(ret, c);
    }
    return true;
}

static void check_get(struct bytes query, struct bytes name, struct bytes raw)
{
    struct buf want BUF_OWNED, have BUF_OWNED, key BUF_OWNED;
    buf_init(&want, 1 << 16);
    buf_init(&have, 1 << 16);
    buf_init(&key, 1 << 16);
    if (!decoded(name, &key))
        return;
    bool good = decoded(raw, &want);
    int answer = query_get(query, buf_z(&key), &have);
    fuzz_must(answer == (good ? 0 : -1), "the first field of a name is the one that is read");
    fuzz_must(!good || bytes_equal(buf_bytes(&have), buf_bytes(&want)), "and its value is what it says");
    char text[16];
    answer = query_text(query, buf_z(&key), text, sizeof text);
    if (!answer)
        fuzz_must(good && bytes_equal(bytes_of(text), buf_bytes(&want)), "a text is that value");
    int64_t number = 7, same;
    answer = query_int(query, buf_z(&key), &number);
    fuzz_must(answer == 0 || number == 7, "what is no number leaves the number alone");
    fuzz_must(answer != 0 || (bytes_to_i64(buf_bytes(&want), &same) && same == number), "a number is the value's");
}

static void check_query(struct bytes query)
{
    struct bytes rest = query, name, value;
    struct buf first BUF_OWNED, key BUF_OWNED;
    buf_init(&first, 1 << 16);
    buf_init(&key, 1 << 16);
    if (query_next(&rest, &name, &value)) {
        fuzz_must(name.at >= query.at && name.at + name.count <= query.at + query.count, "a name lies in its query");
        check_get(query, name, value);
    }
    while (query_next(&rest, &name, &value))
        fuzz_must(!memchr(value.at ? value.at : "", '&', value.count), "a value ends with its field");
    fuzz_must(query_get(query, "no-such-field-there-is", &first) == 1 || memmem(query.at, query.count, "no", 2) || memchr(query.at, '%', query.count), "what is missing is missing");
}

/* N or EPOCH-N, both plain numbers; written again it is the same. */
static void check_whence(struct bytes text)
{
    struct stream_want want = {0}, last = {0};
    bool good = whence_parse(text, &want);
    whence_last(text, &last);
    fuzz_must(last.place == STREAM_RESUME || last.place == STREAM_GAP, "who comes back goes on, or sees a gap");
    if (!good) {
        fuzz_must(last.place == STREAM_GAP, "what is no place is no id either");
        return;
    }
    char again[FRAME_ID_SIZE + 24];
    struct stream_want same = {0};
    if (want.place == STREAM_RESUME) {
        fuzz_must(last.place == STREAM_RESUME && last.seq == want.seq && last.epoch == want.epoch, "an id is an id everywhere");
        snprintf(again, sizeof again, "%" PRId64 "-%" PRIu64, want.epoch, want.seq);
        fuzz_must(whence_parse(bytes_of(again), &same) && same.place == STREAM_RESUME && same.seq == want.seq && same.epoch == want.epoch, "an id comes to itself");
    } else if (want.place == STREAM_AFTER) {
        for (size_t i = 0; i < text.count; i++)
            fuzz_must(text.at[i] >= '0' && text.at[i] <= '9', "a number is digits");
    }
}

static void check_units(struct bytes text)
{
    int64_t one = -7, two[2] = {-7, -7};
    double range[2], number;
    bool good = units_time(text, &one);
    fuzz_must(good ? one >= 0 : one == -7, "a time is not negative");
    one = -7;
    good = units_size(text, &one);
    fuzz_must(good ? one >= 0 : one == -7, "a size is not negative");
    one = -7;
    good = units_count(text, &one);
    fuzz_must(good ? one >= 0 : one == -7, "a count is not negative");
    good = units_time_range(text, two);
    fuzz_must(good ? two[0] >= 0 && two[1] >= two[0] : two[0] == -7, "a range of times is one");
    good = units_rate(text, &two[0], &two[1]);
    fuzz_must(!good || (two[0] >= 0 && two[1] > 0), "a rate is so many in some time");
    if (units_range(text, range))
        fuzz_must(range[0] <= range[1], "a range begins with its smaller end");
    if (units_number(text, &number))
        fuzz_must(number - number == 0, "a number is finite");
}

FUZZ_TARGET(query)
{
    check_query(input);
    check_whence(input);
    check_units(input);
}
