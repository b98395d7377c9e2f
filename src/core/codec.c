#include "core/codec.h"

#include "base/json.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* ---- writing ---- */

static void put_text_if(struct buf *buf, const char *key, struct bytes text)
{
    if (text.count)
        json_put_bytes(buf, key, text);
}

static void put_raw_if(struct buf *buf, const char *key, struct bytes json)
{
    if (!json.count)
        return;
    json_key(buf, key);
    size_t from = buf->count;
    json_raw(buf, json);
    for (; buf_ok(buf) && from < buf->count; from++)    /* line ends can stand between values only: a body is one line */
        if (buf->at[from] == '\n' || buf->at[from] == '\r')
            buf->at[from] = ' ';
}

void codec_put_counts(struct buf *buf, const struct counts *counts)
{
    json_key(buf, "counts");
    json_open(buf, '[');
    json_int(buf, counts->pending);
    json_int(buf, counts->processing);
    json_int(buf, counts->completed);
    json_int(buf, counts->failed);
    json_int(buf, counts->skipped);
    json_close(buf, ']');
}

static void put_sha(struct buf *buf, const char *key, const struct sha *sha)
{
    char hex[SHA_HEX_SIZE];
    sha_hex(sha, hex);
    json_put_bytes(buf, key, bytes_of(hex));
}

static void put_created(struct buf *buf, const struct event *event)
{
    json_put_bytes(buf, "id", event->created.id);
    json_put_bytes(buf, "owner", event->created.owner);
    json_put_bytes(buf, "pipeline", event->created.pipeline);
    put_sha(buf, "hash", &event->created.hash);
    put_raw_if(buf, "params", event->created.params);
    json_put_int(buf, "in_flight", event->created.in_flight);
    json_put_flag(buf, "ordered", event->created.ordered);
    json_put_bytes(buf, "result_key", event->created.result_key);
    if (event->created.open)    /* left away otherwise: most jobs are not */
        json_put_flag(buf, "open", true);
    put_text_if(buf, "retry_of", event->created.retry_of);
    put_text_if(buf, "trace", event->created.trace);
}

static void put_spec(struct buf *buf, const struct item_spec *item)
{
    json_open(buf, '{');
    json_put_bytes(buf, "name", item->name);
    put_text_if(buf, "type", item->type);
    json_put_int(buf, "bytes", item->bytes);
    if (item->has_blob)
        put_sha(buf, "blob", &item->blob);
    put_text_if(buf, "path", item->path);
    put_raw_if(buf, "value", item->value);
    put_text_if(buf, "key", item->key);
    if (item->reject_error.count) {
        json_key(buf, "reject");
        json_open(buf, '{');
        json_put_bytes(buf, "error", item->reject_error);
        json_put_bytes(buf, "error_type", item->reject_type);
        json_close(buf, '}');
    }
    json_close(buf, '}');
}

static void put_added(struct buf *buf, const struct event *event)
{
    json_put_int(buf, "first", event->added.first);
    json_key(buf, "items");
    json_open(buf, '[');
    for (size_t i = 0; i < event->added.count; i++)
        put_spec(buf, &event->added.items[i]);
    json_close(buf, ']');
}

static void put_skipped(struct buf *buf, const struct event *event)
{
    json_key(buf, "ranges");
    json_open(buf, '[');
    for (size_t i = 0; i < event->skipped.count; i++) {
        json_open(buf, '[');
        json_int(buf, event->skipped.ranges[i].from);
        json_int(buf, event->skipped.ranges[i].to);
        json_close(buf, ']');
    }
    json_close(buf, ']');
    json_put_bytes(buf, "reason", event->skipped.reason);
}

static void put_ended(struct buf *buf, const struct event *event)
{
    json_put_bytes(buf, "status", bytes_of(job_status_name(event->ended.status)));
    codec_put_counts(buf, &event->counts);
    put_raw_if(buf, "summary", event->ended.summary);
    json_put_real(buf, "seconds", event->ended.seconds);
    put_text_if(buf, "error", event->ended.error);
}

static void put_error(struct buf *buf, struct bytes error, struct bytes error_type)
{
    json_put_bytes(buf, "error", error);
    json_put_bytes(buf, "error_type", error_type);
}

