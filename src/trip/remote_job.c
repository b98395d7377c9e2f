#include "trip/remote_job.h"

#include "trip/trip_own.h"

#include "base/hash.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    POLL_EVERY_US = 2000000, POLL_MOST_US = 30000000,     /* when the stage says nothing */
    CALL_US = 30000000,                                    /* a poll that hangs longer is asked again */
    TIMEOUT_US_S = 3600,
    WOKEN_US = 100000,                                     /* between two polls, however many hooks come */
    GRACE_US = 35000000,                                   /* a poll that is under way at the timeout may still end */
};
#define UNKNOWN_MIN_US 1000000LL
#define UNKNOWN_MAX_US 60000000LL

/* ---- what every part uses ---- */

struct bytes remote_job_name(const struct remote_job *job)
{
    struct bytes name = json_get_bytes(job->step.stage, "name");
    return name.count ? name : BYTES("remote_job");
}

#define BUFS(job) {&(job)->id, &(job)->start, &(job)->poll, &(job)->url, &(job)->body, &(job)->cancel, &(job)->word, &(job)->misses, \
                   &(job)->fetch.url, &(job)->fetch.body, &(job)->fetch.at, &(job)->result}

static void release(struct step *step)
{
    struct remote_job *job = (struct remote_job *)step;
    struct buf *bufs[] = BUFS(job);
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_done(bufs[i]);
    timer_stop(step_world(step)->loop, &job->limit);
    headers_free(&job->headers);
    headers_free(&job->bare);
    headers_free(&job->start_headers);
    if (job->lookup)
        remote_job_look_up(job, NULL, 0, NULL);
    free(job->keys);
    free(job->hits);
    int *files[] = {&job->rows, &job->copying, &job->fetch.file};
    for (size_t i = 0; job->begun && i < sizeof files / sizeof *files; i++)
        if (*files[i] >= 0)
            close(*files[i]);
    if (job->has_blob)
        blob_abandon(step_world(step)->blobs, &job->result_blob);
}

void remote_job_end(struct remote_job *job, const struct step_result *result)
{
    timer_stop(step_world(&job->step)->loop, &job->limit);
    step_end(&job->step, result);
}

void remote_job_fail(struct remote_job *job, const char *type, bool retry, const char *format, ...)
{
    char text[sizeof(struct problem)];
    struct bytes name = remote_job_name(job);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    timer_stop(step_world(&job->step)->loop, &job->limit);
    step_fail(&job->step, type, retry, 0, "Stage %.*s: %s", BYTES_ARG(name), text);
}

void remote_job_fail_answer(struct remote_job *job, const struct fetch_answer *answer, const char *doing)
{
    timer_stop(step_world(&job->step)->loop, &job->limit);
    step_fail_answer(&job->step, answer, doing);
}

bool remote_job_retries(const struct remote_job *job, const char *name)
{
    struct json_object *retry = json_get(job->step.stage, "retry"), *on = retry ? json_get(retry, "on") : NULL;
    for (size_t i = 0; on && json_object_is_type(on, json_type_array) && i < json_object_array_length(on); i++) {
        const char *one = json_object_get_string(json_object_array_get_idx(on, i));
        if (one && strcmp(one, name) == 0)
            return true;
    }
    return false;
}

bool remote_job_transient(const struct fetch_answer *answer)
{
    if (answer->end != FETCH_ANSWERED)
        return answer->end == FETCH_NETWORK || answer->end == FETCH_TIMEOUT;
    int status = answer->status;
    return status >= 500 || status == 408 || status == 425 || status == 429;
}

/* ---- waiting ---- */

/* Of many jobs that were started in one breath each asks at its own time; never later than its clock says. */
static int64_t spread(const struct remote_job *job, int64_t delay_us)
{
    uint64_t chance = hash_mix(hash_bytes(buf_bytes(&job->id)) + job->polls);
    return delay_us - (int64_t)(chance % (uint64_t)(delay_us / 8 + 1));
}

