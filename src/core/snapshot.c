#include "core/snapshot.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "cells are stored as they stand in memory: little-endian");

/* Doubles go out in full, as their bits: a sum must not drift by being flushed. */
static void put_real(struct buf *buf, double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    json_int(buf, bits);
}

static void put_header(struct buf *buf, const struct job *job)
{
    char hash[SHA_HEX_SIZE];
    sha_hex(&job->hash, hash);
    json_put_int(buf, "job", job->job);
    json_put_text(buf, "id", job->id);
    json_put_text(buf, "owner", job->owner);
    json_put_text(buf, "pipeline", job->pipeline);
    json_put_text(buf, "hash", hash);
    json_put_raw(buf, "params", bytes_of(job->params));
    json_put_text(buf, "result_key", job->result_key);
    json_put_text(buf, "retry_of", job->retry_of);
    if (job->trace[0])
        json_put_text(buf, "trace", job->trace);
    json_put_int(buf, "in_flight", job->in_flight);
    json_put_flag(buf, "ordered", job->ordered);
    json_put_flag(buf, "open", job->open);
}

static void put_state(struct buf *buf, const struct job *job)
{
    json_put_int(buf, "seq", (int64_t)job->seq);
    json_put_int(buf, "pos", (int64_t)job->pos);
    json_put_int(buf, "epoch", job->epoch);
    json_put_int(buf, "created", job->created_us);
    json_put_int(buf, "started", job->started_us);
    json_put_int(buf, "finished", job->ended_us);
    json_put_int(buf, "last", job->last_us);
    json_put_int(buf, "fed", job->fed_us);
    json_put_flag(buf, "sealed", job->sealed);
    json_put_flag(buf, "cancelling", job->cancelling);
    json_put_flag(buf, "ended", job->ended);
    json_put_int(buf, "status", job->status);
    if (job->error)
        json_put_text(buf, "error", job->error);
    json_put_int(buf, "total", job->total);
    json_put_int(buf, "bytes", job->bytes);
    json_key(buf, "counts");
    json_open(buf, '[');
    json_int(buf, job->counts.pending);
    json_int(buf, job->counts.processing);
    json_int(buf, job->counts.completed);
    json_int(buf, job->counts.failed);
    json_int(buf, job->counts.skipped);
    json_close(buf, ']');
}

static void put_sums(struct buf *buf, const char *key, const struct job_sum *sums, size_t count)
{
    json_key(buf, key);
    json_open(buf, '[');
    for (size_t i = 0; i < count; i++) {
        json_open(buf, '[');
        json_text(buf, sums[i].name);
        json_int(buf, sums[i].count);
        put_real(buf, sums[i].sum);
        put_real(buf, sums[i].min);
        put_real(buf, sums[i].max);
        json_close(buf, ']');
    }
    json_close(buf, ']');
}

/* The heap as it stands. */
static void put_top(struct buf *buf, const struct job *job)
{
    json_key(buf, "top");
    json_open(buf, '[');
    for (size_t i = 0; i < job->top_count; i++) {
        json_open(buf, '[');
        put_real(buf, job->top[i].score);
        json_int(buf, job->top[i].item);
        json_int(buf, job->top[i].record);
        json_int(buf, (int64_t)job->top[i].pos);
        json_close(buf, ']');
    }
    json_close(buf, ']');
}

