/* What cannot be, in each module of the core: events that cannot follow, rows and caches that are damaged, pipelines and tables that are wrong. */
#include "core/codec.h"
#include "core/plan.h"
#include "core/resource.h"
#include "core/snapshot.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/test.h"

#include <math.h>
#include <stdlib.h>

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static struct event stamped(const struct job *job, struct event event)
{
    event.pos = job->pos + 1;
    event.job = 1;
    event.seq = job->seq + 1;
    event.at_us = 1000000 * (int64_t)event.seq;
    return event;
}

static void takes(struct job *job, struct event event)
{
    struct problem problem = {0};
    event = stamped(job, event);
    int answer = job_apply(job, &event, &problem);
    test_note("%s", problem.text);
    CHECK_INT(answer, 0);
}

static void refuses(struct job *job, struct event event, const char *why)
{
    struct problem problem = {0};
    uint64_t seq = job->seq;
    event = stamped(job, event);
    CHECK(job_apply(job, &event, &problem) < 0);
    test_note("%s, not %s", problem.text, why);
    CHECK(strstr(problem.text, why));
    CHECK_INT((int64_t)job->seq, (int64_t)seq);
}

static void starts(struct job *job, int64_t item)
{
    takes(job, (struct event){.kind = EVENT_ITEM_STARTED, .item = item, .attempt = job->items[item].attempt + 1});
}

static const struct item_spec specs[64];

static struct job *with_items(size_t count)
{
    struct job *job = job_new();
    takes(job, (struct event){.kind = EVENT_JOB_CREATED, .created = {.id = BYTES("j"), .in_flight = 2}});
    takes(job, (struct event){.kind = EVENT_ITEMS_ADDED, .added = {0, specs, count}});
    return job;
}

static struct event word(enum event_kind kind, int64_t item, uint32_t attempt)
{
    return (struct event){.kind = kind, .item = item, .attempt = attempt};
}

static struct event skipping(struct item_range *range)
{
    return (struct event){.kind = EVENT_ITEMS_SKIPPED, .skipped = {range, 1, BYTES("cancelled")}};
}

TEST(a_job_is_made_added_to_and_sealed_once)
{
    struct job *job = job_new();
    struct event created = {.kind = EVENT_JOB_CREATED, .created = {.id = BYTES("j"), .in_flight = 2}};
    CHECK(!job_over(job));
    refuses(job, (struct event){.kind = EVENT_JOB_SEALED}, "never created");
    takes(job, created);
    refuses(job, created, "exists already");
    refuses(job, (struct event){.kind = EVENT_ITEMS_ADDED, .added = {5, specs, 1}}, "not the next one");
    refuses(job, (struct event){.kind = EVENT_ITEMS_ADDED}, "adds no item");
    CHECK(!job_added_of(job, 0));
    takes(job, (struct event){.kind = EVENT_ITEMS_ADDED, .added = {0, specs, 3}});
    CHECK(!job_over(job) && job_progress(job) == 0);
    CHECK(job_added_of(job, 2) && !job_added_of(job, 3) && !job_added_of(job, -1));
    refuses(job, (struct event){.kind = EVENT_JOB_SEALED, .sealed = {9}}, "total is wrong");
    takes(job, (struct event){.kind = EVENT_JOB_SEALED, .sealed = {3}});
    refuses(job, (struct event){.kind = EVENT_JOB_SEALED, .sealed = {3}}, "sealed already");
    refuses(job, (struct event){.kind = EVENT_ITEMS_ADDED, .added = {3, specs, 1}}, "the job is sealed");
    refuses(job, (struct event){.kind = EVENT_NONE}, "no known kind");
    struct problem problem = {0};
    struct event other = stamped(job, (struct event){.kind = EVENT_JOB_CANCELLING});
    other.job = 2;
    CHECK(job_apply(job, &other, &problem) < 0 && strstr(problem.text, "another job"));
    job_free(job);
    job_free(NULL);
}

