/* Who holds which item: what is due, in which order, and what a claimed item brings with it.
 *
 * Owners take turns, then the jobs of an owner: `store.owners` is a ring of owners that have something ready, `owner.ready` a ring
 * of their jobs. A job stands there exactly while something of it could be claimed now; claim_refresh() keeps that true after
 * every event. What an item was added with (its chunk) and the value it carries from leg to leg may have been left on disk by a
 * restart; then the claim asks for it and the job waits out of the ring until it has come. */
#include "store/live.h"

#include "base/json.h"

#include "base/limits.h"
#include "base/mem.h"
#include "core/plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- chunks ---- */

static size_t chunk_index(struct live *live, int64_t item)
{
    const struct job_added *added = job_added_of(live->job, item);
    assert(added);
    return (size_t)(added - live->job->added);
}

static void room_for_chunks(struct live *live)
{
    if (live->chunks_room >= live->job->added_count)
        return;
    size_t room = live->chunks_room * 2 > live->job->added_count ? live->chunks_room * 2 : live->job->added_count;
    live->chunks = mem_grow(live->chunks, room * sizeof *live->chunks);
    memset(live->chunks + live->chunks_room, 0, (room - live->chunks_room) * sizeof *live->chunks);
    live->chunks_room = room;
}

static void load_chunk(struct live *live, size_t index, struct row *row)
{
    struct chunk *chunk = &live->chunks[index];
    struct problem problem = {0};
    chunk->loading = false;
    if (chunk->row)
        return;
    if (codec_decode(row, &chunk->event, &chunk->arena, &problem) || chunk->event.kind != EVENT_ITEMS_ADDED) {
        /* The log reads back what was checked when it was written; anything else means that the disk lies. */
        fprintf(stderr, "rivulet: %s\n", problem.text);
        _Exit(70);
    }
    chunk->row = row_ref(row);
    chunk->left = 0;
    const struct job_added *added = &live->job->added[index];
    for (int64_t n = added->first; n < added->first + added->count; n++)
        chunk->left += !item_ended(&live->job->items[n]);
}

void chunk_keep(struct live *live, const struct row *row)
{
    room_for_chunks(live);
    load_chunk(live, live->job->added_count - 1, (struct row *)row);
}

void chunk_free(struct chunk *chunk)
{
    codec_done(&chunk->arena);
    row_unref(chunk->row);
    *chunk = (struct chunk){0};
}

void chunk_ended(struct live *live, int64_t item)
{
    struct chunk *chunk = &live->chunks[chunk_index(live, item)];
    if (chunk->row && --chunk->left == 0)
        chunk_free(chunk);
}

static void chunk_came(void *data, struct row **rows, size_t count, int error)
{
    struct live *live = data;
    if (live->job->ended)
        return;
    for (size_t i = 0; i < live->job->added_count; i++)
        if (live->job->added[i].pos == rows[0]->pos)
            load_chunk(live, i, rows[0]);
    claim_refresh(live);
}

const struct item_spec *chunk_item(struct live *live, int64_t item)
{
    room_for_chunks(live);
    struct chunk *chunk = &live->chunks[chunk_index(live, item)];
    const struct job_added *added = &live->job->added[chunk_index(live, item)];
    if (chunk->row)
        return &chunk->event.added.items[item - added->first];
    if (!chunk->loading) {
        chunk->loading = true;
        read_positions(live, &added->pos, 1, chunk_came, live);
    }
    return NULL;
}

/* ---- what an item carries into its next leg ---- */

struct carry *carry_get(struct live *live, int64_t item)
{
    return map_get(&live->carries, (uint64_t)item + 1);
}

void carry_set(struct live *live, int64_t item, uint64_t pos, struct row *row)
{
    struct carry *carry = carry_get(live, item);
    if (!carry) {
        carry = MEM_NEW(struct carry);
        carry->item = item;
        map_set(&live->carries, (uint64_t)item + 1, carry);
    }
    row_unref(carry->row);
    carry->pos = pos;
    carry->row = row ? row_ref(row) : NULL;
    carry->loading = false;
}

void carry_drop(struct live *live, int64_t item)
{
    struct carry *carry = map_take(&live->carries, (uint64_t)item + 1);
    if (!carry)
        return;
    row_unref(carry->row);
    free(carry);
}

/* The row is the item.stepped itself, or the item.retry behind it, which names the former's position. */
static void carry_came(void *data, struct row **rows, size_t count, int error)
{
    struct live *live = data;
    if (live->job->ended)
        return;
    struct carry *carry = carry_get(live, rows[0]->item);
    if (!carry)
        return;
    carry->loading = false;
    if (rows[0]->kind == EVENT_ITEM_STEPPED) {
        carry_set(live, carry->item, rows[0]->pos, rows[0]);
    } else {
        struct event event;
        struct codec_arena arena CODEC_OWNED;
        if (!codec_decode(rows[0], &event, &arena, NULL) && event.kind == EVENT_ITEM_RETRY && event.retry.input)
            carry->pos = event.retry.input;
    }
    claim_refresh(live);
}

