#include "server/intake/order_own.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/problem_json.h"
#include "readers/webhook.h"
#include "server/access/quota.h"
#include "server/intake/await.h"
#include "server/stream/stream.h"
#include "server/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void start(struct order *order);

static void start_again(struct store_wait *wait)
{
    start(LIST_OF(wait, struct order, wait));
}

void order_want_free(struct order_want *want)
{
    if (!want)
        return;
    live_unref(want->live);
    free(want);
}

/* ---- the end ---- */

void order_free(struct order *order)
{
    list_leave(&order->link);
    list_leave(&order->party.link);
    list_leave(&order->follow);
    store_unwait(&order->wait);
    if (order->busy) {
        order->dead = true;
        return;
    }
    upload_free(order->upload);
    spool_free(order->spool);
    live_unref(order->live);
    order_want_free(order->want);
    batches_free(order->batches);
    terms_done(&order->terms);
    free(order->files);
    free(order->params);
    free(order);
}

/* It comes to its end: whoever waited for that looks again at what is there now. While draining they are told by themselves. */
static void let_followers_go(struct order *order)
{
    order->pouring = false;
    for (struct list *link; (link = list_pop(&order->followers));)
        if (!order->service->draining)
            start(LIST_OF(link, struct order, follow));
}

void order_close(struct service *service)
{
    LIST_EACH(link, &service->orders) {
        struct order *order = LIST_OF(link, struct order, link);
        while (list_pop(&order->followers))
            ;
        order_free(order);
    }
}

/* The request is answered, or given to somebody else: it is the order's no more. */
static struct http_request *release(struct order *order)
{
    struct http_request *request = order->request;
    if (request) {
        request->user = NULL;
        request->on_close = NULL;
    }
    order->request = NULL;
    return request;
}

/* What was begun is undone. */
static void give_up(struct order *order)
{
    release(order);
    if (order->mine && !live_job(order->live)->ended)
        engine_cancel(order->service->engine, order->live, BYTES("server"), BYTES("its items could not be taken in"));
    let_followers_go(order);
    order_free(order);
}

int64_t order_inputs(const struct order *order)
{
    return order->upload ? order->upload->count : order->spool ? order->spool->count : 0;
}

static bool is_part_taken(const struct order *order)
{
    return order->made && !order->mine;
}

/* The answer to an addition that failed, for programs too: who would send all of it again would have the part that was taken twice. */
static void refuse_addition(struct order *order, int status, const struct problem *detail)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, LIMIT_BODY_BYTES);
    problem_json(&buf, status, bytes_of(detail->text), order->request->path);
    buf.count--;      /* its last brace */
    if (order->made)
        json_put_int(&buf, "taken", order->made);
    json_put_int(&buf, "total", live_job(order->live)->total);
    json_close(&buf, '}');
    http_answer_buf(order->request, status, PROBLEM_JSON_TYPE, &buf);
}

/* Refuse it with this sentence, if somebody still listens. What went into somebody's open job before stays there, and is told. */
void order_fail(struct order *order, int status, const char *format, ...)
{
    struct problem text = {0};
    struct problem whole = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(text.text, sizeof text.text, format, args);
    va_end(args);
    if (order->request && is_part_taken(order)) {
        if (order->batches)
            problem_set(&whole, "%s The first %lld items made of it are in the job all the same.", text.text, (long long)order->made);
        else
            problem_set(&whole, "%s Of its %lld items the first %lld are in the job all the same.", text.text, (long long)order_inputs(order),
                        (long long)order->at);
        refuse_addition(order, status, &whole);
    } else if (order->request) {
        http_refuse(order->request, status, "%s", text.text);
    }
    give_up(order);
}

void order_fail_down(struct order *order)
{
    order_fail(order, 503, is_part_taken(order) ? "The server is going down." : "The server is going down; what was sent was not taken.");
}

