#include "core/codec.h"

#include "base/json.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void put_int_if(struct buf *buf, const char *key, int64_t value)
{
    if (value)
        json_put_int(buf, key, value);
}

static void put_flag_if(struct buf *buf, const char *key, bool value)
{
    if (value)
        json_put_flag(buf, key, true);
}

/* A number that the fold compares and sums: it comes back as it went, so that no replay differs in its last bit. */
static void put_number(struct buf *buf, const char *key, double value)
{
    char text[40];
    value += 0.0;    /* -0 would be read back as 0 */
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.17g", value);
    if (isfinite(value))
        json_put_raw(buf, key, bytes_of(text));
}

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
    put_flag_if(buf, "open", event->created.open);    /* what most jobs do not have is left away, here and below */
    put_text_if(buf, "retry_of", event->created.retry_of);
    put_text_if(buf, "trace", event->created.trace);
    put_int_if(buf, "deadline", event->created.deadline_us);
    put_int_if(buf, "top", event->created.top_keep);
    put_int_if(buf, "stop", event->created.stop_count);
    if (event->created.max_cost != 0)
        put_number(buf, "max_cost", event->created.max_cost);
    put_raw_if(buf, "webhook", event->created.webhook);
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

static void put_stepped(struct buf *buf, const struct event *event)
{
    json_put_int(buf, "leg", event->stepped.leg);
    put_raw_if(buf, "value", event->stepped.value);
    put_raw_if(buf, "stats", event->stepped.stats);
    put_raw_if(buf, "usage", event->stepped.usage);
}

static void put_waiting(struct buf *buf, const struct event *event)
{
    json_put_int(buf, "leg", event->waiting.leg);
    put_raw_if(buf, "remote", event->waiting.remote);
    put_raw_if(buf, "usage", event->waiting.usage);
    put_int_if(buf, "input", (int64_t)event->waiting.input);
}

static void put_retry(struct buf *buf, const struct event *event)
{
    json_put_int(buf, "leg", event->retry.leg);
    put_error(buf, event->retry.error, event->retry.error_type);
    json_put_int(buf, "tries", event->retry.tries);
    json_put_int(buf, "due_at", event->retry.due_at_us);
    put_int_if(buf, "input", (int64_t)event->retry.input);
    put_int_if(buf, "prev", (int64_t)event->retry.prev);
    put_raw_if(buf, "remote", event->retry.remote);
    put_raw_if(buf, "usage", event->retry.usage);
}

static void put_done(struct buf *buf, const struct event *event)
{
    put_raw_if(buf, "result", event->done.result);
    put_raw_if(buf, "stats", event->done.stats);
    if (event->done.has_score)
        put_number(buf, "score", event->done.score);
    put_raw_if(buf, "usage", event->done.usage);
    put_flag_if(buf, "hit", event->done.hit);
}

static void put_failed(struct buf *buf, const struct event *event)
{
    put_error(buf, event->failed.error, event->failed.error_type);
    put_text_if(buf, "stage", event->failed.stage);
    put_raw_if(buf, "usage", event->failed.usage);
    put_flag_if(buf, "fail_job", event->failed.fail_job);
}

static void put_record_done(struct buf *buf, const struct event *event)
{
    json_put_int(buf, "leg", event->record_done.leg);
    json_put_int(buf, "record", event->record_done.record);
    put_int_if(buf, "input", (int64_t)event->record_done.input);
    put_int_if(buf, "prev", (int64_t)event->record_done.prev);
    put_raw_if(buf, "value", event->record_done.value);
    put_raw_if(buf, "usage", event->record_done.usage);
    if (event->record_done.has_score)
        put_number(buf, "score", event->record_done.score);
    put_flag_if(buf, "hit", event->record_done.hit);
}

static void put_record_failed(struct buf *buf, const struct event *event)
{
    json_put_int(buf, "leg", event->record_failed.leg);
    json_put_int(buf, "record", event->record_failed.record);
    put_int_if(buf, "input", (int64_t)event->record_failed.input);
    put_int_if(buf, "prev", (int64_t)event->record_failed.prev);
    put_error(buf, event->record_failed.error, event->record_failed.error_type);
    put_text_if(buf, "stage", event->record_failed.stage);
    put_raw_if(buf, "usage", event->record_failed.usage);
    put_flag_if(buf, "dropped", event->record_failed.dropped);
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
    case EVENT_ITEM_STEPPED: put_stepped(buf, event); break;
    case EVENT_ITEM_WAITING: put_waiting(buf, event); break;
    case EVENT_ITEM_RETRY: put_retry(buf, event); break;
    case EVENT_ITEM_DONE: put_done(buf, event); break;
    case EVENT_ITEM_FAILED: put_failed(buf, event); break;
    case EVENT_ITEMS_SKIPPED: put_skipped(buf, event); break;
    case EVENT_JOB_CANCELLING:
        json_put_bytes(buf, "by", event->cancelling.by);
        json_put_bytes(buf, "reason", event->cancelling.reason);
        break;
    case EVENT_JOB_ENDED: put_ended(buf, event); break;
    case EVENT_RECORD_DONE: put_record_done(buf, event); break;
    case EVENT_RECORD_FAILED: put_record_failed(buf, event); break;
    case EVENT_NONE: case EVENT_KINDS_COUNT: assert(!"an event without a kind");
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