static void put_body(struct buf *buf, const struct event *event)
{
    switch (event->kind) {
    case EVENT_JOB_CREATED: put_created(buf, event); break;
    case EVENT_ITEMS_ADDED: put_added(buf, event); break;
    case EVENT_JOB_SEALED: json_put_int(buf, "total", event->sealed.total); break;
    case EVENT_ITEM_STARTED:
        json_put_int(buf, "leg", event->started.leg);
        json_put_bytes(buf, "why", bytes_of(start_why_name(event->started.why)));
        break;
    case EVENT_ITEM_STEPPED:
        json_put_int(buf, "leg", event->stepped.leg);
        put_raw_if(buf, "value", event->stepped.value);
        put_raw_if(buf, "stats", event->stepped.stats);
        put_raw_if(buf, "usage", event->stepped.usage);
        break;
    case EVENT_ITEM_WAITING:
        json_put_int(buf, "leg", event->waiting.leg);
        put_raw_if(buf, "remote", event->waiting.remote);
        break;
    case EVENT_ITEM_RETRY:
        json_put_int(buf, "leg", event->retry.leg);
        put_error(buf, event->retry.error, event->retry.error_type);
        json_put_int(buf, "tries", event->retry.tries);
        json_put_int(buf, "due_at", event->retry.due_at_us);
        if (event->retry.input)
            json_put_int(buf, "input", (int64_t)event->retry.input);
        break;
    case EVENT_ITEM_DONE:
        put_raw_if(buf, "result", event->done.result);
        put_raw_if(buf, "stats", event->done.stats);
        if (event->done.has_score) {
            json_put_real(buf, "score", event->done.score);
        }
        put_raw_if(buf, "usage", event->done.usage);
        break;
    case EVENT_ITEM_FAILED:
        put_error(buf, event->failed.error, event->failed.error_type);
        put_text_if(buf, "stage", event->failed.stage);
        break;
    case EVENT_ITEMS_SKIPPED: put_skipped(buf, event); break;
    case EVENT_JOB_CANCELLING:
        json_put_bytes(buf, "by", event->cancelling.by);
        json_put_bytes(buf, "reason", event->cancelling.reason);
        break;
    case EVENT_JOB_ENDED: put_ended(buf, event); break;
    case EVENT_RECORD_DONE:
        json_put_int(buf, "leg", event->record_done.leg);
        json_put_int(buf, "record", event->record_done.record);
        put_raw_if(buf, "value", event->record_done.value);
        put_raw_if(buf, "usage", event->record_done.usage);
        break;
    case EVENT_RECORD_FAILED:
        json_put_int(buf, "leg", event->record_failed.leg);
        json_put_int(buf, "record", event->record_failed.record);
        put_error(buf, event->record_failed.error, event->record_failed.error_type);
        break;
    case EVENT_NONE:
    case EVENT_KINDS_COUNT: assert(!"an event without a kind");
    }
}

enum { TYPICAL_BYTES = 400 };      /* of most bodies: no growing in steps */

struct row *codec_encode(const struct event *event, size_t body_max)
{
    struct buf body BUF_OWNED;
    buf_init(&body, body_max);
    buf_reserve(&body, TYPICAL_BYTES < body_max ? TYPICAL_BYTES : body_max);
    json_open(&body, '{');
    if (event_is_item(event->kind)) {
        json_put_bytes(&body, "name", event->name);
        codec_put_counts(&body, &event->counts);
    }
    put_body(&body, event);
    json_close(&body, '}');
    if (!buf_ok(&body))
        return NULL;
    struct row *row = row_new(buf_bytes(&body));
    row->pos = event->pos;
    row->job = event->job;
    row->seq = event->seq;
    row->epoch = event->epoch;
    row->at_us = event->at_us;
    row->kind = event->kind;
    row->item = event->item;
    row->attempt = event->attempt;
    return row;
}

/* ---- reading ---- */

static int bad(const struct row *row, struct problem *problem, const char *field)
{
    return problem_set(problem, "the log is damaged: event at position %llu (%s) has no usable \"%s\"",
                       (unsigned long long)row->pos, event_name(row->kind), field);
}

