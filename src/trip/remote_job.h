/* Inside remote_job: work that another machine does in its own time. We start it, ask how it stands, and fetch what it made.
 *
 *     begin ─┬─▶ look up the cache ─▶ upload ─▶ start ─▶ id, told by item.waiting ─┐                 remote_job_start.c
 *            └─ adopted or retried: the id is known ───────────────────────────────┴─▶ poll ⟲ ─▶ …   remote_job.c
 *     … done ─▶ fetch (pages, parts, also) ⟲ ─▶ rows ─▶ join rows to inputs ─▶ cache ─▶ step_done    remote_job_fetch.c, remote_job_rows.c
 *
 * Each job has its own clock: from `every`'s first figure growing to its second one; a hook only makes the next poll immediate. Until the stage's
 * timeout, which counts from the start over restarts and retries, nothing but a plain refusal (4xx) or the word of the other side fails it. What
 * cannot be read whole is fetched again; nothing is ever started again for it.
 *
 * `with`: {"base":URL, "headers":{…}, "auth":{…},
 *   "upload":{"method":"POST","url":P,"part":"file","file":"input.jsonl","fields":{name: P},"as":"json"|"jsonl",
 *      "body":P,"id":P},                                                                           $id in start: what it gave
 *   "start":{"method":"POST","url":P,"body":P,"id":P,"accepted":[200,202],"headers":{…},"idempotency":NAME of one more header},
 *   "poll":{"method":"GET","url":P,"body":P,"state":P,"done":[…],"failed":[…],"partial":[…],"error":P,"progress":P,"every_us":[a,b],"timeout_us":n},
 *   "fetch":FETCH, "also":[FETCH…], "join":{"row_key":P,"input_key":P}, "row_error":P, "cancel":{"method":"POST","url":P},
 *   "webhook":{"query":NAME}|{"body":NAME}}
 * FETCH: {"method":"GET","url":P | "inline":P over the last poll's body,"auth":"same"|"none","as":"json"|"jsonl"|"csv","unwrap":P,"retry_on":[202],
 *   "page":{"next":P,"param":NAME} | "parts":{"url":P,"count":P,"param":"part","from":1},"max_bytes":n,"timeout_us":n}
 * P: a program over the item's value (over an answer's body: id, state, error, unwrap, next, count) with $id $start $poll besides the usual names.
 * Without poll it is fetched at once, and retry_on says "not yet". `row_error` (default: a string, object or true in .error) makes a row an error.
 * With the stage's "cache":{"row_key":P,"ttl_us":n} rows are looked up by input before anything is started, and only what is missing is asked for.
 *
 * Result: the array of rows; joined ones (join or row_key) in the order of the inputs, rows of no input behind them. An input without a row, and an
 * error row, stand there as ROW_FAILED. */
#pragma once
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "trip/trip.h"

enum remote_job_phase { REMOTE_STARTING, REMOTE_POLLING, REMOTE_FETCHING };

struct remote_job_lookup;              /* a question to the cache under way; it cannot be taken back, so it knows whether anybody still wants it */

struct remote_job_fetch {              /* what is being fetched */
    struct json_object *source;    /* fetch, or one of also; borrowed */
    size_t index;                  /* 0 = fetch, n = also[n - 1] */
    struct buf url, body;          /* of it, as evaluated */
    struct buf at;                 /* of the page or part that is due */
    int64_t part, parts;           /* due, and how many; 0 = no parts */
    int64_t pages;                 /* read so far */
    unsigned spoiled;              /* how often the present page could not be read */
    int file;                      /* the page read, until its successor is known; or -1 */
    bool counting;                 /* the answer says how many parts there are */
};

struct remote_job {
    struct step step;
    struct json_object *with;      /* borrowed */
    struct headers headers, bare, start_headers;   /* for its own host and for others; of the start alone */
    enum remote_job_phase phase;
    struct buf id, start, poll;    /* JSON: $id, $start, $poll; empty = null */
    struct buf url, body;          /* of a poll, then as evaluated for the call under way */
    struct buf cancel;             /* the address that calls it off; empty = there is none */
    struct buf word;               /* the last thing it said that was no state, for the sentence at the end */
    int64_t since_us, deadline_us; /* wall: the start, and when the timeout is over */
    int64_t timeout_us;
    int64_t every_us[2], delay_us; /* delay: the next one */
    int64_t polled_us;             /* monotonic: the last poll's beginning */
    int64_t unknown_us;            /* monotonic: since when it is said to be unknown, 0 = it is not */
    uint32_t polls, fetches;
    uint32_t round;                /* starts so far behind ones that failed */
    bool begun, woken, sleeping;
    void (*again)(struct step *step);              /* when the sleep is over */
    struct timer limit;            /* when even a call that hangs in a limiter has had its time */
    /* the cache */
    struct remote_job_lookup *lookup;
    struct sha *keys;              /* of the inputs, in order; NULL = no cache */
    bool *hits;
    size_t inputs_count, looked, hits_count;
    struct buf misses;             /* JSON array of input numbers that were asked for; empty = all */
    /* fetching and joining */
    struct remote_job_fetch fetch;
    int rows;                      /* {"rows":[[…],…],"inputs":…,"hits":[…]}, as it grows; -1 = not begun */
    size_t rows_count;             /* arrays in it */
    int copying;                   /* what is being copied there, or -1 */
    int64_t copied;
    void (*copied_all)(struct remote_job *job);
    struct buf result;             /* while its rows are being kept */
    struct sha result_blob;
    bool has_blob;
};

/* ---- remote_job.c, remote_job_call.c ---- */

