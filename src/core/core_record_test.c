/* Records, remote jobs, what was used and what stops a job: through codec, fold and cache together. */
#include "core/codec.h"
#include "core/document.h"
#include "core/plan.h"
#include "core/snapshot.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/test.h"

#include <stdlib.h>

/* The live fold, and one that only knows the rows. */
struct bench {
    struct job *job, *replayed;
};

static bool try(struct bench *bench, struct event event)
{
    struct problem problem = {0};
    struct event again;
    struct codec_arena arena CODEC_OWNED = {0};
    event.pos = bench->job->pos + 1;
    event.job = 1;
    event.seq = bench->job->seq + 1;
    event.at_us = 1000000 * (int64_t)event.seq;
    event.name = BYTES("n");
    event.item = event_is_item(event.kind) ? event.item : -1;
    if (job_apply(bench->job, &event, &problem))
        return false;
    event.counts = bench->job->counts;
    struct row *row = codec_encode(&event, LIMIT_BODY_BYTES);
    CHECK_INT(codec_decode(row, &again, &arena, &problem), 0);
    CHECK_INT(job_apply(bench->replayed, &again, &problem), 0);
    struct row *twice = codec_encode(&again, LIMIT_BODY_BYTES);
    CHECK_BYTES(row_body(twice), row_body(row));
    row_unref(twice);
    row_unref(row);
    return true;
}

static void feed(struct bench *bench, struct event event)
{
    CHECK(try(bench, event));
}

static void begin(struct bench *bench, struct event created, size_t count)
{
    static struct item_spec items[4] = {{.name = {"n", 1}}, {.name = {"n", 1}}, {.name = {"n", 1}}, {.name = {"n", 1}}};
    *bench = (struct bench){job_new(), job_new()};
    created.kind = EVENT_JOB_CREATED;
    created.created.id = BYTES("j");
    created.created.in_flight = 4;
    feed(bench, created);
    feed(bench, (struct event){.kind = EVENT_ITEMS_ADDED, .added = {0, items, count}});
    feed(bench, (struct event){.kind = EVENT_JOB_SEALED, .sealed = {(int64_t)count}});
    for (size_t n = 0; n < count; n++)
        feed(bench, (struct event){.kind = EVENT_ITEM_STARTED, .item = (int64_t)n, .attempt = 1});
}

/* All three are one: the live fold, the replayed one, and the one read back from the cache. */
static void end(struct bench *bench)
{
    struct problem problem = {0};
    struct buf a BUF_OWNED, b BUF_OWNED, c BUF_OWNED;
    buf_init(&a, 1000000);
    buf_init(&b, 1000000);
    buf_init(&c, 1000000);
    snapshot_write(bench->job, &a);
    snapshot_write(bench->replayed, &b);
    CHECK_BYTES(buf_bytes(&a), buf_bytes(&b));
    struct job *cached = snapshot_read(buf_bytes(&a), &problem);
    CHECK(cached);
    snapshot_write(cached, &c);
    CHECK_BYTES(buf_bytes(&a), buf_bytes(&c));
    job_free(cached);
    job_free(bench->job);
    job_free(bench->replayed);
}

static struct event record(int64_t item, int64_t number, double score)
{
    return (struct event){.kind = EVENT_RECORD_DONE, .item = item, .attempt = 1,
        .record_done = {.record = number, .value = BYTES("1"), .has_score = true, .score = score}};
}

TEST(an_item_that_gets_on_is_not_taken_for_one_that_kills)
{
    struct bench bench;
    begin(&bench, (struct event){0}, 1);
    for (uint32_t attempt = 2; attempt < 4; attempt++)
        feed(&bench, (struct event){.kind = EVENT_ITEM_STARTED, .attempt = attempt, .started = {0, WHY_RESTART}});
    CHECK_INT(bench.job->items[0].interrupts, 2);
    struct event done = record(0, 0, 1);
    done.attempt = 3;
    feed(&bench, done);
    CHECK_INT(bench.job->items[0].interrupts, 0);
    end(&bench);
}

