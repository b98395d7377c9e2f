/* The driver of outward readers over a real store with its log in memory, and a sink that answers when it is told to. */
#include "readers/outward.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/test.h"
#include "os/loop.h"
#include "store/memory.h"

#include <stdlib.h>

#define SECOND 1000000LL

static struct place {
    struct memory_disk *disk;
    struct log *log;
    struct store *store;
    struct pipeline *pipeline;
    struct loop *loop;
    struct cursor_world world;
    struct outward *outward;
    int64_t clock_us;
    /* the other side */
    uint32_t wants;
    int answer;                    /* what row() answers */
    bool at_once;                  /* what comes arrives by itself, in the next turn */
    size_t places;
    int rows, gone, arrivals, under_way_max;
    uint64_t last_seq;             /* of the row that came last */
    struct outward_job *last;      /* whose it was; NULL when it is gone */
    char trail[4000];              /* NUMBER:SEQ of what came, in order */
} here;

struct parcel {
    struct timer timer;
    struct outward_job *job;
    uint64_t seq;
};

static void arrive(struct timer *timer);

static int64_t tick(void *data)
{
    return here.clock_us += 10;
}

static uint64_t chance(void *data)
{
    return 4;
}

static uint32_t wants(void *data, const struct job *job)
{
    return here.wants;
}

static int row_came(void *data, struct outward_job *job, struct live *live, const struct row *row, struct bytes result)
{
    size_t used = strlen(here.trail);
    int under_way = (int)outward_numbers(job->outward).work;
    CHECK(live_job(live)->job == job->number && row->seq > job->arrived && live_durable_seq(live) >= row->seq);
    here.rows++;
    here.last = job;
    here.last_seq = row->seq;
    if (under_way > here.under_way_max)
        here.under_way_max = under_way;
    if (used < sizeof here.trail - 40)
        snprintf(here.trail + used, 40, "%lld:%llu ", (long long)job->number, (unsigned long long)row->seq);
    if (here.at_once) {
        struct parcel *parcel = job->own = MEM_NEW(struct parcel);
        parcel->job = job;
        parcel->seq = row->seq;
        timer_start(here.loop, &parcel->timer, 0, arrive);
    }
    return here.answer;
}

static void job_gone(void *data, struct outward_job *job)
{
    here.gone++;
    if (here.last == job)
        here.last = NULL;
    free(job->own);
}

static struct outward_kind kind = {.name = "test", .face = FACE_JOB, .wants = wants, .row = row_came, .gone = job_gone};

static void open_all(void)
{
    struct store_world world = {.now_us = tick, .wall_us = tick, .random = chance};
    struct problem problem = {0};
    here.store = store_new(&world);
    here.log = memory_open(here.disk, here.clock_us / SECOND + 1000, store_opening(here.store));
    CHECK_INT(store_start(here.store, here.log, &problem), 0);
    memory_auto(here.log, true);
    CHECK_INT(loop_open(&here.loop, &problem), 0);
    here.world = (struct cursor_world){here.loop, here.store, NULL};
    kind.places = here.places;
    here.outward = outward_open(&here.world, &kind, NULL);
}

static void begin(void)
{
    here = (struct place){.disk = memory_disk_new(), .wants = ~0u, .answer = OUTWARD_FULL, .places = 2};
    here.pipeline = pipeline_parse(BYTES("{\"name\":\"p\",\"result_key\":\"r\",\"legs\":[{\"stages\":[\"noop\"]}]}"), NULL);
    open_all();
}

static void close_all(void)
{
    outward_close(here.outward);
    here.outward = NULL;
    store_close(here.store);
    loop_close(here.loop);
}

static void end(void)
{
    close_all();
    pipeline_free(here.pipeline);
    memory_disk_free(here.disk);
}

static void power_cut(void)
{
    memory_full(here.log, true);   /* what is written from here on is lost */
    outward_close(here.outward);
    store_forget(here.store);
    memory_crash(here.log);
    loop_close(here.loop);
    here.clock_us += SECOND;
    here.trail[0] = 0;
    open_all();
}

