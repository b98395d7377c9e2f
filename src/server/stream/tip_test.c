/* Tips over a real store with its log in memory: whatever sockets take and whenever, everybody gets the bytes that a feed gives, once and
 * in order. */
#include "server/stream/tip.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/test.h"
#include "http/http_inside.h"
#include "store/memory.h"

#include <stdlib.h>

enum { READERS = 12, ROUNDS = 400 };

/* A stream without its socket: what stream.c does with tips, and a switch that says whether it can write. */
struct reader {
    struct tip_member member;
    struct feed *feed;                /* owned; NULL at the tip and while it is full */
    bool full, over;
    int feeds;                        /* how often it had to go back to the log */
    struct buf got;
};

static struct {
    int64_t clock_us;
    struct memory_disk *disk;
    struct log *log;
    struct store *store;
    struct loop *loop;
    struct pipeline *pipeline;
    struct cursor_world world;
    struct live *live;
    struct tips tips;
    struct reader readers[READERS];
    char result[40 * 1024];
} here;

static int64_t tick(void *data)
{
    return here.clock_us += 1000;
}

static uint64_t chance(void *data)
{
    return 4;
}

static void no_news(struct feed *feed)
{
}

static void put_block(struct buf *buf, const struct http_block *block)
{
    buf_add(buf, block->at + block->head, block->count - block->head - 2);
}

static bool give(struct tip_member *member, struct http_block *block, int frames, int64_t now_us)
{
    struct reader *reader = (struct reader *)member;
    CHECK(frames > 0 && frames <= LIMIT_STREAM_WRITE_FRAMES);
    if (!reader->full)
        put_block(&reader->got, block);
    return !reader->full;
}

static void over(struct tip_member *member)
{
    ((struct reader *)member)->over = true;
}

static void off(struct tip_member *member)
{
    CHECK(!member->tip);
}

static const struct tip_client client = {give, over, off};

static void drop_feed(struct reader *reader)
{
    if (reader->feed)
        feed_close(reader->feed);
    free(reader->feed);
    reader->feed = NULL;
}

static void read_log(struct reader *reader)
{
    if (!reader->feed) {
        reader->feed = MEM_NEW(struct feed);
        feed_open(reader->feed, &here.world, here.live, FACE_SEED, no_news);
        cursor_after(&reader->feed->cursor, reader->member.place);
        reader->feeds++;
    }
    int answer;
    while ((answer = feed_fill(reader->feed, &reader->got)) == FEED_MORE)
        ;
    reader->over = answer == FEED_END;
    if (answer != FEED_WAIT || !feed_between(reader->feed))
        return;
    reader->member.place = reader->feed->cursor.next - 1;
    if (tip_join(&here.tips, here.live, FACE_SEED, reader->member.place, &reader->member))
        drop_feed(reader);
}

static void pump(struct reader *reader)
{
    struct http_block *blocks[LIMIT_STREAM_WRITE_FRAMES];
    int count = -1;
    if (reader->full || reader->over)
        return;
    while (reader->member.tip && (count = tip_missed(&reader->member, blocks)) > 0) {
        int begun = 1 + (int)(here.clock_us / 1000 % count);    /* sockets take any number of them */
        for (int i = 0; i < begun; i++)
            put_block(&reader->got, blocks[i]);
        CHECK(tip_took(&reader->member, begun) >= (uint64_t)begun);
        here.clock_us += 1000;
    }
    if (tip_has_all(&reader->member) && tip_is_over(&reader->member))
        reader->over = true;
    if (!reader->member.tip || count < 0) {
        tip_leave(&reader->member);
        read_log(reader);
    }
}

static void name_job(void *data, char ret[33])
{
    memcpy(ret, "0123456789abcdef0123456789abcdef", 33);
}

static void begin(int items)
{
    struct store_world world = {.now_us = tick, .wall_us = tick, .random = chance, .id = name_job};
    memset(&here, 0, sizeof here);
    here.disk = memory_disk_new();
    here.pipeline = pipeline_parse(BYTES("{\"name\":\"p\",\"result_key\":\"r\",\"legs\":[{\"stages\":[\"noop\"]}]}"), NULL);
    CHECK_INT(loop_open(&here.loop, NULL), 0);
    here.store = store_new(&world);
    here.log = memory_open(here.disk, 1000, store_opening(here.store));
    CHECK_INT(store_start(here.store, here.log, NULL), 0);
    memory_auto(here.log, true);
    here.world = (struct cursor_world){here.loop, here.store, NULL};
    tips_init(&here.tips, &here.world, &client);
    struct store_job job = {.owner = BYTES("me"), .pipeline = here.pipeline, .in_flight = 1};
    here.live = live_ref(store_create(here.store, &job));
    for (int i = 0; i < items; i++) {
        struct item_spec item = {.name = BYTES("a.jpg"), .value = BYTES("{}")};
        CHECK_INT(store_add(here.store, here.live, &item, 1, NULL), 0);
    }
    store_seal(here.store, here.live);
    for (int i = 0; i < READERS; i++) {
        buf_init(&here.readers[i].got, 64 << 20);
        pump(&here.readers[i]);
    }
}

