/* Buckets fill evenly and hold one second's worth, so that no window of their length ever sees more than its figure and that second. A call may take
 * more tokens than there are, and the bucket is in debt then: so a call larger than the bucket goes out all the same, once. */
#include "trip/limiter.h"

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_PAUSE_US = 1000000, WINDOW_MAX = 64, SWEEP_AT = 1024 };
#define FORGET_US (600 * 1000000LL)      /* a refusal that is so old says nothing any more */

struct bucket {
    double level, room, per_us;    /* per_us 0 = without end */
    int64_t filled_us;
};

struct limiter {
    struct limiters *limiters;
    char *name;
    int64_t concurrency;           /* 0 = any */
    struct bucket requests, tokens;
    size_t users;                  /* limiter_of()s that have not been let go */
    size_t going;                  /* calls under way */
    struct list line;              /* limiter_place */
    struct timer timer;            /* when the first of the line may go */
    bool handing;
    int64_t paused_us, until_us;   /* the last pause: its beginning and its end */
    int64_t pause_us;              /* how long it was; 0 = the last call was not refused */
    bool careful;
    size_t window;                 /* after a refusal: calls at once, one more with each that goes well; 0 = any */
    int64_t refusals_us[LIMIT_REFUSALS_FREE];      /* when the last ones were, in a ring */
    uint64_t refusals_count;
};

struct limiters {
    uint64_t pauses;
    size_t count, sweep_at;
    struct loop *loop;
    struct map names;
};

struct limiters *limiters_new(struct loop *loop)
{
    struct limiters *limiters = MEM_NEW(struct limiters);
    limiters->loop = loop;
    limiters->sweep_at = SWEEP_AT;
    return limiters;
}

static void limiter_free(struct limiter *limiter)
{
    timer_stop(limiter->limiters->loop, &limiter->timer);
    free(limiter->name);
    free(limiter);
}

void limiters_free(struct limiters *limiters)
{
    if (!limiters)
        return;
    size_t at = 0;
    for (struct limiter *limiter; (limiter = map_next(&limiters->names, &at));) {
        assert(list_empty(&limiter->line) && !limiter->going);
        limiter_free(limiter);
    }
    map_done(&limiters->names);
    free(limiters);
}

static void bucket_fill(struct bucket *bucket, int64_t now_us)
{
    bucket->level += (double)(now_us - bucket->filled_us) * bucket->per_us;
    if (bucket->level > bucket->room)
        bucket->level = bucket->room;
    bucket->filled_us = now_us;
}

struct limiters_numbers limiters_numbers(const struct limiters *limiters)
{
    struct limiters_numbers numbers = {.pauses = limiters->pauses, .count = limiters->count};
    size_t at = 0;
    for (struct limiter *limiter; (limiter = map_next(&limiters->names, &at));) {
        numbers.paused += limiter->pause_us != 0;
        numbers.going += limiter->going;
        LIST_EACH(link, &limiter->line)
            numbers.line++;
    }
    return numbers;
}

static void bucket_say(struct bucket *bucket, int64_t count, int64_t per_us, int64_t now_us)
{
    if (count <= 0 || per_us <= 0)
        return;
    bool first = bucket->per_us <= 0;
    bucket->per_us = (double)count / (double)per_us;
    bucket->room = bucket->per_us * 1e6 < 1 ? 1 : bucket->per_us * 1e6;
    if (bucket->room > (double)count)
        bucket->room = (double)count;
    if (first)
        bucket->level = bucket->room, bucket->filled_us = now_us;
    bucket_fill(bucket, now_us);
}

/* µs until there is as much in it as `need`. */
static int64_t bucket_wait(struct bucket *bucket, double need, int64_t now_us)
{
    if (bucket->per_us <= 0)
        return 0;
    bucket_fill(bucket, now_us);
    return bucket->level >= need ? 0 : (int64_t)((need - bucket->level) / bucket->per_us) + 1;
}

static bool is_full(struct bucket *bucket, int64_t now_us)
{
    return !bucket_wait(bucket, bucket->room, now_us);
}

/* A new one in its place would do all that this one does. */
static bool is_idle(struct limiter *limiter, int64_t now_us)
{
    bool calm = !limiter->paused_us || now_us - limiter->until_us > FORGET_US;
    return !limiter->users && !limiter->going && list_empty(&limiter->line) && calm && is_full(&limiter->requests, now_us) &&
           is_full(&limiter->tokens, now_us);
}

/* Each time there are twice as many as were left, so that it costs nothing on the whole. */
static void sweep(struct limiters *limiters, int64_t now_us)
{
    struct limiter **idle = mem_new(limiters->count * sizeof *idle);
    size_t at = 0, count = 0;
    for (struct limiter *limiter; (limiter = map_next(&limiters->names, &at));)
        if (is_idle(limiter, now_us))
            idle[count++] = limiter;
    for (size_t i = 0; i < count; i++) {
        map_take_text(&limiters->names, bytes_of(idle[i]->name));
        limiter_free(idle[i]);
    }
    free(idle);
    limiters->count -= count;
    limiters->sweep_at = 2 * limiters->count > SWEEP_AT ? 2 * limiters->count : SWEEP_AT;
}

void limiter_let_go(struct limiter *limiter)
{
    if (limiter)
        limiter->users--;
}

