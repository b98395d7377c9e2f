/* A pipeline: the legs that every item goes through. A leg is one trip to one place (a worker process), and its end is the
 * durable checkpoint. A pipeline is known by the hash of its text, so that a job goes on with the text it started with.
 *
 * "concurrency": N lets at most N items of that pipeline, by its name, run at once over all jobs. A leg's "resources": {"gpu": 1} are
 * units of what it shares with all other legs while it is at work (core/resource.h says how many there are).
 *
 * The text is JSON for now:
 *   {"name":"decklists","result_key":"decklist","legs":[{"stages":["decklist"],"timeout_s":60,"attempts":3,"backoff_ms":[500,30000]}]} */
#pragma once
#include "base/bytes.h"
#include "base/hash.h"
#include "base/problem.h"

enum { PIPELINE_LEGS_MAX = 16, LEG_NEEDS_MAX = 4, RESOURCE_NAME_MAX = 31 };

struct need {
    char name[RESOURCE_NAME_MAX + 1];
    uint32_t units;           /* ≥ 1 */
};

struct leg {
    char *stages;             /* JSON array of stage names, owned */
    int64_t timeout_us;       /* from the moment a worker has the task; default 60 s */
    uint32_t attempts;        /* tries before the item fails; default 3 */
    int64_t backoff_min_us, backoff_max_us;    /* wait before the second attempt, doubling up to the second figure */
    struct need needs[LEG_NEEDS_MAX];          /* resources it takes while at work */
    size_t needs_count;
};

struct pipeline {
    struct sha hash;          /* of text */
    char *text;               /* owned */
    char *name, *result_key;  /* owned; result_key names the result in the seed face's `result` event, default "result" */
    uint32_t concurrency;     /* items of this name at once; 0 = as many as there are workers */
    struct leg legs[PIPELINE_LEGS_MAX];
    size_t legs_count;        /* ≥ 1 */
};

/* NULL and a problem naming the field when the text is no pipeline. Free with pipeline_free. */
struct pipeline *pipeline_parse(struct bytes text, struct problem *problem);
void pipeline_free(struct pipeline *pipeline);
