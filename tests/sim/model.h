/* The model: what the log of every job may say, told by an own small state machine that shares nothing with the fold. It is fed
 * with each durable row, once, and knows therefore at any time exactly what is durable; what a reader sees, what the crew is given
 * and what a client is told is held against it. */
#pragma once
#include "core/job.h"
#include "core/outcome.h"

struct sim;
struct task;

enum { SIM_PIPELINES = 4, SIM_OWNERS = 4 };

/* One task that the crew was given. Its number is in everything its worker says, so that a row tells whose word it is. */
struct mark {
    int64_t job, item, epoch;
    uint32_t attempt, leg;
    enum verdict verdict;
    bool spoiled;                 /* too long or no JSON: becomes a failure without its number */
};

enum model_state { MODEL_PENDING, MODEL_RUNNING, MODEL_WAITING, MODEL_BACKOFF, MODEL_DONE, MODEL_FAILED, MODEL_SKIPPED };

struct model_item {
    int64_t input;                /* the number the client gave it */
    enum model_state state;
    bool rejected, blob;
    uint32_t attempt, leg, tries, interrupts;
    int64_t epoch;                /* of its last start or step */
    uint64_t step_mark, step_pos; /* who made what it brings to its leg */
    uint64_t task;                /* mark of the last task that the crew was given for it */
    uint64_t retry_pos;
    uint64_t remote;              /* what was told of the leg's remote side; 0 = nothing */
    unsigned records;             /* of the leg: a bit for each that is done or has failed */
    uint64_t record_pos;          /* of the newest of them */
    int64_t wait_us;              /* of the last retry */
};

struct model_job {
    int64_t job;
    char id[33];
    int owner;
    const struct pipeline *pipeline;
    uint32_t in_flight;
    bool ordered, open, sealed, cancelling, ended, cut_off;
    int64_t stop_count, hits, max_cost, cost, deadline_us;
    bool failing;                 /* it was stopped, and has failed by that */
    bool stopped;                 /* it was stopped */
    bool fatal;                   /* an item failed that takes the whole job with it */
    bool deleting;                /* somebody asked for that in this opening: it need not be found */
    struct model_item *items;     /* owned */
    int64_t total, items_room, next, running, waiting, backing_off;
    struct counts counts;
    int64_t stats_count;
    double stats_sum;
    struct row **rows;            /* by seq - 1; borrowed from the model's */
    size_t rows_count, rows_room;
    struct counts *told;          /* by seq - 1: the counts after each */
    struct job *shadow;           /* the real fold of the whole log, from 1 */
    size_t folded;
};

struct model {
    struct row **rows;            /* by pos - 1; a reference each */
    size_t rows_count, rows_room;
    struct accepted {
        int64_t at_us;            /* virtual time */
        bool disk_full;
    } *accepted;                  /* by pos - 1: also of what is not durable yet */
    size_t accepted_count, accepted_room;
    struct model_job **jobs;      /* in the order of their creation; owned */
    size_t jobs_count;
    unsigned jobs_open;           /* created and not ended */
    unsigned running;             /* items that run in this opening: never more than there are workers */
    struct mark *marks;           /* by number; 0 is none */
    size_t marks_count, marks_room;
    int64_t epoch;
    const struct row *dead_end;   /* the record that takes its item along, when it was the last row: the item's end is next, whatever happens */
    struct waiting_owner {        /* an owner whose first job was just sealed: how often others were served before it */
        int64_t job;              /* 0: nothing to watch */
        unsigned served[SIM_OWNERS];
    } waiting[SIM_OWNERS];
};

extern const char *const model_owners[SIM_OWNERS];

void model_done(struct sim *sim);
/* Take in what has become durable. Called before anything is held against the model. */
void model_catch_up(struct sim *sim);
/* What was accepted since the last call was accepted now. */
void model_accepted(struct sim *sim, bool disk_full);
/* The machine has opened the log again: the folds it holds must be those of the whole log. */
void model_opened(struct sim *sim);
void model_started(struct sim *sim);       /* … and after settling: slots and pointers recounted */
struct model_job *model_job(struct sim *sim, int64_t job);
struct model_job *model_job_by_id(struct sim *sim, struct bytes id);
bool model_pruned(struct sim *sim, const struct model_job *job);
void model_fold(struct sim *sim, struct model_job *job);      /* its shadow up to its last durable row */

/* Somebody looks: */
void model_see_usage(struct sim *sim);
void model_see_row(struct sim *sim, const struct model_job *job, uint64_t seq, const struct row *row);
void model_see_document(struct sim *sim, const struct model_job *job, struct bytes document);
uint64_t model_see_task(struct sim *sim, const struct task *task);     /* answers the number of the new mark */
/* Something is begun at a remote side: nothing that is durable tells of one for this leg already. */
void model_see_remote(struct sim *sim, struct token token);
uint64_t model_remote_of(struct bytes remote);
void model_see_record(struct sim *sim, struct token token, unsigned record);     /* it is done: never again */
unsigned model_see_records(struct sim *sim, struct token token, struct row **rows, size_t count);     /* answers which ones these are */
void model_see_work(struct sim *sim, struct token more, const struct token *busy, size_t count);
