#include "base/buf.h"
#include "base/test.h"

#include <stdlib.h>

TEST(a_buf_never_passes_its_ceiling)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 10);
    CHECK(buf_text(&buf, "0123456789"));
    CHECK(!buf_byte(&buf, 'x'));
    CHECK(!buf_ok(&buf));
    CHECK_INT(buf.count, 10);
    buf_clear(&buf);
    CHECK(buf_print(&buf, "%d-%s", 12, "ab"));
    CHECK_TEXT(buf_z(&buf), "12-ab");
}

TEST(a_failed_buf_stays_failed_until_it_is_cleared)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 2);
    CHECK(!buf_text(&buf, "abc"));
    CHECK(!buf_byte(&buf, 'a'));
    CHECK_TEXT(buf_z(&buf), "");
    CHECK(!buf_take(&buf, NULL));
}

TEST(eating_from_the_front_keeps_the_rest)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 100);
    buf_text(&buf, "hello world");
    buf_eat(&buf, 6);
    CHECK_BYTES(buf_bytes(&buf), BYTES("world"));
    buf_eat(&buf, 5);
    CHECK_INT(buf.count, 0);
    size_t count;
    char *taken = buf_take(&buf, &count);
    CHECK(taken && !count && !taken[0]);
    free(taken);
}
