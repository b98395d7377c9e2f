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
