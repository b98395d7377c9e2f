/* The decider through power cuts, and what its readers are shown. */
#include "store/store_test.h"

#include "core/document.h"

/* ---- restarts ---- */

TEST(a_job_cut_off_before_its_seal_is_ended_at_the_next_opening)
{
    begin();
    add(create("me", bench.one, 1, false), 2);
    sync_all();
    power_cut();
    struct live *live = first_live();
    CHECK(live);
    CHECK_INT(live_job(live)->status, JOB_CANCELLED);
    CHECK_TEXT(live_job(live)->error, "upload was cut off");
    CHECK_INT(live_job(live)->counts.skipped, 2);
    CHECK_INT(live_durable_seq(live), 2);    /* the end itself is not on disk yet */
    sync_all();
    CHECK_INT(live_durable_seq(live), 5);
    end();
}

TEST(a_cancel_that_a_power_cut_split_is_finished_by_the_next_opening)
{
    begin();
    struct live *live = job("me", 3, 1);
    claim();
    sync_all();
    store_cancel(bench.store, live, BYTES("client"), BYTES("asked"), (struct bytes){0});
    CHECK_INT(memory_waiting(bench.log), 3);
    memory_sync(bench.log, 1);
    power_cut();
    live = first_live();
    CHECK_INT(live_job(live)->status, JOB_CANCELLED);
    CHECK_INT(live_job(live)->counts.skipped, 3);
    sync_all();
    live = first_live();
    CHECK_INT(live_durable_seq(live), live_job(live)->seq);
    end();
}

TEST(back_off_goes_on_after_a_restart_for_what_is_left_of_it)
{
    begin();
    job("me", 1, 1);
    finish(claim(), VERDICT_RETRY);    /* due between 0.5 and 1 s from now */
    sync_all();
    pass(SECOND / 4);
    store_forget(bench.store);
    memory_crash(bench.log);
    boot();
    sync_all();
    pass(SECOND / 5);
    CHECK_INT(claim().attempt, 0);
    pass(SECOND * 11 / 20);
    CHECK_INT(claim_read().attempt, 2);
    end();
}

TEST(a_clock_set_back_makes_no_back_off_longer)
{
    begin();
    job("me", 1, 1);
    finish(claim(), VERDICT_RETRY);
    sync_all();
    store_forget(bench.store);
    memory_crash(bench.log);
    bench.wall_us -= 86400 * SECOND;
    boot();
    sync_all();
    pass(SECOND / 3);
    CHECK_INT(claim().attempt, 0);
    pass(SECOND);
    CHECK_INT(claim_read().attempt, 2);
    end();
}

TEST(an_item_interrupted_six_times_fails)
{
    begin();
    job("me", 1, 1);
    for (uint32_t i = 1; i <= 6; i++) {
        struct token token = claim();
        CHECK_INT(token.attempt, i);
        sync_all();
        power_cut();
        CHECK_INT(claim().attempt, 0);    /* its name is to be read first */
        sync_all();
    }
    CHECK_INT(claim().attempt, 0);
    struct live *live = first_live();
    CHECK_INT(live_job(live)->counts.failed, 1);
    CHECK_INT(live_job(live)->status, JOB_ERROR);
    end();
}

/* An item that takes the machine down each time, in a pipeline whose stages say something of errors. What its sixth interruption comes to is durable. */
static struct pipeline *give_up(const char *text, size_t items)
{
    begin();
    struct pipeline *pipeline = pipeline_parse(bytes_of(text), NULL);
    struct live *live = create("me", pipeline, 1, false);
    add(live, items);
    store_seal(bench.store, live);
    for (uint32_t i = 1; i <= LIMIT_INTERRUPTS + 1; i++) {
        CHECK_INT(claim().attempt, i);
        sync_all();
        power_cut();
        CHECK_INT(claim().attempt, 0);
        sync_all();
    }
    return pipeline;
}

TEST(an_item_interrupted_too_often_takes_its_job_along_where_its_stage_says_so)
{
    struct pipeline *pipeline = give_up("{\"name\":\"x\",\"legs\":[{\"stages\":[\"a\",{\"stage\":\"jq\",\"on_error\":\"fail_job\"}]}]}", 3);
    CHECK_INT(claim().attempt, 0);
    const struct job *ended = live_job(first_live());
    CHECK_INT(ended->status, JOB_ERROR);
    CHECK_TEXT(ended->error, "interrupted 5 times");
    CHECK_INT(ended->counts.failed, 1);
    CHECK_INT(ended->counts.skipped, 2);
    end();
    pipeline_free(pipeline);
}

