/* The kind `rows`: an input file becomes an array of records.
 *
 *   {"as": "json"|"jsonl"|"csv", "unwrap": program, "errors": "keep"|"fail"}
 *
 * Without `as` the file's first characters decide. `unwrap` makes the records of what was read (a JSON text as it is, else the array): its outputs, or
 * the array that is its only one. A file that ends in the midst of a record is worth another try; with "errors": "fail" one broken line fails the
 * stage, else it is a record with an "error". */
#include "stage/program.h"
#include "stage/rows.h"

static bool format_of(struct bytes name, enum rows_format *ret)
{
    static const struct { const char *name; enum rows_format format; } formats[] = {
        {"json", ROWS_JSON}, {"jsonl", ROWS_JSONL}, {"ndjson", ROWS_JSONL}, {"csv", ROWS_CSV},
    };
    *ret = ROWS_ANY;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (bytes_equal(name, bytes_of(formats[i].name))) {
            *ret = formats[i].format;
            return true;
        }
    }
    return !name.count;
}

static bool read(const struct stage_task *task, struct json_object *settings, bool whole, struct buf *ret, struct stage_outcome *outcome)
{
    struct buf room BUF_OWNED;
    struct problem problem = {0};
    struct bytes file, as = json_get_bytes(settings, "as");
    enum rows_format format;
    buf_init(&room, STAGE_VALUE_MAX);
    if (!format_of(as, &format)) {
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "Records cannot be read as \"%.*s\": only json, jsonl and csv.", BYTES_ARG(as));
        return false;
    }
    if (!program_input(task, &room, &file, outcome))
        return false;
    int rc = rows_read(file, format, whole, ret, &problem);
    if (!rc && bytes_equal(json_get_bytes(settings, "errors"), BYTES("fail"))) {
        const char *bad = memmem(ret->at, ret->count, "{\"error\":\"line ", 15);
        const char *end = bad ? memchr(bad + 10, '"', ret->count - (size_t)(bad + 10 - ret->at)) : NULL;
        if (end)
            rc = problem_set(&problem, "The file's %.*s.", (int)(end - bad - 10), bad + 10);
    }
    if (rc)
        stage_outcome_fail(outcome, rc == ROWS_CUT ? STAGE_RETRY : STAGE_FAIL, "validation", "%s", problem.text);
    return rc == 0;
}

/* False: the records are what was read. */
static bool wrap(struct json_object *settings, struct buf *ret)
{
    struct bytes unwrap = json_get_bytes(settings, "unwrap");
    buf_init(ret, unwrap.count + 128);
    if (!bytes_trim(unwrap).count)
        return false;
    buf_print(ret, "[\n%.*s\n] | if length == 1 and (.[0] | type) == \"array\" then .[0] else . end", BYTES_ARG(unwrap));
    return true;
}

static void run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    struct buf text BUF_OWNED, program BUF_OWNED;
    JSON_OWNED struct json_object *settings = program_settings(task->settings);
    buf_init(&text, STAGE_VALUE_MAX);
    if (!wrap(settings, &program))
        read(task, settings, false, &outcome->value, outcome);
    else if (read(task, settings, true, &text, outcome))
        program_run(state, buf_bytes(&program), buf_bytes(&text), task, &outcome->value, outcome);
}

static void learn(void *state, struct bytes text)
{
    struct buf program BUF_OWNED;
    JSON_OWNED struct json_object *settings = program_settings(text);
    if (wrap(settings, &program))
        program_learn(state, buf_bytes(&program));
}

const struct stage_kind stage_rows = {
    .name = "rows", .help = "a file of JSON, JSON Lines or CSV becomes an array of records", .open = program_open, .run = run, .close = program_close,
    .learn = learn,
};
