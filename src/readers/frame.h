/* Frames: what an event becomes on the wire. Rendered from the job's header and the row alone, so that a frame replays byte for
 * byte; what is JSON in the row's body is spliced in as it stands.
 *
 * A frame is `event:`, `data:`, `id:` in this order, one space behind each colon, LF only, and an empty line. The id is
 * `epoch-seq`. When one event gives several frames only the last has the id: whoever was cut between them gets them all again.
 * Pure; any thread. */
#pragma once
#include "base/buf.h"
#include "core/job.h"
#include "core/row.h"

enum face {
    FACE_SEED,      /* progress, result, error, complete: for clients of the plain endpoints */
    FACE_STAGED,    /* the same for one file with staged progress (/process-stream) */
    FACE_JOB,       /* progress, result, failed, complete, cancelled: the native one */
};

/* What frames need of the job beside the event; borrowed from it. Fixed once the job is sealed. */
struct frame_header {
    struct bytes id, result_key;
    int64_t total;
};
struct frame_header frame_header_of(const struct job *job);

/* Append all frames of `row`; answers how many (0 for events that a face does not show).
 *   result   item.done on the seed faces: what the blob held, when frame_blob() says so; else empty
 * ITEMS_SKIPPED on the seed faces gives nothing here: see frame_skipped. */
int frame_render(const struct frame_header *header, enum face face, const struct row *row, struct bytes result, struct buf *buf);

/* The result of an item.done row as the job face tells it: "result", or when a blob holds it "result_url" with its bytes and type under the
 * names given. */
void frame_result(const struct frame_header *header, const struct row *row, const char *bytes_key, const char *type_key, struct buf *buf);

/* Must the result of this row be read from a blob before it can be rendered on this face? Then *ret is its name. */
bool frame_blob(enum face face, const struct row *row, struct sha *ret);

/* Seed faces: the `error` of one item of an ITEMS_SKIPPED row. `last`: the row's last item, so this frame has the id.
 *   name     the item's; {NULL, 0} = not known */
void frame_skipped(const struct row *row, int64_t item, struct bytes name, bool last, struct buf *buf);

/* The kind of an item.failed row's error as the seed faces tell it: their clients know two, so a timeout or a crash is "processing". */
const char *frame_error_type(const struct row *row);

/* What has no id and stands in no log. A hint's percent and status come from the stage: "ocr" 20, "matching" 70. On the batch's
 * seed face a hint gives nothing. Answers the number of frames. */
int frame_hint(const struct frame_header *header, enum face face, int64_t item, int percent, struct bytes status, int64_t wall_us,
               struct buf *buf);
void frame_gap(const struct frame_header *header, enum face face, struct buf *buf);
void frame_heartbeat(enum face face, struct buf *buf);
/* Job face: how soon to come back after the wire broke. Stands alone at the start of a stream; nothing on the seed faces. */
void frame_retry(enum face face, struct buf *buf);

/* The mean of `stats.accuracy` in a job.ended row as the seed face tells it: two decimals, or null without any. */
void frame_accuracy(const struct row *ended, struct buf *buf);

/* Frames once more, cut out of a text of whole ones (what feed_fill made): so that every other shape on the wire says the same bytes.
 * Answers the next frame that has an event, views into the text; comments are passed over. False at the end of the text. */
struct frame_parts {
    struct bytes event, data, id;       /* id empty: the frame has none */
};
bool frame_next(struct bytes *rest, struct frame_parts *ret);
/* {"id":…,"event":…,"data":…}, without the id when there is none. */
void frame_as_json(const struct frame_parts *frame, struct buf *buf);
/* The frame with the id `JOB@epoch-seq`, for several jobs on one wire. */
void frame_of_job(const struct frame_parts *frame, struct bytes job, struct buf *buf);

/* "epoch-seq"; false when it is no such id. */
#define FRAME_ID_SIZE 48
bool frame_id_parse(struct bytes id, int64_t *ret_epoch, uint64_t *ret_seq);
