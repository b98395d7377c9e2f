/* Jobs that end before all of their items have: hits enough, the deadline over, too dear, or an item that takes the whole job with it.
 * What has not ended is skipped with one reason, and the job ends in the same breath. The power may go in the midst of it: each of these
 * reasons stands in the fold, so the next opening does what is left. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"
#include "core/plan.h"

#include <stdio.h>

enum { SKIP_RANGES = 1024 };    /* in one event: far below LIMIT_ROW_BYTES */

void accept_skip(struct store *store, struct live *live, struct bytes reason)
{
    size_t count, done = 0;
    struct item_range *ranges MEM_OWNED = plan_unfinished(live->job, &count);
    while (done < count && !live->job->ended) {
        size_t some = count - done < SKIP_RANGES ? count - done : SKIP_RANGES;
        struct event skipped = {.kind = EVENT_ITEMS_SKIPPED, .skipped = {ranges + done, some, reason}};
        accept_event(store, live, &skipped, NULL, 0);
        done += some;
    }
}

int store_stop(struct store *store, struct live *live, const char *reason, struct bytes error)
{
    if (live->job->ended)
        return 1;
    if (live->job->counts.pending || live->job->counts.processing) {
        accept_skip(store, live, bytes_of(reason));
    } else if (!live->job->failing) {    /* nothing is left to be skipped, and the log tells the reason all the same: the job's status rests on it */
        struct event none = {.kind = EVENT_ITEMS_SKIPPED, .skipped = {.reason = bytes_of(reason)}};
        accept_event(store, live, &none, NULL, 0);
    }
    if (!live->job->ended)
        accept_end(store, live, error);
    return 0;
}

static void stop_too_dear(struct store *store, struct live *live)
{
    char text[128];
    const struct job *job = live->job;
    double cost = 0;
    for (size_t i = 0; i < job->usage_count; i++)
        if (!strcmp(job->usage[i].name, "cost"))
            cost = job->usage[i].sum;
    snprintf(text, sizeof text, "the job has cost %.6g, more than its max_cost of %.6g", cost, job->max_cost);
    store_stop(store, live, "budget", bytes_of(text));
}

/* An item has taken it along. The sentence is copied: job.ended takes its place in the fold. */
static void stop_failed(struct store *store, struct live *live)
{
    char *error MEM_OWNED = mem_text(live->job->error);
    store_stop(store, live, "job_failed", bytes_of(error));
}

void stop_if_due(struct store *store, struct live *live)
{
    const struct job *job = live->job;
    if (job->ended)
        return;
    if (job_over(job) && !job->failing)
        accept_end_if_over(store, live, (struct bytes){0});
    else if (job->cancelling)
        return;
    else if (job->failing && (job->error || !job_too_dear(job)))
        stop_failed(store, live);
    else if (job_too_dear(job))
        stop_too_dear(store, live);
    else if (job_enough(job))
        store_stop(store, live, "enough", (struct bytes){0});
}

/* ---- deadlines ---- */

void stop_set_deadline(struct live *live)
{
    struct store *store = live->store;
    const struct job *job = live->job;
    if (!job->deadline_us || job->ended)
        return;
    int64_t whole = job->deadline_us - job->created_us, left = job->deadline_us - log_wall(store);
    left = left < 0 ? 0 : left < whole ? left : whole;
    heap_leave(&store->deadlines, &live->deadline);
    heap_add(&store->deadlines, &live->deadline, store->world.now_us(store->world.data) + left);
    if (heap_top(&store->deadlines) == &live->deadline && store->client.due)
        store->client.due(store->client.data);    /* the caller's timer is to be set anew */
}

void stop_drop_deadline(struct live *live)
{
    heap_leave(&live->store->deadlines, &live->deadline);
}

int64_t stop_tick(struct store *store, int64_t now)
{
    for (struct heap_node *top; (top = heap_top(&store->deadlines)) && top->key <= now;) {
        if (store_busy(store))
            return now + LIMIT_FLUSH_US;
        heap_leave(&store->deadlines, top);
        store_stop(store, HEAP_OF(top, struct live, deadline), "deadline", (struct bytes){0});
    }
    struct heap_node *top = heap_top(&store->deadlines);
    return top ? top->key : INT64_MAX;
}
