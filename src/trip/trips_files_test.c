/* Trips whose input is a file, at moments when there is no descriptor left, or when nobody wants the item any more. */
#include "trip/trips_test.h"

#include <sys/mman.h>
#include <sys/resource.h>

static struct rlimit before;

static void no_descriptors(void)
{
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, before.rlim_max}), 0);
}

static void descriptors_again(void)
{
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static int file_with(const char *text)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    return fd;
}

static void far_side(int count, struct bytes request, struct buf *ret)
{
    side_answer(ret, 200, "Content-Type: application/json\r\n", bytes_start(request, BYTES("POST")) ? "{\"id\":\"j1\"}" : "{\"status\":\"ready\",\"rows\":[{\"k\":\"a\"}]}");
}

TEST(an_input_that_cannot_be_had_is_not_taken_for_none)
{
    bench_open("\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\"length\"}}],\"attempts\":9", far_side);
    begin_with(0, "", file_with("[1,2,3]"));
    no_descriptors();
    until(&bench.outcomes, 1);
    descriptors_again();
    test_note("%s%s", bench.value, bench.error);
    CHECK_INT(bench.verdict, VERDICT_RETRY);
    begin_with(1, "", file_with("[1,2,3]"));
    until(&bench.outcomes, 2);
    CHECK_INT(bench.verdict, VERDICT_DONE);
    CHECK_TEXT(bench.value, "3");
    bench_close();
}

/* The last descriptor goes when the rows are asked for: what follows is the join to the inputs. */
static void think_and_close_the_door(struct crew *crew, const struct task *task)
{
    if (memmem(task->stages.at, task->stages.count, ".rows", 5) && !memmem(task->stages.at, task->stages.count, "row_key", 7))
        no_descriptors();
    think(crew, task);
}

#define REMOTE "\"stages\":[{\"stage\":\"remote_job\",\"with\":{\"base\":\"http://127.0.0.1:%d\",\"start\":{\"url\":\"\\\"/start\\\"\"}," \
               "\"poll\":{\"url\":\"\\\"/poll\\\"\",\"every_us\":[1000,1000]},\"fetch\":{\"inline\":\".rows\"},\"join\":{\"row_key\":\".k\",\"input_key\":\".\"}}}]," \
               "\"attempts\":9"

TEST_SLOW(rows_are_joined_to_all_inputs_or_to_none)
{
    static const struct crew_ops ops = {.slots_free = thinker_free, .start = think_and_close_the_door, .stop = thinker_stop};
    bench_open(REMOTE, far_side);
    begin_with(0, "", file_with("[\"a\",\"b\"]"));
    until(&bench.outcomes, 1);
    CHECK_INT(bench.verdict, VERDICT_DONE);
    CHECK(strstr(bench.value, "\"input\":\"b\""));
    bench.thinker.crew.ops = &ops;
    begin_with(1, "", file_with("[\"a\",\"b\"]"));
    until(&bench.outcomes, 2);
    descriptors_again();
    test_note("%s%s", bench.value, bench.error);
    CHECK_INT(bench.verdict, VERDICT_RETRY);
    CHECK(strstr(bench.error, "its input cannot be read again"));
    bench_close();
}

/* The first question is answered with a long value, at a moment without descriptors. */
static struct { struct timer timer; struct token token; bool told; } large;

static void tell_large(struct timer *timer)
{
    char text[160], hex[SHA_HEX_SIZE];
    struct sha sha;
    CHECK_INT(blob_put(bench.blobs, BYTES("[1,2,3,4]"), &sha), 0);
    sha_hex(&sha, hex);
    snprintf(text, sizeof text, "{\"blob\":\"%s\",\"bytes\":9,\"type\":\"application/json\"}", hex);
    no_descriptors();
    bench.thinker.crew.client.outcome(bench.thinker.crew.client.data, large.token, &(struct outcome){.value = bytes_of(text), .blob = &sha}, false);
    large.told = true;
}

static void think_at_length(struct crew *crew, const struct task *task)
{
    if (large.told) {
        think(crew, task);
        return;
    }
    large.token = task->token;
    timer_start(bench.loop, &large.timer, 0, tell_large);
}

