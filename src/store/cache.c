/* The cache of results: a table beside the log (log.h), and in front of it the results written last, in memory, so that one is found in
 * the moment in which it was put, however long the disk takes.
 *
 * Losing a result costs the work to make it again, nothing else: so a put is never waited for, and dropped when too much waits. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { WARN_EVERY_US = 60 * 1000000 };

struct kept {                      /* a result in memory */
    struct list link;              /* in cache.line, the oldest first */
    struct sha key;
    char *at;                      /* owned */
    size_t count;
    int64_t expires_us;            /* wall */
};

struct cache_ask {
    struct list link;              /* in cache.asks */
    struct store *store;
    store_cached_fn *got;          /* NULL = dropped */
    void *data;
    struct bytes *values;          /* as answered; owned by this struct while they are not NULL */
    size_t *places;                /* of the keys that the disk is asked for */
    size_t count;
};

struct cache {
    struct map kept;               /* key → kept */
    struct list line, asks;
    size_t bytes;                  /* of what is kept */
    uint64_t dropped;              /* puts since the last warning */
    int64_t warned_us;             /* monotonic; 0 never */
};

struct cache *cache_new(void)
{
    struct cache *cache = MEM_NEW(struct cache);
    list_init(&cache->line);
    list_init(&cache->asks);
    return cache;
}

static struct bytes name_of(const struct sha *key)
{
    return (struct bytes){(const char *)key->at, SHA_SIZE};
}

static size_t weight(const struct kept *kept)
{
    return sizeof *kept + kept->count;
}

static void kept_drop(struct cache *cache, struct kept *kept)
{
    map_take_text(&cache->kept, name_of(&kept->key));
    list_leave(&kept->link);
    cache->bytes -= weight(kept);
    free(kept->at);
    free(kept);
}

static void keep(struct cache *cache, const struct sha *key, struct bytes value, int64_t expires_us)
{
    struct kept *kept = map_get_text(&cache->kept, name_of(key));
    if (kept)
        kept_drop(cache, kept);
    kept = MEM_NEW(struct kept);
    *kept = (struct kept){.key = *key, .at = mem_copy(value.at, value.count), .count = value.count, .expires_us = expires_us};
    list_push(&cache->line, &kept->link);
    map_set_text(&cache->kept, name_of(&kept->key), kept);
    cache->bytes += weight(kept);
    while (cache->bytes > LIMIT_CACHE_MEMORY_BYTES)
        kept_drop(cache, LIST_OF(cache->line.next, struct kept, link));
}

static int64_t wall_us(struct store *store)
{
    return store->world.wall_us(store->world.data);
}

/* ---- getting ---- */

static void ask_free(struct cache_ask *ask)
{
    list_leave(&ask->link);
    for (size_t i = 0; i < ask->count; i++)
        free((char *)ask->values[i].at);
    free(ask->values);
    free(ask->places);
    free(ask);
}

static void answer(struct cache_ask *ask)
{
    if (ask->got && !ask->store->closing)
        ask->got(ask->data, ask->values, ask->count);
    ask_free(ask);
}

static void came(void *data, struct log_cached *cached)
{
    struct cache_ask *ask = data;
    for (size_t i = 0; i < cached->count && cached->values; i++) {
        ask->values[ask->places[i]] = cached->values[i].value;
        cached->values[i].value = (struct bytes){0};    /* it is the ask's now */
    }
    answer(ask);
    log_cached_free(cached);
}

/* Takes what memory has; answers the question for the rest, NULL when there is none. */
static struct log_cached *look(struct cache_ask *ask, const struct sha *keys)
{
    struct log_cached *cached = MEM_NEW(struct log_cached);
    cached->keys = mem_new(ask->count * sizeof *keys);
    cached->now_us = wall_us(ask->store);
    cached->done = came;
    cached->data = ask;
    for (size_t i = 0; i < ask->count; i++) {
        const struct kept *kept = map_get_text(&ask->store->cache->kept, name_of(&keys[i]));
        if (!kept) {
            ask->places[cached->count] = i;
            cached->keys[cached->count++] = keys[i];
        } else if (kept->expires_us > cached->now_us) {
            ask->values[i] = (struct bytes){mem_copy(kept->at, kept->count), kept->count};
        }
    }
    if (cached->count)
        return cached;
    log_cached_free(cached);
    return NULL;
}

void store_cache_get(struct store *store, const struct sha *keys, size_t count, store_cached_fn *got, void *data)
{
    assert(count <= LIMIT_CACHE_KEYS);
    struct cache_ask *ask = MEM_NEW(struct cache_ask);
    *ask = (struct cache_ask){.store = store, .got = got, .data = data, .count = count};
    ask->values = mem_new(count * sizeof *ask->values);
    ask->places = mem_new(count * sizeof *ask->places);
    list_push(&store->cache->asks, &ask->link);
    struct log_cached *cached = look(ask, keys);
    if (cached && !store->closing)
        store->log->ops->cached(store->log, cached);
    else if (!cached)
        answer(ask);
    else
        log_cached_free(cached);
}

/* ---- putting ---- */

static void warn(struct store *store)
{
    struct cache *cache = store->cache;
    int64_t now = store->world.now_us(store->world.data);
    cache->dropped++;
    if (cache->warned_us && now - cache->warned_us < WARN_EVERY_US)
        return;
    fprintf(stderr, "rivulet: %llu results were not kept for later jobs: more than %d bytes of them wait for the disk\n",
            (unsigned long long)cache->dropped, LIMIT_CACHE_QUEUED_BYTES);
    cache->warned_us = now ? now : 1;
    cache->dropped = 0;
}

void store_cache_put(struct store *store, const struct sha *key, struct bytes value, int64_t ttl_us)
{
    if (value.count > LIMIT_BODY_BYTES || ttl_us <= 0 || store->closing)
        return;
    int64_t now = wall_us(store), expires_us = ttl_us < INT64_MAX - now ? now + ttl_us : INT64_MAX;
    struct log_side *side = MEM_NEW(struct log_side);
    *side = (struct log_side){.what = LOG_CACHE_PUT, .key = *key, .expires_us = expires_us};
    side->value = (struct bytes){mem_copy(value.at, value.count), value.count};
    keep(store->cache, key, value, expires_us);
    if (store->log->ops->side(store->log, side))
        return;
    log_side_free(side);
    warn(store);
}

/* ---- ends ---- */

void cache_drop(struct store *store, const void *data)
{
    LIST_EACH(link, &store->cache->asks)
        if (LIST_OF(link, struct cache_ask, link)->data == data)
            LIST_OF(link, struct cache_ask, link)->got = NULL;
}

void cache_free(struct cache *cache)
{
    while (!list_empty(&cache->asks))
        ask_free(LIST_OF(cache->asks.next, struct cache_ask, link));
    while (!list_empty(&cache->line))
        kept_drop(cache, LIST_OF(cache->line.next, struct kept, link));
    map_done(&cache->kept);
    free(cache);
}
