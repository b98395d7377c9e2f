#include "server/lookup.h"

#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>

static void lookup_free(struct lookup *lookup)
{
    store_unwait(&lookup->wait);
    live_unref(lookup->live);
    buf_done(&lookup->body);
    if (lookup->done)
        lookup->done(lookup);
    else
        free(lookup);
}

static void closed(struct http_request *request, enum http_why why)
{
    struct lookup *lookup = request->user;
    lookup->request = NULL;
    if (!lookup->looking && !lookup->busy)
        lookup_free(lookup);
}

static void refuse(struct lookup *lookup)
{
    struct bytes id = lookup->request->params[0];
    http_refuse(lookup->request, 404, "There is no job \"%.*s\".", (int)(id.count < 64 ? id.count : 64), id.at);
}

static void looked(void *data, struct live *live)
{
    struct lookup *lookup = data;
    lookup->looking = false;
    if (!lookup->request) {
        lookup_free(lookup);
    } else if (!live || !service_may_see(lookup->service, lookup->request, live_job(live))) {
        refuse(lookup);
    } else {
        lookup->live = live_ref(live);
        lookup->found(lookup, live);
    }
}

void lookup_job_in(struct lookup *lookup, struct http_request *request, struct service *service,
                   void (*found)(struct lookup *lookup, struct live *live), void (*done)(struct lookup *lookup))
{
    lookup->service = service;
    lookup->request = request;
    lookup->found = found;
    lookup->done = done;
    lookup->looking = true;
    buf_init(&lookup->body, LIMIT_HTTP_ANSWER_BYTES);
    request->user = lookup;
    request->on_close = closed;
    store_find(service->store, request->params[0], looked, lookup);
}

void lookup_job(struct http_request *request, struct service *service, void (*found)(struct lookup *lookup, struct live *live))
{
    lookup_job_in(MEM_NEW(struct lookup), request, service, found, NULL);
}

void lookup_leave(struct lookup *lookup)
{
    lookup_free(lookup);
}

void lookup_failed(struct lookup *lookup, int error, const char *what)
{
    if (error == -ENOENT && live_job(lookup->live)->ended)
        refuse(lookup);
    else
        http_refuse(lookup->request, 500, "The %s of job %s cannot be read from the log.", what, live_job(lookup->live)->id);
}

void lookup_busy(struct lookup *lookup)
{
    lookup->busy = true;
}

bool lookup_rest(struct lookup *lookup)
{
    lookup->busy = false;
    if (lookup->request)
        return true;
    lookup_free(lookup);
    return false;
}
