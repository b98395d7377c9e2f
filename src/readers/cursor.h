/* A cursor: a place in a job's log, and the way from there to its end. It holds no queue: whoever owns it *pulls* rows when he can use
 * them, and is told when there may be more. So a slow reader reads later and never delays a job.
 *
 *             cursor_next ──▶ CURSOR_ROW … ──▶ CURSOR_WAIT ──(news)──▶ cursor_next … ──▶ CURSOR_END
 *                                │
 *             rows at the tip come from memory, older ones from the disk, large results from their blobs in the pool
 *
 * A resumed cursor first looks whether the event it stands behind is still the one that its reader has seen; if not the log was
 * restored: CURSOR_GAP is told once, and the log follows from 1.
 *
 * Thread: loop. */
#pragma once
#include "os/loop.h"
#include "readers/frame.h"
#include "store/blob.h"
#include "store/store.h"

enum {
    CURSOR_ROW,      /* *ret_row is the next one */
    CURSOR_WAIT,     /* nothing at hand: `news` will be called when there may be */
    CURSOR_END,      /* the job has ended and every row was given */
    CURSOR_GAP,      /* what was read before is void, the log follows from 1 */
    CURSOR_LOST,     /* the log cannot be read any further: it was pruned, or the disk failed */
};

/* What every cursor needs of the world; borrowed for its life. blobs may be NULL where no large result is read. */
struct cursor_world {
    struct loop *loop;
    struct store *store;
    struct blobs *blobs;
};

struct blob_fetch;

struct cursor {
    const struct cursor_world *world;
    struct live *live;                      /* one reference */
    struct watcher watcher;
    void (*news)(struct cursor *cursor);    /* from the loop, never inside a call of yours; may be for nothing */
    enum face face;                         /* decides which results are read from blobs */
    uint64_t next;                          /* seq of the next row to give */
    int64_t check_epoch;                    /* >= 0: the row at `next` was seen already and must have this epoch */
    bool gap, lost, asking;
    struct row **rows;                      /* owned, of next …; NULL = none at hand */
    int rows_at, rows_count;
    struct row *given;                      /* the row given last, one reference */
    struct store_read *read;                /* under way */
    struct blob_fetch *fetch;               /* under way, or come: the blob of rows[rows_at] */
    struct blob_fetch *given_fetch;         /* the blob given last */
};

/* Stands before seq 1. `news` may be NULL while nothing is to be waited for. */
void cursor_open(struct cursor *cursor, const struct cursor_world *world, struct live *live, enum face face,
                 void (*news)(struct cursor *cursor));
void cursor_close(struct cursor *cursor);                               /* harmless when zeroed or closed */

/* Other places to begin, before the first cursor_next. */
void cursor_after(struct cursor *cursor, uint64_t seq);                 /* unchecked */
void cursor_tip(struct cursor *cursor);                                 /* behind what is durable now */
void cursor_resume(struct cursor *cursor, int64_t epoch, uint64_t seq); /* checked: behind the event that has this id */
void cursor_gap(struct cursor *cursor);                                 /* as if the check had failed */

/* 0 = the place is known; CURSOR_WAIT = being looked up, `news` will be called; CURSOR_LOST. */
int cursor_settle(struct cursor *cursor);
/* The job has ended and no row is left to give. */
bool cursor_over(const struct cursor *cursor);

/* The next row. *ret_result is what its blob held when frame_blob() says so (empty if that could not be read). Both are borrowed
 * until the next call. */
int cursor_next(struct cursor *cursor, struct row **ret_row, struct bytes *ret_result);
/* Let go of rows at hand that were not given: they will be read again. For readers whose socket is full. */
void cursor_rest(struct cursor *cursor);
