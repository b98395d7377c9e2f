#include "engine/engine_own.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

enum { PRUNE_EVERY_US = 60 * 1000 * 1000, PRUNE_EVERY_MIN_US = 1000 * 1000 };

void engine_run_soon(struct engine *engine)
{
    const struct engine_world *world = &engine->options.world;
    world->run_at(world->data, world->now_us(world->data));
}

struct engine_numbers engine_numbers(const struct engine *engine)
{
    return engine->numbers;
}

/* ---- the store's words ---- */

static void store_due(void *data)
{
    engine_run_soon(data);
}

static void store_ended(void *data, struct live *live)
{
    errands_stop_job(data, live_job(live)->job);
    engine_run_soon(data);
}

/* ---- running ---- */

static void claim_all(struct engine *engine)
{
    struct claim claim;
    unsigned rooms;
    while (!engine->draining && (rooms = errands_rooms(engine)) && store_claim_for(engine->options.store, rooms, &claim) == STORE_CLAIMED)
        errand_begin(engine, &claim);
}

static void prune(struct engine *engine, int64_t now)
{
    int64_t retention_us = engine->options.retention_us;
    if (now < engine->prune_at_us)
        return;
    int64_t every = retention_us && retention_us / 2 < PRUNE_EVERY_US ? retention_us / 2 : PRUNE_EVERY_US;
    engine->prune_at_us = now + (every > PRUNE_EVERY_MIN_US ? every : PRUNE_EVERY_MIN_US);
    store_prune(engine->options.store, retention_us ? engine->options.world.wall_us(engine->options.world.data) - retention_us : 0);
}

static void tell_idle(struct engine *engine)
{
    if (!engine->draining || !engine->idle || !errands_idle(engine))
        return;
    void (*idle)(void *data) = engine->idle;
    engine->idle = NULL;
    idle(engine->idle_data);
}

void engine_run(struct engine *engine)
{
    const struct engine_world *world = &engine->options.world;
    int64_t now = world->now_us(world->data);
    store_tick(engine->options.store);
    errands_stop_doomed(engine);
    errands_launch(engine);
    claim_all(engine);
    prune(engine, now);
    int64_t next = store_tick(engine->options.store);    /* again: what was accepted just now is to be flushed some time */
    world->run_at(world->data, engine->prune_at_us < next ? engine->prune_at_us : next);
    tell_idle(engine);
}

const struct engine_options *engine_options_of(const struct engine *engine)
{
    return &engine->options;
}

struct list *engine_retries(struct engine *engine)
{
    return &engine->retries;
}

struct engine *engine_new(const struct engine_options *options)
{
    struct engine *engine = MEM_NEW(struct engine);
    engine->options = *options;
    list_init(&engine->errands);
    list_init(&engine->launched);
    list_init(&engine->pins);
    list_init(&engine->retries);
    for (int room = 0; room < ROOM_COUNT; room++)
        if (options->crews[room])
            options->crews[room]->client = errands_client(engine);
    struct store_client client = {engine, store_due, store_ended};
    store_set_client(options->store, &client);
    engine_run_soon(engine);
    return engine;
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    retry_forget(engine);
    errands_forget(engine);
    store_set_client(engine->options.store, &(struct store_client){0});
    for (int room = 0; room < ROOM_COUNT; room++)
        if (engine->options.crews[room])
            engine->options.crews[room]->client = (struct crew_client){0};
    map_done(&engine->taught);
    free(engine);
}

void engine_on_hint(struct engine *engine, engine_hint_fn *call, void *data)
{
    engine->hint = call;
    engine->hint_data = data;
}

size_t engine_running(const struct engine *engine)
{
    return engine->launched_count;
}

void engine_drain(struct engine *engine, void (*idle)(void *data), void *data)
{
    engine->draining = true;
    engine->idle = idle;
    engine->idle_data = data;
    tell_idle(engine);
}

void engine_leave_calls(struct engine *engine)
{
    engine->leaving_calls = true;
    tell_idle(engine);
}