/* Turns until nothing moves any more. */
static void turn(void)
{
    for (int i = 0; i < 200; i++)
        loop_turn(here.loop, false);
}

static struct live *submit(int count)
{
    static const char *const readers[] = {"test"};
    struct store_job job = {.owner = BYTES("me"), .pipeline = here.pipeline, .in_flight = 1, .ordered = true, .readers = readers,
                            .readers_count = here.wants ? 1 : 0};
    struct live *live = store_create(here.store, &job);
    for (int i = 0; i < count; i++) {
        struct item_spec item = {.name = BYTES("a.jpg"), .value = BYTES("{}")};
        CHECK_INT(store_add(here.store, live, &item, 1, NULL), 0);
    }
    store_seal(here.store, live);
    return live;
}

static void do_all(void)
{
    struct claim claim;
    for (int i = 0; i < 3; i++) {
        while (store_claim(here.store, &claim) == STORE_CLAIMED) {
            store_finish(here.store, claim.token, &(struct outcome){.verdict = VERDICT_DONE, .value = BYTES("1")}, NULL);
            claim_done(&claim);
        }
        memory_pump(here.log);
    }
}

static void each_cursor(void *data, int64_t job, uint64_t seq)
{
    ++*(int *)data;
}

/* Of those that the last opening told. */
static int cursors(void)
{
    int count = 0;
    store_readers(here.store, "test", each_cursor, &count);
    return count;
}

TEST(rows_go_out_in_order_one_behind_the_arrival_of_the_other)
{
    begin();
    struct live *live = submit(1);
    turn();
    CHECK_TEXT(here.trail, "1:1 ");
    do_all();
    turn();
    CHECK_TEXT(here.trail, "1:1 ");
    uint64_t last = live_job(live)->seq;
    for (uint64_t seq = 1; seq < last; seq++) {
        CHECK(here.last && here.last_seq == seq);
        outward_arrived(here.last, seq);
        turn();
    }
    CHECK(here.last_seq == last && here.gone == 0);
    outward_arrived(here.last, last);
    CHECK_INT(here.gone, 1);
    CHECK(!outward_find(here.outward, 1));
    close_all();
    open_all();
    CHECK_INT(cursors(), 0);
    end();
}

TEST(what_has_not_arrived_is_brought_again_behind_a_crash)
{
    begin();
    submit(1);
    turn();
    outward_arrived(here.last, 1);
    turn();
    CHECK(here.last_seq == 2);
    power_cut();                   /* the cursor was not written yet */
    turn();
    CHECK_TEXT(here.trail, "1:1 ");
    outward_arrived(here.last, 1);
    close_all();
    here.trail[0] = 0;
    open_all();
    turn();
    CHECK_TEXT(here.trail, "1:2 ");
    end();
}

TEST(an_ended_job_is_read_back_from_the_disk)
{
    begin();
    struct live *live = submit(3);
    uint64_t last;
    here.answer = OUTWARD_TAKEN;
    do_all();
    last = live_job(live)->seq;
    store_flush(here.store);
    close_all();
    here.trail[0] = 0;
    open_all();
    CHECK_INT(cursors(), 1);
    CHECK_INT(store_numbers(here.store).jobs_held, 0);
    turn();
    CHECK(here.last && here.last_seq == last);
    outward_arrived(here.last, last - 1);
    turn();
    CHECK_INT(here.gone, 1);       /* by closing, before */
    outward_arrived(here.last, last);
    CHECK_INT(here.gone, 2);
    end();
}