static bool carry_ready(struct live *live, int64_t item)
{
    if (!live->job->items[item].leg)
        return true;
    struct carry *carry = carry_get(live, item);
    if (!carry) {
        carry_set(live, item, live->job->items[item].pos, NULL);
        carry = carry_get(live, item);
    }
    if (carry->row)
        return true;
    if (!carry->loading) {
        carry->loading = true;
        read_positions(live, &carry->pos, 1, carry_came, live);
    }
    return false;
}

/* ---- naps ---- */

void claim_nap(struct live *live, int64_t item, int64_t delay_us, enum start_why why)
{
    struct store *store = live->store;
    struct nap *nap = MEM_NEW(struct nap);
    nap->live = live;
    nap->item = item;
    nap->attempt = live->job->items[item].attempt;
    nap->why = why;
    list_init(&nap->link);
    list_push(&live->naps, &nap->own);
    if (delay_us > 0) {
        heap_add(&store->naps, &nap->node, store->world.now_us(store->world.data) + delay_us);
        if (heap_top(&store->naps) == &nap->node && store->client.due)
            store->client.due(store->client.data);    /* the caller's timer is to be set anew */
    } else {
        list_push(&live->due, &nap->link);
    }
}

static void nap_free(struct store *store, struct nap *nap)
{
    heap_leave(&store->naps, &nap->node);
    list_leave(&nap->link);
    list_leave(&nap->own);
    free(nap);
}

static bool nap_void(const struct nap *nap)
{
    const struct item *item = &nap->live->job->items[nap->item];
    return item->attempt != nap->attempt || !(item->old || item->state == ITEM_BACKOFF);
}

int64_t store_tick(struct store *store)
{
    int64_t now = store->world.now_us(store->world.data);
    for (struct heap_node *top; (top = heap_top(&store->naps)) && top->key <= now;) {
        struct nap *nap = HEAP_OF(top, struct nap, node);
        heap_leave(&store->naps, &nap->node);
        list_push(&nap->live->due, &nap->link);
        claim_refresh(nap->live);
    }
    int64_t silence = silence_tick(store, now);
    flush_if_due(store);
    live_reap(store);
    struct heap_node *top = heap_top(&store->naps);
    int64_t next = top && top->key < silence ? top->key : silence;
    int64_t flush = list_empty(&store->dirty) ? INT64_MAX : store->flushed_at_us + LIMIT_FLUSH_US;
    return flush < next ? (flush > now ? flush : now + LIMIT_FLUSH_US) : next;
}

void live_drop_work(struct live *live)
{
    struct store *store = live->store;
    size_t at = 0;
    silence_over(live);
    while (!list_empty(&live->naps))
        nap_free(store, LIST_OF(live->naps.next, struct nap, own));
    for (struct carry *carry; (carry = map_next(&live->carries, &at));) {
        row_unref(carry->row);
        free(carry);
    }
    map_done(&live->carries);
    for (size_t i = 0; i < live->chunks_room; i++)
        chunk_free(&live->chunks[i]);
}

/* ---- the ring of turns ---- */

static struct nap *first_due(struct live *live)
{
    while (!list_empty(&live->due)) {
        struct nap *nap = LIST_OF(live->due.next, struct nap, link);
        if (!nap_void(nap))
            return nap;
        nap_free(live->store, nap);
    }
    return NULL;
}

static bool claimable(struct live *live)
{
    int64_t item;
    struct nap *nap = live->job->ended ? NULL : first_due(live);
    if (nap && plan_may_restart(live->job, nap->item))
        return true;
    return plan_next(live->job, &item) != PLAN_NOTHING;
}

static void leave_ring(struct live *live)
{
    list_leave(&live->ready);
    if (live->owner && list_empty(&live->owner->ready))
        list_leave(&live->owner->link);
}

void claim_refresh(struct live *live)
{
    struct store *store = live->store;
    bool ready = claimable(live);
    if (!ready) {
        leave_ring(live);
        return;
    }
    if (!list_empty(&live->ready))
        return;
    if (!live->owner)
        live->owner = owner_of(store, bytes_of(live->job->owner));
    if (list_empty(&live->owner->ready))
        list_push(&store->owners, &live->owner->link);
    list_push(&live->owner->ready, &live->ready);
    if (store->client.due)
        store->client.due(store->client.data);
}

/* Its turn is over: behind the others of its owner, and its owner behind the other owners, whether or not it has more to do itself. */
static void end_turn(struct live *live)
{
    struct owner *owner = live->owner;
    if (!list_empty(&live->ready)) {
        list_leave(&live->ready);
        list_push(&owner->ready, &live->ready);
    }
#ifndef BUG_UNFAIR_TURNS
    if (!list_empty(&owner->ready)) {
        list_leave(&owner->link);
        list_push(&live->store->owners, &owner->link);
    }
#endif
}

/* ---- claiming ---- */

