#include "engine/wire.h"

#include "base/json_grammar.h"
#include "base/limits.h"

#include <math.h>
#include <stdlib.h>

enum { COMPILED_MAX = 1000 };      /* of one task: a leg has LIMIT_WORKER_STAGES, each with a few */

static void path_put(struct buf *head, const char *key, const char *path)
{
    if (!path)
        return;
    json_key(head, key);
    json_text(head, path);
}

static const char *engine_name(enum stage_engine engine)
{
    return engine == STAGE_ENGINE_ONNX ? "onnx" : engine == STAGE_ENGINE_TESSERACT ? "tesseract" : "auto";
}

static void files_put(struct buf *head, const struct stage_outfit *outfit, int ret_fds[FRAME_FDS_MAX], size_t *ret_fds_count)
{
    const struct { const char *name; int fd; } files[] = {
        {"catalogue", outfit->catalogue_fd}, {"model", outfit->model_fd}, {"keys", outfit->keys_fd},
    };
    size_t count = 0;
    json_key(head, "files");
    json_open(head, '[');
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i].fd < 0)
            continue;
        json_text(head, files[i].name);
        ret_fds[count++] = files[i].fd;
    }
    json_close(head, ']');
    *ret_fds_count = count;
}

void wire_init(struct buf *head, const char *const *stages, size_t stages_count, const struct stage_outfit *outfit, bool exec,
               int ret_fds[FRAME_FDS_MAX], size_t *ret_fds_count)
{
    json_open(head, '{');
    json_put_text(head, "frame", "init");
    json_key(head, "stages");
    json_open(head, '[');
    for (size_t i = 0; i < stages_count; i++)
        json_text(head, stages[i]);
    json_close(head, ']');
    json_put_text(head, "engine", engine_name(outfit->engine));
    path_put(head, "catalogue", outfit->catalogue_path);
    path_put(head, "model", outfit->model_path);
    path_put(head, "keys", outfit->keys_path);
    path_put(head, "library", outfit->library_path);
    path_put(head, "tessdata", outfit->tessdata_path);
    path_put(head, "scratch", outfit->scratch_path);
    path_put(head, "hidden", outfit->hidden_paths[0]);
    path_put(head, "hidden_too", outfit->hidden_paths[1]);
    json_put_int(head, "image_bytes_max", (int64_t)outfit->image_bytes_max);
    json_put_int(head, "image_pixels_max", (int64_t)outfit->image_pixels_max);
    files_put(head, outfit, ret_fds, ret_fds_count);
    if (exec) {
        json_put_text(head, "lock", "exec");
        path_put(head, "path", getenv("PATH"));
        path_put(head, "home", getenv("HOME"));
    }
    json_close(head, '}');
}

/* {"$env": NAME} anywhere in it becomes {"$secret": its text}, or {"$unset": NAME}. */
static void secrets_put(struct json_object *tree)
{
    if (json_object_is_type(tree, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(tree); i++)
            secrets_put(json_object_array_get_idx(tree, i));
        return;
    }
    if (!json_object_is_type(tree, json_type_object))
        return;
    struct bytes name = json_get_bytes(tree, "$env");
    if (name.at) {
        const char *text = getenv(name.at);
        json_object_object_add(tree, text ? "$secret" : "$unset", json_object_new_string(text ? text : name.at));
        json_object_object_del(tree, "$env");
        return;
    }
    json_object_object_foreach(tree, key, value) {
        (void)key;
        secrets_put(value);
    }
}

static void stages_put(struct buf *head, const struct task *task, bool exec)
{
    JSON_OWNED struct json_object *tree = exec && memmem(task->stages.at, task->stages.count, "$env", 4) ? json_parse(task->stages, NULL) : NULL;
    json_key(head, "stages");
    secrets_put(tree);
    if (tree)
        json_tree(head, tree);
    else
        json_raw(head, task->stages);
}

void wire_task(struct buf *head, struct buf *body, const struct task *task, bool exec)
{
    json_open(head, '{');
    json_put_text(head, "frame", "task");
    json_put_int(head, "job", task->token.job);
    json_put_int(head, "item", task->token.item);
    json_put_int(head, "attempt", task->token.attempt);
    json_put_int(head, "leg", task->leg);
    stages_put(head, task, exec);
    json_put_bytes(head, "name", task->name);
    json_put_bytes(head, "type", task->type);
    if (task->trace.count)
        json_put_bytes(head, "trace", task->trace);
    if (task->input_fd >= 0)
        json_put_flag(head, "input", true);
    json_put_int(head, "variables", (int64_t)task->variables.count);
    json_close(head, '}');
    buf_put(body, task->variables);
    buf_put(body, task->value);
}

void wire_learn(struct buf *head, struct bytes stages)
{
    json_open(head, '{');
    json_put_text(head, "frame", "learn");
    json_put_raw(head, "stages", stages);
    json_close(head, '}');
}

