/* Retrying what failed, over the log in memory and a crew that does nothing: the test speaks for its workers. */
#include "engine/engine.h"
#include "store/store_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static size_t no_slots(struct crew *crew)
{
    return 0;
}

static void no_start(struct crew *crew, const struct task *task)
{
}

static void no_stop(struct crew *crew, struct token token, bool for_good)
{
}

static struct {
    struct crew crew;
    struct engine *engine;
    int pins, pinned_ever;
    bool blobs_missing;
    int calls, status;
    char id[40], problem[512];
} here;

static void run_at(void *data, int64_t at_us)
{
}

static int open_blob(void *data, const struct sha *sha)
{
    return here.blobs_missing ? -ENOENT : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void pin_blob(void *data, const struct sha *sha)
{
    here.pins++;
    here.pinned_ever++;
}

static void unpin_blob(void *data, const struct sha *sha)
{
    here.pins--;
}

static void engine_up(void)
{
    static const struct crew_ops ops = {no_slots, no_start, no_stop};
    here.crew.ops = &ops;
    here.engine = engine_new(&(struct engine_options){.world = {NULL, now_us, wall_us, run_at, open_blob, pin_blob, unpin_blob},
                                                      .store = bench.store, .crews = {&here.crew}});
}

static void begin_retry(void)
{
    memset(&here, 0, sizeof here);
    begin();
    engine_up();
}

static void end_retry(void)
{
    engine_free(here.engine);
    CHECK_INT(here.pins, 0);
    end();
}

static void told(void *data, struct live *live, int status, const struct problem *problem)
{
    here.calls++;
    here.status = status;
    CHECK(!live == !!problem);
    CHECK(!live || store_durable(bench.store) >= (uint64_t)live_job(live)->pos);
    snprintf(here.id, sizeof here.id, "%s", live ? live_job(live)->id : "");
    snprintf(here.problem, sizeof here.problem, "%s", problem ? problem->text : "");
}

/* Asks and waits. */
static void ask(struct live *live, const int64_t *items, size_t count)
{
    int before = here.calls;
    here.id[0] = 0;
    engine_retry(here.engine, live, items, count, told, NULL);
    sync_all();
    CHECK_INT(here.calls, before + 1);
}

/* A job of `count` items, of which each third one failed; it has left the memory of items, but is held. */
static struct live *ended_job(size_t count)
{
    struct live *live = live_ref(create("me", bench.one, 64, false));
    struct item_spec *items MEM_OWNED = mem_new(count * sizeof *items);
    char (*names)[16] = mem_new(count * sizeof *names);
    for (size_t i = 0; i < count; i++) {
        int bytes = snprintf(names[i], sizeof names[i], "%zu.jpg", i);
        items[i] = (struct item_spec){.name = {names[i], (size_t)bytes}, .bytes = 3, .has_blob = i % 2, .blob = sha_of(bytes_of(names[i])),
                                      .value = i % 2 ? (struct bytes){0} : BYTES("{\"in\":7}")};
    }
    CHECK_INT(store_add(bench.store, live, items, count, NULL), 0);
    store_seal(bench.store, live);
    for (struct token token; (token = claim()).attempt;) {
        finish(token, token.item % 3 ? VERDICT_DONE : VERDICT_FAIL);
        sync_all();
    }
    CHECK(live_job(live)->ended);
    free(names);
    pass(2 * SECOND);
    sync_all();
    CHECK(!live_job(live)->items);
    return live;
}

TEST(a_retry_is_a_new_job_of_what_failed)
{
    begin_retry();
    struct live *live = ended_job(2000);
    ask(live, NULL, 0);
    test_note("%s", here.problem);
    struct live *new = store_get(bench.store, bytes_of(here.id));
    CHECK(new && live_job(new)->sealed);
    CHECK_INT(live_job(new)->total, 667);
    CHECK_TEXT(live_job(new)->retry_of, live_job(live)->id);
    CHECK_INT(live_job(new)->in_flight, 64);
    CHECK_INT(here.pinned_ever, 333);
    for (int64_t i = 0; i < 667; i++) {
        struct claim got;
        char name[16];
        CHECK_INT(store_claim(bench.store, &got), STORE_CLAIMED);
        snprintf(name, sizeof name, "%lld.jpg", (long long)(3 * got.token.item));
        CHECK_BYTES(got.name, bytes_of(name));
        CHECK_INT(got.has_blob, (3 * got.token.item) % 2);
        struct token token = got.token;
        claim_done(&got);
        finish(token, VERDICT_DONE);
        sync_all();
    }
    CHECK_INT(live_job(new)->status, JOB_COMPLETED);
    live_unref(live);
    end_retry();
}

TEST(the_same_retry_again_is_the_same_job)
{
    static const int64_t some[] = {9, 3, 3}, sorted[] = {3, 9}, other[] = {3};
    begin_retry();
    struct live *live = ended_job(10);
    char first[40], all[40], source[40];
    snprintf(source, sizeof source, "%s", live_job(live)->id);
    ask(live, some, 3);
    snprintf(first, sizeof first, "%s", here.id);
    CHECK(store_get(bench.store, bytes_of(first)) && live_job(store_get(bench.store, bytes_of(first)))->total == 2);
    ask(live, sorted, 2);
    CHECK_TEXT(here.id, first);
    ask(live, other, 1);
    CHECK(*here.id && strcmp(here.id, first));
    ask(live, NULL, 0);
    snprintf(all, sizeof all, "%s", here.id);
    CHECK(*here.id && strcmp(here.id, first));
    live_unref(live);
    engine_free(here.engine);
    power_cut();
    engine_up();
    live = store_get(bench.store, bytes_of(source));
    CHECK(!live);    /* its caches were flushed: it is on disk only */
    live = store_get(bench.store, bytes_of(all));
    CHECK(live && live_job(live)->total == 4);
    end_retry();
}

TEST(equal_retries_at_one_time_wait_for_one_job)
{
    begin_retry();
    struct live *live = ended_job(2000);
    char first[40];
    for (int i = 0; i < 5; i++)
        engine_retry(here.engine, live, NULL, 0, told, NULL);
    size_t jobs = store_numbers(bench.store).jobs_held;
    while (here.calls < 1)
        memory_pump(bench.log), memory_sync(bench.log, 1);
    snprintf(first, sizeof first, "%s", here.id);
    CHECK_INT(live_job(store_get(bench.store, bytes_of(first)))->total, 667);
    sync_all();
    CHECK_INT(here.calls, 5);
    CHECK_TEXT(here.id, first);
    CHECK_INT(store_numbers(bench.store).jobs_held, jobs + 1);
    live_unref(live);
    end_retry();
}

TEST(a_retry_that_a_power_cut_split_begins_anew)
{
    begin_retry();
    struct live *live = ended_job(2000);
    char source[40];
    snprintf(source, sizeof source, "%s", live_job(live)->id);
    engine_retry(here.engine, live, NULL, 0, told, NULL);
    for (int i = 0; i < 6; i++)
        memory_pump(bench.log), memory_sync(bench.log, 1);
    CHECK_INT(here.calls, 0);
    live_unref(live);
    engine_free(here.engine);    /* nobody is answered any more, nothing leaks */
    power_cut();
    here.pins = 0;
    engine_up();
    CHECK_INT(live_job(first_live())->status, JOB_CANCELLED);
    sync_all();
    pass(2 * SECOND);
    CHECK_INT(here.calls, 0);
    end_retry();
}

TEST(what_cannot_be_retried_gets_a_sentence)
{
    static const int64_t good[] = {1}, none[] = {99}, negative[] = {-1}, failed[] = {0};
    begin_retry();
    struct live *live = live_ref(job("me", 2, 2));
    ask(live, NULL, 0);
    CHECK_INT(here.status, 409);
    CHECK(strstr(here.problem, "has not ended"));
    finish(claim(), VERDICT_DONE);
    finish(claim(), VERDICT_DONE);
    sync_all();
    ask(live, NULL, 0);
    CHECK(here.status == 409 && strstr(here.problem, "nothing failed"));
    live_unref(live);
    live = ended_job(10);
    ask(live, good, 1);
    CHECK(here.status == 409 && strstr(here.problem, "item 1 of job"));
    ask(live, none, 1);
    CHECK(here.status == 409 && strstr(here.problem, "no item 99"));
    ask(live, negative, 1);
    CHECK(here.status == 409 && strstr(here.problem, "no item -1"));
    memory_full(bench.log, true);
    ask(live, failed, 1);
    CHECK_INT(here.status, 507);
    memory_full(bench.log, false);
    here.blobs_missing = true;
    ask(live, NULL, 0);
    CHECK(here.status == 500 && strstr(here.problem, "cannot be read"));
    sync_all();
    here.blobs_missing = false;
    ask(live, NULL, 0);    /* what was begun left its key free */
    CHECK_INT(here.status, 0);
    live_unref(live);
    end_retry();
}
