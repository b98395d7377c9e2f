#include "readers/outward.h"

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum { IDLE, LINE, WORK, LATER, STATES };

struct outward {
    struct cursor_world world;
    const struct outward_kind *kind;
    void *data;
    struct store_listener listener;
    struct map jobs;                   /* number → outward_job */
    struct list states[STATES];        /* of outward_job.link; LATER's are in `naps` too */
    size_t counts[STATES];
    struct heap naps;
    struct list dirty;
    struct timer pump, nap, write;
    bool closing;
};

static int64_t now_us(const struct outward *outward)
{
    return loop_now_us(outward->world.loop);
}

/* ---- states ---- */

static void pump(struct timer *timer);

static void pump_soon(struct outward *outward)
{
    if (!timer_runs(&outward->pump))
        timer_start(outward->world.loop, &outward->pump, 0, pump);
}

/* The one place where a job changes its state. */
static void move(struct outward_job *job, int state)
{
    struct outward *outward = job->outward;
    if (job->state == WORK && state != WORK) {
        cursor_close(&job->cursor);
        job->full = false;
    }
    heap_leave(&outward->naps, &job->nap);
    list_leave(&job->link);
    outward->counts[job->state]--;
    job->state = state;
    outward->counts[state]++;
    list_push(&outward->states[state], &job->link);
    if (!list_empty(&outward->states[LINE]))
        pump_soon(outward);
}

static struct outward_job *job_new_of(struct outward *outward, int64_t number, uint64_t arrived, int state)
{
    struct outward_job *job = MEM_NEW(struct outward_job);
    *job = (struct outward_job){.outward = outward, .number = number, .arrived = arrived, .given = arrived, .state = state};
    list_init(&job->link);
    list_init(&job->dirty_link);
    map_set(&outward->jobs, (uint64_t)number, job);
    outward->counts[state]++;
    move(job, state);
    return job;
}

static void forget(struct outward_job *job)
{
    struct outward *outward = job->outward;
    if (outward->kind->gone)
        outward->kind->gone(outward->data, job);
    store_drop_asks(outward->world.store, job);
    cursor_close(&job->cursor);
    heap_leave(&outward->naps, &job->nap);
    list_leave(&job->link);
    list_leave(&job->dirty_link);
    outward->counts[job->state]--;
    map_take(&outward->jobs, (uint64_t)job->number);
    free(job);
    if (!outward->closing)
        pump_soon(outward);
}

/* ---- the durable cursor ---- */

static void write_dirty(struct outward *outward)
{
    for (struct list *link; (link = list_pop(&outward->dirty));) {
        struct outward_job *job = LIST_OF(link, struct outward_job, dirty_link);
        job->dirty = false;
        store_reader_set(outward->world.store, outward->kind->name, job->number, job->arrived);
    }
}

static void write_due(struct timer *timer)
{
    write_dirty(TIMER_OF(timer, struct outward, write));
}

static void set_arrived(struct outward_job *job, uint64_t seq)
{
    struct outward *outward = job->outward;
    if (seq <= job->arrived)
        return;
    job->arrived = seq;
    if (job->given < seq)
        job->given = seq;
    if (!job->dirty)
        list_push(&outward->dirty, &job->dirty_link);
    job->dirty = true;
    if (!timer_runs(&outward->write))
        timer_start(outward->world.loop, &outward->write, LIMIT_OUTWARD_WRITE_US, write_due);
}

void outward_give_up(struct outward_job *job)
{
    store_reader_drop(job->outward->world.store, job->outward->kind->name, job->number);
    forget(job);
}

/* ---- rows ---- */

static bool is_wanted(const struct outward_job *job, const struct row *row)
{
    return job->wants & 1u << row->kind;
}

/* 0, or what ends the turn: CURSOR_WAIT, CURSOR_END, CURSOR_LOST, or OUTWARD_STOPPED: the kind has enough, or the job is gone. */
enum { OUTWARD_STOPPED = 100 };

