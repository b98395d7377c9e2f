#include "core/job.h"

#include "base/json.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

struct job *job_new(void)
{
    struct job *job = MEM_NEW(struct job);
    job->status = JOB_PENDING;
    return job;
}

void job_let_go(struct job *job)
{
    free(job->items);
    free(job->added);
    job->items = NULL;
    job->added = NULL;
    job->items_room = 0;
    job->added_count = job->added_room = 0;
}

void job_free(struct job *job)
{
    if (!job)
        return;
    job_let_go(job);
    free(job->id);
    free(job->owner);
    free(job->pipeline);
    free(job->params);
    free(job->result_key);
    free(job->retry_of);
    free(job->trace);
    free(job->error);
    free(job->top);
    free(job->webhook);
    free(job);
}

bool item_ended(const struct item *item)
{
    return item->state >= ITEM_DONE;
}

bool item_holds_slot(const struct job *job, const struct item *item)
{
    return item->state == ITEM_RUNNING || item->state == ITEM_WAITING || (job->ordered && item->state == ITEM_BACKOFF);
}

/* ---- one item changes its state: counts and slots follow, here and nowhere else ---- */

static int64_t *count_of(struct counts *counts, enum item_state state)
{
    switch (state) {
    case ITEM_PENDING: return &counts->pending;
    case ITEM_DONE: return &counts->completed;
    case ITEM_FAILED: return &counts->failed;
    case ITEM_SKIPPED: return &counts->skipped;
    default: return &counts->processing;
    }
}

static void set_state(struct job *job, struct item *item, enum item_state state)
{
    job->holding -= item_holds_slot(job, item);
    --*count_of(&job->counts, item->state);
    item->state = state;
    item->old = false;
    ++*count_of(&job->counts, item->state);
    job->holding += item_holds_slot(job, item);
    while (job->next < job->total && job->items[job->next].state != ITEM_PENDING)
        job->next++;
}

/* ---- the kinds ---- */

static int impossible(const struct job *job, const struct event *event, struct problem *problem, const char *why)
{
    return problem_set(problem, "job %lld, event %llu (%s): %s", (long long)event->job, (unsigned long long)(job->seq + 1),
                       event_name(event->kind), why);
}

/* Of numbers that a damaged log may have made anything. */
static int64_t sum_up_to_max(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static void apply_created(struct job *job, const struct event *event)
{
    job->job = event->job;
    job->id = mem_copy(event->created.id.at, event->created.id.count);
    job->owner = mem_copy(event->created.owner.at, event->created.owner.count);
    job->pipeline = mem_copy(event->created.pipeline.at, event->created.pipeline.count);
    job->params = event->created.params.count ? mem_copy(event->created.params.at, event->created.params.count) : mem_text("{}");
    job->result_key = mem_copy(event->created.result_key.at, event->created.result_key.count);
    job->retry_of = mem_copy(event->created.retry_of.at, event->created.retry_of.count);
    job->trace = mem_copy(event->created.trace.at, event->created.trace.count);
    job->hash = event->created.hash;
    job->in_flight = event->created.in_flight;
    job->ordered = event->created.ordered;
    job->open = event->created.open;
    job->created_us = job->fed_us = event->at_us;
    job->deadline_us = event->created.deadline_us > 0 ? sum_up_to_max(event->at_us, event->created.deadline_us) : 0;
    job->top_keep = event->created.top_keep < JOB_TOP_MAX ? event->created.top_keep : JOB_TOP_MAX;
    job->stop_count = event->created.stop_count;
    job->max_cost = event->created.max_cost;
    job->webhook = mem_copy(event->created.webhook.at, event->created.webhook.count);
}

static const char *check_added(const struct job *job, const struct event *event)
{
    if (job->sealed)
        return "the job is sealed";
    if (event->added.first != job->total)
        return "its first item is not the next one";
    if (!event->added.count)
        return "it adds no item";
    return NULL;
}

static void apply_added(struct job *job, const struct event *event)
{
    int64_t count = (int64_t)event->added.count;
    if (job->total + count > job->items_room) {
        job->items_room = job->total + count > job->items_room * 2 ? job->total + count : job->items_room * 2;
        job->items = mem_grow(job->items, (size_t)job->items_room * sizeof *job->items);
    }
    if (job->added_count == job->added_room) {
        job->added_room = job->added_room ? job->added_room * 2 : 4;
        job->added = mem_grow(job->added, job->added_room * sizeof *job->added);
    }
    job->added[job->added_count++] = (struct job_added){event->added.first, count, event->pos};
    for (int64_t i = 0; i < count; i++)
        job->items[job->total + i] =
            (struct item){.pos = event->pos, .state = ITEM_PENDING, .rejected = event->added.items[i].reject_error.count != 0};
    for (int64_t i = 0; i < count; i++)
        job->bytes = sum_up_to_max(job->bytes, event->added.items[i].bytes > 0 ? event->added.items[i].bytes : 0);
    job->total += count;
    job->counts.pending += count;
    job->fed_us = event->at_us;
}

static bool to_number(struct bytes value, double *ret)
{
    char text[64];
    bool is_number = value.count && value.count < sizeof text && (value.at[0] == '-' || (value.at[0] >= '0' && value.at[0] <= '9'));
    if (!is_number)
        return false;
    memcpy(text, value.at, value.count);
    text[value.count] = 0;
    *ret = strtod(text, NULL);
    return true;
}

static struct job_sum *sum_of(const struct job_sum *sums, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(sums[i].name, name))
            return (struct job_sum *)&sums[i];
    return NULL;
}