TEST(an_item_speaks_only_in_its_turn)
{
    struct job *job = with_items(3);
    refuses(job, word(EVENT_ITEM_STARTED, -1, 1), "no such item");
    refuses(job, word(EVENT_ITEM_STARTED, 3, 1), "no such item");
    refuses(job, word(EVENT_ITEM_STARTED, 0, 2), "attempt is not the next");
    starts(job, 0);
    refuses(job, word(EVENT_ITEM_STARTED, 0, 2), "running already");
    refuses(job, word(EVENT_ITEM_DONE, 0, 7), "another attempt");
    refuses(job, word(EVENT_ITEM_FAILED, 0, 7), "another attempt");
    refuses(job, word(EVENT_ITEM_DONE, 1, 0), "not being worked on");
    CHECK(!job_fence(job, -1, 1) && !job_fence(job, 3, 1));
    takes(job, word(EVENT_ITEM_DONE, 0, 1));
    refuses(job, word(EVENT_ITEM_STARTED, 0, 2), "the item has ended");
    refuses(job, word(EVENT_ITEM_FAILED, 0, 1), "the item has ended");
    struct item_range ranges[] = {{0, 0}, {-1, 0}, {2, 1}, {2, 3}, {1, 2}};
    refuses(job, skipping(&ranges[0]), "an item that has ended");
    for (int i = 1; i < 4; i++)
        refuses(job, skipping(&ranges[i]), "do not exist");
    refuses(job, (struct event){.kind = EVENT_JOB_ENDED}, "not every item");
    starts(job, 1);
    starts(job, 2);
    refuses(job, (struct event){.kind = EVENT_JOB_ENDED}, "not every item");
    takes(job, (struct event){.kind = EVENT_JOB_CANCELLING});
    refuses(job, (struct event){.kind = EVENT_JOB_CANCELLING}, "cancelled already");
    refuses(job, word(EVENT_ITEM_DONE, 1, 1), "being cancelled");
    CHECK(!job_over(job) && !plan_may_restart(job, 1));
    takes(job, skipping(&ranges[4]));
    CHECK(job_over(job));
    takes(job, (struct event){.kind = EVENT_JOB_ENDED, .ended = {.status = JOB_CANCELLED}});
    refuses(job, (struct event){.kind = EVENT_JOB_SEALED, .sealed = {3}}, "the job has ended");
    CHECK(!job_over(job) && !job_fence(job, 1, 1));
    job_free(job);
}

TEST(interrupts_are_counted_up_to_what_fits)
{
    struct job *job = with_items(1);
    for (uint32_t attempt = 1; attempt <= 300; attempt++)
        takes(job, (struct event){.kind = EVENT_ITEM_STARTED, .attempt = attempt, .started = {0, WHY_RESTART}});
    CHECK_INT(job->items[0].interrupts, UINT8_MAX);
    job_free(job);
}

TEST(sums_are_made_of_numbers_alone_and_of_so_many_names)
{
    struct job *job = with_items(2);
    struct buf stats BUF_OWNED;
    buf_init(&stats, 4000);
    buf_text(&stats, "{\"a\":-1.5,\"text\":\"x\",\"flag\":true,\"a name that has more than 31 bytes\":1,\"digits\":1");
    for (int i = 0; i < 70; i++)
        buf_byte(&stats, '0');
    for (int i = 0; i < 20; i++)
        buf_print(&stats, ",\"n%d\":%d", i, i);
    buf_byte(&stats, '}');
    starts(job, 0);
    takes(job, (struct event){.kind = EVENT_ITEM_DONE, .attempt = 1, .done = {.stats = buf_bytes(&stats)}});
    starts(job, 1);
    takes(job, (struct event){.kind = EVENT_ITEM_DONE, .item = 1, .attempt = 1, .done = {.stats = BYTES("{\"a\":3}")}});
    CHECK_INT(job->sums_count, JOB_SUMS_MAX);
    CHECK(job_sum_of(job, "a")->min == -1.5 && job_sum_of(job, "a")->max == 3 && job_sum_of(job, "n14") && !job_sum_of(job, "n15"));
    CHECK(!job_sum_of(job, "text") && !job_sum_of(job, "flag") && !job_sum_of(job, "digits"));
    job_free(job);
}

TEST(a_score_without_an_end_is_none_of_the_best)
{
    struct job *job = with_items(1);
    job->top_keep = 2;
    starts(job, 0);
    takes(job, (struct event){.kind = EVENT_RECORD_DONE, .attempt = 1, .record_done = {.has_score = true, .score = INFINITY}});
    CHECK_INT(job->top_count, 0);
    struct event done = {.kind = EVENT_ITEM_DONE, .attempt = 1, .name = BYTES("n"), .done = {.has_score = true, .score = INFINITY}};
    struct row *row = codec_encode(&done, LIMIT_BODY_BYTES);
    CHECK(!json_span(row_body(row), "score").at);
    row_unref(row);
    job_free(job);
}