static void timed_out(struct remote_job *job)
{
    BUF_OWNED struct buf text;
    buf_init(&text, 4096);
    buf_print(&text, "%.*s was not ready %lld s after its start", BYTES_ARG(buf_bytes(&job->id)), (long long)(job->timeout_us / 1000000));
    if (job->word.count)
        buf_print(&text, "; the last word: %s", buf_z(&job->word));
    bool again = remote_job_retries(job, "timeout");
    remote_job_call_off(job);
    if (again) {
        job->round++;
        buf_clear(&job->id);
        if (!remote_job_told(job))
            return;
    }
    remote_job_fail(job, "timeout", again, "%s", buf_z(&text));
}

static void limit_over(struct timer *timer)
{
    timed_out(TIMER_OF(timer, struct remote_job, limit));
}

/* The clock on the wall is set back and forth; a job that was adopted has nothing else. */
static int64_t left_us(const struct remote_job *job)
{
    return job->deadline_us - loop_wall_us(step_world(&job->step)->loop);
}

static void waited(struct step *step)
{
    struct remote_job *job = (struct remote_job *)step;
    job->sleeping = false;
    job->again(step);
}

void remote_job_wait(struct remote_job *job, int64_t retry_after_us, void (*again)(struct step *step))
{
    int64_t left = left_us(job);
    if (left <= 0) {
        timed_out(job);
        return;
    }
    int64_t delay = spread(job, job->delay_us);
    job->delay_us = job->delay_us + job->delay_us / 2 < job->every_us[1] ? job->delay_us + job->delay_us / 2 : job->every_us[1];
    if (job->woken)
        delay = WOKEN_US;
    if (delay < retry_after_us)
        delay = retry_after_us;
    job->woken = false;
    job->sleeping = true;
    job->again = again;
    step_sleep(&job->step, delay < left ? delay : left, waited);
}

void remote_job_unknown(struct remote_job *job, void (*again)(struct step *step))
{
    int64_t now = loop_now_us(step_world(&job->step)->loop), patience = job->every_us[1] * 4;
    patience = patience < UNKNOWN_MIN_US ? UNKNOWN_MIN_US : patience > UNKNOWN_MAX_US ? UNKNOWN_MAX_US : patience;
    if (!job->unknown_us)
        job->unknown_us = now;
    if (now - job->unknown_us > patience)
        remote_job_fail(job, "remote", false, "%.*s is not known at %s (404 for %lld s)", BYTES_ARG(buf_bytes(&job->id)),
                    job->step.host, (long long)(patience / 1000000));
    else
        remote_job_wait(job, 0, again);
}

/* ---- polling ---- */

static void poll_now(struct step *step);

/* It says that it has failed. Only a stage that wants it starts another one, and then under another key. */
static void told_failed(struct remote_job *job, struct json_object *error)
{
    BUF_OWNED struct buf text;
    buf_init(&text, 4096);
    const char *words = error && json_object_is_type(error, json_type_string) ? json_object_get_string(error) : NULL;
    if (!words && error)
        json_tree(&text, error);
    else if (words)
        text_clean(&text, (struct bytes){words, text_cut(bytes_of(words), 400)});
    BUF_OWNED struct buf id;
    buf_init(&id, 1024);
    buf_put(&id, buf_bytes(&job->id));
    bool again = remote_job_retries(job, "failed");
    if (again) {
        job->round++;
        buf_clear(&job->id);
        if (!remote_job_told(job))
            return;
    }
    remote_job_fail(job, "remote", again, "%s has failed: %s", buf_z(&id), text.count ? buf_z(&text) : "no reason was given");
}

static bool matches(const struct remote_job *job, const char *name, struct json_object *state, const char *const *usual)
{
    struct json_object *poll = json_get(job->with, "poll"), *list = json_get(poll, name);
    if (list)
        return remote_job_among(list, state);
    const char *text = state && json_object_is_type(state, json_type_string) ? json_object_get_string(state) : NULL;
    for (; text && usual && *usual; usual++)
        if (strcmp(*usual, text) == 0)
            return true;
    return strcmp(name, "done") == 0 && state && json_object_is_type(state, json_type_boolean) && json_object_get_boolean(state);
}

/* How far it is, for those who watch. */
static void hint(struct remote_job *job, struct json_object *state, struct json_object *progress)
{
    bool text = json_object_is_type(state, json_type_string);
    double percent = json_object_get_double(progress);
    if (json_object_is_type(progress, json_type_int) || json_object_is_type(progress, json_type_double))
        step_hint(&job->step, percent < 0 ? 0 : percent > 100 ? 100 : (int)percent,
                  text ? bytes_of(json_object_get_string(state)) : BYTES("waiting"));
}