/* Stats and usage are each one object of numbers, checked when they were accepted; each item brings some, so no tree is made of them. */
static void add_sums(struct job_sum sums[JOB_SUMS_MAX], size_t *count, struct bytes numbers)
{
    struct bytes key, value;
    double number;
    while (json_member(&numbers, &key, &value)) {
        char name[sizeof sums->name] = "";
        if (key.count >= sizeof name || !to_number(value, &number))
            continue;
        memcpy(name, key.at, key.count);
        struct job_sum *sum = sum_of(sums, *count, name);
        if (!sum) {
            if (*count == JOB_SUMS_MAX)
                continue;
            sum = &sums[(*count)++];
            memcpy(sum->name, name, sizeof name);
            sum->min = sum->max = number;
        }
        sum->count++;
        sum->sum += number;
        sum->min = number < sum->min ? number : sum->min;
        sum->max = number > sum->max ? number : sum->max;
    }
}

/* ---- the best by score ---- */

/* With equal scores the earlier one is the better, so that the order depends on the log alone. */
static bool worse(const struct job_best *a, const struct job_best *b)
{
    return a->score < b->score || (a->score == b->score && a->pos > b->pos);
}

static void top_rise(struct job_best *top, size_t at)
{
    for (; at && worse(&top[at], &top[(at - 1) / 2]); at = (at - 1) / 2) {
        struct job_best best = top[at];
        top[at] = top[(at - 1) / 2];
        top[(at - 1) / 2] = best;
    }
}

static void top_sink(struct job_best *top, size_t count, size_t at)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < count && worse(&top[child + 1], &top[child]))
            child++;
        if (child >= count || !worse(&top[child], &top[at]))
            return;
        struct job_best best = top[at];
        top[at] = top[child];
        top[child] = best;
        at = child;
    }
}

static void top_offer(struct job *job, const struct job_best *best)
{
    if (job->top_keep <= 0 || !isfinite(best->score))
        return;
    if (job->top_count < (size_t)job->top_keep) {
        if (!(job->top_count & (job->top_count - 1)))    /* full at each power of two */
            job->top = mem_grow(job->top, (job->top_count ? job->top_count * 2 : 1) * sizeof *job->top);
        job->top[job->top_count] = *best;
        top_rise(job->top, job->top_count++);
    } else if (worse(&job->top[0], best)) {
        job->top[0] = *best;
        top_sink(job->top, job->top_count, 0);
    } else {
        return;
    }
    job->top_revision++;
}

/* ---- what an item's words bring with them ---- */

static struct bytes usage_of(const struct event *event)
{
    switch (event->kind) {
    case EVENT_ITEM_STEPPED: return event->stepped.usage;
    case EVENT_ITEM_WAITING: return event->waiting.usage;
    case EVENT_ITEM_RETRY: return event->retry.usage;
    case EVENT_ITEM_DONE: return event->done.usage;
    case EVENT_ITEM_FAILED: return event->failed.usage;
    case EVENT_RECORD_DONE: return event->record_done.usage;
    case EVENT_RECORD_FAILED: return event->record_failed.usage;
    default: return (struct bytes){0};
    }
}

static void take_done(struct job *job, const struct event *event)
{
    add_sums(job->sums, &job->sums_count, event->done.stats);
    job->hits += event->done.hit;
    if (event->done.has_score)
        top_offer(job, &(struct job_best){event->done.score + 0.0, event->item, -1, event->pos});
}

static void set_error(struct job *job, struct bytes error)
{
    free(job->error);
    job->error = mem_copy(error.at, error.count);
}

/* An item that takes its job along says so in its own event: whatever the log ends behind, what is due then stands in the fold. */
static void take_failed(struct job *job, const struct event *event)
{
    if (job->status == JOB_PENDING)
        job->status = JOB_RUNNING;
    if (!event->failed.fail_job)
        return;
    job->failing = true;
    set_error(job, event->failed.error);
}