static int get_sha(struct json_object *from, const char *key, struct sha *ret)
{
    return sha_from_hex(json_get_bytes(from, key), ret) ? 0 : -1;
}

static struct bytes get_text(struct json_object *from, const char *key)
{
    return json_get_bytes(from, key);
}

static int get_counts(struct json_object *from, struct counts *ret)
{
    struct json_object *array = json_get(from, "counts");
    if (!json_object_is_type(array, json_type_array) || json_object_array_length(array) != 5)
        return -1;
    int64_t *fields[] = {&ret->pending, &ret->processing, &ret->completed, &ret->failed, &ret->skipped};
    for (size_t i = 0; i < 5; i++)
        *fields[i] = json_object_get_int64(json_object_array_get_idx(array, i));
    return 0;
}

static int get_created(const struct row *row, struct json_object *tree, struct event *event, struct problem *problem)
{
    event->created.id = get_text(tree, "id");
    event->created.owner = get_text(tree, "owner");
    event->created.pipeline = get_text(tree, "pipeline");
    event->created.params = json_span(row_body(row), "params");
    event->created.result_key = get_text(tree, "result_key");
    event->created.retry_of = get_text(tree, "retry_of");
    event->created.trace = get_text(tree, "trace");
    event->created.in_flight = (uint32_t)json_get_int(tree, "in_flight", 1);
    event->created.ordered = json_get_bool(tree, "ordered", false);
    event->created.open = json_get_bool(tree, "open", false);
    if (!event->created.id.count)
        return bad(row, problem, "id");
    return get_sha(tree, "hash", &event->created.hash) ? bad(row, problem, "hash") : 0;
}

/* The raw text of the n-th element is found by walking the spans of the array in step with the parsed one. */
static struct bytes next_element(struct bytes *array)
{
    size_t depth = 0, i = 0;
    bool in_string = false;
    for (; i < array->count; i++) {
        char c = array->at[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (!depth)
                break;
            depth--;
        } else if (c == ',' && !depth) {
            break;
        }
    }
    if (i > array->count)
        i = array->count;
    struct bytes element = {array->at, i};
    size_t eaten = i < array->count ? i + 1 : i;
    *array = (struct bytes){array->at + eaten, array->count - eaten};
    return element;
}

static int get_spec(struct json_object *from, struct bytes text, struct item_spec *ret)
{
    struct json_object *reject = json_get(from, "reject");
    *ret = (struct item_spec){
        .name = get_text(from, "name"),
        .type = get_text(from, "type"),
        .bytes = json_get_int(from, "bytes", 0),
        .path = get_text(from, "path"),
        .value = json_span(text, "value"),
        .key = get_text(from, "key"),
        .reject_error = get_text(reject, "error"),
        .reject_type = get_text(reject, "error_type"),
    };
    ret->has_blob = json_get(from, "blob") != NULL;
    return ret->has_blob ? get_sha(from, "blob", &ret->blob) : 0;
}

static int get_added(const struct row *row, struct json_object *tree, struct event *event, struct codec_arena *arena, struct problem *problem)
{
    struct json_object *items = json_get(tree, "items");
    struct bytes texts = json_span(row_body(row), "items");
    event->added.first = json_get_int(tree, "first", -1);
    if (!json_object_is_type(items, json_type_array) || texts.count < 2)
        return bad(row, problem, "items");
    event->added.count = json_object_array_length(items);
    event->added.items = arena->items = mem_new(event->added.count * sizeof *arena->items);
    texts = (struct bytes){texts.at + 1, texts.count - 2};
    for (size_t i = 0; i < event->added.count; i++)
        if (get_spec(json_object_array_get_idx(items, i), next_element(&texts), &arena->items[i]))
            return bad(row, problem, "items");
    return 0;
}

uint32_t *codec_places(const struct row *row, size_t count)
{
    struct bytes texts = json_span(row_body(row), "items");
    if (texts.count < 2)
        return NULL;
    uint32_t *places = mem_new((count + 1) * sizeof *places);
    texts = (struct bytes){texts.at + 1, texts.count - 2};
    for (size_t i = 0; i < count; i++) {
        if (!texts.count) {
            free(places);
            return NULL;
        }
        places[i] = (uint32_t)(texts.at - row->body);
        next_element(&texts);
    }
    places[count] = (uint32_t)(texts.at - row->body) + 1;    /* as if a comma stood behind the last one too */
    return places;
}