static void said(struct remote_job *job, struct json_object *state, struct json_object *error, struct json_object *progress)
{
    static const char *const done[] = {"ready", "completed", "done", "succeeded", "SUCCEEDED", "COMPLETED", NULL};
    static const char *const failed[] = {"failed", "error", "cancelled", "canceled", "FAILED", "ABORTED", "TIMED-OUT", NULL};
    if (matches(job, "failed", state, failed)) {
        told_failed(job, error);
    } else if (matches(job, "done", state, done) || matches(job, "partial", state, NULL)) {
        remote_job_go_fetch(job);
    } else {
        buf_clear(&job->word);
        buf_put(&job->word, (struct bytes){job->poll.at, text_cut(buf_bytes(&job->poll), 200)});
        buf_clear(&job->poll);
        hint(job, state, progress);
        remote_job_wait(job, 0, poll_now);
    }
}

static void state_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    if (outcome->verdict != VERDICT_DONE) {        /* a worker's crash must not cost a job that is being paid for */
        remote_job_wait(job, 0, poll_now);
        return;
    }
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "reading its state");
    if (answer)
        said(job, json_get(answer, "state"), json_get(answer, "error"), json_get(answer, "progress"));
}

/* An expression that does not fit what was said makes it one more way of saying "not yet". */
static struct bytes lenient(struct buf *buf, struct bytes program, struct bytes fallback)
{
    buf_text(buf, "try (");
    buf_put(buf, program.count ? program : fallback);
    buf_text(buf, "\n) catch null");
    return buf_bytes(buf);
}

static void ask_state(struct remote_job *job)
{
    struct json_object *poll = json_get(job->with, "poll");
    BUF_OWNED struct buf first, second, third;
    buf_init(&first, LIMIT_BODY_BYTES);
    buf_init(&second, LIMIT_BODY_BYTES);
    buf_init(&third, LIMIT_BODY_BYTES);
    struct remote_job_program programs[] = {{"state", lenient(&first, remote_job_text(poll, "state"), BYTES(".status"))},
                                            {"error", lenient(&second, remote_job_text(poll, "error"), BYTES(".error_message // .error // .message"))},
                                            {"progress", lenient(&third, remote_job_text(poll, "progress"), BYTES("null"))}};
    struct bytes over = buf_bytes(&job->poll);
    remote_job_eval(job, programs, 3, &over, (struct bytes){0}, state_got);
}

/* False, whatever the tree: they are more than paths, and a worker has to be asked. */
static bool walk_state(const struct remote_job *job, struct json_object *tree, struct json_object **state, struct json_object **error, struct json_object **progress)
{
    struct json_object *poll = json_get(job->with, "poll");
    struct bytes of_state = remote_job_text(poll, "state"), of_error = remote_job_text(poll, "error"), of_progress = remote_job_text(poll, "progress");
    return remote_job_walk(tree, of_state.count ? of_state : BYTES(".status"), state) && (!of_error.count || remote_job_walk(tree, of_error, error)) &&
           (!of_progress.count || remote_job_walk(tree, of_progress, progress));
}

static void read_state(struct remote_job *job, struct bytes body)
{
    struct bytes error = remote_job_text(json_get(job->with, "poll"), "error");
    job->delay_us = job->delay_us ? job->delay_us : job->every_us[0];
    buf_clear(&job->poll);
    remote_job_json_of(body, &job->poll);
    struct problem problem = {0};
    JSON_OWNED struct json_object *tree = json_parse(buf_bytes(&job->poll), &problem);
    struct json_object *now = NULL, *why = NULL, *far = NULL;
    if (walk_state(job, tree, &now, &why, &far)) {
        static const char *const names[] = {"error_message", "error", "message"};
        for (size_t i = 0; !error.count && !why && i < sizeof names / sizeof *names; i++)
            why = tree && json_object_is_type(tree, json_type_object) ? json_get(tree, names[i]) : NULL;
        said(job, now, why, far);
    } else {
        ask_state(job);
    }
}

