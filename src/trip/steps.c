/* What kinds can do within a step, but for calls (call.c). A step is never freed inside something that it asked for: what fails at once is told a
 * moment later, by `late`. */
#include "trip/trip_own.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct step_cache { struct step *step; };        /* NULL: the step is gone, the answer interests nobody */

struct late_failure {
    const char *error_type;
    bool retry;
    int64_t retry_after_us;
    struct problem problem;
};

const struct trips_options *step_world(const struct step *step)
{
    return &step->trips->options;
}

struct bytes step_stage_name(const struct step *step)
{
    return trip_stage_name(step->trip, step->run->stage);
}

/* ---- its life ---- */

static void idempotency_key(struct step *step)
{
    struct buf BUF_OWNED key;
    buf_init(&key, 256);
    buf_print(&key, "%.*s-%lld-%u", BYTES_ARG(step->trip->id), (long long)step->trip->token.item, step->trip->leg_number);
    if (step->record >= 0)
        buf_print(&key, "-%lld", (long long)step->record);
    if (step->run->stage)
        buf_print(&key, "-s%zu", step->run->stage);
    size_t count = 0;
    step->idempotency_key.at = buf_take(&key, &count);
    step->idempotency_key.count = count;
}

struct step *step_new(struct run *run, const struct step_kind *kind)
{
    struct trip *trip = run->trip;
    struct step *step = mem_new(kind->size);
    step->kind = kind;
    step->trips = trip->trips;
    step->trip = trip;
    step->run = run;
    step->stage = trip_stage(trip, run->stage);
    step->value = run->value;
    step->input_fd = run->input_fd;
    step->record = run->record;
    step->remote = run->record < 0 ? trip->remote : (struct bytes){0};
    step->attempt = run->record < 0 ? trip->token.attempt : run->tries + 1;
    idempotency_key(step);
    return step;
}

/* Nothing of it is under way any more. */
static void step_quiet(struct step *step)
{
    struct loop *loop = step->trips->options.loop;
    ask_drop(step->ask);
    step->ask = NULL;
    call_drop(step);
    if (step->cache)
        step->cache->step = NULL;
    step->cache = NULL;
    timer_stop(loop, &step->timer);
    timer_stop(loop, &step->late);
}

static void step_free(struct step *step)
{
    if (step->kind->free)
        step->kind->free(step);
    limiter_let_go(step->limiter);
    free(step->failure);
    free((char *)step->idempotency_key.at);
    free(step);
}

void step_stop(struct step *step, bool for_good)
{
    step_quiet(step);
    if (step->kind->stop)
        step->kind->stop(step, for_good);
    step_quiet(step);
    step_free(step);
}

void step_end(struct step *step, const struct step_result *result)
{
    if (step->rehearses)
        return;
    step_quiet(step);
    if (step->trip->fenced) {      /* it is being stopped: nobody wants to hear this, but its blob must not stay pinned */
        if (result->blob)
            blob_abandon(step->trips->options.blobs, result->blob);
        return;
    }
    step->run->step = NULL;
    run_step_over(step->run, step, result);
    step_free(step);
}

/* A sentence without the secrets that the step knows: the other side may have quoted them. */
void step_unsecret(const struct step *step, struct problem *problem)
{
    for (size_t i = 0; i < step->secrets_count; i++) {
        size_t count = strlen(step->secrets[i]);
        for (char *at; count >= 4 && (at = strstr(problem->text, step->secrets[i]));) {
            memmove(at + 3, at + count, strlen(at + count) + 1);
            memcpy(at, "***", 3);
        }
    }
}

static void fail_with(struct step *step, const char *error_type, bool retry, int64_t retry_after_us, struct problem *problem)
{
    step_unsecret(step, problem);
    step_end(step, &(struct step_result){.error_type = error_type, .error = bytes_of(problem->text), .retry = retry,
                                         .retry_after_us = retry_after_us, .usage = step->usage});
}

void step_fail(struct step *step, const char *error_type, bool retry, int64_t retry_after_us, const char *format, ...)
{
    struct problem problem = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(problem.text, sizeof problem.text, format, args);
    va_end(args);
    problem.text[text_cut(bytes_of(problem.text), strlen(problem.text))] = 0;
    fail_with(step, error_type, retry, retry_after_us, &problem);
}

