/* Fetching what a remote job made: one answer, pages that name the next one, or parts that are counted first; then the same for each of `also`. A
 * body is in a file before anything is read out of it, by a worker. One that ends too soon is fetched again. */
#include "trip/remote_job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FETCH_US = 600000000, FETCH_BYTES_MAX = 256 << 20, PAGES_MAX = 10000, SPOILED_MAX = 5 };

static void source_begin(struct remote_job *job);
static void page_call(struct step *step);

static void sources_next(struct remote_job *job)
{
    job->fetch.index++;
    source_begin(job);
}

/* ---- a page is there ---- */

static void page_next(struct remote_job *job, struct json_object *next)
{
    struct remote_job_fetch *fetch = &job->fetch;
    BUF_OWNED struct buf at, text;
    buf_init(&at, LIMIT_BODY_BYTES);
    buf_init(&text, LIMIT_BODY_BYTES);
    if (next && json_object_is_type(next, json_type_string))
        buf_add(&text, json_object_get_string(next), (size_t)json_object_get_string_len(next));
    else if (next && !json_object_is_type(next, json_type_boolean))
        json_tree(&text, next);
    if (!text.count) {
        sources_next(job);
        return;
    }
    struct bytes param = remote_job_text(json_get(fetch->source, "page"), "param"), value = buf_bytes(&text);
    bool whole = !param.count || bytes_start(value, BYTES("http://")) || bytes_start(value, BYTES("https://"));
    buf_put(&at, whole ? value : buf_bytes(&fetch->url));
    if (!whole)
        remote_job_param(&at, param, value);
    if (bytes_equal(buf_bytes(&at), buf_bytes(&fetch->at)) || fetch->pages >= PAGES_MAX) {
        remote_job_fail(job, "remote", false, "its pages never end: after %lld of them the next one is %.200s", (long long)fetch->pages,
                        buf_z(&text));
        return;
    }
    buf_clear(&fetch->at);
    buf_put(&fetch->at, buf_bytes(&at));
    page_call(&job->step);
}

static void next_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "finding the next page");
    if (answer)
        page_next(job, json_get(answer, "next"));
}

static void part_at(struct remote_job *job)
{
    struct remote_job_fetch *fetch = &job->fetch;
    struct json_object *parts = json_get(fetch->source, "parts");
    struct bytes param = remote_job_text(parts, "param");
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)fetch->part);
    buf_clear(&fetch->at);
    buf_put(&fetch->at, buf_bytes(&fetch->url));
    remote_job_param(&fetch->at, param.count ? param : BYTES("part"), bytes_of(number));
}

static void ask_next(struct remote_job *job, struct bytes next, int file)
{
    BUF_OWNED struct buf stages;
    buf_init(&stages, LIMIT_BODY_BYTES);
    buf_text(&stages, "[{\"stage\":\"eval\",\"with\":{\"programs\":{");
    json_put_bytes(&stages, "next", next);
    buf_text(&stages, "}}}]");
    remote_job_ask(job, buf_bytes(&stages), file, next_got);
}

static void page_added(struct remote_job *job)
{
    struct remote_job_fetch *fetch = &job->fetch;
    struct bytes next = remote_job_text(json_get(fetch->source, "page"), "next");
    int file = fetch->file;
    fetch->file = -1;
    fetch->pages++;
    fetch->spoiled = 0;
    if (fetch->parts && ++fetch->part < json_get_int(json_get(fetch->source, "parts"), "from", 1) + fetch->parts) {
        if (file >= 0)
            close(file);
        part_at(job);
        page_call(&job->step);
    } else if (next.count && file >= 0) {
        ask_next(job, next, file);
    } else {
        if (file >= 0)
            close(file);
        sources_next(job);
    }
}

/* It broke off, or a worker could not read it: the same page again, for a while. */
static void spoiled(struct remote_job *job, const char *type, const char *words)
{
    if (job->fetch.file >= 0)
        close(job->fetch.file);
    job->fetch.file = -1;
    if (++job->fetch.spoiled < SPOILED_MAX)
        remote_job_wait(job, 0, page_call);
    else
        remote_job_fail(job, type, true, "what it made could not be read, %d times: %s", SPOILED_MAX, words);
}

static void rows_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    BUF_OWNED struct buf words;
    buf_init(&words, 1024);
    buf_put(&words, (struct bytes){outcome->error.at, outcome->error.count < 300 ? outcome->error.count : 300});
    if (outcome->verdict == VERDICT_DONE)
        remote_job_rows_add(job, outcome, page_added);
    else if (bytes_equal(outcome->error_type, BYTES("expression")))
        remote_job_fail(job, "expression", false, "reading its rows: %s", buf_z(&words));
    else
        spoiled(job, "remote", buf_z(&words));
}

