/* For the tests of logs: a desk that plays the decider, in the small. It stamps rows, keeps the positions that are not flushed, and
 * has the trivial loop, so that a test is a few lines. What the log tells at an opening is kept to be looked at.
 *
 * Thread: the test's; the mailbox takes letters from any. */
#pragma once
#include "store/sqlite.h"

#include <pthread.h>

enum { DESK_JOBS = 8, DESK_TOLD = 64 };

struct letter;
struct desk {
    char dir[64];                      /* of its own, under /tmp */
    struct log *log;                   /* NULL = closed */
    struct blobs *blobs;               /* NULL unless desk_open_with_blobs */
    struct log_opening opening;
    struct problem problem;            /* of the last opening that failed */
    uint64_t pos, durable;             /* stamped last; known to be on disk */
    struct desk_job {
        uint64_t seq;                  /* stamped last */
        uint64_t fresh_from, *fresh;   /* positions that no flush covers yet */
        size_t fresh_count;
    } jobs[DESK_JOBS];                 /* by number */
    int64_t pruned;                    /* the job told last */
    int fulls, fulls_over;             /* how often the disk was told full, and not full */
    size_t flushed;                    /* flushes that are done */
    /* what the opening told */
    size_t told_pipelines, told_jobs, told_cells, told_rows;
    struct desk_told {
        int64_t job;
        int state;
        char id[40], fold[40];
    } told[DESK_TOLD];
    uint64_t told_first, told_last;    /* positions of rows */
    int64_t told_bytes;                /* of their bodies, added up */
    char told_cell[40];                /* the last one */
    /* the loop */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct letter *letters, **letters_end;
};

void desk_init(struct desk *desk);                 /* makes the directory */
void desk_done(struct desk *desk);                 /* closes if need be, and removes the directory */
int desk_open(struct desk *desk);                  /* as sqlite_open; positions are taken up where the log ends */
int desk_open_with_blobs(struct desk *desk);
void desk_close(struct desk *desk);
struct log_door desk_door(struct desk *desk);
void desk_turn(struct desk *desk);                 /* waits for a letter and reads it */

/* Hand a row over; the answer is its position. `at_us` is 1,000,000 times its position. Job.created gets id "job N", and pipeline
 * text "pipeline". */
uint64_t desk_append(struct desk *desk, int64_t job, enum event_kind kind, int64_t item, struct bytes body);
void desk_append_naming(struct desk *desk, int64_t job, const struct sha *blob);    /* the same, naming a blob */
uint64_t desk_append_unit(struct desk *desk, int64_t job, size_t count);       /* so many rows that are durable together, or not at all */
void desk_settle(struct desk *desk);               /* until all that was handed over is durable */
/* Flush all jobs as of now: fold "fold SEQ", cell page 0 "cell SEQ". Waits until it is durable if `wait`. */
void desk_flush(struct desk *desk, bool wait);
/* Ask and wait for the answer. The caller frees it. */
struct log_read *desk_read(struct desk *desk, int64_t job, uint64_t from_seq);
struct log_read *desk_read_at(struct desk *desk, const uint64_t *positions, size_t count);
struct log_find *desk_find(struct desk *desk, const char *id);
int64_t desk_query(struct desk *desk, const char *query);       /* one number straight from the file, on a connection of its own */
