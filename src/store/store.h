/* The store: where jobs live. It decides who holds an item and what becomes of its outcomes; whoever writes jobs (the engine)
 * asks it, whoever reads them (streams, documents) reads from it.
 *
 * On one machine the decider runs here, on the loop, over a log (log.h). It accepts an event: checks the fence against the
 * fold, stamps it, applies it, queues it for the log. *Accepted is not visible*: nothing may leave the program before the
 * event it rests on is durable; store_when() tells.
 *
 * Thread: loop, all of it. */
#pragma once
#include "base/histogram.h"
#include "base/list.h"
#include "base/problem.h"
#include "core/job.h"
#include "core/outcome.h"
#include "core/pipeline.h"
#include "core/row.h"
#include "store/log.h"

struct store;

/* Time and chance come in through a door, so that the simulator can stand behind it. */
struct store_world {
    void *data;
    int64_t (*now_us)(void *data);        /* monotonic */
    int64_t (*wall_us)(void *data);
    uint64_t (*random)(void *data);       /* spreads back-offs; ids are drawn from the system when `id` below is NULL */
    void (*id)(void *data, char ret[33]); /* a new job's id: 32 hex digits; NULL = 128 bits from the system */
    void *id_data;                        /* for `id` */
};

/* ---- opening ---- */

/* A store without a log yet. Then: open the log with store_opening(), and store_start(). */
struct store *store_new(const struct store_world *world);
struct log_opening *store_opening(struct store *store);     /* hand this to the log's open; the log fills in its numbers */
/* Settle what the log told: interrupted items become due, unsealed jobs are ended. 0, or -1 and a problem (damaged log).
 * The log is the store's from here on, whatever the answer: store_close() closes it. */
int store_start(struct store *store, struct log *log, struct problem *problem);
/* Flush the caches, close the log (all that was accepted is durable then), free everything. Watchers must have left. */
void store_close(struct store *store);
/* Free the memory and nothing else, as a power cut would: for the simulator, which keeps the log and lets it answer nothing more. */
void store_forget(struct store *store);

/* How many units of each resource there are (core/resource.h); none are named at first. Before store_start(). */
struct resources;
void store_set_pools(struct store *store, const struct resources *resources);

/* ---- what is going on ---- */

uint64_t store_pos(const struct store *store);              /* of the last accepted event */
uint64_t store_durable(const struct store *store);          /* of the last durable one */
int64_t store_epoch(const struct store *store);
bool store_busy(const struct store *store);                 /* the queue to the disk is full, or the disk: no intake, no claims */
bool store_disk_full(const struct store *store);
struct store_numbers {
    uint64_t accepted, fenced, claims;      /* since opening */
    size_t jobs_open, jobs_held, tail_bytes;
    size_t tail_marks;                      /* places for rows of the tail: at most a few times those there are */
} store_numbers(const struct store *store);

/* Call `call` once, from the loop, when everything accepted up to now is durable; at once when it is already. */
struct store_wait {
    struct list link;
    uint64_t pos;
    void (*call)(struct store_wait *wait);
};
void store_when(struct store *store, struct store_wait *wait, uint64_t pos, void (*call)(struct store_wait *wait));
void store_unwait(struct store_wait *wait);                 /* harmless when it was called already or never set (zeroed) */

/* ---- jobs ---- */

/* A job that the store holds in memory: every open one, and ended ones as long as somebody holds them. Borrowed pointers stay
 * valid until the next store_tick(), so for this turn of the loop; keep one with live_ref(). */
struct live;
const struct job *live_job(const struct live *live);
uint64_t live_durable_seq(const struct live *live);         /* readers see events up to here */
struct live *live_ref(struct live *live);
void live_unref(struct live *live);                         /* NULL does nothing */

