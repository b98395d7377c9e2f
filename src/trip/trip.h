/* Inside trips: one trip, and what a kind of stage has to be able to do. One file a kind and one line in kinds.c.
 *
 *     begin ──▶ (asks, calls, timers, in any order) ──▶ step_done | step_failed, once
 *
 * A *step* is one stage with one input: an item's value (its leg has one such stage), or one record of it (records.c runs a leg's stages over each
 * record). What a step needs stands in it; where its result goes is not its business. Thread: loop. */
#pragma once
#include "core/pipeline.h"
#include "trip/limiter.h"
#include "trip/trips.h"

struct json_object;
struct run;
struct step;

struct step_kind {
    const char *name;
    size_t size;                                   /* of the struct that begins with struct step */
    void (*begin)(struct step *step);
    /* It is of no interest any more. for_good: its job ended or was cancelled (a remote job is cancelled at the other side); else the program ends and
     * the next opening goes on. Asks and calls of the step itself are dropped by the caller. */
    void (*stop)(struct step *step, bool for_good);
    void (*wake)(struct step *step);               /* a hook came; NULL = does not matter */
    void (*free)(struct step *step);               /* what the kind holds: last of all, in every case; NULL = nothing */
    void (*learn)(struct step *step);              /* a step that rehearses: ask for all that the stage's settings alone decide, in the order it will be wanted */
    bool keeps_time;                               /* it ends itself at the stage's timeout, which counts from long before this attempt */
};
extern const struct step_kind step_http, step_llm, step_remote_job, step_jq;
const struct step_kind *step_kind_find(struct bytes name);             /* NULL = no stage that leaves the machine */

/* What came of a step. Views borrowed during the call. */
struct step_result {
    struct bytes value;            /* JSON; done */
    const struct sha *blob;        /* not NULL: value is {"blob":…}, pinned */
    struct bytes usage;            /* JSON object of numbers, or empty; failures too may have cost something */
    const char *error_type;        /* failed: "network", "timeout", "status", "validation", "expression", "invalid_json", "budget", "remote" … */
    struct bytes error;            /* a sentence */
    bool passed;                   /* done: value is the input as it came, because `when` said no */
    bool retry;                    /* another attempt may succeed: the stage's `retry.on` was asked already (step_may_retry) */
    int64_t retry_after_us;
};

enum { STEP_SECRETS_MAX = 4 };

struct step {
    const struct step_kind *kind;
    struct trips *trips;
    struct trip *trip;
    struct json_object *stage;     /* {"stage","name","with",…}, borrowed from the pipeline */
    struct limiter *limiter;       /* shared by all steps of the stage with the same host and key; NULL until the kind has asked limiter_of() */
    struct bytes value;            /* its input, JSON text; borrowed, lives as long as the step. {"blob":…} inputs come as input_fd instead */
    int input_fd;                  /* or -1; the step's */
    int64_t record;                /* -1 = the item itself */
    struct bytes remote;           /* what an earlier attempt or opening told by step_waiting, or empty */
    uint32_t attempt;
    struct bytes usage;            /* what it took so far, JSON or empty, the kind's own: step_fail() tells it too */
    bool rehearses;                /* it has no input and no end: what it asks is told to workers to learn (step_ask), and it calls nobody */
    struct bytes idempotency_key;  /* the same for all attempts of this step: job-item-leg[-record] */
    /* What follows is steps.c's and call.c's own. One ask, one call and one sleep at a time. */
    struct run *run;
    struct ask *ask;
    ask_fn *got_ask;
    void (*got_eval)(struct step *step, struct json_object *answer);
    struct step_cache *cache;      /* a look into the cache, under way */
    struct fetch_call *call;
    struct limiter_place place;
    struct outgoing *out;          /* the call, waiting or under way */
    char host[128];                /* of the last call, for sentences */
    int64_t spent_us;              /* of the attempt's time: only while calls are under way */
    int64_t tokens;                /* what the last call was thought to take */
    struct timer timer, late;
    void (*woken)(struct step *step);
    struct late_failure *failure;  /* told by `late` */
    const char *secrets[STEP_SECRETS_MAX];     /* resolved ones, borrowed from the environment: struck out of sentences */
    size_t secrets_count;
};

/* What all trips work with: store, blobs, fetch, loop … Borrowed. */
const struct trips_options *step_world(const struct step *step);
/* The trip's variables as one JSON object, with `more` (members without braces, or empty) added. */
void step_variables(const struct step *step, struct bytes more, struct buf *ret);
/* Where a hook wakes this step: PUBLIC_URL/v1/hooks/TOKEN, the same for all attempts. False: nobody can reach us. */
bool step_hook_url(const struct step *step, struct buf *ret);

