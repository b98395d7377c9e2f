/* What a pipeline says of its mirror, and paths. A path's template came here as the program of a string; the few variables it may have are put in
 * here, because jq runs in workers only and a path must not have to wait for one. */
#include "readers/mirror_own.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_DOC_BYTES = 900 * 1024, PATH_BYTES = 4096, NAME_BYTES = 255 };

/* A slash would make another path of it. */
static void put_part(struct buf *ret, struct bytes text)
{
    for (size_t i = 0; i < text.count; i++)
        buf_byte(ret, text.at[i] == '/' ? '_' : text.at[i]);
}

static int put_variable(struct bytes name, const struct mirror_names *names, struct buf *ret, struct problem *problem)
{
    name = bytes_trim(name);
    bool item = bytes_equal(name, BYTES("$batch.index")) || bytes_equal(name, BYTES("$item.index"));
    if (bytes_equal(name, BYTES("$job.id"))) {
        put_part(ret, names->job_id);
    } else if (bytes_equal(name, BYTES("$job.owner"))) {
        put_part(ret, names->owner);
    } else if (item && names->item >= 0) {
        buf_print(ret, "%lld", (long long)names->item);
    } else if (bytes_start(name, BYTES("$params.")) && name.count > 8 && name.count < 8 + NAME_BYTES) {
        char key[NAME_BYTES + 1];
        snprintf(key, sizeof key, "%.*s", (int)(name.count - 8), name.at + 8);
        struct json_object *value = json_get(names->params, key);
        put_part(ret, bytes_of(value ? json_object_get_string(value) : "_"));
    } else {
        return problem_set(problem, "the mirror's paths know $job.id, $job.owner, $params.NAME%s, not %.*s",
                           names->item >= 0 ? ", $batch.index and $item.index" : "", (int)(name.count < 80 ? name.count : 80), name.at);
    }
    return 0;
}

/* An escape of the literal part; *at stands behind the backslash. */
static void put_escape(struct bytes text, size_t *at, struct buf *ret)
{
    if (text.at[*at] == 'u' && *at + 4 < text.count) {
        char hex[5] = {text.at[*at + 1], text.at[*at + 2], text.at[*at + 3], text.at[*at + 4], 0};
        buf_byte(ret, (char)strtoul(hex, NULL, 16));         /* only control characters are written so */
        *at += 5;
        return;
    }
    buf_byte(ret, text.at[(*at)++]);
}

int mirror_path(struct bytes program, const struct mirror_names *names, struct buf *ret, struct problem *problem)
{
    struct bytes text = bytes_trim(program);
    if (text.count < 2 || text.at[0] != '"' || text.at[text.count - 1] != '"')
        return problem_set(problem, "a path of the mirror must be a plain template");
    text = (struct bytes){text.at + 1, text.count - 2};
    for (size_t at = 0; at < text.count;) {
        if (text.at[at] != '\\' || at + 1 >= text.count) {
            buf_byte(ret, text.at[at++]);
            continue;
        }
        at++;
        if (text.at[at] != '(') {
            put_escape(text, &at, ret);
            continue;
        }
        const char *end = memchr(text.at + at, ')', text.count - at);
        struct bytes name = {text.at + at + 1, end ? (size_t)(end - text.at) - at - 1 : 0};
        if (!end || put_variable(name, names, ret, problem))
            return end ? -1 : problem_set(problem, "a path of the mirror has a \\( without its )");
        at += name.count + 2;
    }
    return buf_ok(ret) ? 0 : problem_set(problem, "a path of the mirror is longer than %zu bytes", ret->max);
}

/* ---- the plan ---- */

static int text_of(struct json_object *with, const char *key, const char *fallback, char **ret, struct problem *problem)
{
    struct json_object *value = json_get(with, key);
    struct bytes name = json_get_bytes(value, "$env");
    char variable[NAME_BYTES + 1];
    if (!value) {
        *ret = mem_text(fallback);
    } else if (name.count && name.count <= NAME_BYTES) {
        snprintf(variable, sizeof variable, "%.*s", BYTES_ARG(name));
        const char *text = getenv(variable);
        if (!text || !text[0])
            return problem_set(problem, "the mirror's %s is to come from %s, which is not set in the environment", key, variable);
        *ret = mem_text(text);
    } else if (json_object_get_type(value) == json_type_string) {
        *ret = mem_text(json_object_get_string(value));
    } else {
        return problem_set(problem, "the mirror's %s must be a text", key);
    }
    return 0;
}

static int check_paths(const struct mirror_plan *plan, struct problem *problem)
{
    struct buf path BUF_OWNED;
    struct mirror_names names = {.job_id = BYTES("j"), .owner = BYTES("o"), .item = -1};
    buf_init(&path, PATH_BYTES);
    if (mirror_path(bytes_of(plan->job), &names, &path, problem))
        return -1;
    bool good = firestore_path_ok(buf_bytes(&path));
    names.item = 0;
    buf_byte(&path, '/');
    if (mirror_path(bytes_of(plan->batch), &names, &path, problem))
        return -1;
    if (good && firestore_path_ok(buf_bytes(&path)))
        return 0;
    return problem_set(problem, "the mirror's paths must be those of documents: COLLECTION/DOCUMENT, and the same again below it");
}

int mirror_plan_init(struct mirror_plan *plan, const struct pipeline *pipeline, struct problem *problem)
{
    struct json_object *with = json_get(json_get(pipeline->tree, "mirror"), "firestore");
    bool own_key = pipeline->result_key && strcmp(pipeline->result_key, "result");
    *plan = (struct mirror_plan){.max_doc = json_get_int(with, "max_doc", MAX_DOC_BYTES),
                                 .chunks = !bytes_equal(json_get_bytes(with, "overflow"), BYTES("fail"))};
    if (text_of(with, "job", "\"pipeline_jobs/\\($job.id)\"", &plan->job, problem) ||
        text_of(with, "batch", "\"batches/\\($batch.index)\"", &plan->batch, problem) ||
        text_of(with, "results_key", own_key ? pipeline->result_key : "profiles", &plan->results_key, problem) ||
        text_of(with, "project", NULL, &plan->project, problem) || text_of(with, "database", NULL, &plan->database, problem) ||
        text_of(with, "credentials", NULL, &plan->credentials, problem))
        return -1;
    if (plan->max_doc < 1024 || plan->max_doc > 1000000)
        return problem_set(problem, "the mirror's max_doc is %lld: it must be from 1024 to 1000000 bytes", (long long)plan->max_doc);
    return check_paths(plan, problem);
}

void mirror_plan_done(struct mirror_plan *plan)
{
    free(plan->job);
    free(plan->batch);
    free(plan->results_key);
    free(plan->project);
    free(plan->database);
    free(plan->credentials);
    *plan = (struct mirror_plan){0};
}

int mirror_check(const struct pipeline *pipeline, struct problem *problem)
{
    struct mirror_plan plan = {0};
    if (!json_get(json_get(pipeline->tree, "mirror"), "firestore"))
        return 0;
    int failed = mirror_plan_init(&plan, pipeline, problem);
    mirror_plan_done(&plan);
    return failed;
}
