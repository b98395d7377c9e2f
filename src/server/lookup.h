/* The look-up that every route under /v1/jobs/{id} begins with: the job may have to be asked for on the disk, and it has to be the
 * caller's own; a job of somebody else answers as one that is not there.
 *
 *     lookup_job(request, service, found) ──▶ 404 …, or found(lookup, live), which answers lookup->request now or later
 *
 * A route that keeps more than a lookup has begins its own struct with one: lookup_job_in() takes that struct's memory over and gives it
 * back by `done`. Thread: loop. */
#pragma once
#include "server/service_own.h"

struct lookup {
    struct service *service;
    struct http_request *request;                 /* NULL once its client has gone */
    void (*found)(struct lookup *lookup, struct live *live);
    void (*done)(struct lookup *lookup);          /* free what stands behind the lookup, and the memory itself; NULL = free() */
    bool looking;
    bool busy;                                    /* somebody else will call the lookup back: it outlives its request until lookup_rest() */
    struct live *live;                            /* the job, one reference, once found */
    struct store_wait wait;                       /* the route's own, unwaited at the end */
    struct buf body;                              /* the answer in the making, ≤ LIMIT_HTTP_ANSWER_BYTES */
};

/* `found` answers lookup->request now or later; the lookup lives until that request closes (request->user and on_close are its own),
 * unless the route hands the request on to another party and calls lookup_leave(). */
void lookup_job(struct http_request *request, struct service *service, void (*found)(struct lookup *lookup, struct live *live));
/* The same with a struct of the route's own, zeroed, that begins with `lookup`. */
void lookup_job_in(struct lookup *lookup, struct http_request *request, struct service *service,
                   void (*found)(struct lookup *lookup, struct live *live), void (*done)(struct lookup *lookup));
/* The request belongs to somebody else now: free the lookup. */
void lookup_leave(struct lookup *lookup);
/* Answers for a look at the log that failed with `error`: as for a job that is not there when it had ended and was removed meanwhile (-ENOENT), else
 * with 500, because `what` ("items") of the job cannot be read. */
void lookup_failed(struct lookup *lookup, int error, const char *what);
/* Between lookup_busy and lookup_rest a callback with the lookup as its data is under way, so it may not be freed. After
 * lookup_rest() false: the client has gone and the lookup with it, touch nothing. */
void lookup_busy(struct lookup *lookup);
bool lookup_rest(struct lookup *lookup);
