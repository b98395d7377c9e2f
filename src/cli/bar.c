#include "cli/bar.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DRAW_EVERY_US = 100000, WIDTH_DEFAULT = 80, BAR_CELLS_MAX = 30 };

void bar_init(struct bar *bar, int64_t now_us)
{
    const char *terminal = getenv("TERM"), *no_color = getenv("NO_COLOR");
    *bar = (struct bar){.began_us = now_us};
    bar->shown = isatty(STDERR_FILENO) && terminal && !bytes_equal(bytes_of(terminal), BYTES("dumb"));
    bar->colour = bar->shown && !(no_color && no_color[0]);
}

static int width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? WIDTH_DEFAULT : size.ws_col;
}

static void put_duration(struct buf *buf, int64_t seconds)
{
    if (seconds >= 3600)
        buf_print(buf, "%lldh%02lldm", (long long)(seconds / 3600), (long long)(seconds / 60 % 60));
    else if (seconds >= 60)
        buf_print(buf, "%lldm%02llds", (long long)(seconds / 60), (long long)(seconds % 60));
    else
        buf_print(buf, "%llds", (long long)seconds);
}

/* " 7/12  1 failed  2.1/s  ETA 3s" */
static void put_words(struct buf *buf, const struct bar *bar, const struct counts *counts, int64_t total, int64_t now_us)
{
    int64_t ended = counts->completed + counts->failed + counts->skipped, fresh = ended - bar->ended_before;
    double seconds = (double)(now_us - bar->began_us) / 1e6, rate = seconds > 0 ? (double)fresh / seconds : 0;
    buf_print(buf, " %lld/%lld", (long long)ended, (long long)total);
    if (counts->failed)
        buf_print(buf, "  %lld failed", (long long)counts->failed);
    if (fresh > 0)
        buf_print(buf, rate >= 10 ? "  %.0f/s" : "  %.2f/s", rate);
    buf_text(buf, ended == total ? "  done in " : "  ETA ");
    if (ended == total)
        put_duration(buf, (int64_t)(seconds + 0.5));
    else if (fresh > 0)
        put_duration(buf, (int64_t)((double)(total - ended) / rate + 0.5));
    else
        buf_byte(buf, '?');
}

static void put_cells(struct buf *buf, const struct bar *bar, int64_t ended, int64_t total, int cells)
{
    int full = total ? (int)(cells * ended / total) : cells;
    if (bar->colour)
        buf_text(buf, "\x1b[32m");
    for (int i = 0; i < cells; i++)
        buf_text(buf, i < full ? "\u2588" : i == full ? "\u258c" : " ");
    if (bar->colour)
        buf_text(buf, "\x1b[0m");
}

void bar_line(struct buf *buf, const struct bar *bar, const struct counts *counts, int64_t total, int64_t now_us, int columns)
{
    struct buf words BUF_OWNED;
    buf_init(&words, 256);
    put_words(&words, bar, counts, total, now_us);
    int cells = columns - (int)words.count - 3;
    if (cells > BAR_CELLS_MAX)
        cells = BAR_CELLS_MAX;
    if (cells >= 4) {
        buf_byte(buf, '[');
        put_cells(buf, bar, counts->completed + counts->failed + counts->skipped, total, cells);
        buf_byte(buf, ']');
    }
    if (columns > 1)
        buf_add(buf, words.at, words.count < (size_t)columns - 1 ? words.count : (size_t)columns - 1);
}

void bar_draw(struct bar *bar, const struct counts *counts, int64_t total, int64_t now_us, bool force)
{
    if (!bar->shown || (!force && !bar->wiped && now_us - bar->drawn_us < DRAW_EVERY_US))
        return;
    struct buf line BUF_OWNED;
    buf_init(&line, 1024);
    bar->drawn_us = now_us;
    bar->wiped = false;
    buf_text(&line, "\r\x1b[K");
    bar_line(&line, bar, counts, total, now_us, width());
    fwrite(line.at, 1, line.count, stderr);
    fflush(stderr);
}

void bar_clear(struct bar *bar)
{
    if (bar->shown && !bar->wiped)
        fputs("\r\x1b[K", stderr);
    bar->wiped = true;
}

void bar_finish(struct bar *bar)
{
    if (bar->shown && !bar->wiped)
        fputc('\n', stderr);
    bar->wiped = true;
}