struct store_job {
    struct bytes owner;
    const struct pipeline *pipeline;
    struct bytes params;                  /* JSON object or empty */
    uint32_t in_flight;
    bool ordered;
    bool open;                            /* items start as they are added, before the seal; lives on over a restart */
    struct bytes retry_of, trace;
    /* Idempotency: not empty = (owner, key) names this job from now on, for `key_ttl_us` (0 = as long as the job is there); written in
     * its event's own transaction. While a key with a time lives, pruning leaves its job alone. At most LIMIT_KEY_BYTES. Ask
     * store_find_key() first, and create in its answer. */
    struct bytes key;
    struct sha print;                     /* of what was asked for: a repeat must have the same */
    int64_t key_ttl_us;
    /* What its pipeline's programs came to for it: see job.created. */
    int64_t deadline_us, top_keep, stop_count;
    double max_cost;
    struct bytes webhook;
    const char *const *readers;           /* names of outward readers that have to see all of it: their rows are written with its job.created */
    size_t readers_count;                 /* at most LIMIT_JOB_READERS */
};
/* All of these accept events at once; show nothing that rests on them before store_when(store_pos()). */
/* NULL when the texts and params are too large for an event (LIMIT_BODY_BYTES). An ordered job has one item in flight. */
struct live *store_create(struct store *store, const struct store_job *job);
/* Any number of items; they go out as events of ≤ LIMIT_ADDED_ITEMS items and LIMIT_ADDED_BYTES. 0, or -1 and a problem
 * when one item's own texts are too large for an event, or the job is sealed; then none is added. */
int store_add(struct store *store, struct live *live, const struct item_spec *items, size_t count, struct problem *problem);
/* Items may start (those of an open job have); a job without unfinished items ends at once; nothing if it was cancelled. */
void store_seal(struct store *store, struct live *live);
/* Skip all that has not ended and end the job as cancelled. 0 = done now, 1 = it had ended. `error` may be empty. */
int store_cancel(struct store *store, struct live *live, struct bytes by, struct bytes reason, struct bytes error);

/* An open or recently ended job by its id, without looking at the disk; NULL = ask store_find. */
struct live *store_get(struct store *store, struct bytes id);
struct live *store_get_number(struct store *store, int64_t job);
/* The same with a look at the disk. `done` is called once: at once when the answer is in memory, else later from the loop. live is
 * borrowed, NULL = there is no such job. */
typedef void store_found_fn(void *data, struct live *live);
typedef void store_rows_fn(void *data, struct row **rows, size_t count, int error);
void store_find(struct store *store, struct bytes id, store_found_fn *done, void *data);
void store_find_number(struct store *store, int64_t job, store_found_fn *done, void *data);
/* The job that (owner, key) names, pending ones included: so equal posts at one time find the first. `live` is borrowed, NULL = no job has
 * that key, and one may be created with it in this very call. A key whose job was cut off before its seal is free again. */
typedef void store_key_fn(void *data, struct live *live, const struct sha *print);
void store_find_key(struct store *store, struct bytes owner, struct bytes key, store_key_fn *done, void *data);

/* Whoever asked store_find, store_find_key, store_list, store_items, store_states or store_cache_get with this `data` is answered no more. */
void store_drop_asks(struct store *store, const void *data);

/* The text that a job's hash names; NULL when no job ever had it. Lives as long as the store. */
const struct pipeline *store_pipeline(struct store *store, const struct sha *hash);

/* A page of an owner's jobs, newest first, durable ones only. Views are borrowed until `done`. */
struct store_list_want {
    struct bytes owner;                   /* empty = everybody's */
    struct bytes pipeline;                /* empty = any */
    int status;                           /* enum job_status, -1 = any */
    int64_t before;                       /* jobs with a number below this; INT64_MAX = from the newest */
    size_t limit;                         /* 1 … LIMIT_LIST_JOBS */
};
/* `lives` borrowed, as from store_get, and as of now: hold what rests on them until store_when(store_pos()); `more`: at least one further
 * job fits the want. error < 0: the log could not be read. */
typedef void store_list_fn(void *data, struct live **lives, size_t count, bool more, int error);
void store_list(struct store *store, const struct store_list_want *want, store_list_fn *done, void *data);

/* Forget an ended job and its files now: it is not found any more, and its rows go in bounded steps. 0; 1 = it has not ended. `done` is
 * called when that is durable. */
int store_delete(struct store *store, struct live *live, void (*done)(void *data), void *data);

/* What an owner has open at this moment, for quotas. */
struct store_usage {
    int64_t jobs, items, bytes;           /* jobs that have not ended; their unfinished items; bytes of all inputs of these jobs */
};
struct store_usage store_usage(struct store *store, struct bytes owner);
/* Items of all jobs that have not ended, in whatever state: each takes 16 bytes of memory. */
int64_t store_items_held(const struct store *store);

/* Every job held in memory; *at starts with 0. */
struct live *store_next_job(struct store *store, size_t *at);

/* ---- claims and outcomes: the engine's ---- */

