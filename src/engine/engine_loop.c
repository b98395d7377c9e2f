#include "engine/engine_loop.h"

#include "base/mem.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

struct engine_loop {
    struct loop *loop;
    struct blobs *blobs;
    struct engine *engine;
    struct timer timer;
};

static int64_t now_us(void *data)
{
    return loop_now_us(data);
}

static int64_t wall_us(void *data)
{
    return loop_wall_us(data);
}

/* It only spreads back-offs: seeded once, not asked of the system for every outcome. */
static uint64_t chance(void *data)
{
    static struct rng rng;
    if (!rng.state)
        rng_system(&rng, sizeof rng);
    return rng_next(&rng);
}

struct store_world engine_loop_store_world(struct loop *loop)
{
    return (struct store_world){.data = loop, .now_us = now_us, .wall_us = wall_us, .random = chance};
}

static int64_t own_now_us(void *data)
{
    struct engine_loop *self = data;
    return loop_now_us(self->loop);
}

static int64_t own_wall_us(void *data)
{
    struct engine_loop *self = data;
    return loop_wall_us(self->loop);
}

static void run(struct timer *timer)
{
    engine_run(TIMER_OF(timer, struct engine_loop, timer)->engine);
}

/* The earliest of all that was asked for since the last run counts: an early call is harmless, a late one is not. */
static void run_at(void *data, int64_t at_us)
{
    struct engine_loop *self = data;
    if (!timer_runs(&self->timer) || self->timer.node.key > at_us)
        timer_start(self->loop, &self->timer, at_us - loop_now_us(self->loop), run);
}

static int open_blob(void *data, const struct sha *sha)
{
    struct engine_loop *self = data;
    return blob_open(self->blobs, sha);
}

static void pin_blob(void *data, const struct sha *sha)
{
    struct engine_loop *self = data;
    blob_pin(self->blobs, sha);
}

static void unpin_blob(void *data, const struct sha *sha)
{
    struct engine_loop *self = data;
    blob_unpin(self->blobs, sha);
}

static void abandon_blob(void *data, const struct sha *sha)
{
    struct engine_loop *self = data;
    blob_abandon(self->blobs, sha);
}

struct engine_loop *engine_loop_new(struct loop *loop, struct store *store, struct crew *const crews[ROOM_COUNT], struct blobs *blobs,
                                    int64_t retention_us)
{
    struct engine_loop *self = MEM_NEW(struct engine_loop);
    self->loop = loop;
    self->blobs = blobs;
    struct engine_options options = {.world = {self, own_now_us, own_wall_us, run_at, open_blob, pin_blob, unpin_blob, abandon_blob},
                                     .store = store, .retention_us = retention_us};
    memcpy(options.crews, crews, sizeof options.crews);
    self->engine = engine_new(&options);
    return self;
}

struct engine *engine_loop_engine(struct engine_loop *self)
{
    return self->engine;
}

void engine_loop_free(struct engine_loop *self)
{
    if (!self)
        return;
    engine_free(self->engine);
    timer_stop(self->loop, &self->timer);
    free(self);
}
