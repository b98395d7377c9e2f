/* Items one by one: their states from the fold, in memory or in the cell cache; what they were handed in with and what they said last
 * from the log.
 *
 *     states ──▶ (until what they rest on is durable) ──▶ rows: items.added of each, and the last word of each ──▶ done
 *
 * Each look at the disk is bounded as any: the states by cell pages, the rows by LIMIT_READ_*; what does not fit comes with the next. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"
#include "core/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum {
    PAGES_MAX = 16,                /* cell pages in one look: 128 KiB */
    STATES_MAX = PAGES_MAX * SNAPSHOT_PAGE_ITEMS,
};

struct item_ask {
    struct list link;              /* in store.item_asks */
    struct store *store;
    struct live *live;             /* one reference */
    store_items_fn *done;
    void *data;
    enum { STATES, WORDS, SPECS } wants;      /* each more than the one before */
    struct store_item *items;      /* owned */
    struct job_added *added;       /* of each, because an ended job lets go of them; owned */
    size_t count, known;           /* the states of the first `known` are there */
    struct store_wait durable;
    uint64_t *positions;           /* of the rows, ascending, each once; owned */
    size_t positions_count, positions_at;
    struct row **rows;             /* those that came, by pos, one reference each; owned */
    size_t rows_count;
};

static struct item_ask *ask_new(struct store *store, struct live *live, size_t count, int wants, store_items_fn *done, void *data)
{
    struct item_ask *ask = MEM_NEW(struct item_ask);
    *ask = (struct item_ask){.store = store, .live = live_ref(live), .count = count, .wants = wants, .done = done, .data = data};
    ask->items = mem_new(count * sizeof *ask->items);
    list_push(&store->item_asks, &ask->link);
    return ask;
}

static void ask_free(struct item_ask *ask)
{
    store_unwait(&ask->durable);
    for (size_t i = 0; i < ask->rows_count; i++)
        row_unref(ask->rows[i]);
    list_leave(&ask->link);
    free(ask->rows);
    free(ask->positions);
    free(ask->added);
    free(ask->items);
    free(ask);
}

static void answer(struct item_ask *ask, int error)
{
    struct live *live = ask->live;
    ask->done(ask->data, ask->items, error ? 0 : ask->count, error);
    ask_free(ask);
    live_unref(live);
}

/* ---- rows ---- */

static struct row *row_at(const struct item_ask *ask, uint64_t pos)
{
    size_t low = 0, high = ask->rows_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ask->rows[middle]->pos < pos)
            low = middle + 1;
        else
            high = middle;
    }
    return low < ask->rows_count && ask->rows[low]->pos == pos ? ask->rows[low] : NULL;
}

/* Where items came from, decoded. */
struct origin {
    uint64_t pos;
    struct event event;
    struct codec_arena arena;
};

static int open_origin(struct item_ask *ask, uint64_t pos, struct origin *origin)
{
    struct row *row = row_at(ask, pos);
    *origin = (struct origin){.pos = pos};
    if (!row)
        return -ENOENT;            /* the job was removed meanwhile */
    if (codec_decode(row, &origin->event, &origin->arena, NULL) || origin->event.kind != EVENT_ITEMS_ADDED)
        return -EIO;
    return 0;
}

static bool has_word(const struct store_item *item, const struct job_added *added)
{
    return item->state.pos != added->pos && item->state.state != ITEM_SKIPPED;
}

/* What the n-th item was handed in with. The origins opened so far are tried first: neighbours came together. */
static int put_spec(struct item_ask *ask, size_t n, struct origin *origins, size_t *opened)
{
    const struct job_added *added = &ask->added[n];
    size_t at = 0;
    while (at < *opened && origins[at].pos != added->pos)
        at++;
    int error = at == *opened ? open_origin(ask, added->pos, &origins[(*opened)++]) : 0;
    if (!error)
        ask->items[n].spec = origins[at].event.added.items[ask->items[n].index - added->first];
    return error;
}

static int put_word(struct item_ask *ask, size_t n)
{
    struct store_item *item = &ask->items[n];
    if (!has_word(item, &ask->added[n]))
        return 0;
    item->word = row_at(ask, item->state.pos);
    return item->word ? 0 : -ENOENT;
}

