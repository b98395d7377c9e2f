#include "trip/trips_test.h"

#define HTTP(more) "\"stages\":[{\"stage\":\"http\",\"name\":\"ask\",\"with\":{\"method\":\"POST\",\"url\":\"\\\"/run?w=\\\" + $params.word\"," \
                   "\"base\":\"http://127.0.0.1:%d\"" more
#define RECORDS "\"each\":\"record\"," 
#define CALL "{\"stage\":\"http\",\"name\":\"ask\",\"with\":{\"method\":\"POST\",\"url\":\"\\\"/run\\\"\",\"base\":\"http://127.0.0.1:%d\"}"
#define SOON ",\"retry\":{\"attempts\":3,\"backoff_us\":[1000,2000]}"

/* The body of a request, given back. */
static void echo(int count, struct bytes request, struct buf *ret)
{
    const char *body = memmem(request.at, request.count, "\r\n\r\n", 4);
    char text[4096];
    snprintf(text, sizeof text, "%.*s", (int)(request.count - (size_t)(body + 4 - request.at)), body + 4);
    side_answer(ret, 200, "Content-Type: application/json\r\n", text);
}

TEST(a_call_is_made_of_the_value_and_its_answer_is_the_result)
{
    bench_open(HTTP(",\"body\":\"{asked: .q}\",\"headers\":{\"X-Word\":\"$params.word\",\"X-Fixed\":\"\\\"yes\\\"\"}}}]"), echo);
    go("{\"q\":41}");
    CHECK_INT(bench.verdict, VERDICT_DONE);
    CHECK_TEXT(bench.value, "{\"asked\":41}");
    CHECK_TEXT(bench.usage, "{\"calls\":1}");
    CHECK(seen("POST /run?w=hello HTTP/1.1"));
    CHECK(seen("Idempotency-Key: abc-0-0\r\n"));
    CHECK(seen("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"));
    CHECK(seen("X-Word: hello\r\n") && seen("X-Fixed: yes\r\n") && seen("Content-Type: application/json\r\n"));
    bench_close();
}

static void storm(int count, struct bytes request, struct buf *ret)
{
    if (count < 3)
        side_answer(ret, 429, "retry-after-ms: 20\r\n", "slow down");
    else
        echo(count, request, ret);
}

TEST(a_refused_call_goes_out_again_by_itself_and_costs_no_attempt)
{
    bench_open(HTTP("}}]"), storm);
    go("{\"q\":1}");
    CHECK_INT(bench.verdict, VERDICT_DONE);
    CHECK_INT(bench.side.calls, 4);
    bench_close();
}

static void refuse_long(int count, struct bytes request, struct buf *ret)
{
    side_answer(ret, 429, "Retry-After: 3600\r\n", "come back later");
}

TEST(a_refusal_for_an_hour_is_put_into_the_log_and_not_waited_for)
{
    bench_open(HTTP("}}]"), refuse_long);
    go("{\"q\":1}");
    CHECK_INT(bench.verdict, VERDICT_RETRY);
    CHECK_INT(bench.retry_after_us, 3600000000LL);
    CHECK_INT(bench.side.calls, 1);
    bench_close();
}

static void secret_told(int count, struct bytes request, struct buf *ret)
{
    side_answer(ret, 401, "", "the key sekret-12345 is not known");
}

TEST_SLOW(a_secret_goes_to_the_base_and_into_no_sentence)
{
    setenv("TRIPS_TEST_KEY", "sekret-12345", 1);
    bench_open(HTTP(",\"auth\":{\"bearer\":{\"$env\":\"TRIPS_TEST_KEY\"}}}}]"), secret_told);
    go("{}");
    CHECK_INT(bench.verdict, VERDICT_FAIL);
    CHECK_TEXT(bench.type, "status");
    CHECK(seen("Authorization: Bearer sekret-12345\r\n"));
    CHECK(!strstr(bench.error, "sekret"));
    CHECK(strstr(bench.error, "answered 401: the key ************ is not known"));
    CHECK_TEXT(bench.stage, "ask");
    unsetenv("TRIPS_TEST_KEY");
    go("{}");
    CHECK(strstr(bench.error, "TRIPS_TEST_KEY"));
    CHECK_INT(bench.side.calls, 1);
    bench_close();
}