static void on_late(struct timer *timer)
{
    struct step *step = TIMER_OF(timer, struct step, late);
    struct late_failure failure = *step->failure;
    fail_with(step, failure.error_type, failure.retry, failure.retry_after_us, &failure.problem);
}

void step_fail_late(struct step *step, const char *error_type, bool retry, const char *format, ...)
{
    va_list args;
    step_quiet(step);
    free(step->failure);
    step->failure = MEM_NEW(struct late_failure);
    *step->failure = (struct late_failure){.error_type = error_type, .retry = retry};
    va_start(args, format);
    vsnprintf(step->failure->problem.text, sizeof step->failure->problem.text, format, args);
    va_end(args);
    timer_start(step->trips->options.loop, &step->late, 0, on_late);
}

/* ---- asks ---- */

static void on_ask(void *data, const struct outcome *outcome)
{
    struct step *step = data;
    step->ask = NULL;
    step->got_ask(step, outcome);
}

void step_ask(struct step *step, const struct ask_want *want, ask_fn *got)
{
    if (step->rehearses) {
        asker_learn(step->trips->options.asker, want->stages);
        return;
    }
    struct ask_want full = *want;
    if (!full.variables.count)
        full.variables = step->trip->variables;
    /* The records of one batch must not hold up what another batch waits for, nor one record another that is nearly done. */
    full.turn = step->record < 0 ? ASK_LEADS : step->run->asked ? ASK_GOES_ON : ASK_BEGINS;
    step->run->asked = true;
    ask_drop(step->ask);
    step->got_ask = got;
    step->ask = ask_start(step->trips->options.asker, &full, on_ask, step);
    if (!step->ask)
        step_fail_late(step, "busy", true, "Stage %.*s waits for workers behind %d others: too many.", BYTES_ARG(step_stage_name(step)), LIMIT_ASKS);
}

/* The words of core/outcome.h, as static texts. */
const char *step_error_type(struct bytes name)
{
    static const char *const types[] = {"crash", "timeout", "validation", "expression", "processing", "network", "status", "invalid_json", "remote"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (bytes_equal(name, bytes_of(types[i])))
            return types[i];
    return "processing";
}

void step_fail_outcome(struct step *step, const struct outcome *outcome)
{
    step_fail(step, step_error_type(outcome->error_type), outcome->verdict == VERDICT_RETRY, outcome->retry_after_us, "Stage %.*s: %.*s",
              BYTES_ARG(step_stage_name(step)), BYTES_ARG(outcome->error));
}

static void on_eval(void *data, const struct outcome *outcome)
{
    struct step *step = data;
    struct problem problem = {0};
    struct buf BUF_OWNED text;
    JSON_OWNED struct json_object *answer = NULL;
    buf_init(&text, LIMIT_ASK_BYTES);
    if (outcome->verdict != VERDICT_DONE) {
        step_fail_outcome(step, outcome);
        return;
    }
    if (!ask_value(step->trips->options.blobs, outcome, &text)) {
        step_fail(step, "processing", true, 0, "The answer of the expressions of stage %.*s could not be read.", BYTES_ARG(step_stage_name(step)));
        return;
    }
    answer = json_parse(buf_bytes(&text), &problem);
    if (!json_object_is_type(answer, json_type_object))
        step_fail(step, "expression", false, 0, "The expressions of stage %.*s gave no object: %s.", BYTES_ARG(step_stage_name(step)), problem.text);
    else
        step->got_eval(step, answer);
}

/* A value that is too long for a frame goes as a file. */
static int file_of(struct bytes value)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    for (size_t done = 0; fd >= 0 && done < value.count;) {
        ssize_t count = write(fd, value.at + done, value.count - done);
        if (count <= 0) {
            close(fd);
            return -1;
        }
        done += (size_t)count;
    }
    return fd;
}

bool want_value(struct ask_want *want, struct bytes value)
{
    want->input_fd = -1;
    want->value = value.count ? value : BYTES("null");
    if (value.count <= LIMIT_ASK_INLINE_BYTES)
        return true;
    want->input_fd = file_of(value);
    want->value = (struct bytes){0};
    want->type = BYTES("application/json");
    return want->input_fd >= 0;
}

