/* What the files of this folder share. A trip takes one item through one leg; a *run* takes one value, the item's own or one record's, through the
 * leg's stages one after another; a *step* (trip.h) is one stage of a run.
 *
 *     trips ──▶ trip ──▶ run of the item                       ──▶ step
 *                   └──▶ records ──▶ runs of so many records   ──▶ step each */
#pragma once
#include "base/limits.h"
#include "base/list.h"
#include "trip/trip.h"

struct records;

struct trips {
    struct crew crew;              /* first, so that the one is the other */
    struct trips_options options;
    struct limiters *limiters;
    struct list all;               /* trip */
    size_t count;
    struct list farewells;
    size_t farewells_count;
    struct trips_numbers numbers;  /* those of calls */
};

/* Names to numbers, added up. */
struct used {
    struct { char name[32]; double value; } numbers[LIMIT_STATS];
    size_t count;
};
void used_add(struct used *used, struct bytes usage);          /* JSON object, or empty */
void used_put(const struct used *used, struct buf *ret);       /* nothing when there are none */

struct trip {
    struct list link;
    struct trips *trips;
    struct token token;
    uint32_t leg_number;
    const struct pipeline *pipeline;
    const struct leg *leg;
    struct json_object *stages;    /* array; its tree is borrowed from the pipeline, or `own_stages` */
    struct json_object *own_stages;
    size_t stages_count;
    char *texts;                   /* what the views are into */
    struct bytes stages_text, variables, value, type, trace, remote, id;     /* id: the job's, or its number */
    int input_fd;                  /* or -1 */
    bool has_records;
    struct timer timer;            /* begin, or the end of what was fenced */
    struct run *run;               /* of the item, or NULL */
    struct records *records;       /* or NULL */
    bool waits;                    /* it has told item.waiting */
    bool fenced;                   /* nobody wants to hear of it any more; it goes in a moment */
};

struct json_object *trip_stage(const struct trip *trip, size_t index);       /* NULL = a kind's name alone */
struct bytes trip_stage_kind(const struct trip *trip, size_t index);
struct bytes trip_stage_name(const struct trip *trip, size_t index);         /* "fit", or the kind */
void trip_tell(struct trip *trip, const struct outcome *outcome);            /* its outcome: frees it */
void trip_fence(struct trip *trip);                                          /* it goes, but not inside this call */
bool trip_last_try(const struct trip *trip);                                 /* a retry would be refused: the leg has no attempt left */
void trip_free(struct trip *trip);

/* How a run came to its end. */
struct run_end {
    bool done, dropped, fail_item, fail_job, retry;
    struct bytes value;            /* done: JSON */
    const struct sha *blob;        /* done: not NULL: pinned, the hearer's */
    const char *error_type;
    struct bytes error, stage;
    int64_t retry_after_us;
    struct bytes usage;            /* of all its steps, JSON object or empty */
};
typedef void run_over_fn(struct run *run, const struct run_end *end);      /* frees the run with run_free, before or after */

struct run {
    struct list link;              /* records: of those under way */
    struct trip *trip;
    int64_t record;                /* -1 = the item */
    size_t stage;                  /* the one it is at */
    struct bytes value;            /* its input: borrowed, or `owned` */
    char *owned;
    int input_fd;                  /* or -1; the run's */
    struct step *step;             /* or NULL: between two attempts */
    uint32_t tries;                /* failed attempts of this stage; records only */
    struct timer timer;            /* until the next attempt */
    struct used used;
    struct stow *stow;             /* its last value is on its way into a blob */
    struct ask *ask;               /* what its stage has made is put into its input */
    bool has_made;                 /* what its stage has made is about to be opened for the next one: */
    struct sha made;               /* … a blob, pinned */
    bool asked;                    /* a worker has been asked something for it */
    bool has_cache_key, from_cache;
    struct sha cache_key;
    run_over_fn *over;
    void *data;
};

/* `value` is borrowed as long as the run; input_fd is taken over. `over` may come inside run_begin(). */
struct run *run_new(struct trip *trip, int64_t record, struct bytes value, int input_fd, run_over_fn *over, void *data);
void run_begin(struct run *run);                      /* from the loop, not inside this call */
void run_step_over(struct run *run, struct step *step, const struct step_result *result);     /* steps.c: the step has come to its end */
void run_stop(struct run *run, bool for_good);        /* frees it; nobody is told */
bool run_rests(const struct run *run);                /* no call and no question of it is under way */
void run_free(struct run *run);

/* steps.c */
struct step *step_new(struct run *run, const struct step_kind *kind);
void step_stop(struct step *step, bool for_good);     /* frees it */
void step_begin(struct step *step);                   /* common keys first, then the kind */
void step_learn(struct run *run, const struct step_kind *kind);      /* a rehearsal of the run's stage; nothing is left of it */
/* A failure that is told from the loop, because it was found inside what the kind asked for. */
void step_fail_late(struct step *step, const char *error_type, bool retry, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The input of an ask: `value`, or the step's own when value.at is NULL; long ones go as files. False: no descriptor or memory. */
bool step_input(const struct step *step, struct bytes value, struct ask_want *want);
/* Any value, the same way. */
bool want_value(struct ask_want *want, struct bytes value);
const char *step_error_type(struct bytes name);       /* as a static text */
void step_unsecret(const struct step *step, struct problem *problem);
/* call.c */
void call_drop(struct step *step);                    /* what is in line or under way */
void farewells_drop(struct trips *trips);
struct bytes step_stage_name(const struct step *step);

/* records.c */
struct records *records_new(struct trip *trip);
void records_begin(struct records *records);
void records_learn(const struct trip *trip);          /* what marks will ask */
void records_wake(struct records *records, void (*wake)(struct step *step));
bool records_rest(const struct records *records);
void records_stop(struct records *records, bool for_good);     /* frees it */

/* hook.c: 48 characters that name a trip, and that nobody can make who has not the key. */
enum { HOOK_TOKEN_SIZE = 49 };
void hook_token(const unsigned char *key, int64_t job, int64_t item, uint32_t leg, char ret[HOOK_TOKEN_SIZE]);
bool hook_read(const unsigned char *key, struct bytes token, int64_t *ret_job, int64_t *ret_item, uint32_t *ret_leg);

/* stow.c: several pieces as one JSON array, or one piece alone, inline when it is short enough, else in a blob. */
struct stow;
typedef void stow_fn(void *data, const struct outcome *outcome);       /* DONE with value and perhaps a pinned blob; or RETRY or FAIL */
/* pieces: an array and texts that are all given away; those whose text is {"blob":…} are read from there. brackets: they become an array; else there
 * is one. Never answers inside this call. */
struct stow *stow_start(struct trips *trips, struct bytes *pieces, size_t count, bool brackets, stow_fn *done, void *data);
void stow_drop(struct stow *stow);                    /* `done` is not called; not after `done`. NULL does nothing */
bool stow_blob_of(struct bytes value, struct sha *ret);
