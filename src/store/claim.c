/* Who holds which item: what is due, in which order, and what a claimed item brings with it.
 *
 * Owners take turns, then the jobs of an owner, in each room by itself: `store.owners` of a room is a ring of the lines of owners that have
 * something ready there, the one not served for the longest time first, so that a newcomer waits for nobody's second item; `line.ready` is a
 * ring of their jobs, of each its spot in that room. A spot stands there exactly while something of its job could be claimed now and would be done
 * in that room; claim_refresh() keeps that true after every event. So a room that is full keeps a job from nothing in the others. What an item was
 * added with (its chunk) and the value it carries from leg to leg may be on disk only; then the claim asks for it and the spot waits out of the
 * ring until it has come. */
#include "store/live.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "core/plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what is at work ---- */

struct held *held_get(struct live *live, int64_t item)
{
    return map_get(&live->holds, (uint64_t)item + 1);
}

static void copy_text(char **at, struct bytes text, struct bytes *ret)
{
    if (text.count)
        memcpy(*at, text.at, text.count);
    *ret = (struct bytes){*at, text.count};
    *at += text.count;
}

static struct held *held_new(struct live *live, int64_t item, const struct item_spec *spec)
{
    struct held *held = mem_new(sizeof *held + spec->name.count + spec->type.count + spec->key.count + 1);
    char *at = held->texts;
    held->item = item;
    copy_text(&at, spec->name, &held->name);
    copy_text(&at, spec->type, &held->type);
    copy_text(&at, spec->key, &held->key);
    map_set(&live->holds, (uint64_t)item + 1, held);
    return held;
}

void held_drop(struct live *live, int64_t item)
{
    struct held *held = map_take(&live->holds, (uint64_t)item + 1);
    if (!held)
        return;
    pool_give(live, held);
    free(held);
}

/* ---- naps ---- */

static enum room room_of(const struct live *live, int64_t item)
{
    return live->pipeline->legs[live->job->items[item].leg].room;
}

static struct nap *nap_new(struct live *live, int64_t item, enum start_why why)
{
    struct nap *nap = MEM_NEW(struct nap);
    nap->live = live;
    nap->item = item;
    nap->attempt = live->job->items[item].attempt;
    nap->why = why;
    list_init(&nap->link);
    list_push(&live->naps, &nap->own);
    return nap;
}

/* Over, and in need of a slot: what a restart interrupted has never given its slot back. */
static bool is_again(const struct nap *nap)
{
    return !list_empty(&nap->link) && (nap->why == WHY_RETRY || nap->why == WHY_DUE);
}

static void nap_over(struct nap *nap)
{
    struct live *live = nap->live;
    list_push(&live->spots[room_of(live, nap->item)].due, &nap->link);
    live->again += is_again(nap);
}

void claim_nap(struct live *live, int64_t item, int64_t delay_us, enum start_why why)
{
    struct store *store = live->store;
    struct nap *nap = nap_new(live, item, why);
    if (delay_us <= 0) {
        nap_over(nap);
        return;
    }
    heap_add(&store->naps, &nap->node, store->world.now_us(store->world.data) + delay_us);
    if (heap_top(&store->naps) == &nap->node && store->client.due)
        store->client.due(store->client.data);    /* the caller's timer is to be set anew */
}

void claim_step(struct live *live, int64_t item)
{
    struct nap *nap = nap_new(live, item, WHY_FIRST);
    list_push(&live->spots[room_of(live, item)].steps, &nap->link);
    claim_refresh(live);
}

static void nap_free(struct store *store, struct nap *nap)
{
    nap->live->again -= is_again(nap);
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
        nap_over(nap);
        claim_refresh(nap->live);
    }
    chunk_pass(store);
    int64_t silence = silence_tick(store, now), deadline = stop_tick(store, now);
    flush_if_due(store);
    live_reap(store);
    struct heap_node *top = heap_top(&store->naps);
    int64_t next = top && top->key < silence ? top->key : silence;
    next = deadline < next ? deadline : next;
    int64_t flush = list_empty(&store->dirty) ? INT64_MAX : store->flushed_at_us + LIMIT_FLUSH_US;
    return flush < next ? (flush > now ? flush : now + LIMIT_FLUSH_US) : next;
}

static enum room room_at(const struct spot *spot)
{
    return (enum room)(spot - spot->live->spots);
}

static void leave_ring(struct spot *spot)
{
    struct owner *owner = spot->live->owner;
    list_leave(&spot->ready);
    if (owner && list_empty(&owner->lines[room_at(spot)].ready))
        list_leave(&owner->lines[room_at(spot)].link);
}

bool claim_stands(const struct live *live)
{
    for (int room = 0; room < ROOM_COUNT; room++)
        if (!list_empty(&live->spots[room].ready))
            return true;
    return false;
}

