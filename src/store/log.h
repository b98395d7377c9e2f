/* The log: rows in commit order, made durable in groups, and beside them caches of the fold that make opening quick. The log
 * decides nothing: the decider (store/local.c) stamps rows and hands them over in order; they become durable in order.
 *
 * Two logs stand behind this table: store/sqlite.c (a write connection on one thread, a read-only one on another) and
 * store/memory.c (for tests and the simulator: durable when it is told so, and it can lose what was not).
 *
 * Thread: every call here and every callback is on the loop, except where said. */
#pragma once
#include "base/histogram.h"
#include "base/problem.h"
#include "core/row.h"

struct log;

/* A row on its way to the disk, with what must be exact with it in the same transaction. */
struct log_entry {
    struct row *row;                  /* one reference, owned */
    bool joined;                      /* the entry behind it is of the same transaction: both are durable, or neither */
    /* JOB_CREATED only: the job's row and its pipeline's text (stored once by hash). Owned texts. */
    char *job_id, *owner;
    struct sha pipeline_hash;
    char *pipeline_text;
    /* JOB_CREATED with an idempotency key: (owner, key) names this job from now on, whatever it named before. Owned; NULL = none. */
    char *key;
    size_t key_bytes;
    struct sha print;
    int64_t key_expires_us;           /* wall; 0 = as long as the job is there */
    bool frees_key;                   /* JOB_ENDED of a job that never was sealed: its key names nothing any more */
    /* Blobs that the row names; owned array. */
    struct sha *blobs;
    size_t blobs_count;
    /* JOB_CREATED only: outward readers that have to see the job; each gets a row (name, job, 0). Owned texts in an owned array. */
    char **readers;
    size_t readers_count;
    struct log_entry *next;           /* the log's own queue link */
};
struct log_entry *log_entry_new(struct row *row);     /* takes over the caller's reference */
void log_entry_free(struct log_entry *entry);
struct log_entry *log_last_of(struct log_entry *unit);             /* for logs: the last entry of what was handed over at once */

/* Caches of the fold of one job, as of `flush.pos`. Opaque to the log. Owned arrays. */
struct log_job_cache {
    int64_t job;
    struct bytes fold;                /* owned by this struct (free((char *)fold.at)) */
    uint64_t places_from;             /* seq of places[0] */
    uint64_t *places;                 /* pos of consecutive seqs that were not flushed before */
    size_t places_count;
    struct log_cell_page { uint32_t page; char *body; size_t bytes; } *cells;     /* changed pages only */
    size_t cells_count;
};
struct log_flush {
    uint64_t pos;                     /* the caches are the fold of all rows up to here (all handed over before) */
    struct log_job_cache *jobs;
    size_t count;
    int64_t removed_job;              /* not 0: no caches at all; this job, ended and flushed, goes now: it is found no more */
    void (*done)(void *data, struct log_flush *flush);     /* durable; the callee frees it with log_flush_free */
    void *data;
    struct log_flush *next;
};
void log_flush_free(struct log_flush *flush);

/* A read of rows: either a job's rows from a seq on, or the rows at given positions. Answered from one snapshot on the read
 * thread; at most LIMIT_READ_ROWS rows or LIMIT_READ_BYTES bytes (at least one row when there is one). */
struct log_read {
    int64_t job;
    uint64_t from_seq;                /* first seq wanted; 0 = by positions */
    /* by positions: the positions. By seq: the positions of seq known_from, known_from + 1, … that the decider still holds;
     * rows before known_from are found through the place cache. Owned array. */
    uint64_t *known;
    uint64_t known_from;
    size_t known_count;
    void (*done)(void *data, struct log_read *read);       /* the callee frees it with log_read_free */
    void *data;
    /* the answer */
    struct row **rows;                /* one reference each, owned; missing positions are left out */
    size_t rows_count;
    int error;                        /* < 0: could not be read (-EIO), rows_count is 0 */
    struct log_read *next;
};
void log_read_free(struct log_read *read);

/* A look-up of durable jobs, each with the cache of its fold, answered from one snapshot on the read thread. Jobs that are being
 * removed are not found. */
enum log_find_by {
    LOG_BY_ID,                        /* the job of that id */
    LOG_BY_KEY,                       /* the job that (owner, key) names, if the key has not expired by `now_us` */
    LOG_BY_PAGE,                      /* of an owner's jobs (NULL = of everybody's) the newest ones with numbers below `before` */
    LOG_BY_NUMBER,                    /* the job `before`, and those of its cell pages */
};
struct log_found {
    int64_t job;
    char *id, *owner;                 /* owned */
    char *fold;                       /* the cache, owned; NULL when none was flushed */
    size_t fold_bytes;
};
struct log_find {
    enum log_find_by by;
    char *id, *owner, *key;           /* owned; those that the question needs */
    size_t key_bytes;
    int64_t now_us;                   /* wall */
    int64_t before;
    size_t limit;                     /* by page: jobs in the answer; fewer come when their folds pass LIMIT_READ_BYTES, at least one */
    uint32_t *pages;                  /* owned */
    size_t pages_count;
    void (*done)(void *data, struct log_find *find);       /* the callee frees it with log_find_free */
    void *data;
    /* the answer */
    struct log_found *found;          /* owned */
    size_t found_count;
    struct sha print;                 /* by key */
    struct log_cell_page *cells;      /* those pages that are there, owned */
    size_t cells_count;
    bool end;                         /* by page: no job comes behind these */
    int error;                        /* < 0: could not be read; nothing was found */
    struct log_find *next;
};
struct log_found *log_find_add(struct log_find *find);     /* for logs: one more, zeroed */
void log_find_free(struct log_find *find);
/* For logs that go: all that still stands in their queues. Nobody is answered. */
void log_forget(struct log_entry *entries, struct log_flush *flushes, struct log_read *reads, struct log_find *finds);