/* What is to be done with a claimed item. Views and the row behind them stay valid until claim_done(). */
struct claim {
    struct token token;
    struct live *live;                    /* one reference */
    const struct pipeline *pipeline;
    uint32_t leg;
    struct bytes name, type, key;
    struct bytes remote;                  /* what the item's last item.waiting of this leg told, or empty */
    bool has_records;                     /* it has record.done or record.failed of this leg: store_records() */
    bool has_blob;                        /* the input is this blob … */
    struct sha blob;
    struct bytes path;                    /* … or this file … */
    struct bytes value;                   /* … or this JSON */
    struct row *row;                      /* what `value` points into … */
    void *arena;                          /* … and what the other views do */
};
void claim_done(struct claim *claim);

/* Start the next due item, fairly: owners take turns, then their jobs. STORE_CLAIMED fills *ret: its item.started is accepted and
 * becomes durable at store_pos(); do not launch before. STORE_NONE: nothing is due now (something may become so: see the two
 * callbacks). Items refused at intake are failed on the way. */
enum { STORE_CLAIMED, STORE_NONE };
int store_claim(struct store *store, struct claim *ret);      /* of any room */
/* The same for legs of those rooms only (a bit for each enum room): the others' turns are not lost. */
int store_claim_for(struct store *store, unsigned rooms, struct claim *ret);

/* An outcome. STORE_FENCED: it came too late and was dropped and counted. STORE_STEPPED: the item keeps its slot and goes on
 * with the next leg: *ret_next (may be NULL when the caller knows there is one leg) is filled like a claim; launch it when
 * store_pos() is durable. STORE_ACCEPTED: retry, done or failed; or the item is done with a leg and waits for the resources of the next,
 * which store_claim hands out when it is its turn. */
enum { STORE_ACCEPTED, STORE_FENCED, STORE_STEPPED };
int store_finish(struct store *store, struct token token, const struct outcome *outcome, struct claim *ret_next);

/* A word of an item that goes on; the same fence. STORE_ACCEPTED or STORE_FENCED.
 * store_waiting: the remote side works: the item keeps its slot, so that in_flight bounds what is open over there. `remote` (JSON, ≤ LIMIT_REMOTE_BYTES) comes back with the claim of
 * a later attempt, and after a restart, when the item is adopted with the attempt that it has.
 * store_record: one record of a leg has ended: whoever goes on with the leg after a crash or a retry does not do it again. */
int store_waiting(struct store *store, struct token token, struct bytes remote, struct bytes usage);
int store_record(struct store *store, struct token token, const struct record_outcome *record);
/* The record.done and record.failed of the leg that an item is at, newest first: `done` once, at once or later, with all of them; error < 0: the log
 * could not be read. Rows are borrowed. */
void store_records(struct store *store, struct live *live, int64_t item, store_rows_fn *done, void *data);
/* Rows of a job by their positions (of the job's best, say), at most LIMIT_READ_ROWS: `done` once, at once or later, when they are durable, with them in
 * the log's order; those that were removed are left out. */
void store_at(struct store *store, struct live *live, const uint64_t *positions, size_t count, store_rows_fn *done, void *data);

/* End a job before all is done: what has not ended is skipped. reason: "enough", "deadline" (its results count: completed, unless nothing was),
 * "job_failed", "budget" (error, with that sentence). 0 = done now, 1 = it had ended. The store does it by itself when there are hits enough,
 * the deadline is over or max_cost is passed. */
int store_stop(struct store *store, struct live *live, const char *reason, struct bytes error);

/* ---- the cache of results ---- */

/* Results by key, beside the log: losing one costs work, nothing else. Keys are hashes of what names the work. `got` once, at once or later: values[i].at
 * NULL = there is none that is still good. At most LIMIT_CACHE_KEYS at a time. */
typedef void store_cached_fn(void *data, const struct bytes *values, size_t count);
void store_cache_get(struct store *store, const struct sha *keys, size_t count, store_cached_fn *got, void *data);
/* It can be got at once and is written some time later. When too much waits for the disk it is dropped, with a warning a minute on standard
 * error. Values over LIMIT_BODY_BYTES are not kept; beyond LIMIT_CACHE_BYTES in all, those that expire first go. `value` is copied. */
void store_cache_put(struct store *store, const struct sha *key, struct bytes value, int64_t ttl_us);

/* ---- outward readers ---- */

