/* The decider on one machine. Every event of every job passes through accept_event(): it is stamped, folded and queued for the
 * log, in that order and in one breath, so that the fold in memory is always exactly what the log will say. */
#include "store/live.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- accepting ---- */

static void push_pending(struct store *store, struct live *live, const struct row *row)
{
    if (store->pending_count == store->pending_room) {
        size_t room = store->pending_room ? store->pending_room * 2 : 64;
        struct pending *ring = mem_new(room * sizeof *ring);
        for (size_t i = 0; i < store->pending_count; i++)
            ring[i] = store->pending[(store->pending_first + i) % store->pending_room];
        free(store->pending);
        store->pending = ring;
        store->pending_first = 0;
        store->pending_room = room;
    }
    store->pending[(store->pending_first + store->pending_count++) % store->pending_room] =
        (struct pending){live, row->pos, row->seq, row->body_bytes};
    store->queued_bytes += row->body_bytes;
}

static void stamp(struct store *store, struct live *live, struct event *event)
{
    int64_t now = store->world.wall_us(store->world.data);
    if (now < store->last_at_us)    /* the clock was set back: the log's time never is */
        now = store->last_at_us;
    store->last_at_us = now;
    event->pos = ++store->pos;
    event->job = live->job->seq ? live->job->job : (int64_t)event->pos;    /* a number that is never given twice */
    event->seq = live->job->seq + 1;
    event->epoch = store->opening.epoch;
    event->at_us = now;
    if (!event_is_item(event->kind))
        event->item = -1;
}

static struct log_entry *entry_of(struct live *live, struct row *row, const struct sha *blobs, size_t blobs_count)
{
    struct log_entry *entry = log_entry_new(row);
    if (row->kind == EVENT_JOB_CREATED) {
        entry->job_id = mem_text(live->job->id);
        entry->owner = mem_text(live->job->owner);
        entry->pipeline_hash = live->pipeline->hash;
        entry->pipeline_text = mem_text(live->pipeline->text);
    }
    if (blobs_count) {
        entry->blobs = (struct sha *)mem_copy(blobs, blobs_count * sizeof *blobs);
        entry->blobs_count = blobs_count;
    }
    return entry;
}

static void mark_changed(struct live *live, const struct event *event)
{
    if (event_is_item(event->kind)) {
        flush_mark(live, event->pos, event->item, event->item);
    } else if (event->kind == EVENT_ITEMS_ADDED) {
        flush_mark(live, event->pos, event->added.first, event->added.first + (int64_t)event->added.count - 1);
    } else if (event->kind == EVENT_ITEMS_SKIPPED) {
        for (size_t i = 0; i < event->skipped.count; i++)
            flush_mark(live, i ? 0 : event->pos, event->skipped.ranges[i].from, event->skipped.ranges[i].to);
    } else {
        flush_mark(live, event->pos, 0, -1);
    }
}

/* What memory keeps for items follows from the event too. */
static void keep_work(struct live *live, const struct event *event, struct row *row)
{
    switch (event->kind) {
    case EVENT_JOB_CREATED:
        live_register(live);
        break;
    case EVENT_ITEMS_ADDED:
        chunk_keep(live, row);
        break;
    case EVENT_ITEM_STEPPED:
        carry_set(live, event->item, event->pos, row);
        break;
    case EVENT_ITEM_RETRY:
        claim_nap(live, event->item, event->retry.due_at_us - event->at_us, WHY_RETRY);
        break;
    case EVENT_ITEM_DONE:
    case EVENT_ITEM_FAILED:
        chunk_ended(live, event->item);
        carry_drop(live, event->item);
        break;
    default:
        break;
    }
}