TEST(an_address_out_of_the_input_must_be_a_public_one)
{
    char value[128];
    bench_open("\"stages\":[{\"stage\":\"http\",\"with\":{\"url\":\".url\"}}]", echo);
    snprintf(value, sizeof value, "{\"url\":\"http://127.0.0.1:%d/admin\"}", bench.side.port);
    go(value);
    CHECK_INT(bench.verdict, VERDICT_FAIL);
    CHECK_TEXT(bench.type, "validation");
    CHECK_INT(bench.side.calls, 0);
    bench_close();
}

static void bad_json(int count, struct bytes request, struct buf *ret)
{
    side_answer(ret, count == 0 ? 500 : 200, "", count == 0 ? "oh\nno" : "{\"cut\":");
}

TEST_SLOW(what_may_be_tried_again_says_so)
{
    bench_open(HTTP("}}],\"attempts\":9"), bad_json);
    go("{}");
    CHECK_INT(bench.verdict, VERDICT_RETRY);
    CHECK_TEXT(bench.type, "status");
    go("{}");
    CHECK_INT(bench.verdict, VERDICT_RETRY);
    CHECK_TEXT(bench.type, "invalid_json");
    bench_close();
}

TEST_SLOW(when_and_else_spare_the_call_and_use_stands_for_a_failure)
{
    bench_open(HTTP("},\"when\":\".ask\",\"else\":\"{skipped: .ask}\",\"on_error\":{\"use\":{\"none\":true}}}],\"attempts\":1"), bad_json);
    go("{\"ask\":false}");
    CHECK_TEXT(bench.value, "{\"skipped\":false}");
    CHECK_INT(bench.side.calls, 0);
    go("{\"ask\":true}");
    CHECK_INT(bench.verdict, VERDICT_DONE);
    CHECK_TEXT(bench.value, "{\"none\":true}");
    bench_close();
}

TEST_SLOW(into_puts_the_answer_into_the_input)
{
    bench_open(HTTP(",\"body\":\"{asked: .q}\",\"into\":\"fit\"},\"when\":\".ask\",\"else\":\"{skipped: .ask}\"}]"), echo);
    go("{\"q\":7,\"ask\":true}");
    CHECK_TEXT(bench.value, "{\"q\":7,\"ask\":true,\"fit\":{\"asked\":7}}");
    go("{\"ask\":false,\"fit\":1}");
    CHECK_TEXT(bench.value, "{\"ask\":false,\"fit\":{\"skipped\":false}}");
    bench_close();
    bench_open(HTTP(",\"into\":\"fit\"},\"when\":\".ask\"}]"), echo);
    go("{\"ask\":null}");
    CHECK_TEXT(bench.value, "{\"ask\":null}");
    bench_close();
}

static void long_one(int count, struct bytes request, struct buf *ret)
{
    char *body = mem_new(200000);
    size_t at = (size_t)snprintf(body, 200000, "{\"rows\":[0");
    for (int i = 1; i < 20000; i++)
        at += (size_t)snprintf(body + at, 200000 - at, ",%d", i);
    snprintf(body + at, 200000 - at, "]}");
    side_answer(ret, 200, "", body);
    free(body);
}

TEST_SLOW(a_long_answer_goes_through_a_worker_and_becomes_a_blob)
{
    bench_open(HTTP(",\"unwrap\":\".rows\"}}]"), long_one);
    go("{}");
    CHECK_INT(bench.verdict, VERDICT_DONE);
    CHECK(bench.has_blob);
    CHECK(!strncmp(bench.value, "{\"blob\":\"", 9));
    bench_close();
}

/* ---- records ---- */

TEST_SLOW(records_go_one_by_one_and_come_together_in_order)
{
    bench_open(RECORDS "\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".n * 10\"}}," CALL "}]", echo);
    go("[ {\"n\":1}, {\"n\":2},{\"n\":3} ]");
    CHECK_INT(bench.verdict, VERDICT_DONE);
    CHECK_TEXT(bench.value, "[10,20,30]");
    CHECK_INT(bench.records, 3);
    CHECK_TEXT(bench.usage, "");
    CHECK(seen("Idempotency-Key: abc-0-0-2-s1\r\n"));
    go("[]");
    CHECK_TEXT(bench.value, "[]");
    go("{\"no\":\"array\"}");
    CHECK_INT(bench.verdict, VERDICT_FAIL);
    CHECK_TEXT(bench.type, "validation");
    bench_close();
}

