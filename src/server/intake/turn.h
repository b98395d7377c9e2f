/* Turns: at most LIMIT_UPLOADS bodies are read at a time, because each takes memory; who comes then waits for a place, unread, for as long as
 * LIMIT_UPLOAD_PATIENCE_US. Thread: loop. */
#pragma once
#include "os/loop.h"
#include "server/service_own.h"

struct turn {
    struct list link;                     /* in service.turns while it waits */
    struct timer patience;
    struct service *service;
    bool taken;
    void (*go)(struct turn *turn);        /* a place is there: read the body */
    void (*late)(struct turn *turn);      /* none came in time: turn_refuse(), unless the request is refused already */
};

/* Calls `go`, at once or later, or `late`. */
void turn_take(struct turn *turn, struct service *service, void (*go)(struct turn *turn), void (*late)(struct turn *turn));
/* The answer of one who waited for too long. */
void turn_refuse(struct http_request *request);
/* Gives the place back, or stops waiting for one; harmless when neither is so. */
void turn_leave(struct turn *turn);