void accept_event(struct store *store, struct live *live, struct event *event, const struct sha *blobs, size_t blobs_count)
{
    struct problem problem = {0};
    stamp(store, live, event);
    if (job_apply(live->job, event, &problem)) {
        fprintf(stderr, "rivulet: a bug in the decider: %s\n", problem.text);
        abort();
    }
    event->counts = live->job->counts;
    struct row *row = codec_encode(event, LIMIT_ROW_BYTES);
    assert(row);    /* whoever makes events keeps their values within the limits */
    store->numbers.accepted++;
    push_pending(store, live, row);
    tail_add(store, live, row);
    mark_changed(live, event);
    keep_work(live, event, row);
    store->log->ops->append(store->log, entry_of(live, row, blobs, blobs_count));
    claim_refresh(live);
#ifdef BUG_PUBLISH_EARLY
    tail_durable(store, store->pos);
#endif
}

void accept_end_if_over(struct store *store, struct live *live, struct bytes error)
{
    struct job *job = live->job;
    if (!job_over(job))
        return;
    struct buf summary BUF_OWNED;
    buf_init(&summary, LIMIT_BODY_BYTES);
    job_summary(job, &summary);
    struct event event = {.kind = EVENT_JOB_ENDED};
    event.ended.status = job_end_status(job);
    event.ended.summary = buf_bytes(&summary);
    event.ended.error = error;
    int64_t now = store->world.wall_us(store->world.data);
    event.ended.seconds = now > job->created_us ? (double)(now - job->created_us) / 1e6 : 0;
    accept_event(store, live, &event, NULL, 0);
    live_drop_work(live);
    if (store->client.ended)
        store->client.ended(store->client.data, live);
}

/* ---- pipelines: known by hash, kept as long as the store ---- */

static uint64_t pipeline_key(const struct sha *hash)
{
    uint64_t key;
    memcpy(&key, hash->at, sizeof key);
    return key;
}

const struct pipeline *store_pipeline(struct store *store, const struct sha *hash)
{
    return map_get(&store->pipelines, pipeline_key(hash));
}

static const struct pipeline *own_pipeline(struct store *store, const struct pipeline *pipeline)
{
    const struct pipeline *own = store_pipeline(store, &pipeline->hash);
    if (own)
        return own;
    struct pipeline *copy = pipeline_parse(bytes_of(pipeline->text), NULL);
    assert(copy);
    map_set(&store->pipelines, pipeline_key(&copy->hash), copy);
    return copy;
}

/* ---- jobs ---- */

struct live *live_new(struct store *store, struct job *job, const struct pipeline *pipeline)
{
    struct live *live = MEM_NEW(struct live);
    live->store = store;
    live->job = job;
    live->pipeline = pipeline;
    live->fresh_from = 1;
    list_init(&live->naps);
    list_init(&live->leaving);
    list_init(&live->due);
    list_init(&live->ready);
    list_init(&live->watchers);
    list_init(&live->news);
    list_init(&live->dirty_link);
    return live;
}

/* Once the job is known by number and id. */
void live_register(struct live *live)
{
    map_set(&live->store->jobs, (uint64_t)live->job->job, live);
    map_set_text(&live->store->ids, bytes_of(live->job->id), live);
}

void live_free(struct live *live)
{
    map_take(&live->store->jobs, (uint64_t)live->job->job);
    map_take_text(&live->store->ids, bytes_of(live->job->id));
    live_drop_work(live);
    tail_drop(live);
    list_leave(&live->ready);
    list_leave(&live->news);
    list_leave(&live->dirty_link);
    list_leave(&live->leaving);
    job_free(live->job);
    free(live->chunks);
    free(live->fresh);
    free(live->pages_dirty);
    free(live);
}

static bool needed(const struct live *live)
{
    const struct job *job = live->job;
    return !job->ended || live->refs || live->reads || !list_empty(&live->watchers) || live->durable_seq < job->seq ||
           live->dirty || live->fresh_count || live->flushing;
}

void live_consider(struct live *live)
{
    if (list_empty(&live->leaving) && !needed(live))
        list_push(&live->store->leaving, &live->leaving);
}

void live_reap(struct store *store)
{
    for (struct list *link; (link = list_pop(&store->leaving));) {
        struct live *live = LIST_OF(link, struct live, leaving);
        if (!needed(live))
            live_free(live);
    }
}

struct live *live_ref(struct live *live)
{
    live->refs++;
    return live;
}