TEST(what_has_no_name_is_a_question_mark)
{
    CHECK_TEXT(event_name((enum event_kind)99), "?");
    CHECK(!event_is_item((enum event_kind)99));
    CHECK_TEXT(start_why_name((enum start_why)9), "?");
    CHECK_TEXT(job_status_name((enum job_status)9), "?");
}

TEST(a_damaged_row_names_its_field)
{
    static const struct { enum event_kind kind; const char *body, *word; } bad[] = {
        {EVENT_JOB_SEALED, "{", "JSON"}, {EVENT_JOB_CREATED, "{\"id\":\"\"}", "\"id\""},
        {EVENT_JOB_CREATED, "{\"id\":\"a\\n\"}", "\"id\""}, {EVENT_JOB_CREATED, "{\"id\":\"../a\"}", "\"id\""}, {EVENT_JOB_CREATED, "{\"id\":\"j\",\"hash\":\"z\"}", "\"hash\""},
        {EVENT_ITEMS_ADDED, "{}", "\"items\""}, {EVENT_ITEMS_ADDED, "{\"items\":{}}", "\"items\""}, {EVENT_ITEMS_ADDED, "{\"items\":1,\"items\":[]}", "\"items\""},
        {EVENT_ITEMS_ADDED, "{\"items\":[{\"blob\":\"z\"}]}", "\"items\""}, {EVENT_ITEMS_SKIPPED, "{}", "\"ranges\""},
        {EVENT_ITEMS_SKIPPED, "{\"ranges\":[1]}", "\"ranges\""}, {EVENT_ITEMS_SKIPPED, "{\"ranges\":[[1]]}", "\"ranges\""},
        {EVENT_JOB_ENDED, "{}", "\"status\""}, {EVENT_JOB_ENDED, "{\"status\":\"completed\"}", "\"counts\""},
        {EVENT_ITEM_DONE, "{\"counts\":[1,2]}", "\"counts\""}, {EVENT_ITEM_STARTED, "{\"counts\":[1,0,0,0,0]}", "\"why\""},
        {EVENT_ITEM_STARTED, "{\"counts\":[1,0,0,5e55,0]}", "\"counts\""}, {EVENT_ITEM_STARTED, "{\"counts\":[-1,0,0,0,0]}", "\"counts\""},
        {(enum event_kind)99, "{}", "newer program"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct event event;
        struct problem problem = {0};
        struct codec_arena arena CODEC_OWNED;
        struct row *row = row_new(bytes_of(bad[i].body));
        row->kind = bad[i].kind;
        int answer = codec_decode(row, &event, &arena, &problem);
        row_unref(row);
        test_note("%s: %s", bad[i].body, problem.text);
        CHECK(answer < 0 && strstr(problem.text, bad[i].word));
    }
}

TEST(items_by_themselves_are_read_or_refused)
{
    static const char *const bodies[] = {"{}", "{\"items\":1}", "{\"items\":[1]}", "{\"items\":[\"a\\\\\"]}", "{\"items\":[1}]}",
                                         "{\"items\":[\"\\xx", "{\"items\":[\"\\x", "{\"items\":[1]]}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct row *row = row_new(bytes_of(bodies[i]));
        test_note("%s", bodies[i]);
        CHECK(!codec_places(row, 3));
        row_unref(row);
    }
    static const struct { const char *text; int answer; } items[] = {
        {"{\"name\":1", -1}, {"{\"blob\":\"z\"}", -1}, {"{\"blob\":1}", -1}, {"{\"name\":1,\"bytes\":2}", 0}, {"{\"name\":\"\\u0041\"}", 0},
        {"{\"path\":\"/x\",\"key\":\"k\",\"bytes\":2,\"type\":\"t\",\"value\":[1],\"blob\":\"" ZEROS "\"}", 0}, {"{\"name\":true}", 0},
    };
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        struct item_spec spec;
        struct codec_arena arena CODEC_OWNED;
        test_note("%s", items[i].text);
        CHECK_INT(codec_item(bytes_of(items[i].text), &spec, &arena), items[i].answer);
        if (i == 5)
            CHECK(spec.has_blob && bytes_equal(spec.path, BYTES("/x")) && bytes_equal(spec.key, BYTES("k")));
    }
}

TEST(an_event_beyond_its_bytes_is_none)
{
    struct event event = {.kind = EVENT_ITEM_DONE, .done = {.result = BYTES("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]")}};
    CHECK(!codec_encode(&event, 10));
    CHECK(!codec_encode(&event, 90));
}