static void ask_rows(struct remote_job *job, int file)
{
    struct json_object *source = job->fetch.source;
    BUF_OWNED struct buf stages;
    buf_init(&stages, LIMIT_BODY_BYTES);
    buf_text(&stages, "[{\"stage\":\"rows\",\"with\":{");
    if (remote_job_text(source, "as").count)
        json_put_bytes(&stages, "as", remote_job_text(source, "as"));
    if (remote_job_text(source, "unwrap").count)
        json_put_bytes(&stages, "unwrap", remote_job_text(source, "unwrap"));
    buf_text(&stages, "}}]");
    remote_job_rows_begin(job);
    remote_job_ask(job, buf_bytes(&stages), file, rows_got);
}

/* ---- calling for it ---- */

static bool not_yet(struct remote_job *job, int status)
{
    struct json_object *list = json_get(job->fetch.source, "retry_on");
    JSON_OWNED struct json_object *said = json_object_new_int(status);
    return list ? remote_job_among(list, said) : status == 202;
}

static void count_parts(struct remote_job *job, struct bytes body);

/* Where the page names the next one it is looked at twice. */
static void read_page(struct remote_job *job, int file)
{
    bool twice = remote_job_text(json_get(job->fetch.source, "page"), "next").count > 0;
    job->fetch.file = twice ? fcntl(file, F_DUPFD_CLOEXEC, 3) : -1;
    if (!twice || job->fetch.file >= 0) {
        ask_rows(job, file);
        return;
    }
    const char *why = strerror(errno);
    close(file);
    spoiled(job, "processing", why);
}

static void page_got(void *data, struct fetch_answer *answer)
{
    struct remote_job *job = data;
    struct remote_job_fetch *fetch = &job->fetch;
    bool good = answer->end == FETCH_ANSWERED && answer->status / 100 == 2, wait = answer->end == FETCH_ANSWERED && not_yet(job, answer->status);
    if (answer->file >= 0 && (wait || !good || fetch->counting)) {
        close(answer->file);
        answer->file = -1;
    }
    if (wait) {
        remote_job_wait(job, answer->retry_after_us, page_call);
    } else if (good && fetch->counting) {
        count_parts(job, answer->body);
    } else if (good && answer->file < 0) {
        spoiled(job, "remote", "there is no body");
    } else if (good) {
        job->unknown_us = 0;
        read_page(job, answer->file);
    } else if (answer->end == FETCH_ANSWERED && answer->status == 404) {
        remote_job_unknown(job, page_call);
    } else if (answer->end == FETCH_NETWORK) {
        spoiled(job, "network", answer->problem.text);
    } else if (remote_job_transient(answer)) {
        remote_job_wait(job, answer->retry_after_us, page_call);
    } else {
        remote_job_fail_answer(job, answer, "fetching what it made");
    }
}

static void page_call(struct step *step)
{
    struct remote_job *job = (struct remote_job *)step;
    struct remote_job_fetch *fetch = &job->fetch;
    char purpose[48];
    snprintf(purpose, sizeof purpose, "fetch-%lld-%u", (long long)loop_wall_us(step_world(step)->loop), ++job->fetches);
    remote_job_call(job, &(struct remote_job_call){
        .method = remote_job_method(fetch->source, "GET"), .url = buf_bytes(&fetch->at), .body = buf_bytes(&fetch->body), .purpose = purpose,
        .bare = bytes_equal(remote_job_text(fetch->source, "auth"), BYTES("none")), .spool = !fetch->counting,
        .timeout_us = json_get_int(fetch->source, "timeout_us", FETCH_US),
        .answer_max = fetch->counting ? LIMIT_BODY_BYTES : json_get_int(fetch->source, "max_bytes", FETCH_BYTES_MAX)}, page_got);
}

/* ---- parts ---- */

static void parts_counted(struct remote_job *job, struct json_object *count)
{
    struct remote_job_fetch *fetch = &job->fetch;
    fetch->counting = false;
    fetch->parts = count ? json_object_get_int64(count) : 0;
    fetch->part = json_get_int(json_get(fetch->source, "parts"), "from", 1);
    if (fetch->parts < 0 || fetch->parts > PAGES_MAX) {
        remote_job_fail(job, "remote", false, "it has %lld parts: at most %d are fetched", (long long)fetch->parts, PAGES_MAX);
        return;
    }
    if (!fetch->parts) {           /* it is not cut */
        buf_clear(&fetch->at);
        buf_put(&fetch->at, buf_bytes(&fetch->url));
    } else {
        part_at(job);
    }
    page_call(&job->step);
}

static void count_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "counting its parts");
    if (answer)
        parts_counted(job, json_get(answer, "count"));
}

