#include "server/intake/order.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/problem_json.h"
#include "server/access/quota.h"
#include "server/intake/await.h"
#include "server/stream/stream.h"
#include "server/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct order {
    struct list link;                 /* in service.orders */
    struct party party;
    struct service *service;
    struct http_request *request;     /* NULL once its client has gone */
    enum http_why why;
    struct order_want *want;
    struct upload *upload;
    struct spool *spool;
    struct sha print;
    char *params;                     /* JSON, or NULL */
    struct live *live;                /* one reference: the job, once it is there */
    bool mine;                        /* this order made it */
    bool replay;                      /* another order with this key made it */
    bool pouring;                     /* its items are on their way into the job */
    bool busy;                        /* somebody will call back: the key's look-up, or a read of the spool */
    bool dead;                        /* to be freed when it does */
    int64_t first, at;                /* index of its first item, items poured so far */
    bool finished;                    /* it waits for the disk alone */
    const struct item_spec *held;     /* read, and not taken: the disk was busy */
    size_t held_count;
    struct store_wait wait;
    struct list followers, follow;    /* orders that wait for this one to come to its end; a link in such a list */
};

static void start(struct order *order);
static void pour(struct order *order);

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

static void order_free(struct order *order)
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

static int64_t items_of(const struct order *order)
{
    return order->upload ? order->upload->count : order->spool ? order->spool->count : 0;
}

static bool is_part_taken(const struct order *order)
{
    return order->at && !order->mine;
}

/* The answer to an addition that failed, for programs too: who would send all of it again would have the part that was taken twice. */
static void refuse_addition(struct order *order, int status, const struct problem *detail)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, LIMIT_BODY_BYTES);
    problem_json(&buf, status, bytes_of(detail->text), order->request->path);
    buf.count--;      /* its last brace */
    if (order->at)
        json_put_int(&buf, "taken", order->at);
    json_put_int(&buf, "total", live_job(order->live)->total);
    json_close(&buf, '}');
    http_answer_buf(order->request, status, PROBLEM_JSON_TYPE, &buf);
}

