#include "sim.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "core/document.h"

#include <stdlib.h>

/* A reader follows one job to its end, through every power cut: what it saw once must be what the log says for ever. */
struct reader {
    struct happening next;
    struct watcher watcher;
    struct list link;             /* in sim.readers */
    struct sim *sim;
    struct model_job *job;
    uint64_t seen;                /* seq of the last row */
    int64_t epoch;                /* … and its epoch: the cursor */
    bool finding, done, slow;
    struct store_read *read;
    struct store_wait held;       /* a document waits to be shown */
    struct buf document;
    bool holds;
    int64_t progress;
};

static void finished(struct reader *reader)
{
    reader->done = true;
    reader->sim->readers_left--;
    sim_not(reader->sim, &reader->next);
}

static void drop_all(struct reader *reader)
{
    store_unwatch(&reader->watcher);
    store_read_drop(reader->read);
    reader->read = NULL;
    reader->finding = false;
    if (reader->holds)
        store_unwait(&reader->held);
    reader->holds = false;
}

static void soon(struct reader *reader)
{
    struct sim *sim = reader->sim;
    if (!reader->next.node.place)
        sim_at(sim, &reader->next, reader->slow ? sim_spread(sim, MS, 500 * MS) : sim_between(sim, 10, 2 * MS));
}

static void go_away(struct reader *reader)
{
    struct sim *sim = reader->sim;
    drop_all(reader);
    sim_at(sim, &reader->next, sim_spread(sim, MS, 20 * SECOND));
}

/* ---- rows ---- */

/* Takes some of the rows; answers whether the reader is still here. */
static bool take(struct reader *reader, struct row **rows, size_t count)
{
    struct sim *sim = reader->sim;
    size_t wanted = reader->slow ? (size_t)sim_between(sim, 1, 4) : count;
    for (size_t i = 0; i < count && i < wanted; i++) {
        model_see_row(sim, reader->job, reader->seen + 1, rows[i]);
        reader->seen++;
        reader->epoch = rows[i]->epoch;
        if (rows[i]->kind == EVENT_JOB_ENDED) {
            SIM_CHECK(sim, reader->seen == reader->job->rows_count, "something follows the end of job %lld", (long long)reader->job->job);
            drop_all(reader);
            finished(reader);
            return false;
        }
    }
    return true;
}

static void nothing_left(struct reader *reader)
{
    SIM_CHECK(reader->sim, reader->job->deleting || model_pruned(reader->sim, reader->job), "rows of job %lld behind seq %llu are durable and cannot be read",
              (long long)reader->job->job, (unsigned long long)reader->seen);
    drop_all(reader);
    finished(reader);
}

static void came_from_disk(void *data, struct row **rows, size_t count, int error)
{
    struct reader *reader = data;
    reader->read = NULL;
    sim_tally(TALLY_FROM_DISK, count);
    if (!count)
        nothing_left(reader);
    else if (take(reader, rows, count))
        soon(reader);
}

static void read_on(struct reader *reader)
{
    struct row *rows[32];
    struct live *live = reader->watcher.live;
    int count = store_rows(live, reader->seen + 1, rows, (int)sim_between(reader->sim, 1, 32));
    if (count == STORE_ON_DISK) {
        reader->read = store_read(reader->sim->store, live, reader->seen + 1, came_from_disk, reader);
        return;
    }
    bool here = count == 0 || take(reader, rows, (size_t)count);
    for (int i = 0; i < count; i++)
        row_unref(rows[i]);
    if (here && count)
        soon(reader);
}

static void news(struct watcher *watcher)
{
    struct reader *reader = (struct reader *)((char *)watcher - offsetof(struct reader, watcher));
    if (reader->read)
        return;
    if (reader->slow || sim_chance(reader->sim, 50))
        soon(reader);
    else
        read_on(reader);
}

/* ---- documents ---- */

static void show(struct store_wait *wait)
{
    struct reader *reader = (struct reader *)((char *)wait - offsetof(struct reader, held));
    reader->holds = false;
    model_see_document(reader->sim, reader->job, buf_bytes(&reader->document));
    struct bytes percent = json_span(buf_bytes(&reader->document), "overall_progress");
    int64_t progress = -1;
    bytes_to_i64(percent, &progress);
    SIM_CHECK(reader->sim, progress >= reader->progress, "the progress of job %lld fell from %lld to %lld", (long long)reader->job->job,
              (long long)reader->progress, (long long)progress);
    reader->progress = progress;
}

static void ask_document(struct reader *reader)
{
    if (reader->holds)
        return;
    reader->holds = true;
    buf_clear(&reader->document);
    document_job(live_job(reader->watcher.live), &reader->document);
    store_when(reader->sim->store, &reader->held, store_pos(reader->sim->store), show);
}

/* ---- coming and going ---- */

static void found(void *data, struct live *live)
{
    struct reader *reader = data;
    struct sim *sim = reader->sim;
    if (!reader->finding)    /* it left meanwhile */
        return;
    reader->finding = false;
    if (!live) {
        nothing_left(reader);
        return;
    }
    model_catch_up(sim);
    SIM_CHECK(sim, live_durable_seq(live) >= reader->seen, "job %lld is durable up to %llu, but a reader saw %llu",
              (long long)reader->job->job, (unsigned long long)live_durable_seq(live), (unsigned long long)reader->seen);
    SIM_CHECK(sim, !reader->seen || reader->job->rows[reader->seen - 1]->epoch == reader->epoch,
              "a cursor of job %lld names an epoch that the log does not know", (long long)reader->job->job);
    reader->watcher.news = news;
    store_watch(live, &reader->watcher);
    soon(reader);
}

static void next(struct sim *sim, struct happening *happening)
{
    struct reader *reader = HAPPENING_OF(happening, struct reader, next);
    if (!sim_up(sim)) {
        sim_at(sim, happening, sim_between(sim, 10 * MS, 2 * SECOND));
        return;
    }
    if (!reader->watcher.live) {
        if (!reader->finding) {
            reader->finding = true;
            store_find(sim->store, bytes_of(reader->job->id), found, reader);
        }
        return;
    }
    if (sim_chance(sim, 4) && !sim->calm) {
        go_away(reader);
        return;
    }
    if (sim_chance(sim, 10))
        ask_document(reader);
    if (!reader->read)
        read_on(reader);
}

void reader_new(struct sim *sim, struct model_job *job)
{
    struct reader *reader = MEM_NEW(struct reader);
    reader->sim = sim;
    reader->job = job;
    reader->slow = sim_chance(sim, 25);
    reader->next.call = next;
    buf_init(&reader->document, 1 << 20);
    list_push(&sim->readers, &reader->link);
    sim->readers_left++;
    sim_at(sim, &reader->next, sim_spread(sim, 10, 10 * SECOND));
}

void readers_leave(struct sim *sim)
{
    LIST_EACH(link, &sim->readers) {
        struct reader *reader = LIST_OF(link, struct reader, link);
        if (!reader->done)
            go_away(reader);
    }
}

void readers_end(struct sim *sim)
{
    for (struct list *link; (link = list_pop(&sim->readers));) {
        struct reader *reader = LIST_OF(link, struct reader, link);
        buf_done(&reader->document);
        free(reader);
    }
}
