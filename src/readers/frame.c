#include "readers/frame.h"

#include "base/json.h"
#include "base/text.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

struct frame_header frame_header_of(const struct job *job)
{
    return (struct frame_header){bytes_of(job->id), bytes_of(job->result_key), job->total};
}

/* ---- the shape of a frame ---- */

static void begin(struct buf *buf, const char *event)
{
    buf_print(buf, "event: %s\ndata: ", event);
    json_open(buf, '{');
}

static void end(struct buf *buf, const struct row *row_of_id)
{
    json_close(buf, '}');
    if (row_of_id)
        buf_print(buf, "\nid: %lld-%llu", (long long)row_of_id->epoch, (unsigned long long)row_of_id->seq);
    buf_text(buf, "\n\n");
}

bool frame_id_parse(struct bytes id, int64_t *ret_epoch, uint64_t *ret_seq)
{
    struct bytes rest = bytes_trim(id), epoch = bytes_cut(&rest, '-');
    return bytes_to_i64(epoch, ret_epoch) && bytes_to_u64(rest, ret_seq) && *ret_seq > 0;
}

static void put_time(struct buf *buf, const char *key, int64_t wall_us)
{
    char text[TEXT_TIME_SIZE];
    text_time(wall_us, text);
    json_put_text(buf, key, text);
}

/* Splice a field of the row's body under another name; without such a field nothing, or null. */
static void splice(struct buf *buf, const char *key, const struct row *row, const char *field, bool null)
{
    struct bytes raw = json_span(row_body(row), field);
    if (!raw.count && !null)
        return;
    json_key(buf, key);
    if (raw.count)
        json_raw(buf, raw);
    else
        json_null(buf);
}

static int64_t int_of(const struct row *row, const char *field)
{
    int64_t value = 0;
    bytes_to_i64(json_span(row_body(row), field), &value);
    return value;
}

/* ---- the seed faces ---- */

static void put_item(struct buf *buf, const struct row *row)
{
    json_put_int(buf, "index", row->item);
    splice(buf, "filename", row, "name", true);
}

static void seed_progress(const struct frame_header *header, const struct row *row, const char *status, bool with_id, struct buf *buf)
{
    begin(buf, "progress");
    json_put_int(buf, "current", row->item + 1);
    json_put_int(buf, "total", header->total);
    splice(buf, "filename", row, "name", true);
    json_put_text(buf, "status", status);
    end(buf, with_id ? row : NULL);
}

static void staged_progress(const char *status, const char *message, int percent, const struct row *row_of_id, struct buf *buf)
{
    begin(buf, "progress");
    json_put_text(buf, "status", status);
    json_put_text(buf, "message", message);
    json_put_int(buf, "progress", percent);
    end(buf, row_of_id);
}

static int seed_started(const struct frame_header *header, enum face face, const struct row *row, struct buf *buf)
{
    if (row->attempt != 1)
        return 0;
    if (face == FACE_STAGED) {
        staged_progress("starting", "Starting", 0, row, buf);
        return 1;
    }
    seed_progress(header, row, "validating", false, buf);
    seed_progress(header, row, "processing", true, buf);
    return 2;
}

const char *frame_error_type(const struct row *row)
{
    return bytes_equal(json_span(row_body(row), "error_type"), BYTES("\"validation\"")) ? "validation" : "processing";
}

static void seed_error(const struct row *row, struct buf *buf)
{
    begin(buf, "error");
    put_item(buf, row);
    splice(buf, "error", row, "error", true);
    json_put_text(buf, "error_type", frame_error_type(row));
    end(buf, row);
}

static int seed_done(const struct frame_header *header, const struct row *row, struct bytes result, struct buf *buf)
{
    struct sha sha;
    if (frame_blob(FACE_SEED, row, &sha) && !result.count) {    /* its blob is gone: the disk was tampered with */
        begin(buf, "error");
        put_item(buf, row);
        json_put_text(buf, "error", "the result can no longer be read");
        json_put_text(buf, "error_type", "processing");
        end(buf, row);
        return 1;
    }
    begin(buf, "result");
    put_item(buf, row);
    json_key_bytes(buf, header->result_key);
    if (!result.count)
        result = json_span(row_body(row), "result");
    if (result.count)
        json_raw(buf, result);
    else
        json_null(buf);
    end(buf, row);
    return 1;
}