struct limiter *limiter_of(struct limiters *limiters, struct bytes name, const struct limiter_spec *spec)
{
    struct limiter *limiter = map_get_text(&limiters->names, name);
    int64_t now_us = loop_now_us(limiters->loop);
    if (!limiter) {
        if (limiters->count >= limiters->sweep_at)
            sweep(limiters, now_us);
        limiters->count++;
        limiter = MEM_NEW(struct limiter);
        limiter->limiters = limiters;
        limiter->name = mem_copy(name.at, name.count);
        list_init(&limiter->line);
        map_set_text(&limiters->names, (struct bytes){limiter->name, name.count}, limiter);
    }
    limiter->users++;
    if (spec->concurrency > 0)
        limiter->concurrency = spec->concurrency;
    limiter->careful |= spec->careful;
    bucket_say(&limiter->requests, spec->requests, spec->requests_per_us, now_us);
    bucket_say(&limiter->tokens, spec->tokens, spec->tokens_per_us, now_us);
    return limiter;
}

/* 0: the first of the line may go now; > 0: not before so many µs are over; < 0: not before a call has ended. */
static int64_t wait_us(struct limiter *limiter, int64_t now_us)
{
    if (now_us < limiter->until_us)
        return limiter->until_us - now_us;
    if (limiter->pause_us && limiter->going)      /* half open: one goes and sees */
        return -1;
    if (limiter->concurrency && (int64_t)limiter->going >= limiter->concurrency)
        return -1;
    if (limiter->window && limiter->going >= limiter->window)
        return -1;
    int64_t requests_us = bucket_wait(&limiter->requests, 1, now_us), tokens_us = bucket_wait(&limiter->tokens, 1, now_us);
    return requests_us > tokens_us ? requests_us : tokens_us;
}

static void hand_out(struct limiter *limiter);

static void on_timer(struct timer *timer)
{
    hand_out(TIMER_OF(timer, struct limiter, timer));
}

static void hand_out(struct limiter *limiter)
{
    struct loop *loop = limiter->limiters->loop;
    if (limiter->handing)
        return;
    limiter->handing = true;
    while (!list_empty(&limiter->line)) {
        int64_t now_us = loop_now_us(loop), wait = wait_us(limiter, now_us);
        if (wait > 0)
            timer_start(loop, &limiter->timer, wait, on_timer);
        if (wait)
            break;
        struct limiter_place *place = LIST_OF(list_pop(&limiter->line), struct limiter_place, link);
        place->held = true;
        place->began_us = now_us;
        limiter->going++;
        limiter->requests.level -= 1;
        limiter->tokens.level -= (double)place->tokens;
        place->go(place);
    }
    limiter->handing = false;
}

void limiter_take(struct limiter *limiter, struct limiter_place *place, int64_t tokens, void (*go)(struct limiter_place *place))
{
    assert(!place->limiter);
    *place = (struct limiter_place){.limiter = limiter, .tokens = tokens, .go = go};
    list_init(&place->link);
    list_push(&limiter->line, &place->link);
    hand_out(limiter);
}

/* Calls that were under way already when everybody began to pause are part of the same storm: they make the pause no longer than they say. */
static void refused(struct limiter *limiter, int64_t began_us, int64_t retry_after_us)
{
    int64_t now_us = loop_now_us(limiter->limiters->loop), pause_us = retry_after_us > 0 ? retry_after_us : FIRST_PAUSE_US;
    if (limiter->pause_us && began_us >= limiter->until_us && pause_us < 2 * limiter->pause_us)
        pause_us = 2 * limiter->pause_us;
    int64_t *ring = &limiter->refusals_us[limiter->refusals_count % LIMIT_REFUSALS_FREE];
    bool often = limiter->refusals_count++ >= LIMIT_REFUSALS_FREE && now_us - *ring < LIMIT_REFUSALS_US;
    if (limiter->careful && often && pause_us < LIMIT_REFUSALS_US / LIMIT_REFUSALS_FREE)
        pause_us = LIMIT_REFUSALS_US / LIMIT_REFUSALS_FREE;
    *ring = now_us;
    limiter->window = 1;
    if (pause_us > LIMIT_REFUSED_PAUSE_US)
        pause_us = LIMIT_REFUSED_PAUSE_US;
    if (!limiter->pause_us || began_us >= limiter->until_us) {
        limiter->pause_us = pause_us;
        limiter->limiters->pauses++;
    }
    limiter->paused_us = now_us;
    if (now_us + pause_us > limiter->until_us)
        limiter->until_us = now_us + pause_us;
}

static struct limiter *leave(struct limiter_place *place)
{
    struct limiter *limiter = place->limiter;
    list_leave(&place->link);
    if (place->held)
        limiter->going--;
    place->limiter = NULL;
    place->held = false;
    return limiter;
}

void limiter_give(struct limiter_place *place, bool was_refused, int64_t retry_after_us, int64_t used)
{
    int64_t began_us = place->began_us, tokens = place->tokens;
    struct limiter *limiter = leave(place);
    if (used >= 0)
        limiter->tokens.level += (double)(tokens - used);
    if (was_refused)
        refused(limiter, began_us, retry_after_us);
    else if (began_us >= limiter->until_us) {    /* one that began before the pause says nothing about what is after it */
        limiter->pause_us = 0;
        limiter->window = limiter->window && limiter->window < WINDOW_MAX ? limiter->window + 1 : 0;
    }
    hand_out(limiter);
}

void limiter_leave(struct limiter_place *place)
{
    if (!place->limiter)
        return;
    struct limiter *limiter = leave(place);
    /* Not at once: a job's items are stopped one after the other, and none of them is to go out in between. */
    timer_start(limiter->limiters->loop, &limiter->timer, 0, on_timer);
}
