#include "readers/lines.h"

#include "base/json.h"

static void put_failed(struct buf *buf, struct bytes body)
{
    json_put_raw(buf, "error", json_span(body, "error"));
    json_put_raw(buf, "error_type", json_span(body, "error_type"));
}

bool lines_render(const struct frame_header *header, const struct row *row, struct bytes result, struct buf *buf)
{
    struct bytes body = row_body(row);
    struct sha sha;
    if (row->kind != EVENT_ITEM_DONE && row->kind != EVENT_ITEM_FAILED)
        return false;
    json_open(buf, '{');
    json_put_int(buf, "index", row->item);
    json_put_raw(buf, "filename", json_span(body, "name"));
    if (row->kind == EVENT_ITEM_FAILED) {
        put_failed(buf, body);
    } else if (!result.count && frame_blob(FACE_SEED, row, &sha)) {
        json_put_text(buf, "error", "the result can no longer be read");
        json_put_text(buf, "error_type", "processing");
    } else {
        json_key_bytes(buf, header->result_key);
        json_raw(buf, result.count ? result : json_span(body, "result"));
    }
    json_close(buf, '}');
    buf_byte(buf, '\n');
    return true;
}
