/* Three kinds over values: `jq` makes one of another, `split` an array of records, `gather` orders an array. Programs are compiled when they are first met
 * and kept on a shelf. With "strict" a file that is no JSON is a failure ("validation") and not null: it is an answer, and what is made of null would be taken
 * for what is made of it. */
#include "stage/program.h"

enum { PROGRAM_BYTES_MAX = 512 << 10 };

static bool input_json(const struct stage_task *task, struct json_object *settings, struct buf *room, struct bytes *ret, struct stage_outcome *outcome)
{
    struct problem problem = {0};
    if (task->input_fd < 0 || !json_get_bool(settings, "strict", false))
        return program_input_json(task, room, ret, outcome);
    if (!program_input(task, room, ret, outcome))
        return false;
    if (program_json(*ret, &problem))
        return true;
    stage_outcome_fail(outcome, STAGE_FAIL, "validation", "%s.", problem.text);
    return false;
}

/* The input, the program that `wrap` makes of the settings, and its output as the value. An empty program leaves the input as it is. */
static void apply(struct expr_shelf *shelf, const struct stage_task *task, void (*wrap)(struct json_object *settings, struct buf *ret),
                  struct stage_outcome *outcome)
{
    struct buf room BUF_OWNED, program BUF_OWNED;
    struct bytes input;
    JSON_OWNED struct json_object *settings = program_settings(task->settings);
    buf_init(&room, STAGE_VALUE_MAX);
    buf_init(&program, PROGRAM_BYTES_MAX);
    wrap(settings, &program);
    if (!buf_ok(&program))
        stage_outcome_fail(outcome, STAGE_FAIL, "expression", "The program has more than %d bytes.", PROGRAM_BYTES_MAX);
    else if (input_json(task, settings, &room, &input, outcome))
        program_run(shelf, buf_bytes(&program), input, task, &outcome->value, outcome);
}

static void learn(struct expr_shelf *shelf, struct bytes text, void (*wrap)(struct json_object *settings, struct buf *ret))
{
    struct buf program BUF_OWNED;
    JSON_OWNED struct json_object *settings = program_settings(text);
    buf_init(&program, PROGRAM_BYTES_MAX);
    wrap(settings, &program);
    if (buf_ok(&program))
        program_learn(shelf, buf_bytes(&program));
}

static void wrap_jq(struct json_object *settings, struct buf *ret)
{
    buf_put(ret, json_get_bytes(settings, "program"));
}

/* '.[]' and '.' are the same to it: what comes as one array is the array. */
static void wrap_split(struct json_object *settings, struct buf *ret)
{
    struct bytes program = json_get_bytes(settings, "program");
    buf_text(ret, "[\n");
    buf_put(ret, bytes_trim(program).count ? program : BYTES("."));
    buf_text(ret, "\n] | if length == 1 and (.[0] | type) == \"array\" then .[0]"
                  " elif . == [null] then error(\"split needs an array, and the program gives null\") else . end");
}

static void wrap_by(struct buf *ret, const char *function, struct bytes program)
{
    if (!program.at)
        return;
    buf_print(ret, " | %s(\n", function);
    buf_put(ret, program);
    buf_text(ret, "\n)");
}

static void wrap_gather(struct json_object *settings, struct buf *ret)
{
    buf_text(ret, "if type != \"array\" then error(\"gather needs an array, not \\(type)\") else .");
    wrap_by(ret, "unique_by", json_get_bytes(settings, "unique_by"));
    wrap_by(ret, "sort_by", json_get_bytes(settings, "sort_by"));
    buf_text(ret, " end");
}

static void jq_run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    apply(state, task, wrap_jq, outcome);
}

static void split_run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    apply(state, task, wrap_split, outcome);
}

static void gather_run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    apply(state, task, wrap_gather, outcome);
}

static void jq_learn(void *state, struct bytes settings)
{
    learn(state, settings, wrap_jq);
}

static void split_learn(void *state, struct bytes settings)
{
    learn(state, settings, wrap_split);
}

static void gather_learn(void *state, struct bytes settings)
{
    learn(state, settings, wrap_gather);
}

const struct stage_kind stage_jq = {
    .name = "jq", .help = "a jq program makes one value of another", .open = program_open, .run = jq_run, .close = program_close,
    .learn = jq_learn,
};

const struct stage_kind stage_split = {
    .name = "split", .help = "a value becomes an array of records, each with its own fate", .open = program_open, .run = split_run,
    .close = program_close, .learn = split_learn,
};

const struct stage_kind stage_gather = {
    .name = "gather", .help = "records become one array again, in order", .open = program_open, .run = gather_run, .close = program_close,
    .learn = gather_learn,
};