void live_drop_work(struct live *live)
{
    struct store *store = live->store;
    size_t at = 0;
    silence_over(live);
    stop_drop_deadline(live);
    while (!list_empty(&live->naps))
        nap_free(store, LIST_OF(live->naps.next, struct nap, own));
    carry_drop_all(live);
    for (int room = 0; room < ROOM_COUNT; room++) {
        leave_ring(&live->spots[room]);
        pool_leave(&live->spots[room]);
    }
    for (struct held *held; at = 0, (held = map_next(&live->holds, &at));)
        held_drop(live, held->item);
    map_done(&live->holds);
    chunk_drop(live);
}

/* ---- the ring of turns ---- */

static struct nap *first_due(struct spot *spot)
{
    while (!list_empty(&spot->due)) {
        struct nap *nap = LIST_OF(spot->due.next, struct nap, link);
        if (!nap_void(nap))
            return nap;
        nap_free(spot->live->store, nap);
    }
    return NULL;
}

static struct nap *first_step(struct spot *spot)
{
    return list_empty(&spot->steps) ? NULL : LIST_OF(spot->steps.next, struct nap, link);
}

/* What a job would do in its turn in a room. A step goes before all else: its item holds a slot. ADOPT: the remote side went on working while the
 * program was away. */
enum want { WANT_NOTHING, WANT_STEP, WANT_DUE, WANT_ADOPT, WANT_GIVE_UP, WANT_START, WANT_REJECT };

static enum want want_next(const struct spot *spot, int64_t *ret_item)
{
    const struct job *job = spot->live->job;
    enum plan_next next = plan_next(job, ret_item);
    if (next == PLAN_NOTHING || room_of(spot->live, *ret_item) != room_at(spot))
        return WANT_NOTHING;
    if (next == PLAN_REJECT)
        return WANT_REJECT;
    /* Those whose back-off is over go before new ones, also while the room that they wait for is full. */
    return job->holding + spot->live->again < (int64_t)job->in_flight ? WANT_START : WANT_NOTHING;
}

static enum want want_of(struct spot *spot, int64_t *ret_item, struct nap **ret_nap)
{
    const struct job *job = spot->live->job;
    if (job->ended)
        return WANT_NOTHING;
    if ((*ret_nap = first_step(spot))) {
        *ret_item = (*ret_nap)->item;
        return WANT_STEP;
    }
    *ret_nap = first_due(spot);
    if (!*ret_nap || !plan_may_restart(job, (*ret_nap)->item))
        return want_next(spot, ret_item);
    *ret_item = (*ret_nap)->item;
    if (job->items[*ret_item].state == ITEM_WAITING)
        return WANT_ADOPT;
    bool may_kill = room_of(spot->live, *ret_item) != ROOM_TRIP;    /* a call that goes out is not what took the program down */
    return may_kill && plan_gives_up(&job->items[*ret_item]) ? WANT_GIVE_UP : WANT_DUE;
}

static bool has_units(struct live *live, enum want want, int64_t item)
{
    if (want == WANT_REJECT)
        return true;
    return pool_may(live, live->job->items[item].leg, want == WANT_STEP);
}

static bool claimable(struct spot *spot)
{
    int64_t item;
    struct nap *nap;
    enum want want = want_of(spot, &item, &nap);
    if (want == WANT_NOTHING) {
        pool_leave(spot);
        return false;
    }
    return !pool_stands(spot) || has_units(spot->live, want, item);    /* whoever stands in no line yet joins it in its turn, not before */
}

/* Nearly always at one of the ends: a newcomer, or one that was served just now. */
static void join_owners(struct list *owners, struct line *line)
{
    struct list *behind = owners->prev;
    if (!list_empty(owners) && LIST_OF(owners->next, struct line, link)->served > line->served)
        behind = owners;
    while (behind != owners && LIST_OF(behind, struct line, link)->served > line->served)
        behind = behind->prev;
    list_push(behind->next, &line->link);
}

/* Whether it is among the ready ones now. */
static bool refresh(struct spot *spot)
{
    struct live *live = spot->live;
    struct store *store = live->store;
    if (!claimable(spot)) {
        leave_ring(spot);
        return false;
    }
    if (!list_empty(&spot->ready))
        return true;
    assert(live->owner);    /* usage_note() has found it, behind the first event or when the job was opened */
    struct line *line = &live->owner->lines[room_at(spot)];
    if (list_empty(&line->ready))
        join_owners(&store->owners[room_at(spot)], line);
    list_push(&line->ready, &spot->ready);
    if (store->client.due)
        store->client.due(store->client.data);
    return true;
}

