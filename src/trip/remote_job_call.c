/* What a remote job asks of workers and of the other side. */
#include "trip/remote_job.h"

#include "base/text.h"
#include "trip/trip_own.h"

enum { CALL_US = 30000000 };       /* a call that hangs longer is made again */

/* ---- asking workers ---- */

static void put_variable(struct buf *more, const char *name, struct bytes json)
{
    buf_print(more, "%s\"%s\":", more->count ? "," : "", name);
    buf_put(more, json.count ? json : BYTES("null"));
}

static void ask(struct remote_job *job, struct bytes stages, const struct bytes *over, int file, struct bytes response, ask_fn *got)
{
    BUF_OWNED struct buf more, variables;
    buf_init(&more, LIMIT_ASK_BYTES);
    buf_init(&variables, LIMIT_ASK_BYTES);
    put_variable(&more, "id", buf_bytes(&job->id));
    put_variable(&more, "start", buf_bytes(&job->start));
    put_variable(&more, "poll", buf_bytes(&job->poll));
    put_variable(&more, "response", response);
    step_variables(&job->step, buf_bytes(&more), &variables);
    struct ask_want want = {.stages = stages, .input_fd = file, .type = BYTES("application/json")};
    if (file < 0 && !step_input(&job->step, over ? *over : (struct bytes){0}, &want)) {
        remote_job_fail(job, "processing", true, "what a worker was to look at could not be handed to it");
        return;
    }
    want.variables = buf_bytes(&variables);
    step_ask(&job->step, &want, got);
}

void remote_job_ask(struct remote_job *job, struct bytes stages, int file, ask_fn *got)
{
    ask(job, stages, NULL, file, (struct bytes){0}, got);
}

void remote_job_ask_over(struct remote_job *job, struct bytes stages, struct bytes value, ask_fn *got)
{
    ask(job, stages, &value, -1, (struct bytes){0}, got);
}

void remote_job_eval_text(struct remote_job *job, struct bytes programs, const struct bytes *over, struct bytes response, ask_fn *got)
{
    BUF_OWNED struct buf stages;
    buf_init(&stages, LIMIT_FRAME_BYTES);
    buf_text(&stages, "[{\"stage\":\"eval\",\"with\":{\"programs\":{");
    buf_put(&stages, programs);
    buf_text(&stages, "}}}]");
    ask(job, buf_bytes(&stages), over, -1, response, got);
}

void remote_job_eval(struct remote_job *job, const struct remote_job_program *programs, size_t count, const struct bytes *over,
                     struct bytes response, ask_fn *got)
{
    BUF_OWNED struct buf inside;
    buf_init(&inside, LIMIT_FRAME_BYTES);
    for (size_t i = 0; i < count; i++)
        if (programs[i].text.count)
            json_put_bytes(&inside, programs[i].name, programs[i].text);
    remote_job_eval_text(job, buf_bytes(&inside), over, response, got);
}

struct json_object *remote_job_answer(struct remote_job *job, const struct outcome *outcome, const char *doing)
{
    if (outcome->verdict != VERDICT_DONE) {
        bool retry = outcome->verdict == VERDICT_RETRY;
        BUF_OWNED struct buf error;
        buf_init(&error, 1024);
        buf_put(&error, (struct bytes){outcome->error.at, text_cut(outcome->error, 400)});
        remote_job_fail(job, retry ? "crash" : "expression", retry, "%s: %s", doing, buf_z(&error));
        return NULL;
    }
    BUF_OWNED struct buf text;
    buf_init(&text, LIMIT_ASK_BYTES);
    struct problem problem = {0};
    struct json_object *tree = ask_value(step_world(&job->step)->blobs, outcome, &text) ? json_parse(buf_bytes(&text), &problem) : NULL;
    if (!tree || !json_object_is_type(tree, json_type_object)) {
        json_object_put(tree);
        remote_job_fail(job, "expression", false, "%s: its expressions gave more than %d MiB", doing, LIMIT_ASK_BYTES >> 20);
        return NULL;
    }
    return tree;
}

/* ---- calling ---- */

const char *remote_job_method(struct json_object *of, const char *fallback)
{
    struct json_object *method = of ? json_get(of, "method") : NULL;
    return method && json_object_is_type(method, json_type_string) ? json_object_get_string(method) : fallback;
}

static bool has_type(const struct bytes *lines, size_t count)
{
    struct bytes name = BYTES("Content-Type:");
    for (size_t i = 0; i < count; i++)
        if (lines[i].count > name.count && bytes_equal_nocase((struct bytes){lines[i].at, name.count}, name))
            return true;
    return false;
}

enum { LINES = 40 };

/* False: the step has failed. Where another host is told by an answer, it gets no credentials, and it must not be one of ours. */
static bool make_call(struct remote_job *job, const struct remote_job_call *call, struct buf *url, struct bytes *lines, struct step_call *ret)
{
    bool guarded = false, foreign = false;
    size_t count = 0;
    if (!step_url(&job->step, job->with, call->url, url, &guarded, &foreign))
        return false;
    const struct headers *all[] = {call->bare || foreign ? &job->bare : &job->headers, call->more};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; all[i] && k < all[i]->count && count < LINES - 1; k++)
            lines[count++] = all[i]->lines[k];
    if (call->body.count && !call->part_name && !has_type(lines, count))
        lines[count++] = BYTES("Content-Type: application/json");
    *ret = (struct step_call){.purpose = call->purpose, .request = {
        .method = call->method, .url = buf_bytes(url), .headers = lines, .headers_count = count, .body = call->body, .part_name = call->part_name,
        .part_file = call->part_file, .part_fields = call->part_fields, .timeout_us = call->timeout_us ? call->timeout_us : CALL_US,
        .answer_max = call->answer_max, .spool = call->spool, .guarded = guarded, .redirects = true,
    }};
    return true;
}

void remote_job_call(struct remote_job *job, const struct remote_job_call *call, fetch_fn *got)
{
    BUF_OWNED struct buf url;
    struct bytes lines[LINES];
    struct step_call wanted;
    buf_init(&url, LIMIT_BODY_BYTES);
    if (make_call(job, call, &url, lines, &wanted))
        step_call(&job->step, &wanted, got);
}

/* ---- calling it off ---- */

void remote_job_cancel_program(const struct remote_job *job, struct buf *ret)
{
    struct bytes program = remote_job_text(json_get(job->with, "cancel"), "url");
    if (program.count)
        buf_print(ret, "try (\"" REMOTE_ID_MARK "\" as $id | (%.*s\n)) catch null", BYTES_ARG(program));
}

void remote_job_cancel_know(struct remote_job *job, struct bytes marked)
{
    buf_clear(&job->cancel);
    buf_put(&job->cancel, marked);
}

/* What it costs ends there. Nobody waits for the answer. */
void remote_job_call_off(struct remote_job *job)
{
    BUF_OWNED struct buf path, url;
    struct bytes lines[LINES];
    struct step_call call;
    buf_init(&path, LIMIT_BODY_BYTES);
    buf_init(&url, LIMIT_BODY_BYTES);
    if (!job->cancel.count || !job->id.count)
        return;
    remote_job_fill(buf_bytes(&job->cancel), BYTES(REMOTE_ID_MARK), buf_bytes(&job->id), &path);
    struct remote_job_call wanted = {.method = remote_job_method(json_get(job->with, "cancel"), "POST"),
                                     .url = path.count ? buf_bytes(&path) : buf_bytes(&job->cancel), .purpose = "cancel"};
    if (make_call(job, &wanted, &url, lines, &call))
        step_farewell(&job->step, &call);
}
