#include "cli/bar.h"
#include "base/test.h"

static const char *line(struct buf *buf, struct counts counts, int64_t total, int64_t now_us, int width)
{
    struct bar bar = {.shown = true};
    buf_clear(buf);
    bar_line(buf, &bar, &counts, total, now_us, width);
    return buf_z(buf);
}

TEST(the_bar_shows_counts_rate_and_time_left)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 1000);
    CHECK(strstr(line(&buf, (struct counts){5, 1, 5, 1, 0}, 12, 3000000, 80), " 6/12  1 failed  2.00/s  ETA 3s"));
    CHECK(strstr(line(&buf, (struct counts){0, 0, 12, 0, 0}, 12, 61000000, 80), " 12/12  0.20/s  done in 1m01s"));
    CHECK(strstr(line(&buf, (struct counts){12, 0, 0, 0, 0}, 12, 1, 80), " 0/12  ETA ?"));
}

TEST(a_narrow_terminal_loses_the_cells_and_then_the_words)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 1000);
    CHECK(!strchr(line(&buf, (struct counts){6, 0, 6, 0, 0}, 12, 3000000, 26), '['));
    CHECK(strlen(line(&buf, (struct counts){6, 0, 6, 0, 0}, 12, 3000000, 10)) < 10);
}