static void skip(struct bench *bench, struct bytes reason)
{
    size_t count;
    struct item_range *ranges = plan_unfinished(bench->job, &count);
    feed(bench, (struct event){.kind = EVENT_ITEMS_SKIPPED, .skipped = {ranges, count, reason}});
    free(ranges);
}

static double used(const struct job *job, const char *name)
{
    for (size_t i = 0; i < job->usage_count; i++)
        if (!strcmp(job->usage[i].name, name))
            return job->usage[i].sum;
    return -1;
}

TEST(an_item_that_waits_keeps_its_slot_and_is_not_started_twice)
{
    struct bench bench;
    begin(&bench, (struct event){0}, 1);
    struct event waiting = {.kind = EVENT_ITEM_WAITING, .attempt = 1, .waiting = {.remote = BYTES("{\"id\":\"s\"}"), .input = 7}};
    feed(&bench, waiting);
    CHECK_INT(bench.job->holding, 1);
    CHECK_INT(bench.job->counts.processing, 1);
    CHECK_INT((int64_t)bench.job->items[0].pos, (int64_t)bench.job->pos);
    CHECK(!try(&bench, waiting));
    CHECK(!try(&bench, (struct event){.kind = EVENT_ITEM_STARTED, .attempt = 2, .started = {0, WHY_RETRY}}));
    feed(&bench, record(0, 0, 1));
    CHECK_INT(bench.job->items[0].state, ITEM_WAITING);
    feed(&bench, (struct event){.kind = EVENT_ITEM_STARTED, .attempt = 2, .started = {0, WHY_RESTART}});
    CHECK_INT(bench.job->holding, 1);
    CHECK_INT(bench.job->records.completed, 1);
    end(&bench);
}

TEST(what_is_used_is_summed_over_all_words_failed_ones_too)
{
    struct bench bench;
    struct bytes usage = BYTES("{\"calls\":1,\"cost\":0.1}");
    begin(&bench, (struct event){.created = {.max_cost = 0.65, .webhook = BYTES("{\"url\":\"http://x/\"}")}}, 2);
    feed(&bench, (struct event){.kind = EVENT_ITEM_WAITING, .attempt = 1, .waiting = {.remote = BYTES("{}"), .usage = usage}});
    feed(&bench, (struct event){.kind = EVENT_ITEM_STEPPED, .attempt = 1, .stepped = {.value = BYTES("[1]"), .usage = usage}});
    feed(&bench, (struct event){.kind = EVENT_RECORD_DONE, .attempt = 1, .record_done = {.leg = 1, .value = BYTES("1"), .usage = usage}});
    feed(&bench, (struct event){.kind = EVENT_RECORD_FAILED, .attempt = 1, .record_failed = {.leg = 1, .record = 1, .usage = usage, .dropped = true}});
    feed(&bench, (struct event){.kind = EVENT_ITEM_RETRY, .attempt = 1, .retry = {.leg = 1, .tries = 1, .usage = usage, .prev = 9}});
    feed(&bench, (struct event){.kind = EVENT_ITEM_FAILED, .attempt = 1, .failed = {.error = BYTES("no"), .usage = usage}});
    CHECK(!job_too_dear(bench.job));
    feed(&bench, (struct event){.kind = EVENT_ITEM_DONE, .item = 1, .attempt = 1, .done = {.result = BYTES("1"), .usage = usage}});
    CHECK(used(bench.job, "calls") == 7);
    CHECK(job_too_dear(bench.job));
    CHECK_INT(bench.job->records.dropped, 1);
    CHECK_TEXT(bench.job->webhook, "{\"url\":\"http://x/\"}");
    end(&bench);
}

TEST(the_best_stay_and_of_equals_the_earlier)
{
    struct bench bench;
    begin(&bench, (struct event){.created = {.top_keep = 3}}, 1);
    static const double scores[] = {5, 1, 7, 7, 1.0 / 3, 7, 7, 2, -0.0, 8};
    for (int64_t n = 0; n < 10; n++)
        feed(&bench, record(0, n, scores[n]));
    struct buf text BUF_OWNED;
    buf_init(&text, 100000);
    document_job(bench.job, &text);
    CHECK_BYTES(json_span(buf_bytes(&text), "top"),
                BYTES("[{\"item\":0,\"record\":9,\"score\":8},{\"item\":0,\"record\":2,\"score\":7},{\"item\":0,\"record\":3,\"score\":7}]"));
    CHECK_BYTES(json_span(buf_bytes(&text), "top_revision"), BYTES("6"));
    end(&bench);
}