static void poll_got(void *data, struct fetch_answer *answer)
{
    struct remote_job *job = data;
    if (answer->end == FETCH_ANSWERED && answer->status / 100 == 2) {
        job->unknown_us = 0;
        read_state(job, answer->body);
    } else if (answer->end == FETCH_ANSWERED && answer->status == 404) {
        remote_job_unknown(job, poll_now);
    } else if (remote_job_transient(answer)) {
        buf_clear(&job->word);
        if (answer->end == FETCH_ANSWERED)
            buf_print(&job->word, "status %d", answer->status);
        else
            buf_text(&job->word, answer->problem.text);
        remote_job_wait(job, answer->retry_after_us, poll_now);
    } else {
        remote_job_fail_answer(job, answer, "asking how it stands");
    }
}

static void poll_now(struct step *step)
{
    struct remote_job *job = (struct remote_job *)step;
    struct json_object *poll = json_get(job->with, "poll");
    job->polls++;
    job->polled_us = loop_now_us(step_world(step)->loop);
    bool inside = !remote_job_text(json_get(job->with, "fetch"), "url").count;       /* the rows come with it */
    char purpose[32];          /* a poll that is a POST must not get the last one's answer again */
    snprintf(purpose, sizeof purpose, "poll-%lld", (long long)loop_wall_us(step_world(step)->loop));
    remote_job_call(job, &(struct remote_job_call){
        .method = remote_job_method(poll, "GET"), .purpose = purpose, .url = buf_bytes(&job->url), .body = buf_bytes(&job->body),
        .timeout_us = json_get_int(poll, "timeout_us", CALL_US), .answer_max = inside ? LIMIT_ASK_BYTES : LIMIT_BODY_BYTES * 16}, poll_got);
}

static void urls_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "making the address to poll");
    if (!answer)
        return;
    buf_clear(&job->url);
    buf_clear(&job->body);
    buf_put(&job->url, json_get_bytes(answer, "url"));
    if (json_get(answer, "cancel"))
        remote_job_cancel_know(job, json_get_bytes(answer, "cancel"));
    if (json_get(answer, "body"))
        json_tree(&job->body, json_get(answer, "body"));
    if (!json_get(job->with, "poll"))
        remote_job_go_fetch(job);
    else if (job->url.count)
        poll_now(&job->step);
    else
        remote_job_fail(job, "expression", false, "poll.url gave no address");
}

/* False: there is none to be made. */
static bool ask_urls(struct remote_job *job)
{
    struct json_object *poll = json_get(job->with, "poll");
    BUF_OWNED struct buf cancel;
    buf_init(&cancel, LIMIT_BODY_BYTES);
    remote_job_cancel_program(job, &cancel);
    struct remote_job_program programs[] = {{"url", remote_job_text(poll, "url")}, {"body", remote_job_text(poll, "body")},
                                            {"cancel", buf_bytes(&cancel)}};
    if (poll || cancel.count)
        remote_job_eval(job, programs, 3, NULL, (struct bytes){0}, urls_got);
    return poll || cancel.count;
}

void remote_job_go_poll(struct remote_job *job)
{
    int64_t left = left_us(job);
    job->phase = REMOTE_POLLING;
    job->delay_us = job->every_us[0];
    timer_start(step_world(&job->step)->loop, &job->limit, (left > 0 ? left : 0) + GRACE_US, limit_over);
    if (!ask_urls(job))
        remote_job_go_fetch(job);
}

/* ---- the kind ---- */

static void adopt(struct remote_job *job, struct json_object *remote)
{
    json_tree(&job->id, json_get(remote, "id"));
    if (json_get(remote, "start"))
        json_tree(&job->start, json_get(remote, "start"));
    if (json_get(remote, "misses"))
        json_tree(&job->misses, json_get(remote, "misses"));
    int64_t now = loop_wall_us(step_world(&job->step)->loop);
    job->since_us = json_get_int(remote, "since", now);
    job->deadline_us = json_get_int(remote, "deadline", job->since_us + job->timeout_us);
    remote_job_go_poll(job);
}

static void go(struct remote_job *job)
{
    struct problem problem = {0};
    JSON_OWNED struct json_object *remote = job->step.remote.count ? json_parse(job->step.remote, &problem) : NULL;
    job->round = remote ? (uint32_t)json_get_int(remote, "round", 0) : 0;
    if (remote && json_get(remote, "id"))
        adopt(job, remote);
    else
        remote_job_begin_new(job);
}

