#include "store/live.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

static struct pool *pool_of(struct map *map, const char *name)
{
    struct pool *pool = map_get_text(map, bytes_of(name));
    if (pool)
        return pool;
    pool = MEM_NEW(struct pool);
    pool->name = mem_text(name);
    list_init(&pool->line);
    map_set_text(map, bytes_of(pool->name), pool);
    return pool;
}

static struct pool *resource(struct store *store, const char *name)
{
    struct pool *pool = pool_of(&store->resource_pools, name);
    pool->units = resources_units(&store->resources, name);
    return pool;
}

/* As many as are needed, and never more than there are: a leg from before the table was made smaller must not wait for ever. */
static uint32_t needed(const struct pool *pool, uint32_t units)
{
    return units < pool->units ? units : pool->units;
}

static bool has_room(const struct pool *pool, uint32_t units)
{
#ifdef BUG_POOL_OVERFULL
    return true;
#endif
    return !pool->units || pool->used + units <= pool->units;
}

static struct spot *first_in(const struct pool *pool)
{
    return list_empty(&pool->line) ? NULL : LIST_OF(pool->line.next, struct pool_place, link)->spot;
}

static bool may_take(const struct spot *spot, const struct pool *pool, uint32_t units)
{
    struct spot *first = first_in(pool);
    return has_room(pool, units) && (!first || first == spot);
}

static struct pool_place *place_in(struct spot *spot, const struct pool *pool)    /* NULL for a pool: a free one */
{
    for (size_t i = 0; i < POOL_PLACES_MAX; i++)
        if (spot->places[i].pool == pool)
            return &spot->places[i];
    return NULL;
}

static void stand_in(struct spot *spot, struct pool *pool)
{
    if (place_in(spot, pool))
        return;
    struct pool_place *room = place_in(spot, NULL);
    assert(room);
    *room = (struct pool_place){.pool = pool, .spot = spot};
    list_push(&pool->line, &room->link);
}

/* The first of a line may find room now. */
static void call_first(struct pool *pool)
{
    struct spot *first = first_in(pool);
    if (first && has_room(pool, 1))
        claim_refresh(first->live);
}

static bool among(struct pool *pool, struct pool *const *pools, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pools[i] == pool)
            return true;
    return false;
}

/* Out of all lines but these. */
static void leave_others(struct spot *spot, struct pool *const *pools, size_t count)
{
    for (size_t i = 0; i < POOL_PLACES_MAX; i++) {
        struct pool_place *place = &spot->places[i];
        struct pool *pool = place->pool;
        if (!pool || among(pool, pools, count))
            continue;
        bool first = first_in(pool) == spot;
        list_leave(&place->link);
        place->pool = NULL;
        if (first)
            call_first(pool);
    }
}

bool pool_stands(const struct spot *spot)
{
    for (size_t i = 0; i < POOL_PLACES_MAX; i++)
        if (spot->places[i].pool)
            return true;
    return false;
}

void pool_leave(struct spot *spot)
{
    leave_others(spot, NULL, 0);
}

/* In all of them from now on. Whoever wants other resources than before begins anew at the end of each of their lines: a place kept in
 * one and a new one in another would let two jobs wait for each other. */
static void stand(struct spot *spot, struct pool *const *pools, size_t pipelines, size_t count)
{
    bool new_want = false;
    for (size_t i = pipelines; i < count; i++)
        new_want |= !place_in(spot, pools[i]);
    if (new_want)
        leave_others(spot, pools, pipelines);
    for (size_t i = 0; i < count; i++)
        stand_in(spot, pools[i]);
}

bool pool_may(struct live *live, uint32_t leg, bool has_pipeline)
{
    const struct leg *at = &live->pipeline->legs[leg];
    struct spot *spot = &live->spots[at->room];
    struct pool *pools[POOL_PLACES_MAX] = {0};
    size_t count = 0;
    bool may = true;
    if (!has_pipeline && live->pool->units) {
        pools[count++] = live->pool;
        may = may_take(spot, live->pool, 1);
    }
    for (size_t i = 0; may && i < at->needs_count; i++)
        pools[count++] = resource(live->store, at->needs[i].name);
    leave_others(spot, pools, count);
    size_t first = count - (may ? at->needs_count : 0);
    for (size_t i = first; i < count; i++)
        may = may_take(spot, pools[i], needed(pools[i], at->needs[i - first].units)) && may;
    if (!may)
        stand(spot, pools, first, count);
    return may;
}

void pool_take(struct live *live, uint32_t leg, struct held *held)
{
    const struct leg *at = &live->pipeline->legs[leg];
    assert(!held->has_leg);
    live->pool->used += !held->has_pipeline;
    for (size_t i = 0; i < at->needs_count; i++) {
        struct pool *pool = resource(live->store, at->needs[i].name);
        pool->used += needed(pool, at->needs[i].units);
#ifndef BUG_POOL_OVERFULL
        assert(pool->used <= pool->units);
#endif
    }
    held->has_pipeline = held->has_leg = true;
    held->leg = leg;
    pool_leave(&live->spots[at->room]);
}

void pool_give_leg(struct live *live, struct held *held)
{
    const struct leg *at = &live->pipeline->legs[held->leg];
    if (!held->has_leg)
        return;
    held->has_leg = false;
    for (size_t i = 0; i < at->needs_count; i++) {
        struct pool *pool = resource(live->store, at->needs[i].name);
        pool->used -= needed(pool, at->needs[i].units);
    }
    for (size_t i = 0; i < at->needs_count; i++)
        call_first(resource(live->store, at->needs[i].name));
}

void pool_give(struct live *live, struct held *held)
{
    pool_give_leg(live, held);
    if (!held->has_pipeline)
        return;
    held->has_pipeline = false;
    live->pool->used--;
    call_first(live->pool);
}

void pool_join(struct live *live)
{
    struct pool *pool = pool_of(&live->store->pipeline_pools, live->pipeline->name);
    live->pool = pool;
    for (size_t i = 0; i < live->pipeline->legs_count; i++)
        live->rooms |= 1u << live->pipeline->legs[i].room;
    if (live->job->job < pool->said_by)
        return;
    pool->said_by = live->job->job;
    pool->units = live->pipeline->concurrency;
    call_first(pool);
}

void store_set_pools(struct store *store, const struct resources *resources)
{
    store->resources = *resources;
}

static void forget(struct map *map)
{
    size_t at = 0;
    for (struct pool *pool; (pool = map_next(map, &at));) {
        free(pool->name);
        free(pool);
    }
    map_done(map);
}

void pools_forget(struct store *store)
{
    forget(&store->pipeline_pools);
    forget(&store->resource_pools);
}
