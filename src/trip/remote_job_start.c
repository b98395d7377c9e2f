/* From the input to an id: what the cache has, the upload, the start. A start whose answer was lost is sent again with the same idempotency key, by
 * the stage's retries. */
#include "trip/remote_job.h"

#include "base/mem.h"
#include "trip/trip_own.h"

#include <stdio.h>
#include <stdlib.h>

enum { START_BYTES_MAX = 4096, START_US = 120000000, ANSWER_MAX = 1 << 20, UPLOAD_US = 300000000, STARTS_AT_ONCE = 5 };

/* ---- keys ---- */

struct bytes remote_job_row_key(const struct remote_job *job)
{
    struct bytes key = remote_job_text(json_get(job->with, "join"), "row_key");
    return key.count ? key : remote_job_text(json_get(job->step.stage, "cache"), "row_key");
}

struct bytes remote_job_input_key(const struct remote_job *job)
{
    return pipeline_input_key(job->step.stage);
}

bool remote_job_joins(const struct remote_job *job)
{
    return remote_job_row_key(job).count > 0;
}

bool remote_job_no_key(const struct sha *key)
{
    static const struct sha none;
    return memcmp(key, &none, sizeof none) == 0;
}

void remote_job_keys(struct remote_job *job, struct json_object *keys, struct sha *ret)
{
    for (size_t i = 0; i < json_object_array_length(keys); i++)
        ret[i] = pipeline_row_name(job->step.trip->pipeline, job->step.stage, json_object_array_get_idx(keys, i));
}

/* ---- the cache ---- */

struct remote_job_lookup {
    struct remote_job *job;        /* NULL: it is gone */
    remote_job_found_fn *got;
};

static void found(void *data, const struct bytes *values, size_t count)
{
    struct remote_job_lookup *lookup = data;
    struct remote_job *job = lookup->job;
    remote_job_found_fn *got = lookup->got;
    free(lookup);
    if (!job)
        return;
    job->lookup = NULL;
    got(job, values, count);
}

void remote_job_look_up(struct remote_job *job, const struct sha *keys, size_t count, remote_job_found_fn *got)
{
    if (job->lookup)
        job->lookup->job = NULL;
    job->lookup = NULL;
    if (!count)
        return;
    struct remote_job_lookup *lookup = MEM_NEW(struct remote_job_lookup);
    *lookup = (struct remote_job_lookup){.job = job, .got = got};
    job->lookup = lookup;
    store_cache_get(step_world(&job->step)->store, keys, count, found, lookup);
}

static void begin_upload(struct remote_job *job);

static void looked_up(struct remote_job *job)
{
    if (job->hits_count == job->inputs_count && job->inputs_count) {
        remote_job_finish(job);
        return;
    }
    if (job->hits_count) {
        json_open(&job->misses, '[');
        for (size_t i = 0; i < job->inputs_count; i++)
            if (!job->hits[i])
                json_int(&job->misses, (int64_t)i);
        json_close(&job->misses, ']');
    }
    begin_upload(job);
}

static void look_further(struct step *step);

static void some_found(struct remote_job *job, const struct bytes *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        job->hits[job->looked + i] = values[i].at && !remote_job_no_key(&job->keys[job->looked + i]);
        job->hits_count += job->hits[job->looked + i];
    }
    job->looked += count;
    step_sleep(&job->step, 0, look_further);     /* the cache may answer at once: not deeper for each group */
}

static void look_further(struct step *step)
{
    struct remote_job *job = (struct remote_job *)step;
    size_t left = job->inputs_count - job->looked;
    if (left)
        remote_job_look_up(job, job->keys + job->looked, left < LIMIT_CACHE_KEYS ? left : LIMIT_CACHE_KEYS, some_found);
    else
        looked_up(job);
}

static void keys_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "making the keys of its inputs");
    struct json_object *keys = answer ? json_get(answer, "keys") : NULL;
    if (!answer)
        return;
    job->inputs_count = keys && json_object_is_type(keys, json_type_array) ? json_object_array_length(keys) : 0;
    job->keys = mem_new((job->inputs_count + 1) * sizeof *job->keys);
    job->hits = mem_new((job->inputs_count + 1) * sizeof *job->hits);
    if (job->inputs_count)
        remote_job_keys(job, keys, job->keys);
    look_further(&job->step);
}

void remote_job_ask_keys(struct remote_job *job, ask_fn *got)
{
    BUF_OWNED struct buf program;
    buf_init(&program, LIMIT_BODY_BYTES);
    buf_print(&program, "(if type == \"array\" then . else [.] end) | map(try (%.*s\n) catch null)", BYTES_ARG(remote_job_input_key(job)));
    struct remote_job_program programs[] = {{"keys", buf_bytes(&program)}};
    remote_job_eval(job, programs, 1, NULL, (struct bytes){0}, got);
}