/* Among the rows that a remote job gives may stand such as {"$failed":{"error":"…","error_type":"remote","error_code":…?},"input":…}: an input that the
 * other side could not do. records.c makes them failed records at once. */
#define ROW_FAILED "$failed"

/* For kinds. Each ends what was under way of its sort before. */
/* Evaluate programs over the step's input (or `value`, of any length): {"name":"program",…} → the answer {"name":value,…}. When that
 * fails the step has been failed, and `got` is not called. Variables are the trip's, with `more` added: JSON members `"id":…,"poll":…` without braces,
 * or empty. */
void step_eval(struct step *step, struct bytes programs, struct bytes value, struct bytes more,
               void (*got)(struct step *step, struct json_object *answer));
/* want->variables empty = the trip's own. data = step */
void step_ask(struct step *step, const struct ask_want *want, ask_fn *got);
/* One call within the stage's limiter (when step->limiter is NULL: the one for the address's host and the stage's auth is taken first): waits for its
 * turn, tells the limiter what came (429 and Retry-After pause everybody), and a call that was refused with 429 waits and goes out again, at most
 * LIMIT_REFUSALS times. A POST gets an Idempotency-Key, unless with.idempotency_key is false; the job's traceparent goes along. What is in `call` is
 * copied. Its time is what the stage's timeout has left: waiting in line costs nothing of it. */
struct step_call {
    struct fetch_request request;
    int64_t tokens;                /* taken from the token bucket, an estimate … */
    int64_t (*used)(struct step *step, const struct fetch_answer *answer);         /* … and what it really took, < 0 = unknown; NULL = as estimated */
    bool (*for_good)(struct step *step, const struct fetch_answer *answer);        /* a 429 that no waiting cures: told to `got`; NULL = none is */
    const char *purpose;           /* "cancel": further POSTs of a step must not be taken for repeats of the first; NULL = the first */
};
void step_call(struct step *step, const struct step_call *call, fetch_fn *got);      /* data = step */
/* A call that outlives the step, whose answer interests nobody: for `stop`. It is given 10 s. */
void step_farewell(struct step *step, const struct step_call *call);
/* An address of a stage: `path` behind with.base (a text or {"$env":…}), or `path` alone when it is absolute. *ret_guarded: its origin is not that of
 * the base, and with.allow_private is not true. *ret_foreign: there is a base and the origin is another, so secrets must not go there. False: failed. */
bool step_url(struct step *step, struct json_object *with, struct bytes path, struct buf *ret, bool *ret_guarded, bool *ret_foreign);
void step_sleep(struct step *step, int64_t delay_us, void (*woken)(struct step *step));
/* item.waiting: the remote side works. Only for the item itself. False: fenced, the step is being stopped. */
bool step_waiting(struct step *step, struct bytes remote);
void step_end(struct step *step, const struct step_result *result);                  /* frees the step */
void step_fail(struct step *step, const char *error_type, bool retry, int64_t retry_after_us, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Is this end of a call among the stage's `retry.on` (default network, timeout, 408, 425, 429, 5xx, invalid_json)? `name` for others ("invalid_json"). */
bool step_may_retry(const struct step *step, const struct fetch_answer *answer, const char *name);
/* The failure that an answer is, with the stage's name, host, status and the first words of its body. doing: "starting it", or NULL. */
void step_fail_answer(struct step *step, const struct fetch_answer *answer, const char *doing);
/* The failure that a worker's answer is which is no value. */
void step_fail_outcome(struct step *step, const struct outcome *outcome);
/* A live sign of life: how far it is, 0 to 100, and a word for it. */
void step_hint(struct step *step, int percent, struct bytes word);
/* A text that may be {"$env":"NAME"}: from the environment. False and the step failed when it is not set. Never shown anywhere. */
bool step_secret(struct step *step, struct json_object *from, struct buf *ret);
/* Headers of {"auth":{"bearer"|"basic"|"header"…},"headers":{…}} of a `with`, as lines; false: failed. */
enum { HEADER_LINES = 32 };
struct headers { struct buf text; struct bytes lines[HEADER_LINES]; size_t count; };
/* Texts in `headers` are programs; those that are mere literals are added here, the others are the kind's to evaluate: step_header_programs() puts them
 * among its programs as "header NAME".
 * foreign: the address is another's: auth and secrets stay at home. `ret` is initialised here; headers_free in every case. */
bool step_headers(struct step *step, struct json_object *with, bool foreign, struct headers *ret);
void step_header_programs(struct json_object *headers, struct buf *programs);
bool step_is_literal(struct bytes program);              /* it gives the same text whatever it sees: a JSON string */
bool step_names_status(struct json_object *word, int status);      /* 429, "429", "4xx" */
void headers_free(struct headers *headers);
void headers_add(struct headers *headers, const char *name, struct bytes value);
void headers_done(struct headers *headers);        /* lines and count hold now, until the next headers_add */
