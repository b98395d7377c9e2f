/* What a job's owner asks for: create, add, seal, cancel, find by name. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/plan.h"

#include <assert.h>
#include <stdio.h>

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
    if (6 * (job->owner.count + job->retry_of.count + job->trace.count) + job->params.count + job->webhook.count > LIMIT_BODY_BYTES)
        return NULL;    /* escapes can make a text six times as long */
    if (job->key.count > LIMIT_KEY_BYTES || job->readers_count > LIMIT_JOB_READERS)
        return NULL;
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
    event.created.open = job->open;
    event.created.retry_of = job->retry_of;
    event.created.trace = job->trace;
    event.created.deadline_us = job->deadline_us;
    event.created.top_keep = job->top_keep;
    event.created.stop_count = job->stop_count;
    event.created.max_cost = job->max_cost;
    event.created.webhook = job->webhook;
    if (job->key.count)
        key_hold(live, job);
    live->made_of = job;
    accept_event(store, live, &event, NULL, 0);
    live->made_of = NULL;
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
        return problem_set(problem, "job %s takes no more items: it %s", live->job->id, live->job->ended ? "has ended" : "is sealed");
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
    accept_skip(store, live, BYTES("cancelled"));
    accept_end_if_over(store, live, error);
    return 0;
}

struct live *store_get_number(struct store *store, int64_t job)
{
    return map_get(&store->jobs, (uint64_t)job);
}

struct live *store_get(struct store *store, struct bytes id)
{
    struct live *live = map_get_text(&store->ids, id);
    return live && !live->gone ? live : NULL;
}

struct live *store_next_job(struct store *store, size_t *at)
{
    struct live *live = map_next(&store->jobs, at);
    while (live && live->gone)
        live = map_next(&store->jobs, at);
    return live;
}
