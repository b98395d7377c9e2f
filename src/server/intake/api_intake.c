/* The job face, the way in: jobs of any pipeline from files, JSON or JSON Lines, at once or item by item. What a request wants is read off
 * its head here; its body goes to an upload or a spool, and then to an order.
 *
 * The limits are those of the whole server (MAX_BODY_MB, MAX_FILE_SIZE_MB); MAX_BATCH_SIZE is one of the /process endpoints alone. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "http/multipart.h"
#include "http/query.h"
#include "server/ask.h"
#include "server/lookup.h"
#include "server/intake/order.h"

#include <stdlib.h>

/* ---- what the query and the headers want ---- */

/* Most answer 0, or -1: the request has been answered. */

static int refuse_pipeline(struct service *service, struct http_request *request, struct bytes name)
{
    struct buf names BUF_OWNED;
    buf_init(&names, LIMIT_BODY_BYTES);
    shelf_names(service->settings.shelf, &names);
    if (name.count)
        http_refuse(request, 400, "There is no pipeline \"%.*s\"; there are: %s.", (int)(name.count < 64 ? name.count : 64), name.at, buf_z(&names));
    else
        http_refuse(request, 400, "Say which pipeline (?pipeline=NAME); there are: %s.", buf_z(&names));
    return -1;
}

static int choose(struct service *service, struct http_request *request, struct bytes name, struct order_want *want)
{
    want->entry = shelf_find(service->settings.shelf, name);
    if (!want->entry)
        return refuse_pipeline(service, request, name);
    want->takes_any = !want->entry->images;
    return 0;
}

static int pipeline_of(struct service *service, struct http_request *request, struct order_want *want)
{
    struct buf name BUF_OWNED;
    buf_init(&name, 256);
    int answer = query_get(request->query, "pipeline", &name);
    if (answer > 0)
        return 0;
    return choose(service, request, answer ? BYTES("?") : buf_bytes(&name), want);
}

static int leave_of(struct http_request *request, struct order_want *want)
{
    static const char *const words[] = {"continue", "cancel"};
    int word = 0;
    if (!ask_word(request, "on_disconnect", words, 2, &word))
        return -1;
    want->cancel_on_leave = word == 1;
    return 0;
}

static int key_of(struct http_request *request, struct order_want *want)
{
    struct bytes key = http_head_get(request->head, "Idempotency-Key");
    if (!key.at)
        return 0;
    if (!key.count || key.count > LIMIT_KEY_BYTES || !text_is_utf8(key)) {
        http_refuse(request, 400, "An Idempotency-Key has 1 to %d bytes of UTF-8, not %zu.", LIMIT_KEY_BYTES, key.count);
        return -1;
    }
    memcpy(want->key, key.at, key.count);
    return 0;
}

/* RFC 7240. What is not understood is not preferred. */
static void preferences_of(struct http_request *request, struct order_want *want)
{
    bool at_once = false;
    for (int i = 0; i < request->head->fields_count; i++) {
        struct bytes list = request->head->fields[i].value;
        if (!bytes_equal_nocase(request->head->fields[i].name, BYTES("Prefer")))
            continue;
        while (list.count) {
            struct bytes value = bytes_trim(bytes_cut(&list, ','));
            value = bytes_cut(&value, ';');
            struct bytes name = bytes_trim(bytes_cut(&value, '='));
            uint64_t seconds;
            value = bytes_trim(value);
            at_once = at_once || bytes_equal_nocase(name, BYTES("respond-async"));
            if (bytes_equal_nocase(name, BYTES("wait")) && bytes_to_u64(value, &seconds))
                want->wait_us = (int64_t)(seconds < LIMIT_PREFER_WAIT_S ? seconds : LIMIT_PREFER_WAIT_S) * 1000000;
        }
    }
    want->stream = !at_once && http_accepts(request->head, "text/event-stream");
    if (at_once)
        http_header(request, "Preference-Applied", "respond-async");
    if (at_once || want->stream)
        want->wait_us = 0;
}

