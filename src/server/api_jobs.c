/* The job face: one job, read. Every route begins with the look-up (lookup.h). To add a route: one `static void … (struct lookup *)`, one
 * handler, one line in the table. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "core/document.h"
#include "http/query.h"
#include "server/lookup.h"
#include "server/stream.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- GET /v1/jobs/{id} ---- */

static void tell_document(struct store_wait *wait)
{
    struct lookup *lookup = LIST_OF(wait, struct lookup, wait);
    http_answer_buf(lookup->request, 200, "application/json", &lookup->body);
}

/* Is one of the comma-separated tags of If-None-Match this one? Weak comparison, as the header wants it. */
static bool tag_matches(struct bytes list, struct bytes tag)
{
    while (list.count) {
        struct bytes one = bytes_trim(bytes_cut(&list, ','));
        if (bytes_start(one, BYTES("W/")))
            one = (struct bytes){one.at + 2, one.count - 2};
        if (bytes_equal(one, tag) || bytes_equal(one, BYTES("*")))
            return true;
    }
    return false;
}

static void document_found(struct lookup *lookup, struct live *live)
{
    const struct job *job = live_job(live);
    struct http_request *request = lookup->request;
    char tag[64];
    snprintf(tag, sizeof tag, "\"%lld-%llu\"", (long long)job->epoch, (unsigned long long)job->seq);
    http_header(request, "ETag", tag);
    http_header(request, "Cache-Control", "no-cache");
    if (tag_matches(http_head_get(request->head, "If-None-Match"), bytes_of(tag))) {
        http_answer(request, 304, NULL, (struct bytes){0});
        return;
    }
    document_job(job, &lookup->body);
    store_when(lookup->service->store, &lookup->wait, job->pos, tell_document);
}

static void get_job(struct http_request *request, void *service)
{
    lookup_job(request, service, document_found);
}

/* ---- GET /v1/jobs/{id}/events ---- */

/* Where to begin: the header of a browser that comes back, else the same in the query, else `after`. False = the query is wrong. */
static bool place_of(struct http_request *request, struct stream_want *ret)
{
    char text[FRAME_ID_SIZE];
    struct bytes last = http_head_get(request->head, "Last-Event-ID");
    if (!last.count && !query_text(request->query, "last_event_id", text, sizeof text))
        last = bytes_of(text);
    if (last.count) {
        ret->place = frame_id_parse(last, &ret->epoch, &ret->seq) ? STREAM_RESUME : STREAM_GAP;
        return true;
    }
    int answer = query_text(request->query, "after", text, sizeof text);
    if (answer)
        return answer > 0;
    if (!strcmp(text, "end")) {
        ret->place = STREAM_TIP;
        return true;
    }
    ret->place = STREAM_AFTER;
    return bytes_to_u64(bytes_of(text), &ret->seq);
}

static bool face_of(struct http_request *request, enum face *ret)
{
    char text[16];
    int answer = query_text(request->query, "face", text, sizeof text);
    if (answer > 0 || (!answer && !strcmp(text, "job")))
        *ret = FACE_JOB;
    else if (!answer && !strcmp(text, "seed"))
        *ret = FACE_SEED;
    else
        return false;
    return true;
}

static void events_found(struct lookup *lookup, struct live *live)
{
    struct http_request *request = lookup->request;
    struct stream_want want = {.place = STREAM_START};
    if (!face_of(request, &want.face)) {
        http_refuse(request, 400, "face must be \"job\" or \"seed\".");
    } else if (!place_of(request, &want)) {
        http_refuse(request, 400, "after must be the number of an event, or \"end\".");
    } else {
        struct service *service = lookup->service;
        service_job_headers(request, live_job(live));
        stream_begin(service, request, live, &want);
        lookup_leave(lookup);
    }
}

static void get_events(struct http_request *request, void *service)
{
    lookup_job(request, service, events_found);
}

/* ---- GET /v1/jobs/{id}/items/{n}/result ---- */

struct result_lookup {
    struct lookup lookup;
    struct cursor cursor;
    int64_t item;
};

static void result_done(struct lookup *lookup)
{
    struct result_lookup *own = LIST_OF(lookup, struct result_lookup, lookup);
    cursor_close(&own->cursor);
    free(own);
}

static void find_result(struct cursor *cursor)
{
    struct result_lookup *own = LIST_OF(cursor, struct result_lookup, cursor);
    struct lookup *lookup = &own->lookup;
    struct row *row;
    struct bytes result;
    int answer;
    while ((answer = cursor_next(cursor, &row, &result)) == CURSOR_ROW) {
        struct sha sha;
        if (row->kind != EVENT_ITEM_DONE || row->item != own->item)
            continue;
        if (!frame_blob(FACE_SEED, row, &sha))
            result = json_span(row_body(row), "result");
        buf_put(&lookup->body, result);
        cursor->news = NULL;
        http_answer_buf(lookup->request, 200, "application/json", &lookup->body);
        return;
    }
    /* At the tip of a job that goes on: there is no result yet. */
    bool tip = answer == CURSOR_WAIT && !cursor->read && !cursor->fetch;
    if (answer == CURSOR_WAIT && !tip)
        return;
    cursor->news = NULL;
    http_refuse(lookup->request, 404, "Item %lld has no result%s.", (long long)own->item, tip ? " yet" : "");
}

static void result_found(struct lookup *lookup, struct live *live)
{
    struct result_lookup *own = LIST_OF(lookup, struct result_lookup, lookup);
    uint64_t item;
    if (!bytes_to_u64(lookup->request->params[1], &item) || item >= (uint64_t)live_job(live)->total) {
        http_refuse(lookup->request, 404, "The job has no such item.");
        return;
    }
    own->item = (int64_t)item;
    cursor_open(&own->cursor, &lookup->service->world, live, FACE_SEED, find_result);
    find_result(&own->cursor);
}

static void get_result(struct http_request *request, void *service)
{
    lookup_job_in(&MEM_NEW(struct result_lookup)->lookup, request, service, result_found, result_done);
}

static const struct route routes[] = {
    {HTTP_GET, "/v1/jobs/{id}", get_job, "The job document",
     "Never behind an event that was already sent. Has an ETag; If-None-Match gives 304."},
    {HTTP_GET, "/v1/jobs/{id}/events", get_events, "The events of a job as a stream",
     "Last-Event-ID (header, or last_event_id in the query) resumes behind that event; after=SEQ begins behind that number, after=end at "
     "the tip. face=seed gives the frames of the /process endpoints. 204 when the job has ended and all was read.",
     .gives = "text/event-stream", .query = "face after last_event_id"},
    {HTTP_GET, "/v1/jobs/{id}/items/{n}/result", get_result, "The result of one item", "404 while there is none."},
};

void api_jobs_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