bool remote_job_keeps(const struct remote_job *job)
{
    return remote_job_text(json_get(job->step.stage, "cache"), "row_key").count && step_world(&job->step)->store;
}

void remote_job_begin_new(struct remote_job *job)
{
    if (remote_job_keeps(job))
        remote_job_ask_keys(job, keys_got);
    else
        begin_upload(job);
}

/* ---- upload and start ---- */

/* Only what the cache has not is asked for. */
static struct bytes over_misses(const struct remote_job *job, struct bytes program, struct buf *buf)
{
    if (program.count && job->misses.count)
        buf_print(buf, ". as $all_inputs | [$response[] | $all_inputs[.]] | (%.*s\n)", BYTES_ARG(program));
    else
        buf_put(buf, program);
    return buf_bytes(buf);
}

bool remote_job_told(struct remote_job *job)
{
    BUF_OWNED struct buf remote;
    buf_init(&remote, LIMIT_BODY_BYTES);
    json_open(&remote, '{');
    if (job->id.count)
        json_put_raw(&remote, "id", buf_bytes(&job->id));
    json_put_int(&remote, "since", job->since_us);
    json_put_int(&remote, "deadline", job->deadline_us);
    if (job->id.count && job->start.count && job->start.count <= START_BYTES_MAX)
        json_put_raw(&remote, "start", buf_bytes(&job->start));
    if (job->id.count && job->misses.count && job->misses.count < LIMIT_BODY_BYTES / 2)
        json_put_raw(&remote, "misses", buf_bytes(&job->misses));
    if (job->round)
        json_put_int(&remote, "round", job->round);
    json_close(&remote, '}');
    return step_waiting(&job->step, buf_bytes(&remote));
}

static void id_known(struct remote_job *job, struct json_object *id)
{
    bool good = id && (json_object_is_type(id, json_type_int) ||
                       (json_object_is_type(id, json_type_string) && json_object_get_string_len(id) > 0 && json_object_get_string_len(id) < 2048));
    if (!good) {
        remote_job_fail(job, "remote", false, "the answer to its start has no id: %.*s", (int)(job->start.count < 200 ? job->start.count : 200),
                    job->start.at ? job->start.at : "");
        return;
    }
    buf_clear(&job->id);
    json_tree(&job->id, id);
    job->phase = REMOTE_POLLING;
    if (remote_job_told(job))
        remote_job_go_poll(job);
}

/* Out of an answer. */
static void ask_id(struct remote_job *job, struct bytes program, ask_fn *got)
{
    struct remote_job_program programs[] = {{"id", program}};
    struct bytes over = buf_bytes(&job->start);
    remote_job_eval(job, programs, 1, &over, (struct bytes){0}, got);
}

static struct bytes start_id(const struct remote_job *job)
{
    struct bytes program = remote_job_text(json_get(job->with, "start"), "id");
    return program.count ? program : BYTES("if type == \"object\" then (.snapshot_id // .id // .snapshot // .name) else . end");
}

static void id_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "reading the id out of the answer to its start");
    if (answer)
        id_known(job, json_get(answer, "id"));
}

static bool accepted(struct remote_job *job, int status)
{
    struct json_object *list = json_get(json_get(job->with, "start"), "accepted");
    JSON_OWNED struct json_object *said = json_object_new_int(status);
    return list ? remote_job_among(list, said) : status / 100 == 2;
}

static void started(void *data, struct fetch_answer *answer)
{
    struct remote_job *job = data;
    struct problem problem = {0};
    limiter_let_go(job->step.limiter);     /* polls have the common one */
    job->step.limiter = NULL;
    if (answer->end != FETCH_ANSWERED || !accepted(job, answer->status)) {
        remote_job_fail_answer(job, answer, "starting it");
        return;
    }
    job->since_us = loop_wall_us(step_world(&job->step)->loop);
    job->deadline_us = job->since_us + job->timeout_us;
    buf_clear(&job->start);
    buf_clear(&job->id);
    remote_job_json_of(answer->body, &job->start);
    JSON_OWNED struct json_object *tree = json_parse(buf_bytes(&job->start), &problem);
    struct json_object *id = NULL;
    if (remote_job_walk(tree, start_id(job), &id))
        id_known(job, id);
    else
        ask_id(job, start_id(job), id_got);
}

/* A body is JSON; a text goes as it is where the stage says that it is something else. */
static void put_body(struct remote_job *job, struct json_object *body)
{
    bool text = false;
    for (size_t i = 0; i < job->start_headers.count; i++) {
        struct bytes line = job->start_headers.lines[i], name = BYTES("Content-Type:");
        text |= line.count > name.count && bytes_equal_nocase((struct bytes){line.at, name.count}, name) && !bytes_have(line, "json");
    }
    buf_clear(&job->body);
    if (text && body && json_object_is_type(body, json_type_string))
        buf_add(&job->body, json_object_get_string(body), (size_t)json_object_get_string_len(body));
    else
        remote_job_value(body, &job->body);
}