/* Everything is here: put it together. */
static void finish(struct item_ask *ask)
{
    struct origin *origins MEM_OWNED = mem_new(ask->count * sizeof *origins);
    size_t opened = 0;
    int error = 0;
    for (size_t i = 0; i < ask->count && !error; i++) {
        error = ask->wants == SPECS ? put_spec(ask, i, origins, &opened) : 0;
        error = error ? error : put_word(ask, i);
    }
    /* The answer goes out with the origins still open: the specs point into them. */
    struct live *live = ask->live;
    ask->done(ask->data, ask->items, error ? 0 : ask->count, error);
    for (size_t i = 0; i < opened; i++)
        codec_done(&origins[i].arena);
    ask_free(ask);
    live_unref(live);
}

static void ask_rows(struct item_ask *ask);

static void rows_came(void *data, struct log_read *read)
{
    struct item_ask *ask = data;
    int error = read->error;
    for (size_t i = 0; i < read->rows_count; i++)
        ask->rows[ask->rows_count++] = row_ref(read->rows[i]);
    uint64_t last = read->rows_count ? read->rows[read->rows_count - 1]->pos : 0;
    while (last && ask->positions_at < ask->positions_count && ask->positions[ask->positions_at] <= last)
        ask->positions_at++;
    log_read_free(read);
    if (error)
        answer(ask, error);
    else if (!last || ask->positions_at == ask->positions_count)
        finish(ask);
    else
        ask_rows(ask);
}

static void ask_rows(struct item_ask *ask)
{
    struct log_read *read = MEM_NEW(struct log_read);
    size_t count = ask->positions_count - ask->positions_at;
    if (count > LIMIT_READ_ROWS)
        count = LIMIT_READ_ROWS;
    read->job = ask->live->job->job;
    read->known = (uint64_t *)mem_copy(ask->positions + ask->positions_at, count * sizeof *read->known);
    read->known_count = count;
    read->done = rows_came;
    read->data = ask;
    ask->store->log->ops->read(ask->store->log, read);
}

static int by_value(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;
    return one < two ? -1 : one > two;
}

static void durable(struct store_wait *wait)
{
    ask_rows((struct item_ask *)((char *)wait - offsetof(struct item_ask, durable)));
}

static void want_rows(struct item_ask *ask)
{
    const struct job *job = ask->live->job;
    size_t count = 0, kept = 0;
    ask->positions = mem_new(2 * ask->count * sizeof *ask->positions);
    ask->added = mem_new(ask->count * sizeof *ask->added);
    for (size_t i = 0; i < ask->count; i++) {
        const struct job_added *added = job_added_of(job, ask->items[i].index);
        assert(added);
        ask->added[i] = *added;
        if (ask->wants == SPECS)
            ask->positions[count++] = added->pos;
        if (has_word(&ask->items[i], added))
            ask->positions[count++] = ask->items[i].state.pos;
    }
    qsort(ask->positions, count, sizeof *ask->positions, by_value);
    for (size_t i = 0; i < count; i++)
        if (!kept || ask->positions[i] != ask->positions[kept - 1])
            ask->positions[kept++] = ask->positions[i];
    ask->positions_count = kept;
    if (!kept) {
        finish(ask);
        return;
    }
    ask->rows = mem_new(kept * sizeof(struct row *));
    store_when(ask->store, &ask->durable, ask->positions[kept - 1], durable);
}

/* ---- states ---- */

static void states_known(struct item_ask *ask)
{
    if (ask->wants == STATES)
        answer(ask, 0);
    else
        want_rows(ask);
}

static const struct log_cell_page *page_of(const struct log_find *find, int64_t item)
{
    for (size_t i = 0; i < find->cells_count; i++)
        if (find->cells[i].page == item / SNAPSHOT_PAGE_ITEMS)
            return &find->cells[i];
    return NULL;
}

/* An ended job has let go of the places of its items.added: they are in its fold. */
static void take_added(struct job *job, const struct log_found *found)
{
    struct job *cached = job->added_count || !found->fold ? NULL : snapshot_read((struct bytes){found->fold, found->fold_bytes}, NULL);
    if (!cached)
        return;
    free(job->added);
    job->added = cached->added;
    job->added_count = cached->added_count;
    job->added_room = cached->added_room;
    cached->added = NULL;
    cached->added_count = cached->added_room = 0;
    job_free(cached);
}

