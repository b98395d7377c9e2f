/* Blobs: whole files named by the SHA-256 of what they hold, in DIR/blobs/ab/abcdef…; the same bytes are stored once. A blob never
 * changes and is complete and durable when it has its name.
 *
 * Which job uses which blob stands in the log (table blob_use), exact with the event that names it. Between the moment a
 * blob has its name and the moment that event is durable a *pin* in memory keeps it: writers answer with the pin taken, and whoever
 * queues the event lets it go when the event is durable (or was given up). The log removes files that have neither.
 *
 *     writer: tmp/N ── add … ──▶ commit: pin, fsync, rename to blobs/ab/…, fsync directory ──▶ event durable ──▶ blob_unpin
 *
 * A failed sync is never tried again: but for a full disk under the file itself, which its writer is told of, it ends the process with
 * status 70 and a sentence on stderr, and the next start recovers.
 *
 * Threads: the functions may be called from any thread, one writer by one thread at a time. What says *blocks* waits for the
 * disk and belongs on a pool thread; the rest is fit for the loop. */
#pragma once
#include "base/buf.h"
#include "base/hash.h"
#include "base/problem.h"

struct blobs;

/* Opens DIR/blobs and DIR/tmp and makes what is missing. Blocks; at start only. */
int blobs_open(const char *dir, struct blobs **ret, struct problem *problem);
void blobs_close(struct blobs *blobs);        /* no writer may be left; NULL does nothing */
/* Throws away what unfinished writers of an earlier process left in tmp/. The log calls it when it holds DIR/lock. Blocks. */
void blobs_clean(struct blobs *blobs);

/* A blob that comes piece by piece. */
struct blob_writer;
int blob_writer_open(struct blobs *blobs, struct blob_writer **ret);                /* makes a file; quick. 0, or -errno */
/* Writes to the page cache and adds to the hash: no sync, about 1 ms a MiB; long uploads do it on a pool thread. 0, or -errno:
 * then the writer can only be aborted. */
int blob_writer_add(struct blob_writer *writer, struct bytes piece);
/* Makes it durable under its name, pinned once for the caller. Frees the writer in every case. 0, or -errno. Blocks (two
 * syncs, one when the bytes are there already). */
int blob_writer_commit(struct blob_writer *writer, struct sha *ret);
void blob_writer_abort(struct blob_writer *writer);                                 /* nothing is left; NULL does nothing */
/* The same for bytes at hand. Blocks. */
int blob_put(struct blobs *blobs, struct bytes content, struct sha *ret);

/* A descriptor for reading, which stays good when the blob is removed meanwhile; -ENOENT, or another -errno. */
int blob_open(struct blobs *blobs, const struct sha *sha);
/* Appends the whole of it to `ret`; also -EFBIG beyond the ceiling of `ret`, and -EIO when the file is shorter than it was. Blocks, for a moment only when it
 * was written a moment ago. */
int blob_read(struct blobs *blobs, const struct sha *sha, struct buf *ret);

void blob_pin(struct blobs *blobs, const struct sha *sha);       /* pins are counted; never blocks on the disk for long */
void blob_unpin(struct blobs *blobs, const struct sha *sha);     /* one pin less; there must be one */

/* The same by one who gives up what nothing else may be using: the log looks through the files some time after. */
void blob_abandon(struct blobs *blobs, const struct sha *sha);
bool blob_take_abandoned(struct blobs *blobs);                   /* whether that happened since the last call */

/* Removes the file unless it is pinned. 0 removed (or not there), 1 pinned, -errno. Thread: log, after it made sure that nothing
 * durable uses the blob. */
int blob_remove(struct blobs *blobs, const struct sha *sha);

/* The slow sweep over all files: looks at a bounded number of them in each call, and removes those that are neither used, as
 * `used` says, nor pinned. Start from a zeroed state; false when it has been everywhere. Thread: log. */
struct blob_sweep {
    unsigned folder;        /* 0 … 255, the next or present one */
    void *list;             /* the open directory, owned; NULL between folders */
};
bool blob_sweep(struct blobs *blobs, struct blob_sweep *at, bool (*used)(void *data, const struct sha *sha), void *data);
void blob_sweep_done(struct blob_sweep *at);

/* Whether the data disk has LIMIT_FREE_DISK_BYTES left. Asks the kernel, no disk. */
bool blob_space_ok(const struct blobs *blobs);
