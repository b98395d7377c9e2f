/* The records that a leg of an item has finished: a chain through the log, each naming the one before, the newest named by what the item
 * carries. Those that are still in memory are taken from there, the others are read one after the other. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>

struct record_ask {
    struct list link;              /* in store.record_asks */
    struct live *live;             /* one reference */
    store_rows_fn *done;
    void *data;
    int64_t item;
    uint64_t next;                 /* position of the next one; 0 = that was all */
    struct row **rows;             /* one reference each; owned */
    size_t count, room;
};

static void ask_free(struct record_ask *ask)
{
    for (size_t i = 0; i < ask->count; i++)
        row_unref(ask->rows[i]);
    list_leave(&ask->link);
    free(ask->rows);
    free(ask);
}

static void answer(struct record_ask *ask, int error)
{
    struct live *live = ask->live;
    ask->done(ask->data, ask->rows, error ? 0 : ask->count, error);
    ask_free(ask);
    live_unref(live);
}

/* False: that is none, or there are too many. */
static bool take(struct record_ask *ask, struct row *row)
{
    struct event event;
    struct codec_arena arena CODEC_OWNED = {0};
    if (ask->count >= LIMIT_RECORDS || row->item != ask->item || codec_decode(row, &event, &arena, NULL))
        return false;
    if (event.kind != EVENT_RECORD_DONE && event.kind != EVENT_RECORD_FAILED)
        return false;
    ask->next = event.kind == EVENT_RECORD_DONE ? event.record_done.prev : event.record_failed.prev;
    if (ask->count == ask->room) {
        ask->room = ask->room ? ask->room * 2 : 16;
        ask->rows = mem_grow(ask->rows, ask->room * sizeof *ask->rows);
    }
    ask->rows[ask->count++] = row_ref(row);
    return true;
}

static void go_on(struct record_ask *ask);

static void came(void *data, struct log_read *read)
{
    struct record_ask *ask = data;
    bool good = !read->error && read->rows_count && take(ask, read->rows[0]);
    int error = good ? 0 : read->error ? read->error : -EIO;
    log_read_free(read);
    if (good)
        go_on(ask);
    else
        answer(ask, error);
}

static void go_on(struct record_ask *ask)
{
    struct row *row;
    while (ask->next && (row = tail_find(ask->live, ask->next)))
        if (!take(ask, row)) {
            answer(ask, -EIO);
            return;
        }
    if (!ask->next) {
        answer(ask, 0);
        return;
    }
    struct log_read *read = MEM_NEW(struct log_read);
    struct log *log = ask->live->store->log;
    read->job = ask->live->job->job;
    read->known = (uint64_t *)mem_copy(&ask->next, sizeof ask->next);
    read->known_count = 1;
    read->done = came;
    read->data = ask;
    log->ops->read(log, read);
}

void store_records(struct store *store, struct live *live, int64_t item, store_rows_fn *done, void *data)
{
    const struct carry *carry = carry_get(live, item);
    struct record_ask *ask = MEM_NEW(struct record_ask);
    *ask = (struct record_ask){.live = live_ref(live), .done = done, .data = data, .item = item, .next = carry ? carry->prev : 0};
    list_push(&store->record_asks, &ask->link);
    go_on(ask);
}

static void tell_nobody(void *data, struct row **rows, size_t count, int error)
{
}

void records_drop(struct store *store, const void *data)
{
    LIST_EACH(link, &store->record_asks)
        if (LIST_OF(link, struct record_ask, link)->data == data)
            LIST_OF(link, struct record_ask, link)->done = tell_nobody;
}

void records_forget(struct store *store)
{
    while (!list_empty(&store->record_asks))
        ask_free(LIST_OF(store->record_asks.next, struct record_ask, link));
}