static int seed_failed(const struct frame_header *header, enum face face, const struct row *row, struct buf *buf)
{
    bool refused = row->attempt == 0;
    if (refused && face == FACE_STAGED)
        staged_progress("starting", "Starting", 0, NULL, buf);
    else if (refused)
        seed_progress(header, row, "validating", false, buf);
    seed_error(row, buf);
    return refused ? 2 : 1;
}

/* The five counts of a body, in the order of struct counts. */
static void counts_of(const struct row *row, int64_t ret[5])
{
    struct bytes rest = json_span(row_body(row), "counts");
    if (rest.count >= 2)
        rest = (struct bytes){rest.at + 1, rest.count - 2};
    for (int i = 0; i < 5; i++) {
        if (!bytes_to_i64(bytes_cut(&rest, ','), &ret[i]) || ret[i] >> EVENT_COUNT_BITS)
            ret[i] = 0;
    }
}

void frame_accuracy(const struct row *ended, struct buf *buf)
{
    struct bytes mean = json_span(json_span(json_span(row_body(ended), "summary"), "accuracy"), "mean");
    char text[40];
    if (!mean.count || mean.count >= sizeof text) {
        json_null(buf);
        return;
    }
    memcpy(text, mean.at, mean.count);
    text[mean.count] = 0;
    json_real(buf, round(strtod(text, NULL) * 100) / 100);
}

static int seed_ended(enum face face, const struct row *row, struct buf *buf)
{
    int64_t counts[5];
    counts_of(row, counts);
    begin(buf, "complete");
    if (face == FACE_STAGED) {
        json_put_text(buf, "status", "complete");
        json_put_text(buf, "message", counts[2] ? "Complete" : "Failed");
        json_put_int(buf, "progress", 100);
    }
    json_put_int(buf, "total", counts[0] + counts[1] + counts[2] + counts[3] + counts[4]);
    json_put_int(buf, "successful", counts[2]);
    json_put_int(buf, "failed", counts[3] + counts[4]);
    json_key(buf, "average_accuracy");
    frame_accuracy(row, buf);
    splice(buf, "processing_time_seconds", row, "seconds", true);
    end(buf, row);
    return 1;
}

static int render_seed(const struct frame_header *header, enum face face, const struct row *row, struct bytes result, struct buf *buf)
{
    switch (row->kind) {
    case EVENT_ITEM_STARTED: return seed_started(header, face, row, buf);
    case EVENT_ITEM_DONE: return seed_done(header, row, result, buf);
    case EVENT_ITEM_FAILED: return seed_failed(header, face, row, buf);
    case EVENT_JOB_ENDED: return seed_ended(face, row, buf);
    default: return 0;
    }
}

static const char *skipped_words(const struct row *row)
{
    static const struct { struct bytes reason; const char *words; } reasons[] = {
        {{"\"enough\"", 8}, "skipped: there were hits enough"}, {{"\"deadline\"", 10}, "skipped: the time of the job was over"},
        {{"\"job_failed\"", 12}, "skipped: the job has failed"}, {{"\"budget\"", 8}, "skipped: the job has cost as much as it may"},
    };
    struct bytes reason = json_span(row_body(row), "reason");
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (bytes_equal(reason, reasons[i].reason))
            return reasons[i].words;
    return "cancelled";
}

void frame_skipped(const struct row *row, int64_t item, struct bytes name, bool last, struct buf *buf)
{
    begin(buf, "error");
    json_put_int(buf, "index", item);
    json_key(buf, "filename");
    if (name.at)
        json_bytes(buf, name);
    else
        json_null(buf);
    json_put_text(buf, "error", skipped_words(row));
    json_put_text(buf, "error_type", "processing");
    end(buf, last ? row : NULL);
}

/* ---- the job face ---- */

static void job_begin(const struct frame_header *header, const struct row *row, const char *event, struct buf *buf)
{
    begin(buf, event);
    json_put_bytes(buf, "job", header->id);
    put_time(buf, "at", row->at_us);
    if (!event_is_item(row->kind))
        return;
    json_put_int(buf, "item", row->item);
    splice(buf, "name", row, "name", true);
    json_put_int(buf, "attempt", row->attempt);
    splice(buf, "counts", row, "counts", true);
}