static void count_parts(struct remote_job *job, struct bytes body)
{
    BUF_OWNED struct buf text;
    struct bytes program = remote_job_text(json_get(job->fetch.source, "parts"), "count");
    buf_init(&text, LIMIT_BODY_BYTES * 2);
    remote_job_json_of(body, &text);
    struct bytes over = buf_bytes(&text);
    struct remote_job_program programs[] = {{"count", program.count ? program : BYTES("if type == \"object\" then (.parts // .count) else . end")}};
    remote_job_eval(job, programs, 1, &over, (struct bytes){0}, count_got);
}

/* ---- one source after another ---- */

static void source_made(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    struct remote_job_fetch *fetch = &job->fetch;
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "making the address to fetch from");
    if (!answer)
        return;
    struct json_object *parts = json_get(fetch->source, "parts");
    struct bytes url = json_get_bytes(answer, "url"), counter = json_get_bytes(answer, "parts");
    if (!url.count && fetch->index) {      /* such as an error file that there is not */
        sources_next(job);
        return;
    }
    if (!url.count) {
        remote_job_fail(job, "expression", false, "fetch.url gave no address");
        return;
    }
    buf_put(&fetch->url, url);
    if (json_get(answer, "body"))
        json_tree(&fetch->body, json_get(answer, "body"));
    fetch->counting = counter.count > 0;
    buf_put(&fetch->at, counter.count ? counter : url);
    if (parts && !fetch->counting)
        count_parts(job, buf_bytes(&job->poll));
    else
        page_call(&job->step);
}

/* The rows are in the last poll. */
static void inline_rows(struct remote_job *job, struct bytes program)
{
    BUF_OWNED struct buf stages;
    struct bytes over = buf_bytes(&job->poll);
    buf_init(&stages, LIMIT_BODY_BYTES);
    buf_text(&stages, "[{\"stage\":\"jq\",\"with\":{");
    BUF_OWNED struct buf whole;
    buf_init(&whole, LIMIT_BODY_BYTES);
    buf_print(&whole, "(%.*s\n) | if type == \"array\" then . elif . == null then [] else [.] end", BYTES_ARG(program));
    json_put_bytes(&stages, "program", buf_bytes(&whole));
    buf_text(&stages, "}}]");
    remote_job_rows_begin(job);
    remote_job_ask_over(job, buf_bytes(&stages), over, rows_got);
}

/* False: there are no more. */
static bool source_find(struct remote_job *job)
{
    struct remote_job_fetch *fetch = &job->fetch;
    struct json_object *also = json_get(job->with, "also");
    size_t count = also && json_object_is_type(also, json_type_array) ? json_object_array_length(also) : 0;
    if (fetch->index > count)
        return false;
    fetch->source = fetch->index ? json_object_array_get_idx(also, fetch->index - 1) : json_get(job->with, "fetch");
    return true;
}

/* False: there is no address, its rows are in the last poll. */
static bool source_ask(struct remote_job *job)
{
    struct json_object *source = job->fetch.source;
    struct bytes inside = remote_job_text(source, "inline"), url = remote_job_text(source, "url");
    struct remote_job_program programs[] = {
        {"url", url}, {"body", remote_job_text(source, "body")}, {"parts", remote_job_text(json_get(source, "parts"), "url")}};
    if (url.count)
        remote_job_eval(job, programs, 3, NULL, (struct bytes){0}, source_made);
    else
        inline_rows(job, inside.count ? inside : BYTES("."));
    return url.count > 0;
}

static void source_begin(struct remote_job *job)
{
    struct remote_job_fetch *fetch = &job->fetch;
    if (!source_find(job)) {
        remote_job_finish(job);
        return;
    }
    fetch->part = fetch->parts = fetch->pages = 0;
    fetch->spoiled = 0;
    buf_clear(&fetch->url);
    buf_clear(&fetch->body);
    buf_clear(&fetch->at);
    job->delay_us = job->every_us[0];
    source_ask(job);
}

void remote_job_learn_fetch(struct remote_job *job)
{
    for (job->fetch.index = 0; source_find(job); job->fetch.index++) {
        struct json_object *source = job->fetch.source;
        struct bytes next = remote_job_text(json_get(source, "page"), "next");
        if (!source_ask(job))
            continue;
        if (json_get(source, "parts"))
            count_parts(job, (struct bytes){0});
        ask_rows(job, -1);
        if (next.count)
            ask_next(job, next, -1);
    }
}

void remote_job_go_fetch(struct remote_job *job)
{
    struct loop *loop = step_world(&job->step)->loop;
    int64_t now = loop_wall_us(loop);
    job->phase = REMOTE_FETCHING;
    job->unknown_us = 0;
    /* What is ready and paid for gets its time, however late it was. Without polls this is the wait itself. */
    if (json_get(job->with, "poll") && job->deadline_us < now + job->timeout_us) {
        job->deadline_us = now + job->timeout_us;
        timer_stop(loop, &job->limit);
    }
    source_begin(job);
}
