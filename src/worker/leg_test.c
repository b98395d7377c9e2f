#include "worker/leg.h"

#include "base/test.h"
#include "stage/program.h"

#include <sys/mman.h>
#include <unistd.h>

static struct stage_outcome outcome;
static char stage_name[64];

static void open_kinds(struct leg_kinds *kinds)
{
    static const char *const names[] = {"noop", "jq", "split", "gather", "tail", "eval", "rows", "exec"};
    struct stage_outfit outfit = STAGE_OUTFIT_EMPTY;
    *kinds = (struct leg_kinds){0};
    program_open(&outfit, &kinds->shelf, NULL);
    for (; kinds->count < sizeof names / sizeof *names; kinds->count++) {
        kinds->at[kinds->count].kind = stage_kind_find(bytes_of(names[kinds->count]));
        CHECK(!kinds->at[kinds->count].kind->open(&outfit, &kinds->at[kinds->count].state, NULL));
    }
}

static void close_kinds(struct leg_kinds *kinds)
{
    for (size_t i = 0; i < kinds->count; i++)
        if (kinds->at[i].kind->close)
            kinds->at[i].kind->close(kinds->at[i].state);
    program_close(kinds->shelf);
}

static const char *run_on(const char *stages_text, int64_t attempt, struct stage_task task)
{
    struct leg_kinds kinds;
    const char *stage = "";
    open_kinds(&kinds);
    JSON_OWNED struct json_object *stages = json_parse(bytes_of(stages_text), NULL);
    CHECK(stages != NULL);
    stage_outcome_done(&outcome);
    task.variables = BYTES("{\"vars\":{\"v\":1}}");
    leg_run(&kinds, stages, attempt, &task, &outcome, &stage);
    snprintf(stage_name, sizeof stage_name, "%s", stage);
    close_kinds(&kinds);
    return outcome.verdict == STAGE_DONE ? buf_z(&outcome.value) : outcome.error.text;
}

static const char *run(const char *stages, const char *value)
{
    return run_on(stages, 1, (struct stage_task){.input_fd = -1, .value = bytes_of(value)});
}

TEST_SLOW(stages_of_a_leg_hand_their_values_on)
{
    CHECK_TEXT(run("[\"noop\",{\"stage\":\"jq\",\"with\":{\"program\":\".a + $vars.v\"}},{\"stage\":\"jq\",\"with\":{\"program\":\"[., 2]\"}}]", "{\"a\":1}"),
               "[2,2]");
    CHECK_TEXT(run("[{\"stage\":\"tail\",\"with\":{\"stats\":{\"n\":\".a\"},\"score\":\".a\",\"hit\":\"true\"}},\"noop\"]", "{\"a\":1}"), "{\"a\":1}");
    CHECK(outcome.stats_count == 1 && outcome.has_score && outcome.score == 1 && outcome.hit);
    CHECK_TEXT(run("[\"other\"]", "1"), "This worker has no stage \"other\".");
    CHECK_TEXT(run("[]", "1"), "The task names no stage.");
    CHECK_TEXT(run("[{\"stage\":\"jq\",\"name\":\"fit\",\"with\":{\"program\":\"null\"}}]", "1"), "The stage gave null, and null is no result.");
    CHECK_TEXT(stage_name, "fit");
    CHECK_TEXT(run("[{\"stage\":\"jq\",\"with\":{\"program\":\"null\"}},{\"stage\":\"jq\",\"with\":{\"program\":\"[.]\"}}]", "1"), "[null]");
}

TEST_SLOW(when_leaves_a_stage_out)
{
    CHECK_TEXT(run("[{\"stage\":\"jq\",\"when\":\".a\",\"with\":{\"program\":\"7\"}}]", "{\"a\":1}"), "7");
    CHECK_TEXT(run("[{\"stage\":\"jq\",\"when\":\".a\",\"with\":{\"program\":\"7\"}}]", "{\"b\":1}"), "{\"b\":1}");
    CHECK_TEXT(run("[{\"stage\":\"jq\",\"when\":\".a\",\"else\":\"{c: .b}\",\"with\":{\"program\":\"7\"}}]", "{\"b\":1}"), "{\"c\":1}");
    CHECK_TEXT(run("[{\"stage\":\"jq\",\"when\":\"error(\\\"x\\\")\"}]", "{\"b\":1}"), "The program failed: x.");
}

TEST_SLOW(when_sees_a_file_that_is_json)
{
    const char *stages = "[{\"stage\":\"noop\",\"when\":\".a == 1\"}]";
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, "{\"a\":2}", 7) == 7);
    CHECK_TEXT(run_on(stages, 1, (struct stage_task){.input_fd = fd}), "{\"a\":2}");
    CHECK(write(fd, "\xff", 1) == 1);
    CHECK(strstr(run_on(stages, 1, (struct stage_task){.input_fd = fd}), "give an \"else\""));
    CHECK_TEXT(run_on("[{\"stage\":\"noop\",\"when\":\". == null\"}]", 1, (struct stage_task){.input_fd = fd}), "{\"bytes\":8}");
    close(fd);
}