TEST(waits_stay_within_the_longest_and_steady_ones_are_whole)
{
    struct problem problem = {0};
    struct pipeline *pipeline = pipeline_parse(BYTES("{\"name\":\"x\",\"legs\":[{\"stages\":[\"a\"],\"jitter\":false,"
                                                     "\"attempts\":9,\"backoff_ms\":[3000,5000]}]}"), &problem);
    struct job *job = with_items(1);
    struct event event;
    CHECK(pipeline && pipeline->legs[0].steady);
    starts(job, 0);
    job->items[0].tries = 4;
    struct outcome outcome = {.verdict = VERDICT_RETRY, .error = BYTES("x"), .otherwise = BYTES("0")};
    plan_outcome(job, pipeline, 0, &outcome, 1000000, 7, &event);
    CHECK(event.kind == EVENT_ITEM_RETRY);
    CHECK_INT(event.retry.due_at_us, 6000000);
    job->items[0].leg = 5;    /* of a text with more legs */
    outcome.verdict = VERDICT_FAIL;
    plan_outcome(job, pipeline, 0, &outcome, 1000000, 7, &event);
    CHECK(event.kind == EVENT_ITEM_DONE);
    CHECK_BYTES(event.done.result, BYTES("0"));
    pipeline_free(pipeline);
    pipeline_free(NULL);
    job_free(job);
}

TEST(ranges_of_what_is_unfinished_are_as_many_as_it_takes)
{
    struct job *job = with_items(64);
    size_t count;
    int64_t item;
    for (int64_t n = 0; n < 64; n += 2) {
        starts(job, n);
        takes(job, word(EVENT_ITEM_DONE, n, 1));
    }
    struct item_range *ranges = plan_unfinished(job, &count);
    CHECK_INT(count, 32);
    CHECK(ranges[31].from == 63 && ranges[31].to == 63);
    free(ranges);
    CHECK_INT(plan_next(job, &item), PLAN_NOTHING);    /* neither sealed nor open */
    job_free(job);
}

