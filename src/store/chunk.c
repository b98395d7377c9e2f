/* What items were added with: rows of items.added in memory, within LIMIT_CHUNK_BYTES over all jobs. They are a cache of the log and
 * nothing else: an item is read out of its row when it starts, and the claim takes with it what it needs.
 *
 * A new row is kept when there is room, and forgotten otherwise. A forgotten one is read again when an item of it is due, and ahead of
 * time when the items before it come to their end; it then stays until it has served once, so that a job always gets on, or until its
 * job has nothing to start now. Not more than WANTED_MAX are read or kept in this way; further jobs stand in a line for that. What else
 * is over the budget goes, the longest unused first. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    AHEAD_ITEMS = 64,           /* so many items before the end of a chunk the next one is read: more than a commit's worth of starts */
    WANTED_MAX = LIMIT_CHUNK_BYTES / LIMIT_ADDED_BYTES,
};

static size_t index_of(struct live *live, int64_t item)
{
    const struct job_added *added = job_added_of(live->job, item);
    assert(added);
    return (size_t)(added - live->job->added);
}

static struct chunk *chunk_at(struct live *live, size_t index)
{
    size_t count = live->job->added_count;
    if (live->chunks_room < count) {
        size_t room = live->chunks_room * 2 > count ? live->chunks_room * 2 : count;
        struct chunk **chunks = mem_grow(live->chunks, room * sizeof *chunks);
        memset(chunks + live->chunks_room, 0, (room - live->chunks_room) * sizeof *chunks);
        live->chunks = chunks;
        live->chunks_room = room;
    }
    return live->chunks[index];
}

static size_t weight(const struct chunk *chunk)
{
    return sizeof *chunk + (chunk->row ? sizeof *chunk->row + chunk->row->body_bytes : 0) + (chunk->count + 1) * sizeof *chunk->places;
}

static void set_wanted(struct chunk *chunk, bool wanted)
{
    size_t before = chunk->wanted;
    chunk->wanted = wanted;
    chunk->live->chunks_wanted += wanted - before;
    chunk->live->store->chunks_wanted += wanted - before;
}

static void forget(struct live *live, size_t index)
{
    struct chunk *chunk = live->chunks[index];
    set_wanted(chunk, false);
    live->chunks[index] = NULL;
    live->store->chunk_bytes -= weight(chunk);
    list_leave(&chunk->link);
    row_unref(chunk->row);
    free(chunk->places);
    free(chunk);
}

static void make_room(struct store *store)
{
    LIST_EACH(link, &store->chunks) {
        struct chunk *chunk = LIST_OF(link, struct chunk, link);
        if (store->chunk_bytes <= LIMIT_CHUNK_BYTES)
            return;
        if (!chunk->wanted)
            forget(chunk->live, chunk->index);
    }
}

_Noreturn static void damaged(const struct row *row)
{
    /* The log reads back what was checked when it was written; anything else means that the disk lies. */
    fprintf(stderr, "rivulet: the log is damaged: the items of position %llu cannot be read\n", (unsigned long long)row->pos);
    _Exit(70);
}

static struct chunk *new_chunk(struct live *live, size_t index)
{
    struct chunk *chunk = MEM_NEW(struct chunk);
    chunk_at(live, index);
    live->chunks[index] = chunk;
    chunk->live = live;
    chunk->index = index;
    list_init(&chunk->link);
    live->store->chunk_bytes += weight(chunk);
    return chunk;
}

static void fill(struct chunk *chunk, struct row *row)
{
    struct live *live = chunk->live;
    const struct job_added *added = &live->job->added[chunk->index];
    live->store->chunk_bytes -= weight(chunk);
    chunk->count = (size_t)added->count;
    chunk->row = row_ref(row);
    chunk->places = row->kind == EVENT_ITEMS_ADDED ? codec_places(row, chunk->count) : NULL;
    if (!chunk->places)
        damaged(row);
    chunk->left = 0;
    for (int64_t n = added->first; n < added->first + added->count; n++)
        chunk->left += !item_ended(&live->job->items[n]);
    live->store->chunk_bytes += weight(chunk);
    list_push(&live->store->chunks, &chunk->link);
}

