/* The engine with a crew that is moved by hand: who waits for whom. */
#include "store/store_test.h"

#include "engine/engine.h"

enum { SLOTS = 2 };

static struct here {
    struct crew crew;
    struct engine *engine;
    struct task running[SLOTS];
    size_t busy, started, stopped;
    struct token last;                    /* the newest one at work */
} here;

static size_t slots_free(struct crew *crew)
{
    return SLOTS - here.busy;
}

static void start(struct crew *crew, const struct task *task)
{
    here.running[here.busy++] = *task;
    here.last = task->token;
    here.started++;
}

static void stop(struct crew *crew, struct token token, bool for_good)
{
    for (size_t i = 0; i < here.busy; i++)
        if (here.running[i].token.job == token.job && here.running[i].token.item == token.item) {
            here.running[i] = here.running[--here.busy];
            here.stopped++;
            return;
        }
}

static const struct crew_ops ops = {slots_free, start, stop};

static void run_at(void *data, int64_t at_us)
{
}

static void open_engine(void)
{
    begin();
    memory_auto(bench.log, true);
    here = (struct here){.crew.ops = &ops};
    struct engine_options options = {.world = {.now_us = now_us, .wall_us = wall_us, .run_at = run_at}, .store = bench.store, .crews = {&here.crew}};
    here.engine = engine_new(&options);
}

static void close_engine(void)
{
    engine_free(here.engine);
    end();
}

/* The oldest one at work is done, and the engine looks around. */
static void one_done(void)
{
    struct token token = here.running[0].token;
    memmove(here.running, here.running + 1, --here.busy * sizeof *here.running);
    here.crew.client.outcome(here.crew.client.data, token, &(struct outcome){.value = BYTES("1")}, false);
    engine_run(here.engine);
}

/* In pieces, as whoever has many must. */
static struct live *job_of(const char *owner, size_t count, bool open)
{
    static struct item_spec items[ENGINE_ADD_ITEMS];
    struct problem problem = {0};
    bool busy;
    for (size_t i = 0; i < ENGINE_ADD_ITEMS; i++)
        items[i] = (struct item_spec){.name = BYTES("a.jpg"), .bytes = 3, .value = BYTES("1")};
    struct live *live = engine_open_job(here.engine, &(struct store_job){.owner = bytes_of(owner), .pipeline = bench.one, .in_flight = 1000,
                                                                         .open = open}, &busy, &problem);
    CHECK(live);
    while (count) {
        size_t some = count < ENGINE_ADD_ITEMS ? count : ENGINE_ADD_ITEMS;
        CHECK_INT(engine_add(here.engine, live, items, some, &busy, &problem), 0);
        count -= some;
    }
    return live;
}

TEST(a_job_of_100000_items_delays_a_small_one_of_another_owner_by_one_item)
{
    struct problem problem = {0};
    bool busy;
    open_engine();
    struct live *large = job_of("ann", 100000, false);
    CHECK_INT(engine_seal(here.engine, large, &busy, &problem), 0);
    engine_run(here.engine);
    for (int i = 0; i < 1000; i++)
        one_done();
    CHECK_INT(here.busy, SLOTS);
    struct live *small = job_of("bob", 1, false);
    CHECK_INT(engine_seal(here.engine, small, &busy, &problem), 0);
    engine_run(here.engine);
    int waited = 0;
    while (here.last.job != live_job(small)->job) {
        CHECK(waited++ < 1);
        one_done();
    }
    CHECK(live_job(large)->counts.completed < 1005);
    close_engine();
}

TEST(a_cancel_of_an_open_job_stops_its_workers_and_the_next_ones_start_at_once)
{
    struct problem problem = {0};
    bool busy;
    open_engine();
    struct live *live = job_of("ann", 10, true), *next = job_of("bob", 10, true);
    engine_run(here.engine);
    one_done();
    CHECK_INT(here.started, 3);
    CHECK_INT(engine_cancel(here.engine, live, BYTES("client"), BYTES("asked")), 0);
    CHECK(here.stopped >= 1);
    int64_t kept = live_job(live)->counts.completed;
    engine_run(here.engine);
    CHECK_INT(here.busy, SLOTS);
    for (size_t i = 0; i < here.busy; i++)
        CHECK_INT(here.running[i].token.job, live_job(next)->job);
    CHECK_INT(live_job(live)->counts.completed, kept);
    CHECK_INT(live_job(live)->counts.skipped, 10 - kept);
    CHECK_INT(engine_cancel(here.engine, live, BYTES("client"), BYTES("asked")), 1);
    CHECK(engine_add(here.engine, live, &(struct item_spec){.name = BYTES("x"), .value = BYTES("1")}, 1, &busy, &problem) < 0);
    CHECK(!busy && strstr(problem.text, "no more items"));
    CHECK(engine_seal(here.engine, live, &busy, &problem) < 0);
    CHECK_INT(engine_seal(here.engine, next, &busy, &problem), 0);
    CHECK(engine_seal(here.engine, next, &busy, &problem) < 0);
    close_engine();
}

TEST(items_that_memory_cannot_hold_are_refused_with_an_answer_of_their_own)
{
    struct problem problem = {0};
    bool busy;
    open_engine();
    struct live *live = job_of("ann", 1, true);
    CHECK_INT(engine_add(here.engine, live, NULL, LIMIT_OPEN_ITEMS, &busy, &problem), ENGINE_FULL);
    CHECK(!busy && problem_is(&problem));
    CHECK_INT(live_job(live)->total, 1);
    CHECK(!engine_submit(here.engine, &(struct store_job){.owner = BYTES("ann"), .pipeline = bench.one}, NULL, LIMIT_OPEN_ITEMS, &busy, &problem));
    CHECK(busy);
    close_engine();
}