/* ---- beside the log: results by key, and how far readers that go outwards have come ---- */

/* One word to be written some time later, with the next rows or by itself. Of each kind they are written in order; what was not durable
 * at a crash is lost. */
enum log_side_what { LOG_CACHE_PUT, LOG_READER_SET, LOG_READER_DROP };
struct log_side {
    enum log_side_what what;
    struct sha key;                   /* of the result */
    struct bytes value;               /* owned by this struct (free((char *)value.at)) */
    int64_t expires_us;               /* wall */
    char *reader;                     /* name, owned */
    int64_t job;
    uint64_t seq;                     /* of LOG_READER_SET; nothing is written for a job that is not there any more */
    struct log_side *next;
};
void log_side_free(struct log_side *side);
/* Words that wait are bounded: LIMIT_CACHE_QUEUED_BYTES of results, LIMIT_READERS_QUEUED words of readers. */
struct log_side_count {
    size_t bytes, readers;
};
bool log_side_fits(struct log_side_count *count, const struct log_side *side);      /* for logs: true = it was counted in */
void log_side_gone(struct log_side_count *count, const struct log_side *side);      /* it waits no more */

/* Results by key, answered from one snapshot on the read thread. */
struct log_cached {
    struct sha *keys;                 /* owned */
    size_t count;                     /* <= LIMIT_CACHE_KEYS */
    int64_t now_us;                   /* wall: what expires at or before it is not there */
    void (*done)(void *data, struct log_cached *cached);   /* the callee frees it with log_cached_free */
    void *data;
    /* the answer */
    struct log_value {
        struct bytes value;           /* owned; at NULL = there is none */
        int64_t expires_us;
    } *values;                        /* owned; one for each key */
    int error;                        /* < 0: could not be read; all values are missing */
    struct log_cached *next;
};
void log_cached_free(struct log_cached *cached);
void log_forget_sides(struct log_side *sides, struct log_cached *cached);      /* as log_forget() */

/* What the log tells the decider. */
struct log_client {
    void *data;
    void (*durable)(void *data, uint64_t pos);             /* every row up to pos is on disk */
    /* The disk takes nothing for now (full = true; rows wait in order and are tried again) or takes rows again (false). A
     * failed sync never comes here: it ends the process with status 70, because what the disk holds is then unknown. */
    void (*full)(void *data, bool full);
    void (*pruned)(void *data, int64_t job);               /* the job's rows are gone for good */
};

struct log_ops {
    /* Takes over the entry and those behind its `next`: a whole unit, so that the last of them is not joined to anything. */
    void (*append)(struct log *log, struct log_entry *entry);
    void (*flush)(struct log *log, struct log_flush *flush);       /* behind all entries appended before */
    void (*read)(struct log *log, struct log_read *read);
    void (*find)(struct log *log, struct log_find *find);
    bool (*side)(struct log *log, struct log_side *side);          /* takes it over, or false: too much waits */
    void (*cached)(struct log *log, struct log_cached *cached);
    /* Remove ended jobs older than that, in bounded steps, but none that a key names still at `now_us` (wall) or that an outward reader
     * is behind of; and results that have expired by then. */
    void (*prune)(struct log *log, int64_t ended_before_us, int64_t now_us);
    void (*close)(struct log *log);                                /* everything handed over is durable on return; frees */
};

struct log {
    const struct log_ops *ops;
    struct log_client client;         /* set by the decider before its first call */
    struct histogram commits;         /* how long each took, fsync included; the log's own thread adds */
    int64_t cache_max;                /* bytes of all results; LIMIT_CACHE_BYTES unless a test says less before the first one */
};

/* What opening finds, told in this order: pipelines; open jobs with their caches (and ended ones that have rows beyond the flush,
 * because their caches are behind); their cells; cursors of outward readers; then the rows beyond the flush. Views are borrowed during
 * the call. */
struct log_opening {
    void *data;
    void (*pipeline)(void *data, const struct sha *hash, struct bytes text);
    /* state 0 unsealed, 1 sealed, 2 ended; fold empty = none was flushed */
    void (*job)(void *data, int64_t job, struct bytes id, int state, struct bytes fold);
    void (*cell)(void *data, int64_t job, uint32_t page, struct bytes body);
    void (*row)(void *data, struct row *row);               /* pos > flushed_pos, by pos; borrowed: ref it to keep it */
    void (*reader)(void *data, const char *name, int64_t job, uint64_t seq);
    /* the numbers */
    int64_t epoch;                    /* of this opening; in no other one, nor in one of a copy, and behind all before it */
    uint64_t last_pos;                /* 0 in an empty log */
};
