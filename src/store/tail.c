/* The tail: the newest rows of every job in memory, for readers at the tip, and the telling of what has become durable. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the rings ---- */

static void live_push(struct live *live, struct row *row)
{
    if (live->tail_count == live->tail_room) {
        size_t room = live->tail_room ? live->tail_room * 2 : 16;
        struct row **ring = mem_new(room * sizeof *ring);
        for (size_t i = 0; i < live->tail_count; i++)
            ring[i] = live->tail[(live->tail_first + i) % live->tail_room];
        free(live->tail);
        live->tail = ring;
        live->tail_first = 0;
        live->tail_room = room;
    }
    live->tail[(live->tail_first + live->tail_count++) % live->tail_room] = row_ref(row);
}

static struct row *live_first(const struct live *live)
{
    return live->tail_count ? live->tail[live->tail_first] : NULL;
}

/* The job in whose tail the row of that mark still is, or NULL. */
static struct live *marked(struct store *store, struct tail_mark mark)
{
    struct live *live = store_get_number(store, mark.job);
    struct row *first = live ? live_first(live) : NULL;
    return first && first->seq <= mark.seq ? live : NULL;
}

/* Away with the marks of rows that went with their jobs. */
static void store_sweep(struct store *store)
{
    size_t kept = 0;
    for (size_t i = 0; i < store->tail_count; i++) {
        struct tail_mark mark = store->tail[(store->tail_first + i) % store->tail_room];
        if (marked(store, mark))
            store->tail[(store->tail_first + kept++) % store->tail_room] = mark;
    }
    store->tail_count = kept;
}

static void store_grow(struct store *store)
{
    size_t room = store->tail_room ? store->tail_room * 2 : 256;
    struct tail_mark *ring = mem_new(room * sizeof *ring);
    for (size_t i = 0; i < store->tail_count; i++)
        ring[i] = store->tail[(store->tail_first + i) % store->tail_room];
    free(store->tail);
    store->tail = ring;
    store->tail_first = 0;
    store->tail_room = room;
}

static void store_push(struct store *store, const struct row *row)
{
    if (store->tail_count == store->tail_room) {
        store_sweep(store);
        if (store->tail_count >= store->tail_room / 2)    /* else there is room for as many pushes as the sweep took steps, about */
            store_grow(store);
    }
    store->tail[(store->tail_first + store->tail_count++) % store->tail_room] = (struct tail_mark){row->job, row->seq};
}

static size_t weight(const struct row *row)
{
    return sizeof *row + row->body_bytes;
}

static void live_pop(struct live *live)
{
    struct row *row = live_first(live);
    live->store->tail_bytes -= weight(row);
    live->tail_first = (live->tail_first + 1) % live->tail_room;
    live->tail_count--;
    row_unref(row);
}

static void evict(struct store *store)
{
    while (store->tail_count && store->tail_bytes > LIMIT_TAIL_BYTES) {
        struct live *live = marked(store, store->tail[store->tail_first]);
        if (live) {
            if (live_first(live)->pos > store->durable)    /* readers could not find it on disk yet; the queue's own bound holds here */
                return;
            live_pop(live);
        }
        store->tail_first = (store->tail_first + 1) % store->tail_room;
        store->tail_count--;
    }
}

void tail_add(struct store *store, struct live *live, struct row *row)
{
    live_push(live, row);
    store_push(store, row);
    store->tail_bytes += weight(row);
}

struct row *tail_find(const struct live *live, uint64_t pos)
{
    size_t low = 0, high = live->tail_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (live->tail[(live->tail_first + middle) % live->tail_room]->pos < pos)
            low = middle + 1;
        else
            high = middle;
    }
    struct row *row = low < live->tail_count ? live->tail[(live->tail_first + low) % live->tail_room] : NULL;
    return row && row->pos == pos ? row : NULL;
}

void tail_drop(struct live *live)
{
    while (live->tail_count)
        live_pop(live);
    free(live->tail);
    live->tail = NULL;
    live->tail_room = live->tail_first = 0;
}

int store_rows(struct live *live, uint64_t from_seq, struct row **ret, int max)
{
    if (from_seq > live->durable_seq)
        return 0;
    struct row *first = live_first(live);
    if (!first || first->seq > from_seq)
        return STORE_ON_DISK;
    int count = 0;
    for (uint64_t seq = from_seq; seq <= live->durable_seq && count < max; seq++)
        ret[count++] = row_ref(live->tail[(live->tail_first + (seq - first->seq)) % live->tail_room]);
    return count;
}

