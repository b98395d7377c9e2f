/* Not of one module: every kind goes through codec and fold together, as in life. */
#include "core/codec.h"
#include "core/document.h"
#include "core/plan.h"
#include "core/snapshot.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/test.h"

#include <stdlib.h>

#define PIPE "{\"name\":\"two\",\"result_key\":\"r\",\"legs\":[{\"stages\":[\"a\"],\"attempts\":2},{\"stages\":[\"b\"]}]}"

/* Stamp, apply and take the event through bytes and back, applying that to a second fold: both must agree. */
struct bench {
    struct job *job, *replayed;
    uint64_t pos;
};

static void feed(struct bench *bench, struct event event)
{
    struct problem problem = {0};
    event.pos = ++bench->pos;
    event.job = 1;
    event.epoch = 100;
    event.seq = bench->job->seq + 1;
    event.at_us = 1000000 * (int64_t)event.seq;
    if (!event_is_item(event.kind))
        event.item = -1;
    int answer = job_apply(bench->job, &event, &problem);
    test_note("%s", problem.text);
    CHECK_INT(answer, 0);
    event.counts = bench->job->counts;
    struct row *row = codec_encode(&event, LIMIT_BODY_BYTES);
    CHECK(row);
    struct event again;
    struct codec_arena arena CODEC_OWNED;
    int decoded = codec_decode(row, &again, &arena, &problem);
    test_note("%s: %s", problem.text, row->body);
    CHECK_INT(decoded, 0);
    CHECK_INT(job_apply(bench->replayed, &again, &problem), 0);
    struct row *twice = codec_encode(&again, LIMIT_BODY_BYTES);
    CHECK_BYTES(row_body(twice), row_body(row));
    row_unref(twice);
    row_unref(row);
}

static void agree(struct bench *bench)
{
    struct buf a BUF_OWNED, b BUF_OWNED;
    buf_init(&a, 100000);
    buf_init(&b, 100000);
    snapshot_write(bench->job, &a);
    snapshot_write(bench->replayed, &b);
    CHECK_BYTES(buf_bytes(&a), buf_bytes(&b));
}

static void begin(struct bench *bench, uint32_t in_flight, bool ordered, size_t count)
{
    static struct item_spec items[8];
    *bench = (struct bench){job_new(), job_new(), 0};
    for (size_t i = 0; i < 8; i++)
        items[i] = (struct item_spec){.name = BYTES("\xe6\x98\x93 \"1\".jpg"), .type = BYTES("image/jpeg"), .bytes = 12, .value = BYTES("{\"n\":[1,\"]\"]}")};
    items[7].reject_error = BYTES("too large");
    items[7].reject_type = BYTES("validation");
    struct event created = {.kind = EVENT_JOB_CREATED, .created = {.id = BYTES("j1"), .owner = BYTES("me"), .pipeline = BYTES("two"),
        .params = BYTES("{\"k\":1}"), .result_key = BYTES("r"), .hash = sha_of(BYTES(PIPE)), .in_flight = in_flight, .ordered = ordered}};
    feed(bench, created);
    feed(bench, (struct event){.kind = EVENT_ITEMS_ADDED, .added = {0, items, count}});
    feed(bench, (struct event){.kind = EVENT_JOB_SEALED, .sealed = {(int64_t)count}});
}

static void end(struct bench *bench)
{
    agree(bench);
    job_free(bench->job);
    job_free(bench->replayed);
}

static void start(struct bench *bench, int64_t item, enum start_why why)
{
    feed(bench, (struct event){.kind = EVENT_ITEM_STARTED, .item = item, .attempt = bench->job->items[item].attempt + 1,
                               .name = BYTES("n"), .started = {.why = why}});
}

static void outcome(struct bench *bench, int64_t item, struct outcome outcome)
{
    struct problem problem = {0};
    struct pipeline *pipeline = pipeline_parse(BYTES(PIPE), &problem);
    struct event event;
    CHECK(pipeline);
    CHECK(job_fence(bench->job, item, bench->job->items[item].attempt));
    plan_outcome(bench->job, pipeline, item, &outcome, 5000000, 12345, &event);
    event.name = BYTES("n");
    feed(bench, event);
    pipeline_free(pipeline);
}