/* Odd ones fail, for good or at first. */
static void moody(int count, struct bytes request, struct buf *ret)
{
    if (memmem(request.at, request.count, "\r\n\r\n2", 5))
        side_answer(ret, 400, "", "two is too much");
    else if (memmem(request.at, request.count, "\r\n\r\n3", 5) && count < 4)
        side_answer(ret, 503, "", "not now");
    else
        echo(count, request, ret);
}

TEST_SLOW(a_record_that_fails_leaves_the_others_and_is_tried_again_where_that_may_help)
{
    bench_open(RECORDS "\"stages\":[" CALL SOON "}]", moody);
    go("[1,2,3]");
    CHECK_INT(bench.verdict, VERDICT_DONE);
    CHECK_TEXT(bench.value, "[1,3]");
    CHECK(strstr(bench.told, "1 failed Stage ask: 127.0.0.1:"));
    CHECK(strstr(bench.told, "2 done 3 {\"calls\":1}"));
    bench_close();
}

TEST_SLOW(an_item_whose_records_all_fail_has_failed)
{
    bench_open(RECORDS "\"stages\":[" CALL SOON "}]", moody);
    go("[2,2]");
    CHECK_INT(bench.verdict, VERDICT_FAIL);
    CHECK(strstr(bench.error, "All 2 records failed: Stage ask:"));
    CHECK_TEXT(bench.stage, "ask");
    bench_close();
}

TEST_SLOW(a_failure_drops_its_record_or_ends_the_item_or_the_job)
{
    bench_open(RECORDS "\"stages\":[" CALL ",\"on_error\":\"drop_record\"}]", moody);
    go("[1,2]");
    CHECK_TEXT(bench.value, "[1]");
    CHECK(strstr(bench.told, "1 dropped "));
    go("[2]");
    CHECK_TEXT(bench.value, "[]");
    bench_close();
    bench_open(RECORDS "\"stages\":[" CALL ",\"concurrency\":1,\"on_error\":\"fail_job\"}]", moody);
    go("[1,2,1,1]");
    CHECK_INT(bench.verdict, VERDICT_FAIL);
    CHECK(bench.fail_job && bench.with_record);    /* one word: a power cut between two would lose what the record takes along */
    CHECK_INT(bench.records, 2);
    bench_close();
    bench_open(RECORDS "\"stages\":[" CALL ",\"on_error\":{\"use\":0}},{\"stage\":\"jq\",\"with\":{\"program\":\". + 1\"}}]", moody);
    go("[1,2]");
    CHECK_TEXT(bench.value, "[2,1]");
    bench_close();
}

TEST_SLOW(a_record_that_a_later_stage_passes_on_is_what_the_stage_before_has_made)
{
    bench_open(RECORDS "\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\"{n, made: true}\"}}," CALL ",\"when\":\".n > 9\"}]", echo);
    go("[{\"n\":1},{\"n\":2}]");
    CHECK_TEXT(bench.value, "[{\"n\":1,\"made\":true},{\"n\":2,\"made\":true}]");
    CHECK_INT(bench.side.calls, 0);
    bench_close();
}

static void model(int count, struct bytes request, struct buf *ret)
{
    side_answer(ret, 200, "", count ? "{\"choices\":[{\"message\":{\"content\":\"{\\\"n\\\":1}\"},\"finish_reason\":\"stop\"}]}"
                                    : "{\"choices\":[{\"message\":{\"content\":\"one\"},\"finish_reason\":\"stop\"}]}");
}

TEST(a_model_that_is_asked_once_more_is_asked_under_another_key)
{
    bench_open("\"stages\":[{\"stage\":\"llm\",\"with\":{\"base\":\"http://127.0.0.1:%d\",\"model\":\"m\",\"prompt\":\"\\\"How many?\\\"\","
               "\"schema\":{\"type\":\"object\"}}}]", model);
    go("{}");
    CHECK_TEXT(bench.value, "{\"n\":1}");
    CHECK_INT(bench.side.calls, 2);
    CHECK(seen("Idempotency-Key: abc-0-0\r\n"));
    CHECK(seen("Idempotency-Key: abc-0-0-repair-1\r\n"));
    bench_close();
}