void live_unref(struct live *live)
{
    if (!live)
        return;
    assert(live->refs);
    live->refs--;
    live_consider(live);
}

const struct job *live_job(const struct live *live)
{
    return live->job;
}

uint64_t live_durable_seq(const struct live *live)
{
    return live->durable_seq;
}

static void new_id(struct store *store, char ret[33])
{
    if (store->world.id) {
        store->world.id(store->world.id_data, ret);
        return;
    }
    unsigned char random[16];
    rng_system(random, sizeof random);
    for (int i = 0; i < 16; i++)
        snprintf(ret + 2 * i, 3, "%02x", random[i]);
}

struct live *store_create(struct store *store, const struct store_job *job)
{
    char id[33];
    if (6 * (job->owner.count + job->retry_of.count + job->trace.count) + job->params.count > LIMIT_BODY_BYTES)
        return NULL;    /* escapes can make a text six times as long */
    new_id(store, id);
    struct live *live = live_new(store, job_new(), own_pipeline(store, job->pipeline));
    struct event event = {.kind = EVENT_JOB_CREATED};
    event.created.id = bytes_of(id);
    event.created.owner = job->owner;
    event.created.pipeline = bytes_of(live->pipeline->name);
    event.created.hash = live->pipeline->hash;
    event.created.params = job->params;
    event.created.result_key = bytes_of(live->pipeline->result_key);
    event.created.in_flight = job->ordered || !job->in_flight ? 1 : job->in_flight;
    event.created.ordered = job->ordered;
    event.created.retry_of = job->retry_of;
    event.created.trace = job->trace;
    accept_event(store, live, &event, NULL, 0);
    return live;
}

/* What a text takes in an event, escapes included; a little more when it is not UTF-8. */
static size_t text_bytes(struct bytes text)
{
    size_t bytes = text_is_utf8(text) ? text.count : 3 * text.count;
    for (size_t i = 0; i < text.count; i++) {
        unsigned char c = (unsigned char)text.at[i];
        bytes += c < ' ' || c == 0x7f ? 5 : c == '"' || c == '\\';
    }
    return bytes;
}

/* An upper bound of what the item takes in its event; 256 is for keys, numbers and a blob's name. */
static size_t spec_bytes(const struct item_spec *item)
{
    return 256 + text_bytes(item->name) + text_bytes(item->type) + text_bytes(item->path) + text_bytes(item->key) +
           text_bytes(item->reject_error) + text_bytes(item->reject_type) + item->value.count;
}

static int check_spec(const struct item_spec *item, size_t index, struct problem *problem)
{
    if (item->name.count > LIMIT_NAME_BYTES)
        return problem_set(problem, "the name of item %zu has %zu bytes, at most %d", index, item->name.count, LIMIT_NAME_BYTES);
    if (spec_bytes(item) > LIMIT_ADDED_BYTES)
        return problem_set(problem, "item %zu is too large: its name and inline value take %zu bytes, at most %d", index,
                           spec_bytes(item), LIMIT_ADDED_BYTES);
    return 0;
}

int store_add(struct store *store, struct live *live, const struct item_spec *items, size_t count, struct problem *problem)
{
    if (live->job->sealed || live->job->ended)
        return problem_set(problem, "job %s takes no more items: it is sealed", live->job->id);
    for (size_t i = 0; i < count; i++)
        if (check_spec(&items[i], i, problem))
            return -1;
    while (count && !live->job->ended) {
        struct sha blobs[LIMIT_ADDED_ITEMS];
        size_t taken = 0, bytes = 0, blobs_count = 0;
        while (taken < count && taken < LIMIT_ADDED_ITEMS && bytes + spec_bytes(&items[taken]) <= LIMIT_ADDED_BYTES) {
            bytes += spec_bytes(&items[taken]);
            if (items[taken].has_blob)
                blobs[blobs_count++] = items[taken].blob;
            taken++;
        }
        struct event event = {.kind = EVENT_ITEMS_ADDED, .added = {live->job->total, items, taken}};
        accept_event(store, live, &event, blobs, blobs_count);
        items += taken;
        count -= taken;
    }
    return 0;
}