/* The queue to the disk is full: go on when what is in it is durable. */
void order_wait_for_disk(struct order *order, const struct problem *problem, void (*call)(struct store_wait *wait))
{
    struct store *store = order->service->store;
    if (order->service->draining || store_disk_full(store) || !store_busy(store)) {
        if (is_part_taken(order)) {
            order_fail(order, store_disk_full(store) ? 507 : 503, "The server cannot write for now.");
            return;
        }
        if (order->request)
            service_refuse_busy(order->service, order->request, problem);
        give_up(order);
        return;
    }
    store_when(store, &order->wait, store_pos(store), call);
}

static void closed(struct http_request *request, enum http_why why)
{
    struct order *order = request->user;
    order->request = NULL;
    order->why = why;
}

static void drain(struct party *party)
{
    struct order *order = LIST_OF(party, struct order, party);
    bool all_taken = order->pouring && order->at == order_inputs(order) && (!order->batches || order->flushed);    /* and durable soon */
    if (!order->finished && !all_taken)
        order_fail_down(order);
}

/* ---- telling ---- */

static int64_t bytes_of_inputs(const struct order *order)
{
    return order->upload ? upload_bytes(order->upload) : order->spool ? order->spool->bytes : 0;
}

static void tell_added(struct order *order)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 1024);
    json_open(&buf, '{');
    json_put_text(&buf, "id", live_job(order->live)->id);
    json_put_int(&buf, "first", order->first);
    json_put_int(&buf, "count", order->made);
    json_put_int(&buf, "total", live_job(order->live)->total);
    json_close(&buf, '}');
    http_answer_buf(release(order), 202, "application/json", &buf);
}

static void tell_job(struct order *order)
{
    const struct order_want *want = order->want;
    struct service *service = order->service;
    struct http_request *request = release(order);
    if (order->replay)
        http_header(request, "Idempotent-Replay", "true");
    if (want->stream) {
        struct stream_want stream = {.face = FACE_JOB, .place = STREAM_START, .cancel_on_leave = want->cancel_on_leave};
        stream_begin(service, request, order->live, &stream);
        return;
    }
    struct await_want await = {.status = want->seal ? 200 : 202, .wait_us = want->wait_us, .cancel_on_leave = want->cancel_on_leave};
    if (want->wait_us) {
        char applied[32];
        snprintf(applied, sizeof applied, "wait=%lld", (long long)(want->wait_us / 1000000));
        http_header(request, "Preference-Applied", applied);
    }
    await_begin(service, request, order->live, &await);
}

static void durable(struct store_wait *wait)
{
    struct order *order = LIST_OF(wait, struct order, wait);
    if (!order->request) {
        service_left(order->service, order->live, order->why, order->want->cancel_on_leave);
    } else {
        service_job_headers(order->request, live_job(order->live));
        if (order->want->live && !order->want->seal)
            tell_added(order);
        else
            tell_job(order);
    }
    order_free(order);
}

/* All that it wanted is accepted. */
void order_finish(struct order *order)
{
    if (order->upload && !order->replay)
        order->upload->used = true;
    if (order->spool && !order->replay)
        order->spool->used = true;
    order->finished = true;
    let_followers_go(order);
    store_when(order->service->store, &order->wait, store_pos(order->service->store), durable);
}

/* ---- into a new job ---- */

/* What was asked for, as far as it makes a difference. */
static struct sha print_of(const struct order *order)
{
    const struct order_want *want = order->want;
    struct sha_stream *hash = sha_new();
    struct buf text BUF_OWNED;
    buf_init(&text, 1024);
    buf_print(&text, "%s\n%d%d %u\n", want->entry->pipeline->name, want->open, want->ordered, want->in_flight);
    sha_add(hash, buf_bytes(&text));
    sha_add(hash, bytes_of(order->params));
    for (int i = 0; order->upload && i < order->upload->count; i++) {
        const struct upload_file *file = order->upload->files[i];
        sha_add(hash, (struct bytes){file->name, strlen(file->name) + 1});
        sha_add(hash, (struct bytes){file->type, strlen(file->type) + 1});
        sha_add(hash, (struct bytes){(const char *)&file->bytes, sizeof file->bytes});
        sha_add(hash, (struct bytes){(const char *)file->sha.at, SHA_SIZE});
    }
    if (order->spool)
        sha_add(hash, (struct bytes){(const char *)order->spool->sha.at, SHA_SIZE});
    return sha_end(hash);
}