/* A text that stands in JSON as it is. */
static bool plain(struct bytes value, struct bytes *ret)
{
    if (value.count < 2 || value.at[0] != '"' || memchr(value.at, '\\', value.count))
        return false;
    *ret = (struct bytes){value.at + 1, value.count - 2};
    return true;
}

/* Most items need no parser: their texts have no escapes. False: this one does. */
static bool plain_item(struct bytes text, struct item_spec *ret)
{
    struct bytes key, value, hex;
    while (json_member(&text, &key, &value)) {
        bool good = false;
        if (bytes_equal(key, BYTES("name")))
            good = plain(value, &ret->name);
        else if (bytes_equal(key, BYTES("type")))
            good = plain(value, &ret->type);
        else if (bytes_equal(key, BYTES("bytes")))
            good = bytes_to_i64(value, &ret->bytes);
        else if (bytes_equal(key, BYTES("path")))
            good = plain(value, &ret->path);
        else if (bytes_equal(key, BYTES("key")))
            good = plain(value, &ret->key);
        else if (bytes_equal(key, BYTES("blob")))
            good = ret->has_blob = plain(value, &hex) && sha_from_hex(hex, &ret->blob);
        else if (bytes_equal(key, BYTES("value"))) {
            ret->value = value;
            good = true;
        }
        if (!good)
            return false;
    }
    return true;
}

int codec_item(struct bytes text, struct item_spec *ret, struct codec_arena *ret_arena)
{
    struct item_spec spec = {0};
    *ret_arena = (struct codec_arena){0};
    if (plain_item(text, &spec)) {
        *ret = spec;
        return 0;
    }
    ret_arena->tree = json_parse(text, NULL);
    return ret_arena->tree ? get_spec(ret_arena->tree, text, ret) : -1;
}

static int get_skipped(const struct row *row, struct json_object *tree, struct event *event, struct codec_arena *arena, struct problem *problem)
{
    struct json_object *ranges = json_get(tree, "ranges");
    if (!json_object_is_type(ranges, json_type_array))
        return bad(row, problem, "ranges");
    event->skipped.count = json_object_array_length(ranges);
    event->skipped.ranges = arena->ranges = mem_new(event->skipped.count * sizeof *arena->ranges);
    for (size_t i = 0; i < event->skipped.count; i++) {
        struct json_object *pair = json_object_array_get_idx(ranges, i);
        if (!json_object_is_type(pair, json_type_array) || json_object_array_length(pair) != 2)
            return bad(row, problem, "ranges");
        arena->ranges[i] = (struct item_range){json_object_get_int64(json_object_array_get_idx(pair, 0)),
                                               json_object_get_int64(json_object_array_get_idx(pair, 1))};
    }
    event->skipped.reason = get_text(tree, "reason");
    return 0;
}

static int name_index(struct bytes name, const char *(*name_of)(int), int count)
{
    for (int i = 0; i < count; i++)
        if (bytes_equal(name, bytes_of(name_of(i))))
            return i;
    return -1;
}

static const char *why_name(int i)
{
    return start_why_name((enum start_why)i);
}

static const char *status_name(int i)
{
    return job_status_name((enum job_status)i);
}

static int get_ended(const struct row *row, struct json_object *tree, struct event *event, struct problem *problem)
{
    int status = name_index(get_text(tree, "status"), status_name, JOB_STATUS_COUNT);
    if (status < 0)
        return bad(row, problem, "status");
    event->ended.status = (enum job_status)status;
    event->ended.summary = json_span(row_body(row), "summary");
    event->ended.seconds = json_get_real(tree, "seconds", 0);
    event->ended.error = get_text(tree, "error");
    return get_counts(tree, &event->counts) ? bad(row, problem, "counts") : 0;
}

static int get_started(const struct row *row, struct json_object *tree, struct event *event, struct problem *problem)
{
    int why = name_index(get_text(tree, "why"), why_name, WHY_COUNT);
    if (why < 0)
        return bad(row, problem, "why");
    event->started.why = (enum start_why)why;
    event->started.leg = (uint32_t)json_get_int(tree, "leg", 0);
    return 0;
}

