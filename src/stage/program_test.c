/* The kinds that run expressions: jq, split, gather, eval, tail. */
#include "base/json.h"
#include "base/test.h"
#include "stage/stage.h"

#include <sys/mman.h>
#include <unistd.h>

static struct stage_outcome outcome;

static const char *run_task(const char *kind_name, struct stage_task task)
{
    void *state = NULL;
    struct stage_outfit outfit = STAGE_OUTFIT_EMPTY;
    const struct stage_kind *kind = stage_kind_find(bytes_of(kind_name));
    CHECK(kind != NULL);
    CHECK_INT(kind->open(&outfit, &state, NULL), 0);
    stage_outcome_done(&outcome);
    stage_outcome_init(&outcome);
    kind->run(state, &task, &outcome);
    kind->close(state);
    if (outcome.verdict == STAGE_DONE)
        return buf_z(&outcome.value);
    CHECK(outcome.error_type != NULL);
    return outcome.error.text;
}

static const char *run(const char *kind, const char *settings, const char *value)
{
    return run_task(kind, (struct stage_task){.input_fd = -1, .value = bytes_of(value), .settings = bytes_of(settings),
                                              .variables = BYTES("{\"params\":{\"n\":5},\"vars\":{\"v\":1}}")});
}

TEST_SLOW(jq_makes_one_value_of_another)
{
    CHECK_TEXT(run("jq", "{\"program\":\".a + $params.n\"}", "{\"a\":2}"), "7");
    CHECK_TEXT(run("jq", "{\"program\":\". # all\"}", ""), "null");
    CHECK_TEXT(run("jq", "", "[1]"), "[1]");
    CHECK_TEXT(run("jq", "{\"program\":\"empty\"}", "1"), "The program gave no output.");
    CHECK_TEXT(run("jq", "{\"program\":\"error(\\\"no \\\\(.)\\\")\"}", "1"), "The program failed: no 1.");
    CHECK_TEXT(outcome.error_type, "expression");
    CHECK_INT(outcome.verdict, STAGE_FAIL);
    CHECK_TEXT(run("jq", "{\"program\":\".a |\"}", "1"), "The program cannot be compiled: syntax error, unexpected end of the program.");
    CHECK_TEXT(run("jq", "{\"program\":\"def f: f; f\",\"time_limit_us\":10000}", "1"), "The program failed: the program took longer than its limit of 0.01 s.");
    CHECK_TEXT(outcome.error_type, "expression");
}

TEST_SLOW(the_input_may_be_a_file)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, "[1,\n2]", 6) == 6);
    CHECK_TEXT(run_task("jq", (struct stage_task){.input_fd = fd, .settings = BYTES("{\"program\":\"add\"}")}), "3");
    CHECK_TEXT(run_task("split", (struct stage_task){.input_fd = fd}), "[1,2]");
    CHECK_TEXT(run_task("gather", (struct stage_task){.input_fd = fd, .settings = BYTES("{\"sort_by\":\"-.\"}")}), "[2,1]");
    CHECK(!ftruncate(fd, 5));
    CHECK_TEXT(run_task("jq", (struct stage_task){.input_fd = fd, .settings = BYTES("{\"program\":\". // 0\"}")}), "0");
    CHECK_TEXT(run_task("jq", (struct stage_task){.input_fd = fd, .settings = BYTES("{\"program\":\". // 0\",\"strict\":true}")}), "no JSON value at byte 5.");
    CHECK_TEXT(outcome.error_type, "validation");
    CHECK(!ftruncate(fd, (off_t)STAGE_VALUE_MAX + 1));
    CHECK_TEXT(run_task("jq", (struct stage_task){.input_fd = fd}), "The input has 67108865 bytes, at most 67108864 are taken.");
    CHECK_TEXT(outcome.error_type, "validation");
    close(fd);
}

TEST_SLOW(split_takes_arrays_and_streams_alike)
{
    CHECK_TEXT(run("split", "{\"program\":\".[]\"}", "[1,{\"a\":2}]"), "[1,{\"a\":2}]");
    CHECK_TEXT(run("split", "{\"program\":\".\"}", "[1,2]"), "[1,2]");
    CHECK_TEXT(run("split", "{\"program\":\".rows\"}", "{\"rows\":[]}"), "[]");
    CHECK_TEXT(run("split", "{\"program\":\".[]\"}", "[{\"a\":2}]"), "[{\"a\":2}]");
    CHECK_TEXT(run("split", "{\"program\":\".[]\"}", "[]"), "[]");
    CHECK_TEXT(run("split", "", "[3]"), "[3]");
    CHECK_TEXT(run("split", "{\"program\":\".rows\"}", "{}"), "The program failed: split needs an array, and the program gives null.");
}

