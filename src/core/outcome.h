/* What a trip of an item through one leg came to: the word of a worker process, or of the engine when the worker had none. */
#pragma once
#include "base/hash.h"

enum verdict {
    VERDICT_DONE,       /* value is the leg's result */
    VERDICT_RETRY,      /* failed, another attempt may succeed: crash, deadline, temporary trouble */
    VERDICT_FAIL,       /* failed for good */
};

/* Borrowed views; JSON texts where said. */
struct outcome {
    enum verdict verdict;
    struct bytes value;         /* JSON; DONE only */
    const struct sha *blob;     /* not NULL: value is {"blob":…} and this is its name */
    struct bytes stats;         /* JSON object name → number, or empty */
    struct bytes error;         /* sentence; RETRY and FAIL */
    struct bytes error_type;    /* "validation", "processing", "timeout", "crash" */
    struct bytes stage;         /* the stage that failed, may be empty */
    struct bytes usage;         /* JSON object name → number: what it took ("calls", "tokens_in", "tokens_out", "cost" in $ …), whatever came of it; or empty */
    bool has_score, hit;        /* DONE: for the job's best, and for what its `stop` counts */
    double score;
    int64_t retry_after_us;     /* RETRY: not before that time is over; 0 = the leg's back-off alone */
    const struct record_outcome *record;      /* FAIL: the record that takes its item along (on_error: fail_item, fail_job), not told yet; NULL = none */
    bool fail_job;              /* FAIL, and RETRY when no try is left: the whole job ends with it (on_error: fail_job) */
    struct bytes otherwise;     /* the same: JSON that takes the failure's place (on_error: {use: …}); empty = none */
    bool unsaid;                /* RETRY and FAIL: no stage said so (its worker died, its deadline passed …), so its on_error is still to be asked */
};

/* What one record of an item's leg came to. A record that is dropped is neither a result nor an error. */
struct record_outcome {
    int64_t record;             /* from 0, as the leg's input has them */
    bool failed, dropped;
    struct bytes value;         /* JSON; done */
    const struct sha *blob;     /* as above */
    struct bytes error, error_type, stage, usage;
    bool has_score, hit;
    double score;
};

/* The fence: who may speak for an item. On one machine the holder is this opening of the store. */
struct token {
    int64_t job, item;
    uint32_t attempt;
    int64_t holder;             /* epoch */
};
