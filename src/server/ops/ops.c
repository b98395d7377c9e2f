#include "server/ops/ops.h"

#include "base/json.h"
#include "base/mem.h"
#include "server/note.h"
#include "server/ops/metrics.h"

#include <stdlib.h>

/* ---- /livez, /readyz, /metrics ---- */

static void livez(struct http_request *request, void *service)
{
    http_header(request, "Cache-Control", "no-store");
    http_answer(request, 200, "application/json", BYTES("{\"status\":\"alive\"}"));
}

/* One sentence each; none = ready. */
static int reasons(struct service *service, const char *ret[4])
{
    int count = 0;
    bool full = store_disk_full(service->store);
    if (full)
        ret[count++] = "the disk is full";
    else if (store_busy(service->store))
        ret[count++] = "the log is slow: too much waits for the disk";
    if (!service_facts_now(service).ready)
        ret[count++] = "no worker is ready";
    if (service->draining)
        ret[count++] = "the server is going down";
    return count;
}

static void readyz(struct http_request *request, void *service)
{
    const char *why[4];
    int count = reasons(service, why);
    struct buf body BUF_OWNED;
    buf_init(&body, 4096);
    json_open(&body, '{');
    json_put_text(&body, "status", count ? "not ready" : "ready");
    json_key(&body, "reasons");
    json_open(&body, '[');
    for (int i = 0; i < count; i++)
        json_text(&body, why[i]);
    json_close(&body, ']');
    json_close(&body, '}');
    http_header(request, "Cache-Control", "no-store");
    http_answer_buf(request, count ? 503 : 200, "application/json", &body);
}

static void get_metrics(struct http_request *request, void *service)
{
    struct buf body BUF_OWNED;
    buf_init(&body, 1024 * 1024);
    metrics_render(service, &body);
    http_header(request, "Cache-Control", "no-store");
    http_answer_buf(request, 200, METRICS_TYPE, &body);
}

static const struct route routes[] = {
    {HTTP_GET, "/livez", livez, "Whether the server runs", "Answers as long as its loop turns.", .schema = "Alive", .open = true},
    {HTTP_GET, "/readyz", readyz, "Whether the server can take work", "503 and the reasons when the disk is full, the log is slow, no worker "
     "is ready, or the server is going down.", .schema = "Readiness", .open = true},
    {HTTP_GET, "/metrics", get_metrics, "Numbers for monitoring", "OpenMetrics 1.0 text.", .gives = "application/openmetrics-text"},
};

void ops_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}

/* ---- the journal: requests ---- */

void ops_begun(struct http_request *request, int status, void *data)
{
    struct service *service = data;
    struct note *note = note_come(service->journal, request);
    service->metrics->answers[status >= 100 && status < 600 ? status / 100 : 0]++;
    if (note)
        note_begun(note, request, status);
}

static void put_some(struct buf *line, const char *name, const char *value)
{
    if (value[0])
        json_put_text(line, name, value);
}

static void tell_request(struct service *service, const struct http_request *request, const struct note *note, enum http_why why)
{
    static const char *const whys[] = {"done", "client left", "too slow", "refused", "closing"};
    bool known = note->path[0];
    struct buf *line = journal_begin(service->journal, note->status >= 500 ? JOURNAL_WARN : JOURNAL_INFO, "request");
    if (known) {
        json_put_text(line, "method", http_method_name(note->method));
        json_put_text(line, "path", note->path);
    }
    json_put_int(line, "status", note->status);
    json_put_text(line, "end", whys[why]);
    json_put_int(line, "bytes", request->sent_bytes);
    json_put_real(line, "seconds", (double)(loop_now_us(service->loop) - request->came_us) / 1e6);
    put_some(line, "job", note->job);
    put_some(line, "peer", note->peer);
    put_some(line, "trace_id", note->trace);
    journal_end(service->journal);
}

void ops_ended(struct http_request *request, enum http_why why, void *data)
{
    struct service *service = data;
    if (!request->note)
        return;
    tell_request(service, request, request->note, why);
    note_done(request);
}

/* ---- the journal: jobs and workers ---- */

static struct buf *job_line(struct service *service, enum journal_level level, const char *msg, const struct job *job)
{
    struct buf *line = journal_begin(service->journal, level, msg);
    json_put_text(line, "job", job->id);
    json_put_text(line, "owner", job->owner);
    return line;
}

static void tell_made(struct service *service, const struct job *job, const struct row *row)
{
    struct bytes trace = json_span(row_body(row), "trace");
    struct buf *line = job_line(service, JOURNAL_INFO, "job made", job);
    json_put_text(line, "pipeline", job->pipeline);
    json_put_int(line, "items", job->total);
    if (trace.count)
        json_put_raw(line, "trace", trace);
    journal_end(service->journal);
}

static void tell_ended(struct service *service, const struct job *job)
{
    struct buf *line = job_line(service, JOURNAL_INFO, "job ended", job);
    json_put_text(line, "status", job_status_name(job->status));
    json_put_int(line, "items", job->total);
    json_put_int(line, "completed", job->counts.completed);
    json_put_int(line, "failed", job->counts.failed);
    json_put_int(line, "skipped", job->counts.skipped);
    json_put_real(line, "seconds", (double)(job->ended_us - job->created_us) / 1e6);
    if (job->error)
        json_put_text(line, "error", job->error);
    journal_end(service->journal);
}

static void tell_loss(struct service *service, const struct job *job, const struct row *row)
{
    struct bytes type = json_span(row_body(row), "error_type");
    bool crash = bytes_equal(type, BYTES("\"crash\"")), timeout = bytes_equal(type, BYTES("\"timeout\""));
    if (!crash && !timeout)
        return;
    struct buf *line = job_line(service, JOURNAL_WARN, crash ? "worker lost" : "worker stopped at its deadline", job);
    json_put_int(line, "item", row->item);
    json_put_int(line, "attempt", row->attempt);
    struct bytes error = json_span(row_body(row), "error");
    if (error.count)
        json_put_raw(line, "error", error);
    journal_end(service->journal);
}

static void seen(void *data, struct live *live, const struct row *row)
{
    struct service *service = data;
    const struct job *job = live_job(live);
    metrics_seen(service->metrics, job, row);
    if (!journal_is_json(service->journal))
        return;
    switch (row->kind) {
    case EVENT_JOB_CREATED: tell_made(service, job, row); break;
    case EVENT_JOB_ENDED: tell_ended(service, job); break;
    case EVENT_ITEM_RETRY:
    case EVENT_ITEM_FAILED: tell_loss(service, job, row); break;
    default: break;
    }
}

/* ---- life ---- */

void ops_open(struct service *service)
{
    const char *log = service->settings.log;
    service->metrics = MEM_NEW(struct metrics);
    service->journal = journal_new(service->loop, journal_mode_of(log ? log : "text"));
    service->listener = (struct store_listener){.seen = seen, .data = service};
    store_on_durable(service->store, &service->listener);
}

void ops_close(struct service *service)
{
    if (!service->metrics)
        return;
    store_unlisten(&service->listener);
    journal_free(service->journal);
    free(service->metrics);
}
