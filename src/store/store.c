/* The store itself: made, asked how it is, closed. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

struct store *store_new(const struct store_world *world)
{
    struct store *store = MEM_NEW(struct store);
    store->world = *world;
    for (int room = 0; room < ROOM_COUNT; room++)
        list_init(&store->owners[room]);
    list_init(&store->chunks);
    list_init(&store->chunk_line);
    list_init(&store->waits);
    list_init(&store->news);
    list_init(&store->dirty);
    list_init(&store->leaving);
    list_init(&store->reads);
    list_init(&store->searches);
    list_init(&store->key_asks);
    list_init(&store->listings);
    list_init(&store->item_asks);
    list_init(&store->record_asks);
    list_init(&store->at_asks);
    list_init(&store->removals);
    list_init(&store->listeners);
    store->cache = cache_new();
    reopen_prepare(store);
    return store;
}

void store_set_client(struct store *store, const struct store_client *client)
{
    store->client = *client;
}

uint64_t store_pos(const struct store *store)
{
    return store->pos;
}

uint64_t store_durable(const struct store *store)
{
    return store->durable;
}

int64_t store_epoch(const struct store *store)
{
    return store->opening.epoch;
}

bool store_busy(const struct store *store)
{
    return store->disk_full || store->pending_count >= LIMIT_QUEUED_EVENTS || store->queued_bytes >= LIMIT_QUEUED_BYTES;
}

bool store_disk_full(const struct store *store)
{
    return store->disk_full;
}

struct store_numbers store_numbers(const struct store *store)
{
    struct store_numbers numbers = store->numbers;
    size_t at = 0;
    numbers.jobs_held = store->jobs.count;
    numbers.tail_bytes = store->tail_bytes;
    numbers.tail_marks = store->tail_room;
    numbers.jobs_open = 0;
    for (struct live *live; (live = map_next(&store->jobs, &at));)
        numbers.jobs_open += !live->job->ended;
    return numbers;
}

void store_forget(struct store *store)
{
    if (!store)
        return;
    size_t at = 0;
    store_read_forget(store);
    for (struct live *live; at = 0, (live = map_next(&store->jobs, &at));)
        live_free(live);
    at = 0;
    for (struct pipeline *pipeline; (pipeline = map_next(&store->pipelines, &at));)
        pipeline_free(pipeline);
    at = 0;
    for (struct owner *owner; (owner = map_next(&store->owner_names, &at));) {
        free(owner->name);
        free(owner);
    }
    cache_free(store->cache);
    reader_forget(store);
    map_done(&store->jobs);
    map_done(&store->ids);
    map_done(&store->pipelines);
    map_done(&store->owner_names);
    pools_forget(store);
    heap_done(&store->naps);
    heap_done(&store->silences);
    heap_done(&store->deadlines);
    free(store->pending);
    free(store->tail);
    free(store);
}

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store->log) {
        if (!problem_is(&store->broken))      /* what was not understood is left as it is */
            store_flush(store);
        store->closing = true;
        store->log->ops->close(store->log);
    }
    store_forget(store);
}