TEST(on_error_may_put_a_value_or_end_the_job)
{
    const char *use = "[{\"stage\":\"noop\",\"on_error\":{\"use\":{\"a\":null}}}]";
    CHECK_TEXT(run(use, "{\"noop\":{\"fail\":\"no.\"}}"), "{\"a\":null}");
    CHECK_TEXT(run(use, "{\"noop\":{\"retry\":\"later.\"}}"), "later.");
    CHECK_INT(outcome.verdict, STAGE_RETRY);
    CHECK_TEXT(run_on(use, 3, (struct stage_task){.input_fd = -1, .value = BYTES("{\"noop\":{\"retry\":\"later.\"}}")}), "{\"a\":null}");
    CHECK_TEXT(run("[{\"stage\":\"noop\",\"on_error\":\"fail_job\"}]", "{\"noop\":{\"fail\":\"no.\"}}"), "no.");
    CHECK(outcome.verdict == STAGE_FAIL && outcome.fail_job);
    CHECK_TEXT(run("[{\"stage\":\"noop\",\"on_error\":\"fail_job\",\"retry\":{\"attempts\":1}}]", "{\"noop\":{\"retry\":\"no.\"}}"), "no.");
    CHECK(outcome.verdict == STAGE_FAIL && outcome.fail_job);
    CHECK_TEXT(run("[{\"stage\":\"noop\",\"on_error\":\"continue\"}]", "{\"noop\":{\"fail\":\"no.\"}}"), "no.");
    CHECK(!outcome.fail_job);
    stage_outcome_done(&outcome);
}

TEST_SLOW(what_was_learned_is_not_compiled_again)
{
    static const struct { const char *stage, *value; } cases[] = {
        {"{\"stage\":\"jq\",\"when\":\".a\",\"with\":{\"program\":\"[.a]\"}}", "{\"a\":1}"},
        {"{\"stage\":\"jq\",\"when\":\".b\",\"else\":\"[.a]\",\"with\":{\"program\":\"7\"}}", "{\"a\":1}"},
        {"{\"stage\":\"jq\"}", "1"},
        {"{\"stage\":\"split\",\"with\":{\"program\":\".a\"}}", "{\"a\":[1]}"},
        {"{\"stage\":\"gather\",\"with\":{\"unique_by\":\".\",\"sort_by\":\"-.\"}}", "[1,2]"},
        {"{\"stage\":\"tail\",\"with\":{\"result\":\".a\",\"stats\":{\"n\":\".a\"},\"score\":\".a\"}}", "{\"a\":1}"},
        {"{\"stage\":\"eval\",\"with\":{\"programs\":{\"when\":\".a\",\"x\":\".a + 1\"}}}", "{\"a\":1}"},
        {"{\"stage\":\"rows\",\"with\":{\"as\":\"json\",\"unwrap\":\".a\"}}", "{\"a\":[1]}"},
        {"{\"stage\":\"exec\",\"with\":{\"argv\":[\"echo\",{\"expr\":\".a\"}],\"env\":{\"A\":\".a\"}}}", "{\"a\":1}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct leg_kinds kinds;
        struct stage_task task = {.input_fd = -1, .value = bytes_of(cases[i].value)};
        const char *stage = "";
        open_kinds(&kinds);
        JSON_OWNED struct json_object *stages = json_object_new_array();
        json_object_array_add(stages, json_parse(bytes_of(cases[i].stage), NULL));
        uint64_t before = expr_compiled();
        leg_learn(&kinds, json_object_array_get_idx(stages, 0));
        uint64_t learned = expr_compiled();
        stage_outcome_done(&outcome);
        leg_run(&kinds, stages, 1, &task, &outcome, &stage);
        test_note("%s: %s", cases[i].stage, outcome.error.text);
        CHECK_INT(outcome.verdict, STAGE_DONE);
        CHECK(learned > before);
        CHECK_INT(expr_compiled(), learned);
        close_kinds(&kinds);
    }
}

TEST_SLOW(nonsense_is_learned_in_silence)
{
    static const char *const stages[] = {
        "7", "{}", "null", "\"jq\"", "\"noop\"", "\"other\"", "{\"stage\":\"jq\",\"when\":\"][\",\"with\":{\"program\":\".a |\"}}", "{\"stage\":\"jq\",\"when\":7,\"with\":7}",
        "{\"stage\":\"eval\",\"with\":{\"programs\":[1]}}", "{\"stage\":\"exec\",\"with\":{\"argv\":{\"expr\":1}}}", "{\"stage\":\"tail\",\"with\":{\"stats\":[]}}",
    };
    struct leg_kinds kinds;
    open_kinds(&kinds);
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        JSON_OWNED struct json_object *stage = json_parse(bytes_of(stages[i]), NULL);
        leg_learn(&kinds, stage);
    }
    close_kinds(&kinds);
}
