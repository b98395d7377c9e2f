/* Jobs held in memory: how long they stay. Every open job does, and an ended one as long as somebody holds or reads it, or caches and
 * rows of it are not yet on disk. */
#include "store/live.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct live *live_new(struct store *store, struct job *job, const struct pipeline *pipeline)
{
    struct live *live = MEM_NEW(struct live);
    live->store = store;
    live->job = job;
    live->pipeline = pipeline;
    live->fresh_from = 1;
    for (int room = 0; room < ROOM_COUNT; room++) {
        struct spot *spot = &live->spots[room];
        spot->live = live;
        list_init(&spot->ready);
        list_init(&spot->steps);
        list_init(&spot->due);
    }
    list_init(&live->naps);
    list_init(&live->leaving);
    list_init(&live->chunk_line);
    list_init(&live->watchers);
    list_init(&live->news);
    list_init(&live->dirty_link);
    return live;
}

/* Once the job is known by number and id. */
void live_register(struct live *live)
{
    map_set(&live->store->jobs, (uint64_t)live->job->job, live);
    map_set_text(&live->store->ids, bytes_of(live->job->id), live);
}

void live_free(struct live *live)
{
    map_take(&live->store->jobs, (uint64_t)live->job->job);
    map_take_text(&live->store->ids, bytes_of(live->job->id));
    key_drop(live);
    live_drop_work(live);
    tail_drop(live);
    list_leave(&live->news);
    list_leave(&live->dirty_link);
    list_leave(&live->leaving);
    job_free(live->job);
    free(live->chunks);
    free(live->fresh);
    free(live->pages_dirty);
    free(live);
}

static bool needed(const struct live *live)
{
    const struct job *job = live->job;
    return !job->ended || live->refs || live->reads || !list_empty(&live->watchers) || live->durable_seq < job->seq ||
           live->dirty || live->fresh_count || live->flushing;
}

void live_consider(struct live *live)
{
    if (list_empty(&live->leaving) && !needed(live))
        list_push(&live->store->leaving, &live->leaving);
}

void live_reap(struct store *store)
{
    for (struct list *link; (link = list_pop(&store->leaving));) {
        struct live *live = LIST_OF(link, struct live, leaving);
        if (!needed(live))
            live_free(live);
    }
}

struct live *live_ref(struct live *live)
{
    live->refs++;
    return live;
}

void live_unref(struct live *live)
{
    if (!live)
        return;
    assert(live->refs);
    live->refs--;
    live_consider(live);
}

const struct job *live_job(const struct live *live)
{
    return live->job;
}

uint64_t live_durable_seq(const struct live *live)
{
    return live->durable_seq;
}