void chunk_keep(struct live *live, struct row *row)
{
    if (live->store->chunk_bytes + row->body_bytes < LIMIT_CHUNK_BYTES)
        fill(new_chunk(live, live->job->added_count - 1), row);
}

void chunk_ended(struct live *live, int64_t item)
{
    size_t index = index_of(live, item);
    struct chunk *chunk = chunk_at(live, index);
    if (chunk && chunk->row && --chunk->left == 0)
        forget(live, index);
}

void chunk_drop(struct live *live)
{
    list_leave(&live->chunk_line);
    for (size_t i = 0; i < live->chunks_room; i++)
        if (live->chunks[i])
            forget(live, i);
    chunk_pass(live->store);
}

void chunk_pass(struct store *store)
{
    while (store->chunks_wanted < WANTED_MAX) {
        struct list *link = list_pop(&store->chunk_line);
        if (!link)
            return;
        struct live *live = LIST_OF(link, struct live, chunk_line);
        claim_refresh(live);
        if (claim_stands(live))    /* its turn comes */
            return;
    }
}

void chunk_rest(struct live *live)
{
    for (size_t i = 0; live->chunks_wanted && i < live->chunks_room; i++)
        if (live->chunks[i] && live->chunks[i]->row)
            set_wanted(live->chunks[i], false);
    chunk_pass(live->store);
}

static void came(void *data, struct row **rows, size_t count, int error)
{
    struct live *live = data;
    size_t low = 0, high = live->job->added_count;
    if (live->job->ended)
        return;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (live->job->added[middle].pos < rows[0]->pos)
            low = middle + 1;
        else
            high = middle;
    }
    struct chunk *chunk = low < live->job->added_count ? chunk_at(live, low) : NULL;
    if (chunk && !chunk->row)
        fill(chunk, rows[0]);
    make_room(live->store);
    claim_refresh(live);
}

/* Not in memory: from the tail, where it surely is as long as it is not durable, or from the disk. NULL = not now: the job stands in
 * line. */
static struct chunk *load(struct live *live, size_t index)
{
    const struct job_added *added = &live->job->added[index];
    struct row *row = tail_find(live, added->pos);
    if (!row && live->store->chunks_wanted >= WANTED_MAX) {
        if (list_empty(&live->chunk_line))
            list_push(&live->store->chunk_line, &live->chunk_line);
        return NULL;
    }
    struct chunk *chunk = new_chunk(live, index);
    set_wanted(chunk, true);
    if (row) {
        fill(chunk, row);
        make_room(live->store);
    } else {
        read_positions(live, &added->pos, 1, came, live);
    }
    return live->chunks[index];
}

static void look_ahead(struct live *live, size_t index, int64_t item)
{
    const struct job_added *added = &live->job->added[index];
    if (live->store->chunks_wanted < WANTED_MAX && index + 1 < live->job->added_count && added->first + added->count - item <= AHEAD_ITEMS && !chunk_at(live, index + 1))
        load(live, index + 1);
}

bool chunk_fetch(struct live *live, int64_t item, struct fetched *ret)
{
    size_t index = index_of(live, item);
    struct chunk *chunk = chunk_at(live, index);
    if (!chunk)
        chunk = load(live, index);
    if (!chunk || !chunk->row)
        return false;
    size_t n = (size_t)(item - live->job->added[index].first);
    struct bytes text = {chunk->row->body + chunk->places[n], chunk->places[n + 1] - chunk->places[n] - 1};
    if (codec_item(text, &ret->spec, &ret->arena))
        damaged(chunk->row);
    ret->row = row_ref(chunk->row);
    set_wanted(chunk, false);
    list_leave(&live->chunk_line);
    list_leave(&chunk->link);
    list_push(&live->store->chunks, &chunk->link);
    look_ahead(live, index, item);
    chunk_pass(live->store);
    return true;
}

void fetched_done(struct fetched *fetched)
{
    codec_done(&fetched->arena);
    row_unref(fetched->row);
    *fetched = (struct fetched){0};
}
