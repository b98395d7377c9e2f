/* Errands with a crew for each room, moved by hand: who gets which task, what is in it, and what holds up a drain. */
#include "store/store_test.h"

#include "base/json.h"
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define TRIPS "{\"name\":\"trips\",\"vars\":{\"a\":[1]},\"legs\":[{\"stages\":[\"jq\"]},{\"stages\":[{\"stage\":\"remote_job\"}]},{\"stages\":[{\"stage\":\"exec\"}]}]}"

enum { TASKS = 8 };

struct hand {
    struct crew crew;
    size_t slots, busy, stopped, stopped_for_good;
    struct token tasks[TASKS];
    char variables[1024], value[64], remote[64], key[64];
    bool had_file;
};

static struct {
    struct hand hands[ROOM_COUNT];
    struct pipeline *trips;
    struct engine *engine;
    bool idle;
    int opened, unpinned, open_error;
} here;

static size_t slots_free(struct crew *crew)
{
    struct hand *hand = (struct hand *)crew;
    return hand->slots - hand->busy;
}

static void keep(char ret[], size_t room, struct bytes text)
{
    CHECK(text.count < room);
    memset(ret, 0, room);
    if (text.count)
        memcpy(ret, text.at, text.count);
}

static void start(struct crew *crew, const struct task *task)
{
    struct hand *hand = (struct hand *)crew;
    hand->tasks[hand->busy++] = task->token;
    keep(hand->variables, sizeof hand->variables, task->variables);
    keep(hand->value, sizeof hand->value, task->value);
    keep(hand->remote, sizeof hand->remote, task->remote);
    keep(hand->key, sizeof hand->key, task->key);
    hand->had_file = task->input_fd >= 0;
    if (task->input_fd >= 0)
        close(task->input_fd);
}

static void stop(struct crew *crew, struct token token, bool for_good)
{
    struct hand *hand = (struct hand *)crew;
    hand->stopped++;
    hand->stopped_for_good += for_good;
}

static const struct crew_ops ops = {slots_free, start, stop};

static void run_at(void *data, int64_t at_us)
{
}

