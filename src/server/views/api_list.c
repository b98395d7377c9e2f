/* GET /v1/jobs: a caller's jobs, newest first, page by page. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "core/document.h"
#include "http/query.h"
#include "server/ask.h"
#include "server/service_own.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIST_DEFAULT = 50, PIPELINE_SIZE = 256 };

struct listing {
    struct service *service;
    struct http_request *request;     /* NULL once its client has gone */
    struct store_list_want want;
    char pipeline[PIPELINE_SIZE];
    char *owner;                      /* owned */
    bool asking;                      /* the store has it */
    struct buf body;
    struct store_wait wait;           /* until what the documents show is durable */
};

static void listing_free(struct listing *listing)
{
    store_unwait(&listing->wait);
    buf_done(&listing->body);
    free(listing->owner);
    free(listing);
}

static void closed(struct http_request *request, enum http_why why)
{
    struct listing *listing = request->user;
    listing->request = NULL;
    if (!listing->asking)
        listing_free(listing);
}

static void tell(struct store_wait *wait)
{
    struct listing *listing = LIST_OF(wait, struct listing, wait);
    http_answer_buf(listing->request, 200, "application/json", &listing->body);
}

static void listed(void *data, struct live **lives, size_t count, bool more, int error)
{
    struct listing *listing = data;
    struct buf *body = &listing->body;
    uint64_t pos = 0;
    listing->asking = false;
    if (!listing->request) {
        listing_free(listing);
        return;
    }
    if (error < 0) {
        http_refuse(listing->request, 500, "The list of jobs cannot be read from the log.");
        return;
    }
    json_open(body, '{');
    json_key(body, "jobs");
    json_open(body, '[');
    for (size_t i = 0; i < count; i++) {
        const struct job *job = live_job(lives[i]);
        document_job(job, body);
        pos = job->pos > pos ? job->pos : pos;
    }
    json_close(body, ']');
    json_close(body, '}');
    if (more && count)
        ask_link_next(listing->request, live_job(lives[count - 1])->job);
    http_header(listing->request, "Cache-Control", "no-cache");
    store_when(listing->service->store, &listing->wait, pos, tell);
}

static bool asked(struct listing *listing, struct http_request *request)
{
    static const char *const states[] = {"pending", "running", "completed", "error", "cancelled"};
    int64_t limit = LIST_DEFAULT;
    struct store_list_want *want = &listing->want;
    _Static_assert(JOB_STATUS_COUNT == sizeof states / sizeof *states, "a word for each status");
    want->status = -1;
    want->before = INT64_MAX;
    if (query_text(request->query, "pipeline", listing->pipeline, sizeof listing->pipeline) < 0)
        return ask_refuse(request, "pipeline", "", "the name of a pipeline");
    if (!ask_word(request, "state", states, JOB_STATUS_COUNT, &want->status) || !ask_int(request, "limit", 1, LIMIT_LIST_JOBS, &limit) ||
        !ask_int(request, "after", 1, INT64_MAX, &want->before))
        return false;
    listing->owner = mem_copy(service_owner(listing->service, request).at, service_owner(listing->service, request).count);
    want->owner = bytes_of(listing->owner);
    want->pipeline = bytes_of(listing->pipeline);
    want->limit = (size_t)limit;
    return true;
}

static void get_jobs(struct http_request *request, void *service)
{
    struct listing *listing = MEM_NEW(struct listing);
    listing->service = service;
    buf_init(&listing->body, LIMIT_HTTP_ANSWER_BYTES);
    if (!asked(listing, request)) {
        listing_free(listing);
        return;
    }
    listing->request = request;
    listing->asking = true;
    request->user = listing;
    request->on_close = closed;
    store_list(listing->service->store, &listing->want, listed, listing);
}

static const struct route routes[] = {
    {HTTP_GET, "/v1/jobs", get_jobs, "Your jobs, newest first",
     "{\"jobs\":[…]}, each the job document without its results. state= is pending, running, completed, error or cancelled; pipeline= a name; limit= 1 to "
     "1000 (50). A Link header with rel=\"next\" leads to the next page; what stands behind its after= is not for reading.",
     .query = "state pipeline limit after", .schema = "JobList"},
};

void api_list_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