/* Everything that the head says about a new job. NULL: answered. */
static struct order_want *want_of(struct service *service, struct http_request *request)
{
    struct order_want *want = MEM_NEW(struct order_want);
    int64_t in_flight = 0;    /* what the pipeline says */
    want->first = -1;
    if (pipeline_of(service, request, want) || !ask_flag(request, "open", &want->open) || !ask_flag(request, "ordered", &want->ordered) ||
        !ask_int(request, "in_flight", 1, LIMIT_IN_FLIGHT, &in_flight) || leave_of(request, want) || key_of(request, want)) {
        order_want_free(want);
        return NULL;
    }
    want->in_flight = want->ordered ? 1 : (uint32_t)in_flight;
    preferences_of(request, want);
    return want;
}

/* ---- bodies ---- */

enum form { FORM_NOTHING, FORM_FILES, FORM_JSON, FORM_LINES, FORM_UNKNOWN };

static enum form form_of(const struct http_request *request)
{
    static const char *const lines[] = {"application/jsonl", "application/x-ndjson", "application/ndjson", "application/x-jsonlines",
                                        "application/jsonlines", "application/json-lines"};
    struct bytes type = http_head_get(request->head, "Content-Type");
    type = bytes_trim(bytes_cut(&type, ';'));
    if (!type.count)
        return request->body_bytes ? FORM_UNKNOWN : FORM_NOTHING;
    if (bytes_equal_nocase(type, BYTES("multipart/form-data")))
        return FORM_FILES;
    if (bytes_equal_nocase(type, BYTES("application/json")))
        return FORM_JSON;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (bytes_equal_nocase(type, bytes_of(lines[i])))
            return FORM_LINES;
    return request->body_bytes ? FORM_UNKNOWN : FORM_NOTHING;
}

static bool takes_values(const struct service *service, const struct order_want *want)
{
    return want->takes_any || service->settings.accept_text;
}

static void drop_want(void *want)
{
    order_want_free(want);
}

static void uploaded(struct upload *upload, struct http_request *request)
{
    order_place(upload->service, request, upload->data, upload, NULL);
}

/* A document may say its pipeline itself. False: answered. */
static bool settle_pipeline(struct service *service, struct http_request *request, const struct spool *spool, struct order_want *want)
{
    if (want->live)
        return true;
    if (want->entry && spool->pipeline && strcmp(want->entry->pipeline->name, spool->pipeline) != 0) {
        http_refuse(request, 400, "The address says pipeline \"%s\", the body \"%s\".", want->entry->pipeline->name, spool->pipeline);
        return false;
    }
    if (!want->entry && choose(service, request, bytes_of(spool->pipeline), want))
        return false;
    if (takes_values(service, want) || !spool->count)
        return true;
    http_refuse(request, 415, "The pipeline \"%s\" takes images: send them as multipart/form-data.", want->entry->pipeline->name);
    return false;
}

static void spooled(struct spool *spool, struct http_request *request)
{
    struct order_want *want = spool->data;
    if (settle_pipeline(spool->service, request, spool, want)) {
        order_place(spool->service, request, want, NULL, spool);
    } else {
        order_want_free(want);
        spool_free(spool);
    }
}

