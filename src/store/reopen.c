/* Opening: the fold again, from the caches and the rows beyond them, through the same job_apply() as ever. What ran when the last
 * opening ended is due at once; no event is written for that. Jobs whose upload never ended are ended, unless they are open. */
#include "store/live.h"

#include "base/mem.h"
#include "core/snapshot.h"

#include <stdlib.h>

static void told_pipeline(void *data, const struct sha *hash, struct bytes text)
{
    struct store *store = data;
    struct pipeline *pipeline = pipeline_parse(text, &store->broken);
    uint64_t key;
    if (!pipeline)
        return;
    memcpy(&key, pipeline->hash.at, sizeof key);
    if (map_get(&store->pipelines, key))
        pipeline_free(pipeline);
    else
        map_set(&store->pipelines, key, pipeline);
}

static void told_job(void *data, int64_t number, struct bytes id, int state, struct bytes fold)
{
    struct store *store = data;
    if (!fold.count)    /* never flushed: all of it, job.created first, lies beyond the flush */
        return;
    struct job *job = snapshot_read(fold, &store->broken);
    if (!job)
        return;
    struct live *live = live_new(store, job, store_pipeline(store, &job->hash));
    live->fresh_from = job->seq + 1;
    live_register(live);
    if (job->last_us > store->last_at_us)
        store->last_at_us = job->last_us;
}

static void told_cell(void *data, int64_t job, uint32_t page, struct bytes body)
{
    struct store *store = data;
    struct live *live = store_get_number(store, job);
    if (live && live->job->items)
        snapshot_read_cell(live->job, page, body, &store->broken);
}

static struct live *born(struct store *store)
{
    return live_new(store, job_new(), NULL);
}

static void changed(struct live *live, const struct event *event)
{
    if (event_is_item(event->kind))
        flush_mark(live, event->pos, event->item, event->item);
    else if (event->kind == EVENT_ITEMS_ADDED || event->kind == EVENT_ITEMS_SKIPPED)
        flush_mark(live, event->pos, 0, live->job->total - 1);
    else
        flush_mark(live, event->pos, 0, -1);
}

static void told_row(void *data, struct row *row)
{
    struct store *store = data;
    struct live *live = store_get_number(store, row->job);
    struct event event;
    struct codec_arena arena CODEC_OWNED = {0};
    if (problem_is(&store->broken) || (live ? row->seq <= live->job->seq : row->kind != EVENT_JOB_CREATED))
        return;
    if (codec_decode(row, &event, &arena, &store->broken))
        return;
    bool is_new = !live;
    if (is_new)
        live = born(store);
    if (job_apply(live->job, &event, &store->broken)) {
        if (is_new)
            live_free(live);
        return;
    }
    if (is_new) {
        live->pipeline = store_pipeline(store, &live->job->hash);
        live_register(live);
    }
    changed(live, &event);
    carry_note(live, &event, row);
    if (event.at_us > store->last_at_us)
        store->last_at_us = event.at_us;
}

void reopen_prepare(struct store *store)
{
    store->opening = (struct log_opening){.data = store, .pipeline = told_pipeline, .job = told_job, .cell = told_cell, .row = told_row,
                                           .reader = reader_told};
}

struct log_opening *store_opening(struct store *store)
{
    return &store->opening;
}

/* ---- settling ---- */

/* What is left of a back-off is in its item.retry, which must be read. */
static void retry_came(void *data, struct row **rows, size_t count, int error)
{
    struct live *live = data;
    struct event event;
    struct codec_arena arena CODEC_OWNED = {0};
    if (codec_decode(rows[0], &event, &arena, NULL) || event.kind != EVENT_ITEM_RETRY || live->job->ended)
        return;
    if (!carry_get(live, event.item))
        carry_note(live, &event, rows[0]);
    int64_t whole = event.retry.due_at_us - event.at_us;
    int64_t left = event.retry.due_at_us - log_wall(live->store);
    claim_nap(live, event.item, left < whole ? left : whole, WHY_DUE);
    claim_refresh(live);
}

static void wake_items(struct live *live)
{
    for (int64_t n = 0; n < live->job->total; n++) {
        const struct item *item = &live->job->items[n];
        if (item->old)
            claim_nap(live, n, 0, WHY_RESTART);
        else if (item->state == ITEM_BACKOFF)
            read_positions(live, &item->pos, 1, retry_came, live);
    }
}

static int settle(struct store *store, struct live *live, struct problem *problem)
{
    live->durable_seq = live->job->seq;
    if (live->job->ended) {
        live_drop_work(live);
        return 0;
    }
    if (!live->pipeline)
        return problem_set(problem, "the log is damaged: the pipeline text of job %s is missing", live->job->id);
    snapshot_settle(live->job);
    usage_note(live);
    pool_join(live);
    return 0;
}

static void go_on(struct store *store, struct live *live)
{
    if (live->job->ended)
        return;
    if (!live->job->sealed && !live->job->open) {    /* or its cancelling was cut off: store_cancel() does what is left */
        store_cancel(store, live, BYTES("server"), BYTES("upload was cut off"), BYTES("upload was cut off"));
        return;
    }
    if (live->job->cancelling) {
        store_cancel(store, live, (struct bytes){0}, (struct bytes){0}, (struct bytes){0});
        return;
    }
#ifndef BUG_FORGET_STOP
    stop_if_due(store, live);    /* the last opening ended between an item's end and the job's */
#endif
    if (live->job->ended)
        return;
    wake_items(live);
    stop_set_deadline(live);
    silence_settle(live);
    claim_refresh(live);
}

static void log_durable(void *data, uint64_t pos)
{
    tail_durable(data, pos);
}

static void log_full(void *data, bool full)
{
    struct store *store = data;
    store->disk_full = full;
    if (!full && store->client.due)
        store->client.due(store->client.data);
}

static void log_pruned(void *data, int64_t job)
{
    struct live *live = store_get_number(data, job);
    if (live)
        live->gone = true;
    if (live && list_empty(&live->news)) {    /* whoever still reads it finds out that there is nothing more */
        list_push(&live->store->news, &live->news);
        tail_news(live->store);
    }
}

int store_start(struct store *store, struct log *log, struct problem *problem)
{
    store->log = log;      /* also of a log that is refused: its threads must end before what they use */
    log->client = (struct log_client){store, log_durable, log_full, log_pruned};
    if (problem_is(&store->broken))
        return problem_set(problem, "%s", store->broken.text);
    store->pos = store->durable = store->flushed_pos = store->opening.last_pos;
    store->flushed_at_us = store->world.now_us(store->world.data);
    size_t at = 0;
    for (struct live *live; (live = map_next(&store->jobs, &at));)
        if (settle(store, live, problem))
            return -1;
    /* Accepting events touches no job but its own, and adds none: the walk stays sound. */
    at = 0;
    for (struct live *live; (live = map_next(&store->jobs, &at));)
        go_on(store, live);
    return 0;
}