void store_seal(struct store *store, struct live *live)
{
    if (live->job->sealed || live->job->ended)
        return;
    struct event event = {.kind = EVENT_JOB_SEALED, .sealed = {live->job->total}};
    accept_event(store, live, &event, NULL, 0);
    accept_end_if_over(store, live, (struct bytes){0});
}

int store_cancel(struct store *store, struct live *live, struct bytes by, struct bytes reason, struct bytes error)
{
    if (live->job->ended)
        return 1;
    if (!live->job->cancelling) {    /* else the power went in the middle of it: this is the rest */
        struct event cancelling = {.kind = EVENT_JOB_CANCELLING, .cancelling = {by, reason}};
        accept_event(store, live, &cancelling, NULL, 0);
    }
    if (live->job->ended)    /* somebody heard of it and did the same */
        return 0;
    size_t count, done = 0;
    struct item_range *ranges MEM_OWNED = plan_unfinished(live->job, &count);
    while (done < count) {
        size_t some = count - done < 1024 ? count - done : 1024;    /* 1,024 ranges stay far below LIMIT_ROW_BYTES */
        struct event skipped = {.kind = EVENT_ITEMS_SKIPPED, .skipped = {ranges + done, some, BYTES("cancelled")}};
        accept_event(store, live, &skipped, NULL, 0);
        done += some;
    }
    accept_end_if_over(store, live, error);
    return 0;
}

struct live *store_get_number(struct store *store, int64_t job)
{
    return map_get(&store->jobs, (uint64_t)job);
}

struct live *store_get(struct store *store, struct bytes id)
{
    return map_get_text(&store->ids, id);
}

struct live *store_next_job(struct store *store, size_t *at)
{
    return map_next(&store->jobs, at);
}

/* ---- outcomes ---- */

/* A sentence fit for an event, whatever a worker sent. */
static struct bytes cut_text(struct bytes text, size_t max)
{
    text.count = text_cut(text, max);
    return text;
}

/* A worker is not trusted: what is no JSON would make the row unreadable for ever. */
static bool is_json(struct bytes text)
{
    size_t at;
    return json_grammar(text, JSON_DEPTH_MAX - 2, &at) == JSON_GRAMMAR_GOOD;
}

/* Only the crew stores files, and says so: a value that merely looks like the name of one could show another job's. */
static bool forges_blob(const struct outcome *outcome)
{
    bool looks = json_span(outcome->value, "blob").count == 2 * SHA_SIZE + 2 && json_span(outcome->value, "bytes").count;
    return looks && !outcome->blob;
}

static void keep_within_limits(struct outcome *outcome, struct problem *problem)
{
    outcome->error = cut_text(outcome->error, LIMIT_ERROR_BYTES);
    outcome->error_type = cut_text(outcome->error_type, 64);
    outcome->stage = cut_text(outcome->stage, 64);
    if (outcome->stats.count > LIMIT_ERROR_BYTES || !is_json(outcome->stats))
        outcome->stats = (struct bytes){0};
    if (outcome->verdict == VERDICT_DONE && !outcome->value.count)
        outcome->value = BYTES("null");
    if (outcome->verdict != VERDICT_DONE)
        return;
    if (outcome->value.count > LIMIT_BODY_BYTES)
        problem_set(problem, "the result has %zu bytes, at most %d fit inline", outcome->value.count, LIMIT_BODY_BYTES);
    else if (!is_json(outcome->value))
        problem_set(problem, "the result is not valid JSON");
    else if (forges_blob(outcome))
        problem_set(problem, "the result has the form that is kept for stored files ({\"blob\", \"bytes\"})");
    if (problem_is(problem))
        *outcome = (struct outcome){.verdict = VERDICT_FAIL, .error = bytes_of(problem->text), .error_type = BYTES("processing")};
}