/* Read the body as what it is; the want goes with it. */
static void take_in(struct service *service, struct http_request *request, struct order_want *want)
{
    static const struct upload_rules images = {.field = "files", .other = "file", .many = true, .params = true},
                                     any = {.field = "files", .other = "file", .many = true, .params = true, .any = true},
                                     more_images = {.field = "files", .other = "file", .many = true, .params = true, .none = true},
                                     more = {.field = "files", .other = "file", .many = true, .params = true, .none = true, .any = true};
    static const struct spool_rules lines = {.lines = true}, document = {0}, open_document = {.none = true}, addition = {.single = true};
    enum form form = form_of(request);
    bool adds = want->live != NULL;
    if (form == FORM_FILES && !adds && !want->entry) {
        refuse_pipeline(service, request, (struct bytes){0});
    } else if (form == FORM_FILES) {
        const struct upload_rules *rules = want->open ? (want->takes_any ? &more : &more_images) : want->takes_any ? &any : &images;
        upload_begin(service, request, rules, want, uploaded, drop_want);
        return;
    } else if ((form == FORM_LINES || form == FORM_JSON) && (adds || want->entry) && !takes_values(service, want) && request->body_bytes) {
        http_refuse(request, 415, "This pipeline takes images: send them as multipart/form-data, in the field \"files\".");
    } else if (form == FORM_LINES && !adds && !want->entry) {
        refuse_pipeline(service, request, (struct bytes){0});
    } else if (form == FORM_LINES || form == FORM_JSON) {
        const struct spool_rules *rules = form == FORM_LINES ? &lines : adds ? &addition : want->open ? &open_document : &document;
        spool_begin(service, request, rules, want, spooled, drop_want);
        return;
    } else if (form == FORM_NOTHING && want->open && !want->entry) {
        refuse_pipeline(service, request, (struct bytes){0});
    } else if (form == FORM_NOTHING && want->open) {
        order_place(service, request, want, NULL, NULL);
        return;
    } else if (form == FORM_NOTHING) {
        http_refuse(request, 422, "There is no body: send files (multipart/form-data), JSON {\"items\": [...]} or JSON Lines.");
    } else {
        http_refuse(request, 415, "Bodies are taken as multipart/form-data, application/json or application/jsonl.");
    }
    order_want_free(want);
}

/* ---- routes ---- */

static void post_job(struct http_request *request, void *service)
{
    struct order_want *want = want_of(service, request);
    if (want)
        take_in(service, request, want);
}

/* What an addition or a seal wants of a job that was found. */
static struct order_want *want_more(struct service *service, struct live *live)
{
    struct order_want *want = MEM_NEW(struct order_want);
    const struct shelf_entry *entry = shelf_find(service->settings.shelf, bytes_of(live_job(live)->pipeline));
    want->live = live_ref(live);
    want->first = -1;
    want->takes_any = !entry || !entry->images;
    return want;
}

static bool refused_addition(struct http_request *request, const struct job *job)
{
    if (job->ended && !job->sealed)
        http_refuse(request, 409, "The job has ended: %s.", job->error ? job->error : job_status_name(job->status));
    else if (job->sealed)
        http_refuse(request, 409, "The job takes no more items: it is sealed.");
    else
        return false;
    return true;
}

static void add_found(struct lookup *lookup, struct live *live)
{
    struct http_request *request = lookup->request;
    struct service *service = lookup->service;
    struct order_want *want = want_more(service, live);
    bool answered = refused_addition(request, live_job(live)) || !ask_int(request, "first", 0, LIMIT_OPEN_ITEMS, &want->first);
    if (answered) {
        order_want_free(want);
        return;
    }
    lookup_leave(lookup);
    request->user = NULL;
    request->on_close = NULL;
    take_in(service, request, want);
}

static void post_items(struct http_request *request, void *service)
{
    lookup_job(request, service, add_found);
}

static void seal_found(struct lookup *lookup, struct live *live)
{
    struct http_request *request = lookup->request;
    struct service *service = lookup->service;
    struct order_want *want = want_more(service, live);
    want->seal = true;
    preferences_of(request, want);
    lookup_leave(lookup);
    order_place(service, request, want, NULL, NULL);
}

static void post_seal(struct http_request *request, void *service)
{
    lookup_job(request, service, seal_found);
}

/* ---- GET /v1/pipelines ---- */

static void put_takes(struct buf *buf, const struct service *service, const struct shelf_entry *entry)
{
    bool text = service->settings.accept_text;
    json_key(buf, "takes");
    json_open(buf, '{');
    json_put_raw(buf, "files", !entry->images ? BYTES("[\"*/*\"]")
                                      : text ? BYTES("[\"image/jpeg\",\"image/png\",\"image/webp\",\"text/plain\",\"application/json\"]")
                                             : BYTES("[\"image/jpeg\",\"image/png\",\"image/webp\"]"));
    json_put_flag(buf, "values", !entry->images || text);
    json_put_int(buf, "file_bytes_max", service->settings.max_file_bytes);
    json_put_int(buf, "body_bytes_max", service->settings.max_body_bytes);
    json_close(buf, '}');
}

