/* Pools: how many are at work at once, who is next, and what comes back. */
#include "store/store_test.h"

#include "core/resource.h"

#define TWO_AT_ONCE "{\"name\":\"narrow\",\"concurrency\":2,\"legs\":[{\"stages\":[\"a\"]}]}"
#define GPU "{\"name\":\"gpu\",\"legs\":[{\"stages\":[\"a\"],\"resources\":{\"gpu\":1}}]}"
#define HEAVY "{\"name\":\"heavy\",\"legs\":[{\"stages\":[\"a\"],\"resources\":{\"gpu\":1,\"llm\":3}}]}"
#define LATER "{\"name\":\"later\",\"legs\":[{\"stages\":[\"a\"]},{\"stages\":[\"b\"],\"resources\":{\"gpu\":1}}]}"

static struct pipeline *pipelines[8];
static size_t pipelines_count;

static const struct pipeline *text(const char *words)
{
    struct problem problem = {0};
    struct pipeline *made = pipeline_parse(bytes_of(words), &problem);
    test_note("%s", problem.text);
    CHECK(made);
    return pipelines[pipelines_count++] = made;
}

static void finish_all(void)
{
    while (pipelines_count)
        pipeline_free(pipelines[--pipelines_count]);
    end();
}

static struct live *of(const char *owner, const struct pipeline *pipeline, size_t count)
{
    struct live *live = create(owner, pipeline, 64, false);
    add(live, count);
    store_seal(bench.store, live);
    return live;
}

static void capacities(const char *words)
{
    struct resources resources;
    CHECK_INT(resources_parse(bytes_of(words), &resources, NULL), 0);
    store_set_pools(bench.store, &resources);
}

TEST(no_more_items_of_a_pipeline_run_than_its_concurrency_over_all_jobs)
{
    begin();
    const struct pipeline *narrow = text(TWO_AT_ONCE);
    struct live *first = of("ann", narrow, 3), *second = of("bob", narrow, 1), *free_one = of("cy", bench.one, 3);
    struct token a = claim(), b = claim();
    CHECK_INT(a.job, live_job(first)->job);
    CHECK_INT(b.job, live_job(second)->job);
    for (int i = 0; i < 3; i++)
        CHECK_INT(claim().job, live_job(free_one)->job);
    CHECK_INT(claim().attempt, 0);
    bench.due = 0;
    finish(b, VERDICT_DONE);
    CHECK(bench.due);
    CHECK_INT(claim().job, live_job(first)->job);
    CHECK_INT(claim().attempt, 0);
    finish(a, VERDICT_RETRY);             /* an item in back-off is not at work */
    CHECK_INT(claim().job, live_job(first)->job);
    CHECK_INT(claim().attempt, 0);
    finish_all();
}

TEST(resources_are_shared_by_all_who_name_them_and_those_nobody_counted_are_one)
{
    begin();
    const struct pipeline *gpu = text(GPU), *heavy = text(HEAVY);
    capacities("llm=4");
    of("ann", gpu, 2);
    struct token one = claim();
    CHECK_INT(one.attempt, 1);
    CHECK_INT(claim().attempt, 0);
    struct live *both = of("bob", heavy, 2);
    CHECK_INT(claim().attempt, 0);
    finish(one, VERDICT_DONE);
    CHECK_INT(claim().item, 1);           /* hers: she stood in line first */
    CHECK_INT(claim().attempt, 0);
    finish((struct token){one.job, 1, 1, store_epoch(bench.store)}, VERDICT_FAIL);
    CHECK_INT(claim().job, live_job(both)->job);
    CHECK_INT(claim().attempt, 0);
    finish_all();
}

TEST(who_waits_for_a_unit_is_served_in_the_order_of_coming)
{
    begin();
    const struct pipeline *gpu = text(GPU);
    static const char *const owners[] = {"ann", "bob", "cy", "di"};
    struct live *jobs[4];
    for (int i = 0; i < 4; i++)
        jobs[i] = of(owners[i], gpu, 2);
    for (int i = 0; i < 8; i++) {
        struct token token = claim();
        CHECK_INT(token.job, live_job(jobs[i % 4])->job);
        CHECK_INT(claim().attempt, 0);
        finish(token, VERDICT_DONE);
    }
    finish_all();
}

TEST(an_item_waits_between_two_legs_for_what_the_next_one_shares)
{
    begin();
    const struct pipeline *gpu = text(GPU), *later = text(LATER);
    struct live *live = of("ann", later, 1);
    struct token item = claim();
    of("bob", gpu, 1);
    struct token holds = claim();
    struct claim next = {0};
    CHECK_INT(store_finish(bench.store, item, &(struct outcome){.value = BYTES("[\"step\"]")}, &next), STORE_ACCEPTED);
    CHECK_INT(claim().attempt, 0);
    CHECK_INT(live_job(live)->counts.processing, 1);
    uint64_t pos = store_pos(bench.store);
    finish(holds, VERDICT_DONE);
    CHECK_INT(store_claim(bench.store, &next), STORE_CLAIMED);
    CHECK_INT(next.leg, 1);
    CHECK_INT(next.token.attempt, 1);
    CHECK_BYTES(next.value, BYTES("[\"step\"]"));
    CHECK_BYTES(next.name, BYTES("a.jpg"));
    CHECK_INT(store_pos(bench.store), pos + 2);      /* bob's end, and no second start */
    claim_done(&next);
    CHECK_INT(finish(item, VERDICT_DONE), STORE_ACCEPTED);
    CHECK_INT(live_job(live)->status, JOB_COMPLETED);
    finish_all();
}

