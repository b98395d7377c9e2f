/* The decider over the log in memory: every promise of store.h that a reader or a worker may lean on. */
#include "store/store.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/test.h"
#include "core/document.h"
#include "store/memory.h"

#include <stdlib.h>

#define SECOND 1000000LL
#define ONE_LEG "{\"name\":\"one\",\"legs\":[{\"stages\":[\"a\"],\"backoff_ms\":[1000,8000]}]}"
#define TWO_LEGS "{\"name\":\"two\",\"legs\":[{\"stages\":[\"a\"]},{\"stages\":[\"b\"]}]}"

/* A machine that can be cut off and booted again. */
static struct bench {
    struct memory_disk *disk;
    struct log *log;
    struct store *store;
    struct pipeline *one, *two;
    int64_t now_us, wall_us;
    int due, ended;
} bench;

static int64_t now_us(void *data)
{
    return bench.now_us;
}

static int64_t wall_us(void *data)
{
    return bench.wall_us;
}

static uint64_t chance(void *data)
{
    return UINT64_MAX / 2;
}

static void due(void *data)
{
    bench.due++;
}

static void ended(void *data, struct live *live)
{
    bench.ended++;
}

static void boot(void)
{
    struct store_world world = {.now_us = now_us, .wall_us = wall_us, .random = chance};
    struct problem problem = {0};
    bench.store = store_new(&world);
    bench.log = memory_open(bench.disk, bench.wall_us / SECOND, store_opening(bench.store));
    int answer = store_start(bench.store, bench.log, &problem);
    test_note("%s", problem.text);
    CHECK_INT(answer, 0);
    store_set_client(bench.store, &(struct store_client){.due = due, .ended = ended});
}

static void begin(void)
{
    bench = (struct bench){.now_us = 1000, .wall_us = 1790000000 * SECOND, .disk = memory_disk_new()};
    bench.one = pipeline_parse(BYTES(ONE_LEG), NULL);
    bench.two = pipeline_parse(BYTES(TWO_LEGS), NULL);
    CHECK(bench.one && bench.two);
    boot();
}

static void sync_all(void)
{
    while (memory_sync(bench.log, SIZE_MAX) + memory_pump(bench.log))
        ;
}

static void power_cut(void)
{
    store_forget(bench.store);
    memory_crash(bench.log);
    bench.wall_us += SECOND;
    boot();
}

static void end(void)
{
    store_set_client(bench.store, &(struct store_client){0});
    store_close(bench.store);
    memory_disk_free(bench.disk);
    pipeline_free(bench.one);
    pipeline_free(bench.two);
}

static void pass(int64_t us)
{
    bench.now_us += us;
    bench.wall_us += us;
    store_tick(bench.store);
}

static struct live *create(const char *owner, const struct pipeline *pipeline, uint32_t in_flight, bool ordered)
{
    struct live *live = store_create(bench.store, &(struct store_job){.owner = bytes_of(owner), .pipeline = pipeline, .in_flight = in_flight,
                                                                      .ordered = ordered});
    CHECK(live);
    return live;
}

static void add(struct live *live, size_t count)
{
    struct problem problem = {0};
    struct item_spec *items MEM_OWNED = mem_new(count * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct item_spec){.name = BYTES("a.jpg"), .bytes = 3, .value = BYTES("{\"in\":7}")};
    CHECK_INT(store_add(bench.store, live, items, count, &problem), 0);
}

static struct live *job(const char *owner, size_t count, uint32_t in_flight)
{
    struct live *live = create(owner, bench.one, in_flight, false);
    add(live, count);
    store_seal(bench.store, live);
    return live;
}

/* Claims one and lets go of all but its token; attempt 0 when nothing was due. */
static struct token claim(void)
{
    struct claim got;
    if (store_claim(bench.store, &got) != STORE_CLAIMED)
        return (struct token){0};
    struct token token = got.token;
    claim_done(&got);
    return token;
}

/* The same behind a restart, when what the item was added with must be read first. */
static struct token claim_read(void)
{
    struct token token = claim();
    if (token.attempt)
        return token;
    sync_all();
    return claim();
}

static int finish(struct token token, enum verdict verdict)
{
    struct claim next = {0};
    int answer = store_finish(bench.store, token, &(struct outcome){.verdict = verdict, .value = BYTES("{\"x\":1}"), .error = BYTES("no"),
                                                                     .error_type = BYTES("crash")}, &next);
    if (answer == STORE_STEPPED)
        claim_done(&next);
    return answer;
}

static struct live *first_live(void)
{
    size_t at = 0;
    return store_next_job(bench.store, &at);
}

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
        {"{\"x\":1}", ITEM_DONE}, {"", ITEM_DONE}, {"{\"x\":", ITEM_FAILED}, {"{\"x\":1}}", ITEM_FAILED}, {"NaN", ITEM_FAILED}};
    begin();
    struct live *live = job("me", 7, 1);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        struct token token = claim();
        test_note("%s", said[i].value);
        store_finish(bench.store, token, &(struct outcome){.value = bytes_of(said[i].value), .stats = BYTES("{\"accuracy\":")}, NULL);
        CHECK_INT(live_job(live)->items[i].state, said[i].state);
    }
    char *huge MEM_OWNED = mem_new(LIMIT_BODY_BYTES + 2);
    memset(huge, '1', LIMIT_BODY_BYTES + 1);
    store_finish(bench.store, claim(), &(struct outcome){.value = bytes_of(huge)}, NULL);
    CHECK_INT(live_job(live)->items[5].state, ITEM_FAILED);
    live_ref(live);
    store_finish(bench.store, claim(), &(struct outcome){.value = BYTES("{\"a\":\r\n[1,\n2]}")}, NULL);
    sync_all();
    struct row *rows[64];
    int count = store_rows(live, 1, rows, 64);
    for (int i = 0; i < count; i++) {
        CHECK(!memchr(rows[i]->body, '\n', rows[i]->body_bytes));
        row_unref(rows[i]);
    }
    CHECK(count > 7);
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

TEST(nothing_is_claimed_while_too_many_bytes_wait_for_the_disk_and_their_end_is_told)
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
    CHECK_INT(claim().job, live_job(a)->job);    /* her turn had come before he did */
    CHECK_INT(claim().job, live_job(b)->job);
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

TEST(rows_that_left_the_tail_are_read_from_the_disk)
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