static void take_record(struct job *job, const struct event *event)
{
    job->records.completed++;
    job->hits += event->record_done.hit;
    if (event->record_done.has_score)
        top_offer(job, &(struct job_best){event->record_done.score + 0.0, event->item, event->record_done.record, event->pos});
}

static const char *check_item(const struct job *job, const struct event *event)
{
    if (event->item < 0 || event->item >= job->total)
        return "there is no such item";
    const struct item *item = &job->items[event->item];
    if (job->cancelling)
        return "the job is being cancelled";
    switch (event->kind) {
    case EVENT_ITEM_STARTED:
        if (item_ended(item))
            return "the item has ended";
        if (item->state == ITEM_RUNNING && event->started.why != WHY_RESTART)
            return "the item is running already";
        if (item->state == ITEM_WAITING && event->started.why != WHY_RESTART)
            return "the remote side works for the item";
        if (event->attempt != item->attempt + 1)
            return "the attempt is not the next one";
        return NULL;
    case EVENT_ITEM_FAILED:
        if (item_ended(item))
            return "the item has ended";
        if (event->attempt != item->attempt)
            return "it speaks of another attempt";
        return NULL;
    case EVENT_ITEM_WAITING:
        if (item->state == ITEM_WAITING)
            return "the item is waiting already";
        __attribute__((fallthrough));
    default:
        if (item->state != ITEM_RUNNING && item->state != ITEM_WAITING)
            return "the item is not being worked on";
        if (event->attempt != item->attempt)
            return "it speaks of another attempt";
        return NULL;
    }
}

static void apply_started(struct job *job, struct item *item, const struct event *event)
{
    item->attempt = event->attempt;
#ifndef BUG_LOST_INTERRUPT
    if (event->started.why == WHY_RESTART && item->interrupts < UINT8_MAX)
        item->interrupts++;
#endif
    if (!job->started_us)
        job->started_us = event->at_us;
    if (job->status == JOB_PENDING)
        job->status = JOB_RUNNING;
    set_state(job, item, ITEM_RUNNING);
}

static void apply_item(struct job *job, const struct event *event)
{
    struct item *item = &job->items[event->item];
    if (event->kind != EVENT_ITEM_STARTED)    /* a start says nothing that must be found again */
        item->pos = event->pos;
    add_sums(job->usage, &job->usage_count, usage_of(event));
    switch (event->kind) {
    case EVENT_ITEM_STARTED:
        apply_started(job, item, event);
        break;
    case EVENT_ITEM_STEPPED:
        item->leg = (uint8_t)(event->stepped.leg + 1);
        item->tries = item->interrupts = 0;
        set_state(job, item, ITEM_RUNNING);
        break;
    case EVENT_ITEM_WAITING:
        set_state(job, item, ITEM_WAITING);
        break;
    case EVENT_ITEM_RETRY:
        item->tries = (uint8_t)event->retry.tries;
        set_state(job, item, ITEM_BACKOFF);
        break;
    case EVENT_ITEM_DONE:
        take_done(job, event);
        set_state(job, item, ITEM_DONE);
        break;
    case EVENT_ITEM_FAILED:
        take_failed(job, event);
        set_state(job, item, ITEM_FAILED);
        break;
    case EVENT_RECORD_DONE:    /* records are checkpoints inside a leg; the item stays as it is, but it gets on */
        item->interrupts = 0;
        take_record(job, event);
        break;
    default:    /* EVENT_RECORD_FAILED: check_item() lets no other pass */
        item->interrupts = 0;
        *(event->record_failed.dropped ? &job->records.dropped : &job->records.failed) += 1;
        break;
    }
}

static const char *check_skipped(const struct job *job, const struct event *event)
{
    for (size_t i = 0; i < event->skipped.count; i++) {
        struct item_range range = event->skipped.ranges[i];
        if (range.from < 0 || range.to < range.from || range.to >= job->total)
            return "a range names items that do not exist";
        for (int64_t n = range.from; n <= range.to; n++)
            if (item_ended(&job->items[n]))
                return "a range names an item that has ended";
    }
    return NULL;
}

static void apply_skipped(struct job *job, const struct event *event)
{
    job->failing |= bytes_equal(event->skipped.reason, BYTES("job_failed")) || bytes_equal(event->skipped.reason, BYTES("budget"));
    for (size_t i = 0; i < event->skipped.count; i++)
        for (int64_t n = event->skipped.ranges[i].from; n <= event->skipped.ranges[i].to; n++) {
            job->items[n].pos = event->pos;
            set_state(job, &job->items[n], ITEM_SKIPPED);
        }
}

static const char *check_ended(const struct job *job)
{
    if (job->counts.pending || job->counts.processing)
        return "not every item has ended";
    return NULL;
}

static void apply_ended(struct job *job, const struct event *event)
{
    job->ended = true;
    job->status = event->ended.status;
    job->ended_us = event->at_us;
    if (event->ended.error.count)
        set_error(job, event->ended.error);
}

