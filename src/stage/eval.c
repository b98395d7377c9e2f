/* Two kinds that look at a value with several programs, which are compiled as one, so that the value is read once.
 *
 *   eval   {"programs": {name: program}}: gives {name: first output or null}. Is there a program "when", it goes first; when it gives false or null
 *          the answer is {"when": false} and what "else" gives, if there is one, and no other program runs. Else "else" does not run.
 *   tail   {"result": program, "stats": {name: program}, "score": program, "hit": program}: the end of a pipeline. The value becomes what `result`
 *          gives, or stays; stats that are null are left out; a hit is what is neither false nor null. */
#include "stage/program.h"

enum { PROGRAM_BYTES_MAX = 1 << 20, MARKS_BYTES_MAX = 64 << 10 };

static struct bytes text_in(struct json_object *programs, const char *name)
{
    return json_get_bytes(programs, name);
}

static void eval_wrap(struct json_object *programs, struct buf *ret)
{
    if (!json_get(programs, "when")) {
        program_object(ret, programs, NULL, NULL);
        return;
    }
    buf_text(ret, "if ");
    program_term(ret, BYTES("when"), text_in(programs, "when"));
    buf_text(ret, " then {\"when\": true} + ");
    program_object(ret, programs, "when", "else");
    buf_text(ret, " else {\"when\": false");
    if (json_get(programs, "else")) {
        buf_text(ret, ", \"else\": ");
        program_term(ret, BYTES("else"), text_in(programs, "else"));
    }
    buf_text(ret, "} end");
}

static void eval_run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    struct buf room BUF_OWNED, program BUF_OWNED;
    struct bytes input;
    JSON_OWNED struct json_object *settings = program_settings(task->settings);
    struct json_object *programs = json_get(settings, "programs");
    buf_init(&room, STAGE_VALUE_MAX);
    buf_init(&program, PROGRAM_BYTES_MAX);
    if (!json_object_is_type(programs, json_type_object)) {
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "The stage eval was given no programs.");
        return;
    }
    eval_wrap(programs, &program);
    if (!buf_ok(&program))
        stage_outcome_fail(outcome, STAGE_FAIL, "expression", "The programs have more than %d bytes.", PROGRAM_BYTES_MAX);
    else if (program_input(task, &room, &input, outcome) && !program_run(state, buf_bytes(&program), input, task, &outcome->value, outcome) &&
             strstr(outcome->error.text, "cannot be compiled"))
        program_blame(programs, outcome);
}

static void eval_learn(void *state, struct bytes text)
{
    struct buf program BUF_OWNED;
    JSON_OWNED struct json_object *settings = program_settings(text);
    struct json_object *programs = json_get(settings, "programs");
    buf_init(&program, PROGRAM_BYTES_MAX);
    if (!json_object_is_type(programs, json_type_object))
        return;
    eval_wrap(programs, &program);
    if (buf_ok(&program))
        program_learn(state, buf_bytes(&program));
}

/* ---- tail ---- */

static void tail_wrap(struct json_object *settings, struct buf *ret)
{
    static const char *const singles[] = {"result", "score", "hit"};
    struct json_object *stats = json_get(settings, "stats");
    bool more = json_object_is_type(stats, json_type_object);
    buf_byte(ret, '{');
    if (more) {
        buf_text(ret, "\"stats\": ");
        program_object(ret, stats, NULL, NULL);
    }
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
        if (!json_get(settings, singles[i]))
            continue;
        buf_print(ret, "%s\"%s\": ", more ? ", " : "", singles[i]);
        program_term(ret, bytes_of(singles[i]), text_in(settings, singles[i]));
        more = true;
    }
    buf_byte(ret, '}');
}

static bool is_number(struct json_object *value)
{
    return json_object_is_type(value, json_type_double) || json_object_is_type(value, json_type_int);
}

static void stats_take(struct bytes text, struct stage_outcome *outcome)
{
    JSON_OWNED struct json_object *stats = text.count ? json_parse(text, NULL) : NULL;
    if (!json_object_is_type(stats, json_type_object))
        return;
    json_object_object_foreach(stats, name, value) {
        if (is_number(value))
            stage_outcome_stat(outcome, name, json_object_get_double(value));
        else if (value)
            stage_outcome_fail(outcome, STAGE_FAIL, "expression", "The stat \"%s\" is no number: %.100s.", name, json_object_get_string(value));
    }
}

/* jq wrote it, so it is JSON, in one line. */
static void tail_take(struct bytes told, struct bytes input, struct stage_outcome *outcome)
{
    struct bytes result = json_span(told, "result"), score = json_span(told, "score"), hit = json_span(told, "hit");
    stats_take(json_span(told, "stats"), outcome);
    JSON_OWNED struct json_object *number = score.count ? json_parse(score, NULL) : NULL;
    if (number && !is_number(number))
        stage_outcome_fail(outcome, STAGE_FAIL, "expression", "The score is no number: %.*s.", (int)(score.count < 100 ? score.count : 100), score.at);
    outcome->has_score = is_number(number);
    outcome->score = outcome->has_score ? json_object_get_double(number) : 0;
    outcome->hit = hit.count && !bytes_equal(hit, BYTES("false")) && !bytes_equal(hit, BYTES("null"));
    buf_put(&outcome->value, result.count ? result : input);
}

static void tail_run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    struct buf room BUF_OWNED, program BUF_OWNED, told BUF_OWNED;
    struct bytes input;
    JSON_OWNED struct json_object *settings = program_settings(task->settings);
    buf_init(&room, STAGE_VALUE_MAX);
    buf_init(&program, PROGRAM_BYTES_MAX);
    buf_init(&told, STAGE_VALUE_MAX + MARKS_BYTES_MAX);
    tail_wrap(settings, &program);
    if (!program_input(task, &room, &input, outcome))
        return;
    if (!buf_ok(&program))
        stage_outcome_fail(outcome, STAGE_FAIL, "expression", "The programs have more than %d bytes.", PROGRAM_BYTES_MAX);
    else if (bytes_equal(buf_bytes(&program), BYTES("{}")))
        buf_put(&outcome->value, input);
    else if (program_run(state, buf_bytes(&program), input, task, &told, outcome))
        tail_take(buf_bytes(&told), input, outcome);
}

static void tail_learn(void *state, struct bytes text)
{
    struct buf program BUF_OWNED;
    JSON_OWNED struct json_object *settings = program_settings(text);
    buf_init(&program, PROGRAM_BYTES_MAX);
    tail_wrap(settings, &program);
    if (buf_ok(&program) && !bytes_equal(buf_bytes(&program), BYTES("{}")))
        program_learn(state, buf_bytes(&program));
}

const struct stage_kind stage_eval = {
    .name = "eval", .help = "several programs look at one value", .open = program_open, .run = eval_run, .close = program_close,
    .learn = eval_learn,
};

const struct stage_kind stage_tail = {
    .name = "tail", .help = "the end of a pipeline: its result, stats, score and hit", .open = program_open, .run = tail_run,
    .close = program_close, .learn = tail_learn,
};
