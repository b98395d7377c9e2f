/* A pipeline: the legs that every item goes through. A leg is one trip to one place, and its end is the durable checkpoint. A pipeline is
 * known by the hash of its text, so that a job goes on with the text it started with.
 *
 * The text is canonical JSON; config/ makes it of a pipeline file (YAML), with templates made programs and units made numbers. No secret is in it:
 * where one is needed stands {"$env":"NAME"}. A program is jq (expr/expr.h has the variables). Members that are not needed are left out.
 *
 *   {"name":"profiles", "result_key":"result", "concurrency":0, "in_flight":10, "ordered":false, "deadline_us":3600000000, "max_cost":5.0,
 *    "params":{"campaign":{"type":"string","required":true},"top":{"type":"integer","default":50}},     what a job may be given
 *    "vars":{…},                                                                                        any JSON: $vars
 *    "input":{"items":program,"key":program,"dedupe":true,"accept":["image/jpeg"],"max_items":50,"max_bytes":10485760},
 *    "batch":{"by":program,"size":20},                           items of inputs: an item's value is the array of them, its key the group
 *    "stop":{"count":program},"top":{"keep":program},            evaluated once, when a job is made, over null
 *    "mirror":{"firestore":{…}},                                 readers that go outwards
 *    "legs":[{"each":"record","stages":[STAGE…],"timeout_s":60,"attempts":3,"backoff_ms":[500,8000],"jitter":true,"resources":{"gpu":1},
 *             "marks":{"score":program,"hit":program}}]}         of a record leg: evaluated over each record's result
 *
 *   STAGE  {"stage":kind,"name":"fit","with":{what the kind takes},"when":program,"else":program,"timeout_us":n,
 *           "retry":{"attempts":3,"on":["429","5xx","network","timeout"],"backoff_us":[500000,8000000],"jitter":true},
 *           "rate":{"requests":500,"requests_per_us":60000000,"tokens":200000,"tokens_per_us":60000000},"concurrency":20,
 *           "cache":{"key":program,"row_key":program,"ttl_us":n},"on_error":"continue"|"drop_record"|"fail_item"|"fail_job"|{"use":value}}
 *          or a kind's name alone
 *
 * Kinds that stay in a worker join into one leg: decklist, match, noop, jq {program}, split {program}, gather {sort_by: program}, tail {result: program,
 * stats: {name: program}, score: program, hit: program}. Each of http, remote_job, llm and exec ends its leg. Between split and gather legs are of each
 * "record": their input is an array, each element goes through the leg's stages (jq, http, llm) by itself, and their output is the array of what came
 * of those that neither failed nor were dropped. A leg's timeout, attempts and back-off are those of its stages, unless it says its own: the sum,
 * and the most.
 *
 * "concurrency": N of the pipeline lets at most N items of that pipeline, by its name, run at once over all jobs. A leg's "resources": {"gpu": 1} are
 * units of what it shares with all other legs while it is at work (core/resource.h says how many there are). */
#pragma once
#include "base/bytes.h"
#include "base/hash.h"
#include "base/problem.h"

enum { PIPELINE_LEGS_MAX = 16, LEG_NEEDS_MAX = 4, RESOURCE_NAME_MAX = 31 };

struct need {
    char name[RESOURCE_NAME_MAX + 1];
    uint32_t units;           /* ≥ 1 */
};

/* Where a leg is done: each has a crew of its own. */
enum room {
    ROOM_WORKER,              /* sandboxed processes: what only computes */
    ROOM_EXEC,                /* processes that start programs */
    ROOM_TRIP,                /* calls that leave the machine, and legs over records */
    ROOM_COUNT,
};

struct leg {
    char *stages;             /* JSON array of stages, each an object or a name, owned */
    enum room room;
    bool records;             /* each: record */
    bool programs;            /* expressions are evaluated on its way: it needs all variables. Plain decklist, match and noop do not */
    char *marks;              /* JSON object, owned; NULL = none */
    int64_t timeout_us;       /* from the moment its crew has the task; default 60 s */
    uint32_t attempts;        /* tries before the item fails; default 3 */
    int64_t backoff_min_us, backoff_max_us;    /* wait before the second attempt, doubling up to the second figure */
    bool steady;              /* these very waits; else by chance down to half of them */
    struct need needs[LEG_NEEDS_MAX];          /* resources it takes while at work */
    size_t needs_count;
};

struct pipeline {
    struct sha hash;          /* of text */
    char *text;               /* owned */
    struct json_object *tree; /* of text, owned; read-only, so any thread may look */
    char *name, *result_key;  /* owned; result_key names the result in the seed face's `result` event, default "result" */
    uint32_t concurrency;     /* items of this name at once; 0 = as many as there are workers */
    uint32_t in_flight;       /* of one job; 0 = not said */
    bool ordered;
    int64_t deadline_us;      /* 0 = none */
    double max_cost;          /* 0 = any */
    struct leg legs[PIPELINE_LEGS_MAX];
    size_t legs_count;        /* >= 1 */
};

/* NULL and a problem naming the field when the text is no pipeline. Free with pipeline_free. */
struct pipeline *pipeline_parse(struct bytes text, struct problem *problem);
void pipeline_free(struct pipeline *pipeline);

/* The stages of a leg, an array in the tree; each is an object, or a kind's name alone. Borrowed. Read it with json_get and its like: printing an
 * object writes into it. */
struct json_object *pipeline_stages(const struct pipeline *pipeline, size_t leg);
struct bytes pipeline_stage_kind(struct json_object *stage);      /* "http" */
struct bytes pipeline_stage_name(struct json_object *stage);      /* its name, else its kind */

/* Rows in the cache. The program that makes an input's key, of a stage that joins rows to inputs; and the name under which the cache keeps the rows of
 * such a key: a hash over the pipeline's name, the stage's, where and how it is started, and the key. Zeroes for a key that is null: it has none. */
struct bytes pipeline_input_key(struct json_object *stage);
struct sha pipeline_row_name(const struct pipeline *pipeline, struct json_object *stage, struct json_object *key);
