#include "readers/frame.h"

#include "base/limits.h"
#include "base/test.h"
#include "core/codec.h"

static const struct frame_header header = {{"j1", 2}, {"decklist", 8}, 3};
static const struct counts counts = {1, 1, 1, 0, 0};

static struct row *row_of(struct event *event, enum event_kind kind)
{
    event->kind = kind;
    event->seq = 7;
    event->epoch = 1000;
    event->at_us = 1500000;
    event->counts = counts;
    if (!event->name.at)
        event->name = BYTES("\xe6\x98\x93.jpg");
    return codec_encode(event, LIMIT_ROW_BYTES);
}

static void expect(enum face face, struct event event, enum event_kind kind, int frames, const char *want)
{
    struct row *row = row_of(&event, kind);
    struct buf buf;
    buf_init(&buf, LIMIT_ROW_BYTES);
    CHECK_INT(frame_render(&header, face, row, (struct bytes){0}, &buf), frames);
    CHECK_BYTES(buf_bytes(&buf), bytes_of(want));
    buf_done(&buf);
    row_unref(row);
}

static struct event started(uint32_t attempt, enum start_why why)
{
    return (struct event){.item = 1, .attempt = attempt, .started = {0, why}};
}

TEST(a_first_start_is_two_progress_events_and_only_the_second_has_the_id)
{
    expect(FACE_SEED, started(1, WHY_FIRST), EVENT_ITEM_STARTED, 2,
           "event: progress\ndata: {\"current\":2,\"total\":3,\"filename\":\"易.jpg\",\"status\":\"validating\"}\n\n"
           "event: progress\ndata: {\"current\":2,\"total\":3,\"filename\":\"易.jpg\",\"status\":\"processing\"}\nid: 1000-7\n\n");
}

TEST(a_later_start_shows_on_the_job_face_only)
{
    expect(FACE_SEED, started(2, WHY_RETRY), EVENT_ITEM_STARTED, 0, "");
    expect(FACE_JOB, started(2, WHY_RETRY), EVENT_ITEM_STARTED, 1,
           "event: progress\ndata: {\"job\":\"j1\",\"at\":\"1970-01-01T00:00:01.500Z\",\"item\":1,\"name\":\"易.jpg\",\"attempt\":2,"
           "\"counts\":[1,1,1,0,0],\"state\":\"processing\",\"leg\":0,\"why\":\"retry\"}\nid: 1000-7\n\n");
}

TEST(a_result_is_spliced_as_it_stands_under_the_pipelines_key)
{
    struct event done = {.item = 1, .attempt = 1, .done = {.result = BYTES("{\"a\": [1, \"x\\\"}\"]}"), .stats = BYTES("{\"accuracy\":50}")}};
    expect(FACE_SEED, done, EVENT_ITEM_DONE, 1,
           "event: result\ndata: {\"index\":1,\"filename\":\"易.jpg\",\"decklist\":{\"a\": [1, \"x\\\"}\"]}}\nid: 1000-7\n\n");
    expect(FACE_JOB, done, EVENT_ITEM_DONE, 1,
           "event: result\ndata: {\"job\":\"j1\",\"at\":\"1970-01-01T00:00:01.500Z\",\"item\":1,\"name\":\"易.jpg\",\"attempt\":1,"
           "\"counts\":[1,1,1,0,0],\"result\":{\"a\": [1, \"x\\\"}\"]}}\nid: 1000-7\n\n");
}

#define SHA_TEXT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

TEST(a_result_in_a_blob_is_inlined_on_the_seed_face_and_named_on_the_job_face)
{
    struct event done = {.item = 1, .attempt = 1,
                         .done = {.result = BYTES("{\"blob\":\"" SHA_TEXT "\",\"bytes\":70000,\"type\":\"application/json\"}")}};
    struct row *row = row_of(&done, EVENT_ITEM_DONE);
    struct sha sha;
    struct buf buf;
    buf_init(&buf, LIMIT_ROW_BYTES);
    CHECK(frame_blob(FACE_SEED, row, &sha));
    CHECK(!frame_blob(FACE_JOB, row, &sha));
    CHECK_INT(frame_render(&header, FACE_SEED, row, BYTES("[9]"), &buf), 1);
    CHECK_BYTES(buf_bytes(&buf), BYTES("event: result\ndata: {\"index\":1,\"filename\":\"易.jpg\",\"decklist\":[9]}\nid: 1000-7\n\n"));
    buf_done(&buf);
    row_unref(row);
    expect(FACE_JOB, done, EVENT_ITEM_DONE, 1,
           "event: result\ndata: {\"job\":\"j1\",\"at\":\"1970-01-01T00:00:01.500Z\",\"item\":1,\"name\":\"易.jpg\",\"attempt\":1,"
           "\"counts\":[1,1,1,0,0],\"result_url\":\"/v1/jobs/j1/items/1/result\",\"bytes\":70000,\"type\":\"application/json\"}\nid: 1000-7\n\n");
}

