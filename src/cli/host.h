/* What serve and run have in common: one loop, one store over a directory, a crew for each room that is used, one engine. Opened in that
 * order and closed in the other. host.c opens and closes, host_crews.c finds out what crews have to load.
 *
 * Thread: the one that becomes the loop's. */
#pragma once
#include "config/settings.h"
#include "config/shelf.h"
#include "engine/engine_loop.h"
#include "engine/workers.h"
#include "trip/trips.h"

struct host {
    struct loop *loop;
    char *dir;                        /* the data directory, owned */
    bool temporary;                   /* it is removed at the end */
    struct blobs *blobs;
    struct store *store;
    struct crew *crew;                /* of ROOM_WORKER */
    struct crew *exec, *expressions;  /* NULL where no pipeline needs them: programs; what trips and batches ask */
    struct fetch *fetch;              /* calls that go out */
    struct asker *asker;              /* over `expressions` */
    struct crew *trips;               /* of ROOM_TRIP */
    unsigned char hook_key[32];       /* signs the addresses of hooks; kept in the data directory */
    struct engine_loop *engine_loop;
    struct engine *engine;
    struct shelf shelf;               /* what can be run; the workers have loaded what all of it needs */
    const struct pipeline *pipeline;  /* the first of it: the one that the command runs */
    char *notice;                     /* one line on what is lost because the accurate recogniser is not there; NULL = nothing */
    char *missing;                    /* one line on what pipelines need and the environment has not; NULL = nothing */
    char *catalogue_facts;            /* JSON: what the card catalogue holds; NULL where none is used */
    bool ready;                       /* a worker has been ready */
    void (*tell_ready)(void *data);
    void *tell_data;
    int stopping;                     /* crews whose workers are not reaped yet */
    bool waiting;                     /* host_wait_ready() is under way */
    bool given_up;                    /* set it (and stop the loop) when host_wait_ready() is to wait no longer */
};

struct host_options {
    const struct settings *settings;
    struct bytes pipeline;            /* its name; empty = everything that is offered */
    const char *dir;                  /* NULL = a temporary one */
    void (*id)(void *data, char ret[33]);    /* ids of new jobs; NULL = by chance */
    void *id_data;
    void (*ready)(void *ready_data);         /* the first worker has its outfit loaded; may be NULL */
    void *ready_data;
};

/* Opens everything, checks the catalogue and starts the workers, which load while the loop runs. 0, or -1 and a problem; host_close() in
 * both cases. When no worker can ever load its outfit the loop is stopped and workers_problem() says why. */
int host_open(struct host *host, const struct host_options *options, struct problem *problem);
/* Run the loop until a worker has its outfit loaded: 0. HOST_GIVEN_UP when it was told not to wait; -1 and a problem when none can load it. */
enum { HOST_GIVEN_UP = 1 };
int host_wait_ready(struct host *host, struct problem *problem);
/* host_crews.c: starts what the shelf's pipelines need. 0, or -1 and a problem; host_close() ends it in both cases. */
int host_start_crews(struct host *host, const struct settings *settings, bool serves, struct problem *problem);
void host_stop_crews(struct host *host);
/* Ends running tasks, reaps the workers, makes durable what was accepted. Whoever reads must have left the store. */
void host_close(struct host *host);