static int get_body(const struct row *row, struct json_object *tree, struct event *event, struct codec_arena *arena, struct problem *problem)
{
    struct bytes body = row_body(row);
    uint32_t leg = (uint32_t)json_get_int(tree, "leg", 0);
    switch (row->kind) {
    case EVENT_JOB_CREATED: return get_created(row, tree, event, problem);
    case EVENT_ITEMS_ADDED: return get_added(row, tree, event, arena, problem);
    case EVENT_JOB_SEALED: event->sealed.total = json_get_int(tree, "total", -1); return 0;
    case EVENT_ITEM_STARTED: return get_started(row, tree, event, problem);
    case EVENT_ITEM_STEPPED:
        event->stepped.leg = leg;
        event->stepped.value = json_span(body, "value");
        event->stepped.stats = json_span(body, "stats");
        event->stepped.usage = json_span(body, "usage");
        return 0;
    case EVENT_ITEM_WAITING:
        event->waiting.leg = leg;
        event->waiting.remote = json_span(body, "remote");
        return 0;
    case EVENT_ITEM_RETRY:
        event->retry.leg = leg;
        event->retry.tries = (uint32_t)json_get_int(tree, "tries", 1);
        event->retry.error = get_text(tree, "error");
        event->retry.error_type = get_text(tree, "error_type");
        event->retry.due_at_us = json_get_int(tree, "due_at", 0);
        event->retry.input = (uint64_t)json_get_int(tree, "input", 0);
        return 0;
    case EVENT_ITEM_DONE:
        event->done.result = json_span(body, "result");
        event->done.stats = json_span(body, "stats");
        event->done.usage = json_span(body, "usage");
        event->done.has_score = json_get(tree, "score") != NULL;
        event->done.score = json_get_real(tree, "score", 0);
        return 0;
    case EVENT_ITEM_FAILED:
        event->failed.error = get_text(tree, "error");
        event->failed.error_type = get_text(tree, "error_type");
        event->failed.stage = get_text(tree, "stage");
        return 0;
    case EVENT_ITEMS_SKIPPED: return get_skipped(row, tree, event, arena, problem);
    case EVENT_JOB_CANCELLING:
        event->cancelling.by = get_text(tree, "by");
        event->cancelling.reason = get_text(tree, "reason");
        return 0;
    case EVENT_JOB_ENDED: return get_ended(row, tree, event, problem);
    case EVENT_RECORD_DONE:
        event->record_done.leg = leg;
        event->record_done.record = json_get_int(tree, "record", 0);
        event->record_done.value = json_span(body, "value");
        event->record_done.usage = json_span(body, "usage");
        return 0;
    case EVENT_RECORD_FAILED:
        event->record_failed.leg = leg;
        event->record_failed.record = json_get_int(tree, "record", 0);
        event->record_failed.error = get_text(tree, "error");
        event->record_failed.error_type = get_text(tree, "error_type");
        return 0;
    default: return problem_set(problem, "the log is damaged: event at position %llu is of kind %d", (unsigned long long)row->pos, row->kind);
    }
}

int codec_decode(const struct row *row, struct event *ret, struct codec_arena *ret_arena, struct problem *problem)
{
    *ret_arena = (struct codec_arena){.tree = json_parse(row_body(row), problem)};
    if (!ret_arena->tree)
        return -1;
    *ret = (struct event){.pos = row->pos, .job = row->job, .seq = row->seq, .epoch = row->epoch, .at_us = row->at_us,
                          .kind = row->kind, .item = row->item, .attempt = row->attempt};
    if (event_is_item(row->kind)) {
        ret->name = get_text(ret_arena->tree, "name");
        if (get_counts(ret_arena->tree, &ret->counts))
            return bad(row, problem, "counts");
    }
    return get_body(row, ret_arena->tree, ret, ret_arena, problem);
}

void codec_done(struct codec_arena *arena)
{
    json_drop(&arena->tree);
    free(arena->items);
    free(arena->ranges);
    *arena = (struct codec_arena){0};
}