TEST(an_object_that_merely_has_a_blob_is_no_blob)
{
    struct event done = {.item = 1, .attempt = 1, .done = {.result = BYTES("{\"blob\":\"x\",\"bytes\":1}")}};
    struct row *row = row_of(&done, EVENT_ITEM_DONE);
    struct sha sha;
    CHECK(!frame_blob(FACE_SEED, row, &sha));
    row_unref(row);
}

TEST(a_refused_item_is_validated_and_then_fails)
{
    struct event failed = {.item = 2, .name = BYTES("a\"b\n.txt"),
                           .failed = {BYTES("File must be an image (JPG/PNG)"), BYTES("validation"), {0}}};
    expect(FACE_SEED, failed, EVENT_ITEM_FAILED, 2,
           "event: progress\ndata: {\"current\":3,\"total\":3,\"filename\":\"a\\\"b\\n.txt\",\"status\":\"validating\"}\n\n"
           "event: error\ndata: {\"index\":2,\"filename\":\"a\\\"b\\n.txt\",\"error\":\"File must be an image (JPG/PNG)\","
           "\"error_type\":\"validation\"}\nid: 1000-7\n\n");
    failed.attempt = 1;
    expect(FACE_JOB, failed, EVENT_ITEM_FAILED, 1,
           "event: failed\ndata: {\"job\":\"j1\",\"at\":\"1970-01-01T00:00:01.500Z\",\"item\":2,\"name\":\"a\\\"b\\n.txt\",\"attempt\":1,"
           "\"counts\":[1,1,1,0,0],\"error\":\"File must be an image (JPG/PNG)\",\"error_type\":\"validation\",\"stage\":null}\nid: 1000-7\n\n");
}

TEST(the_seed_face_knows_two_kinds_of_errors)
{
    struct event failed = {.item = 0, .attempt = 3, .failed = {BYTES("too slow"), BYTES("timeout"), {0}}};
    expect(FACE_SEED, failed, EVENT_ITEM_FAILED, 1,
           "event: error\ndata: {\"index\":0,\"filename\":\"易.jpg\",\"error\":\"too slow\",\"error_type\":\"processing\"}\nid: 1000-7\n\n");
}

TEST(a_retry_tells_when_it_is_due_on_the_job_face)
{
    struct event retry = {.item = 0, .attempt = 1, .retry = {.tries = 1, .error = BYTES("gone"), .error_type = BYTES("crash"), .due_at_us = 2000000}};
    expect(FACE_SEED, retry, EVENT_ITEM_RETRY, 0, "");
    expect(FACE_JOB, retry, EVENT_ITEM_RETRY, 1,
           "event: progress\ndata: {\"job\":\"j1\",\"at\":\"1970-01-01T00:00:01.500Z\",\"item\":0,\"name\":\"易.jpg\",\"attempt\":1,"
           "\"counts\":[1,1,1,0,0],\"state\":\"retrying\",\"leg\":0,\"error\":\"gone\",\"error_type\":\"crash\","
           "\"due_at\":\"1970-01-01T00:00:02.000Z\"}\nid: 1000-7\n\n");
}

TEST(the_end_is_complete_with_what_was_skipped_counted_as_failed)
{
    struct event ended = {.item = -1, .ended = {JOB_COMPLETED, BYTES("{\"accuracy\":{\"count\":3,\"sum\":280,\"min\":90,\"max\":95,\"mean\":93.3333333}}"),
                                                {0}, 12.5}};
    expect(FACE_SEED, ended, EVENT_JOB_ENDED, 1,
           "event: complete\ndata: {\"total\":3,\"successful\":1,\"failed\":0,\"average_accuracy\":93.33,\"processing_time_seconds\":12.5}\nid: 1000-7\n\n");
    expect(FACE_JOB, ended, EVENT_JOB_ENDED, 1,
           "event: complete\ndata: {\"job\":\"j1\",\"at\":\"1970-01-01T00:00:01.500Z\",\"status\":\"completed\",\"counts\":[1,1,1,0,0],"
           "\"summary\":{\"accuracy\":{\"count\":3,\"sum\":280,\"min\":90,\"max\":95,\"mean\":93.3333333}},\"seconds\":12.5}\nid: 1000-7\n\n");
    ended.ended.summary = BYTES("{}");
    ended.ended.status = JOB_CANCELLED;
    expect(FACE_SEED, ended, EVENT_JOB_ENDED, 1,
           "event: complete\ndata: {\"total\":3,\"successful\":1,\"failed\":0,\"average_accuracy\":null,\"processing_time_seconds\":12.5}\nid: 1000-7\n\n");
    expect(FACE_JOB, ended, EVENT_JOB_ENDED, 1,
           "event: cancelled\ndata: {\"job\":\"j1\",\"at\":\"1970-01-01T00:00:01.500Z\",\"status\":\"cancelled\",\"counts\":[1,1,1,0,0],"
           "\"summary\":{},\"seconds\":12.5}\nid: 1000-7\n\n");
}

