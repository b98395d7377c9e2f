/* The seed face: the endpoints that files are posted to, each the way into a job and one view of its log. */
#include "base/json.h"
#include "base/mem.h"
#include "server/access/quota.h"
#include "engine/terms.h"
#include "server/intake/collect.h"
#include "server/intake/upload.h"
#include "server/stream/stream.h"
#include "server/trace.h"
#include "http/query.h"

#include <stdio.h>
#include <stdlib.h>

enum door { DOOR_ONE, DOOR_BATCH, DOOR_STREAM, DOOR_FAST, DOOR_STAGED };

/* A form that has come, from its submission until that is durable. */
struct intake {
    struct list link;                 /* in service.intakes */
    struct service *service;
    struct upload *upload;
    struct http_request *request;     /* NULL once its client has gone */
    enum http_why why;
    enum door door;
    bool cancel_on_leave;
    struct live *live;                /* one reference */
    struct store_wait wait;
};

static const struct upload_rules one_file = {.field = "file", .one = true}, many_files = {.field = "files"};

static void intake_free(struct intake *intake)
{
    list_leave(&intake->link);
    store_unwait(&intake->wait);
    upload_free(intake->upload);
    live_unref(intake->live);
    free(intake);
}

void api_seed_close(struct service *service)
{
    LIST_EACH(link, &service->intakes)
        intake_free(LIST_OF(link, struct intake, link));
}

/* ---- answering ---- */

static void open_stream(struct intake *intake, enum face face)
{
    struct stream_want want = {.face = face, .place = STREAM_START, .cancel_on_leave = intake->cancel_on_leave};
    stream_begin(intake->service, intake->request, intake->live, &want);
}

static void answer(struct intake *intake)
{
    service_job_headers(intake->request, live_job(intake->live));
    switch (intake->door) {
    case DOOR_ONE:
    case DOOR_BATCH:
        collect_begin(intake->service, intake->request, intake->live, intake->door == DOOR_ONE ? COLLECT_ONE : COLLECT_BATCH,
                      intake->cancel_on_leave);
        break;
    case DOOR_STREAM:
    case DOOR_FAST: open_stream(intake, FACE_SEED); break;
    case DOOR_STAGED: open_stream(intake, FACE_STAGED); break;
    }
}

static void durable(struct store_wait *wait)
{
    struct intake *intake = LIST_OF(wait, struct intake, wait);
    if (intake->request)
        answer(intake);
    else
        service_left(intake->service, intake->live, intake->why, intake->cancel_on_leave);
    intake_free(intake);
}

static void closed(struct http_request *request, enum http_why why)
{
    struct intake *intake = request->user;
    intake->request = NULL;
    intake->why = why;
}

/* ---- taking in ---- */

static struct live *submit(struct intake *intake, bool *ret_busy, struct problem *problem)
{
    const struct service_settings *settings = &intake->service->settings;
    const struct upload *upload = intake->upload;
    bool parallel = intake->door == DOOR_FAST || (intake->door == DOOR_BATCH && settings->enable_parallel);
    struct store_job job = {
        .owner = service_owner(intake->service, intake->request),
        .in_flight = parallel ? (uint32_t)settings->max_workers : 1, .ordered = !parallel, .trace = trace_of(intake->request),
    };
    const struct pipeline *pipeline = settings->shelf->entries[0].pipeline;
    struct bytes params = json_get(pipeline->tree, "params") ? (struct bytes){0} : settings->params;
    struct terms terms;
    if (terms_make(pipeline, params, (struct bytes){0}, &terms, &job, problem)) {
        terms_done(&terms);
        return NULL;
    }
    struct item_spec *items = mem_new((size_t)upload->count * sizeof *items);
    for (int i = 0; i < upload->count; i++)
        items[i] = upload_item(upload->files[i]);
    struct live *live = engine_submit(intake->service->engine, &job, items, (size_t)upload->count, ret_busy, problem);
    free(items);
    terms_done(&terms);
    return live;
}

