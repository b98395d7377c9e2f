/* The decider over the log in memory: who may speak for an item, who is served when, and what fits. */
#include "store/store_test.h"

/* ---- the fence ---- */

TEST(an_outcome_of_an_earlier_attempt_is_fenced)
{
    begin();
    struct live *live = job("me", 1, 1);
    struct token first = claim();
    CHECK_INT(finish(first, VERDICT_RETRY), STORE_ACCEPTED);
    CHECK_INT(finish(first, VERDICT_DONE), STORE_FENCED);
    pass(10 * SECOND);
    struct token second = claim();
    CHECK_INT(second.attempt, 2);
    CHECK_INT(finish(first, VERDICT_DONE), STORE_FENCED);
    CHECK_INT(store_numbers(bench.store).fenced, 2);
    CHECK_INT(live_job(live)->counts.processing, 1);
    CHECK_INT(finish(second, VERDICT_DONE), STORE_ACCEPTED);
    CHECK_INT(finish(second, VERDICT_DONE), STORE_FENCED);
    CHECK_INT(live_job(live)->status, JOB_COMPLETED);
    end();
}

TEST(an_outcome_of_an_earlier_opening_is_fenced)
{
    begin();
    job("me", 1, 1);
    struct token old = claim();
    sync_all();
    power_cut();
    CHECK_INT(finish(old, VERDICT_DONE), STORE_FENCED);
    struct token again = claim_read();
    CHECK_INT(again.attempt, 2);
    CHECK_INT(finish(old, VERDICT_DONE), STORE_FENCED);
    CHECK_INT(finish(again, VERDICT_DONE), STORE_ACCEPTED);
    end();
}

TEST(a_cancelled_job_takes_no_outcome)
{
    begin();
    struct live *live = job("me", 3, 2);
    struct token one = claim();
    CHECK_INT(store_cancel(bench.store, live, BYTES("client"), BYTES("asked"), (struct bytes){0}), 0);
    CHECK_INT(bench.ended, 1);
    CHECK_INT(finish(one, VERDICT_DONE), STORE_FENCED);
    CHECK_INT(claim().attempt, 0);
    CHECK_INT(live_job(live)->counts.skipped, 3);
    CHECK_INT(store_cancel(bench.store, live, BYTES("client"), BYTES("asked"), (struct bytes){0}), 1);
    end();
}

TEST(what_a_worker_says_is_checked)
{
    static const struct { const char *value; enum item_state state; } said[] = {
        {"{\"x\":1}", ITEM_DONE}, {"", ITEM_DONE}, {"{\"x\":", ITEM_FAILED}, {"{\"x\":1}}", ITEM_FAILED}, {"NaN", ITEM_FAILED},
        {"{\"blob\":\"0123456789012345678901234567890123456789012345678901234567890123\",\"bytes\":5}", ITEM_FAILED}};
    begin();
    struct live *live = job("me", 8, 1);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        struct token token = claim();
        test_note("%s", said[i].value);
        store_finish(bench.store, token, &(struct outcome){.value = bytes_of(said[i].value), .stats = BYTES("{\"accuracy\":")}, NULL);
        CHECK_INT(live_job(live)->items[i].state, said[i].state);
    }
    char *huge MEM_OWNED = mem_new(LIMIT_BODY_BYTES + 2);
    memset(huge, '1', LIMIT_BODY_BYTES + 1);
    store_finish(bench.store, claim(), &(struct outcome){.value = bytes_of(huge)}, NULL);
    CHECK_INT(live_job(live)->items[6].state, ITEM_FAILED);
    live_ref(live);
    store_finish(bench.store, claim(), &(struct outcome){.value = BYTES("{\"a\":\r\n[1,\n2]}")}, NULL);
    sync_all();
    struct row *rows[64];
    int count = store_rows(live, 1, rows, 64);
    for (int i = 0; i < count; i++) {
        CHECK(!memchr(rows[i]->body, '\n', rows[i]->body_bytes));
        row_unref(rows[i]);
    }
    CHECK(count > 8);
    CHECK_INT(live_job(live)->sums_count, 0);
    live_unref(live);
    end();
}

/* ---- claims ---- */

TEST(nothing_is_claimed_while_the_disk_is_full)
{
    begin();
    job("me", 4, 4);
    struct token running = claim();
    memory_full(bench.log, true);
    CHECK(store_disk_full(bench.store) && store_busy(bench.store));
    CHECK_INT(claim().attempt, 0);
    CHECK_INT(finish(running, VERDICT_DONE), STORE_ACCEPTED);    /* outcomes always fit */
    CHECK_INT(claim().attempt, 0);
    bench.due = 0;
    memory_full(bench.log, false);
    CHECK(bench.due);
    CHECK_INT(claim().attempt, 1);
    end();
}

TEST_SLOW(nothing_is_claimed_while_too_many_bytes_wait_for_the_disk_and_their_end_is_told)
{
    begin();
    struct live *live = create("me", bench.one, 8, false);
    char *text MEM_OWNED = mem_new(60001);
    struct problem problem = {0};
    memset(text, '7', 60000);
    struct item_spec item = {.name = BYTES("n"), .value = bytes_of(text)};
    for (int i = 0; i < LIMIT_QUEUED_BYTES / 60000 + 1; i++)
        CHECK_INT(store_add(bench.store, live, &item, 1, &problem), 0);
    store_seal(bench.store, live);
    CHECK(store_busy(bench.store));
    CHECK_INT(claim().attempt, 0);
    bench.due = 0;
    memory_sync(bench.log, 2);    /* a little room is enough; more may wait all the time */
    CHECK(!store_busy(bench.store));
    CHECK(bench.due);
    CHECK_INT(claim().attempt, 1);
    end();
}

