#include "readers/lines.h"

#include "base/json.h"
#include "base/text.h"

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

/* ---- the item document ---- */

const char *const lines_groups[LINES_GROUPS] = {"pending", "processing", "completed", "failed", "skipped"};

enum lines_group lines_group_of(const struct item *item)
{
    switch (item->state) {
    case ITEM_PENDING: return LINES_PENDING;
    case ITEM_DONE: return LINES_COMPLETED;
    case ITEM_FAILED: return LINES_FAILED;
    case ITEM_SKIPPED: return LINES_SKIPPED;
    default: return LINES_PROCESSING;
    }
}

static void splice(struct buf *buf, const struct row *row, const char *key)
{
    struct bytes raw = json_span(row_body(row), key);
    if (raw.count)
        json_put_raw(buf, key, raw);
}

static void put_word(struct buf *buf, const struct frame_header *header, const struct row *word)
{
    char at[TEXT_TIME_SIZE];
    if (word->kind == EVENT_ITEM_DONE)
        frame_result(header, word, "result_bytes", "result_type", buf);
    if (word->kind == EVENT_ITEM_DONE)
        splice(buf, word, "score");
    if (word->kind == EVENT_ITEM_FAILED || word->kind == EVENT_ITEM_RETRY) {
        splice(buf, word, "error");
        splice(buf, word, "error_type");
        splice(buf, word, "stage");
    }
    if (word->kind == EVENT_ITEM_DONE || word->kind == EVENT_ITEM_FAILED) {
        text_time(word->at_us, at);
        json_put_text(buf, "ended_at", at);
    }
}

void lines_item(const struct frame_header *header, const struct store_item *item, struct buf *buf)
{
    const struct item_spec *spec = &item->spec;
    json_open(buf, '{');
    json_put_int(buf, "item", item->index);
    json_put_bytes(buf, "name", spec->name);
    if (spec->key.count)
        json_put_bytes(buf, "key", spec->key);
    if (spec->type.count)
        json_put_bytes(buf, "type", spec->type);
    json_put_int(buf, "bytes", spec->bytes);
    json_put_text(buf, "state", lines_groups[lines_group_of(&item->state)]);
    json_put_int(buf, "attempt", item->state.attempt);
    if (item->word)
        put_word(buf, header, item->word);
    json_close(buf, '}');
}
