#include "server/service_own.h"

#include "base/limits.h"
#include "base/mem.h"
#include "readers/feed.h"
#include "server/access/access.h"
#include "server/access/quota.h"
#include "server/journal.h"
#include "server/ops/ops.h"
#include "server/schemas.h"
#include "server/stream/stream.h"
#include "server/stream/tip.h"

#include <assert.h>
#include <stdlib.h>

enum {
    FILE_BYTES = 10 * 1024 * 1024,
    BATCH_FILES = 10,
    WORKERS = 2,
    HEARTBEAT_US = LIMIT_STREAM_SILENCE_US - 1000000,
    DRAIN_GRACE_US = 5000000,
    DRAIN_LOOK_US = 10000,
};

static void on_hint(void *data, int64_t job, int64_t item, int percent, struct bytes status)
{
    stream_hint(data, job, item, percent, status);
}

/* ---- opening ---- */

static void fill_in(struct service_settings *settings)
{
    settings->host = settings->host ? settings->host : "127.0.0.1";
    settings->name = settings->name ? settings->name : "rivulet";
    settings->version = settings->version ? settings->version : "0";
    settings->scratch = settings->scratch ? settings->scratch : "/tmp";
    settings->owner = settings->owner.count ? settings->owner : BYTES("local");
    settings->max_body_bytes = settings->max_body_bytes > 0 ? settings->max_body_bytes : LIMIT_HTTP_BODY_BYTES;
    settings->max_file_bytes = settings->max_file_bytes > 0 ? settings->max_file_bytes : FILE_BYTES;
    settings->max_batch = settings->max_batch > 0 ? settings->max_batch : BATCH_FILES;
    settings->max_workers = settings->max_workers > 0 ? settings->max_workers : WORKERS;
    settings->heartbeat_us = settings->heartbeat_us > 0 ? settings->heartbeat_us : HEARTBEAT_US;
}

static struct service *service_new(struct loop *loop, struct store *store, struct engine *engine, struct blobs *blobs,
                                   const struct service_settings *settings)
{
    struct service *service = MEM_NEW(struct service);
    service->loop = loop;
    service->store = store;
    service->engine = engine;
    service->blobs = blobs;
    service->settings = *settings;
    fill_in(&service->settings);
    service->world = (struct cursor_world){loop, store, blobs};
    service->tips = MEM_NEW(struct tips);
    tips_init(service->tips, &service->world, &stream_tip_client);
    list_init(&service->parties);
    list_init(&service->intakes);
    list_init(&service->turns.taken);
    list_init(&service->turns.ready);
    list_init(&service->turns.others);
    list_init(&service->orders);
    buf_init(&service->scratch, FEED_BYTES_MAX);
    service->router = router_new(service->settings.name, service->settings.version);
    api_seed_add(service);
    api_jobs_add(service);
    api_intake_add(service);
    page_add(service);
    hooks_add(service);
    access_add(service);
    ops_add(service);
    router_set_schemas(service->router, schemas);
    router_add_docs(service->router);
    return service;
}

static void request_ended(struct http_request *request, enum http_why why, void *service)
{
    quota_request_ended(service, request, why);
    ops_ended(request, why, service);
}

int service_open(struct loop *loop, struct store *store, struct engine *engine, struct blobs *blobs,
                 const struct service_settings *settings, struct service **ret_service, struct problem *problem)
{
    assert(settings->shelf && settings->shelf->count);
    struct service *service = service_new(loop, store, engine, blobs, settings);
    struct http_settings http = {
        .host = service->settings.host, .port = settings->port, .listening = settings->listening, .body_bytes_max = service->settings.max_body_bytes, .any_host = settings->any_host,
        .origins = settings->origins ? settings->origins : settings->keys_file || settings->keys ? "" : "*",
        .on_begun = ops_begun, .on_ended = request_ended, .look_data = service,
    };
    ops_open(service);
    int answer = access_open(service, problem);
    if (!answer)
        answer = http_open(loop, &http, router_request, service->router, &service->http, problem);
    if (answer) {
        service_close(service);
        return answer;
    }
    engine_on_hint(engine, on_hint, service);
    *ret_service = service;
    return 0;
}

int service_port(const struct service *service)
{
    return http_port(service->http);
}

void service_say(struct service *service, bool warning, const char *sentence)
{
    journal_tell(service->journal, warning ? JOURNAL_WARN : JOURNAL_INFO, sentence);
}

int service_reload(struct service *service, struct problem *problem)
{
    return access_reload(service, problem);
}

/* ---- closing ---- */

static void look(struct timer *timer)
{
    struct service *service = TIMER_OF(timer, struct service, drain_timer);
    bool late = loop_now_us(service->loop) >= service->drain_until_us;
    if (!late && http_requests_open(service->http) > 0) {
        timer_start(service->loop, &service->drain_timer, DRAIN_LOOK_US, look);
        return;
    }
    service->drained(service->drained_data);
}

void service_drain(struct service *service, void (*done)(void *data), void *data)
{
    if (service->draining)
        return;
    service->draining = true;
    service->drained = done;
    service->drained_data = data;
    service->drain_until_us = loop_now_us(service->loop) + DRAIN_GRACE_US;
    http_drain(service->http);
    LIST_EACH(link, &service->parties) {
        struct party *party = LIST_OF(link, struct party, link);
        party->drain(party);
    }
    timer_start(service->loop, &service->drain_timer, 0, look);
}

void service_close(struct service *service)
{
    if (!service)
        return;
    if (service->http)
        engine_on_hint(service->engine, NULL, NULL);
    timer_stop(service->loop, &service->drain_timer);
    timer_stop(service->loop, &service->turns.press);
    http_close(service->http);
    api_seed_close(service);
    order_close(service);
    assert(list_empty(&service->parties));
    router_free(service->router);
    access_close(service);
    ops_close(service);
    tips_done(service->tips);
    free(service->tips);
    buf_done(&service->scratch);
    free(service);
}