void claim_refresh(struct live *live)
{
    bool ready = false;
    for (int room = 0; room < ROOM_COUNT; room++)
        if (live->rooms & 1u << room && refresh(&live->spots[room]))
            ready = true;
    if (!ready)
        chunk_rest(live);
}

/* Its turn in its room is over: behind the others of its owner, and its owner behind the other owners, whether or not it has more to do there. */
static void end_turn(struct spot *spot)
{
    enum room room = room_at(spot);
    struct line *line = &spot->live->owner->lines[room];
    if (!list_empty(&spot->ready)) {
        list_leave(&spot->ready);
        list_push(&line->ready, &spot->ready);
    }
#ifndef BUG_UNFAIR_TURNS
    line->served = ++spot->live->store->turns;
    if (!list_empty(&line->ready)) {
        list_leave(&line->link);
        list_push(&spot->live->store->owners[room], &line->link);
    }
#endif
}

/* ---- claiming ---- */

/* The value of the leg before: inline, or the name of a stored file. Only crews make such names (outcomes.c), so it is one. */
static void fill_carried(const struct carry *carry, struct claim *ret)
{
    ret->row = row_ref(carry->row);
    ret->value = json_span(row_body(carry->row), "value");
    struct bytes blob = json_span(ret->value, "blob");
    if (blob.count != 2 * SHA_SIZE + 2 || !json_span(ret->value, "bytes").count)
        return;
    ret->has_blob = sha_from_hex((struct bytes){blob.at + 1, 2 * SHA_SIZE}, &ret->blob);
    if (ret->has_blob)
        ret->value = (struct bytes){0};
}

void claim_fill(struct live *live, const struct held *held, uint32_t attempt, const struct fetched *fetched, struct claim *ret)
{
    const struct item *item = &live->job->items[held->item];
    struct carry *carry = carry_get(live, held->item);
    assert(item->leg ? carry && carry->row : fetched != NULL);
    if (!ret)
        return;
    *ret = (struct claim){.token = {live->job->job, held->item, attempt, live->store->opening.epoch},
                          .live = live_ref(live), .pipeline = live->pipeline, .leg = item->leg, .has_records = carry && carry->prev};
    struct bytes path = item->leg ? (struct bytes){0} : fetched->spec.path;
    struct bytes remote = carry ? bytes_of(carry->remote) : (struct bytes){0};
    char *at = ret->arena = mem_new(held->name.count + held->type.count + held->key.count + path.count + remote.count + 1);
    copy_text(&at, held->name, &ret->name);
    copy_text(&at, held->type, &ret->type);
    copy_text(&at, held->key, &ret->key);
    copy_text(&at, path, &ret->path);
    copy_text(&at, remote, &ret->remote);
    if (item->leg) {
        fill_carried(carry, ret);
        return;
    }
    ret->has_blob = fetched->spec.has_blob;
    ret->blob = fetched->spec.blob;
    ret->value = fetched->spec.value;    /* points into the row, which is held */
    ret->row = row_ref(fetched->row);
}

void claim_done(struct claim *claim)
{
    struct live *live = claim->live;
    row_unref(claim->row);
    free(claim->arena);
    *claim = (struct claim){0};
    live_unref(live);
}

enum turn { TURN_CLAIMED, TURN_AGAIN, TURN_OVER };    /* AGAIN: something else was settled, look once more */

/* The claim is filled before its start is accepted: a log that is quick enough tells readers of it at once, and one may cancel the job. */
static enum turn start(struct live *live, int64_t item, enum start_why why, const struct fetched *fetched, struct claim *ret)
{
    struct event event = {.kind = EVENT_ITEM_STARTED, .item = item, .attempt = live->job->items[item].attempt + 1};
    struct held *held = held_new(live, item, &fetched->spec);
    event.name = fetched->spec.name;
    event.started.leg = live->job->items[item].leg;
    event.started.why = why;
    live->store->numbers.claims++;
    pool_take(live, event.started.leg, held);
    claim_fill(live, held, event.attempt, fetched, ret);
    accept_event(live->store, live, &event, NULL, 0);
    if (!live->job->ended)
        return TURN_CLAIMED;
    claim_done(ret);
    return TURN_AGAIN;
}

static void fail(struct live *live, int64_t item, struct bytes name, struct bytes error, struct bytes error_type)
{
    struct event event = {.kind = EVENT_ITEM_FAILED, .item = item, .attempt = live->job->items[item].attempt, .name = name};
    event.failed.error = error;
    event.failed.error_type = error_type;
    accept_event(live->store, live, &event, NULL, 0);
    accept_end_if_over(live->store, live, (struct bytes){0});
}

