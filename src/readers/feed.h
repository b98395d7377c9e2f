/* A feed: the frames that follow a cursor. What an open stream writes, and what a test compares byte by byte.
 *
 * Each feed_fill is one write: at most LIMIT_STREAM_WRITE_FRAMES frames, and no further frame once LIMIT_STREAM_WRITE_BYTES are
 * passed, so that only a single large result makes it longer. Thread: loop. */
#pragma once
#include "core/codec.h"
#include "readers/cursor.h"
#include "base/limits.h"

enum { FEED_BYTES_MAX = LIMIT_STREAM_WRITE_BYTES + LIMIT_SEED_RESULT_BYTES + LIMIT_ROW_BYTES };

enum {
    FEED_MORE,      /* call again */
    FEED_WAIT,      /* nothing more now; the cursor's news will come */
    FEED_END,       /* nothing more ever: the terminal frame was the last, or the log is lost */
};

/* An items.skipped row on a seed face becomes an `error` an item. Their names stand in the log's items.added events, which a cursor
 * of its own walks through beside. */
struct feed_skip {
    struct row *row;                /* one reference; NULL = none under way */
    struct event event;             /* decoded from it */
    struct codec_arena arena;
    size_t range;
    int64_t item;
    struct cursor names;
    struct row *added_row;          /* the items.added that the item came in, or one before */
    struct event added;
    struct codec_arena added_arena;
};

struct feed {
    struct cursor cursor;           /* place it with cursor_after …, before the first feed_fill */
    struct frame_header header;
    void (*news)(struct feed *feed);
    struct feed_skip *skip;         /* owned, NULL most of the time */
    uint64_t shown;                 /* seq of the newest row that was rendered */
    uint64_t frames;                /* rendered since feed_open */
};

/* `news`: from the loop, when feed_fill may have more. The world outlives the feed. */
void feed_open(struct feed *feed, const struct cursor_world *world, struct live *live, enum face face, void (*news)(struct feed *feed));
void feed_close(struct feed *feed);
/* Every row before cursor.next was rendered whole: another feed may go on behind it. False within the frames of one row, and while the
 * place is still being looked up. */
bool feed_between(const struct feed *feed);
/* Append frames to `buf`, which has room for FEED_BYTES_MAX more. */
int feed_fill(struct feed *feed, struct buf *buf);
