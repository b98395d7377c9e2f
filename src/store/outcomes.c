/* The words of those at work: outcomes of legs, and what items that go on have to say. Each passes the fence and the limits, becomes an event, and
 * may be what ends its job. */
#include "store/live.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/plan.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what may stand in an event ---- */

/* A sentence fit for an event, whatever a worker sent. */
static struct bytes cut_text(struct bytes text, size_t max)
{
    text.count = text_cut(text, max);
    return text;
}

/* A worker is not trusted: what is no JSON would make the row unreadable for ever. */
static bool is_json(struct bytes text)
{
    size_t at;
    return json_grammar(text, JSON_DEPTH_MAX - 2, &at) == JSON_GRAMMAR_GOOD;
}

/* Only the crew stores files, and says so: a value that merely looks like the name of one could show another job's. */
static bool forges_blob(struct bytes value, const struct sha *blob)
{
    bool looks = json_span(value, "blob").count == 2 * SHA_SIZE + 2 && json_span(value, "bytes").count;
    return looks && !blob;
}

static int check_value(struct bytes value, const struct sha *blob, struct problem *problem)
{
    if (value.count > LIMIT_BODY_BYTES)
        return problem_set(problem, "the result has %zu bytes, at most %d fit inline", value.count, LIMIT_BODY_BYTES);
    if (!is_json(value))
        return problem_set(problem, "the result is not valid JSON");
    if (forges_blob(value, blob))
        return problem_set(problem, "the result has the form that is kept for stored files ({\"blob\", \"bytes\"})");
    return 0;
}

/* An object of numbers that are no less than 0, or nothing: what was used only ever adds up. */
static struct bytes fit_usage(struct bytes usage)
{
    struct bytes rest = usage, key, value;
    if (usage.count > LIMIT_ERROR_BYTES || !usage.count || usage.at[0] != '{' || !is_json(usage))
        return (struct bytes){0};
    while (json_member(&rest, &key, &value))
        if (!value.count || value.at[0] < '0' || value.at[0] > '9')
            return (struct bytes){0};
    return usage;
}

static void keep_within_limits(struct outcome *outcome, struct problem *problem)
{
    outcome->error = cut_text(outcome->error, LIMIT_ERROR_BYTES);
    outcome->error_type = cut_text(outcome->error_type, 64);
    outcome->stage = cut_text(outcome->stage, 64);
    outcome->usage = fit_usage(outcome->usage);
    if (outcome->retry_after_us < 0 || outcome->retry_after_us > LIMIT_RETRY_AFTER_US)
        outcome->retry_after_us = outcome->retry_after_us < 0 ? 0 : LIMIT_RETRY_AFTER_US;
    if (outcome->stats.count > LIMIT_ERROR_BYTES || !is_json(outcome->stats))
        outcome->stats = (struct bytes){0};
    outcome->has_score = outcome->has_score && isfinite(outcome->score);
    if (outcome->otherwise.count > LIMIT_BODY_BYTES)
        outcome->otherwise = (struct bytes){0};
    if (outcome->verdict == VERDICT_DONE && !outcome->value.count)
        outcome->value = BYTES("null");
    if (outcome->verdict == VERDICT_DONE && check_value(outcome->value, outcome->blob, problem))
        *outcome = (struct outcome){.verdict = VERDICT_FAIL, .error = bytes_of(problem->text), .error_type = BYTES("processing"),
                                    .usage = outcome->usage};
}

static void keep_record_within_limits(struct record_outcome *record, struct problem *problem)
{
    record->error = cut_text(record->error, LIMIT_ERROR_BYTES);
    record->error_type = cut_text(record->error_type, 64);
    record->stage = cut_text(record->stage, 64);
    record->usage = fit_usage(record->usage);
    record->has_score = record->has_score && isfinite(record->score);
    if (!record->failed && !record->value.count)
        record->value = BYTES("null");
    if (!record->failed && check_value(record->value, record->blob, problem))
        *record = (struct record_outcome){.record = record->record, .failed = true, .error = bytes_of(problem->text),
                                          .error_type = BYTES("processing"), .usage = record->usage};
}

/* ---- the fence ---- */

/* NULL: fenced. The item that the token speaks of is held. */
static struct live *pass(struct store *store, struct token *token)
{
    struct live *live = store_get_number(store, token->job);
#ifdef BUG_LATE_OUTCOMES
    bool fenced = !live || live->job->ended || item_ended(&live->job->items[token->item]);
    if (!fenced)
        token->attempt = live->job->items[token->item].attempt;
    fenced = fenced || !job_fence(live->job, token->item, token->attempt);
#else
    bool fenced = !live || token->holder != store->opening.epoch || !job_fence(live->job, token->item, token->attempt);
#endif
    store->numbers.fenced += fenced;
    return fenced ? NULL : live;
}

/* ---- records ---- */

static void fill_record(const struct carry *carry, uint32_t leg, const struct record_outcome *record, struct event *event)
{
    uint64_t input = carry ? carry->pos : 0, prev = carry ? carry->prev : 0;
    if (record->failed) {
        event->kind = EVENT_RECORD_FAILED;
        event->record_failed.leg = leg;
        event->record_failed.record = record->record;
        event->record_failed.input = input;
        event->record_failed.prev = prev;
        event->record_failed.error = record->error;
        event->record_failed.error_type = record->error_type;
        event->record_failed.stage = record->stage;
        event->record_failed.usage = record->usage;
        event->record_failed.dropped = record->dropped;
        return;
    }
    event->kind = EVENT_RECORD_DONE;
    event->record_done.leg = leg;
    event->record_done.record = record->record;
    event->record_done.input = input;
    event->record_done.prev = prev;
    event->record_done.value = record->value;
    event->record_done.usage = record->usage;
    event->record_done.has_score = record->has_score;
    event->record_done.hit = record->hit;
    event->record_done.score = record->score;
}