TEST(an_item_goes_through_both_legs_and_the_job_ends)
{
    struct bench bench;
    int64_t item = -1;
    begin(&bench, 2, false, 2);
    CHECK_INT(plan_next(bench.job, &item), PLAN_START);
    CHECK_INT(item, 0);
    start(&bench, 0, WHY_FIRST);
    CHECK_INT(bench.job->status, JOB_RUNNING);
    outcome(&bench, 0, (struct outcome){VERDICT_DONE, .value = BYTES("{\"x\":1}")});
    CHECK_INT(bench.job->items[0].leg, 1);
    CHECK_INT(bench.job->items[0].state, ITEM_RUNNING);
    outcome(&bench, 0, (struct outcome){VERDICT_DONE, .value = BYTES("{\"x\":2}"), .stats = BYTES("{\"accuracy\":90.5}")});
    CHECK_INT(bench.job->counts.completed, 1);
    CHECK_INT(job_progress(bench.job), 50);
    CHECK_INT(plan_next(bench.job, &item), PLAN_START);
    CHECK_INT(item, 1);
    start(&bench, 1, WHY_FIRST);
    outcome(&bench, 1, (struct outcome){VERDICT_FAIL, .error = BYTES("no"), .error_type = BYTES("processing")});
    CHECK(job_over(bench.job));
    CHECK_INT(job_progress(bench.job), 99);
    feed(&bench, (struct event){.kind = EVENT_JOB_ENDED, .ended = {job_end_status(bench.job), BYTES("{}"), BYTES(""), 1.5}});
    CHECK_INT(bench.job->status, JOB_COMPLETED);
    CHECK_INT(job_progress(bench.job), 100);
    CHECK(job_sum_of(bench.job, "accuracy")->sum == 90.5);
    end(&bench);
}

TEST(retries_end_after_the_attempts_of_the_leg)
{
    struct bench bench;
    int64_t item;
    begin(&bench, 1, true, 2);
    start(&bench, 0, WHY_FIRST);
    outcome(&bench, 0, (struct outcome){VERDICT_RETRY, .error = BYTES("crashed"), .error_type = BYTES("crash")});
    CHECK_INT(bench.job->items[0].state, ITEM_BACKOFF);
    CHECK_INT(plan_next(bench.job, &item), PLAN_NOTHING);    /* ordered: the slot is held */
    CHECK(plan_may_restart(bench.job, 0));
    start(&bench, 0, WHY_RETRY);
    outcome(&bench, 0, (struct outcome){VERDICT_RETRY, .error = BYTES("crashed"), .error_type = BYTES("crash")});
    CHECK_INT(bench.job->items[0].state, ITEM_FAILED);
    CHECK_INT(plan_next(bench.job, &item), PLAN_START);
    CHECK_INT(item, 1);
    end(&bench);
}

TEST(an_item_refused_at_intake_fails_in_its_turn_without_a_start)
{
    struct bench bench;
    int64_t item;
    begin(&bench, 8, false, 8);
    for (int64_t n = 0; n < 7; n++)
        start(&bench, n, WHY_FIRST);
    CHECK_INT(plan_next(bench.job, &item), PLAN_REJECT);
    CHECK_INT(item, 7);
    feed(&bench, (struct event){.kind = EVENT_ITEM_FAILED, .item = 7, .name = BYTES("n"), .failed = {BYTES("too large"), BYTES("validation")}});
    CHECK_INT(bench.job->counts.failed, 1);
    CHECK_INT(plan_next(bench.job, &item), PLAN_NOTHING);
    end(&bench);
}

TEST(late_outcomes_meet_the_fence)
{
    struct bench bench;
    begin(&bench, 1, false, 1);
    start(&bench, 0, WHY_FIRST);
    CHECK(job_fence(bench.job, 0, 1));
    CHECK(!job_fence(bench.job, 0, 2));
    CHECK(!job_fence(bench.job, 1, 1));
    outcome(&bench, 0, (struct outcome){VERDICT_RETRY, .error = BYTES("x"), .error_type = BYTES("crash")});
    CHECK(!job_fence(bench.job, 0, 1));
    end(&bench);
}

TEST(cancelling_voids_all_tokens_and_skips_the_rest)
{
    struct bench bench;
    size_t count;
    begin(&bench, 2, false, 6);
    start(&bench, 0, WHY_FIRST);
    start(&bench, 1, WHY_FIRST);
    outcome(&bench, 1, (struct outcome){VERDICT_FAIL, .error = BYTES("x"), .error_type = BYTES("processing")});
    feed(&bench, (struct event){.kind = EVENT_JOB_CANCELLING, .cancelling = {BYTES("client"), BYTES("asked")}});
    CHECK(!job_fence(bench.job, 0, 1));
    struct item_range *ranges = plan_unfinished(bench.job, &count);
    CHECK_INT(count, 2);
    CHECK(ranges[1].from == 2 && ranges[1].to == 5);
    feed(&bench, (struct event){.kind = EVENT_ITEMS_SKIPPED, .skipped = {ranges, count, BYTES("cancelled")}});
    free(ranges);
    CHECK(job_over(bench.job));
    CHECK_INT(job_end_status(bench.job), JOB_CANCELLED);
    end(&bench);
}