/* Refuse it with this sentence, if somebody still listens. What went into somebody's open job before stays there, and is told. */
static void fail(struct order *order, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void fail(struct order *order, int status, const char *format, ...)
{
    struct problem text = {0};
    struct problem whole = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(text.text, sizeof text.text, format, args);
    va_end(args);
    if (order->request && is_part_taken(order)) {
        problem_set(&whole, "%s Of its %lld items the first %lld are in the job all the same.", text.text, (long long)items_of(order),
                    (long long)order->at);
        refuse_addition(order, status, &whole);
    } else if (order->request) {
        http_refuse(order->request, status, "%s", text.text);
    }
    give_up(order);
}

static void fail_down(struct order *order)
{
    fail(order, 503, is_part_taken(order) ? "The server is going down." : "The server is going down; what was sent was not taken.");
}

/* The queue to the disk is full: go on when what is in it is durable. */
static void wait_for_disk(struct order *order, const struct problem *problem, void (*call)(struct store_wait *wait))
{
    struct store *store = order->service->store;
    if (order->service->draining || store_disk_full(store) || !store_busy(store)) {
        if (is_part_taken(order)) {
            fail(order, store_disk_full(store) ? 507 : 503, "The server cannot write for now.");
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
    bool all_taken = order->pouring && order->at == items_of(order);    /* and durable soon */
    if (!order->finished && !all_taken)
        fail_down(order);
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
    json_put_int(&buf, "count", items_of(order));
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
static void finish(struct order *order)
{
    if (order->upload && !order->replay)
        order->upload->used = true;
    if (order->spool && !order->replay)
        order->spool->used = true;
    order->finished = true;
    let_followers_go(order);
    store_when(order->service->store, &order->wait, store_pos(order->service->store), durable);
}

/* ---- pouring the items in ---- */

static void pour_on(struct store_wait *wait)
{
    pour(LIST_OF(wait, struct order, wait));
}

static void seal(struct order *order)
{
    struct problem problem = {0};
    bool busy = false;
    bool sealing = order->want->live ? order->want->seal : !order->want->open;
    if (sealing && !live_job(order->live)->sealed && !live_job(order->live)->ended &&
        engine_seal(order->service->engine, order->live, &busy, &problem)) {
        wait_for_disk(order, &problem, pour_on);
        return;
    }
    finish(order);
}

static void poured(struct order *order, const struct item_spec *items, size_t count)
{
    struct problem problem = {0};
    bool busy = false;
    int answer = engine_add(order->service->engine, order->live, items, count, &busy, &problem);
    if (answer == ENGINE_FULL) {
        fail(order, 429, "%s", problem.text);
    } else if (answer && busy) {
        order->held = order->spool ? items : NULL;
        order->held_count = order->spool ? count : 0;
        wait_for_disk(order, &problem, pour_on);
    } else if (answer) {
        fail(order, live_job(order->live)->sealed || live_job(order->live)->ended ? 409 : 400, "%s", problem.text);
    } else {
        order->at += (int64_t)count;
        store_when(order->service->store, &order->wait, store_pos(order->service->store), pour_on);
    }
}

static void pour_files(struct order *order)
{
    struct upload *upload = order->upload;
    size_t count = (size_t)(upload->count - order->at < SPOOL_READ ? upload->count - order->at : SPOOL_READ);
    struct item_spec *items MEM_OWNED = mem_new(count * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = upload_item(upload->files[order->at + (int64_t)i]);
    poured(order, items, count);
}

static void values_came(void *data, const struct item_spec *items, size_t count, int error)
{
    struct order *order = data;
    order->busy = false;
    if (order->dead)
        order_free(order);
    else if (error || !count)
        fail(order, 500, "The items could not be read back from the disk.");
    else
        poured(order, items, count);
}

static void pour(struct order *order)
{
    struct store *store = order->service->store;
    if (order->at == items_of(order)) {
        seal(order);
    } else if (order->service->draining) {
        fail_down(order);
    } else if (store_busy(store)) {
        wait_for_disk(order, &(struct problem){0}, pour_on);
    } else if (order->held_count) {
        size_t count = order->held_count;
        order->held_count = 0;
        poured(order, order->held, count);
    } else if (order->upload) {
        pour_files(order);
    } else {
        order->busy = true;
        spool_read(order->spool, order->first + order->at, values_came, order);
    }
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

static void create(struct order *order)
{
    const struct order_want *want = order->want;
    struct service *service = order->service;
    struct problem problem = {0};
    bool busy = false;
    if (quota_admit_job(service, order->request, items_of(order), bytes_of_inputs(order))) {
        give_up(order);
        return;
    }
    struct store_job job = {
        .owner = service_owner(service, order->request), .pipeline = want->entry->pipeline,
        .params = order->params ? bytes_of(order->params) : want->takes_any ? (struct bytes){0} : service->settings.params,
        .in_flight = want->in_flight, .ordered = want->ordered, .open = want->open, .key = bytes_of(want->key), .print = order->print,
        .key_ttl_us = LIMIT_KEY_US, .trace = trace_of(order->request),
    };
    struct live *live = engine_open_job(service->engine, &job, &busy, &problem);
    if (!live && busy) {
        wait_for_disk(order, &problem, start_again);
    } else if (!live) {
        fail(order, 400, "%s", problem.text);
    } else {
        order->live = live_ref(live);
        order->mine = order->pouring = true;
        pour(order);
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
        fail(order, 422, "The Idempotency-Key \"%s\" was used for something else: job %s.", order->want->key, live_job(live)->id);
    } else {
        struct order *leader = pourer(order, live);
        if (leader) {
            follow(order, leader);
            return;
        }
        order->live = live_ref(live);
        order->replay = true;
        finish(order);
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
        fail(order, 409, "The job has ended: %s.", job->error ? job->error : job_status_name(job->status));
    } else if (job->sealed && !want->seal) {
        fail(order, 409, "The job takes no more items: it is sealed.");
    } else if (want->first >= 0 && want->first != job->total) {
        refuse_place(order);
    } else if (!want->seal && quota_admit(order->service, order->request, items_of(order), bytes_of_inputs(order))) {
        give_up(order);
    } else {
        order->first = job->total;
        order->pouring = true;
        pour(order);
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
        fail_down(order);
    } else if (store_disk_full(store) || !blob_space_ok(service->blobs)) {
        fail(order, 507, "The server's disk is full.");
    } else if (store_busy(store)) {
        wait_for_disk(order, &(struct problem){0}, start_again);
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
