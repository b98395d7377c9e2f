/* Idempotency keys: which job (owner, key) names.
 *
 * A key whose job.created is not durable yet stands in memory (store.keys); the durable ones are on disk only, written and freed in the
 * transactions of the events that they follow from. A question looks into memory, then on the disk, and then, in the breath of its
 * answer, into memory again. Questions for one key share one look at the disk (store.asks), so that of a thousand equal posts the
 * first creates the job and all others find it. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct key_hold {
    struct bytes name;             /* owner, NUL, key; owned */
    struct bytes key;              /* its last part */
    struct live *live;
    struct sha print;
    int64_t expires_us;            /* wall; 0 = as long as the job is there */
};

struct key_waiter {
    struct list link;              /* in key_ask.waiters */
    store_key_fn *done;
    void *data;
};

struct key_ask {                   /* one look at the disk */
    struct list link;              /* in store.key_asks */
    struct store *store;
    struct bytes name;             /* owned; in store.asks */
    struct list waiters;
};

static struct bytes name_of(struct bytes owner, struct bytes key)
{
    char *name = mem_new(owner.count + key.count + 2);
    if (owner.count)
        memcpy(name, owner.at, owner.count);
    memcpy(name + owner.count + 1, key.at, key.count);
    return (struct bytes){name, owner.count + 1 + key.count};
}

static int64_t wall_us(struct store *store)
{
    return store->world.wall_us(store->world.data);
}

/* Its upload was cut off: what it was asked for may be asked again. */
static bool is_free(const struct live *live)
{
    return live->gone || (live->job->ended && !live->job->sealed);
}

static struct key_hold *held(struct store *store, struct bytes name)
{
    struct key_hold *hold = map_get_text(&store->keys, name);
    if (!hold || is_free(hold->live) || (hold->expires_us && hold->expires_us <= wall_us(store)))
        return NULL;
    return hold;
}

void key_drop(struct live *live)
{
    struct key_hold *hold = live->key;
    if (!hold)
        return;
    map_take_text(&live->store->keys, hold->name);
    live->key = NULL;
    free((char *)hold->name.at);
    free(hold);
}

void key_hold(struct live *live, const struct store_job *job)
{
    struct store *store = live->store;
    struct bytes name = name_of(job->owner, job->key);
    struct key_hold *before = map_get_text(&store->keys, name);
    if (before)
        key_drop(before->live);
    struct key_hold *hold = live->key = MEM_NEW(struct key_hold);
    hold->name = name;
    hold->key = (struct bytes){name.at + job->owner.count + 1, job->key.count};
    hold->live = live;
    hold->print = job->print;
    hold->expires_us = job->key_ttl_us ? wall_us(store) + job->key_ttl_us : 0;
    map_set_text(&store->keys, hold->name, hold);
}

void key_enter(const struct live *live, struct log_entry *entry)
{
    const struct key_hold *hold = live->key;
    entry->key = mem_copy(hold->key.at, hold->key.count);
    entry->key_bytes = hold->key.count;
    entry->print = hold->print;
    entry->key_expires_us = hold->expires_us;
}

/* ---- finding ---- */

static void look(struct key_ask *ask);

static void ask_free(struct key_ask *ask)
{
    for (struct list *link; (link = list_pop(&ask->waiters));)
        free(LIST_OF(link, struct key_waiter, link));
    list_leave(&ask->link);
    map_take_text(&ask->store->asks, ask->name);
    free((char *)ask->name.at);
    free(ask);
}

/* The waiters in their order: one that creates the job makes the others find it in memory. Whoever asks again meanwhile is served too. */
static void tell(struct key_ask *ask, struct live *live, const struct sha *print)
{
    for (struct list *link; (link = list_pop(&ask->waiters));) {
        struct key_waiter waiter = *LIST_OF(link, struct key_waiter, link);
        struct key_hold *hold = held(ask->store, ask->name);
        free(LIST_OF(link, struct key_waiter, link));
        if (hold)
            waiter.done(waiter.data, hold->live, &hold->print);
        else if (live && !is_free(live))
            waiter.done(waiter.data, live, print);
        else
            waiter.done(waiter.data, NULL, NULL);
    }
}

static void answered(void *data, struct log_find *find)
{
    struct key_ask *ask = data;
    if (find->error && !ask->store->closing) {    /* "none" would be a lie that makes a second job */
        fprintf(stderr, "rivulet: the log could not be asked for an idempotency key\n");
        _Exit(70);
    }
    struct live *live = NULL;
    bool told = !find->error && !ask->store->closing;    /* who makes a job now would write behind the end */
    if (told && find->found_count && live_read_back(ask->store, &find->found[0], &live) == BACK_AGAIN) {
        log_find_free(find);
        look(ask);
        return;
    }
    if (told) {
        if (live)
            live->refs++;
        tell(ask, live, &find->print);
        live_unref(live);
    }
    ask_free(ask);
    log_find_free(find);
}

static void look(struct key_ask *ask)
{
    struct log_find *find = MEM_NEW(struct log_find);
    size_t owner_bytes = strlen(ask->name.at);
    find->by = LOG_BY_KEY;
    find->owner = mem_text(ask->name.at);
    find->key_bytes = ask->name.count - owner_bytes - 1;
    find->key = mem_copy(ask->name.at + owner_bytes + 1, find->key_bytes);
    find->now_us = wall_us(ask->store);
    find->done = answered;
    find->data = ask;
    ask->store->log->ops->find(ask->store->log, find);
}

void store_find_key(struct store *store, struct bytes owner, struct bytes key, store_key_fn *done, void *data)
{
    struct bytes name = name_of(owner, key);
    struct key_hold *hold = held(store, name);
    if (hold) {
        free((char *)name.at);
        done(data, hold->live, &hold->print);
        return;
    }
    struct key_ask *ask = map_get_text(&store->asks, name);
    struct key_waiter *waiter = MEM_NEW(struct key_waiter);
    *waiter = (struct key_waiter){.done = done, .data = data};
    if (ask) {
        free((char *)name.at);
        list_push(&ask->waiters, &waiter->link);
        return;
    }
    ask = MEM_NEW(struct key_ask);
    ask->store = store;
    ask->name = name;
    list_init(&ask->waiters);
    list_push(&ask->waiters, &waiter->link);
    list_push(&store->key_asks, &ask->link);
    map_set_text(&store->asks, ask->name, ask);
    look(ask);
}

static void tell_nobody(void *data, struct live *live, const struct sha *print)
{
}

void key_ask_drop(struct store *store, const void *data)
{
    LIST_EACH(link, &store->key_asks) {
        struct key_ask *ask = LIST_OF(link, struct key_ask, link);
        LIST_EACH(each, &ask->waiters) {
            struct key_waiter *waiter = LIST_OF(each, struct key_waiter, link);
            if (waiter->data == data)
                waiter->done = tell_nobody;
        }
    }
}

void key_forget(struct store *store)
{
    while (!list_empty(&store->key_asks))
        ask_free(LIST_OF(store->key_asks.next, struct key_ask, link));
    map_done(&store->asks);
    map_done(&store->keys);
}