static void headers_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "making its headers");
    struct json_object *of_start = json_get(json_get(job->with, "start"), "headers");
    if (!answer)
        return;
    json_object_object_foreach(answer, key, value) {
        const char *name = key + strlen("header ");
        if (!json_object_is_type(value, json_type_string))
            continue;
        struct bytes text = {json_object_get_string(value), (size_t)json_object_get_string_len(value)};
        struct headers *to[] = {of_start && json_get(of_start, name) ? &job->start_headers : &job->headers, &job->bare};
        for (size_t i = 0; i < (to[0] == &job->headers ? 2 : 1); i++) {
            headers_add(to[i], name, text);
            headers_done(to[i]);
        }
    }
    go(job);
}

static void prepare(struct remote_job *job)
{
    struct buf *bufs[] = BUFS(job);
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_init(bufs[i], LIMIT_ASK_BYTES);
    job->rows = job->copying = job->fetch.file = -1;
    job->begun = true;
    job->with = json_get(job->step.stage, "with");
}

/* False: there are none to be made. */
static bool ask_headers(struct remote_job *job)
{
    BUF_OWNED struct buf programs;
    buf_init(&programs, LIMIT_BODY_BYTES);
    step_header_programs(json_get(job->with, "headers"), &programs);
    step_header_programs(json_get(json_get(job->with, "start"), "headers"), &programs);
    if (programs.count)
        remote_job_eval_text(job, buf_bytes(&programs), NULL, (struct bytes){0}, headers_got);
    return programs.count > 0;
}

static void begin(struct step *step)
{
    struct remote_job *job = (struct remote_job *)step;
    prepare(job);
    JSON_OWNED struct json_object *start = json_object_new_object();
    struct json_object *more = json_get(json_get(job->with, "start"), "headers");
    if (more)
        json_object_object_add(start, "headers", json_object_get(more));
    if (!step_headers(step, job->with, false, &job->headers) || !step_headers(step, job->with, true, &job->bare) ||
        !step_headers(step, start, false, &job->start_headers))
        return;
    struct json_object *poll = json_get(job->with, "poll"), *every = poll ? json_get(poll, "every_us") : NULL;
    bool pair = every && json_object_is_type(every, json_type_array) && json_object_array_length(every) == 2;
    for (size_t i = 0; i < 2; i++)
        job->every_us[i] = pair ? json_object_get_int64(json_object_array_get_idx(every, i)) : i ? POLL_MOST_US : POLL_EVERY_US;
    job->every_us[0] = job->every_us[0] < 1000 ? 1000 : job->every_us[0];
    job->every_us[1] = job->every_us[1] < job->every_us[0] ? job->every_us[0] : job->every_us[1];
    job->timeout_us = json_get_int(step->stage, "timeout_us", TIMEOUT_US_S * 1000000LL);
    if (!ask_headers(job))
        go(job);
}

static void learn(struct step *step)
{
    struct remote_job *job = (struct remote_job *)step;
    struct json_object *unseen;
    prepare(job);
    ask_headers(job);
    remote_job_learn_start(job);
    ask_urls(job);
    if (json_get(job->with, "poll") && !walk_state(job, NULL, &unseen, &unseen, &unseen))
        ask_state(job);
    remote_job_learn_fetch(job);
    remote_job_learn_rows(job);
}

static void stop(struct step *step, bool for_good)
{
    struct remote_job *job = (struct remote_job *)step;
    if (for_good && job->id.count && job->phase != REMOTE_STARTING)
        remote_job_call_off(job);
}

static void wake(struct step *step)
{
    struct remote_job *job = (struct remote_job *)step;
    if (!job->sleeping) {
        job->woken = job->phase == REMOTE_POLLING;
        return;
    }
    int64_t since = loop_now_us(step_world(step)->loop) - job->polled_us;
    step_sleep(step, since < WOKEN_US ? WOKEN_US - since : 0, waited);
}

const struct step_kind step_remote_job = {
    .name = "remote_job", .size = sizeof(struct remote_job), .begin = begin, .stop = stop, .wake = wake, .free = release, .learn = learn,
    .keeps_time = true,
};
