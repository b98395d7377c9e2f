#include "readers/lines.h"

#include "base/limits.h"
#include "base/test.h"
#include "core/codec.h"

static const struct frame_header header = {{"j1", 2}, {"decklist", 8}, 3};

static const char *line(struct buf *buf, struct event event, struct bytes blob)
{
    event.seq = 5;
    event.item = 1;
    event.attempt = 1;
    event.name = BYTES("\xe6\x98\x93\"\n.jpg");
    struct row *row = codec_encode(&event, LIMIT_ROW_BYTES);
    CHECK(row);
    buf_clear(buf);
    CHECK(lines_render(&header, row, blob, buf));
    row_unref(row);
    return buf_z(buf);
}

TEST(an_item_that_ended_is_one_line_of_json)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 4096);
    CHECK_TEXT(line(&buf, (struct event){.kind = EVENT_ITEM_DONE, .done.result = BYTES("{\"n\":[1]}")}, (struct bytes){0}),
               "{\"index\":1,\"filename\":\"\xe6\x98\x93\\\"\\n.jpg\",\"decklist\":{\"n\":[1]}}\n");
    CHECK_TEXT(line(&buf, (struct event){.kind = EVENT_ITEM_FAILED, .failed = {.error = BYTES("no"), .error_type = BYTES("processing")}}, (struct bytes){0}),
               "{\"index\":1,\"filename\":\"\xe6\x98\x93\\\"\\n.jpg\",\"error\":\"no\",\"error_type\":\"processing\"}\n");
}

TEST(a_result_from_a_blob_stands_where_its_name_was)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 4096);
    CHECK(strstr(line(&buf, (struct event){.kind = EVENT_ITEM_DONE, .done.result = BYTES("{\"blob\":\"x\"}")}, BYTES("{\"long\":true}")),
                 "\"decklist\":{\"long\":true}}\n"));
}

TEST(other_events_are_no_lines)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 4096);
    struct event event = {.kind = EVENT_ITEM_STARTED, .item = 0, .attempt = 1, .name = BYTES("x")};
    struct row *row = codec_encode(&event, LIMIT_ROW_BYTES);
    CHECK(!lines_render(&header, row, (struct bytes){0}, &buf));
    CHECK_INT(buf.count, 0);
    row_unref(row);
}

TEST(a_result_whose_blob_is_gone_is_an_error_line)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 4096);
    struct event event = {.kind = EVENT_ITEM_DONE};
    event.done.result = BYTES("{\"blob\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"bytes\":70000}");
    CHECK(strstr(line(&buf, event, (struct bytes){0}), "\"error\":\"the result can no longer be read\",\"error_type\":\"processing\"}\n"));
}

static const char *document(struct buf *buf, enum item_state state, struct event *word)
{
    struct store_item item = {.index = 4, .state = {.state = state, .attempt = 2}, .spec = {.name = BYTES("a\"b"), .bytes = 12}};
    if (word) {
        word->seq = 5;
        word->item = 4;
        word->attempt = 2;
        word->at_us = 1500000;
        item.word = codec_encode(word, LIMIT_ROW_BYTES);
        CHECK(item.word);
    }
    buf_clear(buf);
    lines_item(&header, &item, buf);
    row_unref(item.word);
    return buf_z(buf);
}

TEST(an_item_is_told_with_its_last_word)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 4096);
    CHECK_TEXT(document(&buf, ITEM_PENDING, NULL), "{\"item\":4,\"name\":\"a\\\"b\",\"bytes\":12,\"state\":\"pending\",\"attempt\":2}");
    CHECK_TEXT(document(&buf, ITEM_SKIPPED, NULL), "{\"item\":4,\"name\":\"a\\\"b\",\"bytes\":12,\"state\":\"skipped\",\"attempt\":2}");
    struct event done = {.kind = EVENT_ITEM_DONE, .done = {.result = BYTES("[7]"), .has_score = true, .score = 2.5}};
    CHECK_TEXT(document(&buf, ITEM_DONE, &done),
               "{\"item\":4,\"name\":\"a\\\"b\",\"bytes\":12,\"state\":\"completed\",\"attempt\":2,\"result\":[7],\"score\":2.5,"
               "\"ended_at\":\"1970-01-01T00:00:01.500Z\"}");
    struct event failed = {.kind = EVENT_ITEM_FAILED, .failed = {BYTES("no"), BYTES("timeout"), BYTES("ocr")}};
    CHECK_TEXT(document(&buf, ITEM_FAILED, &failed),
               "{\"item\":4,\"name\":\"a\\\"b\",\"bytes\":12,\"state\":\"failed\",\"attempt\":2,\"error\":\"no\",\"error_type\":\"timeout\","
               "\"stage\":\"ocr\",\"ended_at\":\"1970-01-01T00:00:01.500Z\"}");
    struct event again = {.kind = EVENT_ITEM_RETRY, .retry = {.error = BYTES("busy"), .error_type = BYTES("processing"), .tries = 1}};
    CHECK(strstr(document(&buf, ITEM_BACKOFF, &again), "\"state\":\"processing\",\"attempt\":2,\"error\":\"busy\",\"error_type\":\"processing\"}"));
}