/* A tree of a long value would take many times its length. In JSON a raw line break can only be space between tokens. */
int wire_value(char *at, size_t count, struct problem *problem)
{
    size_t wrong = 0;
    enum json_grammar grammar = json_grammar((struct bytes){at, count}, JSON_DEPTH_MAX, &wrong);
    if (grammar == JSON_GRAMMAR_DEEP)
        return problem_set(problem, "nested more than %d deep", JSON_DEPTH_MAX);
    if (grammar != JSON_GRAMMAR_GOOD)
        return problem_set(problem, "not valid JSON at byte %zu", wrong);
    if (bytes_start(bytes_trim((struct bytes){at, count}), BYTES("null")))
        return problem_set(problem, "null, which is no value");
    for (size_t i = 0; i < count; i++)
        if (at[i] == '\n' || at[i] == '\r')
            at[i] = ' ';
    return 0;
}

/* Names to numbers and nothing else, or the stats are dropped. The text lives in the tree. */
static struct bytes stats_of(struct json_object *head)
{
    struct json_object *stats = json_get(head, "stats");
    if (!json_object_is_type(stats, json_type_object) || json_object_object_length(stats) > LIMIT_STATS)
        return (struct bytes){0};
    json_object_object_foreach(stats, name, value) {
        bool number = json_object_is_type(value, json_type_double) || json_object_is_type(value, json_type_int);
        if (!number || strlen(name) > 64)
            return (struct bytes){0};
    }
    return bytes_of(json_object_to_json_string_ext(stats, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static bool verdict_of(struct bytes name, enum verdict *ret)
{
    static const struct { struct bytes name; enum verdict verdict; } verdicts[] = {
        {{"done", 4}, VERDICT_DONE}, {{"retry", 5}, VERDICT_RETRY}, {{"fail", 4}, VERDICT_FAIL},
    };
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        if (bytes_equal(name, verdicts[i].name)) {
            *ret = verdicts[i].verdict;
            return true;
        }
    }
    return false;
}

static void failure_of(struct json_object *head, struct outcome *outcome)
{
    struct bytes type = json_get_bytes(head, "error_type");
    outcome->error = json_get_bytes(head, "error");
    if (!outcome->error.count)
        outcome->error = BYTES("The stage failed and gave no reason.");
    outcome->error_type = bytes_equal(type, BYTES("validation")) || bytes_equal(type, BYTES("expression")) ? type : BYTES("processing");
    outcome->stage = json_get_bytes(head, "stage");
    outcome->fail_job = outcome->verdict == VERDICT_FAIL && json_get_bool(head, "fail_job", false);
}

/* A score that is no number of this world would order nothing. */
static void marks_of(struct json_object *head, struct outcome *outcome)
{
    double score = json_get_real(head, "score", NAN);
    outcome->has_score = outcome->verdict == VERDICT_DONE && isfinite(score);
    outcome->score = outcome->has_score ? score : 0;
    outcome->hit = outcome->verdict == VERDICT_DONE && json_get_bool(head, "hit", false);
}

static int value_of(const struct frame *frame, struct wire_outcome *told, struct problem *problem)
{
    int64_t output = json_get_int(told->head, "output", 0);
    if (output < 0 || output > STAGE_VALUE_MAX)
        return problem_set(problem, "a result of %lld bytes", (long long)output);
    told->output_bytes = (size_t)output;
    if (output)
        return 0;
    if (frame->body.count > LIMIT_BODY_BYTES)
        return problem_set(problem, "a result of %zu bytes inline", frame->body.count);
    told->outcome.value = frame->body;
    return wire_value((char *)frame->body.at, frame->body.count, problem);
}

int wire_outcome(struct json_object *head, const struct frame *frame, struct token token, struct wire_outcome *ret, struct problem *problem)
{
    struct wire_outcome told = {.head = head, .last = json_get_bool(head, "last", false)};
    int rc = 0;
    if (json_get_int(head, "item", -1) != token.item || json_get_int(head, "attempt", -1) != token.attempt)
        rc = problem_set(problem, "the outcome of another task");
    else if (!verdict_of(json_get_bytes(head, "verdict"), &told.outcome.verdict))
        rc = problem_set(problem, "an outcome without a verdict");
    else if (told.outcome.verdict == VERDICT_DONE)
        rc = value_of(frame, &told, problem);
    else
        failure_of(head, &told.outcome);
    marks_of(head, &told.outcome);
    if (rc) {
        json_drop(&head);
        return -1;
    }
    told.outcome.stats = stats_of(head);
    int64_t compiled = json_get_int(head, "compiled", 0);
    told.compiled = compiled > 0 && compiled <= COMPILED_MAX ? (uint32_t)compiled : 0;
    *ret = told;
    return 0;
}

void wire_outcome_done(struct wire_outcome *told)
{
    json_drop(&told->head);
}