TEST(counts_of_a_damaged_row_are_none)
{
    struct row *row = row_new(BYTES("{\"status\":\"completed\",\"counts\":[0,0,2,9223372036854775807,-1],\"seconds\":1}"));
    struct buf buf BUF_OWNED;
    buf_init(&buf, 4096);
    row->kind = EVENT_JOB_ENDED;
    frame_render(&header, FACE_SEED, row, (struct bytes){0}, &buf);
    CHECK(strstr(buf_z(&buf), "\"total\":2,\"successful\":2,\"failed\":0"));
    row_unref(row);
}

TEST(the_staged_face_has_its_own_progress)
{
    expect(FACE_STAGED, started(1, WHY_FIRST), EVENT_ITEM_STARTED, 1,
           "event: progress\ndata: {\"status\":\"starting\",\"message\":\"Starting\",\"progress\":0}\nid: 1000-7\n\n");
    struct event ended = {.item = -1, .ended = {JOB_COMPLETED, BYTES("{}"), {0}, 1}};
    expect(FACE_STAGED, ended, EVENT_JOB_ENDED, 1,
           "event: complete\ndata: {\"status\":\"complete\",\"message\":\"Complete\",\"progress\":100,\"total\":3,\"successful\":1,\"failed\":0,"
           "\"average_accuracy\":null,\"processing_time_seconds\":1}\nid: 1000-7\n\n");
    struct buf buf;
    buf_init(&buf, 1024);
    CHECK_INT(frame_hint(&header, FACE_SEED, 0, 20, BYTES("ocr"), 0, &buf), 0);
    CHECK_INT(frame_hint(&header, FACE_STAGED, 0, 20, BYTES("ocr"), 0, &buf), 1);
    CHECK_BYTES(buf_bytes(&buf), BYTES("event: progress\ndata: {\"status\":\"ocr\",\"message\":\"Reading the image\",\"progress\":20}\n\n"));
    buf_done(&buf);
}

TEST(intake_shows_nothing_but_that_the_job_is_queued)
{
    struct event sealed = {.item = -1, .sealed = {3}};
    expect(FACE_SEED, sealed, EVENT_JOB_SEALED, 0, "");
    expect(FACE_JOB, sealed, EVENT_JOB_SEALED, 1,
           "event: progress\ndata: {\"job\":\"j1\",\"at\":\"1970-01-01T00:00:01.500Z\",\"state\":\"queued\",\"total\":3}\nid: 1000-7\n\n");
}

TEST(an_id_is_an_epoch_and_a_seq_and_nothing_else)
{
    int64_t epoch;
    uint64_t seq;
    CHECK(frame_id_parse(BYTES("1763-42"), &epoch, &seq));
    CHECK_INT(epoch, 1763);
    CHECK_INT((long long)seq, 42);
    CHECK(!frame_id_parse(BYTES("42"), &epoch, &seq));
    CHECK(!frame_id_parse(BYTES("1-"), &epoch, &seq));
    CHECK(!frame_id_parse(BYTES("-1-2"), &epoch, &seq));
    CHECK(!frame_id_parse(BYTES("1-0"), &epoch, &seq));
    CHECK(!frame_id_parse(BYTES("1-2-3"), &epoch, &seq));
    CHECK(!frame_id_parse(BYTES("99999999999999999999-1"), &epoch, &seq));
    CHECK(!frame_id_parse(BYTES(""), &epoch, &seq));
}

TEST(frames_are_cut_out_of_a_text_and_comments_passed_over)
{
    struct bytes text = BYTES("retry: 1000\n\n: still here\n\nevent: progress\ndata: {\"a\":\"b: c\"}\nid: 9-4\n\nevent: gap\ndata: {}\n\n");
    struct frame_parts frame;
    CHECK(frame_next(&text, &frame));
    CHECK_BYTES(frame.event, BYTES("progress"));
    CHECK_BYTES(frame.data, BYTES("{\"a\":\"b: c\"}"));
    CHECK_BYTES(frame.id, BYTES("9-4"));
    CHECK(frame_next(&text, &frame));
    CHECK_BYTES(frame.event, BYTES("gap"));
    CHECK_INT(frame.id.count, 0);
    CHECK(!frame_next(&text, &frame));
}

TEST(a_frame_has_the_same_data_in_every_shape)
{
    struct frame_parts frame = {BYTES("result"), BYTES("{\"n\":[1,2]}"), BYTES("9-4")};
    struct buf buf BUF_OWNED;
    buf_init(&buf, 1024);
    frame_as_json(&frame, &buf);
    CHECK_BYTES(buf_bytes(&buf), BYTES("{\"id\":\"9-4\",\"event\":\"result\",\"data\":{\"n\":[1,2]}}"));
    buf_clear(&buf);
    frame_of_job(&frame, BYTES("j1"), &buf);
    CHECK_BYTES(buf_bytes(&buf), BYTES("event: result\ndata: {\"n\":[1,2]}\nid: j1@9-4\n\n"));
    frame.id = (struct bytes){0};
    buf_clear(&buf);
    frame_as_json(&frame, &buf);
    CHECK_BYTES(buf_bytes(&buf), BYTES("{\"event\":\"result\",\"data\":{\"n\":[1,2]}}"));
}
