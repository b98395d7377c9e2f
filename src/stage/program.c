#include "stage/program.h"

#include "base/json_grammar.h"
#include "expr/watchdog.h"
#include "stage/input.h"

bool program_input(const struct stage_task *task, struct buf *room, struct bytes *ret, struct stage_outcome *outcome)
{
    struct problem problem = {0};
    int64_t size = 0;
    if (task->input_fd < 0) {
        *ret = task->value.count ? task->value : BYTES("null");
        return true;
    }
    int rc = input_read(task->input_fd, room, &size, &problem);
    if (rc == INPUT_TOO_LARGE)
        stage_outcome_fail(outcome, STAGE_FAIL, "validation", "The input has %lld bytes, at most %zu are taken.", (long long)size, room->max);
    else if (rc < 0)
        stage_outcome_fail(outcome, STAGE_RETRY, "processing", "%s", problem.text);
    *ret = buf_bytes(room);
    return rc == 0;
}

bool program_json(struct bytes text, struct problem *problem)
{
    size_t at = 0;
    enum json_grammar grammar = json_grammar(text, JSON_DEPTH_MAX, &at);
    if (grammar == JSON_GRAMMAR_DEEP)
        problem_set(problem, "JSON that is nested more than %d deep", JSON_DEPTH_MAX);
    else if (grammar != JSON_GRAMMAR_GOOD)
        problem_set(problem, "no JSON value at byte %zu", at);
    return grammar == JSON_GRAMMAR_GOOD;
}

bool program_input_json(const struct stage_task *task, struct buf *room, struct bytes *ret, struct stage_outcome *outcome)
{
    if (!program_input(task, room, ret, outcome))
        return false;
    if (task->input_fd >= 0 && !program_json(*ret, NULL))
        *ret = BYTES("null");
    return true;
}

struct json_object *program_settings(struct bytes settings)
{
    struct json_object *object = settings.count ? json_parse(settings, NULL) : NULL;
    if (json_object_is_type(object, json_type_object))
        return object;
    json_drop(&object);
    return json_object_new_object();
}

static int64_t limit_us(const struct stage_task *task, struct bytes input)
{
    struct bytes given = json_span(task->settings, "time_limit_us");
    int64_t limit = 0;
    if (given.count && bytes_to_i64(given, &limit) && limit > 0)
        return limit;
    return EXPR_TIME_US + (int64_t)input.count;
}

bool program_run(struct expr_shelf *shelf, struct bytes program, struct bytes input, const struct stage_task *task, struct buf *ret,
                 struct stage_outcome *outcome)
{
    struct problem problem = {0};
    struct expr *expr = expr_shelf_get(shelf, program, &problem);
    if (!expr) {
        stage_outcome_fail(outcome, STAGE_FAIL, "expression", "The program cannot be compiled: %s.", problem.text);
        return false;
    }
    int rc = expr_run(expr, input, task->variables, limit_us(task, input), ret, &problem);
    if (rc == EXPR_NOTHING)
        stage_outcome_fail(outcome, STAGE_FAIL, "expression", "The program gave no output.");
    else if (rc)
        stage_outcome_fail(outcome, STAGE_FAIL, "expression", "The program failed: %s.", problem.text);
    return rc == 0;
}

void program_learn(struct expr_shelf *shelf, struct bytes program)
{
    struct problem unheard = {0};
    expr_shelf_get(shelf, program, &unheard);
}

/* Collected, so that nothing is left of `try` when the next term runs: jq 1.6 would catch that one's errors too. */
void program_term(struct buf *ret, struct bytes name, struct bytes program)
{
    buf_text(ret, "([try first(\n");
    buf_put(ret, bytes_trim(program).count ? program : BYTES("."));
    buf_text(ret, "\n) catch error(");
    json_bytes(ret, name);
    buf_text(ret, " + \": \" + if type == \"string\" then . else tojson end)] | .[0])");
}

/* jq wants a comma between members exactly where JSON does, but what ends in ")" is no value that the JSON writer knows. */
void program_object(struct buf *ret, struct json_object *programs, const char *leave1, const char *leave2)
{
    bool more = false;
    buf_byte(ret, '{');
    json_object_object_foreach(programs, name, text) {
        struct bytes program = bytes_of(json_object_get_string(text));
        if ((leave1 && !strcmp(name, leave1)) || (leave2 && !strcmp(name, leave2)))
            continue;
        buf_text(ret, more ? ", (" : "(");
        struct buf literal BUF_OWNED;
        buf_init(&literal, ret->max);
        json_bytes(&literal, bytes_of(name));
        buf_put(ret, buf_bytes(&literal));
        buf_text(ret, "): ");
        program_term(ret, bytes_of(name), program);
        more = true;
    }
    buf_byte(ret, '}');
}

bool program_blame(struct json_object *programs, struct stage_outcome *outcome)
{
    json_object_object_foreach(programs, name, text) {
        struct problem problem = {0};
        struct expr *expr = expr_compile(bytes_of(json_object_get_string(text)), NULL, &problem);
        if (!expr) {
            outcome->error = (struct problem){0};
            stage_outcome_fail(outcome, STAGE_FAIL, "expression", "The program \"%s\" cannot be compiled: %s.", name, problem.text);
            return true;
        }
        expr_free(expr);
    }
    return false;
}

int program_open(const struct stage_outfit *outfit, void **ret_state, struct problem *problem)
{
    watch_start();      /* a locked worker starts no thread */
    *ret_state = expr_shelf_new();
    return 0;
}

void program_close(void *state)
{
    expr_shelf_free(state);
}