TEST(what_is_to_be_used_instead_takes_the_place_of_an_item_interrupted_too_often)
{
    struct pipeline *pipeline = give_up("{\"name\":\"x\",\"legs\":[{\"stages\":[{\"stage\":\"a\",\"on_error\":{\"use\":{\"b\":0}}}]}]}", 1);
    CHECK_INT(claim().attempt, 0);
    CHECK_INT(live_job(first_live())->counts.completed, 1);
    CHECK_INT(live_job(first_live())->status, JOB_COMPLETED);
    end();
    pipeline_free(pipeline);
}

TEST(with_what_is_to_be_used_instead_the_next_leg_begins_and_may_be_interrupted_as_often)
{
    struct pipeline *pipeline = give_up("{\"name\":\"x\",\"legs\":[{\"stages\":[{\"stage\":\"a\",\"on_error\":{\"use\":{\"b\":0}}}],\"resources\":{\"gpu\":1}},"
                                        "{\"stages\":[\"c\"],\"resources\":{\"gpu\":1}}]}", 2);
    struct claim got;
    CHECK_INT(store_claim(bench.store, &got), STORE_CLAIMED);
    CHECK_INT(got.leg, 1);
    CHECK_INT(got.token.attempt, LIMIT_INTERRUPTS + 1);
    CHECK(bytes_equal(got.value, BYTES("{\"b\":0}")));
    CHECK_INT(store_claim(bench.store, &(struct claim){0}), STORE_NONE);    /* it has the unit */
    sync_all();
    claim_done(&got);
    power_cut();
    struct token token = claim_read();
    CHECK_INT(token.attempt, LIMIT_INTERRUPTS + 2);
    finish(token, VERDICT_DONE);
    CHECK_INT(live_job(first_live())->counts.completed, 1);
    end();
    pipeline_free(pipeline);
}

TEST(what_was_not_durable_never_happened)
{
    begin();
    job("me", 1, 1);
    sync_all();
    struct token lost = claim();
    CHECK_INT(lost.attempt, 1);
    power_cut();
    sync_all();
    struct live *live = first_live();
    CHECK_INT(live_job(live)->seq, 3);
    CHECK_INT(live_job(live)->counts.pending, 1);
    CHECK_INT(claim_read().attempt, 1);
    end();
}

TEST(caches_and_tail_are_the_fold_of_the_log)
{
    begin();
    struct live *live = job("me", 1200, 700);
    for (int i = 0; i < 600; i++)
        finish(claim(), i % 3 ? VERDICT_DONE : VERDICT_FAIL);
    struct token running = claim();
    pass(2 * SECOND);    /* a flush goes behind all this */
    sync_all();
    finish(running, VERDICT_DONE);
    claim();
    sync_all();
    struct counts before = live_job(live)->counts;
    struct item *items MEM_OWNED = (struct item *)mem_copy(live_job(live)->items, 1200 * sizeof *items);
    power_cut();
    live = first_live();
    CHECK(!memcmp(&before, &live_job(live)->counts, sizeof before));
    for (int i = 0; i < 1200; i++) {
        struct item now = live_job(live)->items[i];
        CHECK_INT(now.old, i == 601);
        now.old = false;
        CHECK(!memcmp(&now, &items[i], sizeof now));
    }
    CHECK_INT(live_job(live)->holding, 1);
    CHECK_INT(live_job(live)->next, 602);
    end();
}

/* ---- readers ---- */

struct reader {
    struct watcher watcher;
    int told;
    struct live *cancels;
    size_t count;
    uint64_t first;
};

static void news(struct watcher *watcher)
{
    struct reader *reader = (struct reader *)watcher;
    reader->told++;
    struct live *live = reader->cancels;
    reader->cancels = NULL;
    if (live)
        store_cancel(bench.store, live, BYTES("client"), BYTES("left"), (struct bytes){0});
}

static void came(void *data, struct row **rows, size_t count, int error)
{
    struct reader *reader = data;
    reader->count = count;
    reader->first = count ? rows[0]->seq : 0;
}

TEST(readers_see_nothing_before_it_is_durable)
{
    begin();
    struct reader reader = {.watcher.news = news};
    struct row *rows[8];
    struct live *live = job("me", 1, 1);
    store_watch(live, &reader.watcher);
    CHECK_INT(store_rows(live, 1, rows, 8), 0);
    memory_sync(bench.log, 2);
    CHECK_INT(reader.told, 1);
    CHECK_INT(store_rows(live, 1, rows, 8), 2);
    row_unref(rows[0]);
    row_unref(rows[1]);
    CHECK_INT(store_rows(live, 3, rows, 8), 0);
    memory_sync(bench.log, 1);
    CHECK_INT(reader.told, 2);
    store_unwatch(&reader.watcher);
    end();
}