static void do_one(size_t bytes)
{
    struct claim claim;
    CHECK_INT(store_claim(here.store, &claim), STORE_CLAIMED);
    memset(here.result, 'x', bytes);
    here.result[0] = here.result[bytes - 1] = '"';
    struct outcome outcome = {.verdict = VERDICT_DONE, .value = {here.result, bytes}};
    CHECK_INT(store_finish(here.store, claim.token, &outcome, NULL), STORE_ACCEPTED);
    claim_done(&claim);
    loop_turn(here.loop, false);
}

static void drain(void)
{
    for (int i = 0; i < READERS; i++)
        here.readers[i].full = false;
    for (int round = 0; round < 3000 && !here.readers[0].over; round++)
        loop_turn(here.loop, false);
    for (int round = 0; round < 100; round++)
        for (int i = 0; i < READERS; i++)
            pump(&here.readers[i]);
}

/* Everybody has what a feed from the beginning gives, and the tip and all that it kept are gone. */
static void end(void)
{
    struct feed feed;
    struct buf all;
    buf_init(&all, 64 << 20);
    feed_open(&feed, &here.world, here.live, FACE_SEED, no_news);
    while (feed_fill(&feed, &all) == FEED_MORE)
        ;
    feed_close(&feed);
    for (int i = 0; i < READERS; i++) {
        struct reader *reader = &here.readers[i];
        CHECK(reader->over);
        CHECK(bytes_equal(buf_bytes(&reader->got), buf_bytes(&all)));
        tip_leave(&reader->member);
        drop_feed(reader);
        buf_done(&reader->got);
    }
    buf_done(&all);
    tips_done(&here.tips);
    live_unref(here.live);
    store_close(here.store);
    loop_close(here.loop);
    pipeline_free(here.pipeline);
    memory_disk_free(here.disk);
}

TEST(all_who_wait_at_a_tip_get_what_a_feed_gives)
{
    begin(50);
    for (int i = 0; i < 50; i++)
        do_one(100);
    for (int i = 0; i < READERS; i++)
        CHECK_INT(here.readers[i].feeds, 1);
    CHECK_INT((long long)here.tips.kept_bytes, 0);    /* nobody is behind, so nothing is kept */
    drain();
    end();
}

TEST_SLOW(whoever_was_full_reads_what_was_kept_for_him_and_the_log_when_that_is_gone)
{
    begin(120);
    here.readers[1].full = here.readers[2].full = true;
    for (int i = 0; i < 20; i++)
        do_one(20000);
    CHECK(here.tips.kept_bytes > 400000);
    here.readers[1].full = false;
    pump(&here.readers[1]);
    CHECK_INT(here.readers[1].feeds, 1);
    CHECK(tip_has_all(&here.readers[1].member));
    for (int i = 20; i < 120; i++) {
        do_one(40000);
        CHECK(here.tips.kept_bytes <= LIMIT_TIP_BYTES);
    }
    CHECK(!here.readers[2].over && here.readers[0].over);
    here.readers[2].full = false;
    pump(&here.readers[2]);
    CHECK_INT(here.readers[2].feeds, 2);
    drain();
    end();
}

TEST_SLOW(readers_that_are_full_and_leave_at_any_time_lose_nothing)
{
    struct rng rng = {7};
    begin(ROUNDS);
    for (int i = 0; i < ROUNDS; i++) {
        memory_auto(here.log, rng_next(&rng) % 4 == 0);    /* else several events become durable at once */
        do_one(rng_next(&rng) % 10 ? 300 : 40000);
        if (rng_next(&rng) % 8 == 0)
            memory_sync(here.log, rng_next(&rng) % 5 + 1);
        struct reader *reader = &here.readers[rng_next(&rng) % READERS];
        reader->full = rng_next(&rng) % 2;
        if (rng_next(&rng) % 5 == 0 && !reader->full)
            tip_leave(&reader->member);
        pump(reader);
        loop_turn(here.loop, false);
    }
    memory_auto(here.log, true);
    drain();
    end();
}

TEST(a_row_of_many_frames_sends_everybody_to_the_log)
{
    begin(300);
    do_one(100);
    here.readers[3].full = true;
    do_one(100);
    CHECK_INT(store_cancel(here.store, here.live, BYTES("me"), BYTES("cancelled"), (struct bytes){0}), 0);
    loop_turn(here.loop, false);
    drain();
    end();
}
