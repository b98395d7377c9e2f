/* Rows by their positions, for whoever knows what they are: the words that a fold names. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct at_ask {
    struct list link;              /* in store.at_asks */
    struct live *live;             /* one reference */
    store_rows_fn *done;
    void *data;
    uint64_t *positions;           /* ascending; owned */
    size_t count, at;              /* those before `at` were looked at */
    struct row **rows;             /* those that came, one reference each; owned */
    size_t rows_count;
    struct store_wait durable;
};

static void look(struct at_ask *ask);

static void ask_free(struct at_ask *ask)
{
    store_unwait(&ask->durable);
    list_leave(&ask->link);
    for (size_t i = 0; i < ask->rows_count; i++)
        row_unref(ask->rows[i]);
    free(ask->rows);
    free(ask->positions);
    free(ask);
}

/* A look at the disk is bounded: what did not fit comes with the next. */
static void came(void *data, struct log_read *read)
{
    struct at_ask *ask = data;
    struct live *live = ask->live;
    int error = read->error;
    for (size_t i = 0; i < read->rows_count; i++)
        ask->rows[ask->rows_count++] = row_ref(read->rows[i]);
    uint64_t last = read->rows_count ? read->rows[read->rows_count - 1]->pos : UINT64_MAX;
    while (ask->at < ask->count && ask->positions[ask->at] <= last)
        ask->at++;
    log_read_free(read);
    if (!error && ask->at < ask->count) {
        look(ask);
        return;
    }
    ask->done(ask->data, ask->rows, error ? 0 : ask->rows_count, error);
    ask_free(ask);
    live_unref(live);
}

static void look(struct at_ask *ask)
{
    struct log *log = ask->live->store->log;
    struct log_read *read = MEM_NEW(struct log_read);
    read->job = ask->live->job->job;
    read->known_count = ask->count - ask->at;
    read->known = (uint64_t *)mem_copy(ask->positions + ask->at, read->known_count * sizeof *read->known);
    read->done = came;
    read->data = ask;
    log->ops->read(log, read);
}

static void durable(struct store_wait *wait)
{
    look((struct at_ask *)((char *)wait - offsetof(struct at_ask, durable)));
}

static int by_value(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;
    return one < two ? -1 : one > two;
}

void store_at(struct store *store, struct live *live, const uint64_t *positions, size_t count, store_rows_fn *done, void *data)
{
    assert(count && count <= LIMIT_READ_ROWS);
    struct at_ask *ask = MEM_NEW(struct at_ask);
    *ask = (struct at_ask){.live = live_ref(live), .done = done, .data = data, .count = count};
    ask->positions = (uint64_t *)mem_copy(positions, count * sizeof *positions);
    qsort(ask->positions, count, sizeof *ask->positions, by_value);
    ask->rows = mem_new(count * sizeof(struct row *));
    list_push(&store->at_asks, &ask->link);
    store_when(store, &ask->durable, ask->positions[count - 1], durable);
}

static void tell_nobody(void *data, struct row **rows, size_t count, int error)
{
}

void at_drop(struct store *store, const void *data)
{
    LIST_EACH(link, &store->at_asks)
        if (LIST_OF(link, struct at_ask, link)->data == data)
            LIST_OF(link, struct at_ask, link)->done = tell_nobody;
}

void at_forget(struct store *store)
{
    while (!list_empty(&store->at_asks))
        ask_free(LIST_OF(store->at_asks.next, struct at_ask, link));
}
