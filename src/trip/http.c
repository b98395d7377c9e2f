/* The stage `http`: one call, whose answer is the result.
 *
 *   {"method","url":program,"base","headers":{name: program | secret},"auth","body":program,"accepted":[status…],"as":"json"|"jsonl"|"text",
 *    "unwrap":program,"max_bytes","redirects","allow_private","idempotency_key"}
 *
 * A POST, PUT or PATCH without a body sends its input. An answer that is short is looked at here; a long one is a file, which a worker makes a value
 * of. */
#include "trip/trip_own.h"

#include "base/json.h"
#include "base/json_grammar.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct http {
    struct step step;
    struct json_object *with;
    bool fixed;                    /* the address is a text of the pipeline, not made of the input */
};

static struct http *of(struct step *step)
{
    return (struct http *)step;
}

static const char *method_of(const struct http *http)
{
    struct bytes method = json_get_bytes(http->with, "method");
    return method.count ? method.at : json_get(http->with, "body") ? "POST" : "GET";
}

static bool has_body(const struct http *http)
{
    const char *method = method_of(http);
    return !strcmp(method, "POST") || !strcmp(method, "PUT") || !strcmp(method, "PATCH");
}

/* ---- the answer ---- */

static void end_with(struct step *step, struct bytes value, const struct sha *blob)
{
    step_end(step, &(struct step_result){.value = value, .blob = blob, .usage = BYTES("{\"calls\":1}")});
}

static void fail_format(struct step *step, struct bytes why)
{
    step_fail(step, "invalid_json", step_may_retry(step, NULL, "invalid_json"), 0, "Stage %.*s: %s gave an answer that cannot be read: %.*s",
              BYTES_ARG(step_stage_name(step)), step->host, BYTES_ARG(why));
}

static void on_made(void *data, const struct outcome *outcome)
{
    struct step *step = data;
    if (outcome->verdict == VERDICT_DONE)
        end_with(step, outcome->value, outcome->blob);
    else if (bytes_equal(outcome->error_type, BYTES("validation")))
        fail_format(step, outcome->error);
    else
        step_fail_outcome(step, outcome);
}

/* A worker makes a value of it. `file` is taken over, or -1. */
static void make(struct step *step, const char *kind, struct bytes value, int file)
{
    struct ask_want want = {.input_fd = file, .type = BYTES("application/json")};
    struct bytes unwrap = json_get_bytes(of(step)->with, "unwrap");
    bool rows = !strcmp(kind, "rows");
    struct buf BUF_OWNED stages;
    buf_init(&stages, LIMIT_FRAME_BYTES);
    buf_print(&stages, "[{\"stage\":\"%s\",\"with\":{", kind);
    buf_text(&stages, rows ? "\"as\":\"jsonl\"" : "\"strict\":true");
    if (unwrap.at || !rows) {
        json_key(&stages, rows ? "unwrap" : "program");
        json_bytes(&stages, unwrap.at ? unwrap : BYTES("."));
    }
    buf_text(&stages, "}}]");
    want.stages = buf_bytes(&stages);
    if (buf_ok(&stages) && (file >= 0 || want_value(&want, value))) {
        step_ask(step, &want, on_made);
        return;
    }
    if (file >= 0)
        close(file);
    step_fail(step, "expression", false, 0, "Stage %.*s: the answer and the program \"unwrap\" could not be handed to a worker.",
              BYTES_ARG(step_stage_name(step)));
}

