/* Feeds over a real store with its log in memory: resuming at every place, gaps, skipped items, rows from the disk. */
#include "readers/feed.h"

#include "base/test.h"
#include "store/memory.h"

#include <stdlib.h>

static int64_t clock_us;

static int64_t tick(void *data)
{
    return clock_us += 1000;
}

static uint64_t chance(void *data)
{
    return 4;
}

static void name_job(void *data, char ret[33])
{
    memcpy(ret, "0123456789abcdef0123456789abcdef", 33);
}

struct place {
    struct memory_disk *disk;
    struct log *log;
    struct store *store;
    struct pipeline *pipeline;
    struct cursor_world world;
    struct live *live;
    int news;
};

static struct place here;

static void open_store(void)
{
    struct store_world world = {.now_us = tick, .wall_us = tick, .random = chance, .id = name_job};
    struct problem problem = {0};
    here.store = store_new(&world);
    here.log = memory_open(here.disk, 1000, store_opening(here.store));
    CHECK_INT(store_start(here.store, here.log, &problem), 0);
    memory_auto(here.log, true);
    here.world = (struct cursor_world){NULL, here.store, NULL};
}

static void begin(void)
{
    clock_us = 0;
    here = (struct place){.disk = memory_disk_new()};
    here.pipeline = pipeline_parse(BYTES("{\"name\":\"p\",\"result_key\":\"r\",\"legs\":[{\"stages\":[\"noop\"]}]}"), NULL);
    CHECK(here.pipeline);
    open_store();
}

static void end(void)
{
    live_unref(here.live);
    store_close(here.store);
    pipeline_free(here.pipeline);
    memory_disk_free(here.disk);
}

static void submit(int count)
{
    struct store_job job = {.owner = BYTES("me"), .pipeline = here.pipeline, .in_flight = 1, .ordered = true};
    here.live = live_ref(store_create(here.store, &job));
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.jpg", i);
        struct item_spec item = {.name = bytes_of(name), .value = BYTES("{}")};
        CHECK_INT(store_add(here.store, here.live, &item, 1, NULL), 0);
    }
    store_seal(here.store, here.live);
}

static void do_one(enum verdict verdict)
{
    struct claim claim;
    bool later = store_claim(here.store, &claim) != STORE_CLAIMED;    /* after a restart the item is asked of the log first */
    if (later) {
        memory_pump(here.log);
        CHECK_INT(store_claim(here.store, &claim), STORE_CLAIMED);
    }
    struct outcome outcome = {.verdict = verdict, .value = BYTES("{\"n\":1}"), .stats = BYTES("{\"accuracy\":80}"),
                              .error = BYTES("no"), .error_type = BYTES("processing")};
    CHECK_INT(store_finish(here.store, claim.token, &outcome, NULL), STORE_ACCEPTED);
    claim_done(&claim);
}

static void on_news(struct feed *feed)
{
    here.news++;
}

/* All frames there are, in one piece. */
static void drink(struct feed *feed, struct buf *ret, int want)
{
    int answer;
    while ((answer = feed_fill(feed, ret)) == FEED_MORE)
        ;
    CHECK_INT(answer, want);
    CHECK(buf_ok(ret));
}

static struct bytes behind_id(struct bytes all, uint64_t seq)
{
    char id[64];
    snprintf(id, sizeof id, "\nid: %lld-%llu\n\n", (long long)store_epoch(here.store), (unsigned long long)seq);
    char *found = memmem(all.at, all.count, id, strlen(id));
    if (!found)
        return all;
    size_t skip = (size_t)(found - all.at) + strlen(id);
    return (struct bytes){all.at + skip, all.count - skip};
}

