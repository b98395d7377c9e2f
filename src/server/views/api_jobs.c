/* The job face: the document of one job, and what is done to a job as a whole: cancel, retry, delete. Every route begins with the
 * look-up (lookup.h). To add a route: one `static void … (struct lookup *)`, one handler, one line in the table. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "core/document.h"
#include "readers/lines.h"
#include "readers/webhook.h"
#include "server/access/quota.h"
#include "server/ask.h"
#include "server/lookup.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- GET /v1/jobs/{id} ---- */

struct document {
    struct lookup lookup;
    struct cursor cursor;         /* results=1: on its way through what is durable at the question */
    uint64_t until;               /* seq of the last event to look at */
    struct buf profiles;          /* `[…` */
    bool full;                    /* profiles_truncated */
};

static void document_done(struct lookup *lookup)
{
    struct document *document = LIST_OF(lookup, struct document, lookup);
    cursor_close(&document->cursor);
    buf_done(&document->profiles);
    free(document);
}

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

/* Answer with the document as it is now, when that is durable. */
static void give_document(struct lookup *lookup, const struct job *job)
{
    document_job(job, &lookup->body);
    store_when(lookup->service->store, &lookup->wait, job->pos, tell_document);
}

/* One more profile; false when it does not fit. */
static bool put_profile(struct document *document, const struct frame_header *header, const struct row *row, struct bytes result)
{
    struct buf *profiles = &document->profiles;
    size_t before = profiles->count;
    if (row->kind != EVENT_ITEM_DONE)
        return true;
    if (lines_render(header, row, result, profiles) && buf_ok(profiles) && profiles->count <= LIMIT_PROFILES_BYTES) {
        profiles->count--;        /* the newline */
        return true;
    }
    profiles->count = before;
    profiles->failed = false;
    return false;
}

static void gather_profiles(struct cursor *cursor)
{
    struct document *document = LIST_OF(cursor, struct document, cursor);
    struct frame_header header = frame_header_of(live_job(cursor->live));
    while (!document->full && cursor->next <= document->until) {
        struct row *row;
        struct bytes result;
        int answer = cursor_next(cursor, &row, &result);
        if (answer == CURSOR_WAIT)
            return;
        document->full = answer != CURSOR_ROW || !put_profile(document, &header, row, result);
    }
    cursor->news = NULL;
    struct buf *body = &document->lookup.body;
    document_job(live_job(cursor->live), body);
    body->count--;                /* the brace */
    buf_byte(&document->profiles, ']');
    json_put_raw(body, "profiles", buf_bytes(&document->profiles));
    json_put_flag(body, "profiles_truncated", document->full);
    json_close(body, '}');
    store_when(document->lookup.service->store, &document->lookup.wait, live_job(cursor->live)->pos, tell_document);
}

static void document_found(struct lookup *lookup, struct live *live)
{
    struct document *document = LIST_OF(lookup, struct document, lookup);
    const struct job *job = live_job(live);
    struct http_request *request = lookup->request;
    char tag[64];
    bool results = false;
    if (!ask_flag(request, "results", &results))
        return;
    http_header(request, "Cache-Control", "no-cache");
    if (!results) {
        snprintf(tag, sizeof tag, "\"%lld-%llu\"", (long long)job->epoch, (unsigned long long)job->seq);
        http_header(request, "ETag", tag);
        if (tag_matches(http_head_get(request->head, "If-None-Match"), bytes_of(tag)))
            http_answer(request, 304, NULL, (struct bytes){0});
        else
            give_document(lookup, job);
        return;
    }
    buf_init(&document->profiles, LIMIT_PROFILES_BYTES + LIMIT_SEED_RESULT_BYTES + LIMIT_ROW_BYTES);
    buf_byte(&document->profiles, '[');
    document->until = live_durable_seq(live);
    cursor_open(&document->cursor, &lookup->service->world, live, FACE_SEED, gather_profiles);
    gather_profiles(&document->cursor);
}

static void get_job(struct http_request *request, void *service)
{
    lookup_job_in(&MEM_NEW(struct document)->lookup, request, service, document_found, document_done);
}

/* ---- POST /v1/jobs/{id}/cancel ---- */

static void cancel_found(struct lookup *lookup, struct live *live)
{
    engine_cancel(lookup->service->engine, live, BYTES("client"), BYTES("cancelled by its client"));
    give_document(lookup, live_job(live));
}

static void post_cancel(struct http_request *request, void *service)
{
    lookup_job(request, service, cancel_found);
}

/* ---- POST /v1/jobs/{id}/webhook ---- */

static void webhook_found(struct lookup *lookup, struct live *live)
{
    if (webhooks_replay(lookup->service->settings.webhooks, live))
        http_refuse(lookup->request, 409, "Nothing of job %s can be sent: %s.", live_job(live)->id,
                    webhooks_can(lookup->service->settings.webhooks) ? "it was made without a webhook" : "this server sends no webhooks");
    else
        http_answer(lookup->request, 204, NULL, (struct bytes){0});
}

static void post_webhook(struct http_request *request, void *service)
{
    lookup_job(request, service, webhook_found);
}

/* ---- POST /v1/jobs/{id}/retry ---- */

struct retry {
    struct lookup lookup;
    int64_t *items;               /* owned; NULL = all that failed */
    size_t count;
};

static void retry_done(struct lookup *lookup)
{
    struct retry *retry = LIST_OF(lookup, struct retry, lookup);
    free(retry->items);
    free(retry);
}

static void tell_retried(struct store_wait *wait)
{
    struct lookup *lookup = LIST_OF(wait, struct lookup, wait);
    http_answer_buf(lookup->request, 202, "application/json", &lookup->body);
}

