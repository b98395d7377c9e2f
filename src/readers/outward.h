/* Readers that go outwards: the driver that brings jobs to another side, a webhook's receiver or a mirror. A kind of reader is a table of a
 * few functions; the driver follows each job's durable rows, hands them to the kind in order, hears from it what has arrived over there,
 * and keeps the durable cursor (store_reader_*), so that after a restart everything that was not seen to arrive is brought again. What
 * arrives may therefore arrive twice, and the kind says so by names that stay the same (job and seq).
 *
 *     IDLE ──(a durable row that is wanted)──▶ LINE ──(a place is free)──▶ WORK ──(all has arrived)──▶ IDLE … ──(job.ended too)──▶ gone
 *                                               ▲                           │
 *                                               └──────── LATER ◀───────────┘  outward_later(): another try in a while
 *
 * Nothing here can delay a job: rows are pulled from the log when the other side takes them. At most `places` jobs are in WORK and hold rows;
 * all others are a few words of memory, whether they are ten or ten thousand. Places go round.
 *
 * Thread: loop, all of it. */
#pragma once
#include "readers/cursor.h"

struct outward;

/* A job on its way. The kind may use `own`, and read the rest. */
struct outward_job {
    void *own;                     /* the kind's; NULL at first; it stays when the job waits, and the kind frees it in gone() */
    struct outward *outward;
    int64_t number;
    uint64_t arrived;              /* all rows up to this seq are over there */
    uint64_t given;                /* … and so far they were handed to row() */
    bool replayed;                 /* outward_again() began it */

    /* The driver's. */
    uint32_t wants;
    int state;
    bool asked;                    /* wants() has answered */
    bool full;                     /* no row until it has arrived, or outward_more() */
    bool dirty;                    /* `arrived` is not written yet */
    bool finding;                  /* its live is looked up */
    struct list link;              /* in outward's list of its state */
    struct list dirty_link;
    struct heap_node nap;          /* LATER: when it is due, monotonic µs */
    struct cursor cursor;          /* WORK */
};

enum {
    OUTWARD_PASSED,                /* nothing of it goes over there: as if it had arrived, once all before it has */
    OUTWARD_TAKEN,                 /* it is on its way, outward_arrived() will tell; the next row, please */
    OUTWARD_FULL,                  /* the same, but no row more until all that was given has arrived, or outward_more() */
};

struct outward_kind {
    const char *name;              /* of its durable cursors: "webhook"; jobs are made with it in store_job.readers */
    enum face face;                /* FACE_JOB; FACE_SEED where results are wanted that are stored as files (≤ LIMIT_SEED_RESULT_BYTES): they are read */
    size_t places;                 /* jobs in WORK at a time */
    /* Which events of this job go over there: bits 1u << EVENT_…; 0 = it is none of ours (a cursor that it has is dropped). Add
     * 1u << EVENT_JOB_ENDED to be called at its end. Asked once for a job, when it is first seen. */
    uint32_t (*wants)(void *data, const struct job *job);
    /* The next wanted row, in order of seq. Behind a restart, and behind outward_later(), the rows after `job->arrived` come again: what is
     * gathered of them is to be forgotten (job->given < row->seq - 1 tells of rows that were not wanted, never of lost ones).
     *   live     the job as it is now, borrowed: hold what is shown of it until store_when(live_job(live)->pos) if it is not over
     *   result   item.done whose result is a file, with FACE_SEED: what it holds, empty when it could not be read; borrowed
     * May call nothing of below for the same job but outward_later() and outward_give_up() at the very end (and then answer OUTWARD_FULL). */
    int (*row)(void *data, struct outward_job *job, struct live *live, const struct row *row, struct bytes result);
    /* It is over: everything has arrived, it was given up, removed, begins anew (outward_again), or the driver closes. Free what is in job->own,
     * break off calls under way. */
    void (*gone)(void *data, struct outward_job *job);
};

/* Everything borrowed for its life. Takes up what the store's opening told, and open jobs that are wanted and have no cursor yet. */
struct outward *outward_open(const struct cursor_world *world, const struct outward_kind *kind, void *data);
void outward_close(struct outward *outward);       /* writes the cursors; before the store closes; NULL does nothing */

/* The other side has everything up to and with `seq`. The cursor is written within a second; behind job.ended the job is gone with this call. */
void outward_arrived(struct outward_job *job, uint64_t seq);
void outward_more(struct outward_job *job);        /* after OUTWARD_FULL: the next row, soon */
/* Not now: let go of its place and rows, and begin again behind `arrived` in a while. */
void outward_later(struct outward_job *job, int64_t delay_us);
void outward_now(struct outward_job *job);         /* it waits no more; nothing when it does not */
void outward_give_up(struct outward_job *job);     /* nothing more is tried: the cursor is dropped and the job is gone with this call */

/* Bring it all again from behind `after`, or begin with it: 0; 1 = the kind does not want this job. One that waits waits no more. */
int outward_again(struct outward *outward, struct live *live, uint64_t after);
/* The job if it is on its way, else NULL. */
struct outward_job *outward_find(struct outward *outward, int64_t number);

struct outward_numbers {
    size_t idle, line, work, later;
} outward_numbers(const struct outward *outward);
