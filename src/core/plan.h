/* The plan: what is due in a job, and what an outcome means. Pure: the clock comes in, events come out. */
#pragma once
#include "core/job.h"
#include "core/outcome.h"
#include "core/pipeline.h"

/* What to do next with a job, in this order of precedence: items interrupted by a restart, items whose back-off is over (the
 * caller knows those: it holds the timers), then the next pending item if a slot is free. */
enum plan_next {
    PLAN_NOTHING,     /* no slot, nothing pending, or the job may not start anything */
    PLAN_START,       /* *ret_item is to be started */
    PLAN_REJECT,      /* *ret_item was refused at intake: its item.failed is due */
};
enum plan_next plan_next(const struct job *job, int64_t *ret_item);

/* May this item be started again now (its back-off is over, or a restart interrupted it)? */
bool plan_may_restart(const struct job *job, int64_t item);

/* Too often interrupted by restarts: fails instead of starting (more than LIMIT_INTERRUPTS). */
bool plan_gives_up(const struct item *item);

/* The event that an outcome of `item` becomes: stepped (not the last leg), done, retry or failed. Fills kind, item, attempt and
 * the body with views borrowed from `outcome`; the store stamps the rest, and a retry's input, prev and remote. `random`
 * spreads the back-off: the wait is between half and the whole of min(backoff_max, backoff_min · 2^(tries − 1)), but never shorter than the
 * outcome's retry_after_us. */
void plan_outcome(const struct job *job, const struct pipeline *pipeline, int64_t item, const struct outcome *outcome,
                  int64_t wall_us, uint64_t random, struct event *ret);

/* What the leg's stages say of a failure that none of them could speak of (outcome.unsaid): fills fail_job and otherwise. Which of several it was is not
 * known: one `fail_job` is enough, and {use: …} counts where the stage is alone. `otherwise` lies in the pipeline until it is asked again. */
void plan_ask_on_error(const struct pipeline *pipeline, uint32_t leg, struct outcome *outcome);

/* The unfinished items as ranges, for items.skipped. Owned by the caller: free() it. */
struct item_range *plan_unfinished(const struct job *job, size_t *ret_count);