static const char *check(const struct job *job, const struct event *event)
{
    if ((event->kind == EVENT_JOB_CREATED) != (job->seq == 0))
        return job->seq ? "the job exists already" : "the job was never created";
    if (event->seq != job->seq + 1)
        return "its seq is not the next one";
    if (job->seq && event->job != job->job)
        return "it belongs to another job";
    if (job->ended)
        return "the job has ended";
    if (event_is_item(event->kind))
        return check_item(job, event);
    switch (event->kind) {
    case EVENT_JOB_CREATED: return NULL;
    case EVENT_ITEMS_ADDED: return check_added(job, event);
    case EVENT_JOB_SEALED: return job->sealed ? "the job is sealed already" : event->sealed.total != job->total ? "the total is wrong" : NULL;
    case EVENT_ITEMS_SKIPPED: return check_skipped(job, event);
    case EVENT_JOB_CANCELLING: return job->cancelling ? "the job is being cancelled already" : NULL;
    case EVENT_JOB_ENDED: return check_ended(job);
    default: return "it is of no known kind";
    }
}

int job_apply(struct job *job, const struct event *event, struct problem *problem)
{
    const char *why = check(job, event);
    if (why)
        return impossible(job, event, problem, why);
    job->seq = event->seq;
    job->pos = event->pos;
    job->epoch = event->epoch;
    job->last_us = event->at_us;
    switch (event->kind) {
    case EVENT_JOB_CREATED: apply_created(job, event); break;
    case EVENT_ITEMS_ADDED: apply_added(job, event); break;
    case EVENT_JOB_SEALED: job->sealed = true; break;
    case EVENT_ITEMS_SKIPPED: apply_skipped(job, event); break;
    case EVENT_JOB_CANCELLING: job->cancelling = true; break;
    case EVENT_JOB_ENDED: apply_ended(job, event); break;
    default: apply_item(job, event); break;
    }
    struct counts c = job->counts;
    assert(c.pending + c.processing + c.completed + c.failed + c.skipped == job->total);
    assert(job->holding >= 0);
    return 0;
}

/* ---- questions ---- */

bool job_over(const struct job *job)
{
    return job->seq && !job->ended && (job->sealed || job->cancelling) && !job->counts.pending && !job->counts.processing;
}

enum job_status job_end_status(const struct job *job)
{
    if (job->cancelling)
        return JOB_CANCELLED;
    if (job->failing)
        return JOB_ERROR;
    if (job->counts.completed || job_enough(job))
        return JOB_COMPLETED;
    return job->counts.failed || job->counts.skipped ? JOB_ERROR : JOB_COMPLETED;
}

bool job_enough(const struct job *job)
{
    return job->stop_count > 0 && job->hits >= job->stop_count;
}

bool job_too_dear(const struct job *job)
{
    const struct job_sum *cost = sum_of(job->usage, job->usage_count, "cost");
    return job->max_cost > 0 && cost && cost->sum > job->max_cost;
}

int job_progress(const struct job *job)
{
    if (job->ended)
        return 100;
    if (!job->sealed || !job->total)
        return 0;
    int64_t percent = 100 * (job->counts.completed + job->counts.failed + job->counts.skipped) / job->total;
    return percent > 99 ? 99 : (int)percent;
}

const struct job_added *job_added_of(const struct job *job, int64_t item)
{
    size_t low = 0, high = job->added_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (job->added[middle].first + job->added[middle].count <= item)
            low = middle + 1;
        else
            high = middle;
    }
    return low < job->added_count && job->added[low].first <= item ? &job->added[low] : NULL;
}

bool job_fence(const struct job *job, int64_t n, uint32_t attempt)
{
    if (job->ended || job->cancelling || n < 0 || n >= job->total || !job->items)
        return false;
    const struct item *item = &job->items[n];
    return (item->state == ITEM_RUNNING || item->state == ITEM_WAITING) && item->attempt == attempt && !item->old;
}

const struct job_sum *job_sum_of(const struct job *job, const char *name)
{
    return sum_of(job->sums, job->sums_count, name);
}

void job_summary(const struct job *job, struct buf *buf)
{
    json_open(buf, '{');
    for (size_t i = 0; i < job->sums_count; i++) {
        const struct job_sum *sum = &job->sums[i];
        json_key_bytes(buf, bytes_of(sum->name));
        json_open(buf, '{');
        json_put_int(buf, "count", sum->count);
        json_put_real(buf, "sum", sum->sum);
        json_put_real(buf, "min", sum->min);
        json_put_real(buf, "max", sum->max);
        json_put_real(buf, "mean", sum->sum / (double)sum->count);
        json_close(buf, '}');
    }
    json_close(buf, '}');
}