static void uploaded(struct upload *upload, struct http_request *request, enum door door, bool cancel_on_leave)
{
    struct intake *intake = MEM_NEW(struct intake);
    struct service *service = upload->service;
    struct problem problem = {0};
    bool busy = false;
    *intake = (struct intake){.service = service, .upload = upload, .request = request, .door = door, .cancel_on_leave = cancel_on_leave};
    list_push(&service->intakes, &intake->link);
    bool answered = quota_admit_job(service, request, upload->count, upload_bytes(upload)) != 0;
    struct live *live = answered ? NULL : submit(intake, &busy, &problem);
    if (!live && busy)
        service_refuse_busy(service, request, &problem);
    else if (!live && !answered)
        http_refuse(request, 400, "%s", problem.text);
    if (!live) {
        intake_free(intake);
        return;
    }
    intake->live = live_ref(live);
    upload->used = true;
    request->user = intake;
    request->on_close = closed;
    store_when(service->store, &intake->wait, store_pos(service->store), durable);
}

static bool wants_cancel(struct http_request *request)
{
    char value[16];
    return !query_text(request->query, "on_disconnect", value, sizeof value) && !strcmp(value, "cancel");
}

/* The query is gone with the head when the answer begins, not before: it is still there when the form has come. */
static void one_came(struct upload *upload, struct http_request *request)
{
    uploaded(upload, request, DOOR_ONE, wants_cancel(request));
}

static void batch_came(struct upload *upload, struct http_request *request)
{
    uploaded(upload, request, DOOR_BATCH, wants_cancel(request));
}

static void stream_came(struct upload *upload, struct http_request *request)
{
    uploaded(upload, request, DOOR_STREAM, wants_cancel(request));
}

static void fast_came(struct upload *upload, struct http_request *request)
{
    uploaded(upload, request, DOOR_FAST, wants_cancel(request));
}

static void staged_came(struct upload *upload, struct http_request *request)
{
    uploaded(upload, request, DOOR_STAGED, wants_cancel(request));
}

static void process(struct http_request *request, void *service)
{
    upload_begin(service, request, &one_file, NULL, one_came, NULL);
}

static void process_batch(struct http_request *request, void *service)
{
    upload_begin(service, request, &many_files, NULL, batch_came, NULL);
}

static void process_batch_stream(struct http_request *request, void *service)
{
    upload_begin(service, request, &many_files, NULL, stream_came, NULL);
}

static void process_batch_fast(struct http_request *request, void *data)
{
    struct service *service = data;
    if (!service->settings.enable_parallel)
        http_refuse(request, 400, "Parallel processing not enabled (use /process-batch-stream instead)");
    else
        upload_begin(service, request, &many_files, NULL, fast_came, NULL);
}

static void process_stream(struct http_request *request, void *service)
{
    upload_begin(service, request, &one_file, NULL, staged_came, NULL);
}

/* ---- what the service says of itself ---- */

static void send(struct http_request *request, struct buf *buf)
{
    http_header(request, "Cache-Control", "no-store");
    http_answer_buf(request, 200, "application/json", buf);
}

static void health(struct http_request *request, void *data)
{
    struct service *service = data;
    struct service_facts facts = service_facts_now(service);
    struct buf buf BUF_OWNED;
    buf_init(&buf, 4096);
    bool healthy = facts.ready && !store_disk_full(service->store) && !service->draining;
    json_open(&buf, '{');
    json_put_text(&buf, "status", healthy ? "healthy" : "degraded");
    json_put_text(&buf, "service", service->settings.name);
    json_put_text(&buf, "version", service->settings.version);
    json_put_flag(&buf, "matcher_loaded", facts.matcher_loaded);
    json_put_int(&buf, "total_cards_in_db", facts.total_cards);
    if (facts.notice)
        json_put_text(&buf, "notice", facts.notice);
    json_close(&buf, '}');
    send(request, &buf);
}

