#include "server/stream/tip.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum { SCRATCH_KEEP = 2 * LIMIT_STREAM_WRITE_BYTES, FACES = 4 };

/* A block that somebody still has to write. */
struct kept {
    struct list link;               /* in tips->kept */
    struct tip *tip;
    struct http_block *block;       /* one reference */
    uint64_t before, after;         /* the places of a member before and behind it */
    int frames;
};

struct tip {
    struct tips *tips;
    uint64_t key;
    struct feed feed;
    struct timer again;             /* more to render in the next turn: others have theirs first */
    struct list members;
    uint64_t place;                 /* of the members that have everything */
    bool over, telling;
    struct kept **ring;             /* unbroken: each begins where the one before it ends */
    size_t first, count, room;
};

static uint64_t key_of(int64_t job, enum face face)
{
    return (uint64_t)job * FACES + face;
}

void tips_init(struct tips *tips, const struct cursor_world *world, const struct tip_client *client)
{
    *tips = (struct tips){.world = world, .client = client};
    list_init(&tips->kept);
    buf_init(&tips->scratch, FEED_BYTES_MAX);
}

void tips_done(struct tips *tips)
{
    assert(!tips->map.count && !tips->kept_bytes);
    map_done(&tips->map);
    buf_done(&tips->scratch);
}

/* ---- blocks kept for those who are behind ---- */

static struct kept *kept_at(const struct tip *tip, size_t at)
{
    return tip->ring[(tip->first + at) % tip->room];
}

static void drop_first(struct tip *tip)
{
    struct kept *kept = kept_at(tip, 0);
    tip->first = (tip->first + 1) % tip->room;
    tip->count--;
    tip->tips->kept_bytes -= http_block_bytes(kept->block);
    list_leave(&kept->link);
    http_block_unref(kept->block);
    free(kept);
}

static void drop_all(struct tip *tip)
{
    while (tip->count)
        drop_first(tip);
}

static void grow(struct tip *tip)
{
    size_t room = tip->room ? tip->room * 2 : 16;
    struct kept **ring = mem_new(room * sizeof *ring);
    for (size_t i = 0; i < tip->count; i++)
        ring[i] = kept_at(tip, i);
    free(tip->ring);
    tip->ring = ring;
    tip->first = 0;
    tip->room = room;
}

static void keep(struct tip *tip, struct http_block *block, uint64_t before, int frames)
{
    struct tips *tips = tip->tips;
    struct kept *kept = MEM_NEW(struct kept);
    *kept = (struct kept){.tip = tip, .block = http_block_ref(block), .before = before, .after = tip->place, .frames = frames};
    if (tip->count == tip->room)
        grow(tip);
    tip->ring[(tip->first + tip->count++) % tip->room] = kept;
    list_push(&tips->kept, &kept->link);
    tips->kept_bytes += http_block_bytes(block);
    while (tips->kept_bytes > LIMIT_TIP_BYTES)    /* the oldest of all is the oldest of its tip */
        drop_first(LIST_OF(tips->kept.next, struct kept, link)->tip);
}

/* Where the block that follows a place lies in the ring; `count` when it is not there. */
static size_t find(const struct tip *tip, uint64_t place)
{
    size_t low = 0, high = tip->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (kept_at(tip, middle)->before < place)
            low = middle + 1;
        else
            high = middle;
    }
    return low < tip->count && kept_at(tip, low)->before == place ? low : tip->count;
}

bool tip_has_all(const struct tip_member *member)
{
    return member->tip && member->place == member->tip->place;
}

bool tip_is_over(const struct tip_member *member)
{
    return member->tip && member->tip->over;
}

int tip_missed(const struct tip_member *member, struct http_block *ret[LIMIT_STREAM_WRITE_FRAMES])
{
    const struct tip *tip = member->tip;
    if (tip_has_all(member))
        return 0;
    int count = 0, frames = 0;
    size_t bytes = 0;
    for (size_t at = find(tip, member->place); at < tip->count; at++) {
        const struct kept *kept = kept_at(tip, at);
        frames += kept->frames;
        bytes += http_block_bytes(kept->block);
        if (count && (frames > LIMIT_STREAM_WRITE_FRAMES || bytes > LIMIT_STREAM_WRITE_BYTES))
            break;
        ret[count++] = kept->block;
    }
    return count ? count : -1;
}

uint64_t tip_took(struct tip_member *member, int count)
{
    uint64_t frames = 0;
    size_t at = find(member->tip, member->place);
    for (int i = 0; i < count; i++) {
        const struct kept *kept = kept_at(member->tip, at + (size_t)i);
        frames += (uint64_t)kept->frames;
        member->place = kept->after;
    }
    return frames;
}

/* ---- what comes ---- */

static void tip_free(struct tip *tip)
{
    struct tips *tips = tip->tips;
    assert(list_empty(&tip->members) && !tip->telling);
    map_take(&tips->map, tip->key);
    timer_stop(tips->world->loop, &tip->again);
    drop_all(tip);
    free(tip->ring);
    feed_close(&tip->feed);
    free(tip);
}

