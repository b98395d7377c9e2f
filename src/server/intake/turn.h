/* Turns: at most LIMIT_UPLOADS bodies are read at a time, because each takes memory; who comes then waits for a place, unread, for as long as
 * LIMIT_UPLOAD_PATIENCE_US. While somebody waits,
 *
 *   - a body that came with its head goes before one that has sent nothing yet, and
 *   - a body that came more slowly than LIMIT_HTTP_BODY_WINDOW_* asks for LIMIT_UPLOAD_PRESSED_US gives its place up at once,
 *
 * so that any number of clients that dribble cannot keep one out that does not. Thread: loop. */
#pragma once
#include "os/loop.h"
#include "server/service_own.h"

struct turn {
    struct list link;                     /* in one of service.turns' lists */
    struct timer patience;
    struct service *service;
    struct http_request *request;
    bool waits, taken;
    void (*go)(struct turn *turn);        /* a place is there: read the body */
    void (*refuse)(struct turn *turn);    /* none came in time, or it is lost: turn_refuse(), unless the request is refused already */
};

/* Calls `go`, at once or later, or `refuse`. */
void turn_take(struct turn *turn, struct service *service, struct http_request *request, void (*go)(struct turn *turn),
               void (*refuse)(struct turn *turn));
/* The answer of one who waited for too long, or was too slow while others waited. */
void turn_refuse(struct turn *turn);
/* Gives the place back, or stops waiting for one; harmless when neither is so. */
void turn_leave(struct turn *turn);
