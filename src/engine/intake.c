/* How jobs come in, and how they are cancelled. */
#include "engine/engine_own.h"

#include "base/limits.h"

static bool takes_nothing(struct engine *engine, const char *what, struct problem *problem)
{
    struct store *store = engine->options.store;
    if (!engine->draining && !store_busy(store))
        return false;
    problem_set(problem, "no new %s can be taken now: %s", what, engine->draining ? "the server is stopping" :
                store_disk_full(store) ? "the disk is full" : "the disk does not keep up");
    return true;
}

/* So many items more would not fit. */
static bool too_many(struct engine *engine, size_t count, struct problem *problem)
{
    int64_t held = store_items_held(engine->options.store);
    if ((int64_t)count <= LIMIT_OPEN_ITEMS - held)
        return false;
    problem_set(problem, "%zu more items cannot be taken now: %lld of all jobs have not ended, at most %d", count, (long long)held,
                LIMIT_OPEN_ITEMS);
    return true;
}

struct live *engine_open_job(struct engine *engine, const struct store_job *job, bool *ret_busy, struct problem *problem)
{
    *ret_busy = takes_nothing(engine, "job", problem);
    if (*ret_busy)
        return NULL;
    struct live *live = store_create(engine->options.store, job);
    if (!live)
        problem_set(problem, "the parameters of the job take %zu bytes, at most about %d", job->params.count, LIMIT_BODY_BYTES);
    return live;
}

int engine_add(struct engine *engine, struct live *live, const struct item_spec *items, size_t count, bool *ret_busy, struct problem *problem)
{
    *ret_busy = takes_nothing(engine, "item", problem);
    if (*ret_busy)
        return -1;
    if (too_many(engine, count, problem))
        return ENGINE_FULL;
    return store_add(engine->options.store, live, items, count, problem);
}

int engine_seal(struct engine *engine, struct live *live, bool *ret_busy, struct problem *problem)
{
    *ret_busy = takes_nothing(engine, "seal", problem);
    if (*ret_busy)
        return -1;
    if (live_job(live)->sealed || live_job(live)->ended)
        return problem_set(problem, "job %s cannot be sealed: it %s already", live_job(live)->id,
                           live_job(live)->ended ? "has ended" : "is sealed");
    store_seal(engine->options.store, live);
    return 0;
}

struct live *engine_submit(struct engine *engine, const struct store_job *job, const struct item_spec *items, size_t count,
                           bool *ret_busy, struct problem *problem)
{
    struct store *store = engine->options.store;
    *ret_busy = too_many(engine, count, problem);
    struct live *live = *ret_busy ? NULL : engine_open_job(engine, job, ret_busy, problem);
    if (!live)
        return NULL;
    if (store_add(store, live, items, count, problem)) {
        store_cancel(store, live, BYTES("server"), BYTES("refused"), bytes_of(problem->text));
        return NULL;
    }
    store_seal(store, live);
    return live;
}

int engine_cancel(struct engine *engine, struct live *live, struct bytes by, struct bytes reason)
{
    return store_cancel(engine->options.store, live, by, reason, (struct bytes){0});
}