TEST_SLOW(records_carry_their_marks_and_rows_that_failed_elsewhere_are_failed_records)
{
    bench_open(RECORDS "\"marks\":{\"score\":\".\",\"hit\":\". > 1\"},\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".\"}}]", echo);
    go("[1,2,{\"$failed\":{\"error\":\"dead page\"},\"input\":{\"url\":\"u\"}}]");
    CHECK_TEXT(bench.value, "[1,2]");
    CHECK(strstr(bench.told, "0 done 1  score 1\n"));
    CHECK(strstr(bench.told, "1 done 2 hit  score 2\n"));
    CHECK(strstr(bench.told, "2 failed dead page"));
    bench_close();
}

TEST(a_fenced_item_says_nothing_more)
{
    bench_open(RECORDS "\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".\"},\"concurrency\":1}]", echo);
    bench.fence_at = 2;
    begin(0, "[1,2,3,4]");
    while (bench.crew->ops->slots_free(bench.crew) < LIMIT_TRIPS)
        loop_turn(bench.loop, true);
    CHECK_INT(bench.records, 2);
    CHECK_INT(bench.outcomes, 0);
    bench_close();
}

static void never(int count, struct bytes request, struct buf *ret)
{
    side_answer(ret, 429, "Retry-After: 60\r\n", "");
}

TEST_SLOW(a_stopped_item_is_gone_wherever_it_was)
{
    bench_open(HTTP("}}]"), never);
    for (int i = 0; i < 4; i++)
        begin(i, "{}");
    while (bench.side.calls < 1)
        loop_turn(bench.loop, true);
    for (int i = 0; i < 3; i++)
        bench.crew->ops->stop(bench.crew, (struct token){.job = 7, .item = i, .attempt = 1, .holder = 1}, i == 0);
    CHECK_INT(bench.crew->ops->slots_free(bench.crew), LIMIT_TRIPS - 1);
    CHECK_INT(bench.outcomes, 0);
    bench_close();                 /* the fourth is in line still */
}

TEST(a_hook_token_is_nobodys_to_make)
{
    unsigned char key[32] = {1}, other[32] = {2};
    char token[HOOK_TOKEN_SIZE];
    int64_t job = 0, item = 0;
    uint32_t leg = 0;
    hook_token(key, 123456789, 42, 3, token);
    CHECK_INT(strlen(token), HOOK_TOKEN_SIZE - 1);
    CHECK(hook_read(key, bytes_of(token), &job, &item, &leg));
    CHECK(job == 123456789 && item == 42 && leg == 3);
    CHECK(!hook_read(other, bytes_of(token), &job, &item, &leg));
    token[20] ^= 1;
    CHECK(!hook_read(key, bytes_of(token), &job, &item, &leg));
    CHECK(!hook_read(key, BYTES("short"), &job, &item, &leg));
}

/* ---- learning ---- */

/* A rehearsal, then the leg itself: all that was asked had been told, and nobody was called before. */
static void learned(const char *leg, void (*script)(int count, struct bytes request, struct buf *ret), const char *value)
{
    bench_open(leg, script);
    bench.crew->ops->learn(bench.crew, &(struct task){.stages = bytes_of(bench.pipeline->legs[0].stages), .pipeline = bench.pipeline, .input_fd = -1});
    loop_turn(bench.loop, false);
    CHECK_INT(trips_numbers(bench.crew).trips, 0);
    CHECK_INT(bench.side.calls, 0);
    CHECK_INT(bench.thinker.asked, 0);
    CHECK_INT(bench.outcomes, 0);
    go(value);
    CHECK_INT(bench.verdict, VERDICT_DONE);
    CHECK(bench.thinker.asked > 0);
    CHECK_INT(bench.thinker.unlearned, 0);
    bench_close();
}

static void far_side(int count, struct bytes request, struct buf *ret)
{
    const char *body = bytes_start(request, BYTES("POST /up"))      ? "{\"name\":\"file\"}"
                       : bytes_start(request, BYTES("POST /start")) ? "{\"job\":{\"id\":\"j1\"}}"
                       : bytes_start(request, BYTES("GET /poll"))   ? "{\"status\":\"READY\"}"
                       : bytes_start(request, BYTES("GET /rows/n")) ? "{\"rows\":[{\"k\":\"b\"}]}"
                       : bytes_start(request, BYTES("GET /errors")) ? "{\"count\":1}"
                       : bytes_start(request, BYTES("GET /parts"))  ? "[]"
                                                                    : "{\"rows\":[{\"k\":\"a\"}],\"next\":\"/rows/n\"}";
    side_answer(ret, 200, "Content-Type: application/json\r\n", body);
}

