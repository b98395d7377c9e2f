/* A progress bar for people at a terminal: counts, rate and time left, on one line of standard error. A reader of the log like any
 * other: it is told what became durable and draws it. Where standard error is no terminal it draws nothing at all. */
#pragma once
#include "core/event.h"
#include "base/buf.h"

struct bar {
    bool shown;                 /* standard error is a terminal that can move its cursor */
    bool colour;                /* and NO_COLOR is not set */
    bool wiped;                 /* the line is empty now */
    int64_t began_us;           /* monotonic */
    int64_t drawn_us;           /* last drawing; it is drawn at most ten times a second */
    int64_t ended_before;       /* items that had ended before this run (a resumed job): not part of the rate */
};

void bar_init(struct bar *bar, int64_t now_us);
/* What there is to see now. `force` draws even when the last drawing was a moment ago. */
void bar_draw(struct bar *bar, const struct counts *counts, int64_t total, int64_t now_us, bool force);
void bar_finish(struct bar *bar);       /* what was drawn stays; the next line begins */
void bar_clear(struct bar *bar);        /* wipe the line, so that something else can be written */

/* The line itself, `width` columns at most: for bar_draw and its test. */
void bar_line(struct buf *buf, const struct bar *bar, const struct counts *counts, int64_t total, int64_t now_us, int width);