/* Asks the other side to tell us; what it tells will only make us ask. */
static void put_hook(struct remote_job *job, struct json_object *body)
{
    BUF_OWNED struct buf hook;
    struct json_object *webhook = json_get(job->with, "webhook");
    struct bytes query = remote_job_text(webhook, "query"), member = remote_job_text(webhook, "body");
    buf_init(&hook, 4096);
    if (!webhook || !step_hook_url(&job->step, &hook))
        return;
    if (query.count)
        remote_job_param(&job->url, query, buf_bytes(&hook));
    char name[128];
    snprintf(name, sizeof name, "%.*s", BYTES_ARG(member));
    if (member.count && body && json_object_is_type(body, json_type_object))
        json_object_object_add(body, name, json_object_new_string_len(hook.at, (int)hook.count));
}

/* Starts are refused for reasons of their own ("too many running jobs"): the pause that follows must not keep those from being polled and fetched that
 * would make room. Few go out at a time, so that few are refused. */
static void own_limiter(struct remote_job *job)
{
    struct json_object *rate = json_get(job->step.stage, "rate");
    struct limiter_spec spec = {.concurrency = json_get_int(job->step.stage, "concurrency", STARTS_AT_ONCE), .careful = true,
                                .requests = json_get_int(rate, "requests", 0), .requests_per_us = json_get_int(rate, "requests_per_us", 0)};
    BUF_OWNED struct buf name;
    buf_init(&name, LIMIT_BODY_BYTES);
    buf_text(&name, "start ");
    buf_put(&name, remote_job_name(job));
    buf_byte(&name, ' ');
    remote_job_value(json_get(job->with, "base"), &name);
    remote_job_value(json_get(job->with, "auth"), &name);
    limiter_let_go(job->step.limiter);
    job->step.limiter = limiter_of(job->step.trips->limiters, buf_bytes(&name), &spec);
}

static void send_start(struct remote_job *job)
{
    struct json_object *start = json_get(job->with, "start"), *key = json_get(start, "idempotency");
    const char *method = remote_job_method(start, "POST");
    struct headers *more = &job->start_headers;
    BUF_OWNED struct buf text;
    char purpose[32];
    buf_init(&text, 1024);
    /* What failed at the other side is started anew, and must not be taken for the same start. */
    snprintf(purpose, sizeof purpose, job->round ? "round-%u" : "start", job->round);
    if (key && json_object_is_type(key, json_type_string)) {
        buf_print(&text, "%.*s-%s", BYTES_ARG(job->step.idempotency_key), purpose);
        headers_add(more, json_object_get_string(key), buf_bytes(&text));
        headers_done(more);
    }
    own_limiter(job);
    bool plain = strcmp(method, "GET") == 0 || strcmp(method, "DELETE") == 0;
    remote_job_call(job, &(struct remote_job_call){
        .method = method, .url = buf_bytes(&job->url), .body = plain ? (struct bytes){0} : buf_bytes(&job->body), .more = more, .purpose = purpose,
        .timeout_us = json_get_int(start, "timeout_us", START_US), .answer_max = ANSWER_MAX}, started);
}

static void start_made(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "making its start");
    if (!answer)
        return;
    buf_clear(&job->url);
    buf_put(&job->url, json_get_bytes(answer, "url"));
    if (json_get(answer, "cancel"))
        remote_job_cancel_know(job, json_get_bytes(answer, "cancel"));
    put_hook(job, json_get(answer, "body"));
    put_body(job, json_get(answer, "body"));
    if (job->url.count && buf_ok(&job->url) && buf_ok(&job->body))
        send_start(job);
    else
        remote_job_fail(job, "expression", false, "start.url gave no address, or its body is larger than %d MiB", LIMIT_ASK_BYTES >> 20);
}

static void begin_start(struct remote_job *job)
{
    struct json_object *start = json_get(job->with, "start");
    struct bytes body = remote_job_text(start, "body");
    BUF_OWNED struct buf url_text, body_text, cancel;
    buf_init(&url_text, LIMIT_BODY_BYTES);
    buf_init(&body_text, LIMIT_BODY_BYTES);
    buf_init(&cancel, LIMIT_BODY_BYTES);
    remote_job_cancel_program(job, &cancel);
    struct remote_job_program programs[] = {{"url", over_misses(job, remote_job_text(start, "url"), &url_text)},
                                        {"body", over_misses(job, body.count ? body : BYTES("."), &body_text)}, {"cancel", buf_bytes(&cancel)}};
    remote_job_eval(job, programs, 3, NULL, buf_bytes(&job->misses), start_made);
}

