#include "worker/leg.h"

#include "stage/program.h"

enum { ATTEMPTS_USUAL = 3 };

static const char *text_or(struct json_object *object, const char *key, const char *otherwise)
{
    struct json_object *text = json_get(object, key);
    return json_object_is_type(text, json_type_string) ? json_object_get_string(text) : otherwise;
}

static const char *kind_name(struct json_object *stage)
{
    if (json_object_is_type(stage, json_type_string))
        return json_object_get_string(stage);
    return text_or(stage, "stage", "");
}

static const struct leg_kind *kind_of(const struct leg_kinds *kinds, const char *name)
{
    for (size_t i = 0; i < kinds->count; i++)
        if (!strcmp(kinds->at[i].kind->name, name))
            return &kinds->at[i];
    return NULL;
}

static struct bytes plain(struct json_object *object)
{
    return object ? bytes_of(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)) : (struct bytes){0};
}

/* What a later stage measured replaces what an earlier one called by the same name. */
static void stats_merge(struct stage_outcome *into, const struct stage_outcome *from)
{
    for (size_t i = 0; i < from->stats_count; i++) {
        size_t at = 0;
        while (at < into->stats_count && strcmp(into->stats[at].name, from->stats[i].name))
            at++;
        if (at < into->stats_count)
            into->stats[at] = from->stats[i];
        else
            stage_outcome_stat(into, from->stats[i].name, from->stats[i].value);
    }
}

static void merge(struct stage_outcome *into, const struct stage_outcome *before)
{
    struct stage_outcome own = *into;
    into->stats_count = 0;
    stats_merge(into, before);
    stats_merge(into, &own);
    into->hit |= before->hit;
    if (!into->has_score) {
        into->has_score = before->has_score;
        into->score = before->score;
    }
}

/* ---- when ---- */

static void leave_out(const struct leg_kinds *kinds, struct json_object *stage, struct bytes input, const struct stage_task *task,
                      struct stage_outcome *outcome)
{
    struct bytes otherwise = json_get_bytes(stage, "else");
    if (otherwise.at)
        program_run(kinds->shelf, otherwise, input, task, &outcome->value, outcome);
    else if (task->input_fd >= 0 && bytes_equal(input, BYTES("null")))
        stage_outcome_fail(outcome, STAGE_FAIL, "expression", "The stage was left out by its \"when\", and its input is a file that is no JSON: "
                           "give an \"else\".");
    else
        buf_put(&outcome->value, input);
}

/* Whether the stage is to run. If not, the outcome is made. */
static bool wanted(const struct leg_kinds *kinds, struct json_object *stage, const struct stage_task *task, struct stage_outcome *outcome)
{
    struct bytes when = json_get_bytes(stage, "when"), input;
    struct buf room BUF_OWNED, answer BUF_OWNED;
    buf_init(&room, STAGE_VALUE_MAX);
    buf_init(&answer, STAGE_VALUE_MAX);
    if (!when.at)
        return true;
    struct stage_task bare = *task;
    bare.settings = (struct bytes){0};
    if (!program_input_json(&bare, &room, &input, outcome) || !program_run(kinds->shelf, when, input, &bare, &answer, outcome))
        return false;
    if (!bytes_equal(buf_bytes(&answer), BYTES("false")) && !bytes_equal(buf_bytes(&answer), BYTES("null")))
        return true;
    leave_out(kinds, stage, input, &bare, outcome);
    return false;
}

/* ---- one stage ---- */

static void run_kind(const struct leg_kinds *kinds, struct json_object *stage, struct stage_task *task, struct stage_outcome *outcome)
{
    const char *name = kind_name(stage);
    const struct leg_kind *kind = kind_of(kinds, name);
    task->settings = plain(json_get(stage, "with"));
    task->retry_on = plain(json_get(json_get(stage, "retry"), "on"));
    if (!kind) {
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "This worker has no stage \"%s\".", name);
        return;
    }
    kind->kind->run(kind->state, task, outcome);
    if (outcome->verdict == STAGE_DONE && !buf_ok(&outcome->value))
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "The result of %s has more than the %d bytes that a result may have.",
                           name, STAGE_VALUE_MAX);
    else if (outcome->verdict == STAGE_DONE && !outcome->value.count)
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "The stage %s gave no result.", name);
}

void leg_learn(const struct leg_kinds *kinds, struct json_object *stage)
{
    static const char *const common[] = {"when", "else"};
    const struct leg_kind *kind = kind_of(kinds, kind_name(stage));
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        struct bytes program = json_get_bytes(stage, common[i]);
        if (program.at)
            program_learn(kinds->shelf, program);
    }
    if (kind && kind->kind->learn)
        kind->kind->learn(kind->state, plain(json_get(stage, "with")));
}

static void on_error(struct json_object *stage, int64_t attempt, struct stage_outcome *outcome)
{
    struct json_object *choice = json_get(stage, "on_error"), *value = NULL;
    bool may_help = outcome->verdict == STAGE_RETRY && attempt < json_get_int(json_get(stage, "retry"), "attempts", ATTEMPTS_USUAL);
    if (outcome->verdict == STAGE_DONE || may_help || !choice)
        return;
    if (json_object_is_type(choice, json_type_object) && json_object_object_get_ex(choice, "use", &value)) {
        stage_outcome_done(outcome);
        stage_outcome_init(outcome);
        buf_put(&outcome->value, value ? plain(value) : BYTES("null"));
    } else if (json_object_is_type(choice, json_type_string) && !strcmp(json_object_get_string(choice), "fail_job")) {
        outcome->verdict = STAGE_FAIL;
        outcome->fail_job = true;
    }
}

void leg_run(const struct leg_kinds *kinds, struct json_object *stages, int64_t attempt, struct stage_task *task, struct stage_outcome *ret,
             const char **ret_stage)
{
    size_t count = json_object_is_type(stages, json_type_array) ? json_object_array_length(stages) : 0;
    stage_outcome_init(ret);
    if (!count)
        stage_outcome_fail(ret, STAGE_FAIL, "processing", "The task names no stage.");
    for (size_t i = 0; i < count && ret->verdict == STAGE_DONE; i++) {
        struct json_object *stage = json_object_array_get_idx(stages, i);
        struct stage_outcome before = *ret;
        stage_outcome_init(ret);
        if (i) {
            task->input_fd = -1;
            task->value = buf_bytes(&before.value);
        }
        *ret_stage = text_or(stage, "name", kind_name(stage));
        if (wanted(kinds, stage, task, ret))
            run_kind(kinds, stage, task, ret);
        on_error(stage, attempt, ret);
        merge(ret, &before);
        stage_outcome_done(&before);
    }
    if (ret->verdict == STAGE_DONE && bytes_equal(buf_bytes(&ret->value), BYTES("null")))
        stage_outcome_fail(ret, STAGE_FAIL, "expression", "The stage gave null, and null is no result.");
}