TEST_SLOW(what_a_stage_has_made_waits_for_a_descriptor)
{
    static const struct crew_ops ops = {.slots_free = thinker_free, .start = think_at_length, .stop = thinker_stop};
    bench_open("\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".\"}},{\"stage\":\"jq\",\"with\":{\"program\":\"length\"}}]", far_side);
    for (int again = 0; again < 2; again++) {
        large.told = false;
        bench.thinker.crew.ops = &ops;
        begin(again, "1");
        while (!large.told)
            loop_turn(bench.loop, true);
        CHECK_INT(bench.outcomes, 0);
        CHECK(!bench.crew->ops->rests(bench.crew, (struct token){.job = 7, .item = again, .attempt = 1, .holder = 1}));
        descriptors_again();
        if (!again)      /* its blob is not left behind */
            bench.crew->ops->stop(bench.crew, (struct token){.job = 7, .item = again, .attempt = 1, .holder = 1}, true);
    }
    until(&bench.outcomes, 1);
    test_note("%s", bench.error);
    CHECK_INT(bench.verdict, VERDICT_DONE);
    CHECK_TEXT(bench.value, "4");
    struct sha sha = sha_of(BYTES("[1,2,3,4]"));
    CHECK_INT(blob_remove(bench.blobs, &sha), 0);
    bench_close();
}

static int hold_up(void *data)
{
    char byte;
    ssize_t got;
    do
        got = read(*(int *)data, &byte, 1);
    while (got < 0);
    return 0;
}

static void held_up(void *data, int result)
{
}

TEST(records_may_be_stopped_while_their_file_is_looked_through)
{
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    bench_open("\"each\":\"record\",\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".\"}}]", far_side);
    for (int i = 0; i < LOOP_POOL_THREADS; i++)
        loop_pool(bench.loop, hold_up, held_up, &ends[0]);
    begin_with(0, "", file_with("[1,2,3]"));
    for (int i = 0; i < 5; i++)
        loop_turn(bench.loop, false);
    bench.crew->ops->stop(bench.crew, (struct token){.job = 7, .item = 0, .attempt = 1, .holder = 1}, true);
    CHECK_INT(write(ends[1], "1234", LOOP_POOL_THREADS), LOOP_POOL_THREADS);
    begin_with(1, "", file_with("[1,2,3]"));
    until(&bench.outcomes, 1);
    CHECK_TEXT(bench.value, "[1,2,3]");
    CHECK_INT(bench.records, 3);
    bench_close();
    close(ends[0]);
    close(ends[1]);
}

/* Of its two questions one is what the stage makes, the other puts that into the input; then no descriptor is left, and it may be that nobody answers. */
static struct { struct timer timer; struct token token; bool dies; } put;

static void tell_of_its_end(struct timer *timer)
{
    bench.thinker.crew.client.outcome(bench.thinker.crew.client.data, put.token, &(struct outcome){.verdict = VERDICT_RETRY, .error = BYTES("The worker died.")}, false);
}

static void think_and_put(struct crew *crew, const struct task *task)
{
    bool puts = memmem(task->stages.at, task->stages.count, "if type", 7);
    if (!puts)
        no_descriptors();
    if (!puts || !put.dies) {
        think(crew, task);
        return;
    }
    put.token = task->token;
    close(task->input_fd);
    timer_start(bench.loop, &put.timer, 0, tell_of_its_end);
}

TEST_SLOW(what_a_stage_has_made_is_put_into_a_long_input_without_another_descriptor)
{
    static const struct crew_ops ops = {.slots_free = thinker_free, .start = think_and_put, .stop = thinker_stop};
    bench_open("\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".q + 1\",\"into\":\"sum\"}}],\"attempts\":9", far_side);
    bench.thinker.crew.ops = &ops;
    for (int i = 0; i < 2; i++) {
        put.dies = i == 1;
        begin_with(i, "", file_with("{\"q\":4}"));
        until(&bench.outcomes, i + 1);
        descriptors_again();
        test_note("%s%s", bench.value, bench.error);
        if (put.dies) {
            CHECK_INT(bench.verdict, VERDICT_RETRY);
            CHECK_TEXT(bench.error, "The worker died.");
        } else {
            CHECK_TEXT(bench.value, "{\"q\":4,\"sum\":5}");
        }
    }
    bench_close();
}
