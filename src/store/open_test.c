/* Open jobs: items that start before the seal, over restarts, and clients that fall silent. What is counted as open. */
#include "store/store_test.h"

#define MINUTE (60 * SECOND)

static struct live *open_job(const char *owner, uint32_t in_flight)
{
    struct live *live = store_create(bench.store, &(struct store_job){.owner = bytes_of(owner), .pipeline = bench.one, .in_flight = in_flight,
                                                                      .open = true});
    CHECK(live);
    return live;
}

TEST(an_open_job_starts_its_items_as_they_come_and_ends_after_its_seal)
{
    begin();
    struct live *live = open_job("me", 2);
    CHECK_INT(claim().attempt, 0);
    bench.due = 0;
    add(live, 1);
    CHECK(bench.due);
    struct token one = claim();
    CHECK_INT(one.attempt, 1);
    CHECK_INT(finish(one, VERDICT_DONE), STORE_ACCEPTED);
    CHECK(!live_job(live)->ended);
    add(live, 2);
    CHECK_INT(claim().item, 1);
    CHECK_INT(job_progress(live_job(live)), 0);
    store_seal(bench.store, live);
    CHECK(store_add(bench.store, live, &(struct item_spec){.name = BYTES("late")}, 1, &(struct problem){0}) < 0);
    finish((struct token){live_job(live)->job, 1, 1, store_epoch(bench.store)}, VERDICT_DONE);
    finish(claim(), VERDICT_DONE);
    CHECK_INT(live_job(live)->status, JOB_COMPLETED);
    end();
}

TEST(a_job_that_is_not_open_waits_for_its_seal)
{
    begin();
    struct live *live = create("me", bench.one, 2, false);
    add(live, 300);
    CHECK_INT(claim().attempt, 0);
    store_seal(bench.store, live);
    CHECK_INT(claim().attempt, 1);
    end();
}

TEST(an_open_job_lives_on_over_a_restart)
{
    for (int flushed = 0; flushed < 2; flushed++) {
        begin();
        struct live *live = open_job("me", 2);
        add(live, 2);
        finish(claim(), VERDICT_DONE);
        CHECK_INT(claim().item, 1);
        sync_all();
        if (flushed) {
            pass(2 * SECOND);
            sync_all();
        }
        power_cut();
        live = first_live();
        CHECK(live && live_job(live)->open && !live_job(live)->sealed && !live_job(live)->ended);
        struct token again = claim_read();
        CHECK(again.item == 1 && again.attempt == 2);
        add(live, 1);
        CHECK_INT(claim().item, 2);
        finish(again, VERDICT_DONE);
        store_seal(bench.store, live);
        CHECK_INT(live_job(live)->counts.completed, 2);
        end();
    }
}

TEST(an_open_job_whose_client_fell_silent_is_ended)
{
    begin();
    struct live *live = open_job("me", 2);
    add(live, 1);
    finish(claim(), VERDICT_DONE);
    pass(10 * MINUTE);
    add(live, 1);                         /* the time begins anew */
    struct token slow = claim();
    pass(14 * MINUTE);
    CHECK(!live_job(live)->ended);
    pass(2 * MINUTE);
    CHECK(!live_job(live)->ended);        /* something runs */
    finish(slow, VERDICT_DONE);
    pass(1);
    CHECK_INT(live_job(live)->status, JOB_CANCELLED);
    CHECK_TEXT(live_job(live)->error, "no item came for 15 minutes");
    CHECK_INT(live_job(live)->counts.completed, 2);
    end();
}

TEST(an_open_job_that_never_got_an_item_is_ended_too_and_a_sealed_one_is_not)
{
    begin();
    struct live *empty = live_ref(open_job("me", 1)), *sealed = open_job("me", 1);
    add(sealed, 2);
    claim();
    store_seal(bench.store, sealed);
    pass(16 * MINUTE);
    CHECK_INT(live_job(empty)->status, JOB_CANCELLED);
    CHECK_INT(live_job(sealed)->status, JOB_RUNNING);
    live_unref(empty);
    end();
}

TEST(the_silence_of_a_client_goes_on_over_a_restart)
{
    begin();
    struct live *live = open_job("me", 1);
    add(live, 1);
    finish(claim(), VERDICT_DONE);
    sync_all();
    pass(10 * MINUTE);
    sync_all();
    power_cut();
    sync_all();
    pass(4 * MINUTE);
    CHECK(!live_job(first_live())->ended);
    pass(MINUTE);
    CHECK_TEXT(live_job(first_live())->error, "no item came for 15 minutes");
    end();
}

TEST(a_cancel_of_an_open_job_keeps_what_it_has_and_starts_nothing_more)
{
    begin();
    struct live *live = open_job("me", 2);
    add(live, 4);
    finish(claim(), VERDICT_DONE);
    struct token running = claim();
    claim();
    CHECK_INT(store_cancel(bench.store, live, BYTES("client"), BYTES("asked"), (struct bytes){0}), 0);
    CHECK_INT(bench.ended, 1);            /* what runs is stopped */
    CHECK_INT(claim().attempt, 0);
    CHECK_INT(finish(running, VERDICT_DONE), STORE_FENCED);
    CHECK_INT(live_job(live)->counts.completed, 1);
    CHECK_INT(live_job(live)->counts.skipped, 3);
    CHECK(store_add(bench.store, live, &(struct item_spec){.name = BYTES("late")}, 1, &(struct problem){0}) < 0);
    store_seal(bench.store, live);
    CHECK_INT(store_cancel(bench.store, live, BYTES("client"), BYTES("asked"), (struct bytes){0}), 1);
    pass(20 * MINUTE);
    end();
}

/* ---- what is open ---- */

static void check_usage(const char *owner, int64_t jobs, int64_t items, int64_t bytes)
{
    struct store_usage usage = store_usage(bench.store, bytes_of(owner));
    CHECK_INT(usage.jobs, jobs);
    CHECK_INT(usage.items, items);
    CHECK_INT(usage.bytes, bytes);
}

TEST(what_an_owner_has_open_is_counted_and_counted_again_after_a_restart)
{
    begin();
    check_usage("ann", 0, 0, 0);
    struct live *first = job("ann", 3, 3), *second = open_job("ann", 1);    /* items of 3 bytes */
    job("bob", 2, 1);
    check_usage("ann", 2, 3, 9);
    check_usage("bob", 1, 2, 6);
    finish(claim(), VERDICT_DONE);        /* ann's */
    claim();                              /* bob's */
    finish(claim(), VERDICT_FAIL);        /* ann's */
    add(second, 2);
    check_usage("ann", 2, 3, 15);
    CHECK_INT(store_items_held(bench.store), 7);
    sync_all();
    pass(2 * SECOND);
    sync_all();
    add(second, 1);
    sync_all();
    power_cut();
    check_usage("ann", 2, 4, 18);
    check_usage("bob", 1, 2, 6);
    CHECK_INT(store_items_held(bench.store), 8);
    size_t at = 0;
    for (struct live *live; (live = store_next_job(bench.store, &at));)
        store_cancel(bench.store, live, BYTES("client"), BYTES("asked"), (struct bytes){0});
    check_usage("ann", 0, 0, 0);
    check_usage("bob", 0, 0, 0);
    CHECK_INT(store_items_held(bench.store), 0);
    CHECK(first);
    end();
}