TEST(a_cancel_gives_back_what_runs_and_leaves_the_line)
{
    begin();
    const struct pipeline *gpu = text(GPU);
    struct live *runs = of("ann", gpu, 5), *waits = of("bob", gpu, 5), *last = of("cy", gpu, 1);
    struct token running = claim();
    CHECK_INT(claim().attempt, 0);
    CHECK_INT(store_cancel(bench.store, waits, BYTES("client"), BYTES("asked"), (struct bytes){0}), 0);
    CHECK_INT(claim().attempt, 0);
    CHECK_INT(store_cancel(bench.store, runs, BYTES("client"), BYTES("asked"), (struct bytes){0}), 0);
    CHECK_INT(bench.ended, 2);
    CHECK_INT(claim().job, live_job(last)->job);
    CHECK_INT(finish(running, VERDICT_DONE), STORE_FENCED);
    CHECK_INT(claim().attempt, 0);
    CHECK_INT(store_cancel(bench.store, runs, BYTES("client"), BYTES("asked"), (struct bytes){0}), 1);
    finish_all();
}

TEST(the_counts_of_pools_build_themselves_up_again_after_a_restart)
{
    begin();
    const struct pipeline *narrow = text(TWO_AT_ONCE);
    of("ann", narrow, 4);
    claim();
    claim();
    CHECK_INT(claim().attempt, 0);
    sync_all();
    power_cut();
    struct token again = claim_read();
    CHECK_INT(again.attempt, 2);
    CHECK_INT(claim_read().attempt, 2);
    CHECK_INT(claim_read().attempt, 0);
    finish(again, VERDICT_DONE);
    CHECK_INT(claim_read().item, 2);
    finish_all();
}

TEST(the_newest_text_of_a_name_says_how_many_run)
{
    begin();
    const struct pipeline *narrow = text(TWO_AT_ONCE);
    of("ann", narrow, 9);
    claim();
    claim();
    CHECK_INT(claim().attempt, 0);
    of("bob", text("{\"name\":\"narrow\",\"concurrency\":3,\"legs\":[{\"stages\":[\"a\"]}]}"), 1);
    CHECK_INT(claim().attempt, 1);
    CHECK_INT(claim().attempt, 0);
    of("cy", text("{\"name\":\"narrow\",\"legs\":[{\"stages\":[\"a\"]}]}"), 1);
    for (int i = 0; i < 8; i++)
        CHECK_INT(claim().attempt, 1);
    CHECK_INT(claim().attempt, 0);
    finish_all();
}

TEST(tables_and_texts_of_resources_are_checked)
{
    static const char *const bad[] = {"gpu", "gpu=", "gpu=0", "=1", "a b=1", "gpu=1,,llm=2", "gpu=1000001", "gpu=1;llm=2"};
    static const char *const bad_texts[] = {
        "{\"name\":\"x\",\"concurrency\":0,\"legs\":[{\"stages\":[\"a\"]}]}", "{\"name\":\"x\",\"concurrency\":\"2\",\"legs\":[{\"stages\":[\"a\"]}]}",
        "{\"name\":\"x\",\"legs\":[{\"stages\":[\"a\"],\"resources\":[]}]}", "{\"name\":\"x\",\"legs\":[{\"stages\":[\"a\"],\"resources\":{\"g\":0}}]}",
        "{\"name\":\"x\",\"legs\":[{\"stages\":[\"a\"],\"resources\":{\"a b\":1}}]}",
        "{\"name\":\"x\",\"legs\":[{\"stages\":[\"a\"],\"resources\":{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1}}]}"};
    struct resources resources = {0};
    struct problem problem = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_note("%s", bad[i]);
        CHECK(resources_parse(bytes_of(bad[i]), &resources, &problem) < 0);
    }
    for (size_t i = 0; i < sizeof bad_texts / sizeof *bad_texts; i++) {
        test_note("%s", bad_texts[i]);
        CHECK(!pipeline_parse(bytes_of(bad_texts[i]), &problem));
    }
    CHECK_INT(resources_parse(BYTES(" gpu=2, llm=8"), &resources, NULL), 0);
    CHECK_INT(resources_units(&resources, "gpu"), 2);
    CHECK_INT(resources_units(&resources, "llm"), 8);
    CHECK_INT(resources_units(&resources, "other"), 1);
    const struct pipeline *heavy = text(HEAVY);
    CHECK_INT(resources_check(&resources, heavy, &problem), 0);
    CHECK_INT(resources_parse((struct bytes){0}, &resources, NULL), 0);
    problem = (struct problem){0};
    CHECK(resources_check(&resources, heavy, &problem) < 0);
    CHECK(strstr(problem.text, "llm"));
    pipeline_free(pipelines[--pipelines_count]);
}
