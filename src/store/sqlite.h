/* The log on disk: DIR/log.db, a SQLite database in WAL mode with synchronous=FULL. EVENTS.md §5 is the law of its schema.
 *
 *     loop ── append, flush, prune ──▶ log thread  (owns the write connection)      ─┐
 *       ▲ └── read, find ────────────▶ read thread (owns a read-only connection)     ├─▶ DIR/log.db
 *       └───────── one mailbox: durable, full, flush/read/find done, pruned ◀────────┘
 *
 * A commit starts at once if the last one began 1 ms ago or earlier, else when that 1 ms is over, and takes everything that waits
 * (at most LIMIT_COMMIT_EVENTS or LIMIT_COMMIT_BYTES), so that fsyncs are shared under load and a lone event waits for nobody.
 * When the disk is full the commit is tried again every 200 ms with the same rows in the same order. Any other failure of the
 * write connection ends the process with status 70 and a sentence on stderr: what the disk holds is then unknown, and the next
 * start recovers. So does a close on a disk that stays full for 2 s.
 *
 * Reads see durable rows only. A failing read is answered with -EIO and harms nothing else. The queues are bounded by their
 * users: rows by the decider (LIMIT_QUEUED_*), reads because each reader has at most one under way. */
#pragma once
#include "store/blob.h"
#include "store/log.h"

/* How the log's threads call on the loop: post(loop, call, data) makes call(data) happen there, in order, soon, from any
 * thread. Over os/loop.h it is loop_post. At most one message of the log is under way at a time. */
struct log_door {
    void *loop;
    void (*post)(void *loop, void (*call)(void *data), void *data);
};

/* Opens, and makes when missing, the log in the directory `dir`, takes DIR/lock for as long as it is open, begins a new epoch and
 * tells `opening` what is there, all before it returns; the time this takes depends on the open jobs and the rows behind the
 * last flush, not on the length of the log. Then the two threads run.
 *   opening  its callbacks are called from inside; its numbers are set on return
 *   blobs    of the same directory, borrowed until close: emptied of leftovers, swept, and pruned with the jobs; NULL: no blobs
 * 0, or < 0 and a problem: DIR in use, not a log, of a newer version, damaged, not writable.
 *
 * The log's close() may not be called from one of its callbacks. It returns when everything is on disk and has called every
 * callback that was still due; reads and finds that were not begun are answered with -ECANCELED (found = false). */
int sqlite_open(const char *dir, struct log_door door, struct log_opening *opening, struct blobs *blobs, struct log **ret,
                struct problem *problem);
