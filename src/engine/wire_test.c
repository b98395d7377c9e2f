/* The server's side of what it and a worker say to each other: frames as they are made, and outcomes as a worker that is not trusted may tell them. */
#include "engine/wire.h"

#include "base/limits.h"
#include "base/test.h"

#include <stdlib.h>

TEST(a_worker_is_told_its_stages_its_files_and_its_walls)
{
    static const enum stage_engine engines[] = {STAGE_ENGINE_ONNX, STAGE_ENGINE_TESSERACT, STAGE_ENGINE_AUTO};
    static const char *const words[] = {"onnx", "tesseract", "auto"};
    const char *stages[] = {"decklist", "match"};
    for (int i = 0; i < 3; i++) {
        struct stage_outfit outfit = STAGE_OUTFIT_EMPTY;
        struct buf head BUF_OWNED;
        int fds[FRAME_FDS_MAX];
        size_t count;
        buf_init(&head, 10000);
        outfit.engine = engines[i];
        outfit.catalogue_fd = 7;
        outfit.keys_fd = 9;
        outfit.catalogue_path = "cards.csv";
        wire_init(&head, stages, 2, &outfit, i == 0, fds, &count);
        struct json_object *tree JSON_OWNED = json_parse(buf_bytes(&head), NULL);
        CHECK(tree && count == 2 && fds[0] == 7 && fds[1] == 9);
        CHECK_BYTES(json_span(buf_bytes(&head), "stages"), BYTES("[\"decklist\",\"match\"]"));
        CHECK_BYTES(json_span(buf_bytes(&head), "files"), BYTES("[\"catalogue\",\"keys\"]"));
        CHECK_BYTES(json_get_bytes(tree, "engine"), bytes_of(words[i]));
        CHECK_BYTES(json_get_bytes(tree, "catalogue"), BYTES("cards.csv"));
        CHECK((json_get(tree, "lock") != NULL) == (i == 0));
        CHECK(!json_get(tree, "model"));
    }
}

static struct json_object *task_told(const char *stages, bool exec)
{
    struct buf head BUF_OWNED, body BUF_OWNED;
    struct task task = {.token = {1, 2, 3, 4}, .leg = 1, .stages = bytes_of(stages), .name = BYTES("n"), .trace = BYTES("00-1-2-01"),
                        .variables = BYTES("{}"), .value = BYTES("[1]"), .input_fd = exec ? -1 : 5};
    buf_init(&head, 10000);
    buf_init(&body, 10000);
    wire_task(&head, &body, &task, exec);
    CHECK_BYTES(buf_bytes(&body), BYTES("{}[1]"));
    return json_parse(buf_bytes(&head), NULL);
}

static bool says(struct json_object *tree, const char *text)
{
    return strstr(json_object_to_json_string_ext(tree, JSON_C_TO_STRING_PLAIN), text) != NULL;
}

TEST(only_a_worker_that_starts_programs_is_told_secrets)
{
    static const char stages[] = "[{\"stage\":\"exec\",\"with\":{\"a\":[{\"$env\":\"WIRE_TEST\"},1],\"b\":{\"$env\":\"WIRE_TEST_NOT\"}}}]";
    setenv("WIRE_TEST", "hush", 1);
    struct json_object *secret JSON_OWNED = task_told(stages, true), *plain JSON_OWNED = task_told(stages, false), *bare JSON_OWNED = task_told("[\"a\"]", true);
    unsetenv("WIRE_TEST");
    CHECK(says(secret, "{\"$secret\":\"hush\"}") && says(secret, "{\"$unset\":\"WIRE_TEST_NOT\"}") && !says(secret, "$env"));
    CHECK(says(plain, "{\"$env\":\"WIRE_TEST\"}") && !says(plain, "hush"));
    CHECK(json_get_bool(plain, "input", false) && !json_get(secret, "input") && !says(bare, "$env"));
}

static struct problem problem;

/* What came of a head with item 2 and attempt 3 that a worker tells. */
static int told(const char *head, struct bytes body, struct wire_outcome *ret)
{
    static char room[LIMIT_BODY_BYTES + 10];
    struct buf text BUF_OWNED;
    problem = (struct problem){0};
    buf_init(&text, 10000);
    buf_print(&text, "{\"item\":2,\"attempt\":3%s}", head);
    memcpy(room, body.at, body.count);
    struct frame frame = {.body = {room, body.count}};
    test_note("%s", head);
    return wire_outcome(json_parse(buf_bytes(&text), NULL), &frame, (struct token){1, 2, 3, 4}, ret, &problem);
}