int store_finish(struct store *store, struct token token, const struct outcome *outcome, struct claim *ret_next)
{
    struct live *live = store_get_number(store, token.job);
#ifdef BUG_LATE_OUTCOMES
    bool fenced = !live || live->job->ended || item_ended(&live->job->items[token.item]);
    if (!fenced)
        token.attempt = live->job->items[token.item].attempt;
    fenced = fenced || !job_fence(live->job, token.item, token.attempt);
#else
    bool fenced = !live || token.holder != store->opening.epoch || !job_fence(live->job, token.item, token.attempt);
#endif
    if (fenced) {
        store->numbers.fenced++;
        return STORE_FENCED;
    }
    struct problem problem = {0};
    struct outcome fit = *outcome;
    struct event event;
    keep_within_limits(&fit, &problem);
    plan_outcome(live->job, live->pipeline, token.item, &fit, store->last_at_us > store->world.wall_us(store->world.data) ?
                 store->last_at_us : store->world.wall_us(store->world.data), store->world.random(store->world.data), &event);
    const struct item_spec *spec = chunk_item(live, token.item);
    assert(spec);    /* a claimed item's chunk stays in memory until it has ended */
    event.name = spec->name;
    struct carry *carry = carry_get(live, token.item);
    if (event.kind == EVENT_ITEM_RETRY && carry)
        event.retry.input = carry->pos;
    accept_event(store, live, &event, fit.blob, fit.blob && fit.verdict == VERDICT_DONE ? 1 : 0);
    if (event.kind == EVENT_ITEM_STEPPED && !live->job->ended) {
        claim_fill(live, token.item, token.attempt, ret_next);
        return STORE_STEPPED;
    }
    accept_end_if_over(store, live, (struct bytes){0});
    return STORE_ACCEPTED;
}

/* ---- the store itself ---- */

struct store *store_new(const struct store_world *world)
{
    struct store *store = MEM_NEW(struct store);
    store->world = *world;
    list_init(&store->owners);
    list_init(&store->waits);
    list_init(&store->news);
    list_init(&store->dirty);
    list_init(&store->leaving);
    list_init(&store->reads);
    list_init(&store->searches);
    reopen_prepare(store);
    return store;
}

void store_set_client(struct store *store, const struct store_client *client)
{
    store->client = *client;
}

uint64_t store_pos(const struct store *store)
{
    return store->pos;
}

uint64_t store_durable(const struct store *store)
{
    return store->durable;
}

int64_t store_epoch(const struct store *store)
{
    return store->opening.epoch;
}

bool store_busy(const struct store *store)
{
    return store->disk_full || store->pending_count >= LIMIT_QUEUED_EVENTS || store->queued_bytes >= LIMIT_QUEUED_BYTES;
}

bool store_disk_full(const struct store *store)
{
    return store->disk_full;
}

struct store_numbers store_numbers(const struct store *store)
{
    struct store_numbers numbers = store->numbers;
    size_t at = 0;
    numbers.jobs_held = store->jobs.count;
    numbers.tail_bytes = store->tail_bytes;
    numbers.jobs_open = 0;
    for (struct live *live; (live = map_next(&store->jobs, &at));)
        numbers.jobs_open += !live->job->ended;
    return numbers;
}

void store_forget(struct store *store)
{
    if (!store)
        return;
    size_t at = 0;
    store_read_forget(store);
    for (struct live *live; at = 0, (live = map_next(&store->jobs, &at));)
        live_free(live);
    at = 0;
    for (struct pipeline *pipeline; (pipeline = map_next(&store->pipelines, &at));)
        pipeline_free(pipeline);
    at = 0;
    for (struct owner *owner; (owner = map_next(&store->owner_names, &at));) {
        free(owner->name);
        free(owner);
    }
    map_done(&store->jobs);
    map_done(&store->ids);
    map_done(&store->pipelines);
    map_done(&store->owner_names);
    heap_done(&store->naps);
    free(store->pending);
    free(store->tail);
    free(store);
}

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store->log) {
        store_flush(store);
        store->closing = true;
        store->log->ops->close(store->log);
    }
    store_forget(store);
}
