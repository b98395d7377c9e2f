/* The fence and the limits of what those at work say: nothing passes that is not theirs, and nothing that no row could hold. */
#include "store/live.h"
#include "store/store_test.h"

#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>

TEST(no_word_passes_without_its_token)
{
    begin();
    job("me", 1, 1);
    struct token token = claim(), late = token, other = token;
    late.attempt++;
    other.holder--;
    CHECK_INT(store_record(bench.store, late, &(struct record_outcome){.value = BYTES("1")}), STORE_FENCED);
    CHECK_INT(store_waiting(bench.store, late, BYTES("{}"), BYTES("")), STORE_FENCED);
    CHECK_INT(store_record(bench.store, other, &(struct record_outcome){.value = BYTES("1")}), STORE_FENCED);
    CHECK_INT(finish(other, VERDICT_DONE), STORE_FENCED);
    other = token;
    other.job = 99;
    CHECK_INT(finish(other, VERDICT_DONE), STORE_FENCED);
    CHECK_INT(finish(token, VERDICT_DONE), STORE_ACCEPTED);
    end();
}

TEST(a_record_that_is_no_json_fails_and_one_without_a_value_is_null)
{
    begin();
    struct live *live = job("me", 1, 1);
    struct token token = claim();
    struct sha blob = {0};
    CHECK_INT(store_record(bench.store, token, &(struct record_outcome){.value = BYTES("{"), .usage = BYTES("{\"calls\":1}")}), STORE_ACCEPTED);
    CHECK_INT(live->job->records.failed, 1);
    CHECK_INT(store_record(bench.store, token, &(struct record_outcome){.record = 1, .has_score = true, .score = NAN}), STORE_ACCEPTED);
    CHECK_INT(store_record(bench.store, token, &(struct record_outcome){.record = 2, .has_score = true, .score = 2, .hit = true}), STORE_ACCEPTED);
    CHECK_INT(store_record(bench.store, token, &(struct record_outcome){.record = 3, .value = BYTES("{"), .blob = &blob}), STORE_ACCEPTED);
    CHECK_INT(live->job->records.completed, 2);
    CHECK_INT(live->job->records.failed, 2);
    CHECK_INT(live->job->hits, 1);
    CHECK(live->job->usage_count == 1 && live->job->usage[0].sum == 1);
    end();
}

static int64_t due_after(int64_t retry_after_us)
{
    begin();
    struct live *live = job("me", 1, 1);
    store_finish(bench.store, claim(), &(struct outcome){.verdict = VERDICT_RETRY, .error = BYTES("x"), .retry_after_us = retry_after_us}, NULL);
    CHECK_INT(live->job->items[0].state, ITEM_BACKOFF);
    struct nap *nap = LIST_OF(live->naps.next, struct nap, own);
    int64_t wait_us = nap->node.key - bench.now_us;
    end();
    return wait_us;
}

TEST(another_side_may_ask_for_a_wait_but_not_for_ever)
{
    CHECK(due_after(-5) > 0 && due_after(-5) <= 8 * SECOND);
    CHECK_INT(due_after(20 * SECOND), 20 * SECOND);
    CHECK_INT(due_after(INT64_MAX), LIMIT_RETRY_AFTER_US);
}

TEST(what_is_beyond_the_limits_is_left_away)
{
    begin();
    struct live *live = job("me", 5, 5);
    char *long_text MEM_OWNED = mem_new(LIMIT_BODY_BYTES + 10);
    memset(long_text, '1', LIMIT_BODY_BYTES + 9);
    struct bytes huge = bytes_of(long_text), digits = {long_text, LIMIT_ERROR_BYTES + 1};
    store_finish(bench.store, claim(), &(struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("x"), .otherwise = huge, .usage = digits}, NULL);
    CHECK_INT(live->job->counts.failed, 1);
    store_finish(bench.store, claim(), &(struct outcome){.stats = digits, .has_score = true, .score = INFINITY, .usage = BYTES("[1]")}, NULL);
    store_finish(bench.store, claim(), &(struct outcome){.stats = BYTES("{"), .has_score = true, .score = 1, .usage = BYTES("{")}, NULL);
    store_finish(bench.store, claim(), &(struct outcome){.usage = BYTES("{\"a\":\"x\"}")}, NULL);
    store_finish(bench.store, claim(), &(struct outcome){.usage = BYTES("{\"a\":-1}")}, NULL);
    CHECK_INT(live->job->counts.completed, 4);
    CHECK(!live->job->sums_count && !live->job->usage_count);
    end();
}

static sigjmp_buf back;

static void leap(int signal)
{
    siglongjmp(back, 1);
}

/* Rather dead than wrong: what the fold refuses was never to be written. */
TEST(an_event_that_cannot_follow_ends_the_process)
{
    struct sigaction before, leaping = {.sa_handler = leap};
    begin();
    struct live *live = job("me", 1, 1);
    uint64_t seq = live->job->seq;
    struct event event = {.kind = EVENT_ITEM_DONE, .item = 0, .attempt = 1};
    volatile bool died = false;
    sigaction(SIGABRT, &leaping, &before);
    if (sigsetjmp(back, 1))
        died = true;
    else
        accept_event(bench.store, live, &event, NULL, 0);
    sigaction(SIGABRT, &before, NULL);
    CHECK(died);
    CHECK_INT((int64_t)live->job->seq, (int64_t)seq);
    power_cut();
    end();
}