bool step_input(const struct step *step, struct bytes value, struct ask_want *want)
{
    bool own = !value.at;
    want->input_fd = -1;
    if (own && step->input_fd >= 0) {
        want->input_fd = fcntl(step->input_fd, F_DUPFD_CLOEXEC, 0);
        want->type = step->trip->type.count ? step->trip->type : BYTES("application/json");
        return want->input_fd >= 0;
    }
    return want_value(want, own ? step->value : value);
}

void step_variables(const struct step *step, struct bytes more, struct buf *ret)
{
    struct bytes members = step->trip->variables;
    if (members.count < 2)
        members = BYTES("{}");
    buf_add(ret, members.at, members.count - 1);
    if (more.count && members.count > 2)
        buf_byte(ret, ',');
    buf_put(ret, more);
    buf_byte(ret, '}');
}

void step_eval(struct step *step, struct bytes programs, struct bytes value, struct bytes more, void (*got)(struct step *step, struct json_object *answer))
{
    struct ask_want want = {.input_fd = -1};
    struct buf BUF_OWNED stages, BUF_OWNED variables;
    buf_init(&stages, LIMIT_FRAME_BYTES);
    buf_init(&variables, LIMIT_ASK_BYTES);
    buf_text(&stages, "[{\"stage\":\"eval\",\"with\":{\"programs\":");
    buf_put(&stages, programs);
    buf_text(&stages, "}}]");
    step_variables(step, more, &variables);
    want.stages = buf_bytes(&stages);
    want.variables = buf_bytes(&variables);
    step->got_eval = got;
    if (!buf_ok(&stages) || !buf_ok(&variables) || !step_input(step, value, &want))
        step_fail_late(step, "processing", !buf_ok(&stages) ? false : true, "The expressions of stage %.*s and what they see are too long.",
                       BYTES_ARG(step_stage_name(step)));
    else
        step_ask(step, &want, on_eval);
}

/* ---- time, and words of it ---- */

static void on_woken(struct timer *timer)
{
    struct step *step = TIMER_OF(timer, struct step, timer);
    step->woken(step);
}

void step_sleep(struct step *step, int64_t delay_us, void (*woken)(struct step *step))
{
    step->woken = woken;
    timer_start(step->trips->options.loop, &step->timer, delay_us, on_woken);
}

bool step_waiting(struct step *step, struct bytes remote)
{
    struct trip *trip = step->trip;
    const struct crew_client *client = &trip->trips->crew.client;
    if (trip->fenced)
        return false;
    assert(step->record < 0);
    trip->waits = true;
    if (!client->waiting || client->waiting(client->data, trip->token, remote, (struct bytes){0}))
        return true;
    trip_fence(trip);
    return false;
}

void step_hint(struct step *step, int percent, struct bytes word)
{
    const struct crew_client *client = &step->trips->crew.client;
    if (client->hint)
        client->hint(client->data, step->trip->token, percent, word);
}

bool step_hook_url(const struct step *step, struct buf *ret)
{
    const struct trips_options *options = &step->trips->options;
    const struct trip *trip = step->trip;
    char token[HOOK_TOKEN_SIZE];
    if (!options->public_url || !options->hook_key)
        return false;
    size_t count = strlen(options->public_url);
    while (count && options->public_url[count - 1] == '/')
        count--;
    hook_token(options->hook_key, trip->token.job, trip->token.item, trip->leg_number, token);
    return buf_add(ret, options->public_url, count) && buf_print(ret, "/v1/hooks/%s", token);
}

/* ---- the common keys: when, else, cache ---- */

static void on_passed(void *data, const struct outcome *outcome)
{
    struct step *step = data;
    if (outcome->verdict == VERDICT_DONE)
        step_end(step, &(struct step_result){.value = outcome->value, .blob = outcome->blob, .passed = true});
    else
        step_fail_outcome(step, outcome);
}

/* What comes in goes out. */
static void pass(struct step *step)
{
    struct ask_want want = {.stages = BYTES("[{\"stage\":\"jq\",\"with\":{\"program\":\".\"}}]"), .input_fd = -1};
    if (step->input_fd < 0)
        step_end(step, &(struct step_result){.value = step->value.count ? step->value : BYTES("null"), .passed = true});
    else if (step_input(step, (struct bytes){0}, &want))
        step_ask(step, &want, on_passed);
    else
        step_fail(step, "processing", true, 0, "The input of stage %.*s could not be handed on.", BYTES_ARG(step_stage_name(step)));
}

