#include "server/intake/await.h"

#include "base/limits.h"
#include "base/mem.h"
#include "core/document.h"

#include <stdlib.h>

struct await {
    struct party party;
    struct service *service;
    struct http_request *request;
    struct live *live;             /* one reference */
    struct await_want want;
    struct watcher watcher;
    struct timer timer;            /* patience */
    struct store_wait wait;
    struct buf body;
    int status;                    /* of the answer on its way; 0 = none yet */
};

static void tell(struct store_wait *wait)
{
    struct await *await = LIST_OF(wait, struct await, wait);
    http_answer_buf(await->request, await->status, "application/json", &await->body);
}

static void say(struct await *await, int status)
{
    if (await->status)
        return;
    await->status = status;
    store_unwatch(&await->watcher);
    timer_stop(await->service->loop, &await->timer);
    document_job(live_job(await->live), &await->body);
    store_when(await->service->store, &await->wait, live_job(await->live)->pos, tell);
}

static void news(struct watcher *watcher)
{
    struct await *await = LIST_OF(watcher, struct await, watcher);
    if (live_job(await->live)->ended)
        say(await, 200);
    else if (!watcher->live)
        say(await, await->want.status);
}

static void patience_over(struct timer *timer)
{
    struct await *await = TIMER_OF(timer, struct await, timer);
    say(await, await->want.status);
}

static void closed(struct http_request *request, enum http_why why)
{
    struct await *await = request->user;
    list_leave(&await->party.link);
    store_unwatch(&await->watcher);
    store_unwait(&await->wait);
    timer_stop(await->service->loop, &await->timer);
    service_left(await->service, await->live, why, await->want.cancel_on_leave);
    live_unref(await->live);
    buf_done(&await->body);
    free(await);
}

static void drain(struct party *party)
{
    struct await *await = LIST_OF(party, struct await, party);
    say(await, await->want.status);
}

void await_begin(struct service *service, struct http_request *request, struct live *live, const struct await_want *want)
{
    struct await *await = MEM_NEW(struct await);
    await->service = service;
    await->request = request;
    await->live = live_ref(live);
    await->want = *want;
    buf_init(&await->body, LIMIT_HTTP_ANSWER_BYTES);
    request->user = await;
    request->on_close = closed;
    party_join(service, &await->party, drain);
    if (want->wait_us && live_job(live)->ended) {
        say(await, 200);
    } else if (!want->wait_us || service->draining) {
        say(await, want->status);
    } else {
        await->watcher.news = news;
        store_watch(live, &await->watcher);
        timer_start(service->loop, &await->timer, want->wait_us, patience_over);
    }
}
