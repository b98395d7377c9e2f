/* What items were added with: how much of it memory holds, and that all of it comes when it is due. */
#include "store/store_test.h"

#include "store/live.h"

enum { BIG_BYTES = 60000, BIG_ITEMS = 500 };      /* one an event: twice the budget */

static void add_big(struct live *live, int from, int count)
{
    static char value[BIG_BYTES + 1], name[32];
    for (int i = from; i < from + count; i++) {
        struct problem problem = {0};
        memset(value, '7', BIG_BYTES);
        memcpy(value, "[1", 2);
        snprintf(value + BIG_BYTES - 8, 9, ",%06d]", 100000 + i);
        snprintf(name, sizeof name, i % 2 ? "n%d" : "n\"%d", i);
        CHECK_INT(store_add(bench.store, live, &(struct item_spec){.name = bytes_of(name), .bytes = i, .value = bytes_of(value)}, 1, &problem), 0);
        if (store_busy(bench.store))
            sync_all();
    }
}

/* Everything is claimed in its order with its own name and value; memory stays within the budget and a little. */
static void take_big(struct live *live, int from, int count)
{
    for (int i = from; i < from + count; i++) {
        struct claim got;
        char name[32], end_of[16];
        for (int tries = 0; store_claim(bench.store, &got) != STORE_CLAIMED; tries++) {
            CHECK(tries < 3);
            sync_all();
        }
        snprintf(name, sizeof name, i % 2 ? "n%d" : "n\"%d", i);
        snprintf(end_of, sizeof end_of, ",%06d]", 100000 + i);
        CHECK_INT(got.token.item, i);
        CHECK_BYTES(got.name, bytes_of(name));
        CHECK_INT(got.value.count, BIG_BYTES);
        CHECK(!memcmp(got.value.at + BIG_BYTES - 8, end_of, 8));
        CHECK(bench.store->chunk_bytes <= LIMIT_CHUNK_BYTES + 4 * LIMIT_ROW_BYTES);
        struct token token = got.token;
        claim_done(&got);
        CHECK_INT(finish(token, VERDICT_DONE), STORE_ACCEPTED);
    }
}

TEST_SLOW(what_is_beyond_the_budget_is_read_again_when_it_is_due)
{
    begin();
    struct live *live = create("me", bench.one, 4, false);
    add_big(live, 0, BIG_ITEMS);
    CHECK(bench.store->chunk_bytes <= LIMIT_CHUNK_BYTES);
    CHECK(bench.store->chunk_bytes > LIMIT_CHUNK_BYTES / 2);
    store_seal(bench.store, live);
    take_big(live, 0, BIG_ITEMS);
    CHECK(live_job(live)->ended);
    CHECK_INT(bench.store->chunk_bytes, 0);
    end();
}

TEST_SLOW(items_of_an_open_job_start_before_they_are_durable_whatever_the_budget)
{
    begin();
    struct live *filler = create("ann", bench.one, 4, false);
    add_big(filler, 0, 300);              /* never sealed: the budget is full */
    sync_all();
    struct live *live = store_create(bench.store, &(struct store_job){.owner = BYTES("bob"), .pipeline = bench.one, .in_flight = 9, .open = true});
    for (int i = 0; i < 50; i++) {
        add(live, 1);
        struct token token = claim();     /* nothing was synced */
        CHECK_INT(token.item, i);
        CHECK_INT(token.attempt, 1);
        finish(token, VERDICT_DONE);
    }
    CHECK(bench.store->chunk_bytes <= LIMIT_CHUNK_BYTES + LIMIT_ROW_BYTES);
    end();
}

TEST_SLOW(jobs_that_do_not_fit_together_all_get_on)
{
    begin();
    struct live *jobs[4];
    static const char *const owners[] = {"ann", "bob", "cy", "di"};
    for (int i = 0; i < 4; i++) {
        jobs[i] = live_ref(create(owners[i], bench.one, 1, false));
        add_big(jobs[i], 0, 150);
        sync_all();
        store_seal(bench.store, jobs[i]);
    }
    for (int done = 0, rounds = 0; done < 600; rounds++) {
        struct token token = claim();
        CHECK(rounds < 5000);
        if (!token.attempt) {
            sync_all();
            continue;
        }
        finish(token, VERDICT_DONE);
        done++;
    }
    for (int i = 0; i < 4; i++) {
        CHECK_INT(live_job(jobs[i])->status, JOB_COMPLETED);
        live_unref(jobs[i]);
    }
    CHECK_INT(bench.store->chunk_bytes, 0);
    end();
}

TEST(the_items_of_many_small_rows_come_back_after_a_restart)
{
    begin();
    struct live *live = create("me", bench.one, 3, false);
    add(live, 1000);
    store_seal(bench.store, live);
    for (int i = 0; i < 300; i++)
        finish(claim(), i % 5 ? VERDICT_DONE : VERDICT_RETRY);
    sync_all();
    power_cut();
    int ended = 0;
    for (int rounds = 0; !live_job(first_live())->ended; rounds++) {
        CHECK(rounds < 10000);
        struct token token = claim();
        if (token.attempt) {
            finish(token, VERDICT_DONE);
            ended++;
            continue;
        }
        sync_all();
        pass(SECOND);
    }
    CHECK_INT(ended, 1000 - 240);
    end();
}

TEST_SLOW(many_jobs_that_wait_for_their_items_stay_within_the_budget_too)
{
    enum { JOBS = 600 };               /* of one big row each: more than twice the budget */
    begin();
    struct pipeline *narrow = pipeline_parse(BYTES("{\"name\":\"narrow\",\"concurrency\":1,\"legs\":[{\"stages\":[\"a\"]}]}"), NULL);
    for (int i = 0; i < JOBS; i++) {
        struct live *live = create(i % 3 ? "me" : "you", i % 2 ? bench.one : narrow, 1, false);
        add_big(live, 0, 1);
        store_seal(bench.store, live);
        sync_all();
    }
    power_cut();
    size_t most = 0;
    for (int done = 0, rounds = 0; done < JOBS; rounds++) {
        CHECK(rounds < 10 * JOBS);
        struct token token = claim();
        if (!token.attempt)
            sync_all();
        if (bench.store->chunk_bytes > most)
            most = bench.store->chunk_bytes;
        if (!token.attempt)
            continue;
        finish(token, VERDICT_DONE);
        done++;
    }
    CHECK(most > LIMIT_CHUNK_BYTES / 2);
    CHECK(most <= LIMIT_CHUNK_BYTES + 4 * LIMIT_ROW_BYTES);
    CHECK_INT(bench.store->chunk_bytes, 0);
    CHECK_INT(store_numbers(bench.store).jobs_open, 0);
    pipeline_free(narrow);
    end();
}