static void put_leg(struct buf *buf, const struct leg *leg)
{
    json_open(buf, '{');
    json_put_raw(buf, "stages", bytes_of(leg->stages));
    json_put_real(buf, "timeout_s", (double)leg->timeout_us / 1e6);
    json_put_int(buf, "attempts", leg->attempts);
    json_close(buf, '}');
}

static void get_pipelines(struct http_request *request, void *data)
{
    struct service *service = data;
    const struct shelf *shelf = service->settings.shelf;
    struct buf buf BUF_OWNED;
    buf_init(&buf, LIMIT_HTTP_ANSWER_BYTES);
    json_open(&buf, '{');
    json_key(&buf, "pipelines");
    json_open(&buf, '[');
    for (size_t i = 0; i < shelf->count; i++) {
        const struct pipeline *pipeline = shelf->entries[i].pipeline;
        json_open(&buf, '{');
        json_put_text(&buf, "name", pipeline->name);
        json_put_text(&buf, "result_key", pipeline->result_key);
        json_key(&buf, "legs");
        json_open(&buf, '[');
        for (size_t leg = 0; leg < pipeline->legs_count; leg++)
            put_leg(&buf, &pipeline->legs[leg]);
        json_close(&buf, ']');
        put_takes(&buf, service, &shelf->entries[i]);
        json_close(&buf, '}');
    }
    json_close(&buf, ']');
    json_close(&buf, '}');
    http_answer_buf(request, 200, "application/json", &buf);
}

static const struct route routes[] = {
    {HTTP_POST, "/v1/jobs", post_job, "Make a job of files, JSON or JSON Lines",
     "Takes multipart/form-data (files in \"files\", parameters as JSON in \"params\"), application/json {\"items\": [...], \"params\": {...}, "
     "\"pipeline\": \"name\"}, or application/jsonl with a line an item. An item is any JSON value but null; an object of \"value\" and no "
     "others but \"name\", \"key\" and \"type\" stands for that value. 202 with Location when all of it is durable; a body with a mistake, or one "
     "that is cut off, makes nothing. MAX_BODY_MB and MAX_FILE_SIZE_MB hold, MAX_BATCH_SIZE does not. open=1 makes a job that takes more "
     "items by POST /v1/jobs/{id}/items and starts each at once. Prefer: wait=SECONDS waits for the end (200 then), Accept: text/event-stream "
     "answers with the stream. Idempotency-Key: the same again within a day gives the same job and Idempotent-Replay: true, something else 422.",
     .takes = "files application/json application/jsonl", .gives = "application/json=Job text/event-stream=Event",
     .query = "pipeline open ordered in_flight on_disconnect", .status = 202},
    {HTTP_POST, "/v1/jobs/{id}/items", post_items, "Add items to an open job",
     "The same bodies as for a new job; JSON that is no {\"items\": [...]} is one item. 202 {id, first, count, total} when durable. first=N: "
     "the index that the first of them must get; 409 with the total when it would not, so that an addition is not made twice.",
     .takes = "files application/json application/jsonl", .query = "first", .schema = "Added", .status = 202},
    {HTTP_POST, "/v1/jobs/{id}/seal", post_seal, "Say that an open job has all its items",
     "The document; also when it was sealed before. 409 when the job was cancelled or has ended without it.", .schema = "Job"},
    {HTTP_GET, "/v1/pipelines", get_pipelines, "What jobs can be made of",
     "Each with its name, the key of its results on the /process endpoints, its legs, and what it takes: files of these types, and JSON "
     "values where \"values\" is true.", .schema = "PipelineList"},
};

void api_intake_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