TEST_SLOW(all_that_a_remote_job_asks_is_told_ahead)
{
    learned("\"stages\":[{\"stage\":\"remote_job\",\"when\":\"length > 0\",\"with\":{\"base\":\"http://127.0.0.1:%d\",\"headers\":{\"X-Word\":\"$params.word\"},"
            "\"upload\":{\"url\":\"\\\"/up\\\"\",\"id\":\".name + \\\"\\\"\",\"as\":\"jsonl\",\"fields\":{\"a\":\".[0]\"}},"
            "\"start\":{\"url\":\"\\\"/start\\\"\",\"body\":\"{ks: .}\",\"id\":\".job.id + \\\"\\\"\",\"headers\":{\"X-Of\":\"$params.word\"}},"
            "\"poll\":{\"url\":\"\\\"/poll/\\\\($id)\\\"\",\"state\":\".status | ascii_downcase\",\"every_us\":[1000,1000]},"
            "\"fetch\":{\"url\":\"\\\"/rows/\\\\($id)\\\"\",\"unwrap\":\".rows\",\"page\":{\"next\":\".next\"}},"
            "\"also\":[{\"url\":\"\\\"/parts\\\"\",\"as\":\"json\",\"parts\":{\"url\":\"\\\"/errors\\\"\"}},{\"inline\":\".rows\"}],"
            "\"join\":{\"row_key\":\".k\",\"input_key\":\".\"},\"row_error\":\".oops\",\"cancel\":{\"url\":\"\\\"/cancel/\\\\($id)\\\"\"}}}]",
            far_side, "[\"a\",\"b\"]");
    learned("\"stages\":[{\"stage\":\"remote_job\",\"with\":{\"base\":\"http://127.0.0.1:%d\",\"start\":{\"url\":\"\\\"/start\\\"\",\"id\":\".job.id\"},"
            "\"fetch\":{\"url\":\"\\\"/rows\\\"\",\"unwrap\":\".rows\"}}}]", far_side, "[\"a\"]");
}

static void scorer(int count, struct bytes request, struct buf *ret)
{
    if (memmem(request.at, request.count, "chat/completions", 16))
        side_answer(ret, 200, "Content-Type: application/json\r\n",
                    "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\"{\\\"score\\\":3}\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}");
    else
        side_answer(ret, 200, "Content-Type: application/json\r\n", "{\"a\":{\"b\":1}}");
}

TEST_SLOW(all_that_calls_and_records_ask_is_told_ahead)
{
    learned(HTTP(",\"unwrap\":\".a\",\"body\":\"{asked: .}\",\"headers\":{\"X-Word\":\"$params.word\"}},\"when\":\".q\",\"else\":\"7\"}]"), scorer, "{\"q\":1}");
    learned(HTTP(",\"as\":\"jsonl\",\"unwrap\":\".[0].a\"}}]"), scorer, "{}");
    learned(RECORDS "\"marks\":{\"score\":\".fit.score\"},\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\"{n: .}\"}}," CALL "},"
            "{\"stage\":\"llm\",\"when\":\"true\",\"with\":{\"base\":\"http://127.0.0.1:%d\",\"model\":\"m\",\"prompt\":\"tojson\",\"system\":\"\\\"s\\\"\","
            "\"schema\":{\"type\":\"object\"},\"into\":\"fit\"}}]", scorer, "[1,2]");
}

/* What a stage needs may not be there: that is for its run to say. */
TEST(a_rehearsal_that_fails_is_not_heard)
{
    bench_open("\"stages\":[{\"stage\":\"llm\",\"with\":{\"api\":\"none\",\"model\":\"m\",\"prompt\":\".\"}}]", echo);
    bench.crew->ops->learn(bench.crew, &(struct task){.stages = BYTES("[]"), .pipeline = bench.pipeline, .input_fd = -1});
    for (int i = 0; i < 3; i++)
        loop_turn(bench.loop, false);
    CHECK_INT(bench.outcomes, 0);
    CHECK_INT(bench.thinker.lessons.count, 0);
    go("{}");
    CHECK_INT(bench.verdict, VERDICT_FAIL);
    bench_close();
}