static void retried(void *data, struct live *live, int status, const struct problem *problem)
{
    struct lookup *lookup = data;
    if (!lookup_rest(lookup))
        return;
    if (!live) {
        http_refuse(lookup->request, status, "This cannot be retried: %s.", problem->text);
        return;
    }
    service_job_headers(lookup->request, live_job(live));
    document_job(live_job(live), &lookup->body);
    store_when(lookup->service->store, &lookup->wait, live_job(live)->pos, tell_retried);
}

static int by_number(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* {"items":[n,…]}; false when the request was refused. A number that comes twice counts once. */
static bool take_items(struct retry *retry, struct bytes body, struct problem *problem)
{
    JSON_OWNED struct json_object *object = json_parse(body, problem);
    struct json_object *items = object && json_object_is_type(object, json_type_object) ? json_get(object, "items") : NULL;
    int64_t total = live_job(retry->lookup.live)->total;
    if (!object)
        return false;
    if (!items || !json_object_is_type(items, json_type_array) || !json_object_array_length(items) || json_object_object_length(object) != 1)
        return problem_set(problem, "the body must be {\"items\":[n,…]} with at least one item, or empty to retry all that failed") == 0;
    size_t count = json_object_array_length(items);
    retry->items = mem_new(count * sizeof *retry->items);
    for (size_t i = 0; i < count; i++) {
        struct json_object *one = json_object_array_get_idx(items, i);
        int64_t item = json_object_is_type(one, json_type_int) ? json_object_get_int64(one) : -1;
        if (item < 0 || item >= total)
            return problem_set(problem, "items[%zu] is no item of the job: it has %lld, counted from 0", i, (long long)total) == 0;
        retry->items[i] = item;
    }
    qsort(retry->items, count, sizeof *retry->items, by_number);
    for (size_t i = 0; i < count; i++)
        if (!i || retry->items[i] != retry->items[i - 1])
            retry->items[retry->count++] = retry->items[i];
    return true;
}

static void retry_now(struct lookup *lookup)
{
    struct retry *retry = LIST_OF(lookup, struct retry, lookup);
    int64_t items = retry->items ? (int64_t)retry->count : live_job(lookup->live)->counts.failed;
    if (quota_admit_job(lookup->service, lookup->request, items, 0))
        return;
    lookup_busy(lookup);
    engine_retry(lookup->service->engine, lookup->live, retry->items, retry->count, retried, lookup);
}

static void retry_body(struct http_request *request, struct bytes body)
{
    struct lookup *lookup = request->user;
    struct problem problem = {0};
    if (!bytes_trim(body).count || take_items(LIST_OF(lookup, struct retry, lookup), body, &problem))
        retry_now(lookup);
    else
        http_refuse(request, 400, "The body is not what a retry takes: %s.", problem.text);
}

static void retry_found(struct lookup *lookup, struct live *live)
{
    if (lookup->service->draining)
        http_refuse(lookup->request, 503, "The server is going down and takes no new jobs.");
    else if (lookup->request->body_bytes)
        http_read_all(lookup->request, LIMIT_RETRY_BODY_BYTES, retry_body);
    else
        retry_now(lookup);
}

static void post_retry(struct http_request *request, void *service)
{
    lookup_job_in(&MEM_NEW(struct retry)->lookup, request, service, retry_found, retry_done);
}

/* ---- DELETE /v1/jobs/{id} ---- */

static void deleted(void *data)
{
    struct lookup *lookup = data;
    if (lookup_rest(lookup))
        http_answer(lookup->request, 204, NULL, (struct bytes){0});
}

static void delete_found(struct lookup *lookup, struct live *live)
{
    lookup_busy(lookup);
    if (!store_delete(lookup->service->store, live, deleted, lookup))
        return;
    if (lookup_rest(lookup))
        http_refuse(lookup->request, 409, "Job %s has not ended; cancel it before you delete it.", live_job(live)->id);
}

static void delete_job(struct http_request *request, void *service)
{
    lookup_job(request, service, delete_found);
}

static const struct route routes[] = {
    {HTTP_GET, "/v1/jobs/{id}", get_job, "The job document",
     "Never behind an event that was already sent. Has an ETag; If-None-Match gives 304. results=1 adds `profiles`, the results as they came "
     "({index, filename, and the result under the pipeline's key}), up to 512 KiB in all; `profiles_truncated` says that there are more.",
     .query = "results", .schema = "Job"},
    {HTTP_POST, "/v1/jobs/{id}/cancel", post_cancel, "Cancel what has not ended",
     "Answers with the job document once that is durable: nothing starts after it, what ran was stopped, results that are there stay. After the end "
     "the job is unchanged.", .schema = "Job"},
    {HTTP_POST, "/v1/jobs/{id}/retry", post_retry, "A new job of what failed",
     "All failed items of an ended job, or those of the body {\"items\":[n,…]}. Answers with the document of the new job (`retry_of`) and its Location; "
     "the same question again gives the same job. 409 when the job has not ended or nothing failed.",
     .takes = "application/json", .schema = "Job", .status = 202},
    {HTTP_POST, "/v1/jobs/{id}/webhook", post_webhook, "Send the job's webhook again",
     "All of it from the beginning, with the ids (`webhook-id`) that it had; what waits for its next try goes now. 204; 409 when the "
     "job was made without a webhook, or this server has no RIVULET_WEBHOOK_SECRET.", .status = 204},
    {HTTP_DELETE, "/v1/jobs/{id}", delete_job, "Forget an ended job and its files", "204 without a body. 409 while the job has not ended.", .status = 204},
};

void api_jobs_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
    api_events_add(service);
    api_multi_add(service);
    api_list_add(service);
    api_items_add(service);
    api_top_add(service);
    api_results_add(service);
}