/* The order that still pours into a job; NULL = none does. */
static struct order *pourer(const struct order *order, const struct live *live)
{
    LIST_EACH(link, &order->service->orders) {
        struct order *other = LIST_OF(link, struct order, link);
        if (other != order && other->pouring && other->live == live)
            return other;
    }
    return NULL;
}

static void follow(struct order *order, struct order *leader)
{
    list_push(&leader->followers, &order->follow);
}

static struct bytes webhook_of(const struct order *order)
{
    return order->spool && order->spool->webhook ? bytes_of(order->spool->webhook) : (struct bytes){0};
}

static int check_webhook(const struct order *order, struct problem *problem)
{
    struct bytes webhook = webhook_of(order);
    if (webhook.count && !webhooks_can(order->service->settings.webhooks))
        return problem_set(problem, "This server sends no webhooks: it was started without RIVULET_WEBHOOK_SECRET.");
    return webhook.count ? webhook_check(webhook, problem) : 0;
}

/* Inputs of a pipeline that batches them are made items first. */
static void begin_pouring(struct order *order, const struct pipeline *pipeline)
{
    struct service *service = order->service;
    struct batches_world world = {service->loop, service->store, service->blobs, service->settings.asker};
    const struct job *job = live_job(order->live);
    order->pouring = true;
    if (pipeline && batches_wanted(pipeline) && order_inputs(order))
        order->batches = batches_new(&world, pipeline, bytes_of(job->params), job->total);
    order_pour(order);
}

static void create(struct order *order)
{
    const struct order_want *want = order->want;
    struct service *service = order->service;
    struct problem problem = {0};
    bool busy = false;
    if (quota_admit_job(service, order->request, order_inputs(order), bytes_of_inputs(order))) {
        give_up(order);
        return;
    }
    struct bytes params = order->params ? bytes_of(order->params) : want->takes_any || json_get(want->entry->pipeline->tree, "params") ? (struct bytes){0} : service->settings.params;
    struct store_job job = {
        .owner = service_owner(service, order->request), .in_flight = want->in_flight, .ordered = want->ordered, .open = want->open,
        .key = bytes_of(want->key), .print = order->print, .key_ttl_us = LIMIT_KEY_US, .trace = trace_of(order->request),
    };
    terms_done(&order->terms);
    if (check_webhook(order, &problem) || terms_make(want->entry->pipeline, params, webhook_of(order), &order->terms, &job, &problem)) {
        order_fail(order, 400, "%s", problem.text);
        return;
    }
    if (!job.in_flight)
        job.in_flight = (uint32_t)service->settings.max_workers;
    struct live *live = engine_open_job(service->engine, &job, &busy, &problem);
    if (!live && busy) {
        order_wait_for_disk(order, &problem, start_again);
    } else if (!live) {
        order_fail(order, 400, "%s", problem.text);
    } else {
        order->live = live_ref(live);
        order->mine = true;
        begin_pouring(order, want->entry->pipeline);
    }
}

static void key_found(void *data, struct live *live, const struct sha *print)
{
    struct order *order = data;
    order->busy = false;
    if (order->dead) {
        order_free(order);
    } else if (!order->request) {
        give_up(order);
    } else if (!live) {
        create(order);
    } else if (memcmp(print->at, order->print.at, SHA_SIZE) != 0) {
        order_fail(order, 422, "The Idempotency-Key \"%s\" was used for something else: job %s.", order->want->key, live_job(live)->id);
    } else {
        struct order *leader = pourer(order, live);
        if (leader) {
            follow(order, leader);
            return;
        }
        order->live = live_ref(live);
        order->replay = true;
        order_finish(order);
    }
}