/* What few jobs have, under one key that the others leave away, as folds from before it do. */
static void put_extra(struct buf *buf, const struct job *job)
{
    bool asked = job->top_keep || job->stop_count || job->max_cost != 0 || job->deadline_us || job->webhook[0] || job->failing;
    if (!asked && !job->usage_count && !job->records.completed && !job->records.failed && !job->records.dropped && !job->hits)
        return;
    json_key(buf, "extra");
    json_open(buf, '{');
    json_put_int(buf, "deadline", job->deadline_us);
    json_put_int(buf, "keep", job->top_keep);
    json_put_int(buf, "stop", job->stop_count);
    json_put_int(buf, "hits", job->hits);
    json_key(buf, "max_cost");
    put_real(buf, job->max_cost);
    if (job->webhook[0])
        json_put_raw(buf, "webhook", bytes_of(job->webhook));
    json_put_flag(buf, "failing", job->failing);
    json_put_int(buf, "completed", job->records.completed);
    json_put_int(buf, "failed", job->records.failed);
    json_put_int(buf, "dropped", job->records.dropped);
    json_put_int(buf, "revision", (int64_t)job->top_revision);
    put_sums(buf, "usage", job->usage, job->usage_count);
    put_top(buf, job);
    json_close(buf, '}');
}

static void put_added(struct buf *buf, const struct job *job)
{
    json_key(buf, "added");
    json_open(buf, '[');
    for (size_t i = 0; i < job->added_count; i++) {
        json_open(buf, '[');
        json_int(buf, job->added[i].first);
        json_int(buf, job->added[i].count);
        json_int(buf, (int64_t)job->added[i].pos);
        json_close(buf, ']');
    }
    json_close(buf, ']');
}

void snapshot_write(const struct job *job, struct buf *buf)
{
    json_open(buf, '{');
    put_header(buf, job);
    put_state(buf, job);
    put_sums(buf, "sums", job->sums, job->sums_count);
    put_extra(buf, job);
    put_added(buf, job);
    json_close(buf, '}');
}

/* ---- and back ---- */

static char *get_text(struct json_object *tree, const char *key)
{
    struct bytes text = json_get_bytes(tree, key);
    return mem_copy(text.at, text.count);
}