static void ask_cells(struct item_ask *ask);

static void cells_came(void *data, struct log_find *find)
{
    struct item_ask *ask = data;
    size_t before = ask->known;
    int error = find->error ? find->error : find->found_count ? 0 : -ENOENT;
    if (!error)
        take_added(ask->live->job, &find->found[0]);
    for (; ask->known < ask->count && !error; ask->known++) {
        struct store_item *item = &ask->items[ask->known];
        const struct log_cell_page *page = page_of(find, item->index);
        size_t at = (size_t)(item->index % SNAPSHOT_PAGE_ITEMS) * sizeof item->state;
        if (!page || at + sizeof item->state > page->bytes)
            break;
        memcpy(&item->state, page->body + at, sizeof item->state);
    }
    log_find_free(find);
    if (!error && (ask->known == before || (ask->wants != STATES && !ask->live->job->added_count)))
        error = -EIO;
    if (error)
        answer(ask, error);
    else if (ask->known == ask->count)
        states_known(ask);
    else
        ask_cells(ask);
}

static void ask_cells(struct item_ask *ask)
{
    struct log_find *find = MEM_NEW(struct log_find);
    find->by = LOG_BY_NUMBER;
    find->before = ask->live->job->job;
    find->pages = mem_new(PAGES_MAX * sizeof *find->pages);
    for (size_t i = ask->known; i < ask->count; i++) {
        uint32_t page = (uint32_t)(ask->items[i].index / SNAPSHOT_PAGE_ITEMS);
        size_t at = 0;
        while (at < find->pages_count && find->pages[at] != page)
            at++;
        if (at == PAGES_MAX)
            break;
        if (at == find->pages_count)
            find->pages[find->pages_count++] = page;
    }
    find->done = cells_came;
    find->data = ask;
    ask->store->log->ops->find(ask->store->log, find);
}

static void want_states(struct item_ask *ask)
{
    const struct job *job = ask->live->job;
    if (!ask->count) {
        answer(ask, 0);
    } else if (!job->items) {
        ask_cells(ask);
    } else {
        for (; ask->known < ask->count; ask->known++)
            ask->items[ask->known].state = job->items[ask->items[ask->known].index];
        states_known(ask);
    }
}

static void ask_items(struct store *store, struct live *live, const int64_t *items, size_t count, int wants, store_items_fn *done, void *data)
{
    assert(count <= LIMIT_READ_ROWS);
    struct item_ask *ask = ask_new(store, live, count, wants, done, data);
    for (size_t i = 0; i < count; i++) {
        assert(items[i] >= 0 && items[i] < live->job->total);
        ask->items[i].index = items[i];
    }
    want_states(ask);
}

void store_items(struct store *store, struct live *live, const int64_t *items, size_t count, store_items_fn *done, void *data)
{
    ask_items(store, live, items, count, SPECS, done, data);
}

void store_words(struct store *store, struct live *live, const int64_t *items, size_t count, store_items_fn *done, void *data)
{
    ask_items(store, live, items, count, WORDS, done, data);
}

void store_states(struct store *store, struct live *live, int64_t from, store_items_fn *done, void *data)
{
    assert(from >= 0);
    int64_t end = (from / SNAPSHOT_PAGE_ITEMS) * SNAPSHOT_PAGE_ITEMS + STATES_MAX;
    if (end > live->job->total)
        end = live->job->total;
    struct item_ask *ask = ask_new(store, live, end > from ? (size_t)(end - from) : 0, STATES, done, data);
    for (size_t i = 0; i < ask->count; i++)
        ask->items[i].index = from + (int64_t)i;
    want_states(ask);
}

static void tell_nobody(void *data, const struct store_item *items, size_t count, int error)
{
}

void items_drop(struct store *store, const void *data)
{
    LIST_EACH(link, &store->item_asks)
        if (LIST_OF(link, struct item_ask, link)->data == data)
            LIST_OF(link, struct item_ask, link)->done = tell_nobody;
}

void items_forget(struct store *store)
{
    while (!list_empty(&store->item_asks))
        ask_free(LIST_OF(store->item_asks.next, struct item_ask, link));
}