/* ---- into one that is there ---- */

static void refuse_place(struct order *order)
{
    int64_t total = live_job(order->live)->total;
    struct problem detail = {0};
    problem_set(&detail, "The job has %lld items, so the next one is item %lld, not %lld.", (long long)total, (long long)total,
                (long long)order->want->first);
    refuse_addition(order, 409, &detail);
    give_up(order);
}

static void add(struct order *order)
{
    const struct order_want *want = order->want;
    const struct job *job = live_job(want->live);
    struct order *leader = pourer(order, want->live);
    if (leader) {
        follow(order, leader);
        return;
    }
    if (!order->live)
        order->live = live_ref(want->live);
    if (job->ended && (!want->seal || !job->sealed)) {
        order_fail(order, 409, "The job has ended: %s.", job->error ? job->error : job_status_name(job->status));
    } else if (job->sealed && !want->seal) {
        order_fail(order, 409, "The job takes no more items: it is sealed.");
    } else if (want->first >= 0 && want->first != job->total) {
        refuse_place(order);
    } else if (!want->seal && quota_admit(order->service, order->request, order_inputs(order), bytes_of_inputs(order))) {
        give_up(order);
    } else {
        order->first = job->total;
        begin_pouring(order, store_pipeline(order->service->store, &job->hash));
    }
}

/* ---- the beginning ---- */

static void start(struct order *order)
{
    struct service *service = order->service;
    struct store *store = service->store;
    const struct order_want *want = order->want;
    if (!order->request) {
        give_up(order);
    } else if (service->draining) {
        order_fail_down(order);
    } else if (store_disk_full(store) || !blob_space_ok(service->blobs)) {
        order_fail(order, 507, "The server's disk is full.");
    } else if (store_busy(store)) {
        order_wait_for_disk(order, &(struct problem){0}, start_again);
    } else if (want->live) {
        add(order);
    } else if (want->key[0]) {
        order->busy = true;
        store_find_key(store, service_owner(service, order->request), bytes_of(want->key), key_found, order);
    } else {
        create(order);
    }
}

/* The parameters: an object, with what decklists as text need where those are taken. False: answered. */
static bool take_params(struct order *order, struct bytes text)
{
    struct problem problem = {0};
    if (!text.count)
        return true;
    JSON_OWNED struct json_object *object = json_parse(text, &problem);
    if (!json_object_is_type(object, json_type_object)) {
        http_refuse(order->request, 400, "\"params\" must be a JSON object%s%s", object ? "." : ": ", object ? "" : problem.text);
        return false;
    }
    if (!order->want->takes_any && order->service->settings.accept_text && !json_get(object, "text"))
        json_object_object_add(object, "text", json_object_new_boolean(true));
    struct buf buf BUF_OWNED;
    buf_init(&buf, 2 * LIMIT_PARAMS_BYTES);
    json_tree(&buf, object);
    if (!buf_ok(&buf)) {
        http_refuse(order->request, 413, "\"params\" has more than %d bytes.", LIMIT_PARAMS_BYTES);
        return false;
    }
    order->params = buf_take(&buf, NULL);
    return true;
}

void order_place(struct service *service, struct http_request *request, struct order_want *want, struct upload *upload, struct spool *spool)
{
    struct order *order = MEM_NEW(struct order);
    order->service = service;
    order->request = request;
    order->want = want;
    order->upload = upload;
    order->spool = spool;
    list_init(&order->followers);
    list_init(&order->follow);
    list_push(&service->orders, &order->link);
    party_join(service, &order->party, drain);
    request->user = order;
    request->on_close = closed;
    if (!take_params(order, upload ? buf_bytes(&upload->params) : spool ? bytes_of(spool->params) : (struct bytes){0})) {
        give_up(order);
        return;
    }
    if (want->key[0])
        order->print = print_of(order);
    start(order);
}
