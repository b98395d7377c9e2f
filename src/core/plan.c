#include "core/plan.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

enum plan_next plan_next(const struct job *job, int64_t *ret_item)
{
    if (!(job->sealed || job->open) || job->cancelling || job->ended || job->next >= job->total)
        return PLAN_NOTHING;
    if (job->holding >= (int64_t)job->in_flight)
        return PLAN_NOTHING;
    *ret_item = job->next;
    return job->items[job->next].rejected ? PLAN_REJECT : PLAN_START;
}

bool plan_may_restart(const struct job *job, int64_t n)
{
    const struct item *item = &job->items[n];
    if (job->cancelling || job->ended)
        return false;
    if (item->old)
        return true;
    return item->state == ITEM_BACKOFF && (job->ordered || job->holding < (int64_t)job->in_flight);
}

bool plan_gives_up(const struct item *item)
{
    return item->old && item->interrupts >= LIMIT_INTERRUPTS;
}

static int64_t backoff(const struct leg *leg, uint32_t tries, uint64_t random)
{
    int64_t wait = leg->backoff_min_us;
    for (uint32_t i = 1; i < tries && wait < leg->backoff_max_us; i++)
        wait *= 2;
    if (wait > leg->backoff_max_us)
        wait = leg->backoff_max_us;
    return leg->steady ? wait : wait / 2 + (int64_t)(random % (uint64_t)(wait / 2 + 1));
}

static void failed(const struct outcome *outcome, struct event *ret)
{
    ret->kind = EVENT_ITEM_FAILED;
    ret->failed.error = outcome->error;
    ret->failed.error_type = outcome->error_type;
    ret->failed.stage = outcome->stage;
    ret->failed.usage = outcome->usage;
    ret->failed.fail_job = outcome->fail_job;
}

static void again(const struct leg *leg, uint32_t tries, const struct outcome *outcome, int64_t wall_us, uint64_t random, struct event *ret)
{
    ret->kind = EVENT_ITEM_RETRY;
    ret->retry.error = outcome->error;
    ret->retry.error_type = outcome->error_type;
    ret->retry.tries = tries;
    int64_t wait_us = backoff(leg, tries, random);
    ret->retry.due_at_us = wall_us + (outcome->retry_after_us > wait_us ? outcome->retry_after_us : wait_us);
    ret->retry.usage = outcome->usage;
}

void plan_outcome(const struct job *job, const struct pipeline *pipeline, int64_t n, const struct outcome *outcome, int64_t wall_us,
                  uint64_t random, struct event *ret)
{
    const struct item *item = &job->items[n];
    const struct leg *leg = &pipeline->legs[item->leg < pipeline->legs_count ? item->leg : pipeline->legs_count - 1];
    bool may_help = outcome->verdict == VERDICT_RETRY && item->tries + 1u < leg->attempts;
    bool made = outcome->verdict == VERDICT_DONE || (!may_help && outcome->otherwise.count);
    struct bytes value = outcome->verdict == VERDICT_DONE ? outcome->value : outcome->otherwise;
    *ret = (struct event){.item = n, .attempt = item->attempt};
    if (made && item->leg + 1u < pipeline->legs_count) {
        ret->kind = EVENT_ITEM_STEPPED;
        ret->stepped.leg = item->leg;
        ret->stepped.value = value;
        ret->stepped.stats = outcome->stats;
        ret->stepped.usage = outcome->usage;
    } else if (made) {
        ret->kind = EVENT_ITEM_DONE;
        ret->done.result = value;
        ret->done.stats = outcome->stats;
        ret->done.usage = outcome->usage;
        ret->done.has_score = outcome->has_score;
        ret->done.score = outcome->score;
        ret->done.hit = outcome->hit;
    } else if (may_help) {
        again(leg, item->tries + 1u, outcome, wall_us, random, ret);
        ret->retry.leg = item->leg;
    } else {
        failed(outcome, ret);
    }
}

void plan_ask_on_error(const struct pipeline *pipeline, uint32_t leg, struct outcome *outcome)
{
    struct json_object *stages = pipeline_stages(pipeline, leg), *use = NULL;
    size_t count = json_object_is_type(stages, json_type_array) ? json_object_array_length(stages) : 0;
    for (size_t i = 0; i < count; i++) {
        struct json_object *choice = json_get(json_object_array_get_idx(stages, i), "on_error");
        const char *word = json_object_is_type(choice, json_type_string) ? json_object_get_string(choice) : "";
        outcome->fail_job |= !strcmp(word, "fail_job");
        if (count == 1 && json_object_is_type(choice, json_type_object) && json_object_object_get_ex(choice, "use", &use))
            outcome->otherwise = use ? bytes_of(json_object_to_json_string_ext(use, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)) : BYTES("null");
    }
}

struct item_range *plan_unfinished(const struct job *job, size_t *ret_count)
{
    struct item_range *ranges = NULL;
    size_t count = 0, room = 0;
    for (int64_t n = 0; n < job->total; n++) {
        if (item_ended(&job->items[n]))
            continue;
        if (count && ranges[count - 1].to == n - 1) {
            ranges[count - 1].to = n;
            continue;
        }
        if (count == room) {
            room = room ? room * 2 : 16;
            ranges = mem_grow(ranges, room * sizeof *ranges);
        }
        ranges[count++] = (struct item_range){n, n};
    }
    *ret_count = count;
    return ranges;
}