static void take_json(struct step *step, struct buf *body)
{
    size_t at = 0;
    struct problem problem = {0};
    if (!bytes_trim(buf_bytes(body)).count) {      /* 204 */
        buf_clear(body);
        buf_text(body, "null");
    }
    enum json_grammar grammar = json_grammar(buf_bytes(body), JSON_DEPTH_MAX, &at);
    if (grammar != JSON_GRAMMAR_GOOD) {
        if (grammar == JSON_GRAMMAR_DEEP)
            problem_set(&problem, "JSON that is nested more than %d deep.", JSON_DEPTH_MAX);
        else
            problem_set(&problem, "not valid JSON at byte %zu of %zu.", at, body->count);
        fail_format(step, bytes_of(problem.text));
        return;
    }
    for (size_t i = 0; i < body->count; i++)      /* in JSON a raw line break can only be space */
        if (body->at[i] == '\n' || body->at[i] == '\r')
            body->at[i] = ' ';
    if (json_get(of(step)->with, "unwrap"))
        make(step, "jq", buf_bytes(body), -1);
    else
        end_with(step, bytes_trim(buf_bytes(body)), NULL);
}

static void take_text(struct step *step, const struct buf *body)
{
    struct buf BUF_OWNED value;
    buf_init(&value, 2 * LIMIT_SEED_RESULT_BYTES);
    json_bytes(&value, buf_bytes(body));
    if (buf_ok(&value))
        end_with(step, buf_bytes(&value), NULL);
    else
        step_fail(step, "validation", false, 0, "Stage %.*s: the text of %zu bytes is too long.", BYTES_ARG(step_stage_name(step)), body->count);
}

/* 0, -EFBIG when it is too long, or another -errno. */
static int read_all(int file, struct buf *ret)
{
    for (;;) {
        if (!buf_reserve(ret, 16384))
            return -EFBIG;
        ssize_t got = pread(file, ret->at + ret->count, 16384, (off_t)ret->count);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? -errno : 0;
        ret->count += (size_t)got;
    }
}

static void take(struct step *step, struct fetch_answer *answer)
{
    struct bytes as = json_get_bytes(of(step)->with, "as");
    bool text = bytes_equal(as, BYTES("text")), rows = bytes_equal(as, BYTES("jsonl"));
    struct buf BUF_OWNED body;
    int file = answer->file;
    answer->file = -1;
    buf_init(&body, LIMIT_SEED_RESULT_BYTES + 16384);
    if (file >= 0 && !text && (rows || answer->bytes > LIMIT_ASK_INLINE_BYTES)) {
        make(step, rows ? "rows" : "jq", (struct bytes){0}, file);
        return;
    }
    int rc = file >= 0 ? read_all(file, &body) : buf_put(&body, answer->body) ? 0 : -EFBIG;
    if (file >= 0)
        close(file);
    if (rc && rc != -EFBIG)
        step_fail(step, "processing", true, 0, "Stage %.*s: the answer of %lld bytes could not be read again: %s.", BYTES_ARG(step_stage_name(step)),
                  (long long)answer->bytes, strerror(-rc));
    else if (rc)
        step_fail(step, "validation", false, 0, "Stage %.*s: the answer of %lld bytes could not be taken as one text.",
                  BYTES_ARG(step_stage_name(step)), (long long)answer->bytes);
    else if (text)
        take_text(step, &body);
    else if (rows)
        make(step, "rows", (struct bytes){0}, -1);      /* an accepted status that is no 2xx, with an empty body: no rows */
    else
        take_json(step, &body);
}

static bool is_accepted(const struct http *http, int status)
{
    struct json_object *accepted = json_get(http->with, "accepted");
    if (!json_object_is_type(accepted, json_type_array))
        return status >= 200 && status <= 299;
    for (size_t i = 0; i < json_object_array_length(accepted); i++) {
        struct json_object *word = json_object_array_get_idx(accepted, i);
        if (json_object_is_type(word, json_type_string) ? step_names_status(word, status) : json_object_get_int(word) == status)
            return true;
    }
    return false;
}

static void came(void *data, struct fetch_answer *answer)
{
    struct step *step = data;
    if (answer->end == FETCH_ANSWERED && is_accepted(of(step), answer->status)) {
        take(step, answer);
        return;
    }
    if (answer->file >= 0)
        close(answer->file);
    answer->file = -1;
    step_fail_answer(step, answer, NULL);
}