struct remote_job_program { const char *name; struct bytes text; };        /* an empty text is left out */
/* Evaluate them over the step's input, or over `over` (JSON) when it is not NULL; `response` is JSON for $response, or empty. */
void remote_job_eval(struct remote_job *job, const struct remote_job_program *programs, size_t count, const struct bytes *over,
                     struct bytes response, ask_fn *got);
/* The same with the members of a JSON object, `"name":"program",…`. */
void remote_job_eval_text(struct remote_job *job, struct bytes programs, const struct bytes *over, struct bytes response, ask_fn *got);
/* Ask a stage of its own over a file, which is taken over. */
void remote_job_ask(struct remote_job *job, struct bytes stages, int file, ask_fn *got);
void remote_job_ask_over(struct remote_job *job, struct bytes stages, struct bytes value, ask_fn *got);        /* the same over JSON at hand */
/* The answer's tree (the caller puts it), or NULL: the job has failed. `doing`: "starting it", for the sentence. */
struct json_object *remote_job_answer(struct remote_job *job, const struct outcome *outcome, const char *doing);

struct remote_job_call {
    const char *method;
    struct bytes url, body;        /* url: relative to base, or absolute */
    const struct headers *more;    /* further header lines, or NULL */
    const char *purpose;           /* behind the idempotency key */
    bool bare;                     /* no auth */
    bool spool;
    int64_t timeout_us, answer_max;
    const char *part_name, *part_file;
    struct bytes part_fields;
};
void remote_job_call(struct remote_job *job, const struct remote_job_call *call, fetch_fn *got);
const char *remote_job_method(struct json_object *of, const char *fallback);
bool remote_job_transient(const struct fetch_answer *answer);              /* worth another try whatever the stage says */

/* A program that makes the address to call it off before its id is known, and that address with the id. */
#define REMOTE_ID_MARK "0rivulet0id0"
void remote_job_cancel_program(const struct remote_job *job, struct buf *ret);
void remote_job_cancel_know(struct remote_job *job, struct bytes marked);
void remote_job_call_off(struct remote_job *job);        /* nobody waits for the answer */

void remote_job_go_poll(struct remote_job *job);                           /* id is there */
/* It is not ready: the same again when the clock says so (`again`), or the timeout is over. */
void remote_job_wait(struct remote_job *job, int64_t retry_after_us, void (*again)(struct step *step));
/* It is said to be unknown (404): wait a while, then fail. */
void remote_job_unknown(struct remote_job *job, void (*again)(struct step *step));
bool remote_job_retries(const struct remote_job *job, const char *name);   /* the stage's retry.on names it */
void remote_job_fail(struct remote_job *job, const char *type, bool retry, const char *format, ...) __attribute__((format(printf, 4, 5)));
void remote_job_fail_answer(struct remote_job *job, const struct fetch_answer *answer, const char *doing);
void remote_job_end(struct remote_job *job, const struct step_result *result);
struct bytes remote_job_name(const struct remote_job *job);                /* of the stage */

/* ---- remote_job_start.c ---- */

void remote_job_begin_new(struct remote_job *job);
void remote_job_ask_keys(struct remote_job *job, ask_fn *got);              /* of its inputs: {"keys":[…]} */
void remote_job_learn_start(struct remote_job *job);                       /* step_kind.learn, as are those below */
bool remote_job_told(struct remote_job *job);                              /* item.waiting as things stand */
struct bytes remote_job_input_key(const struct remote_job *job);           /* programs */
struct bytes remote_job_row_key(const struct remote_job *job);
bool remote_job_joins(const struct remote_job *job);
bool remote_job_keeps(const struct remote_job *job);                       /* rows are in a cache */
/* Ask the cache for `count` keys; got(job, values) later or at once, not when the job is gone. */
typedef void remote_job_found_fn(struct remote_job *job, const struct bytes *values, size_t count);
void remote_job_look_up(struct remote_job *job, const struct sha *keys, size_t count, remote_job_found_fn *got);
void remote_job_keys(struct remote_job *job, struct json_object *keys, struct sha *ret);     /* null keys become zeroes */
bool remote_job_no_key(const struct sha *key);

/* ---- remote_job_fetch.c, remote_job_rows.c ---- */

void remote_job_go_fetch(struct remote_job *job);
void remote_job_learn_fetch(struct remote_job *job);
void remote_job_learn_rows(struct remote_job *job);
void remote_job_rows_begin(struct remote_job *job);                        /* false start is harmless */
/* What a `rows` ask came to. */
void remote_job_rows_add(struct remote_job *job, const struct outcome *outcome, void (*added)(struct remote_job *job));
void remote_job_finish(struct remote_job *job);                            /* all is fetched: join, keep, end */

/* ---- remote_job_text.c: small texts ---- */

struct bytes remote_job_text(struct json_object *of, const char *name);    /* a program or name; empty when missing */
bool remote_job_walk(struct json_object *tree, struct bytes program, struct json_object **ret);    /* evaluates `.a.b`; false: it is more */
void remote_job_param(struct buf *url, struct bytes name, struct bytes value);     /* &name=value, percent-encoded */
void remote_job_fill(struct bytes text, struct bytes mark, struct bytes id, struct buf *ret);     /* with `mark` replaced by the id (JSON) */
void remote_job_json_of(struct bytes body, struct buf *ret);               /* the body if it is JSON, else it as a JSON string */
bool remote_job_among(struct json_object *list, struct json_object *value);        /* equal to one of them */
void remote_job_value(struct json_object *value, struct buf *ret);         /* its text, `null` for NULL */
