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
};

/* The fence: who may speak for an item. On one machine the holder is this opening of the store. */
struct token {
    int64_t job, item;
    uint32_t attempt;
    int64_t holder;             /* epoch */
};
