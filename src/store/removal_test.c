/* Deleting a job while others still have to do with it. */
#include "store/store_test.h"

#include "store/live.h"

/* Everything is durable, and nothing that was asked is answered. */
static void sync_only(void)
{
    while (memory_sync(bench.log, SIZE_MAX))
        ;
    memory_sync(bench.log, SIZE_MAX);    /* a flush that followed from the last one */
}

static int deleted_calls;

static void deleted(void *data)
{
    deleted_calls++;
}

TEST(a_job_may_be_deleted_while_the_decider_reads_what_it_no_longer_needs)
{
    begin();
    job("me", 3, 1);
    sync_all();
    power_cut();
    sync_all();
    struct live *live = first_live();
    CHECK_INT(claim().attempt, 0);       /* its items are to be read first */
    CHECK_INT(live->reads, 1);
    CHECK_INT(store_cancel(bench.store, live, BYTES("me"), BYTES("no"), (struct bytes){0}), 0);
    deleted_calls = 0;
    CHECK_INT(store_delete(bench.store, live, deleted, NULL), 0);
    sync_only();
    CHECK_INT(deleted_calls, 1);
    CHECK_INT(live->reads, 1);
    memory_pump(bench.log);              /* the rows go, then the question is answered: there is nothing */
    store_tick(bench.store);
    CHECK_INT(store_numbers(bench.store).jobs_held, 0);
    end();
}

static int seen_rows;

static void seen(void *data, struct live *live, const struct row *row)
{
    seen_rows++;
}

TEST(every_event_of_a_job_is_seen_though_it_is_deleted_before_its_end_is_durable)
{
    begin();
    seen_rows = 0;
    struct store_listener listeners[] = {{.seen = seen}, {.seen = seen}, {.seen = seen}};
    for (int i = 0; i < 3; i++)
        store_on_durable(bench.store, &listeners[i]);
    store_unlisten(&listeners[1]);
    struct live *live = job("me", 1, 1);
    finish(claim(), VERDICT_DONE);
    CHECK(live_job(live)->ended);
    CHECK_INT(store_delete(bench.store, live, NULL, NULL), 0);
    sync_all();
    CHECK_INT(seen_rows, 2 * (int64_t)store_durable(bench.store));
    end();
}

TEST(an_answer_from_before_a_jobs_first_flush_is_asked_for_again)
{
    begin();
    struct live *live = NULL;
    struct log_found found = {.job = 77};
    CHECK_INT(live_read_back(bench.store, &found, &live), BACK_AGAIN);
    end();
}