static char *copy_text(char **at, struct bytes text, struct bytes *ret)
{
    if (text.count)
        memcpy(*at, text.at, text.count);
    *ret = (struct bytes){*at, text.count};
    *at += text.count;
    return *at;
}

void claim_fill(struct live *live, int64_t n, uint32_t attempt, struct claim *ret)
{
    const struct item *item = &live->job->items[n];
    const struct item_spec *spec = chunk_item(live, n);
    struct carry *carry = item->leg ? carry_get(live, n) : NULL;
    assert(spec && (!item->leg || (carry && carry->row)));
    if (!ret)
        return;
    *ret = (struct claim){.token = {live->job->job, n, attempt, live->store->opening.epoch},
                          .live = live_ref(live), .pipeline = live->pipeline, .leg = item->leg};
    char *at = ret->arena = mem_new(spec->name.count + spec->type.count + spec->path.count + 1);
    copy_text(&at, spec->name, &ret->name);
    copy_text(&at, spec->type, &ret->type);
    if (carry) {
        ret->held[0] = row_ref(carry->row);
        ret->value = json_span(row_body(carry->row), "value");
        return;
    }
    copy_text(&at, spec->path, &ret->path);
    ret->has_blob = spec->has_blob;
    ret->blob = spec->blob;
    ret->value = spec->value;    /* points into the row, which is held */
    ret->held[0] = row_ref(live->chunks[chunk_index(live, n)].row);
}

void claim_done(struct claim *claim)
{
    struct live *live = claim->live;
    row_unref(claim->held[0]);
    row_unref(claim->held[1]);
    free(claim->arena);
    *claim = (struct claim){0};
    live_unref(live);
}

enum turn { TURN_CLAIMED, TURN_AGAIN, TURN_OVER };    /* AGAIN: something else was settled, look once more */

/* The claim is filled before its start is accepted: a log that is quick enough tells readers of it at once, and one may cancel the job. */
static enum turn start(struct live *live, int64_t item, enum start_why why, struct claim *ret)
{
    struct event event = {.kind = EVENT_ITEM_STARTED, .item = item, .attempt = live->job->items[item].attempt + 1};
    event.name = chunk_item(live, item)->name;
    event.started.leg = live->job->items[item].leg;
    event.started.why = why;
    live->store->numbers.claims++;
    claim_fill(live, item, event.attempt, ret);
    accept_event(live->store, live, &event, NULL, 0);
    if (!live->job->ended)
        return TURN_CLAIMED;
    claim_done(ret);
    return TURN_AGAIN;
}

static void fail(struct live *live, int64_t item, struct bytes error, struct bytes error_type)
{
    struct event event = {.kind = EVENT_ITEM_FAILED, .item = item, .attempt = live->job->items[item].attempt};
    event.name = chunk_item(live, item)->name;
    event.failed.error = error;
    event.failed.error_type = error_type;
    accept_event(live->store, live, &event, NULL, 0);
    accept_end_if_over(live->store, live, (struct bytes){0});
}

static void give_up(struct live *live, int64_t item)
{
    char text[64];
    snprintf(text, sizeof text, "interrupted %d times", LIMIT_INTERRUPTS);
    fail(live, item, bytes_of(text), BYTES("processing"));
}

static enum turn take_due(struct live *live, struct nap *nap, struct claim *ret)
{
    int64_t item = nap->item;
    if (!chunk_item(live, item) || !carry_ready(live, item))
        return TURN_OVER;
    enum start_why why = nap->why;
    nap_free(live->store, nap);
    if (plan_gives_up(&live->job->items[item])) {
        give_up(live, item);
        return TURN_AGAIN;
    }
    return start(live, item, why, ret);
}

static enum turn take_turn(struct live *live, struct claim *ret)
{
    int64_t item;
    struct nap *nap = live->job->ended ? NULL : first_due(live);
    if (nap && plan_may_restart(live->job, nap->item))
        return take_due(live, nap, ret);
    switch (plan_next(live->job, &item)) {
    case PLAN_NOTHING:
        return TURN_OVER;
    case PLAN_START:
        if (!chunk_item(live, item))
            return TURN_OVER;
        return start(live, item, WHY_FIRST, ret);
    case PLAN_REJECT: {
        const struct item_spec *spec = chunk_item(live, item);
        if (!spec)
            return TURN_OVER;
        fail(live, item, spec->reject_error, spec->reject_type);
        return TURN_AGAIN;
    }
    }
    return TURN_OVER;
}

int store_claim(struct store *store, struct claim *ret)
{
    while (!store_busy(store) && !list_empty(&store->owners)) {
        struct owner *owner = LIST_OF(store->owners.next, struct owner, link);
        struct live *live = LIST_OF(owner->ready.next, struct live, ready);
        switch (take_turn(live, ret)) {
        case TURN_CLAIMED:
            end_turn(live);
            return STORE_CLAIMED;
        case TURN_AGAIN:
            end_turn(live);
            break;
        case TURN_OVER:    /* what it needs is on its way from disk: claim_refresh() brings it back */
            leave_ring(live);
            break;
        }
    }
    return STORE_NONE;
}