static void resume_everywhere(enum face face)
{
    struct feed feed;
    struct buf all, part;
    buf_init(&all, 1 << 20);
    buf_init(&part, 1 << 20);
    feed_open(&feed, &here.world, here.live, face, on_news);
    drink(&feed, &all, FEED_END);
    CHECK(cursor_over(&feed.cursor));
    feed_close(&feed);
    uint64_t last = live_job(here.live)->seq;
    for (uint64_t seq = 1; seq <= last; seq++) {
        struct bytes want = behind_id(buf_bytes(&all), seq);
        if (want.at == all.at)
            continue;    /* this face shows no such id */
        feed_open(&feed, &here.world, here.live, face, on_news);
        cursor_resume(&feed.cursor, store_epoch(here.store), seq);
        CHECK_INT(cursor_settle(&feed.cursor), 0);
        CHECK_INT(cursor_over(&feed.cursor), seq == last);
        buf_clear(&part);
        drink(&feed, &part, FEED_END);
        CHECK_BYTES(buf_bytes(&part), want);
        feed_close(&feed);
    }
    buf_done(&all);
    buf_done(&part);
}

TEST(a_reader_that_resumes_anywhere_has_the_same_bytes)
{
    begin();
    submit(3);
    do_one(VERDICT_DONE);
    do_one(VERDICT_FAIL);
    do_one(VERDICT_DONE);
    CHECK(live_job(here.live)->ended);
    resume_everywhere(FACE_SEED);
    resume_everywhere(FACE_JOB);
    resume_everywhere(FACE_STAGED);
    end();
}

TEST(a_feed_waits_at_the_tip_and_hears_of_news)
{
    struct feed feed;
    struct buf buf;
    begin();
    buf_init(&buf, 1 << 20);
    submit(2);
    feed_open(&feed, &here.world, here.live, FACE_SEED, on_news);
    drink(&feed, &buf, FEED_WAIT);
    CHECK_INT((long long)buf.count, 0);
    here.news = 0;
    do_one(VERDICT_DONE);
    CHECK(here.news > 0);
    drink(&feed, &buf, FEED_WAIT);
    CHECK(memmem(buf.at, buf.count, "event: result", 13));
    CHECK(!memmem(buf.at, buf.count, "event: complete", 15));
    do_one(VERDICT_DONE);
    drink(&feed, &buf, FEED_END);
    CHECK(memmem(buf.at, buf.count, "\"average_accuracy\":80", 21));
    feed_close(&feed);
    buf_done(&buf);
    end();
}

TEST(what_is_not_durable_is_not_shown)
{
    struct feed feed;
    struct buf buf;
    begin();
    buf_init(&buf, 1 << 20);
    submit(1);
    memory_auto(here.log, false);
    do_one(VERDICT_DONE);
    feed_open(&feed, &here.world, here.live, FACE_SEED, on_news);
    drink(&feed, &buf, FEED_WAIT);
    CHECK_INT((long long)buf.count, 0);
    CHECK(!cursor_over(&feed.cursor));
    memory_sync(here.log, 1);
    drink(&feed, &buf, FEED_WAIT);
    CHECK(memmem(buf.at, buf.count, "processing", 10));
    CHECK(!memmem(buf.at, buf.count, "event: result", 13));
    memory_auto(here.log, true);
    drink(&feed, &buf, FEED_END);
    feed_close(&feed);
    buf_done(&buf);
    end();
}

TEST(an_id_of_another_epoch_or_beyond_the_log_is_a_gap_and_then_everything)
{
    struct feed feed;
    struct buf all, again;
    static const struct {
        int64_t epoch;
        uint64_t seq;
    } wrong[] = {{999, 6}, {1000, 99}, {1001, 5}};
    begin();
    buf_init(&all, 1 << 20);
    buf_init(&again, 1 << 20);
    submit(1);
    do_one(VERDICT_DONE);
    buf_text(&all, "event: gap\ndata: {\"reason\":\"restored\"}\n\n");
    feed_open(&feed, &here.world, here.live, FACE_SEED, on_news);
    drink(&feed, &all, FEED_END);
    feed_close(&feed);
    for (int i = 0; i < 3; i++) {
        feed_open(&feed, &here.world, here.live, FACE_SEED, on_news);
        cursor_resume(&feed.cursor, wrong[i].epoch, wrong[i].seq);
        buf_clear(&again);
        drink(&feed, &again, FEED_END);
        CHECK_BYTES(buf_bytes(&again), buf_bytes(&all));
        feed_close(&feed);
    }
    buf_done(&all);
    buf_done(&again);
    end();
}

