#include "os/fetch_own.h"

#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "os/fetch_url.h"

#include <stdlib.h>

static struct host *host_of(struct lane *lane, const struct fetch_call *call)
{
    struct buf name BUF_OWNED;
    buf_init(&name, LIMIT_FETCH_URL_BYTES);
    fetch_url_host(call->url, &name);
    uint64_t key = hash_bytes(buf_bytes(&name));
    struct host *host = map_get(&lane->hosts, key);
    if (host)
        return host;
    host = MEM_NEW(struct host);
    host->key = key;
    list_init(&host->line);
    list_init(&host->ready_link);
    map_set(&lane->hosts, key, host);
    return host;
}

/* Puts the host where it belongs after its line or its count has changed: behind the others that are ready, so that they take turns. */
static void settle(struct lane *lane, struct host *host)
{
    bool waits = !list_empty(&host->line), ready = waits && host->running < LIMIT_FETCH_HOST_CALLS;
    if (!ready)
        list_leave(&host->ready_link);
    else if (list_empty(&host->ready_link))
        list_push(&lane->ready, &host->ready_link);
    if (!waits && !host->running) {
        map_take(&lane->hosts, host->key);
        free(host);
    }
}

void fetch_line_join(struct lane *lane, struct fetch_call *call)
{
    call->host = host_of(lane, call);
    list_push(&call->host->line, &call->link);
    settle(lane, call->host);
}

struct fetch_call *fetch_line_next(struct lane *lane)
{
    if (lane->running_count >= LIMIT_FETCH_CALLS || list_empty(&lane->ready))
        return NULL;
    struct host *host = LIST_OF(list_pop(&lane->ready), struct host, ready_link);
    struct fetch_call *call = LIST_OF(list_pop(&host->line), struct fetch_call, link);
    list_push(&lane->running, &call->link);
    call->runs = true;
    host->running++;
    lane->running_count++;
    settle(lane, host);
    return call;
}

void fetch_line_leave(struct lane *lane, struct fetch_call *call)
{
    struct host *host = call->host;
    list_leave(&call->link);
    host->running -= call->runs;
    lane->running_count -= call->runs;
    call->runs = false;
    call->host = NULL;
    settle(lane, host);
}