static void on_cached(void *data, const struct bytes *values, size_t count)
{
    struct step_cache *look = data;
    struct step *step = look->step;
    free(look);
    if (!step)
        return;
    step->cache = NULL;
    if (!count || !values[0].at) {
        step->kind->begin(step);
        return;
    }
    step->run->from_cache = true;
    step_end(step, &(struct step_result){.value = values[0], .usage = BYTES("{\"cache_hits\":1}")});
}

/* One key for all jobs of the pipeline's name: pipeline, stage, what it asks for, and what the key's program made of the input. Without such a program
 * it is the input itself and the job's parameters, which the request may have been made of as well. */
static void look_up(struct step *step, struct bytes key)
{
    struct run *run = step->run;
    struct buf BUF_OWNED text;
    buf_init(&text, LIMIT_ASK_BYTES);
    buf_text(&text, step->trip->pipeline->name);
    buf_byte(&text, 0);
    buf_put(&text, step_stage_name(step));
    buf_byte(&text, 0);
    json_tree(&text, json_get(step->stage, "with"));
    buf_byte(&text, 0);
    if (!json_get(json_get(step->stage, "cache"), "key"))
        buf_put(&text, json_span(step->trip->variables, "params"));
    buf_byte(&text, 0);
    buf_put(&text, key);
    if (!buf_ok(&text) || !step->trips->options.store) {
        step->kind->begin(step);
        return;
    }
    run->cache_key = sha_of(buf_bytes(&text));
    run->has_cache_key = true;
    step->cache = MEM_NEW(struct step_cache);
    step->cache->step = step;
    store_cache_get(step->trips->options.store, &run->cache_key, 1, on_cached, step->cache);
}

static struct bytes text_of(struct json_object *value)
{
    return value ? bytes_of(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)) : BYTES("null");
}

static void on_common(struct step *step, struct json_object *answer)
{
    struct json_object *value = NULL;
    bool asked = json_object_object_get_ex(answer, "when", &value);
    if (asked && (!value || (json_object_is_type(value, json_type_boolean) && !json_object_get_boolean(value)))) {
        step->run->has_cache_key = false;
        if (json_object_object_get_ex(answer, "else", &value))
            step_end(step, &(struct step_result){.value = text_of(value)});
        else
            pass(step);
    } else if (json_object_object_get_ex(answer, "cache_key", &value)) {
        look_up(step, text_of(value));
    } else {
        step->kind->begin(step);
    }
}

static bool put_program(struct buf *programs, const char *name, struct bytes program)
{
    if (!program.at)
        return false;
    json_key(programs, name);
    json_bytes(programs, program);
    return true;
}

static bool is_cached(const struct step *step)
{
    struct json_object *cache = json_get(step->stage, "cache");
    return cache && !json_get(cache, "row_key") && step->trips->options.store;
}

/* False: there is nothing to ask. */
static bool ask_common(struct step *step)
{
    struct bytes key = json_get_bytes(json_get(step->stage, "cache"), "key");
    struct buf BUF_OWNED programs;
    buf_init(&programs, LIMIT_FRAME_BYTES);
    json_open(&programs, '{');
    bool any = put_program(&programs, "when", json_get_bytes(step->stage, "when"));
    if (any)
        put_program(&programs, "else", json_get_bytes(step->stage, "else"));
    if (is_cached(step) && (key.at || step->input_fd >= 0))
        any |= put_program(&programs, "cache_key", key.at ? key : BYTES("."));
    json_close(&programs, '}');
    if (any)
        step_eval(step, buf_bytes(&programs), (struct bytes){0}, (struct bytes){0}, on_common);
    return any;
}

void step_learn(struct run *run, const struct step_kind *kind)
{
    struct step *step = step_new(run, kind);
    step->rehearses = true;
    ask_common(step);
    kind->learn(step);
    step_quiet(step);
    step_free(step);
}

void step_begin(struct step *step)
{
    step->run->has_cache_key = step->run->from_cache = false;
    if (ask_common(step))
        return;
    if (is_cached(step))
        look_up(step, step->value);
    else
        step->kind->begin(step);
}
