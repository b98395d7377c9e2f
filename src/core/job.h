/* A job as the fold of its events. Only job_apply() changes a job: while it runs, after a restart, in the tests and in the
 * simulator alike. It is pure: no clock, no I/O, no allocation that input could drive beyond the limits.
 *
 * An item is 16 bytes. What it was handed in with, and what it came to, is in the log: `pos` names its last word. */
#pragma once
#include "core/event.h"

enum item_state {
    ITEM_PENDING,     /* added, never started */
    ITEM_RUNNING,     /* a worker has it; holds a slot */
    ITEM_WAITING,     /* the remote side works; holds its slot: in_flight bounds what is open over there */
    ITEM_BACKOFF,     /* another attempt at due_at; holds no slot unless the job is ordered */
    ITEM_DONE,
    ITEM_FAILED,
    ITEM_SKIPPED,
};

/* Stored as it stands in the cell cache: little-endian, 16 bytes, no padding. */
struct item {
    uint64_t pos;          /* of its last word, starts not counted; items.added at first */
    uint32_t attempt;      /* starts so far; the fence */
    uint8_t leg;           /* the next leg to do */
    uint8_t tries;         /* failed attempts of this leg */
    uint8_t state : 3;     /* enum item_state */
    uint8_t rejected : 1;  /* refused at intake: fails when its turn comes */
    uint8_t old : 1;       /* RUNNING or WAITING in an earlier opening: due at once. Not stored: set when opening */
    uint8_t interrupts;    /* starts with why "restart" since it last got on: finished a leg or a record */
};
_Static_assert(sizeof(struct item) == 16, "the cell cache holds items of 16 bytes");

struct job_sum {           /* one name of `stats`, over the items done */
    char name[32];
    int64_t count;
    double sum, min, max;
};

struct job_added {         /* where the items came from: one items.added event each */
    int64_t first, count;
    uint64_t pos;
};

struct job_best {          /* one of the best by score: an item, or a record of one */
    double score;
    int64_t item, record;  /* record -1 = the item itself */
    uint64_t pos;          /* of its item.done or record.done */
};

enum { JOB_SUMS_MAX = 16, JOB_TOP_MAX = 1000 };

struct job {
    /* from job.created */
    int64_t job;                   /* number in this store */
    char *id, *owner, *pipeline, *params, *result_key, *retry_of, *trace;    /* owned; the last two may be "" */
    struct sha hash;               /* of the pipeline's text */
    uint32_t in_flight;
    bool ordered;
    bool open;                     /* items start before the seal */
    /* the log's own numbers */
    uint64_t seq;                  /* of the last event */
    uint64_t pos;                  /* of the last event */
    int64_t epoch;                 /* of the last event */
    int64_t created_us, started_us, ended_us, last_us;   /* wall; 0 = not yet */
    int64_t fed_us;                /* wall: of its last items.added, of its job.created at first */
    /* state */
    bool sealed, cancelling, ended;
    enum job_status status;
    char *error;                   /* job-level failure, owned, or NULL: what job.ended says, or the item that takes the job along */
    int64_t total;
    int64_t bytes;                 /* of the inputs of all items */
    struct counts counts;
    struct item *items;            /* owned, `total` of them; NULL once the job has ended and was let go */
    int64_t items_room;
    int64_t next;                  /* no item before this one is PENDING */
    int64_t holding;               /* items that hold a slot */
    struct job_added *added;       /* owned */
    size_t added_count, added_room;
    struct job_sum sums[JOB_SUMS_MAX];
    size_t sums_count;
    struct job_sum usage[JOB_SUMS_MAX];    /* of what was used, over all words of items and records, failed ones too */
    size_t usage_count;
    struct { int64_t completed, failed, dropped; } records;
    struct job_best *top;          /* owned; a heap with the worst first, so that a newcomer costs O(log top_keep) */
    size_t top_count;
    uint64_t top_revision;         /* how often it has changed */
    int64_t top_keep, stop_count, hits;
    double max_cost;
    int64_t deadline_us;           /* wall; 0 = none */
    char *webhook;                 /* owned JSON, or "" */
    bool failing;                  /* an item has failed that takes it along, or it was too dear: what is left is skipped, and it ends as error */
};

struct job *job_new(void);                    /* an empty one, before its first event */
void job_free(struct job *job);

/* Fold one event in. 0, or -1 when the event cannot follow (the log is damaged, or the decider has a bug): the problem names
 * job, seq and what is impossible, and the job is unchanged. `event->counts` is not looked at. */
struct problem;
int job_apply(struct job *job, const struct event *event, struct problem *problem);

/* Let go of the per-item memory of an ended job (its document and summary stay answerable). */
void job_let_go(struct job *job);

int job_progress(const struct job *job);                  /* overall_progress, 0–100; never falls */
bool job_enough(const struct job *job);                   /* as many hits as were wanted */
bool job_too_dear(const struct job *job);                 /* usage.cost is beyond max_cost */
bool job_over(const struct job *job);                     /* sealed (or cut off) and every item has ended: due for job.ended */
/* What job.ended will say, were it accepted now: cancelled; error when the job has failed as a whole, or something failed or was skipped and nothing
 * was completed, unless there were hits enough; else completed. */
enum job_status job_end_status(const struct job *job);
bool item_ended(const struct item *item);
bool item_holds_slot(const struct job *job, const struct item *item);
const struct job_added *job_added_of(const struct job *job, int64_t item);    /* the event an item came in */

/* The fence: may an outcome of this attempt still speak for the item? */
bool job_fence(const struct job *job, int64_t item, uint32_t attempt);

/* {"name":{"count":…,"sum":…,"min":…,"max":…,"mean":…}} over the items done: the job's summary, from the fold only. */
struct buf;
void job_summary(const struct job *job, struct buf *buf);
const struct job_sum *job_sum_of(const struct job *job, const char *name);    /* NULL when no item had it */