static void upload_id(struct remote_job *job, struct json_object *id)
{
    buf_clear(&job->id);
    remote_job_value(id, &job->id);
    begin_start(job);
}

static void upload_id_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "reading what the upload was answered with");
    if (answer)
        upload_id(job, json_get(answer, "id"));
}

static void uploaded(void *data, struct fetch_answer *answer)
{
    struct remote_job *job = data;
    struct problem problem = {0};
    if (answer->end != FETCH_ANSWERED || answer->status / 100 != 2) {
        remote_job_fail_answer(job, answer, "uploading its input");
        return;
    }
    struct bytes program = remote_job_text(json_get(job->with, "upload"), "id");
    buf_clear(&job->start);
    remote_job_json_of(answer->body, &job->start);
    JSON_OWNED struct json_object *tree = json_parse(buf_bytes(&job->start), &problem);
    struct json_object *id = NULL;
    if (!program.count || remote_job_walk(tree, program, &id))
        upload_id(job, program.count ? id : json_get(tree, "id"));
    else
        ask_id(job, program, upload_id_got);
}

static void upload_made(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "making its upload");
    struct json_object *upload = json_get(job->with, "upload"), *fields = json_get(answer, "fields"), *body = json_get(answer, "body");
    if (!answer)
        return;
    BUF_OWNED struct buf form;
    buf_init(&form, LIMIT_BODY_BYTES);
    if (fields)
        json_tree(&form, fields);
    buf_clear(&job->url);
    buf_put(&job->url, json_get_bytes(answer, "url"));
    buf_clear(&job->body);
    if (body && json_object_is_type(body, json_type_string))
        buf_add(&job->body, json_object_get_string(body), (size_t)json_object_get_string_len(body));
    else
        remote_job_value(body, &job->body);
    struct json_object *part = json_get(upload, "part"), *file = json_get(upload, "file");
    remote_job_call(job, &(struct remote_job_call){
        .method = remote_job_method(upload, "POST"), .url = buf_bytes(&job->url), .body = buf_bytes(&job->body), .purpose = "upload",
        .part_name = part ? json_object_get_string(part) : "file", .part_file = file ? json_object_get_string(file) : "input.jsonl",
        .part_fields = buf_bytes(&form), .timeout_us = json_get_int(upload, "timeout_us", UPLOAD_US), .answer_max = ANSWER_MAX}, uploaded);
}

/* One program of them all. */
static void put_fields(struct json_object *fields, struct buf *program)
{
    if (!fields || !json_object_is_type(fields, json_type_object))
        return;
    buf_byte(program, '{');
    json_object_object_foreach(fields, key, value) {
        json_key_bytes(program, bytes_of(key));
        buf_print(program, "(%s\n)", json_object_get_string(value));
    }
    buf_byte(program, '}');
}

static void ask_upload(struct remote_job *job, struct json_object *upload)
{
    struct bytes body = remote_job_text(upload, "body"), as = remote_job_text(upload, "as");
    bool lines = bytes_equal(as, BYTES("jsonl"));
    BUF_OWNED struct buf url_text, body_text, whole, fields_text;
    struct buf *bufs[] = {&url_text, &body_text, &whole, &fields_text};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_init(bufs[i], LIMIT_BODY_BYTES);
    put_fields(json_get(upload, "fields"), &fields_text);
    buf_print(&whole, lines ? "(%.*s\n) | if type == \"string\" then . else (map(tojson) | join(\"\\n\")) + \"\\n\" end" : "(%.*s\n) | tojson",
              BYTES_ARG(body.count ? body : BYTES(".")));
    struct remote_job_program programs[] = {{"url", over_misses(job, remote_job_text(upload, "url"), &url_text)},
                                        {"body", over_misses(job, buf_bytes(&whole), &body_text)}, {"fields", buf_bytes(&fields_text)}};
    remote_job_eval(job, programs, 3, NULL, buf_bytes(&job->misses), upload_made);
}

static void begin_upload(struct remote_job *job)
{
    struct json_object *upload = json_get(job->with, "upload");
    job->phase = REMOTE_STARTING;
    if (upload)
        ask_upload(job, upload);
    else
        begin_start(job);
}

void remote_job_learn_start(struct remote_job *job)
{
    struct json_object *upload = json_get(job->with, "upload"), *unseen;
    struct bytes id = remote_job_text(upload, "id");
    if (remote_job_keeps(job))
        remote_job_ask_keys(job, NULL);
    if (upload)
        ask_upload(job, upload);
    if (id.count && !remote_job_walk(NULL, id, &unseen))
        ask_id(job, id, NULL);
    begin_start(job);
    if (!remote_job_walk(NULL, start_id(job), &unseen))
        ask_id(job, start_id(job), NULL);
}
