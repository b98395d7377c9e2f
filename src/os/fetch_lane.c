/* The thread of a lane: takes what is asked, runs at most LIMIT_FETCH_CALLS at a time, hands back what has ended. */
#include "os/fetch_own.h"

#include "base/hash.h"
#include "base/limits.h"
#include "os/fetch_url.h"

#include <signal.h>

/* ---- hosts ---- */

static size_t host_running(const struct lane *lane, uint64_t host)
{
    return (size_t)(uintptr_t)map_get(&lane->hosts, host);
}

static void host_count(struct lane *lane, struct fetch_call *call, bool runs)
{
    if (call->counted == runs)
        return;
    size_t count = host_running(lane, call->host) + (runs ? 1 : 0) - (runs ? 0 : 1);
    call->counted = runs;
    if (count)
        map_set(&lane->hosts, call->host, (void *)(uintptr_t)count);
    else
        map_take(&lane->hosts, call->host);
}

/* The first in line whose host has a place left, NULL when nothing may begin now. */
static struct fetch_call *next(const struct lane *lane)
{
    if (lane->running_count >= LIMIT_FETCH_CALLS)
        return NULL;
    for (struct list *link = lane->line.next; link != &lane->line; link = link->next) {
        struct fetch_call *call = LIST_OF(link, struct fetch_call, link);
        if (host_running(lane, call->host) < LIMIT_FETCH_HOST_CALLS)
            return call;
    }
    return NULL;
}

/* ---- calls ---- */

static void take_asked(struct lane *lane)
{
    for (struct list *link; (link = list_pop(&lane->asked));) {
        struct fetch_call *call = LIST_OF(link, struct fetch_call, link);
        struct buf host BUF_OWNED;
        buf_init(&host, LIMIT_FETCH_URL_BYTES);
        fetch_url_host(call->url, &host);
        call->host = hash_bytes(buf_bytes(&host));
        call->state = CALL_TAKEN;
        list_push(&lane->line, link);
    }
}

static void leave(struct lane *lane, struct fetch_call *call)
{
    if (call->easy)
        curl_multi_remove_handle(lane->multi, call->easy);
    fetch_easy_free(call);
    heap_leave(&lane->waits, &call->wait);
    list_leave(&call->link);
    host_count(lane, call, false);
}

static void finish(struct lane *lane, struct fetch_call *call)
{
    leave(lane, call);
    lane->running_count--;
    call->answer.took_us = loop_now_us(NULL) - call->began_us;
    if (lane->fetch->fixtures && !lane->fetch->replay && call->answer.end == FETCH_ANSWERED &&
        fixtures_keep(lane->fetch->fixtures, call, &call->answer.problem))
        call->answer.end = FETCH_REFUSED;
    fetch_answered(call);
}

static void refuse(struct lane *lane, struct fetch_call *call)
{
    call->answer.end = FETCH_REFUSED;
    finish(lane, call);
}

static void begin(struct lane *lane, struct fetch_call *call)
{
    int64_t delay_us = 0;
    call->began_us = loop_now_us(NULL);
    list_leave(&call->link);
    list_push(&lane->running, &call->link);
    lane->running_count++;
    host_count(lane, call, true);
    if (lane->fetch->replay) {
        if (fixtures_play(lane->fetch->fixtures, call, &delay_us, &call->answer.problem))
            refuse(lane, call);
        else
            heap_add(&lane->waits, &call->wait, call->began_us + delay_us);
        return;
    }
    if (fetch_easy_begin(call, &call->answer.problem) || curl_multi_add_handle(lane->multi, call->easy))
        refuse(lane, call);
}

static void drop(struct lane *lane, struct list *drops)
{
    for (struct list *link; (link = list_pop(drops));) {
        struct fetch_call *call = LIST_OF(link, struct fetch_call, drop_link);
        bool runs = call->easy || call->wait.place;
        leave(lane, call);
        lane->running_count -= runs;
        fetch_call_free(call);
    }
}

static void read_ends(struct lane *lane)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(lane->multi, &left));) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        char *own = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &own);
        struct fetch_call *call = (void *)own;
        curl_multi_remove_handle(lane->multi, call->easy);
        if (!fetch_easy_end(call, code))
            finish(lane, call);
        else if (curl_multi_add_handle(lane->multi, call->easy))
            refuse(lane, call);
    }
}

static void play_due(struct lane *lane)
{
    int64_t now = loop_now_us(NULL);
    for (struct heap_node *top; (top = heap_top(&lane->waits)) && top->key <= now;)
        finish(lane, HEAP_OF(top, struct fetch_call, wait));
}

static int wait_ms(const struct lane *lane)
{
    struct heap_node *top = heap_top(&lane->waits);
    if (next(lane))
        return 0;
    if (!top)
        return 60000;
    int64_t wait_us = top->key - loop_now_us(NULL);
    return wait_us <= 0 ? 0 : (int)(wait_us / 1000 + 1);
}

/* False when the lane is to end. */
static bool take(struct lane *lane, struct list *drops)
{
    pthread_mutex_lock(&lane->fetch->lock);
    bool closing = lane->fetch->closing;
    if (!closing) {
        take_asked(lane);
        for (struct list *link; (link = list_pop(&lane->drops));)
            list_push(drops, link);
    }
    pthread_mutex_unlock(&lane->fetch->lock);
    return !closing;
}

static void end_lane(struct lane *lane)
{
    struct list *lists[] = {&lane->line, &lane->running};
    for (int i = 0; i < 2; i++)
        for (struct list *link; (link = list_pop(lists[i]));) {
            struct fetch_call *call = LIST_OF(link, struct fetch_call, link);
            leave(lane, call);
            fetch_call_free(call);
        }
    heap_done(&lane->waits);
    map_done(&lane->hosts);
}

void *fetch_lane_run(void *data)
{
    struct lane *lane = data;
    struct list drops;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);      /* signals are the loop's; and a broken wire must not end the program */
    list_init(&drops);
    while (take(lane, &drops)) {
        int running;
        drop(lane, &drops);
        for (struct fetch_call *call; (call = next(lane));)
            begin(lane, call);
        curl_multi_perform(lane->multi, &running);
        read_ends(lane);
        play_due(lane);
        curl_multi_poll(lane->multi, NULL, 0, wait_ms(lane), NULL);
    }
    end_lane(lane);
    return NULL;
}
