/* Lists of jobs and items, over both logs. */
#include "store/asks_test.h"

/* ---- lists ---- */

ON_BOTH(jobs_are_listed_newest_first_whether_held_or_read_back)
{
    char ids[6][40];
    for (int i = 0; i < 5; i++)
        snprintf(ids[i], sizeof ids[i], "%s", live_job(create(i % 2 ? "you" : "me", i == 2 ? bench.two : bench.one, 1, false))->id);
    settle();
    close_and_boot();                  /* all five were cut off */
    settle();
    pass(2 * SECOND);
    settle();
    close_and_boot();                  /* and are in memory no more */
    snprintf(ids[5], sizeof ids[5], "%s", live_job(job("me", 1, 1))->id);
    settle();
    list((struct store_list_want){.status = -1, .before = INT64_MAX, .limit = 8});
    CHECK(listed.count == 6 && !listed.more);
    for (int i = 0; i < 6; i++)
        CHECK_TEXT(listed.ids[i], ids[5 - i]);
    list((struct store_list_want){.owner = BYTES("me"), .status = -1, .before = INT64_MAX, .limit = 2});
    CHECK(listed.count == 2 && listed.more);
    CHECK_TEXT(listed.ids[1], ids[4]);
    list((struct store_list_want){.owner = BYTES("me"), .status = -1, .before = listed.numbers[1], .limit = 2});
    CHECK(listed.count == 2 && !listed.more);
    CHECK_TEXT(listed.ids[0], ids[2]);
    CHECK_TEXT(listed.ids[1], ids[0]);
    list((struct store_list_want){.pipeline = BYTES("two"), .status = -1, .before = INT64_MAX, .limit = 1});
    CHECK(listed.count == 1 && !listed.more);
    CHECK_TEXT(listed.ids[0], ids[2]);
    list((struct store_list_want){.status = JOB_CANCELLED, .before = INT64_MAX, .limit = 5});
    CHECK(listed.count == 5 && !listed.more);
    list((struct store_list_want){.owner = BYTES("nobody"), .status = -1, .before = INT64_MAX, .limit = 5});
    CHECK(listed.count == 0 && !listed.more);
}

ON_BOTH(a_list_goes_on_in_steps_until_it_is_full)
{
    struct live *two = create("me", bench.two, 1, false);
    char id[40];
    snprintf(id, sizeof id, "%s", live_job(two)->id);
    for (int i = 0; i < 300; i++)
        store_seal(bench.store, create("me", bench.one, 1, false));
    settle();
    list((struct store_list_want){.pipeline = BYTES("two"), .status = -1, .before = INT64_MAX, .limit = 1});
    CHECK(listed.count == 1 && !listed.more);
    CHECK_TEXT(listed.ids[0], id);
    list((struct store_list_want){.status = -1, .before = INT64_MAX, .limit = 300});
    CHECK(listed.count == 300 && listed.more);
    list((struct store_list_want){.status = -1, .before = INT64_MAX, .limit = 301});
    CHECK(listed.count == 301 && !listed.more);
}

TEST(a_list_has_durable_jobs_only)
{
    begin_on(false);
    job("me", 1, 1);
    sync_all();
    job("me", 1, 1);
    store_list(bench.store, &(struct store_list_want){.status = -1, .before = INT64_MAX, .limit = 5}, list_came, NULL);
    memory_pump(bench.log);
    CHECK_INT(listed.count, 1);
    end_on();
}

/* ---- items ---- */

ON_BOTH(items_tell_what_they_were_and_what_became_of_them)
{
    static const int64_t some[] = {0, 1, 2, 3, 599, 5};
    struct live *live = job("me", 600, 600);
    char id[40];
    snprintf(id, sizeof id, "%s", live_job(live)->id);
    finish(claim(), VERDICT_DONE);
    finish(claim(), VERDICT_FAIL);
    finish(claim(), VERDICT_RETRY);
    claim();
    items(live, some, 6);              /* open, and its last events were not durable when it was asked */
    CHECK(!told.error && told.count == 6 && told.last == 5);
    CHECK_INT(told.words, 3);
    CHECK_INT(told.wrong, 1);          /* the retry is no failure */
    CHECK(told.states[ITEM_DONE] == 1 && told.states[ITEM_FAILED] == 1 && told.states[ITEM_RUNNING] == 1 && told.states[ITEM_BACKOFF] == 1);
    store_cancel(bench.store, live, BYTES("client"), BYTES("asked"), (struct bytes){0});
    items(live, some, 6);              /* ended, its items still in memory */
    CHECK(told.count == 6 && told.words == 2 && told.states[ITEM_SKIPPED] == 4 && !told.wrong);
    live_ref(live);
    pass(2 * SECOND);
    settle();
    while (live_job(live)->items) {    /* until the flush has made it let go of them */
        pass(2 * SECOND);
        turn();
    }
    items(live, some, 6);
    CHECK(told.count == 6 && told.words == 2 && told.states[ITEM_SKIPPED] == 4 && !told.wrong);
    states(live, 1);
    CHECK(told.count == 599 && told.first == 1 && told.states[ITEM_FAILED] == 1 && told.states[ITEM_SKIPPED] == 598);
    live_unref(live);
    close_and_boot();
    live = get(id);                    /* read back from the disk */
    items(live, some, 6);
    CHECK(told.count == 6 && told.words == 2 && !told.wrong);
    states(live, 600);
    CHECK(!told.error && told.count == 0);
    items(live, some, 0);
    CHECK(!told.error && told.count == 0);
    live_unref(live);
}

ON_BOTH(items_of_many_pages_and_rows_come_in_one_answer)
{
    int64_t far[LIMIT_READ_ROWS];
    struct live *live = job("me", 12000, 12000);
    char id[40];
    snprintf(id, sizeof id, "%s", live_job(live)->id);
    for (struct token token; (token = claim()).attempt;) {
        finish(token, VERDICT_DONE);
        if (store_busy(bench.store))
            settle();
    }
    CHECK(live_job(live)->ended);
    pass(2 * SECOND);
    settle();
    close_and_boot();
    live = get(id);
    for (int i = 0; i < LIMIT_READ_ROWS; i++)
        far[i] = (int64_t)i * 46;
    items(live, far, LIMIT_READ_ROWS);
    CHECK(!told.error && told.count == LIMIT_READ_ROWS && told.words == LIMIT_READ_ROWS && !told.wrong && told.last == 255 * 46);
    states(live, 100);
    CHECK(told.count == 8192 - 100 && told.first == 100);
    states(live, told.last + 1);
    CHECK(told.first == 8192 && told.last == 11999 && told.states[ITEM_DONE] == 12000 - 8192);
    live_unref(live);
}
