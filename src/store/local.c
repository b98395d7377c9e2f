/* The decider on one machine. Every event of every job passes through accept_event(): it is stamped, folded and queued for the
 * log, in that order and in one breath, so that the fold in memory is always exactly what the log will say. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"

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

int64_t log_wall(const struct store *store)
{
    int64_t now = store->world.wall_us(store->world.data);
    return store->last_at_us > now ? store->last_at_us : now;
}

static void stamp(struct store *store, struct live *live, struct event *event)
{
    store->last_at_us = log_wall(store);
    event->pos = ++store->pos;
    event->job = live->job->seq ? live->job->job : (int64_t)event->pos;    /* a number that is never given twice */
    event->seq = live->job->seq + 1;
    event->epoch = store->opening.epoch;
    event->at_us = store->last_at_us;
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
        if (live->key)
            key_enter(live, entry);
        reader_enter(entry, live->made_of);
    }
    entry->frees_key = row->kind == EVENT_JOB_ENDED && !live->job->sealed;
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
        flush_mark(live, event->pos, 0, -1);
        for (size_t i = 0; i < event->skipped.count; i++)
            flush_mark(live, 0, event->skipped.ranges[i].from, event->skipped.ranges[i].to);
    } else {
        flush_mark(live, event->pos, 0, -1);
    }
}

/* What memory keeps for items follows from the event too. */
static void keep_work(struct live *live, const struct event *event, struct row *row)
{
    carry_note(live, event, row);
    switch (event->kind) {
    case EVENT_JOB_CREATED:
        live_register(live);
        pool_join(live);
        stop_set_deadline(live);
        break;
    case EVENT_ITEMS_ADDED:
        chunk_keep(live, row);
        break;
    case EVENT_ITEM_RETRY:
        held_drop(live, event->item);
        claim_nap(live, event->item, event->retry.due_at_us - event->at_us, WHY_RETRY);
        break;
    case EVENT_ITEM_DONE:
    case EVENT_ITEM_FAILED:
        chunk_ended(live, event->item);
        held_drop(live, event->item);
        break;
    default:
        break;
    }
}

/* To the log, with what was held back for it. */
static void hand_over(struct store *store, struct log_entry *entry, bool joined)
{
    entry->joined = joined;
    if (!store->unit)
        store->unit_end = &store->unit;
    *store->unit_end = entry;
    store->unit_end = &entry->next;
    if (joined)
        return;
    struct log_entry *unit = store->unit;
    store->unit = NULL;
    store->log->ops->append(store->log, unit);
}

static void accept(struct store *store, struct live *live, struct event *event, const struct sha *blobs, size_t blobs_count, bool joined)
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
    usage_note(live);
    silence_note(live, event->kind);
    hand_over(store, entry_of(live, row, blobs, blobs_count), joined);
    claim_refresh(live);
#ifdef BUG_PUBLISH_EARLY
    tail_durable(store, store->pos);
#endif
}

void accept_event(struct store *store, struct live *live, struct event *event, const struct sha *blobs, size_t blobs_count)
{
    accept(store, live, event, blobs, blobs_count, false);
}

void accept_joined(struct store *store, struct live *live, struct event *event, const struct sha *blobs, size_t blobs_count)
{
    accept(store, live, event, blobs, blobs_count, true);
}

void accept_end(struct store *store, struct live *live, struct bytes error)
{
    struct job *job = live->job;
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

void accept_end_if_over(struct store *store, struct live *live, struct bytes error)
{
    if (job_over(live->job))
        accept_end(store, live, error);
}