static int open_blob(void *data, const struct sha *sha)
{
    here.opened++;
    return here.open_error ? here.open_error : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void unpin_blob(void *data, const struct sha *sha)
{
    here.unpinned++;
}

static void now_idle(void *data)
{
    here.idle = true;
}

static void engine_up(void)
{
    struct engine_options options = {.world = {.now_us = now_us, .wall_us = wall_us, .run_at = run_at, .open_blob = open_blob, .unpin_blob = unpin_blob},
                                     .store = bench.store, .crews = {&here.hands[ROOM_WORKER].crew, NULL, &here.hands[ROOM_TRIP].crew}};
    for (int room = 0; room < ROOM_COUNT; room++)
        here.hands[room] = (struct hand){.crew.ops = &ops, .slots = 2};
    here.engine = engine_new(&options);
}

static struct live *begin_with(struct bytes pipeline, size_t count)
{
    bool busy;
    struct problem problem = {0};
    struct item_spec items[TASKS];
    begin();
    memory_auto(bench.log, true);
    memset(&here, 0, sizeof here);
    here.trips = pipeline_parse(pipeline, &problem);
    test_note("%s", problem.text);
    CHECK(here.trips);
    engine_up();
    for (size_t i = 0; i < count; i++)
        items[i] = (struct item_spec){.name = BYTES("a \"b\""), .bytes = 3, .key = BYTES("k7"), .value = BYTES("{\"in\":7}")};
    struct live *live = engine_submit(here.engine, &(struct store_job){.owner = BYTES("ann"), .pipeline = here.trips, .in_flight = 4,
                                      .params = BYTES("{\"p\":1}")}, items, count, &busy, &problem);
    CHECK(live);
    engine_run(here.engine);
    return live;
}

static struct live *begin_trips(size_t count)
{
    return begin_with(BYTES(TRIPS), count);
}

static void end_trips(void)
{
    engine_free(here.engine);
    end();
    pipeline_free(here.trips);
}

static void done(enum room room, struct outcome outcome)
{
    struct hand *hand = &here.hands[room];
    CHECK(hand->busy);
    hand->crew.client.outcome(hand->crew.client.data, hand->tasks[--hand->busy], &outcome, false);
    engine_run(here.engine);
}

static bool waits(struct hand *hand)
{
    bool goes_on = hand->crew.client.waiting(hand->crew.client.data, hand->tasks[0], BYTES("{\"id\":\"r1\"}"), (struct bytes){0});
    engine_run(here.engine);
    return goes_on;
}

TEST(each_leg_goes_to_the_crew_of_its_room_and_its_task_has_the_variables)
{
    struct live *live = begin_trips(1);
    struct hand *worker = &here.hands[ROOM_WORKER], *trip = &here.hands[ROOM_TRIP];
    CHECK_INT(worker->busy, 1);
    CHECK_TEXT(worker->key, "k7");
    CHECK_TEXT(worker->value, "{\"in\":7}");
    struct json_object *tree JSON_OWNED = json_parse(bytes_of(worker->variables), NULL);
    CHECK(tree);
    CHECK_INT(json_get_int(json_get(tree, "params"), "p", 0), 1);
    CHECK(json_get(json_get(tree, "vars"), "a"));
    CHECK(bytes_equal(json_get_bytes(json_get(tree, "batch"), "group"), BYTES("k7")));
    CHECK(bytes_equal(json_get_bytes(json_get(tree, "item"), "name"), BYTES("a \"b\"")));
    CHECK(bytes_equal(json_get_bytes(json_get(tree, "job"), "id"), bytes_of(live_job(live)->id)));
    CHECK_INT(json_get_int(tree, "now", 0), bench.wall_us / SECOND);
    done(ROOM_WORKER, (struct outcome){.value = BYTES("[1]")});
    CHECK_INT(worker->busy, 0);
    CHECK_INT(trip->busy, 1);
    CHECK_TEXT(trip->value, "[1]");
    end_trips();
}

TEST(a_leg_whose_room_has_no_crew_fails_its_item_with_a_sentence)
{
    struct live *live = live_ref(begin_trips(1));
    done(ROOM_WORKER, (struct outcome){.value = BYTES("[1]")});
    done(ROOM_TRIP, (struct outcome){.value = BYTES("[1]")});
    engine_run(here.engine);
    CHECK(live_job(live)->ended);
    CHECK_INT(live_job(live)->counts.failed, 1);
    live_unref(live);
    end_trips();
}

TEST(a_large_value_goes_from_leg_to_leg_as_a_file)
{
    char text[160], hex[SHA_HEX_SIZE];
    struct sha sha = sha_of(BYTES("large"));
    begin_trips(1);
    sha_hex(&sha, hex);
    snprintf(text, sizeof text, "{\"blob\":\"%s\",\"bytes\":70000,\"type\":\"application/json\"}", hex);
    done(ROOM_WORKER, (struct outcome){.value = bytes_of(text), .blob = &sha});
    CHECK_INT(here.unpinned, 1);
    CHECK_INT(here.opened, 1);
    CHECK(here.hands[ROOM_TRIP].had_file);
    CHECK_TEXT(here.hands[ROOM_TRIP].value, "");
    end_trips();
}

TEST(an_input_that_cannot_be_opened_now_asks_what_its_stage_says_of_errors)
{
    char text[160], hex[SHA_HEX_SIZE];
    struct sha sha = sha_of(BYTES("large"));
    struct live *live = live_ref(begin_with(BYTES("{\"name\":\"x\",\"legs\":[{\"stages\":[\"noop\"]},{\"stages\":[{\"stage\":\"noop\",\"on_error\":{\"use\":7}}],"
                                                  "\"attempts\":1}]}"), 1));
    sha_hex(&sha, hex);
    snprintf(text, sizeof text, "{\"blob\":\"%s\",\"bytes\":70000,\"type\":\"application/json\"}", hex);
    here.open_error = -EMFILE;
    done(ROOM_WORKER, (struct outcome){.value = bytes_of(text), .blob = &sha});
    CHECK_INT(here.opened, 1);
    CHECK(live_job(live)->ended);
    CHECK_INT(live_job(live)->counts.completed, 1);
    live_unref(live);
    end_trips();
}

TEST(a_drain_waits_for_what_is_at_work_here_and_not_for_a_remote_side)
{
    begin_trips(2);
    struct hand *trip = &here.hands[ROOM_TRIP];
    done(ROOM_WORKER, (struct outcome){.value = BYTES("[1]")});
    CHECK(waits(trip));
    engine_drain(here.engine, now_idle, NULL);
    engine_run(here.engine);
    CHECK(!here.idle);                                      /* the other item's worker */
    done(ROOM_WORKER, (struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("no")});
    CHECK(here.idle);
    engine_free(here.engine);
    CHECK_INT(trip->stopped, 1);
    CHECK_INT(trip->stopped_for_good, 0);
    power_cut();
    memory_auto(bench.log, true);
    engine_up();
    engine_run(here.engine);
    engine_run(here.engine);
    CHECK_INT(trip->busy, 1);
    CHECK_TEXT(trip->remote, "{\"id\":\"r1\"}");
    engine_drain(here.engine, now_idle, NULL);              /* at once: it is the remote side that works */
    CHECK(engine_running(here.engine) == 1);
    end_trips();
}

TEST(the_end_of_a_job_calls_off_what_its_items_have_begun_elsewhere)
{
    struct live *live = begin_trips(1);
    done(ROOM_WORKER, (struct outcome){.value = BYTES("[1]")});
    struct hand *trip = &here.hands[ROOM_TRIP];
    CHECK(waits(trip));
    CHECK_INT(engine_cancel(here.engine, live, BYTES("client"), BYTES("asked")), 0);
    CHECK_INT(trip->stopped_for_good, 1);
    CHECK(!waits(trip));                                    /* fenced */
    CHECK(!trip->crew.client.record(trip->crew.client.data, trip->tasks[0], &(struct record_outcome){.value = BYTES("1")}));
    CHECK_INT(engine_running(here.engine), 0);
    end_trips();
}

static struct outcome crash(void)
{
    return (struct outcome){.verdict = VERDICT_RETRY, .error = BYTES("it died"), .error_type = BYTES("crash"), .unsaid = true};
}

TEST(a_crash_asks_what_the_stage_says_of_errors)
{
    struct live *live = live_ref(begin_with(BYTES("{\"name\":\"x\",\"legs\":[{\"stages\":[\"noop\",{\"stage\":\"jq\",\"on_error\":\"fail_job\"}],\"attempts\":2,"
                                                  "\"backoff_ms\":[0,0]}]}"), 3));
    done(ROOM_WORKER, crash());
    CHECK(!live_job(live)->ended);                          /* a try is left */
    engine_run(here.engine);
    for (int i = 0; i < 3 && !live_job(live)->ended; i++)
        done(ROOM_WORKER, crash());
    CHECK(live_job(live)->ended);
    CHECK_INT(live_job(live)->status, JOB_ERROR);
    CHECK_INT(live_job(live)->counts.failed, 1);
    CHECK_INT(live_job(live)->counts.skipped, 2);
    live_unref(live);
    end_trips();
}

TEST(what_is_to_be_used_instead_takes_the_place_of_a_crash)
{
    struct live *live = live_ref(begin_with(BYTES("{\"name\":\"x\",\"legs\":[{\"stages\":[{\"stage\":\"noop\",\"on_error\":{\"use\":{\"a\":0}}}],"
                                                  "\"attempts\":1}]}"), 1));
    done(ROOM_WORKER, crash());
    CHECK(live_job(live)->ended);
    CHECK_INT(live_job(live)->counts.completed, 1);
    live_unref(live);
    end_trips();
}

TEST(a_drain_leaves_calls_that_take_too_long)
{
    begin_trips(1);
    done(ROOM_WORKER, (struct outcome){.value = BYTES("[1]")});
    CHECK_INT(here.hands[ROOM_TRIP].busy, 1);
    engine_drain(here.engine, now_idle, NULL);
    engine_run(here.engine);
    CHECK(!here.idle);
    engine_leave_calls(here.engine);
    CHECK(here.idle);
    end_trips();
}