/* ---- the call ---- */

static void put_body(struct json_object *answer, const struct headers *headers, struct buf *ret)
{
    struct json_object *body = json_get(answer, "body");
    bool plain = false;
    for (size_t i = 0; i < headers->count; i++)
        plain |= bytes_start(headers->lines[i], BYTES("Content-Type: ")) && !bytes_have(headers->lines[i], "json");
    if (plain && json_object_is_type(body, json_type_string))
        buf_add(ret, json_object_get_string(body), (size_t)json_object_get_string_len(body));
    else if (body)
        json_tree(ret, body);
    else
        buf_text(ret, "null");
}

static void put_headers(struct json_object *answer, struct headers *headers)
{
    bool typed = false;
    json_object_object_foreach(answer, key, value) {
        if (strncmp(key, "header ", 7) || !json_object_is_type(value, json_type_string))
            continue;
        headers_add(headers, key + 7, (struct bytes){json_object_get_string(value), (size_t)json_object_get_string_len(value)});
    }
    headers_done(headers);
    for (size_t i = 0; i < headers->count; i++)
        typed |= bytes_equal_nocase((struct bytes){headers->lines[i].at, headers->lines[i].count < 12 ? headers->lines[i].count : 12},
                                    BYTES("Content-Type"));
    if (!typed && json_object_object_get_ex(answer, "body", NULL))
        headers_add(headers, "Content-Type", BYTES("application/json"));
    headers_done(headers);
}

static void send(struct step *step, struct json_object *answer)
{
    struct http *http = of(step);
    struct bytes path = json_get_bytes(answer, "url");
    struct buf BUF_OWNED url, BUF_OWNED body;
    struct headers headers = {0};
    bool guarded = true, foreign = true;
    buf_init(&url, 16384);
    buf_init(&body, LIMIT_ASK_BYTES);
    if (!path.count) {
        step_fail(step, "expression", false, 0, "Stage %.*s: the program \"url\" gave no text.", BYTES_ARG(step_stage_name(step)));
        return;
    }
    if (step_url(step, http->with, path, &url, &guarded, &foreign) && step_headers(step, http->with, foreign, &headers)) {
        put_headers(answer, &headers);
        if (has_body(http))
            put_body(answer, &headers, &body);
        step_call(step, &(struct step_call){.request = {
            .method = method_of(http), .url = buf_bytes(&url), .headers = headers.lines, .headers_count = headers.count, .body = buf_bytes(&body),
            .answer_max = json_get_int(http->with, "max_bytes", LIMIT_CALL_ANSWER_BYTES), .spool = true, .guarded = guarded && !http->fixed,
            .redirects = json_get_bool(http->with, "redirects", false)}}, came);
    }
    headers_free(&headers);
}

static void begin(struct step *step)
{
    struct http *http = of(step);
    struct buf BUF_OWNED programs;
    http->with = json_get(step->stage, "with");
    struct bytes url = json_get_bytes(http->with, "url"), body = json_get_bytes(http->with, "body");
    http->fixed = step_is_literal(url);
    buf_init(&programs, LIMIT_FRAME_BYTES);
    json_open(&programs, '{');
    json_put_bytes(&programs, "url", url);
    if (has_body(http))
        json_put_bytes(&programs, "body", body.at ? body : BYTES("."));
    step_header_programs(json_get(http->with, "headers"), &programs);
    json_close(&programs, '}');
    step_eval(step, buf_bytes(&programs), (struct bytes){0}, (struct bytes){0}, send);
}

static void learn(struct step *step)
{
    begin(step);
    if (bytes_equal(json_get_bytes(of(step)->with, "as"), BYTES("jsonl")))
        make(step, "rows", (struct bytes){0}, -1);
    else if (json_get(of(step)->with, "unwrap"))
        make(step, "jq", (struct bytes){0}, -1);
}

const struct step_kind step_http = {.name = "http", .size = sizeof(struct http), .begin = begin, .learn = learn};