TEST(a_watcher_that_makes_news_itself_leaves_nobody_untold)
{
    begin();
    memory_auto(bench.log, true);
    struct live *live = job("me", 2, 1);
    struct reader readers[3] = {{.watcher.news = news}, {.watcher.news = news}, {.watcher.news = news}};
    for (int i = 0; i < 3; i++)
        store_watch(live, &readers[i].watcher);
    readers[1].cancels = live;
    claim();
    CHECK(live_job(live)->ended);
    for (int i = 0; i < 3; i++) {
        CHECK(readers[i].told >= 2);
        store_unwatch(&readers[i].watcher);
    }
    end();
}

TEST(jobs_that_have_ended_leave_nothing_in_the_tail)
{
    begin();
    struct live *stays = live_ref(job("me", 1, 1));
    struct row *row;
    finish(claim(), VERDICT_DONE);
    for (int i = 0; i < 2000; i++) {
        job("me", 1, 1);
        finish(claim(), VERDICT_DONE);
        sync_all();
        pass(2 * SECOND);    /* its caches are flushed */
        sync_all();
        pass(1);
    }
    CHECK_INT(store_numbers(bench.store).jobs_held, 1);
    CHECK(store_numbers(bench.store).tail_marks <= 256);
    CHECK_INT(store_rows(stays, 1, &row, 1), 1);
    row_unref(row);
    live_unref(stays);
    end();
}

TEST_SLOW(rows_that_left_the_tail_are_read_from_the_disk)
{
    begin();
    struct live *live = live_ref(job("me", 200, 1));
    char *text MEM_OWNED = mem_new(60001);
    struct reader reader = {0};
    struct row *row;
    memset(text, '7', 60000);
    for (int i = 0; i < 200; i++)
        store_finish(bench.store, claim(), &(struct outcome){.value = bytes_of(text)}, NULL);
    sync_all();
    CHECK(store_numbers(bench.store).tail_bytes <= LIMIT_TAIL_BYTES);
    CHECK_INT(store_rows(live, 1, &row, 1), STORE_ON_DISK);
    store_read(bench.store, live, 1, came, &reader);
    sync_all();
    CHECK(reader.count > 1 && reader.first == 1);
    CHECK_INT(store_rows(live, live_durable_seq(live), &row, 1), 1);
    row_unref(row);
    struct store_read *given_up = store_read(bench.store, live, 2, came, &reader);
    store_read_drop(given_up);
    sync_all();
    CHECK_INT(reader.first, 1);
    live_unref(live);
    end();
}

static void found(void *data, struct live *live)
{
    *(struct live **)data = live ? live_ref(live) : NULL;
}

TEST(an_ended_job_leaves_memory_and_is_found_again)
{
    begin();
    struct buf before BUF_OWNED, after BUF_OWNED;
    buf_init(&before, 10000);
    buf_init(&after, 10000);
    struct live *live = job("me", 1, 1);
    char *id MEM_OWNED = mem_text(live_job(live)->id);
    finish(claim(), VERDICT_DONE);
    document_job(live_job(live), &before);
    sync_all();
    for (int i = 0; i < 3; i++) {
        pass(2 * SECOND);
        sync_all();
    }
    CHECK_INT(store_numbers(bench.store).jobs_held, 0);
    live = NULL;
    store_find(bench.store, bytes_of(id), found, &live);
    sync_all();
    CHECK(live);
    document_job(live_job(live), &after);
    CHECK_BYTES(buf_bytes(&after), buf_bytes(&before));
    struct reader reader = {0};
    store_read(bench.store, live, 1, came, &reader);
    sync_all();
    CHECK_INT(reader.count, 6);
    live_unref(live);
    pass(SECOND);
    CHECK_INT(store_numbers(bench.store).jobs_held, 0);
    end();
}

struct turn {
    struct store_wait wait;
    int place;                     /* in which it was called, from 1 */
};

static int turns;

static void my_turn(struct store_wait *wait)
{
    ((struct turn *)wait)->place = ++turns;
}

TEST(waits_are_called_once_in_the_order_of_the_log)
{
    begin();
    struct turn one = {0}, two = {0}, gone = {0}, late = {0};
    turns = 0;
    store_unwait(&gone.wait);    /* never set: harmless */
    job("me", 1, 1);
    store_when(bench.store, &two.wait, 3, my_turn);
    store_when(bench.store, &one.wait, 2, my_turn);
    store_when(bench.store, &gone.wait, 3, my_turn);
    store_unwait(&gone.wait);
    memory_sync(bench.log, 1);
    CHECK_INT(turns, 0);
    sync_all();
    CHECK(one.place == 1 && two.place == 2 && !gone.place);
    store_when(bench.store, &late.wait, 3, my_turn);
    CHECK_INT(late.place, 3);    /* durable already: at once */
    claim();
    sync_all();
    CHECK_INT(turns, 3);
    end();
}