/* Their durable cursors: how far a reader of that name has brought a job to the other side. A job that a reader is behind of is not removed. */
typedef void store_reader_fn(void *data, int64_t job, uint64_t seq);
void store_readers(struct store *store, const char *name, store_reader_fn *each, void *data);       /* those of the opening, from memory */
void store_reader_set(struct store *store, const char *name, int64_t job, uint64_t seq);            /* written behind, in order */
void store_reader_drop(struct store *store, const char *name, int64_t job);                         /* all of it is there, or it was given up */

/* Move items whose back-off is over to the due ones, end open jobs that fell silent, let go of jobs that nobody needs; answers when to
 * call again (monotonic µs, INT64_MAX = no need). */
int64_t store_tick(struct store *store);

struct store_client {
    void *data;
    /* Something may be claimable now that was not before. Called from inside other calls: only take note. */
    void (*due)(void *data);
    /* A job's end was accepted: what still runs for it is to be stopped. Called from inside other calls too. */
    void (*ended)(void *data, struct live *live);
};
void store_set_client(struct store *store, const struct store_client *client);

/* Write the caches behind the log when they are due (each second while dirty; also by themselves every LIMIT_FLUSH_EVENTS). */
void store_flush(struct store *store);
/* Remove what ended before that time, in bounded steps on the log's thread; jobs that an idempotency key still names stay. */
void store_prune(struct store *store, int64_t ended_before_us);

/* Look at every event as it becomes durable, before its watchers are told: for numbers, logs, and those who wait for new jobs. */
struct store_listener {
    struct list link;
    void (*seen)(void *data, struct live *live, const struct row *row);       /* borrowed; a listener may leave in its own call */
    void *data;
};
void store_on_durable(struct store *store, struct store_listener *listener);  /* set seen and data before */
void store_unlisten(struct store_listener *listener);                         /* harmless when zeroed or gone */
/* How long the log's commits took since its opening, their fsync included. */
struct histogram store_commits(const struct store *store);

/* ---- reading ---- */

/* A watcher is told, from the loop, each time a job has new durable events (once for many), and when the job was pruned. */
struct watcher {
    struct list link;
    struct live *live;                    /* set by store_watch, NULL when it watches nothing */
    void (*news)(struct watcher *watcher);
};
void store_watch(struct live *live, struct watcher *watcher);
void store_unwatch(struct watcher *watcher);          /* harmless when zeroed or gone */

/* The durable rows of a job from a seq on. From memory: up to `max` rows with one reference each in ret[], answers how many (0 = at
 * the tip). STORE_ON_DISK: ask store_read. */
enum { STORE_ON_DISK = -1 };
int store_rows(struct live *live, uint64_t from_seq, struct row **ret, int max);
/* Items by their index, at most LIMIT_READ_ROWS of them, of an open or an ended job. `state` is as of now; hold what rests on it until
 * store_when(job->pos). */
struct store_item {
    int64_t index;
    struct item state;
    struct item_spec spec;                /* as it was handed in; views good during the call */
    struct row *word;                     /* item.done, item.failed, item.stepped …: its last word; NULL = it has said nothing yet, or was skipped */
};
typedef void store_items_fn(void *data, const struct store_item *items, size_t count, int error);
/* `done` once, at once or later, from the loop, with all of them in the order asked for (up to 24 MiB of words, were all as long as they
 * may be); error < 0: -ENOENT the job was removed meanwhile, else the log could not be read. Each index is below job->total. */
void store_items(struct store *store, struct live *live, const int64_t *items, size_t count, store_items_fn *done, void *data);
/* The same without `spec`: what results are made of. An item's items.added is not read again for it. */
void store_words(struct store *store, struct live *live, const int64_t *items, size_t count, store_items_fn *done, void *data);
/* The states of items from … of an open or ended job without their words, for filters: answers by `done` with ≤ 8,192 of them
 * (state and index only, spec and word empty), at least one unless `from` is behind the last. Go on behind the last one answered. */
void store_states(struct store *store, struct live *live, int64_t from, store_items_fn *done, void *data);

/* From the disk: `done` is called from the loop with ≤ LIMIT_READ_ROWS rows (borrowed; ref to keep). count 0 with error < 0: it
 * could not be read. The request may be given up with store_read_drop: then `done` is never called. NULL when it was answered at once. */
struct store_read;
struct store_read *store_read(struct store *store, struct live *live, uint64_t from_seq, store_rows_fn *done, void *data);
void store_read_drop(struct store_read *read);        /* NULL does nothing */