static int give_one(struct outward_job *job)
{
    struct outward *outward = job->outward;
    struct row *row;
    struct bytes result;
    int64_t number = job->number;
    int answer = cursor_next(&job->cursor, &row, &result);
    if (answer != CURSOR_ROW)
        return answer == CURSOR_GAP ? CURSOR_LOST : answer;
    int taken = is_wanted(job, row) ? outward->kind->row(outward->data, job, job->cursor.live, row, result) : OUTWARD_PASSED;
    if (map_get(&outward->jobs, (uint64_t)number) != job || job->state != WORK)    /* given up, or put off */
        return OUTWARD_STOPPED;
    bool all_before = job->arrived == job->given;
    job->given = row->seq;
    if (taken == OUTWARD_PASSED && all_before)
        set_arrived(job, row->seq);
    job->full = taken == OUTWARD_FULL && job->arrived < job->given;
    return job->full ? OUTWARD_STOPPED : 0;
}

/* Some rows of a job that has a place; it lets go of the place when there is nothing to do for now. */
static void work(struct outward_job *job)
{
    struct outward *outward = job->outward;
    int64_t number = job->number;
    int answer = 0;
    for (int i = 0; i < LIMIT_OUTWARD_TURN && !answer && !job->full; i++)
        answer = give_one(job);
    if (map_get(&outward->jobs, (uint64_t)number) != job || job->state != WORK)
        return;
    bool all = job->arrived == job->given;
    if (job->full)
        cursor_rest(&job->cursor);
    else if (answer == CURSOR_LOST || (answer == CURSOR_END && all))
        outward_give_up(job);      /* it was removed; or all of it is over there */
    else if (!answer && all && outward->counts[LINE])
        move(job, LINE);           /* others have their turn */
    else if (!answer)
        pump_soon(outward);
    else if (answer == CURSOR_WAIT && all && job->cursor.next > live_durable_seq(job->cursor.live))
        move(job, IDLE);
}

static void cursor_news(struct cursor *cursor)
{
    struct outward_job *job = (struct outward_job *)((char *)cursor - offsetof(struct outward_job, cursor));
    if (!job->full)
        pump_soon(job->outward);
}

/* Its turn has come, and here it is. */
static void begin(struct outward_job *job, struct live *live)
{
    struct outward *outward = job->outward;
    if (!job->asked)
        job->wants = outward->kind->wants(outward->data, live_job(live));
    job->asked = true;
    if (!job->wants) {
        outward_give_up(job);
        return;
    }
    job->given = job->arrived;
    cursor_open(&job->cursor, &outward->world, live, outward->kind->face, cursor_news);
    cursor_after(&job->cursor, job->arrived);
    work(job);
}

static void found(void *data, struct live *live)
{
    struct outward_job *job = data;
    job->finding = false;
    if (live && job->state == WORK)
        begin(job, live);
    else if (!live)
        outward_give_up(job);      /* it was removed */
}

static void take_place(struct outward_job *job)
{
    move(job, WORK);
    if (job->finding)              /* since it was here before */
        return;
    job->finding = true;
    store_find_number(job->outward->world.store, job->number, found, job);
}

static void pump(struct timer *timer)
{
    struct outward *outward = TIMER_OF(timer, struct outward, pump);
    LIST_EACH(link, &outward->states[WORK]) {
        struct outward_job *job = LIST_OF(link, struct outward_job, link);
        if (!job->full && !job->finding && job->cursor.live)
            work(job);
    }
    for (size_t i = outward->counts[LINE]; i && outward->counts[WORK] < outward->kind->places && !list_empty(&outward->states[LINE]); i--)
        take_place(LIST_OF(outward->states[LINE].next, struct outward_job, link));
}

/* ---- what the kind says ---- */

static bool is_over(const struct outward_job *job)
{
    return job->cursor.live && cursor_over(&job->cursor) && job->arrived == live_job(job->cursor.live)->seq;
}

void outward_arrived(struct outward_job *job, uint64_t seq)
{
    assert(seq <= job->given);
    set_arrived(job, seq);
    if (is_over(job)) {
        outward_give_up(job);      /* all of it is over there */
        return;
    }
    if (job->arrived == job->given)
        job->full = false;
    if (!job->full)
        pump_soon(job->outward);
}

void outward_more(struct outward_job *job)
{
    job->full = false;
    pump_soon(job->outward);
}

static void nap_due(struct timer *timer)
{
    struct outward *outward = TIMER_OF(timer, struct outward, nap);
    struct heap_node *top;
    while ((top = heap_top(&outward->naps)) && top->key <= now_us(outward))
        move(HEAP_OF(top, struct outward_job, nap), LINE);
    if (top)
        timer_start(outward->world.loop, &outward->nap, top->key - now_us(outward), nap_due);
}

