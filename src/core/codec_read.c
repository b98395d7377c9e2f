#include "core/codec.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdlib.h>

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
        if ((*fields[i] = json_object_get_int64(json_object_array_get_idx(array, i))) >> EVENT_COUNT_BITS)      /* negative ones too */
            return -1;
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
    event->created.deadline_us = json_get_int(tree, "deadline", 0);
    event->created.top_keep = json_get_int(tree, "top", 0);
    event->created.stop_count = json_get_int(tree, "stop", 0);
    event->created.max_cost = json_get_real(tree, "max_cost", 0);
    event->created.webhook = json_span(row_body(row), "webhook");
    if (!event_is_id(event->created.id))
        return bad(row, problem, "id");
    return get_sha(tree, "hash", &event->created.hash) ? bad(row, problem, "hash") : 0;
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
    struct bytes texts = json_span(row_body(row), "items"), text;
    event->added.first = json_get_int(tree, "first", -1);
    if (!json_object_is_type(items, json_type_array) || !bytes_start(texts, BYTES("[")))
        return bad(row, problem, "items");
    event->added.count = json_object_array_length(items);
    event->added.items = arena->items = mem_new(event->added.count * sizeof *arena->items);
    for (size_t i = 0; i < event->added.count; i++)      /* the text of each, in step with what was parsed */
        if (!json_element(&texts, &text) || get_spec(json_object_array_get_idx(items, i), text, &arena->items[i]))
            return bad(row, problem, "items");
    return 0;
}

uint32_t *codec_places(const struct row *row, size_t count)
{
    struct bytes texts = json_span(row_body(row), "items"), text;
    uint32_t *places = mem_new((count + 1) * sizeof *places);
    for (size_t i = 0; i < count; i++) {
        if (!json_element(&texts, &text)) {
            free(places);
            return NULL;
        }
        places[i] = (uint32_t)(text.at - row->body);
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

static uint64_t get_pos(struct json_object *tree, const char *key)
{
    return (uint64_t)json_get_int(tree, key, 0);
}

static bool get_score(struct json_object *tree, double *ret)
{
    *ret = json_get_real(tree, "score", 0);
    return json_get(tree, "score") != NULL;
}

static void get_stepped(struct bytes body, struct json_object *tree, struct event *event)
{
    event->stepped.leg = (uint32_t)json_get_int(tree, "leg", 0);
    event->stepped.value = json_span(body, "value");
    event->stepped.stats = json_span(body, "stats");
    event->stepped.usage = json_span(body, "usage");
}

static void get_waiting(struct bytes body, struct json_object *tree, struct event *event)
{
    event->waiting.leg = (uint32_t)json_get_int(tree, "leg", 0);
    event->waiting.remote = json_span(body, "remote");
    event->waiting.usage = json_span(body, "usage");
    event->waiting.input = get_pos(tree, "input");
}

static void get_retry(struct bytes body, struct json_object *tree, struct event *event)
{
    event->retry.leg = (uint32_t)json_get_int(tree, "leg", 0);
    event->retry.tries = (uint32_t)json_get_int(tree, "tries", 1);
    event->retry.error = get_text(tree, "error");
    event->retry.error_type = get_text(tree, "error_type");
    event->retry.due_at_us = json_get_int(tree, "due_at", 0);
    event->retry.input = get_pos(tree, "input");
    event->retry.prev = get_pos(tree, "prev");
    event->retry.remote = json_span(body, "remote");
    event->retry.usage = json_span(body, "usage");
}

static void get_done(struct bytes body, struct json_object *tree, struct event *event)
{
    event->done.result = json_span(body, "result");
    event->done.stats = json_span(body, "stats");
    event->done.usage = json_span(body, "usage");
    event->done.has_score = get_score(tree, &event->done.score);
    event->done.hit = json_get_bool(tree, "hit", false);
}

static void get_failed(struct bytes body, struct json_object *tree, struct event *event)
{
    event->failed.error = get_text(tree, "error");
    event->failed.error_type = get_text(tree, "error_type");
    event->failed.stage = get_text(tree, "stage");
    event->failed.usage = json_span(body, "usage");
    event->failed.fail_job = json_get_bool(tree, "fail_job", false);
}

static void get_record_done(struct bytes body, struct json_object *tree, struct event *event)
{
    event->record_done.leg = (uint32_t)json_get_int(tree, "leg", 0);
    event->record_done.record = json_get_int(tree, "record", 0);
    event->record_done.input = get_pos(tree, "input");
    event->record_done.prev = get_pos(tree, "prev");
    event->record_done.value = json_span(body, "value");
    event->record_done.usage = json_span(body, "usage");
    event->record_done.has_score = get_score(tree, &event->record_done.score);
    event->record_done.hit = json_get_bool(tree, "hit", false);
}

static void get_record_failed(struct bytes body, struct json_object *tree, struct event *event)
{
    event->record_failed.leg = (uint32_t)json_get_int(tree, "leg", 0);
    event->record_failed.record = json_get_int(tree, "record", 0);
    event->record_failed.input = get_pos(tree, "input");
    event->record_failed.prev = get_pos(tree, "prev");
    event->record_failed.error = get_text(tree, "error");
    event->record_failed.error_type = get_text(tree, "error_type");
    event->record_failed.stage = get_text(tree, "stage");
    event->record_failed.usage = json_span(body, "usage");
    event->record_failed.dropped = json_get_bool(tree, "dropped", false);
}

static int get_body(const struct row *row, struct json_object *tree, struct event *event, struct codec_arena *arena, struct problem *problem)
{
    struct bytes body = row_body(row);
    switch (row->kind) {
    case EVENT_JOB_CREATED: return get_created(row, tree, event, problem);
    case EVENT_ITEMS_ADDED: return get_added(row, tree, event, arena, problem);
    case EVENT_JOB_SEALED: event->sealed.total = json_get_int(tree, "total", -1); return 0;
    case EVENT_ITEM_STARTED: return get_started(row, tree, event, problem);
    case EVENT_ITEM_STEPPED: get_stepped(body, tree, event); return 0;
    case EVENT_ITEM_WAITING: get_waiting(body, tree, event); return 0;
    case EVENT_ITEM_RETRY: get_retry(body, tree, event); return 0;
    case EVENT_ITEM_DONE: get_done(body, tree, event); return 0;
    case EVENT_ITEM_FAILED: get_failed(body, tree, event); return 0;
    case EVENT_ITEMS_SKIPPED: return get_skipped(row, tree, event, arena, problem);
    case EVENT_JOB_CANCELLING:
        event->cancelling.by = get_text(tree, "by");
        event->cancelling.reason = get_text(tree, "reason");
        return 0;
    case EVENT_JOB_ENDED: return get_ended(row, tree, event, problem);
    case EVENT_RECORD_DONE: get_record_done(body, tree, event); return 0;
    case EVENT_RECORD_FAILED: get_record_failed(body, tree, event); return 0;
    default:
        return problem_set(problem, "the log cannot be read: event at position %llu is of kind %d, which this program does not know: a newer program has "
                           "written it, or it is damaged", (unsigned long long)row->pos, (int)row->kind);
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
