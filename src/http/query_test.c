#include "http/query.h"

#include "base/test.h"

static struct buf out;

static bool decode(const char *raw, bool plus)
{
    buf_init(&out, 16);
    return query_decode(bytes_of(raw), plus, &out);
}

TEST(escapes_are_decoded_and_bad_ones_refused)
{
    CHECK(decode("a%2Fb%e6%98%93", false));
    CHECK_BYTES(buf_bytes(&out), BYTES("a/b易"));
    buf_done(&out);
    CHECK(decode("a+b", true));
    CHECK_BYTES(buf_bytes(&out), BYTES("a b"));
    buf_done(&out);
    CHECK(!decode("%", false) && !decode("%4", false) && !decode("%zz", false) && !decode("%00", false));
    CHECK(!decode("12345678901234567", false));        /* no room */
    buf_done(&out);
}

TEST(a_query_is_read_by_its_keys)
{
    char text[8];
    int64_t number = 7;
    struct bytes query = BYTES("a=1&&b=x%20y&empty&long=123456789&job%5B0%5D=z&bad=%zz&a=2&n=-5&ctl=%0a&del=%7f");
    CHECK_INT(query_int(query, "a", &number), 0);
    CHECK_INT(number, 1);
    CHECK_INT(query_int(query, "n", &number), 0);
    CHECK_INT(number, -5);
    CHECK_INT(query_int(query, "b", &number), -1);
    CHECK_INT(query_int(query, "none", &number), 1);
    CHECK_INT(number, -5);
    CHECK_INT(query_text(query, "b", text, sizeof text), 0);
    CHECK_TEXT(text, "x y");
    CHECK_INT(query_text(query, "empty", text, sizeof text), 0);
    CHECK_TEXT(text, "");
    CHECK_INT(query_text(query, "long", text, sizeof text), -1);
    CHECK_INT(query_text(query, "bad", text, sizeof text), -1);
    CHECK_INT(query_text(query, "ctl", text, sizeof text), -1);
    CHECK_INT(query_text(query, "del", text, sizeof text), -1);
    CHECK_INT(query_text(query, "job[0]", text, sizeof text), 0);
    CHECK_TEXT(text, "z");
}