/* ---- durable ---- */

static void tell_waits(struct store *store)
{
    while (!list_empty(&store->waits)) {
        struct store_wait *wait = LIST_OF(store->waits.next, struct store_wait, link);
        if (wait->pos > store->durable)
            break;
        list_leave(&wait->link);
        wait->call(wait);
    }
}

void tail_news(struct store *store)
{
    if (store->telling)    /* a watcher made news itself: the round under way comes to them */
        return;
    store->telling = true;
    for (struct list *link; (link = list_pop(&store->news));) {
        struct live *live = LIST_OF(link, struct live, news);
        live->refs++;    /* a watcher may leave, and be the last */
        /* Watchers move to a list of their own while they are told, so that one may leave, or another come, meanwhile. */
        struct list told;
        list_init(&told);
        for (struct list *next; (next = list_pop(&live->watchers));) {
            struct watcher *watcher = LIST_OF(next, struct watcher, link);
            list_push(&told, next);
            watcher->news(watcher);
        }
        for (struct list *next; (next = list_pop(&told));)
            list_push(&live->watchers, next);
        live_unref(live);
    }
    store->telling = false;
}

void store_on_durable(struct store *store, struct store_listener *listener)
{
    list_init(&listener->link);
    list_push(&store->listeners, &listener->link);
}

void store_unlisten(struct store_listener *listener)
{
    if (listener->link.next)
        list_leave(&listener->link);
}

struct histogram store_commits(const struct store *store)
{
    return histogram_now(&store->log->commits);
}

static void tell_seen(struct store *store, const struct pending *done)
{
    struct live *live = done->live;
    struct row *first = live_first(live);
    if (!first || first->seq > done->seq)
        return;
    const struct row *row = live->tail[(live->tail_first + (done->seq - first->seq)) % live->tail_room];
    LIST_EACH(link, &store->listeners) {
        struct store_listener *listener = LIST_OF(link, struct store_listener, link);
        listener->seen(listener->data, live, row);
    }
}

void tail_durable(struct store *store, uint64_t pos)
{
    if (pos <= store->durable)
        return;
    bool was_busy = store_busy(store);
    store->durable = pos;
    while (store->pending_count && store->pending[store->pending_first].pos <= pos) {
        struct pending done = store->pending[store->pending_first];
        store->pending_first = (store->pending_first + 1) % store->pending_room;
        store->pending_count--;
        store->queued_bytes -= done.bytes;
        done.live->durable_seq = done.seq;
        tell_seen(store, &done);
        if (done.seq == 1)         /* job.created, and its key with it */
            key_drop(done.live);
        if (list_empty(&done.live->news))
            list_push(&store->news, &done.live->news);
    }
    if (!store->pending_count && store->pending_room > PENDING_KEPT) {
        free(store->pending);
        store->pending = NULL;
        store->pending_first = store->pending_room = 0;
    }
    evict(store);
    tail_news(store);      /* first: a result is on its way to its readers before the next item is launched */
    tell_waits(store);
    flush_if_due(store);
    if (was_busy && !store_busy(store) && store->client.due)
        store->client.due(store->client.data);
}

void store_when(struct store *store, struct store_wait *wait, uint64_t pos, void (*call)(struct store_wait *wait))
{
    list_init(&wait->link);
    wait->pos = pos;
    wait->call = call;
    if (pos <= store->durable) {
        call(wait);
        return;
    }
    /* Nearly always the newest position: look from the end. */
    struct list *behind = store->waits.prev;
    while (behind != &store->waits && LIST_OF(behind, struct store_wait, link)->pos > pos)
        behind = behind->prev;
    list_push(behind->next, &wait->link);
}

void store_unwait(struct store_wait *wait)
{
    if (wait->link.next)
        list_leave(&wait->link);
}

void store_watch(struct live *live, struct watcher *watcher)
{
    list_init(&watcher->link);
    list_push(&live->watchers, &watcher->link);
    live->refs++;
    watcher->live = live;
}

void store_unwatch(struct watcher *watcher)
{
    if (!watcher->live)
        return;
    struct live *live = watcher->live;
    list_leave(&watcher->link);
    watcher->live = NULL;
    live_unref(live);
}