TEST(what_cannot_follow_is_refused_and_changes_nothing)
{
    struct bench bench;
    struct problem problem = {0};
    begin(&bench, 1, false, 2);
    struct event gap = {.kind = EVENT_JOB_SEALED, .job = 1, .seq = 9, .item = -1};
    CHECK(job_apply(bench.job, &gap, &problem) < 0);
    CHECK(strstr(problem.text, "seq"));
    struct event early = {.kind = EVENT_ITEM_DONE, .job = 1, .seq = 4, .item = 0, .attempt = 1};
    problem = (struct problem){0};
    CHECK(job_apply(bench.job, &early, &problem) < 0);
    struct event end_early = {.kind = EVENT_JOB_ENDED, .job = 1, .seq = 4, .item = -1};
    CHECK(job_apply(bench.job, &end_early, NULL) < 0);
    CHECK_INT(bench.job->seq, 3);
    end(&bench);
}

TEST(a_snapshot_with_its_cells_is_the_same_job)
{
    struct bench bench;
    struct problem problem = {0};
    begin(&bench, 2, false, 8);
    start(&bench, 0, WHY_FIRST);
    start(&bench, 1, WHY_FIRST);
    outcome(&bench, 0, (struct outcome){VERDICT_FAIL, .error = BYTES("x"), .error_type = BYTES("processing")});
    struct buf fold BUF_OWNED, again BUF_OWNED;
    buf_init(&fold, 100000);
    buf_init(&again, 100000);
    snapshot_write(bench.job, &fold);
    struct job *job = snapshot_read(buf_bytes(&fold), &problem);
    CHECK(job);
    CHECK_INT(snapshot_pages(job), 1);
    CHECK_INT(snapshot_read_cell(job, 0, snapshot_cell(bench.job, 0), &problem), 0);
    snapshot_settle(job);
    snapshot_write(job, &again);
    CHECK_BYTES(buf_bytes(&again), buf_bytes(&fold));
    CHECK(job->items[1].old && !job->items[0].old && job->items[7].rejected);
    CHECK_INT(job->next, 2);
    CHECK_INT(job->holding, 1);
    CHECK(plan_may_restart(job, 1));
    CHECK(!job_fence(job, 1, 1));    /* the earlier opening's word counts no more */
    job_free(job);
    end(&bench);
}

TEST(a_pipeline_names_the_field_that_is_wrong)
{
    static const char *const bad[][2] = {
        {"{}", "name"}, {"{\"name\":\"x\"}", "legs"}, {"{\"name\":\"x\",\"legs\":[{}]}", "stages"},
        {"{\"name\":\"x\",\"legs\":[{\"stages\":[1]}]}", "stages"},
        {"{\"name\":\"x\",\"legs\":[{\"stages\":[\"a\"],\"timeout_s\":0}]}", "timeout_s"},
        {"{\"name\":\"x\",\"legs\":[{\"stages\":[\"a\"],\"attempts\":\"3\"}]}", "attempts"},
        {"{\"name\":\"x\",\"legs\":[{\"stages\":[\"a\"],\"backoff_ms\":[5,1]}]}", "backoff_ms"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct problem problem = {0};
        test_note("%s", bad[i][0]);
        CHECK(!pipeline_parse(bytes_of(bad[i][0]), &problem));
        CHECK(strstr(problem.text, bad[i][1]));
    }
}

TEST(the_document_shows_counts_and_progress)
{
    struct bench bench;
    begin(&bench, 2, false, 2);
    start(&bench, 0, WHY_FIRST);
    struct buf text BUF_OWNED;
    buf_init(&text, 10000);
    document_job(bench.job, &text);
    struct json_object *tree JSON_OWNED = json_parse(buf_bytes(&text), NULL);
    CHECK(tree);
    CHECK_BYTES(json_get_bytes(tree, "status"), BYTES("running"));
    CHECK_INT(json_get_int(tree, "batches_processing", -1), 1);
    CHECK_INT(json_get_int(tree, "total_batches", -1), 2);
    end(&bench);
}
