/* The crew of worker processes: N warm children, each with its stages loaded, one task at a time each. Behind engine/crew.h.
 *
 *          ┌──── back-off, when it ended while loading ◀──────────────────────────────┐
 *          ▼                                                                          │
 *      WAITING ──▶ STARTING ──init──▶ LOADING ──ready──▶ IDLE ──task──▶ BUSY ──▶ ENDING (its end is awaited)
 *                  (in the pool)                          ▲              │           ▲
 *                                                         └── outcome ───┤           └── killed: deadline, stop, nonsense; or crashed
 *                                                         └── kept ◀── KEEPING (a long result becomes a blob, in the pool)
 *
 * What the crew is told to learn goes to all workers that are ready, and the latest of it (LIMIT_LESSONS) to each that becomes ready; not what would take
 * more than a frame_offer() may, some 50 KB: its programs are compiled when a task comes with them, and workers_awaited() counts them.
 * A worker that ends for whatever reason is replaced. Each started task that is not stopped gets exactly one outcome that is not late.
 * Thread: loop, all of it. */
#pragma once
#include "engine/crew.h"
#include "os/loop.h"
#include "stage/stage.h"
#include "store/blob.h"

#include <sys/types.h>

struct workers_options {
    const char *exe;                       /* NULL = /proc/self/exe; it is started as `exe worker [called]` */
    const char *called;                    /* what lists of processes show of this crew: "expressions"; static, NULL = nothing */
    size_t count;                          /* 1 … LIMIT_WORKERS */
    const char *const *stages;             /* names of the stage kinds that each loads */
    size_t stages_count;                   /* 1 … LIMIT_WORKER_STAGES */
    struct stage_outfit outfit;            /* copied; its descriptors are duplicated */
    bool exec;                             /* the stages start programs: each worker leads a process group, which ends with it; {"$env":"NAME"} in
                                            * stages becomes {"$secret":text} on the way to the worker */
    struct blobs *blobs;                   /* where results over LIMIT_BODY_BYTES go; NULL = they fail */
    void *data;
    /* A worker has become ready; `ready` of `count` are now. May be NULL. */
    void (*ready)(void *data, size_t ready);
    /* The crew has become broken: see workers_problem. It goes on trying, more and more slowly. May be NULL. */
    void (*broken)(void *data, const struct problem *problem);
};

/* Starts the children; answers before they are there. 0, or -1 and a problem (count, descriptors). The crew's client must be set before
 * the first start(), and the callbacks above may come without it. Texts and arrays are copied. */
int workers_start(struct loop *loop, const struct workers_options *options, struct crew **ret_crew, struct problem *problem);

/* Ends all of it: idle workers are let go, busy ones killed, and no outcome follows. `stopped` is called once, from the loop, when every child
 * is reaped; the crew is gone then. To let tasks finish, drain the engine before. Without a crew it is called at once. */
void workers_stop(struct crew *crew, void (*stopped)(void *data), void *data);

size_t workers_ready(struct crew *crew);                     /* loaded ones, idle or busy */
/* Why no worker comes up, after LIMIT_WORKER_FAILURES failed starts in a row, or at once when the very first says that it cannot load its
 * outfit; NULL while all is well. Borrowed. */
const struct problem *workers_problem(struct crew *crew);
/* What the latest worker to become ready said of its stages: a JSON object, name → object. Empty before. Borrowed. */
struct bytes workers_loaded(struct crew *crew);
/* What the latest worker to become ready gave up (worker/lockdown.h): all false before. */
struct workers_walls { bool told, network, files, calls; };
struct workers_walls workers_walls(struct crew *crew);
uint64_t workers_awaited(struct crew *crew);                 /* programs that tasks had to wait for while a worker compiled them; none that it had learned before */
pid_t workers_pid(struct crew *crew, size_t index);          /* of the index-th worker; 0 = there is none now */