TEST_SLOW(gather_orders_records)
{
    const char *records = "[{\"s\":1,\"k\":\"a\"},{\"s\":3,\"k\":\"b\"},{\"s\":2,\"k\":\"a\"}]";
    CHECK_TEXT(run("gather", "", records), records);
    CHECK_TEXT(run("gather", "{\"sort_by\":\"-.s\"}", records), "[{\"s\":3,\"k\":\"b\"},{\"s\":2,\"k\":\"a\"},{\"s\":1,\"k\":\"a\"}]");
    CHECK_TEXT(run("gather", "{\"sort_by\":\"-.s\",\"unique_by\":\".k\"}", records), "[{\"s\":3,\"k\":\"b\"},{\"s\":1,\"k\":\"a\"}]");
    CHECK_TEXT(run("gather", "", "{}"), "The program failed: gather needs an array, not object.");
}

TEST_SLOW(eval_looks_with_several_programs)
{
    CHECK_TEXT(run("eval", "{\"programs\":{\"a\":\".x\",\"b c\":\".x + $params.n # b\",\"none\":\"empty\",\"many\":\"1, 2\"}}", "{\"x\":1}"),
               "{\"a\":1,\"b c\":6,\"none\":null,\"many\":1}");
    CHECK_TEXT(run("eval", "{\"programs\":{\"a\":\"1\",\"b\":\"error(\\\"oh\\\")\",\"c\":\"2\"}}", "1"), "The program failed: b: oh.");
    CHECK_TEXT(run("eval", "{\"programs\":{\"a\":\"1\",\"b\":\"error({x:1})\"}}", "1"), "The program failed: b: {\"x\":1}.");
    CHECK_TEXT(run("eval", "{\"programs\":{\"a\":\"1\",\"b\":\"nothing\"}}", "1"), "The program \"b\" cannot be compiled: nothing/0 is not defined.");
    CHECK_TEXT(run("eval", "{\"programs\":{}}", "1"), "{}");
    CHECK_TEXT(run("eval", "{}", "1"), "The stage eval was given no programs.");
}

TEST_SLOW(eval_asks_when_first)
{
    const char *settings = "{\"programs\":{\"key\":\".k | ascii_downcase\",\"else\":\"{score: 0}\",\"when\":\".k\"}}";
    CHECK_TEXT(run("eval", settings, "{\"k\":\"A\"}"), "{\"when\":true,\"key\":\"a\"}");
    CHECK_TEXT(run("eval", settings, "{\"k\":null}"), "{\"when\":false,\"else\":{\"score\":0}}");
    CHECK_TEXT(run("eval", "{\"programs\":{\"key\":\"error\",\"when\":\"false\"}}", "1"), "{\"when\":false}");
    CHECK_TEXT(run("eval", "{\"programs\":{\"key\":\"1\",\"when\":\"empty\"}}", "1"), "{\"when\":false}");
}

TEST_SLOW(tail_ends_a_pipeline)
{
    const char *settings = "{\"result\":\"{cards: .c}\",\"stats\":{\"accuracy\":\".a\",\"none\":\"null\"},\"score\":\".a / 2\",\"hit\":\".a > 5\"}";
    CHECK_TEXT(run("tail", settings, "{\"c\":[1,\"}\"],\"a\":8}"), "{\"cards\":[1,\"}\"]}");
    CHECK_INT(outcome.stats_count, 1);
    CHECK_TEXT(outcome.stats[0].name, "accuracy");
    CHECK(outcome.stats[0].value == 8 && outcome.has_score && outcome.score == 4 && outcome.hit);
    CHECK_TEXT(run("tail", "{\"score\":\".a\",\"hit\":\".b\"}", "{\"a\":null}"), "{\"a\":null}");
    CHECK(!outcome.has_score && !outcome.hit);
    CHECK_TEXT(run("tail", "{}", "{\"a\":12345678901234567890}"), "{\"a\":12345678901234567890}");
    CHECK_TEXT(run("tail", "{\"stats\":{\"a\":\".a\"}}", "{\"a\":\"x\"}"), "The stat \"a\" is no number: x.");
    CHECK_TEXT(run("tail", "{\"score\":\".a\"}", "{\"a\":[1]}"), "The score is no number: [1].");
    stage_outcome_done(&outcome);
}