TEST(what_a_worker_tells_is_believed_only_as_far_as_it_goes)
{
    struct wire_outcome got;
    static char huge[LIMIT_BODY_BYTES + 1];
    CHECK_INT(told(",\"verdict\":\"done\",\"score\":2,\"hit\":true,\"last\":true,\"stats\":{\"a\":1,\"b\":0.5}", BYTES("[1,\r\n2]"), &got), 0);
    CHECK(got.last && got.outcome.has_score && got.outcome.hit && got.outcome.score == 2);
    CHECK_BYTES(got.outcome.value, BYTES("[1,  2]"));
    CHECK_BYTES(got.outcome.stats, BYTES("{\"a\":1,\"b\":0.5}"));
    wire_outcome_done(&got);
    CHECK_INT(told(",\"verdict\":\"done\",\"output\":9,\"stats\":{\"a\":\"x\"}", BYTES(""), &got), 0);
    CHECK(got.output_bytes == 9 && !got.outcome.stats.count);
    wire_outcome_done(&got);
    char stats[1000];
    snprintf(stats, sizeof stats, ",\"verdict\":\"done\",\"output\":9,\"stats\":{\"%065d\":1}", 0);      /* a longer name than is kept */
    CHECK_INT(told(stats, BYTES(""), &got), 0);
    CHECK(!got.outcome.stats.count);
    wire_outcome_done(&got);
    int count = snprintf(stats, sizeof stats, ",\"verdict\":\"done\",\"output\":9,\"stats\":{");
    for (int i = 0; i <= LIMIT_STATS; i++)
        count += snprintf(stats + count, sizeof stats - (size_t)count, "%s\"n%d\":1", i ? "," : "", i);
    snprintf(stats + count, sizeof stats - (size_t)count, "}");
    CHECK_INT(told(stats, BYTES(""), &got), 0);
    CHECK(!got.outcome.stats.count);
    wire_outcome_done(&got);
    CHECK_INT(told(",\"verdict\":\"fail\",\"fail_job\":true,\"hit\":true,\"stats\":1,\"error_type\":\"expression\",\"error\":\"e\"", BYTES(""), &got), 0);
    CHECK(got.outcome.fail_job && !got.outcome.hit && bytes_equal(got.outcome.error_type, BYTES("expression")));
    wire_outcome_done(&got);
    CHECK_INT(told(",\"verdict\":\"retry\",\"fail_job\":true,\"error_type\":\"magic\"", BYTES(""), &got), 0);
    CHECK(!got.outcome.fail_job && got.outcome.error.count && bytes_equal(got.outcome.error_type, BYTES("processing")));
    wire_outcome_done(&got);
    CHECK(told(",\"attempt\":4,\"verdict\":\"done\"", BYTES("1"), &got) < 0 && strstr(problem.text, "another task"));
    CHECK(told(",\"item\":4,\"verdict\":\"done\"", BYTES("1"), &got) < 0 && strstr(problem.text, "another task"));
    CHECK(told(",\"verdict\":\"maybe\"", BYTES("1"), &got) < 0 && strstr(problem.text, "without a verdict"));
    CHECK(told(",\"verdict\":\"done\",\"output\":-1", BYTES("1"), &got) < 0 && strstr(problem.text, "-1 bytes"));
    CHECK(told(",\"verdict\":\"done\",\"output\":99999999999", BYTES("1"), &got) < 0 && strstr(problem.text, "bytes"));
    CHECK(told(",\"verdict\":\"done\"", (struct bytes){huge, sizeof huge}, &got) < 0 && strstr(problem.text, "inline"));
}

TEST(a_value_is_one_line_of_json_and_not_null)
{
    char deep[2 * (JSON_DEPTH_MAX + 1)], wrong[] = "[1", null[] = " null ", good[] = "[1,\n2,\r3]";
    memset(deep, '[', JSON_DEPTH_MAX + 1);
    memset(deep + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    problem = (struct problem){0};
    CHECK(wire_value(deep, sizeof deep, &problem) < 0 && strstr(problem.text, "nested"));
    problem = (struct problem){0};
    CHECK(wire_value(wrong, 2, &problem) < 0 && strstr(problem.text, "byte 2"));
    problem = (struct problem){0};
    CHECK(wire_value(null, 6, &problem) < 0 && strstr(problem.text, "null"));
    CHECK_INT(wire_value(good, sizeof good - 1, &problem), 0);
    CHECK_TEXT(good, "[1, 2, 3]");
}
