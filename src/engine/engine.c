#include "engine/engine_own.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An errand: one claimed item on its way. It waits until its start is durable and a slot is there (a slot can vanish between claim
 * and launch, when an idle worker dies), then the crew has it. */
struct errand {
    struct list link;             /* in engine.errands, in the order of their claims */
    struct engine *engine;
    struct claim claim;
    struct store_wait durable;
    bool ready;                   /* durable: may be launched */
    bool launched;                /* the crew has it … */
    int64_t launched_us;          /* … since then */
};

struct engine {
    struct engine_options options;
    struct list errands;
    struct list pins;
    struct list retries;          /* retry.c's */
    size_t launched, waiting;     /* errands by state; their sum is the length of the list */
    engine_hint_fn *hint;
    void *hint_data;
    bool draining;
    void (*idle)(void *data);
    void *idle_data;
    int64_t prune_at_us;
    struct engine_numbers numbers;
};

enum { PRUNE_EVERY_US = 60 * 1000 * 1000, PRUNE_EVERY_MIN_US = 1000 * 1000 };

static void run_soon(struct engine *engine)
{
    const struct engine_world *world = &engine->options.world;
    world->run_at(world->data, world->now_us(world->data));
}

/* ---- errands ---- */

static struct errand *errand_new(struct engine *engine)
{
    struct errand *errand = MEM_NEW(struct errand);
    errand->engine = engine;
    list_push(&engine->errands, &errand->link);
    engine->waiting++;
    return errand;
}

static void errand_end(struct errand *errand)
{
    struct engine *engine = errand->engine;
    if (errand->launched)
        engine->launched--;
    else
        engine->waiting--;
    list_leave(&errand->link);
    store_unwait(&errand->durable);
    claim_done(&errand->claim);
    free(errand);
}

static struct errand *errand_of(struct engine *engine, struct token token)
{
    LIST_EACH(link, &engine->errands) {
        struct errand *errand = LIST_OF(link, struct errand, link);
        struct token own = errand->claim.token;
        if (own.job == token.job && own.item == token.item && own.attempt == token.attempt && own.holder == token.holder)
            return errand;
    }
    return NULL;
}

static void settle(struct engine *engine, struct errand *errand, const struct outcome *outcome);

/* ---- launching ---- */

/* The item's input as a descriptor, -1 when it is inline; < -1 and a problem when it cannot be opened. */
static int open_input(struct engine *engine, const struct claim *claim, struct problem *problem)
{
    if (claim->has_blob) {
        int fd = engine->options.world.open_blob(engine->options.world.data, &claim->blob);
        if (fd >= 0)
            return fd;
        problem_set(problem, "the stored file of \"%.*s\" cannot be read: %s", BYTES_ARG(claim->name), strerror(-fd));
        return -2;
    }
    if (!claim->path.count)
        return -1;
    char *path MEM_OWNED = mem_copy(claim->path.at, claim->path.count);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0)
        return fd;
    problem_set(problem, "\"%s\" cannot be read: %s", path, strerror(errno));
    return -2;
}

static void launch(struct errand *errand)
{
    struct engine *engine = errand->engine;
    const struct claim *claim = &errand->claim;
    struct problem problem = {0};
    int input_fd = open_input(engine, claim, &problem);
    engine->waiting--;
    engine->launched++;
    errand->launched = true;
    errand->launched_us = engine->options.world.now_us(engine->options.world.data);
    if (input_fd < -1) {
        settle(engine, errand, &(struct outcome){.verdict = VERDICT_FAIL, .error = bytes_of(problem.text), .error_type = BYTES("processing")});
        return;
    }
    const struct leg *leg = &claim->pipeline->legs[claim->leg];
    const struct job *job = live_job(claim->live);
    struct task task = {.token = claim->token, .leg = claim->leg, .stages = bytes_of(leg->stages), .variables = bytes_of(job->params),
                        .trace = bytes_of(job->trace), .name = claim->name, .type = claim->type,
                        .value = claim->value, .input_fd = input_fd, .timeout_us = leg->timeout_us};
    engine->options.crews[ROOM_WORKER]->ops->start(engine->options.crews[ROOM_WORKER], &task);
}

static bool slot_free(struct engine *engine)
{
    return engine->options.crews[ROOM_WORKER]->ops->slots_free(engine->options.crews[ROOM_WORKER]) > 0;
}

static void launch_ready(struct engine *engine)
{
    LIST_EACH(link, &engine->errands) {
        struct errand *errand = LIST_OF(link, struct errand, link);
        if (errand->ready && !errand->launched && slot_free(engine))
            launch(errand);
    }
}

static void durable(struct store_wait *wait)
{
    struct errand *errand = (struct errand *)((char *)wait - offsetof(struct errand, durable));
    errand->ready = true;
    if (slot_free(errand->engine))
        launch(errand);
}

static void launch_when_durable(struct engine *engine, struct errand *errand)
{
    struct store *store = engine->options.store;
#ifdef BUG_LAUNCH_EARLY
    store_when(store, &errand->durable, 0, durable);
#else
    store_when(store, &errand->durable, store_pos(store), durable);
#endif
}

/* ---- outcomes ---- */

/* A blob result stays pinned until the event that names it is durable. */
struct pin {
    struct list link;             /* in engine.pins */
    struct store_wait durable;
    struct engine_world world;
    struct sha sha;
};

