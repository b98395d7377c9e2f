/* A row as it may lie on a damaged disk: any columns, any body. It is read or refused with a sentence; what was read comes to itself when it is written again,
 * and on the wire it is what the standard reads. The first bytes are the columns; with the lowest bit of the first the body is made one line as ours are. */
#include "fold_checks.h"

#include "base/limits.h"

static struct row *row_of(struct bytes *input)
{
    unsigned how = fuzz_byte(input);
    enum event_kind kind = (enum event_kind)fuzz_below(input, EVENT_KINDS_COUNT + 1);
    int64_t item = (int8_t)fuzz_byte(input);
    struct buf body BUF_OWNED;
    struct json_object *tree JSON_OWNED = NULL;
    buf_init(&body, 4 << 20);
    if (how & 1)
        tree = json_parse(*input, NULL);
    if (tree)
        json_tree(&body, tree);
    else
        buf_put(&body, *input);
    struct row *row = row_new(buf_bytes(&body));
    row->kind = kind;
    row->item = item;
    row->attempt = how >> 1;
    row->pos = row->seq = 7;
    row->job = 1;
    row->epoch = 1763716800;
    row->at_us = how & 2 ? INT64_MAX : 1763716800000000;
    if (!tree)
        row->refs = 2;      /* ours alone: the caller sees by it that its body is anything */
    return row;
}

static void check_items(const struct row *row, const struct event *event)
{
    uint32_t *places = codec_places(row, event->added.count);
    fuzz_must(places, "items have places");
    for (size_t i = 0; i < event->added.count; i++) {
        struct item_spec spec;
        struct codec_arena arena CODEC_OWNED = {0};
        fuzz_must(places[i] < places[i + 1] && places[i + 1] - 1 <= row->body_bytes, "which lie in the body");
        struct bytes text = {row->body + places[i], places[i + 1] - 1 - places[i]};
        if (codec_item(text, &spec, &arena))
            continue;
        const struct item_spec *want = &event->added.items[i];
        fuzz_must(bytes_equal(spec.name, want->name) && bytes_equal(spec.key, want->key) && bytes_equal(spec.type, want->type), "an item alone is the same item");
        fuzz_must(bytes_equal(spec.value, want->value) && spec.has_blob == want->has_blob && spec.bytes == want->bytes, "with the same input");
    }
    free(places);
}

FUZZ_TARGET(row)
{
    struct row *row = row_of(&input);
    bool ours = row->refs == 1;
    row->refs = 1;
    struct event event;
    struct codec_arena arena CODEC_OWNED = {0};
    struct problem problem = {0};
    struct frame_header header = {BYTES("j1"), BYTES("result"), 3};
    bool decoded = !codec_decode(row, &event, &arena, &problem);
    fuzz_check_problem(&problem, !decoded);
    if (decoded && ours) {
        check_again(row, &event);
        if (event.kind == EVENT_ITEMS_ADDED)
            check_items(row, &event);
        struct row *again = codec_encode(&event, 4 << 20);
        check_frames(&header, again, (struct bytes){0});
        row_unref(again);
    }
    struct buf any BUF_OWNED;
    buf_init(&any, 1 << 20);
    for (int face = FACE_SEED; decoded && face <= FACE_JOB; face++)      /* whatever it says: nothing outside, and it ends */
        frame_render(&header, (enum face)face, row, (struct bytes){0}, &any);
    struct job *job = job_new();
    if (decoded && event.kind == EVENT_JOB_CREATED) {
        event.seq = 1;
        struct problem why = {0};
        fuzz_must(!job_apply(job, &event, &why), "a job is created by any such row");
        check_document(job);
        check_snapshot(job);
    }
    job_free(job);
    row_unref(row);
}