static void stats(struct http_request *request, void *data)
{
    struct service *service = data;
    const struct service_settings *settings = &service->settings;
    struct service_facts facts = service_facts_now(service);
    struct buf buf BUF_OWNED;
    buf_init(&buf, 4096);
    json_open(&buf, '{');
    json_key(&buf, "matcher");
    json_open(&buf, '{');
    json_put_int(&buf, "total_cards", facts.total_cards);
    json_put_int(&buf, "base_names", facts.base_names);
    json_put_raw(&buf, "supported_languages", BYTES("[\"zh\",\"en\"]"));
    json_close(&buf, '}');
    json_key(&buf, "parser");
    json_open(&buf, '{');
    json_key(&buf, "ocr_engines");
    json_open(&buf, '[');
    if (facts.engine)
        json_text(&buf, facts.engine);
    json_close(&buf, ']');
    json_key(&buf, "supported_formats");
    json_raw(&buf, settings->accept_text ? BYTES("[\"jpg\",\"jpeg\",\"png\",\"webp\",\"txt\",\"json\"]")
                                         : BYTES("[\"jpg\",\"jpeg\",\"png\",\"webp\"]"));
    json_put_real(&buf, "max_file_size_mb", (double)settings->max_file_bytes / (1024 * 1024));
    json_put_flag(&buf, "use_gpu", settings->use_gpu);
    json_close(&buf, '}');
    json_key(&buf, "workers");
    json_open(&buf, '{');
    json_put_int(&buf, "max_workers", settings->max_workers);
    json_put_flag(&buf, "enable_parallel", settings->enable_parallel);
    json_put_int(&buf, "total", facts.workers);
    json_put_int(&buf, "ready", facts.workers_ready);
    json_put_int(&buf, "busy", facts.workers_busy);
    json_close(&buf, '}');
    json_put_int(&buf, "max_batch_size", settings->max_batch);
    json_close(&buf, '}');
    send(request, &buf);
}

void api_seed_index(struct service *service, struct buf *buf)
{
    static const char *const endpoints[][2] = {
        {"process_single", "/process"}, {"process_batch", "/process-batch"}, {"process_batch_stream", "/process-batch-stream"},
        {"process_batch_fast", "/process-batch-fast"}, {"process_stream", "/process-stream"}, {"job", "/v1/jobs/{id}"},
        {"job_events", "/v1/jobs/{id}/events"}, {"health", "/health"}, {"stats", "/stats"}, {"docs", "/docs"}, {"openapi", "/openapi.json"},
    };
    json_open(buf, '{');
    json_put_text(buf, "service", service->settings.name);
    json_put_text(buf, "version", service->settings.version);
    json_put_text(buf, "status", "running");
    json_key(buf, "endpoints");
    json_open(buf, '{');
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
        json_put_text(buf, endpoints[i][0], endpoints[i][1]);
    json_close(buf, '}');
    json_close(buf, '}');
}

#define LEAVE "on_disconnect=cancel ends the job when its client leaves; else it goes on, and GET /v1/jobs/{id}/events?face=seed with " \
              "Last-Event-ID resumes the stream (the id is in X-Job-Id)."

static const struct route routes[] = {
    {HTTP_POST, "/process", process, "Process one image and wait for its result",
     "400 when it is no image or too large; 422 without a file.", .schema = "OneResult", .everywhere = true, .takes = "file", .query = "on_disconnect"},
    {HTTP_POST, "/process-batch", process_batch, "Process several images and wait for all results",
     "A bad file counts as failed and never fails the call.", .schema = "BatchResult", .everywhere = true, .takes = "files", .query = "on_disconnect"},
    {HTTP_POST, "/process-batch-stream", process_batch_stream, "Process several images one after another, each result the moment it is ready",
     LEAVE, .everywhere = true, .takes = "files", .gives = "text/event-stream=SeedEvent", .query = "on_disconnect"},
    {HTTP_POST, "/process-batch-fast", process_batch_fast, "Process several images in parallel, results in the order they are ready",
     LEAVE " 400 while ENABLE_PARALLEL is false.", .everywhere = true, .takes = "files", .gives = "text/event-stream=SeedEvent",
     .query = "on_disconnect"},
    {HTTP_POST, "/process-stream", process_stream, "Process one image with staged progress",
     LEAVE, .everywhere = true, .takes = "file", .gives = "text/event-stream=SeedEvent", .query = "on_disconnect"},
    {HTTP_GET, "/health", health, "Whether the service can work", NULL, .schema = "Health", .everywhere = true, .open = true},
    {HTTP_GET, "/stats", stats, "What the service is made of", NULL, .schema = "Stats", .everywhere = true},
};

void api_seed_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
