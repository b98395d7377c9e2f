/* Open jobs whose client has gone silent: ended when no item came for LIMIT_OPEN_SILENCE_US and nothing of them is left to be done.
 * The time runs from the job's last items.added, so it goes on over a restart. */
#include "store/live.h"

#include "base/limits.h"

#include <stdio.h>

static bool unfinished(const struct live *live)
{
    return live->job->counts.pending || live->job->counts.processing;
}

static void wait_for(struct live *live, int64_t delay_us)
{
    struct store *store = live->store;
    heap_leave(&store->silences, &live->silence);
    heap_add(&store->silences, &live->silence, store->world.now_us(store->world.data) + delay_us);
    live->silent = false;
    if (heap_top(&store->silences) == &live->silence && store->client.due)
        store->client.due(store->client.data);    /* the caller's timer is to be set anew */
}

static bool listening(const struct live *live)
{
    return live->job->open && !live->job->sealed && !live->job->cancelling && !live->job->ended;
}

void silence_note(struct live *live, enum event_kind kind)
{
    if (!live->job->open)
        return;
    if (!listening(live))
        silence_over(live);
    else if (kind == EVENT_JOB_CREATED || kind == EVENT_ITEMS_ADDED)
        wait_for(live, LIMIT_OPEN_SILENCE_US);
    else if (live->silent && !unfinished(live))
        wait_for(live, 0);
}

void silence_settle(struct live *live)
{
    if (!listening(live))
        return;
    int64_t left = live->job->fed_us + LIMIT_OPEN_SILENCE_US - live->store->world.wall_us(live->store->world.data);
    wait_for(live, left < 0 ? 0 : left < LIMIT_OPEN_SILENCE_US ? left : LIMIT_OPEN_SILENCE_US);
}

void silence_over(struct live *live)
{
    heap_leave(&live->store->silences, &live->silence);
    live->silent = false;
}

static void end_of(struct live *live)
{
    char text[64];
    snprintf(text, sizeof text, "no item came for %lld minutes", LIMIT_OPEN_SILENCE_US / 60000000LL);
    store_cancel(live->store, live, BYTES("server"), bytes_of(text), bytes_of(text));
}

int64_t silence_tick(struct store *store, int64_t now)
{
    for (struct heap_node *top; (top = heap_top(&store->silences)) && top->key <= now;) {
        struct live *live = HEAP_OF(top, struct live, silence);
        if (store_busy(store))
            return now + LIMIT_FLUSH_US;
        heap_leave(&store->silences, top);
        live->silent = unfinished(live);    /* then its last item's end asks again */
        if (!live->silent)
            end_of(live);
    }
    struct heap_node *top = heap_top(&store->silences);
    return top ? top->key : INT64_MAX;
}
