/* The caches: what of the fold is written behind the log, so that opening need not read the log from its beginning. They may be
 * old or lost without harm: positions and events beyond them are kept in memory until a flush that covers them is durable. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"
#include "core/snapshot.h"

#include <assert.h>
#include <stdlib.h>

static void push_fresh(struct live *live, uint64_t pos)
{
    if (live->fresh_count == live->fresh_room) {
        live->fresh_room = live->fresh_room ? live->fresh_room * 2 : 16;
        live->fresh = mem_grow(live->fresh, live->fresh_room * sizeof *live->fresh);
    }
    live->fresh[live->fresh_count++] = pos;
}

static void mark_pages(struct live *live, int64_t from, int64_t to)
{
    int64_t last = to / SNAPSHOT_PAGE_ITEMS;
    if (last >= live->pages_room) {
        int64_t room = last + 1 > live->pages_room * 2 ? last + 1 : live->pages_room * 2;
        live->pages_dirty = mem_grow(live->pages_dirty, (size_t)room);
        memset(live->pages_dirty + live->pages_room, 0, (size_t)(room - live->pages_room));
        live->pages_room = room;
    }
    for (int64_t page = from / SNAPSHOT_PAGE_ITEMS; page <= last; page++)
        live->pages_dirty[page] = 1;
}

void flush_mark(struct live *live, uint64_t pos, int64_t from, int64_t to)
{
    if (pos)
        push_fresh(live, pos);
    if (to >= from)
        mark_pages(live, from, to);
    live->dirty = true;
    if (list_empty(&live->dirty_link))
        list_push(&live->store->dirty, &live->dirty_link);
}

static void fill_cells(struct live *live, struct log_job_cache *cache)
{
    size_t count = 0;
    for (int64_t page = 0; page < live->pages_room; page++)
        count += live->pages_dirty[page];
    cache->cells = mem_new(count * sizeof *cache->cells);
    for (int64_t page = 0; page < live->pages_room; page++) {
        if (!live->pages_dirty[page] || !live->job->items)
            continue;
        struct bytes cell = snapshot_cell(live->job, page);
        cache->cells[cache->cells_count++] = (struct log_cell_page){(uint32_t)page, mem_copy(cell.at, cell.count), cell.count};
    }
    memset(live->pages_dirty, 0, (size_t)live->pages_room);
}

static void fill(struct live *live, struct log_job_cache *cache)
{
    struct buf fold;
    buf_init(&fold, SIZE_MAX / 2);    /* bounded by the job's own bounds */
    snapshot_write(live->job, &fold);
    cache->job = live->job->job;
    cache->fold.at = buf_take(&fold, &cache->fold.count);
    assert(cache->fold.at);
    cache->places_from = live->fresh_from;
    cache->places_count = live->fresh_count;
    cache->places = (uint64_t *)mem_copy(live->fresh, live->fresh_count * sizeof *live->fresh);
    if (live->pages_room)
        fill_cells(live, cache);
    live->flushing = live->job->seq;
    live->dirty = false;
}

static void covered(struct live *live, const struct log_job_cache *cache)
{
    assert(live->fresh_from == cache->places_from && live->fresh_count >= cache->places_count);
    live->fresh_count -= cache->places_count;
    live->fresh_from += cache->places_count;
    memmove(live->fresh, live->fresh + cache->places_count, live->fresh_count * sizeof *live->fresh);
    live->flushing = 0;
    if (live->job->ended && !live->dirty)
        job_let_go(live->job);
    live_consider(live);
}

static void flushed(void *data, struct log_flush *flush)
{
    struct store *store = data;
    store->flush_running = false;
    for (size_t i = 0; i < flush->count; i++) {
        struct live *live = store_get_number(store, flush->jobs[i].job);
        if (live)
            covered(live, &flush->jobs[i]);
    }
    log_flush_free(flush);
    removal_go_on(store);
}

void store_flush(struct store *store)
{
    assert(!store->unit);    /* a flush goes behind all that was accepted */
    if (list_empty(&store->dirty) || store->flush_running || store->disk_full || store->closing)
        return;
    struct log_flush *flush = MEM_NEW(struct log_flush);
    size_t room = 0;
    for (struct list *link; (link = list_pop(&store->dirty));) {
        if (flush->count == room) {
            room = room ? room * 2 : 16;
            flush->jobs = mem_grow(flush->jobs, room * sizeof *flush->jobs);
        }
        flush->jobs[flush->count] = (struct log_job_cache){0};
        fill(LIST_OF(link, struct live, dirty_link), &flush->jobs[flush->count++]);
    }
    flush->pos = store->pos;
#ifdef BUG_FLUSH_AHEAD
    flush->pos += 3;
#endif
    flush->done = flushed;
    flush->data = store;
    store->flush_running = true;
    store->flushed_pos = store->pos;
    store->flushed_at_us = store->world.now_us(store->world.data);
    store->log->ops->flush(store->log, flush);
}

void flush_if_due(struct store *store)
{
    bool many = store->pos - store->flushed_pos >= LIMIT_FLUSH_EVENTS;
    if (many || store->world.now_us(store->world.data) - store->flushed_at_us >= LIMIT_FLUSH_US)
        store_flush(store);
}

void store_prune(struct store *store, int64_t ended_before_us)
{
    store->log->ops->prune(store->log, ended_before_us, store->world.wall_us(store->world.data));
}