/* `joined`: its item's own end follows in the same breath. */
static void accept_record(struct live *live, struct token token, const struct record_outcome *record, bool joined)
{
    assert(record->record >= 0 && record->record < LIMIT_RECORDS);
    struct problem problem = {0};
    struct record_outcome fit = *record;
    struct event event = {.item = token.item, .attempt = token.attempt, .name = held_get(live, token.item)->name};
    keep_record_within_limits(&fit, &problem);
    fill_record(carry_get(live, token.item), live->job->items[token.item].leg, &fit, &event);
    (joined ? accept_joined : accept_event)(live->store, live, &event, fit.blob, fit.blob && !fit.failed ? 1 : 0);
}

/* ---- outcomes ---- */

/* What the item goes on with stands in its retry. */
static void fill_retry(struct live *live, struct event *event)
{
    const struct carry *carry = carry_get(live, event->item);
    if (event->kind != EVENT_ITEM_RETRY || !carry)
        return;
    event->retry.input = carry->pos;
    event->retry.prev = carry->prev;
#ifndef BUG_FORGET_REMOTE
    event->retry.remote = bytes_of(carry->remote);
#endif
}

/* On with the next leg, or in line for it: for its resources, or, as the next owner may have waited longer, for another room. */
static int step(struct live *live, struct held *held, struct token token, struct claim *ret_next)
{
    const struct leg *legs = live->pipeline->legs;
    uint32_t leg = live->job->items[token.item].leg;
    pool_give_leg(live, held);
    if (legs[leg].room != legs[leg - 1].room || !pool_may(live, leg, true)) {
        claim_step(live, token.item);
        return STORE_ACCEPTED;
    }
    pool_take(live, leg, held);
    claim_fill(live, held, token.attempt, NULL, ret_next);
    claim_refresh(live);    /* it has left the lines where its other items stood */
    return STORE_STEPPED;
}

int store_finish(struct store *store, struct token token, const struct outcome *outcome, struct claim *ret_next)
{
    struct live *live = pass(store, &token);
    if (!live)
        return STORE_FENCED;
    struct problem problem = {0};
    struct outcome fit = *outcome;
    struct event event;
    if (outcome->record && outcome->verdict == VERDICT_FAIL)    /* else a power cut could leave the record's failure and forget what it was to take along */
        accept_record(live, token, outcome->record, true);
    if (outcome->unsaid)
        plan_ask_on_error(live->pipeline, live->job->items[token.item].leg, &fit);
    keep_within_limits(&fit, &problem);
    plan_outcome(live->job, live->pipeline, token.item, &fit, log_wall(store), store->world.random(store->world.data), &event);
    struct held *held = held_get(live, token.item);
    assert(held);    /* the fence let nobody pass who was not claimed in this opening */
    event.name = held->name;
    fill_retry(live, &event);
    accept_event(store, live, &event, fit.blob, fit.blob && fit.verdict == VERDICT_DONE ? 1 : 0);
    stop_if_due(store, live);
    if (event.kind == EVENT_ITEM_STEPPED && !live->job->ended)
        return step(live, held, token, ret_next);
    return STORE_ACCEPTED;
}

/* ---- words of items that go on ---- */

int store_waiting(struct store *store, struct token token, struct bytes remote, struct bytes usage)
{
    struct live *live = pass(store, &token);
    if (!live)
        return STORE_FENCED;
    struct problem problem = {0};
    if (remote.count > LIMIT_REMOTE_BYTES)
        problem_set(&problem, "what the remote side is known by has %zu bytes, at most %d are kept", remote.count, LIMIT_REMOTE_BYTES);
    else if (!remote.count || !is_json(remote))
        problem_set(&problem, "what the remote side is known by is not valid JSON");
    if (problem_is(&problem)) {
        store_finish(store, token, &(struct outcome){.verdict = VERDICT_FAIL, .error = bytes_of(problem.text),
                                                     .error_type = BYTES("processing"), .usage = usage}, NULL);
        return STORE_FENCED;
    }
    struct carry *carry = carry_get(live, token.item);
    if (live->job->items[token.item].state == ITEM_WAITING) {    /* it has said so, in this opening or before; a new name is kept for its retry */
        carry_rename(carry, remote);
        return STORE_ACCEPTED;
    }
    struct event event = {.kind = EVENT_ITEM_WAITING, .item = token.item, .attempt = token.attempt, .name = held_get(live, token.item)->name};
    event.waiting.leg = live->job->items[token.item].leg;
    event.waiting.remote = remote;
    event.waiting.usage = fit_usage(usage);
    event.waiting.input = carry ? carry->pos : 0;
    accept_event(store, live, &event, NULL, 0);
    stop_if_due(store, live);
    return STORE_ACCEPTED;
}

int store_record(struct store *store, struct token token, const struct record_outcome *record)
{
    struct live *live = pass(store, &token);
    if (!live)
        return STORE_FENCED;
    accept_record(live, token, record, false);
    stop_if_due(store, live);
    return STORE_ACCEPTED;
}
