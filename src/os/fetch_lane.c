/* The thread of a lane: takes what is asked, runs at most LIMIT_FETCH_CALLS at a time, hands back what has ended. */
#include "os/fetch_own.h"

#include <signal.h>

static void leave(struct lane *lane, struct fetch_call *call)
{
    if (call->easy)
        curl_multi_remove_handle(lane->multi, call->easy);
    fetch_easy_free(call);
    heap_leave(&lane->waits, &call->wait);
    fetch_line_leave(lane, call);
}

static void finish(struct lane *lane, struct fetch_call *call)
{
    leave(lane, call);
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
        leave(lane, call);
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
    for (struct heap_node *top; (top = heap_top(&lane->waits)) && top->key <= now;) {
        struct fetch_call *call = HEAP_OF(top, struct fetch_call, wait);
        CURLcode code = call->easy ? fetch_easy_resume(call) : CURLE_OK;
        if (code != CURLE_OK)
            fetch_easy_end(call, code);
        if (!call->easy || code != CURLE_OK)
            finish(lane, call);
    }
}

/* How long nothing is due that curl does not know of. */
static int64_t wait_us(const struct lane *lane)
{
    struct heap_node *top = heap_top(&lane->waits);
    int64_t left_us = top ? top->key - loop_now_us(NULL) : -1;
    return top && left_us < 0 ? 0 : left_us;
}

/* False when the lane is to end. */
static bool take(struct lane *lane, struct list *asked, struct list *drops)
{
    pthread_mutex_lock(&lane->fetch->lock);
    bool closing = lane->fetch->closing;
    if (!closing) {
        for (struct list *link; (link = list_pop(&lane->asked));) {
            LIST_OF(link, struct fetch_call, link)->state = CALL_TAKEN;
            list_push(asked, link);
        }
        for (struct list *link; (link = list_pop(&lane->drops));)
            list_push(drops, link);
    }
    pthread_mutex_unlock(&lane->fetch->lock);
    return !closing;
}

static void end_call(struct lane *lane, struct fetch_call *call)
{
    leave(lane, call);
    fetch_call_free(call);
}

static void end_lane(struct lane *lane)
{
    for (struct list *link; (link = list_pop(&lane->running));)
        end_call(lane, LIST_OF(link, struct fetch_call, link));
    for (struct fetch_call *call; (call = fetch_line_next(lane));)          /* none runs: all that wait may come */
        end_call(lane, call);
    heap_done(&lane->waits);
    map_done(&lane->hosts);
}

void *fetch_lane_run(void *data)
{
    struct lane *lane = data;
    struct list asked, drops;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);      /* signals are the loop's; and a broken wire must not end the program */
    list_init(&asked);
    list_init(&drops);
    while (take(lane, &asked, &drops)) {
        for (struct list *link; (link = list_pop(&asked));)
            fetch_line_join(lane, LIST_OF(link, struct fetch_call, link));
        drop(lane, &drops);
        for (struct fetch_call *call; (call = fetch_line_next(lane));)
            begin(lane, call);
        fetch_poll_turn(lane, wait_us(lane));
        read_ends(lane);
        play_due(lane);
    }
    end_lane(lane);
    return NULL;
}
