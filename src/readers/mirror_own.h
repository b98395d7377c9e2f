/* What the files of the mirror share. */
#pragma once
#include "base/map.h"
#include "core/codec.h"
#include "readers/firestore.h"
#include "readers/mirror.h"

/* mirror_path.c: the text that a template's program stands for. 0, or -1 and a problem. item -1: there is none, and $batch is refused. */
struct mirror_names {
    struct bytes job_id, owner;
    struct json_object *params;        /* may be NULL */
    int64_t item;
};
int mirror_path(struct bytes program, const struct mirror_names *names, struct buf *ret, struct problem *problem);

/* What a pipeline says of its mirror. */
struct mirror_plan {
    char *job, *batch;                 /* programs */
    char *results_key;
    char *project, *database, *credentials;        /* NULL = not said */
    int64_t max_doc;
    bool chunks;
};
int mirror_plan_init(struct mirror_plan *plan, const struct pipeline *pipeline, struct problem *problem);
void mirror_plan_done(struct mirror_plan *plan);

/* mirror_doc.c: what was gathered for the next commit of a job. */
struct mirror_begun;                   /* an item that was started and has not ended yet */
struct mirror_gather {
    const struct mirror_plan *plan;
    const struct firestore *firestore;
    const char *path;                  /* of the job's document */
    struct mirror_names names;
    struct buf writes;                 /* of the commit that the job's document closes */
    size_t writes_count;
    struct buf *early;                 /* commits that go before it: chunks, and long lists */
    size_t *early_writes;
    size_t early_count;
    struct map begun;                  /* item + 1 → mirror_begun */
    int64_t *completed;                /* items completed */
    size_t completed_count, completed_room;
    struct json_object *summary;       /* owned; of job.ended */
    uint64_t seq;                      /* of the last row in it; 0 = nothing is in it */
    bool created, cancelling;          /* those rows are in it */
    struct problem problem;            /* a document that could not be made: the mirror cannot go on */
};
void mirror_gather_clear(struct mirror_gather *gather);
bool mirror_gather_full(const struct mirror_gather *gather);
/* result: of item.done, parsed, may be NULL; omitted: it has so many bytes but is not at hand. */
void mirror_add(struct mirror_gather *gather, const struct row *row, const struct event *event, struct json_object *result, int64_t omitted);

/* What is known of the job as of the row that came last. */
struct mirror_state {
    int status;                        /* enum job_status, or -1: not known yet */
    struct counts counts;
    bool counted;                      /* counts are known */
    int64_t total, last_us, ended_us;
    bool sealed;
    int progress;
    char *error;                       /* owned or NULL */
};
void mirror_state_apply(struct mirror_state *state, const struct event *event);
/* Closes the commit with the job's document. `now`: usage, records and hits are as of the last row too. */
void mirror_put_job(struct mirror_gather *gather, const struct mirror_state *state, const struct job *job, bool now, enum firestore_when when,
                    struct bytes update_time);