TEST(a_wrong_leg_or_stage_is_named)
{
    static const char *const bad[][2] = {
        {"[]", "legs"}, {"{}", "legs"}, {"[{\"stages\":[]}]", "stages"},
        {"[{\"stages\":[{\"stage\":\"http\",\"rate\":{\"requests\":0}}]}]", "\"requests\" of the stage http must be a number above 0"},
        {"[{\"stages\":[{\"stage\":\"http\",\"rate\":{\"requests\":\"9\"}}]}]", "requests"},
        {"[{\"stages\":[{\"stage\":\"http\",\"cache\":{\"key\":1}}]}]", "\"key\" of the stage http must be text"},
        {"[{\"stages\":[{\"stage\":\"http\",\"retry\":{\"on\":1}}]}]", "\"on\" of the stage http must be a list"},
        {"[{\"stages\":[{\"stage\":\"http\",\"on_error\":{}}]}]", "on_error"}, {"[{\"stages\":[{\"stage\":\"http\",\"on_error\":1}]}]", "on_error"},
        {"[{\"stages\":[{\"stage\":\"http\",\"name\":\"a name that has many more than forty bytes of text\",\"with\":1}]}]", "the stage a name that has"},
        {"[{\"stages\":[\"a\"],\"backoff_ms\":5}]", "backoff_ms"}, {"[{\"stages\":[\"a\"],\"backoff_ms\":[5]}]", "backoff_ms"},
        {"[{\"stages\":[\"a\"],\"backoff_ms\":[-5,1]}]", "backoff_ms"}, {"[{\"stages\":[\"a\"],\"backoff_ms\":[5,100000000]}]", "backoff_ms"},
        {"[{\"stages\":[\"a\"],\"timeout_s\":86401}]", "timeout_s"}, {"[{\"stages\":[\"a\"],\"attempts\":101}]", "attempts"},
        {"[{\"stages\":[{\"stage\":\"a\",\"timeout_us\":700000000000}]}]", "seven days"},
        {"[{\"stages\":[{\"stage\":\"a\",\"retry\":{\"attempts\":101}}]}]", "from 1 to 100"},
        {"[{\"stages\":[{\"stage\":\"a\",\"retry\":{\"backoff_us\":[1]}}],\"resources\":1}]", "resources"},
        {"[{\"stages\":[\"a\"],\"resources\":{\"\":1}}]", "resources"}, {"[{\"stages\":[\"a\"],\"resources\":{\"a b\":1}}]", "resources"},
        {"[{\"stages\":[\"a\"],\"resources\":{\"a\":\"1\"}}]", "resources"}, {"[{\"stages\":[\"a\"],\"resources\":{\"a\":1000001}}]", "resources"},
        {"[{\"stages\":[\"a\"],\"resources\":{\"a123456789012345678901234567890123\":1}}]", "resources"},
        {"[{\"stages\":[\"a\"],\"resources\":{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1}}]", "at most 4"},
        {"[{\"each\":\"record\",\"stages\":[\"jq\"],\"marks\":1}]", "marks"},
        {"[{\"each\":\"record\",\"stages\":[\"jq\"],\"marks\":{\"hit\":1}}]", "\"hit\" of marks"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct problem problem = {0};
        struct buf text BUF_OWNED;
        buf_init(&text, 1000);
        buf_print(&text, "{\"name\":\"x\",\"legs\":%s}", bad[i][0]);
        struct pipeline *pipeline = pipeline_parse(buf_bytes(&text), &problem);
        test_note("%s: %s", bad[i][0], problem.text);
        CHECK(!pipeline && strstr(problem.text, bad[i][1]));
    }
    CHECK(!pipeline_parse(BYTES("{"), NULL));
}

/* So many of the same, one after the other in a list. */
static void list(struct buf *text, const char *one, int count)
{
    for (int i = 0; i < count; i++)
        buf_print(text, "%s%s", i ? "," : "", one);
}

TEST(legs_and_stages_are_only_so_many)
{
    struct problem problem = {0};
    struct buf text BUF_OWNED;
    buf_init(&text, 100000);
    buf_text(&text, "{\"name\":\"x\",\"legs\":[");
    list(&text, "{\"stages\":[\"a\"]}", PIPELINE_LEGS_MAX + 1);
    buf_text(&text, "]}");
    CHECK(!pipeline_parse(buf_bytes(&text), &problem) && strstr(problem.text, "legs"));
    text.count = 0;
    problem = (struct problem){0};
    buf_text(&text, "{\"name\":\"x\",\"legs\":[{\"stages\":[");
    list(&text, "\"a\"", LIMIT_WORKER_STAGES + 1);
    buf_text(&text, "]}]}");
    CHECK(!pipeline_parse(buf_bytes(&text), &problem) && strstr(problem.text, "of one leg"));
}

TEST(what_is_fetched_once_is_known_by_its_stage_and_key)
{
    struct problem problem = {0};
    struct pipeline *pipeline = pipeline_parse(BYTES("{\"name\":\"x\",\"max_cost\":1,\"legs\":[{\"stages\":[\"decklist\",\"match\",\"noop\"]},"
        "{\"stages\":[{\"stage\":\"noop\",\"when\":\".\"}]},"
        "{\"stages\":[{\"stage\":\"remote_job\",\"on_error\":{\"use\":0},\"with\":{\"base\":\"u\",\"join\":{\"input_key\":\".k\"}}}]},"
        "{\"stages\":[{\"stage\":\"remote_job\",\"on_error\":\"drop_record\"}]}]}"), &problem);
    test_note("%s", problem.text);
    CHECK(pipeline && !pipeline->legs[0].programs && pipeline->legs[1].programs);
    struct json_object *with = json_object_array_get_idx(pipeline_stages(pipeline, 2), 0),
                       *without = json_object_array_get_idx(pipeline_stages(pipeline, 3), 0);
    CHECK_BYTES(pipeline_input_key(with), BYTES(".k"));
    CHECK(pipeline_input_key(without).count > 2);
    struct json_object *one JSON_OWNED = json_parse(BYTES("1"), NULL), *two JSON_OWNED = json_parse(BYTES("2"), NULL);
    struct sha none = pipeline_row_name(pipeline, with, NULL), a = pipeline_row_name(pipeline, with, one), b = pipeline_row_name(pipeline, with, two),
               c = pipeline_row_name(pipeline, without, one), again = pipeline_row_name(pipeline, with, one);
    CHECK(!memcmp(&none, &(struct sha){0}, sizeof none) && !memcmp(&a, &again, sizeof a));
    CHECK(memcmp(&a, &b, sizeof a) && memcmp(&a, &c, sizeof a) && memcmp(&a, &none, sizeof a));
    pipeline_free(pipeline);
}

TEST(a_table_of_resources_is_names_and_numbers)
{
    static const char *const bad[] = {"a", "=1", "a b=1", "a[=1", "a{=1", "a:=1", "a`=1", "a.=1", "a=0", "a=x", "a=1000001", "a=1,,b=1",
                                      "a123456789012345678901234567890123=1"};
    struct resources table;
    struct problem problem = {0};
    struct buf text BUF_OWNED;
    CHECK_INT(resources_parse(BYTES("azAZ09_-=1, gpu = 8"), &table, &problem), 0);
    CHECK_INT(resources_units(&table, "gpu"), 8);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_note("%s", bad[i]);
        CHECK(resources_parse(bytes_of(bad[i]), &table, &problem) < 0);
    }
    problem = (struct problem){0};
    buf_init(&text, 1000);
    list(&text, "a=1", RESOURCES_MAX + 1);
    CHECK(resources_parse(buf_bytes(&text), &table, &problem) < 0 && strstr(problem.text, "more than 32"));
}