static void job_progress_frame(const struct frame_header *header, const struct row *row, const char *state, struct buf *buf)
{
    job_begin(header, row, "progress", buf);
    json_put_text(buf, "state", state);
}

void frame_result(const struct frame_header *header, const struct row *row, const char *bytes_key, const char *type_key, struct buf *buf)
{
    struct sha sha;
    if (!frame_blob(FACE_SEED, row, &sha)) {
        splice(buf, "result", row, "result", true);
        return;
    }
    struct bytes blob = json_span(row_body(row), "result"), type = json_span(blob, "type");
    json_key(buf, "result_url");
    buf_print(buf, "\"/v1/jobs/%.*s/items/%lld/result\"", BYTES_ARG(header->id), (long long)row->item);
    json_put_raw(buf, bytes_key, json_span(blob, "bytes"));
    json_put_raw(buf, type_key, type.count ? type : BYTES("\"application/json\""));
}

static void job_done(const struct frame_header *header, const struct row *row, struct buf *buf)
{
    job_begin(header, row, "result", buf);
    frame_result(header, row, "bytes", "type", buf);
    splice(buf, "score", row, "score", false);
}

static void job_ended(const struct frame_header *header, const struct row *row, struct buf *buf)
{
    bool cancelled = bytes_equal(json_span(row_body(row), "status"), BYTES("\"cancelled\""));
    job_begin(header, row, cancelled ? "cancelled" : "complete", buf);
    splice(buf, "status", row, "status", true);
    splice(buf, "counts", row, "counts", true);
    splice(buf, "summary", row, "summary", true);
    splice(buf, "seconds", row, "seconds", true);
    splice(buf, "error", row, "error", false);
}

static void job_trouble(const struct frame_header *header, const struct row *row, struct buf *buf)
{
    if (row->kind == EVENT_ITEM_RETRY) {
        job_progress_frame(header, row, "retrying", buf);
        splice(buf, "leg", row, "leg", true);
    } else {
        job_begin(header, row, "failed", buf);
    }
    splice(buf, "error", row, "error", true);
    splice(buf, "error_type", row, "error_type", true);
    if (row->kind == EVENT_ITEM_RETRY)
        put_time(buf, "due_at", int_of(row, "due_at"));
    else
        splice(buf, "stage", row, "stage", true);
}

static void job_step(const struct frame_header *header, const struct row *row, struct buf *buf)
{
    static const char *const states[] = {[EVENT_ITEM_STARTED] = "processing", [EVENT_ITEM_STEPPED] = "stepped",
                                         [EVENT_ITEM_WAITING] = "waiting"};
    job_progress_frame(header, row, states[row->kind], buf);
    splice(buf, "leg", row, "leg", true);
    splice(buf, "why", row, "why", false);
}

/* A record is told with its value, so that a client has each as soon as it is ready. One too long for an event is {"blob":…,"bytes":…} here, and comes
 * whole with its item's result. */
static void job_record(const struct frame_header *header, const struct row *row, struct buf *buf)
{
    job_progress_frame(header, row, "record", buf);
    splice(buf, "record", row, "record", true);
    splice(buf, "value", row, "value", false);
    splice(buf, "score", row, "score", false);
    splice(buf, "error", row, "error", false);
    splice(buf, "error_type", row, "error_type", false);
    splice(buf, "stage", row, "stage", false);
    splice(buf, "dropped", row, "dropped", false);
}

static int render_job(const struct frame_header *header, const struct row *row, struct buf *buf)
{
    switch (row->kind) {
    case EVENT_JOB_SEALED:
        job_progress_frame(header, row, "queued", buf);
        splice(buf, "total", row, "total", true);
        break;
    case EVENT_ITEM_STARTED:
    case EVENT_ITEM_STEPPED:
    case EVENT_ITEM_WAITING: job_step(header, row, buf); break;
    case EVENT_ITEM_RETRY:
    case EVENT_ITEM_FAILED: job_trouble(header, row, buf); break;
    case EVENT_ITEM_DONE: job_done(header, row, buf); break;
    case EVENT_ITEMS_SKIPPED:
        job_progress_frame(header, row, "skipped", buf);
        splice(buf, "ranges", row, "ranges", true);
        splice(buf, "reason", row, "reason", true);
        break;
    case EVENT_JOB_CANCELLING: job_progress_frame(header, row, "cancelling", buf); break;
    case EVENT_JOB_ENDED: job_ended(header, row, buf); break;
    case EVENT_RECORD_DONE:
    case EVENT_RECORD_FAILED: job_record(header, row, buf); break;
    default: return 0;
    }
    end(buf, row);
    return 1;
}