TEST(what_is_not_wanted_passes_and_the_end_drops_the_cursor)
{
    begin();
    here.wants = 1u << EVENT_JOB_ENDED;
    submit(5);
    turn();
    CHECK_INT(here.rows, 0);
    CHECK_INT(outward_numbers(here.outward).idle, 1);
    do_all();
    turn();
    CHECK_INT(here.rows, 1);
    outward_later(here.last, 0);
    turn();
    CHECK_INT(here.rows, 2);
    outward_later(here.last, 3600 * SECOND);
    turn();
    CHECK_INT(outward_numbers(here.outward).later, 1);
    outward_now(here.last);
    outward_now(here.last);
    turn();
    CHECK_INT(here.rows, 3);
    outward_later(here.last, 3600 * SECOND);
    power_cut();                   /* the time of the next try is lost */
    turn();
    CHECK_INT(here.rows, 4);
    here.wants = 0;                /* and the next program has another opinion */
    power_cut();
    turn();
    CHECK_INT(here.rows, 4);
    CHECK_INT(outward_numbers(here.outward).line + outward_numbers(here.outward).work, 0);
    close_all();
    open_all();
    CHECK_INT(cursors(), 0);
    end();
}

TEST(a_job_that_is_wanted_but_was_made_without_a_cursor_gets_one)
{
    begin();
    here.wants = 0;
    submit(1);
    turn();
    here.wants = 1u << EVENT_JOB_ENDED;
    close_all();
    open_all();
    CHECK_INT(cursors(), 0);
    turn();
    close_all();
    open_all();
    CHECK_INT(cursors(), 1);
    do_all();
    turn();
    CHECK_INT(here.rows, 1);
    outward_give_up(here.last);
    CHECK(!outward_find(here.outward, 1));
    end();
}

static void arrive(struct timer *timer)
{
    struct parcel *parcel = TIMER_OF(timer, struct parcel, timer);
    parcel->job->own = NULL;
    if (++here.arrivals % 11 == 0)
        outward_later(parcel->job, 0);
    else
        outward_arrived(parcel->job, parcel->seq);
    free(parcel);
}

static void turn_until_gone(int count)
{
    int before = here.gone;
    for (int i = 0; i < 100000 && here.gone < before + count; i++)
        loop_turn(here.loop, false);
    CHECK_INT(here.gone, before + count);
}

TEST_SLOW(thousands_of_jobs_stand_in_line_and_few_are_under_way)
{
    begin();
    here.wants = 1u << EVENT_JOB_ENDED;
    here.places = 3;
    close_all();
    open_all();
    for (int i = 0; i < 2000; i++)
        submit(0);
    CHECK_INT(outward_numbers(here.outward).line, 2000);
    close_all();
    open_all();
    CHECK_INT(cursors(), 2000);
    here.at_once = true;
    turn_until_gone(2000);
    CHECK_INT(here.under_way_max, 3);
    CHECK_INT(here.rows, 2199);      /* every eleventh came twice */
    end();
}

TEST(a_job_that_is_removed_is_gone)
{
    begin();
    struct live *live = submit(1);
    do_all();
    turn();
    CHECK_INT(store_delete(here.store, live, NULL, NULL), 0);
    outward_arrived(here.last, 1);
    turn();
    CHECK_INT(here.gone, 1);
    end();
}

TEST(everything_is_brought_again_when_asked)
{
    begin();
    here.wants = 1u << EVENT_JOB_ENDED;
    struct live *live = live_ref(submit(1));
    do_all();
    turn();
    outward_arrived(here.last, here.last_seq);
    CHECK_INT(here.gone, 1);
    CHECK_INT(outward_again(here.outward, live, 0), 0);
    turn();
    CHECK_INT(here.rows, 2);
    CHECK(here.last->replayed);
    CHECK_INT(outward_again(here.outward, live, 0), 0);     /* while it is under way */
    turn();
    CHECK_INT(here.rows, 3);
    CHECK_INT(outward_numbers(here.outward).work, 1);
    outward_arrived(here.last, here.last_seq);
    here.wants = 0;
    CHECK_INT(outward_again(here.outward, live, 0), 1);
    live_unref(live);
    end();
}