/* The fold with one piece of it replaced. */
static struct job *read_with(const struct job *job, const char *piece, const char *instead)
{
    struct problem problem = {0};
    struct buf fold BUF_OWNED, text BUF_OWNED;
    buf_init(&fold, 100000);
    buf_init(&text, 100000);
    snapshot_write(job, &fold);
    const char *at = strstr(buf_z(&fold), piece);
    test_note("%s for %s in %s", instead, piece, buf_z(&fold));
    CHECK(at);
    buf_add(&text, buf_z(&fold), (size_t)(at - buf_z(&fold)));
    buf_text(&text, instead);
    buf_text(&text, at + strlen(piece));
    struct job *read = snapshot_read(buf_bytes(&text), &problem);
    CHECK(!read == problem_is(&problem));
    return read;
}

TEST(a_damaged_cache_is_none)
{
    static const char *const bad[][2] = {
        {"\"id\":\"j\"", "\"id\":\"\""}, {"\"total\":3", "\"total\":-1"}, {"\"total\":3", "\"total\":4"}, {"\"status\":0", "\"status\":9"},
        {"[3,0,0,0,0]", "[-1,0,0,0,0]"}, {"[3,0,0,0,0]", "[9,0,0,0,0]"}, {"[3,0,0,0,0]", "[0,9,0,0,0]"}, {"[3,0,0,0,0]", "[0,0,9,0,0]"},
        {"[3,0,0,0,0]", "[0,0,0,9,0]"}, {"[3,0,0,0,0]", "[0,0,0,0,9]"}, {"[[0,3,", "[[1,3,"}, {"[[0,3,", "[[0,0,"}, {"[[0,3,", "[[0,2,"},
        {"[[0,3,", "[[0,99999999,"}, {"\"params\":{}", "\"no\":{}"}, {"\"hash\":\"0", "\"hash\":\"z"}, {"{", "["},
    };
    struct job *job = with_items(3);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!read_with(job, bad[i][0], bad[i][1]));
    struct job *same = read_with(job, "\"sums\":[]", "\"sums\":[[1,2,3,4,5],[\"a\",1,0,0,0]]");
    CHECK(same && same->sums_count == 2 && !same->sums[0].name[0]);
    job_free(same);
    CHECK(!read_with(job, "[[0,3,2]]", "[]"));
    job_free(job);
}

TEST(a_damaged_page_of_items_is_none)
{
    struct problem problem = {0};
    struct job *job = with_items(3), *other = read_with(job, "\"seq\"", "\"seq\"");
    struct item items[3] = {0};
    struct bytes body = {(const char *)items, sizeof items};
    CHECK(other);
    CHECK(snapshot_read_cell(other, -1, body, &problem) < 0);
    CHECK(snapshot_read_cell(other, 1, body, &problem) < 0);
    CHECK(snapshot_read_cell(other, 0, (struct bytes){body.at, body.count - 1}, &problem) < 0);
    CHECK_INT(snapshot_read_cell(other, 0, body, &problem), 0);
    items[1].state = 7;
    problem = (struct problem){0};
    CHECK(snapshot_read_cell(other, 0, body, &problem) < 0 && strstr(problem.text, "page 0"));
    items[1].state = 0;
    job_let_go(other);
    CHECK(snapshot_read_cell(other, 0, body, &problem) < 0);
    snapshot_settle(other);
    job_free(other);
    job_free(job);
}