/* What is on disk may be damaged: where an array should be there may be anything, and then it is as if it were empty. */
static size_t length_of(struct json_object *array)
{
    return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

static struct json_object *element(struct json_object *array, size_t index)
{
    return index < length_of(array) ? json_object_array_get_idx(array, index) : NULL;
}

static int64_t at(struct json_object *array, size_t index)
{
    return json_object_get_int64(element(array, index));
}

static double real_at(struct json_object *array, size_t index)
{
    int64_t bits = at(array, index);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void get_header(struct job *job, struct json_object *tree, struct bytes fold)
{
    struct bytes params = json_span(fold, "params");
    job->job = json_get_int(tree, "job", 0);
    job->id = get_text(tree, "id");
    job->owner = get_text(tree, "owner");
    job->pipeline = get_text(tree, "pipeline");
    job->params = mem_copy(params.at, params.count);
    job->result_key = get_text(tree, "result_key");
    job->retry_of = get_text(tree, "retry_of");
    job->trace = get_text(tree, "trace");
    job->in_flight = (uint32_t)json_get_int(tree, "in_flight", 1);
    job->ordered = json_get_bool(tree, "ordered", false);
    job->open = json_get_bool(tree, "open", false);
}

static void get_state(struct job *job, struct json_object *tree)
{
    job->seq = (uint64_t)json_get_int(tree, "seq", 0);
    job->pos = (uint64_t)json_get_int(tree, "pos", 0);
    job->epoch = json_get_int(tree, "epoch", 0);
    job->created_us = json_get_int(tree, "created", 0);
    job->started_us = json_get_int(tree, "started", 0);
    job->ended_us = json_get_int(tree, "finished", 0);
    job->last_us = json_get_int(tree, "last", 0);
    job->fed_us = json_get_int(tree, "fed", job->created_us);
    job->sealed = json_get_bool(tree, "sealed", false);
    job->cancelling = json_get_bool(tree, "cancelling", false);
    job->ended = json_get_bool(tree, "ended", false);
    job->status = (enum job_status)json_get_int(tree, "status", JOB_PENDING);
    job->error = json_get(tree, "error") ? get_text(tree, "error") : NULL;
    job->total = json_get_int(tree, "total", 0);
    job->bytes = json_get_int(tree, "bytes", 0);
    struct json_object *counts = json_get(tree, "counts");
    job->counts = (struct counts){at(counts, 0), at(counts, 1), at(counts, 2), at(counts, 3), at(counts, 4)};
}

static size_t get_sums(struct job_sum ret[JOB_SUMS_MAX], struct json_object *sums)
{
    size_t count = length_of(sums), i;
    for (i = 0; i < count && i < JOB_SUMS_MAX; i++) {
        struct json_object *one = element(sums, i);
        struct job_sum *sum = &ret[i];
        if (json_object_is_type(element(one, 0), json_type_string))
            snprintf(sum->name, sizeof sum->name, "%s", json_object_get_string(element(one, 0)));
        sum->count = at(one, 1);
        sum->sum = real_at(one, 2);
        sum->min = real_at(one, 3);
        sum->max = real_at(one, 4);
    }
    return i;
}

static void get_top(struct job *job, struct json_object *top)
{
    size_t room = 1;
    job->top_count = length_of(top) < JOB_TOP_MAX ? length_of(top) : JOB_TOP_MAX;
    while (room < job->top_count)    /* as the fold grows it */
        room *= 2;
    job->top = mem_new(room * sizeof *job->top);
    for (size_t i = 0; i < job->top_count; i++) {
        struct json_object *one = element(top, i);
        job->top[i] = (struct job_best){real_at(one, 0), at(one, 1), at(one, 2), (uint64_t)at(one, 3)};
    }
}

static void get_extra(struct job *job, struct json_object *extra, struct bytes text)
{
    struct bytes webhook = json_span(text, "webhook");
    int64_t bits = json_get_int(extra, "max_cost", 0);
    job->webhook = mem_copy(webhook.at, webhook.count);
    if (!extra)
        return;
    memcpy(&job->max_cost, &bits, sizeof bits);
    job->deadline_us = json_get_int(extra, "deadline", 0);
    job->top_keep = json_get_int(extra, "keep", 0);
    job->stop_count = json_get_int(extra, "stop", 0);
    job->hits = json_get_int(extra, "hits", 0);
    job->failing = json_get_bool(extra, "failing", false);
    job->records.completed = json_get_int(extra, "completed", 0);
    job->records.failed = json_get_int(extra, "failed", 0);
    job->records.dropped = json_get_int(extra, "dropped", 0);
    job->top_revision = (uint64_t)json_get_int(extra, "revision", 0);
    job->usage_count = get_sums(job->usage, json_get(extra, "usage"));
    get_top(job, json_get(extra, "top"));
}

static void get_added(struct job *job, struct json_object *added)
{
    job->added_count = job->added_room = length_of(added);
    job->added = mem_new(job->added_count * sizeof *job->added);
    for (size_t i = 0; i < job->added_count; i++) {
        struct json_object *one = element(added, i);
        job->added[i] = (struct job_added){at(one, 0), at(one, 1), (uint64_t)at(one, 2)};
    }
}

static bool is_share(int64_t count, int64_t *rest)
{
    if (count < 0 || count > *rest)
        return false;
    *rest -= count;
    return true;
}

/* A piece of the line that will be spliced again. */
static bool is_json(const char *text)
{
    size_t at;
    return json_grammar(bytes_of(text), JSON_DEPTH_MAX, &at) == JSON_GRAMMAR_GOOD;
}

static bool plausible(const struct job *job)
{
    struct counts c = job->counts;
    int64_t rest = job->total;
    return event_is_id(bytes_of(job->id)) && rest >= 0 && job->status < JOB_STATUS_COUNT && is_share(c.pending, &rest) && is_share(c.processing, &rest) &&
           is_share(c.completed, &rest) && is_share(c.failed, &rest) && is_share(c.skipped, &rest) && !rest;
}

/* The items came one event after the other, none too long: so a damaged total asks for no memory that there never was. An ended job may have let go of them. */
static bool added_fits(const struct job *job)
{
    int64_t next = 0;
    for (size_t i = 0; i < job->added_count; i++) {
        if (job->added[i].first != next || job->added[i].count < 1 || job->added[i].count > LIMIT_ADDED_ITEMS)
            return false;
        next += job->added[i].count;
    }
    return next == job->total || (job->ended && !job->added_count);
}

static struct job *damaged(struct job *job, struct problem *problem)
{
    problem_set(problem, "the cache of job \"%s\" is damaged", job->id);
    job_free(job);
    return NULL;
}

struct job *snapshot_read(struct bytes fold, struct problem *problem)
{
    struct json_object *tree JSON_OWNED = json_parse(fold, problem);
    if (!tree)
        return NULL;
    struct job *job = job_new();
    get_header(job, tree, fold);
    get_state(job, tree);
    if (!sha_from_hex(json_get_bytes(tree, "hash"), &job->hash) || !plausible(job))
        return damaged(job, problem);
    job->sums_count = get_sums(job->sums, json_get(tree, "sums"));
    get_extra(job, json_get(tree, "extra"), json_span(fold, "extra"));
    get_added(job, json_get(tree, "added"));
    if (!added_fits(job) || !is_json(job->params) || (job->webhook[0] && !is_json(job->webhook)))
        return damaged(job, problem);
    if (!job->ended && job->total) {
        job->items_room = job->total;
        job->items = mem_new((size_t)job->total * sizeof *job->items);
    }
    return job;
}

int64_t snapshot_pages(const struct job *job)
{
    return (job->total + SNAPSHOT_PAGE_ITEMS - 1) / SNAPSHOT_PAGE_ITEMS;
}

static int64_t page_items(const struct job *job, int64_t page)
{
    int64_t left = job->total - page * SNAPSHOT_PAGE_ITEMS;
    return left > SNAPSHOT_PAGE_ITEMS ? SNAPSHOT_PAGE_ITEMS : left;
}

struct bytes snapshot_cell(const struct job *job, int64_t page)
{
    assert(page >= 0 && page < snapshot_pages(job));
    return (struct bytes){(const char *)&job->items[page * SNAPSHOT_PAGE_ITEMS], (size_t)page_items(job, page) * sizeof(struct item)};
}

/* Three bits of a state say more than there is. */
static bool states_exist(struct bytes body)
{
    for (size_t i = 0; i < body.count; i += sizeof(struct item)) {
        struct item item;
        memcpy(&item, body.at + i, sizeof item);
        if (item.state > ITEM_SKIPPED)
            return false;
    }
    return true;
}

int snapshot_read_cell(struct job *job, int64_t page, struct bytes body, struct problem *problem)
{
    if (page < 0 || page >= snapshot_pages(job) || body.count != (size_t)page_items(job, page) * sizeof(struct item) || !job->items ||
        !states_exist(body))
        return problem_set(problem, "the item cache of job \"%s\", page %lld, is damaged", job->id, (long long)page);
    struct item *items = &job->items[page * SNAPSHOT_PAGE_ITEMS];
    for (int64_t n = 0; n < page_items(job, page); n++)    /* the events beyond count on it */
        job->holding -= item_holds_slot(job, &items[n]);
    memcpy(items, body.at, body.count);
    for (int64_t n = 0; n < page_items(job, page); n++)
        job->holding += item_holds_slot(job, &items[n]);
    return 0;
}

void snapshot_settle(struct job *job)
{
    job->holding = 0;
    for (int64_t n = 0; job->items && n < job->total; n++) {
        struct item *item = &job->items[n];
        item->old = item->state == ITEM_RUNNING || item->state == ITEM_WAITING;
        job->holding += item_holds_slot(job, item);
    }
    job->next = 0;
    while (job->items && job->next < job->total && job->items[job->next].state != ITEM_PENDING)
        job->next++;
}