/* ---- the doors ---- */

bool frame_blob(enum face face, const struct row *row, struct sha *ret)
{
    if (face == FACE_JOB || row->kind != EVENT_ITEM_DONE)
        return false;
    struct bytes result = json_span(row_body(row), "result");
    if (!bytes_start(result, BYTES("{\"blob\":\"")))
        return false;
    struct bytes hex = json_span(result, "blob");
    return hex.count == SHA_HEX_SIZE + 1 && json_span(result, "bytes").count &&
           sha_from_hex((struct bytes){hex.at + 1, hex.count - 2}, ret);
}

int frame_render(const struct frame_header *header, enum face face, const struct row *row, struct bytes result, struct buf *buf)
{
    return face == FACE_JOB ? render_job(header, row, buf) : render_seed(header, face, row, result, buf);
}

static const char *hint_message(struct bytes status)
{
    if (bytes_equal(status, BYTES("ocr")))
        return "Reading the image";
    if (bytes_equal(status, BYTES("matching")))
        return "Matching cards";
    return "Working";
}

int frame_hint(const struct frame_header *header, enum face face, int64_t item, int percent, struct bytes status, int64_t wall_us,
               struct buf *buf)
{
    if (face == FACE_SEED)
        return 0;
    begin(buf, "progress");
    if (face == FACE_STAGED) {
        json_put_bytes(buf, "status", status);
        json_put_text(buf, "message", hint_message(status));
        json_put_int(buf, "progress", percent);
    } else {
        json_put_bytes(buf, "job", header->id);
        put_time(buf, "at", wall_us);
        json_put_int(buf, "item", item);
        json_put_text(buf, "state", "hint");
        json_put_int(buf, "percent", percent);
        json_put_bytes(buf, "status", status);
    }
    end(buf, NULL);
    return 1;
}

void frame_gap(const struct frame_header *header, enum face face, struct buf *buf)
{
    begin(buf, "gap");
    if (face == FACE_JOB) {
        json_put_bytes(buf, "job", header->id);
    }
    json_put_text(buf, "reason", "restored");
    end(buf, NULL);
}

void frame_heartbeat(enum face face, struct buf *buf)
{
    buf_text(buf, face == FACE_JOB ? ": still here\n\n" : "event: heartbeat\ndata: {}\n\n");
}

void frame_retry(enum face face, struct buf *buf)
{
    if (face == FACE_JOB)
        buf_text(buf, "retry: 1000\n\n");
}

/* ---- other shapes ---- */

static bool starts(struct bytes line, struct bytes field, struct bytes *ret)
{
    if (!bytes_start(line, field))
        return false;
    *ret = (struct bytes){line.at + field.count, line.count - field.count};
    return true;
}

bool frame_next(struct bytes *rest, struct frame_parts *ret)
{
    struct frame_parts frame = {0};
    while (rest->count) {
        struct bytes line = bytes_cut(rest, '\n');
        if (line.count) {
            if (!starts(line, BYTES("event: "), &frame.event) && !starts(line, BYTES("data: "), &frame.data))
                starts(line, BYTES("id: "), &frame.id);
        } else if (frame.event.count) {
            *ret = frame;
            return true;
        } else {
            frame = (struct frame_parts){0};
        }
    }
    return false;
}

void frame_as_json(const struct frame_parts *frame, struct buf *buf)
{
    json_open(buf, '{');
    if (frame->id.count)
        json_put_bytes(buf, "id", frame->id);
    json_put_bytes(buf, "event", frame->event);
    json_put_raw(buf, "data", frame->data);
    json_close(buf, '}');
}

void frame_of_job(const struct frame_parts *frame, struct bytes job, struct buf *buf)
{
    buf_print(buf, "event: %.*s\ndata: ", BYTES_ARG(frame->event));
    buf_put(buf, frame->data);
    if (frame->id.count)
        buf_print(buf, "\nid: %.*s@%.*s", BYTES_ARG(job), BYTES_ARG(frame->id));
    buf_text(buf, "\n\n");
}