/* The tight loop. */
static void give(struct tip *tip, struct http_block *block, uint64_t before, int frames)
{
    const struct tip_client *client = tip->tips->client;
    int64_t now_us = loop_now_us(tip->tips->world->loop);
    bool behind = false;
    LIST_EACH(link, &tip->members) {
        struct tip_member *member = LIST_OF(link, struct tip_member, link);
        __builtin_prefetch(link_next);
        if (member->place == before && client->give(member, block, frames, now_us))
            member->place = tip->place;
        else
            behind = true;
    }
    if (behind)
        keep(tip, block, before, frames);
    else
        drop_all(tip);
}

static void over(struct tip *tip)
{
    tip->over = true;
    LIST_EACH(link, &tip->members) {
        struct tip_member *member = LIST_OF(link, struct tip_member, link);
        if (member->place == tip->place)
            tip->tips->client->over(member);
    }
}

/* The frames of one row did not fit into one block, and nobody could begin between them: each member reads them by itself. */
static void dissolve(struct tip *tip)
{
    for (struct list *link; (link = list_pop(&tip->members));) {
        struct tip_member *member = LIST_OF(link, struct tip_member, link);
        member->tip = NULL;
        tip->tips->client->off(member);
    }
    tip_free(tip);
}

static void advance(struct tip *tip);

static void advance_again(struct timer *timer)
{
    advance(TIMER_OF(timer, struct tip, again));
}

static void show(struct tip *tip, int frames)
{
    struct tips *tips = tip->tips;
    struct http_block *block = http_block_new(buf_bytes(&tips->scratch));
    uint64_t before = tip->place;
    tip->place = tip->feed.cursor.next - 1;
    tip->telling = true;
    give(tip, block, before, frames);
    tip->telling = false;
    http_block_unref(block);
}

/* Render what is there and give it to everybody. The tip may be gone afterwards. */
static void advance(struct tip *tip)
{
    struct buf *scratch = &tip->tips->scratch;
    if (tip->over || tip->telling)
        return;
    uint64_t frames = tip->feed.frames;
    buf_clear(scratch);
    int answer = feed_fill(&tip->feed, scratch);
    if (!feed_between(&tip->feed)) {
        dissolve(tip);
        return;
    }
    if (scratch->count && buf_ok(scratch))
        show(tip, (int)(tip->feed.frames - frames));
    if (scratch->room > SCRATCH_KEEP)
        buf_done(scratch);
    if (answer == FEED_END)
        over(tip);
    else if (answer == FEED_MORE)
        timer_start(tip->tips->world->loop, &tip->again, 0, advance_again);
}

static void news(struct feed *feed)
{
    advance(LIST_OF(feed, struct tip, feed));
}

/* ---- coming and going ---- */

static struct tip *tip_new(struct tips *tips, struct live *live, enum face face, uint64_t seq)
{
    struct tip *tip = MEM_NEW(struct tip);
    tip->tips = tips;
    tip->key = key_of(live_job(live)->job, face);
    tip->place = seq;
    list_init(&tip->members);
    feed_open(&tip->feed, tips->world, live, face, news);
    cursor_after(&tip->feed.cursor, seq);
    map_set(&tips->map, tip->key, tip);
    return tip;
}

bool tip_join(struct tips *tips, struct live *live, enum face face, uint64_t seq, struct tip_member *member)
{
    uint64_t key = key_of(live_job(live)->job, face);
    struct tip *tip = map_get(&tips->map, key);
    if (seq != live_durable_seq(live))
        return false;
    if (tip && tip->feed.cursor.next <= seq) {    /* it will be told after us: let it hear now */
        advance(tip);
        tip = map_get(&tips->map, key);
    } else if (!tip) {
        tip = tip_new(tips, live, face, seq);
    }
    if (!tip || tip->over || tip->feed.cursor.next != seq + 1)
        return false;
    member->tip = tip;
    member->place = tip->place;    /* rows that this face does not show may lie between the two */
    list_push(&tip->members, &member->link);
    return true;
}

void tip_leave(struct tip_member *member)
{
    struct tip *tip = member->tip;
    if (!tip)
        return;
    list_leave(&member->link);
    member->tip = NULL;
    if (list_empty(&tip->members))
        tip_free(tip);
}

void tip_hint(struct tips *tips, int64_t job, enum face face, int64_t item, int percent, struct bytes status, int64_t wall_us)
{
    struct tip *tip = map_get(&tips->map, key_of(job, face));
    if (!tip || tip->over || tip->telling || tip->feed.cursor.next <= live_durable_seq(tip->feed.cursor.live))
        return;
    buf_clear(&tips->scratch);
    int frames = frame_hint(&tip->feed.header, face, item, percent, status, wall_us, &tips->scratch);
    if (!tips->scratch.count || !buf_ok(&tips->scratch))
        return;
    struct http_block *block = http_block_new(buf_bytes(&tips->scratch));
    int64_t now_us = loop_now_us(tips->world->loop);
    LIST_EACH(link, &tip->members) {
        struct tip_member *member = LIST_OF(link, struct tip_member, link);
        if (member->place == tip->place)
            tips->client->give(member, block, frames, now_us);
    }
    http_block_unref(block);
}
