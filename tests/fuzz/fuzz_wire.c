/* Frames between the server and its workers. What a worker says is not trusted: any head and any body is an outcome of the task, or refused with a sentence; and
 * what is taken can be told as an event. What the server says comes whole. The first bytes choose; then the head up to a line feed, then the body. */
#include "fuzz.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/limits.h"
#include "core/codec.h"
#include "engine/wire.h"

#include <math.h>

static const struct token TOKEN = {1, 2, 3, 4};

static void check_value(struct bytes value)
{
    size_t at;
    fuzz_must(json_grammar(value, JSON_DEPTH_MAX, &at) == JSON_GRAMMAR_GOOD, "a value is JSON");
    fuzz_must(!memchr(value.at, '\n', value.count) && !memchr(value.at, '\r', value.count), "on one line");
}

/* As the engine will tell it: an event that can be written and read. */
static void check_told(const struct outcome *outcome)
{
    struct event event = {.kind = outcome->verdict == VERDICT_DONE ? EVENT_ITEM_DONE : EVENT_ITEM_FAILED, .item = 2, .attempt = 3}, again;
    struct codec_arena arena CODEC_OWNED = {0};
    struct problem problem = {0};
    if (outcome->verdict == VERDICT_DONE) {
        event.done.result = outcome->value;
        event.done.stats = outcome->stats;
        event.done.has_score = outcome->has_score;
        event.done.score = outcome->score;
        event.done.hit = outcome->hit;
    } else {
        event.failed.error = outcome->error;
        event.failed.error_type = outcome->error_type;
        event.failed.stage = outcome->stage;
        event.failed.fail_job = outcome->fail_job;
    }
    struct row *row = codec_encode(&event, 4 << 20);
    fuzz_must(row && !codec_decode(row, &again, &arena, &problem), "an outcome is an event");
    fuzz_must(!memchr(row->body, '\n', row->body_bytes), "of one line");
    row_unref(row);
}

static void check_outcome(const struct wire_outcome *told)
{
    const struct outcome *outcome = &told->outcome;
    if (outcome->verdict == VERDICT_DONE) {
        fuzz_must((told->output_bytes > 0) != (outcome->value.count > 0), "a result is in the frame or in the output");
        fuzz_must(told->output_bytes <= STAGE_VALUE_MAX && outcome->value.count <= LIMIT_BODY_BYTES, "and bounded");
        if (outcome->value.count)
            check_value(outcome->value);
    } else {
        fuzz_must(outcome->error.count && outcome->error_type.count, "a failure has its reason");
        fuzz_must(!outcome->has_score && !outcome->hit, "and no score");
    }
    fuzz_must(!outcome->has_score || isfinite(outcome->score), "a score is a number");
    fuzz_must(!outcome->fail_job || outcome->verdict == VERDICT_FAIL, "who fails the job has failed");
    fuzz_must(told->compiled <= 1000, "what was compiled is no more than a task can need");
    if (outcome->stats.count)
        check_value(outcome->stats);
    check_told(outcome);
}

static void from_worker(struct bytes head, struct bytes rest)
{
    char *body = malloc(rest.count + 1);
    memcpy(body, rest.at ? rest.at : "", rest.count);
    struct frame frame = FRAME_EMPTY;
    frame.head = head;
    frame.body = (struct bytes){body, rest.count};
    struct wire_outcome told;
    struct problem problem = {0};
    struct json_object *tree = json_parse(head, NULL);
    if (tree) {
        int answer = wire_outcome(tree, &frame, TOKEN, &told, &problem);
        fuzz_check_problem(&problem, answer != 0);
        if (!answer) {
            check_outcome(&told);
            wire_outcome_done(&told);
        }
    }
    free(body);
}

/* A task's names are anything; what arrives is the same. */
static void to_worker(struct bytes *input)
{
    struct task task = {.token = TOKEN, .leg = 1, .stages = BYTES("[{\"stage\":\"noop\"}]"), .input_fd = -1};
    struct buf head BUF_OWNED, body BUF_OWNED;
    buf_init(&head, LIMIT_FRAME_BYTES);
    buf_init(&body, LIMIT_FRAME_BYTES);
    task.name = fuzz_piece(input, 60);
    task.type = fuzz_piece(input, 30);
    task.trace = fuzz_piece(input, 20);
    task.variables = fuzz_piece(input, 100);
    task.value = *input;
    wire_task(&head, &body, &task, fuzz_byte(input) & 1);
    fuzz_must(buf_ok(&head) && buf_ok(&body), "a small task has room");
    fuzz_must(!memchr(head.at, '\n', head.count), "a head is one line");
    struct json_object *tree JSON_OWNED = json_parse(buf_bytes(&head), NULL);
    fuzz_must(tree, "a head is JSON");
    fuzz_must(json_get_int(tree, "variables", -1) == (int64_t)task.variables.count, "which says where the value begins");
    fuzz_must(body.count == task.variables.count + task.value.count, "and nothing is lost");
}

static void check_one_line(struct bytes text)
{
    char *copy = malloc(text.count + 1);
    struct problem problem = {0};
    memcpy(copy, text.at ? text.at : "", text.count);
    int answer = wire_value(copy, text.count, &problem);
    fuzz_check_problem(&problem, answer != 0);
    if (!answer)
        check_value((struct bytes){copy, text.count});
    free(copy);
}

FUZZ_TARGET(wire)
{
    switch (fuzz_byte(&input) % 4) {
    case 0: to_worker(&input); break;
    case 1: check_one_line(input); break;
    default: {
        struct bytes head = bytes_cut(&input, '\n');
        from_worker(head, input);
    }
    }
}