TEST(owners_take_turns)
{
    begin();
    struct live *a = job("ann", 10000, 64), *b;
    for (int i = 0; i < 10; i++)
        CHECK_INT(claim().job, live_job(a)->job);
    b = job("bob", 1, 1);
    CHECK_INT(claim().job, live_job(b)->job);    /* she has just been served, he never */
    CHECK_INT(claim().job, live_job(a)->job);
    CHECK_INT(claim().job, live_job(a)->job);
    end();
}

TEST(an_owner_of_many_small_jobs_takes_turns_like_any_other)
{
    begin();
    for (int i = 0; i < 50; i++)
        job("ann", 1, 1);
    struct live *b = job("bob", 5, 5);
    int his = 0;
    for (int i = 0; i < 8; i++)
        his += claim().job == live_job(b)->job;
    CHECK_INT(his, 4);
    end();
}

TEST(jobs_of_one_owner_take_turns_too)
{
    begin();
    struct live *first = job("ann", 100, 100), *second = job("ann", 100, 100);
    for (int i = 0; i < 10; i++)
        CHECK_INT(claim().job, live_job(i % 2 ? second : first)->job);
    end();
}

TEST(an_ordered_job_has_one_item_in_flight_through_its_retries)
{
    begin();
    struct live *live = create("me", bench.one, 16, true);
    add(live, 3);
    store_seal(bench.store, live);
    struct token token = claim();
    CHECK_INT(token.item, 0);
    CHECK_INT(claim().attempt, 0);
    finish(token, VERDICT_RETRY);
    CHECK_INT(claim().attempt, 0);
    pass(20 * SECOND);
    token = claim();
    CHECK(token.item == 0 && token.attempt == 2);
    finish(token, VERDICT_DONE);
    CHECK_INT(claim().item, 1);
    end();
}

TEST(an_item_refused_at_intake_fails_when_its_turn_comes)
{
    begin();
    struct live *live = create("me", bench.one, 1, false);
    struct item_spec items[] = {{.name = BYTES("a"), .value = BYTES("1")},
                                {.name = BYTES("b"), .reject_error = BYTES("too large"), .reject_type = BYTES("validation")},
                                {.name = BYTES("c"), .value = BYTES("3")}};
    CHECK_INT(store_add(bench.store, live, items, 3, NULL), 0);
    store_seal(bench.store, live);
    struct token token = claim();
    CHECK_INT(live_job(live)->items[1].state, ITEM_PENDING);
    finish(token, VERDICT_DONE);
    token = claim();
    CHECK_INT(token.item, 2);
    CHECK_INT(live_job(live)->items[1].state, ITEM_FAILED);
    CHECK_INT(live_job(live)->items[1].attempt, 0);
    finish(token, VERDICT_DONE);
    CHECK(live_job(live)->ended);
    end();
}

TEST(a_leg_starts_from_what_the_last_one_gave_also_after_a_restart)
{
    begin();
    struct live *live = create("me", bench.two, 1, false);
    struct claim got = {0};
    add(live, 1);
    store_seal(bench.store, live);
    CHECK_INT(store_claim(bench.store, &got), STORE_CLAIMED);
    CHECK_BYTES(got.value, BYTES("{\"in\":7}"));
    CHECK_BYTES(got.name, BYTES("a.jpg"));
    struct token token = got.token;
    claim_done(&got);
    CHECK_INT(store_finish(bench.store, token, &(struct outcome){.value = BYTES("[\"step\"]")}, &got), STORE_STEPPED);
    CHECK_INT(got.leg, 1);
    CHECK_BYTES(got.value, BYTES("[\"step\"]"));
    claim_done(&got);
    CHECK_INT(finish(token, VERDICT_RETRY), STORE_ACCEPTED);
    sync_all();
    pass(2 * SECOND);    /* the caches are behind all of it: what the item brings is to be read from the disk */
    sync_all();
    power_cut();
    for (int i = 0; i < 4; i++) {
        sync_all();
        pass(30 * SECOND);
        if (store_claim(bench.store, &got) == STORE_CLAIMED)
            break;
    }
    CHECK_INT(got.token.attempt, 2);
    CHECK_INT(got.leg, 1);
    CHECK_BYTES(got.value, BYTES("[\"step\"]"));
    claim_done(&got);
    end();
}

/* ---- limits ---- */

TEST(no_text_makes_an_event_too_large)
{
    struct problem problem = {0};
    char controls[12001];
    begin();
    memset(controls, 1, sizeof controls - 1);
    controls[sizeof controls - 1] = 0;
    struct live *live = create("me", bench.one, 1, false);
    struct item_spec item = {.name = BYTES("n"), .key = bytes_of(controls)};
    CHECK(store_add(bench.store, live, &item, 1, &problem) < 0);
    CHECK(strstr(problem.text, "too large"));
    item = (struct item_spec){.name = (struct bytes){controls, 256}};
    problem = (struct problem){0};
    CHECK(store_add(bench.store, live, &item, 1, &problem) < 0);
    CHECK(strstr(problem.text, "255"));
    item = (struct item_spec){.name = (struct bytes){controls, 255}};
    struct item_spec many[300];
    for (int i = 0; i < 300; i++)
        many[i] = item;
    CHECK_INT(store_add(bench.store, live, many, 300, &problem), 0);
    CHECK_INT(live_job(live)->total, 300);
    CHECK(!store_create(bench.store, &(struct store_job){.owner = bytes_of(controls), .pipeline = bench.one, .in_flight = 1}));
    CHECK_INT(store_numbers(bench.store).jobs_held, 1);
    end();
}