static void unpin(struct store_wait *wait)
{
    struct pin *pin = (struct pin *)((char *)wait - offsetof(struct pin, durable));
    if (pin->world.unpin_blob)
        pin->world.unpin_blob(pin->world.data, &pin->sha);
    list_leave(&pin->link);
    free(pin);
}

static int finish(struct engine *engine, struct token token, const struct outcome *outcome, struct claim *ret_next)
{
    int answer = store_finish(engine->options.store, token, outcome, ret_next);
    if (outcome->blob) {
        struct pin *pin = MEM_NEW(struct pin);
        pin->world = engine->options.world;
        pin->sha = *outcome->blob;
        list_push(&engine->pins, &pin->link);
        store_when(engine->options.store, &pin->durable, store_pos(engine->options.store), unpin);
    }
    return answer;
}

static void count_leg(struct engine *engine, const struct errand *errand)
{
    struct engine_numbers *numbers = &engine->numbers;
    size_t leg = errand->claim.leg;
    histogram_add(&numbers->legs[leg], engine->options.world.now_us(engine->options.world.data) - errand->launched_us);
    if (leg >= numbers->legs_count)
        numbers->legs_count = leg + 1;
}

struct engine_numbers engine_numbers(const struct engine *engine)
{
    return engine->numbers;
}

static void settle(struct engine *engine, struct errand *errand, const struct outcome *outcome)
{
    struct claim next = {0};
    struct token token = errand->claim.token;
    count_leg(engine, errand);
    errand_end(errand);    /* before its word is heard: that may end the job, and store_ended() stops what still runs */
    int answer = finish(engine, token, outcome, &next);
    if (answer == STORE_STEPPED) {
        struct errand *following = errand_new(engine);
        following->claim = next;
        launch_when_durable(engine, following);
    }
    run_soon(engine);
}

static void crew_outcome(void *data, struct token token, const struct outcome *outcome, bool late)
{
    struct engine *engine = data;
    struct errand *errand = late ? NULL : errand_of(engine, token);
    if (errand && errand->launched)
        settle(engine, errand, outcome);
    else
        finish(engine, token, outcome, NULL);    /* too late: the fence says so and counts it */
}

static void crew_hint(void *data, struct token token, int percent, struct bytes status)
{
    struct engine *engine = data;
    if (engine->hint)
        engine->hint(engine->hint_data, token.job, token.item, percent, status);
}

static void crew_free(void *data)
{
    run_soon(data);
}

/* ---- the store's words ---- */

static void store_due(void *data)
{
    run_soon(data);
}

static void store_ended(void *data, struct live *live)
{
    struct engine *engine = data;
    int64_t job = live_job(live)->job;
    LIST_EACH(link, &engine->errands) {
        struct errand *errand = LIST_OF(link, struct errand, link);
        if (errand->claim.token.job != job)
            continue;
        if (errand->launched)
            engine->options.crews[ROOM_WORKER]->ops->stop(engine->options.crews[ROOM_WORKER], errand->claim.token, true);
        errand_end(errand);
    }
    run_soon(engine);
}

/* ---- running ---- */

static size_t slots(struct engine *engine)
{
    size_t free_now = engine->options.crews[ROOM_WORKER]->ops->slots_free(engine->options.crews[ROOM_WORKER]);
    return free_now > engine->waiting ? free_now - engine->waiting : 0;
}

static void claim_all(struct engine *engine)
{
    while (!engine->draining && slots(engine)) {
        struct claim claim;
        if (store_claim(engine->options.store, &claim) != STORE_CLAIMED)
            break;
        struct errand *errand = errand_new(engine);
        errand->claim = claim;
        launch_when_durable(engine, errand);
    }
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
    if (!engine->draining || !engine->idle || !list_empty(&engine->errands))
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
    launch_ready(engine);
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
    list_init(&engine->pins);
    list_init(&engine->retries);
    options->crews[ROOM_WORKER]->client = (struct crew_client){.data = engine, .outcome = crew_outcome, .hint = crew_hint, .free = crew_free};
    struct store_client client = {engine, store_due, store_ended};
    store_set_client(options->store, &client);
    run_soon(engine);
    return engine;
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    retry_forget(engine);
    LIST_EACH(link, &engine->errands) {
        struct errand *errand = LIST_OF(link, struct errand, link);
        if (errand->launched)
            engine->options.crews[ROOM_WORKER]->ops->stop(engine->options.crews[ROOM_WORKER], errand->claim.token, false);
        errand_end(errand);
    }
    for (struct list *link; (link = list_pop(&engine->pins));) {    /* still pinned: their events may yet become durable */
        struct pin *pin = LIST_OF(link, struct pin, link);
        store_unwait(&pin->durable);
        free(pin);
    }
    store_set_client(engine->options.store, &(struct store_client){0});
    engine->options.crews[ROOM_WORKER]->client = (struct crew_client){0};
    free(engine);
}

/* ---- intake and control ---- */

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

void engine_on_hint(struct engine *engine, engine_hint_fn *call, void *data)
{
    engine->hint = call;
    engine->hint_data = data;
}

size_t engine_running(const struct engine *engine)
{
    return engine->launched;
}

void engine_drain(struct engine *engine, void (*idle)(void *data), void *data)
{
    engine->draining = true;
    engine->idle = idle;
    engine->idle_data = data;
    tell_idle(engine);
}
