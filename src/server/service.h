/* The service: both HTTP faces over one store and engine, and the page. It owns the router, the HTTP server and every open stream; it
 * borrows the rest. The life of it:
 *
 *     service_open ──▶ loop_run … ──▶ service_drain(done) ──▶ done ──▶ service_close
 *
 * To end well: service_drain and engine_drain together; when both have told: service_close, engine_free, store_close, loop_close,
 * blobs_close. In this order: what the pool still writes for an upload that was given up ends with the loop.
 *
 * Thread: loop, all of it. Bodies of uploads are written, and large results read, in the loop's pool. */
#pragma once
#include "base/problem.h"
#include "config/shelf.h"
#include "engine/ask.h"
#include "engine/engine.h"
#include "os/loop.h"
#include "store/blob.h"
#include "store/store.h"

struct service;
struct mirror;
struct webhooks;

/* What the workers and the catalogue are at this moment; told by /health and /stats. Texts are borrowed until the next turn. */
struct service_facts {
    bool ready;                     /* some worker can take a task: /health says healthy, else degraded */
    bool matcher_loaded;            /* the catalogue is there */
    int64_t total_cards, base_names;
    const char *engine;             /* the recogniser in use, "onnx" or "tesseract"; NULL = none yet */
    const char *notice;             /* what is lost, one sentence; NULL = nothing */
    int workers, workers_ready, workers_busy;
    uint64_t programs_awaited;      /* programs that tasks had to wait for while they were compiled, in all crews */
    bool walls_told, network_wall, files_wall, calls_wall;     /* what workers have given up (worker/lockdown.h), once one has told */
};

/* Start from zeroes: 0 and NULL are the defaults said here. Texts are borrowed until service_close, as is the shelf. */
struct service_settings {
    /* where to listen */
    const char *host;               /* "127.0.0.1" */
    int port;                       /* 0 = a free one, see service_port */
    int listening;                  /* a socket that listens already, in place of host and port, taken over (http.h); 0 = none */
    bool any_host;                  /* do not check the Host header; else checked on loopback against DNS rebinding */
    /* who we are */
    const char *name;               /* "rivulet" */
    const char *version;            /* "0" */
    /* the work */
    const struct shelf *shelf;      /* what jobs can be made of; its first pipeline is the seed face's. Not empty */
    struct asker *asker;            /* for inputs that pipelines put together to batches; borrowed */
    const char *scratch;            /* folder for bodies that are too large for memory: files without a name; "/tmp" */
    struct bytes params;            /* JSON object for the stages of jobs that say none, or empty */
    struct bytes owner;             /* of the jobs; empty = "local" */
    struct webhooks *webhooks;      /* readers/webhook.h; borrowed; NULL = a job that asks for one is refused */
    struct mirror *mirror;          /* readers/mirror.h; borrowed; for its numbers; may be NULL */
    struct crew *trips;             /* whom a hook wakes (trip/trips.h); NULL = nobody */
    /* limits */
    int64_t max_body_bytes;         /* of a request; LIMIT_HTTP_BODY_BYTES */
    int64_t max_file_bytes;         /* of one file; 10 MiB */
    int max_batch;                  /* files in one request; 10 */
    bool enable_parallel;           /* /process-batch-fast is there */
    int max_workers;                /* items at once in one parallel job; 2 */
    bool use_gpu;                   /* told by /stats */
    bool accept_text;               /* take .txt and .json files of type text/plain or application/json beside images */
    /* who may do what: access.h */
    const char *keys_file;          /* NULL = none */
    const char *keys;               /* keys as text; NULL = none. Without both everybody may do everything */
    const char *log;                /* what standard error gets: "text", "json", "off"; journal.h */
    const char *origins;            /* pages that may read our answers, separated by commas; NULL = all without keys, none with */
    int64_t heartbeat_us;           /* silence on a stream before a sign of life; 14 s, so that never 15 s pass */
    /* what is true now; may be NULL: then /health says healthy and the numbers are 0 */
    void (*facts)(void *data, struct service_facts *ret);
    void *facts_data;
};

/* Listen and serve. The engine's hint listener becomes the service. 0, or < 0 and one sentence (a busy port …). */
int service_open(struct loop *loop, struct store *store, struct engine *engine, struct blobs *blobs,
                 const struct service_settings *settings, struct service **ret_service, struct problem *problem);
int service_port(const struct service *service);

/* Say a sentence on standard error, as the settings want it said. */
void service_say(struct service *service, bool warning, const char *sentence);
/* Read the keys again: 0, or -1 and a problem, and all stays as it was. */
int service_reload(struct service *service, struct problem *problem);

/* Stop listening, refuse new work with 503, tell and end every stream. `done` is called once, from the loop, when no request is open
 * any more, or after a grace of 5 s. */
void service_drain(struct service *service, void (*done)(void *data), void *data);

/* Close every connection and free everything. Not from inside a request's callback. NULL does nothing. */
void service_close(struct service *service);