void outward_later(struct outward_job *job, int64_t delay_us)
{
    struct outward *outward = job->outward;
    move(job, LATER);
    job->given = job->arrived;
    heap_add(&outward->naps, &job->nap, now_us(outward) + delay_us);
    if (heap_top(&outward->naps) == &job->nap)
        timer_start(outward->world.loop, &outward->nap, delay_us, nap_due);
}

void outward_now(struct outward_job *job)
{
    if (job->state == LATER && !job->outward->closing)      /* closing empties one list after the other: nobody changes his */
        move(job, LINE);
}

int outward_again(struct outward *outward, struct live *live, uint64_t after)
{
    const struct job *about = live_job(live);
    uint32_t wants = outward->kind->wants(outward->data, about);
    struct outward_job *job = outward_find(outward, about->job);
    if (!wants)
        return 1;
    if (job) {                     /* its calls are broken off, and what they brought is brought again */
        job->arrived = job->arrived < after ? job->arrived : after;
        if (outward->kind->gone)
            outward->kind->gone(outward->data, job);
        job->own = NULL;
        move(job, LINE);
    } else {
        job = job_new_of(outward, about->job, after, LINE);
    }
    job->given = job->arrived;
    job->replayed = job->asked = true;
    job->wants = wants;
    store_reader_set(outward->world.store, outward->kind->name, job->number, job->arrived);
    return 0;
}

struct outward_job *outward_find(struct outward *outward, int64_t number)
{
    return map_get(&outward->jobs, (uint64_t)number);
}

struct outward_numbers outward_numbers(const struct outward *outward)
{
    return (struct outward_numbers){outward->counts[IDLE], outward->counts[LINE], outward->counts[WORK], outward->counts[LATER]};
}

/* ---- new jobs, and news of those that are idle ---- */

static struct outward_job *job_if_wanted(struct outward *outward, const struct job *about)
{
    uint32_t wants = outward->kind->wants(outward->data, about);
    if (!wants)
        return NULL;
    struct outward_job *job = job_new_of(outward, about->job, 0, IDLE);
    job->wants = wants;
    job->asked = true;
    return job;
}

static void seen(void *data, struct live *live, const struct row *row)
{
    struct outward *outward = data;
    struct outward_job *job = outward_find(outward, row->job);
    if (!job && row->kind == EVENT_JOB_CREATED)
        job = job_if_wanted(outward, live_job(live));
    if (!job || job->state != IDLE)
        return;
    if (!is_wanted(job, row) && row->kind != EVENT_JOB_ENDED && job->arrived + 1 == row->seq)
        set_arrived(job, row->seq);
    else
        move(job, LINE);
}

static void told(void *data, int64_t number, uint64_t seq)
{
    job_new_of(data, number, seq, LINE);
}

static void take_up(struct outward *outward)
{
    struct store *store = outward->world.store;
    size_t at = 0;
    store_readers(store, outward->kind->name, told, outward);
    for (struct live *live; (live = store_next_job(store, &at));) {
        const struct job *about = live_job(live);
        struct outward_job *job = about->ended || outward_find(outward, about->job) ? NULL : job_if_wanted(outward, about);
        if (!job)
            continue;
        store_reader_set(store, outward->kind->name, job->number, 0);
        move(job, LINE);
    }
}

struct outward *outward_open(const struct cursor_world *world, const struct outward_kind *kind, void *data)
{
    struct outward *outward = MEM_NEW(struct outward);
    outward->world = *world;
    outward->kind = kind;
    outward->data = data;
    for (int i = 0; i < STATES; i++)
        list_init(&outward->states[i]);
    list_init(&outward->dirty);
    outward->listener = (struct store_listener){.seen = seen, .data = outward};
    store_on_durable(world->store, &outward->listener);
    take_up(outward);
    return outward;
}

void outward_close(struct outward *outward)
{
    if (!outward)
        return;
    outward->closing = true;
    store_unlisten(&outward->listener);
    write_dirty(outward);
    for (int i = 0; i < STATES; i++)
        while (!list_empty(&outward->states[i]))
            forget(LIST_OF(outward->states[i].next, struct outward_job, link));
    for (int i = 0; i < STATES; i++)
        assert(!outward->counts[i]);
    timer_stop(outward->world.loop, &outward->pump);
    timer_stop(outward->world.loop, &outward->nap);
    timer_stop(outward->world.loop, &outward->write);
    map_done(&outward->jobs);
    heap_done(&outward->naps);
    free(outward);
}
