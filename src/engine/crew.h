/* The crew: where legs are done. The engine knows only this table; behind it stand the warm worker processes
 * (engine/workers.c), or the simulator's slow, dead and late ones.
 *
 * Thread: loop, all of it. */
#pragma once
#include "core/outcome.h"

struct task {
    struct token token;
    uint32_t leg;
    struct bytes stages;        /* JSON array of the leg's stage names, e.g. ["decklist"] */
    struct bytes params;        /* JSON object: the job's parameters */
    struct bytes name, type;    /* of the item */
    struct bytes trace;         /* traceparent of the job, or empty */
    struct bytes key;           /* of the item: the client's own, or its batch's group */
    struct bytes variables;     /* JSON object for expressions: params, vars, batch, job, item, now (engine/variables.h) */
    struct bytes remote;        /* what an earlier attempt or opening told by `waiting`, or empty */
    bool has_records;           /* some of the leg's records are done: store_records() */
    const struct pipeline *pipeline;      /* lives as long as the store */
    struct bytes value;         /* inline JSON input, or empty */
    int input_fd;               /* the input as a file opened read-only, or -1; the crew closes it in every case */
    int64_t timeout_us;         /* from the moment the worker has the task */
};

/* What the crew tells the engine. Views are borrowed during the call. */
struct crew_client {
    void *data;
    /* A result that is a blob comes pinned; the engine lets the pin go (engine_world.unpin_blob).
     * Exactly one per started task that was not stopped; a crash or a deadline is an outcome too (RETRY, error_type "crash" or
     * "timeout"). After a kill for a deadline the worker's socket is drained, and what comes is offered with late = true. */
    void (*outcome)(void *data, struct token token, const struct outcome *outcome, bool late);
    /* The remote side works (item.waiting), and a record has ended. False: fenced; the crew forgets the task. It is never stopped from inside these:
     * if such a word ends its job, `stop` follows in a moment. */
    bool (*waiting)(void *data, struct token token, struct bytes remote, struct bytes usage);
    bool (*record)(void *data, struct token token, const struct record_outcome *record);
    /* A live sign of life; says nothing that no event will say. */
    void (*hint)(void *data, struct token token, int percent, struct bytes status);
    /* A slot may have become free without an outcome (a replaced worker is ready). */
    void (*free)(void *data);
};

struct crew;
struct crew_ops {
    size_t (*slots_free)(struct crew *crew);                       /* tasks that can be started right now */
    void (*start)(struct crew *crew, const struct task *task);     /* only when slots_free() > 0; views borrowed during the call */
    /* Kill it; no outcome follows; unknown tokens are ignored. for_good: its job has ended, what it has begun elsewhere is to be called off; else the
     * program ends, and the next opening goes on. */
    void (*stop)(struct crew *crew, struct token token, bool for_good);
    /* Whether the task is only waiting (for a pause to end, or for its turn): nothing is lost when the program ends now. NULL = none ever is. */
    bool (*rests)(struct crew *crew, struct token token);
    /* Tasks of these stages, of this leg and pipeline, will come; there is nothing else in `task`. What can be made ready for them is, where that holds up nothing. NULL = nothing can. */
    void (*learn)(struct crew *crew, const struct task *task);
};

struct crew {
    const struct crew_ops *ops;
    struct crew_client client;   /* set by the engine before the first start */
};
