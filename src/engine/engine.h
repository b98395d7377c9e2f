/* The engine: the only writer of jobs. It takes jobs in, claims what is due, launches it on the crew when its start is durable, and
 * brings the outcomes to the store. It holds no truth: everything it knows can be forgotten and is found again in the log.
 *
 * It has no clock and no thread of its own: its world calls engine_run() when something may be due. In the program that is the
 * loop (engine_loop.c), in the tests the simulator.
 *
 * Thread: loop. */
#pragma once
#include "base/histogram.h"
#include "engine/crew.h"
#include "store/store.h"

struct engine;

struct engine_world {
    void *data;
    int64_t (*now_us)(void *data);                 /* monotonic */
    int64_t (*wall_us)(void *data);
    /* Call engine_run() soon (from the loop, not from inside this call), and not later than at_us (monotonic). The earliest word counts. */
    void (*run_at)(void *data, int64_t at_us);
    /* Open a blob for reading: a descriptor, or < 0: -errno. */
    int (*open_blob)(void *data, const struct sha *sha);
    /* Keep a blob, whether or not something durable uses it, until unpin_blob. NULL: nothing ever goes. */
    void (*pin_blob)(void *data, const struct sha *sha);
    /* The event that names a worker's large result is durable: the pin that the crew took may go. */
    void (*unpin_blob)(void *data, const struct sha *sha);
    /* The same, but no event will name it: unless something else uses it, the file may go too. NULL: unpin_blob does. */
    void (*abandon_blob)(void *data, const struct sha *sha);
};

struct engine_options {
    struct engine_world world;
    struct store *store;                           /* opened; its client becomes the engine */
    struct crew *crews[ROOM_COUNT];                /* their client becomes the engine; NULL = legs of that room fail */
    int64_t retention_us;                          /* ended jobs are removed after this; 0 = never */
};

struct engine *engine_new(const struct engine_options *options);
/* Forget everything; running tasks are stopped, their items are found interrupted by the next opening. NULL is fine. */
void engine_free(struct engine *engine);
void engine_run(struct engine *engine);

/* ---- intake ---- */

/* A whole job at once: created, its items, sealed, in one breath; for many items see engine_add. The live is borrowed; nothing may be
 * told to anybody before store_when(store_pos()). NULL and a problem when an item is too large for the log, or no intake is possible now
 * (the disk is full or slow, or memory holds LIMIT_OPEN_ITEMS: `*ret_busy` true, answer 507 or 503). */
struct live *engine_submit(struct engine *engine, const struct store_job *job, const struct item_spec *items, size_t count,
                           bool *ret_busy, struct problem *problem);
/* A job in pieces: created now, items added as they come, sealed when all are there. What `job->open` says:
 *   true    an open job: its items start as they are added. It lives on over a restart, and is cancelled when no item came for
 *           LIMIT_OPEN_SILENCE_US and nothing of it is left to be done
 *   false   nothing starts before the seal, and a restart before it ends the job ("upload was cut off"); a caller who gives up cancels it
 * The live is borrowed: keep it with live_ref(). NULL and a problem as above.
 *
 * engine_add and engine_seal answer 0; ENGINE_FULL and a problem: so many items would pass LIMIT_OPEN_ITEMS over all jobs, answer 429
 * (*ret_busy is false; a moment later there may be room); < 0 and a problem: no intake is possible now (*ret_busy true, answer 507 or
 * 503), or the job is sealed or has ended, or an item is too large (*ret_busy false, answer 409 or 400). Nothing is added then.
 * Show nothing before store_when(store_pos()).
 *
 * Many items must not hold the loop: add at most ENGINE_ADD_ITEMS a turn, and wait with store_when(store_pos()) before the next ones;
 * then neither the queue to the disk (store_busy) nor anybody else's turn is in danger. */
enum { ENGINE_FULL = 1, ENGINE_ADD_ITEMS = 4096 };
struct live *engine_open_job(struct engine *engine, const struct store_job *job, bool *ret_busy, struct problem *problem);
int engine_add(struct engine *engine, struct live *live, const struct item_spec *items, size_t count, bool *ret_busy, struct problem *problem);
int engine_seal(struct engine *engine, struct live *live, bool *ret_busy, struct problem *problem);

/* A new job (`retry_of`) of what failed in an ended one: all its failed items, or those of `items` (all must have failed). The same
 * question again gives the same job. `done` is called once, from the loop, when the new job is durable: live is borrowed; NULL and a
 * problem = it could not be (`status`: 409 nothing failed or not ended, 503 busy, 507 disk full, 404 removed meanwhile, 500 unreadable). */
typedef void engine_retry_fn(void *data, struct live *live, int status, const struct problem *problem);
void engine_retry(struct engine *engine, struct live *live, const int64_t *items, size_t count, engine_retry_fn *done, void *data);

/* Skip what has not ended, stop what runs, end the job as cancelled. 0, or 1: it had ended. */
int engine_cancel(struct engine *engine, struct live *live, struct bytes by, struct bytes reason);

/* ---- looking on ---- */

/* Live hints of running items (percent, status). One listener for all; NULL = none. Says nothing that no event will say. */
typedef void engine_hint_fn(void *data, int64_t job, int64_t item, int percent, struct bytes status);
void engine_on_hint(struct engine *engine, engine_hint_fn *call, void *data);
/* Since its beginning. */
struct engine_numbers {
    size_t legs_count;                             /* one more than the last leg that anything was launched for */
    struct histogram legs[PIPELINE_LEGS_MAX];      /* from the launch of an item's leg to its outcome, by the leg's number */
    uint64_t late, late_refused;                   /* outcomes that a worker told when its task was over for it, and those of them that the fence refused: all */
} engine_numbers(const struct engine *engine);
size_t engine_running(const struct engine *engine);         /* tasks launched and not ended */

/* No new claims from now on; `idle` is called once, from inside engine_run or at once, when nothing runs any more. */
void engine_drain(struct engine *engine, void (*idle)(void *data), void *data);
/* While it drains: calls under way are waited for no longer. Their items are found interrupted by the next opening, which makes them again. */
void engine_leave_calls(struct engine *engine);