/* It ends as if somebody had held it and said so: the leg's stages are asked for their on_error, and may let it go on to the next leg. */
static enum turn give_up(struct live *live, int64_t item, const struct fetched *fetched, struct claim *ret)
{
    char text[64];
    snprintf(text, sizeof text, "interrupted %d times", LIMIT_INTERRUPTS);
    struct outcome outcome = {.verdict = VERDICT_FAIL, .error = bytes_of(text), .error_type = BYTES("processing"), .unsaid = true};
    struct token token = {live->job->job, item, live->job->items[item].attempt, live->store->opening.epoch};
    pool_take(live, live->job->items[item].leg, held_new(live, item, &fetched->spec));
    live->job->items[item].old = false;
    return store_finish(live->store, token, &outcome, ret) == STORE_STEPPED ? TURN_CLAIMED : TURN_AGAIN;
}

/* The item started long ago and has its next leg before it: nothing is to be written. */
static enum turn go_on(struct live *live, struct nap *nap, struct claim *ret)
{
    struct held *held = held_get(live, nap->item);
    uint32_t attempt = nap->attempt;
    nap_free(live->store, nap);
    pool_take(live, live->job->items[held->item].leg, held);
    claim_fill(live, held, attempt, NULL, ret);
    claim_refresh(live);
    return TURN_CLAIMED;
}

/* As it stood when the last opening ended, with the attempt that it has: nothing is to be written. From now on this opening speaks for it. */
static enum turn adopt(struct live *live, int64_t item, const struct fetched *fetched, struct claim *ret)
{
    struct held *held = held_new(live, item, &fetched->spec);
    live->store->numbers.claims++;
    pool_take(live, live->job->items[item].leg, held);
    live->job->items[item].old = false;    /* it is not stored, and says whose it is: not of the fold, but of this opening */
    claim_fill(live, held, live->job->items[item].attempt, fetched, ret);
    claim_refresh(live);
    return TURN_CLAIMED;
}

static enum turn take_fetched(struct live *live, enum want want, struct nap *nap, int64_t item, const struct fetched *fetched, struct claim *ret)
{
    enum start_why why = want == WANT_DUE ? nap->why : WHY_FIRST;
    nap = want == WANT_DUE || want == WANT_GIVE_UP || want == WANT_ADOPT ? nap : NULL;    /* else one whose item may not go on yet */
    if (nap)
        nap_free(live->store, nap);
    switch (want) {
    case WANT_GIVE_UP:
        return give_up(live, item, fetched, ret);
    case WANT_ADOPT:
        return adopt(live, item, fetched, ret);
    case WANT_REJECT:
        fail(live, item, fetched->spec.name, fetched->spec.reject_error, fetched->spec.reject_type);
        return TURN_AGAIN;
    default:
        return start(live, item, why, fetched, ret);
    }
}

static enum turn take_turn(struct spot *spot, struct claim *ret)
{
    struct live *live = spot->live;
    int64_t item;
    struct nap *nap;
    struct fetched fetched;
    enum want want = want_of(spot, &item, &nap);
    if (want == WANT_NOTHING || !has_units(live, want, item))
        return TURN_OVER;
    if (want == WANT_STEP)
        return go_on(live, nap, ret);
    if (((want == WANT_DUE || want == WANT_ADOPT) && !carry_ready(live, item)) || !chunk_fetch(live, item, &fetched))
        return TURN_OVER;
    enum turn turn = take_fetched(live, want, nap, item, &fetched, ret);
    fetched_done(&fetched);
    return turn;
}

/* Of the lines that stand first in those rooms, the one that was not served for the longest time; NULL = there is none. */
static struct line *first_line(struct store *store, unsigned rooms)
{
    struct line *first = NULL;
    for (int room = 0; room < ROOM_COUNT; room++) {
        struct list *owners = &store->owners[room];
        struct line *line = list_empty(owners) ? NULL : LIST_OF(owners->next, struct line, link);
        if (!line || !(rooms & 1u << room) || (first && first->served <= line->served))
            continue;
        first = line;
    }
    return first;
}

int store_claim_for(struct store *store, unsigned rooms, struct claim *ret)
{
    struct line *line;
    while (!store_busy(store) && (line = first_line(store, rooms))) {
        struct spot *spot = LIST_OF(line->ready.next, struct spot, ready);
        switch (take_turn(spot, ret)) {
        case TURN_CLAIMED:
            end_turn(spot);
            return STORE_CLAIMED;
        case TURN_AGAIN:
            end_turn(spot);
            break;
        case TURN_OVER:    /* what it needs is on its way from disk, or another has it: claim_refresh() brings it back */
            leave_ring(spot);
            if (!claim_stands(spot->live))
                chunk_rest(spot->live);
            break;
        }
    }
    return STORE_NONE;
}

int store_claim(struct store *store, struct claim *ret)
{
    return store_claim_for(store, (1u << ROOM_COUNT) - 1, ret);
}