TEST(the_best_are_those_that_sorting_would_give_and_survive_the_cache)
{
    struct bench bench;
    uint32_t seed = 1;
    begin(&bench, (struct event){.created = {.top_keep = 1000000}}, 1);
    for (int64_t n = 0; n < 3000; n++) {
        seed = seed * 1664525 + 1013904223;
        feed(&bench, record(0, n, (double)(seed >> 8) / 3.0));
    }
    CHECK_INT((int64_t)bench.job->top_count, JOB_TOP_MAX);
    for (size_t i = 1; i < bench.job->top_count; i++)
        CHECK(bench.job->top[(i - 1) / 2].score <= bench.job->top[i].score);
    end(&bench);
}

TEST(hits_enough_end_a_job_well)
{
    struct bench bench;
    begin(&bench, (struct event){.created = {.stop_count = 2}}, 2);
    struct event hit = {.kind = EVENT_RECORD_DONE, .attempt = 1, .record_done = {.value = BYTES("1"), .hit = true}};
    feed(&bench, hit);
    CHECK(!job_enough(bench.job));
    hit.record_done.record = 1;
    feed(&bench, hit);
    CHECK(job_enough(bench.job));
    skip(&bench, BYTES("enough"));
    CHECK(job_over(bench.job));
    CHECK_INT(job_end_status(bench.job), JOB_COMPLETED);
    end(&bench);
}

static enum job_status stopped_by(struct bytes reason, bool completed)
{
    struct bench bench;
    begin(&bench, (struct event){.created = {.deadline_us = 5000000}}, 2);
    CHECK_INT(bench.job->deadline_us, 6000000);
    if (completed)
        feed(&bench, (struct event){.kind = EVENT_ITEM_DONE, .attempt = 1, .done = {.result = BYTES("1")}});
    skip(&bench, reason);
    enum job_status status = job_end_status(bench.job);
    end(&bench);
    return status;
}

TEST(a_deadline_lets_results_count_and_a_failed_job_does_not)
{
    CHECK_INT(stopped_by(BYTES("deadline"), true), JOB_COMPLETED);
    CHECK_INT(stopped_by(BYTES("deadline"), false), JOB_ERROR);
    CHECK_INT(stopped_by(BYTES("job_failed"), true), JOB_ERROR);
    CHECK_INT(stopped_by(BYTES("budget"), true), JOB_ERROR);
}

TEST(a_retry_waits_as_long_as_the_other_side_asks)
{
    struct bench bench;
    struct event event;
    struct pipeline *pipeline = pipeline_parse(BYTES("{\"name\":\"x\",\"legs\":[{\"stages\":[{\"stage\":\"http\",\"retry\":{\"attempts\":2,"
                                                     "\"backoff_us\":[1000000,8000000]}}]}]}"), NULL);
    begin(&bench, (struct event){0}, 1);
    struct outcome outcome = {.verdict = VERDICT_RETRY, .error = BYTES("x"), .usage = BYTES("{\"calls\":1}"), .retry_after_us = 30000000};
    plan_outcome(bench.job, pipeline, 0, &outcome, 1000000, 0, &event);
    CHECK_INT(event.retry.due_at_us, 31000000);
    CHECK_BYTES(event.retry.usage, BYTES("{\"calls\":1}"));
    outcome.retry_after_us = 1;
    plan_outcome(bench.job, pipeline, 0, &outcome, 1000000, 0, &event);
    CHECK_INT(event.retry.due_at_us, 1500000);
    outcome = (struct outcome){.verdict = VERDICT_DONE, .value = BYTES("1"), .has_score = true, .score = 3, .hit = true};
    plan_outcome(bench.job, pipeline, 0, &outcome, 1000000, 0, &event);
    CHECK(event.kind == EVENT_ITEM_DONE && event.done.has_score && event.done.score == 3 && event.done.hit);
    pipeline_free(pipeline);
    end(&bench);
}