TEST(skipped_items_are_errors_with_their_names_and_the_last_has_the_id)
{
    struct feed feed;
    struct buf buf;
    begin();
    buf_init(&buf, 1 << 20);
    submit(4);
    do_one(VERDICT_DONE);
    CHECK_INT(store_cancel(here.store, here.live, BYTES("me"), BYTES("cancelled"), (struct bytes){0}), 0);
    resume_everywhere(FACE_SEED);
    feed_open(&feed, &here.world, here.live, FACE_SEED, on_news);
    drink(&feed, &buf, FEED_END);
    static const char want[] = "event: error\ndata: {\"index\":2,\"filename\":\"2.jpg\",\"error\":\"cancelled\",\"error_type\":\"processing\"}\n\n"
                               "event: error\ndata: {\"index\":3,\"filename\":\"3.jpg\",\"error\":\"cancelled\",\"error_type\":\"processing\"}\nid: ";
    CHECK(memmem(buf.at, buf.count, want, sizeof want - 1));
    CHECK(memmem(buf.at, buf.count, "\"successful\":1,\"failed\":3", 25));
    feed_close(&feed);
    buf_done(&buf);
    end();
}

TEST(the_log_is_the_same_to_readers_after_a_restart)
{
    struct feed feed;
    struct buf before, after;
    begin();
    buf_init(&before, 1 << 20);
    buf_init(&after, 1 << 20);
    submit(3);
    do_one(VERDICT_DONE);
    feed_open(&feed, &here.world, here.live, FACE_SEED, on_news);
    drink(&feed, &before, FEED_WAIT);
    uint64_t seq = feed.shown;
    int64_t epoch = store_epoch(here.store);
    feed_close(&feed);
    live_unref(here.live);
    store_close(here.store);
    open_store();
    memory_auto(here.log, false);
    CHECK(store_epoch(here.store) > epoch);
    here.live = store_get(here.store, BYTES("0123456789abcdef0123456789abcdef"));
    CHECK(here.live);
    live_ref(here.live);
    feed_open(&feed, &here.world, here.live, FACE_SEED, on_news);
    drink(&feed, &after, FEED_WAIT);
    memory_pump(here.log);
    drink(&feed, &after, FEED_WAIT);
    CHECK_BYTES(buf_bytes(&after), buf_bytes(&before));
    do_one(VERDICT_DONE);
    do_one(VERDICT_DONE);
    memory_auto(here.log, true);
    drink(&feed, &after, FEED_END);
    feed_close(&feed);
    /* An id from before the restart still stands. */
    feed_open(&feed, &here.world, here.live, FACE_SEED, on_news);
    cursor_resume(&feed.cursor, epoch, seq);
    struct bytes want = {after.at + before.count, after.count - before.count};
    struct buf rest;
    buf_init(&rest, 1 << 20);
    drink(&feed, &rest, FEED_END);
    CHECK_BYTES(buf_bytes(&rest), want);
    feed_close(&feed);
    buf_done(&rest);
    buf_done(&before);
    buf_done(&after);
    end();
}

static void found(void *data, struct live *live)
{
    here.live = live ? live_ref(live) : NULL;
}

TEST(an_ended_job_is_read_from_the_disk_and_a_feed_may_leave_before_the_answer)
{
    struct feed feed;
    struct buf buf;
    begin();
    buf_init(&buf, 1 << 20);
    submit(1);
    do_one(VERDICT_DONE);
    live_unref(here.live);
    store_close(here.store);
    open_store();
    memory_auto(here.log, false);
    store_find(here.store, BYTES("0123456789abcdef0123456789abcdef"), found, NULL);
    memory_pump(here.log);
    CHECK(here.live);
    feed_open(&feed, &here.world, here.live, FACE_SEED, on_news);
    drink(&feed, &buf, FEED_WAIT);
    CHECK(feed.cursor.read);
    feed_close(&feed);
    memory_pump(here.log);
    feed_open(&feed, &here.world, here.live, FACE_SEED, on_news);
    drink(&feed, &buf, FEED_WAIT);
    here.news = 0;
    memory_pump(here.log);
    CHECK_INT(here.news, 1);
    drink(&feed, &buf, FEED_END);
    CHECK(memmem(buf.at, buf.count, "event: complete", 15));
    feed_close(&feed);
    buf_done(&buf);
    end();
}