TEST(each_leg_knows_its_room_and_takes_its_terms_from_its_stages)
{
    struct problem problem = {0};
    struct pipeline *pipeline = pipeline_parse(BYTES("{\"name\":\"x\",\"in_flight\":7,\"ordered\":true,\"deadline_us\":5,\"max_cost\":2,\"legs\":["
        "{\"stages\":[\"jq\",{\"stage\":\"split\",\"with\":{}}]},{\"each\":\"record\",\"stages\":[{\"stage\":\"http\",\"name\":\"fit\",\"timeout_us\":7},"
        "{\"stage\":\"jq\",\"timeout_us\":5,\"retry\":{\"attempts\":9}}],\"marks\":{\"score\":\".s\"}},{\"stages\":[\"exec\"]},{\"stages\":[\"llm\"]}]}"), &problem);
    test_note("%s", problem.text);
    CHECK(pipeline);
    CHECK(pipeline->in_flight == 7 && pipeline->ordered && pipeline->deadline_us == 5 && pipeline->max_cost == 2);
    CHECK(pipeline->legs[0].room == ROOM_WORKER && pipeline->legs[2].room == ROOM_EXEC && pipeline->legs[3].room == ROOM_TRIP);
    const struct leg *leg = &pipeline->legs[1];
    CHECK(leg->room == ROOM_TRIP && leg->records && leg->timeout_us == 12 && leg->attempts == 9);
    CHECK_TEXT(leg->marks, "{\"score\":\".s\"}");
    CHECK_BYTES(pipeline_stage_name(json_object_array_get_idx(pipeline_stages(pipeline, 1), 0)), BYTES("fit"));
    CHECK_BYTES(pipeline_stage_name(json_object_array_get_idx(pipeline_stages(pipeline, 0), 0)), BYTES("jq"));
    pipeline_free(pipeline);
}

TEST(a_pipeline_file_names_what_is_wrong_in_its_stages)
{
    static const char *const bad[][2] = {
        {"\"ordered\":1,\"legs\":[{\"stages\":[\"a\"]}]", "\"ordered\" of the pipeline must be true or false"},
        {"\"deadline_us\":0,\"legs\":[{\"stages\":[\"a\"]}]", "deadline_us"}, {"\"max_cost\":\"5\",\"legs\":[{\"stages\":[\"a\"]}]", "max_cost"},
        {"\"in_flight\":0,\"legs\":[{\"stages\":[\"a\"]}]", "in_flight"}, {"\"legs\":[{\"stages\":[\"jq\",\"http\"]}]", "http is done elsewhere"},
        {"\"legs\":[{\"stages\":[\"exec\",\"jq\"]}]", "leg of its own"}, {"\"legs\":[{\"stages\":[\"a\"],\"each\":\"item\"}]", "each"},
        {"\"legs\":[{\"stages\":[\"a\"],\"marks\":{}}]", "marks"}, {"\"legs\":[{\"stages\":[{\"name\":\"x\"}]}]", "stages"},
        {"\"legs\":[{\"stages\":[{\"stage\":\"http\",\"name\":\"fit\",\"with\":[]}]}]", "\"with\" of the stage fit must be an object"},
        {"\"legs\":[{\"stages\":[{\"stage\":\"http\",\"retry\":{\"attempts\":\"3\"}}]}]", "attempts"},
        {"\"legs\":[{\"stages\":[{\"stage\":\"http\",\"retry\":{\"backoff_us\":[9,1]}}]}]", "backoff_us"},
        {"\"legs\":[{\"stages\":[{\"stage\":\"http\",\"on_error\":\"stop\"}]}]", "on_error"},
        {"\"legs\":[{\"stages\":[{\"stage\":\"http\",\"when\":true}]}]", "when"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct problem problem = {0};
        struct buf text BUF_OWNED;
        buf_init(&text, 1000);
        buf_print(&text, "{\"name\":\"x\",%s}", bad[i][0]);
        CHECK(!pipeline_parse(buf_bytes(&text), &problem));
        test_note("%s: %s", bad[i][0], problem.text);
        CHECK(strstr(problem.text, bad[i][1]));
    }
}
