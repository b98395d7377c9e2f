#include "server/intake/collect.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

struct part {                   /* one item's JSON in `text` */
    int64_t item;
    size_t at, count;
};

struct collect {
    struct party party;
    struct service *service;
    struct http_request *request;
    struct cursor cursor;
    struct frame_header header;
    enum collect_what what;
    bool cancel_on_leave, answered;
    struct buf text;            /* what was gathered, piece behind piece */
    struct part *results, *errors;
    size_t results_count, errors_count;
    int status;                 /* ONE: of its error; 0 = it has a result */
};

static void gather(struct collect *collect, struct part **parts, size_t *count, int64_t item, size_t at)
{
    if ((*count & (*count - 1)) == 0)    /* at powers of two: double the room */
        *parts = mem_grow(*parts, (*count ? *count * 2 : 1) * sizeof **parts);
    (*parts)[(*count)++] = (struct part){item, at, collect->text.count - at};
}

static void item_begin(struct buf *buf, const struct row *row)
{
    json_open(buf, '{');
    json_put_int(buf, "index", row->item);
    json_put_raw(buf, "filename", json_span(row_body(row), "name"));
}

static void item_done(struct collect *collect, const struct row *row, struct bytes result)
{
    struct buf *buf = &collect->text;
    size_t at = buf->count;
    struct sha sha;
    if (!result.count && !frame_blob(FACE_SEED, row, &sha))
        result = json_span(row_body(row), "result");
    if (!result.count)
        result = BYTES("null");
    buf_byte(buf, '\n');        /* so that no comma is put before the first brace */
    at++;
    if (collect->what == COLLECT_ONE) {
        buf_put(buf, result);
    } else {
        item_begin(buf, row);
        json_key_bytes(buf, collect->header.result_key);
        json_raw(buf, result);
        json_close(buf, '}');
    }
    gather(collect, &collect->results, &collect->results_count, row->item, at);
}

/* What was wrong with the input is the client's to mend; the rest is ours. */
static int status_of(const struct row *row)
{
    struct bytes type = json_span(row_body(row), "error_type");
    if (bytes_equal(type, BYTES("\"validation\"")))
        return 400;
    return bytes_equal(type, BYTES("\"processing\"")) ? 422 : 500;
}

static void item_failed(struct collect *collect, const struct row *row)
{
    struct buf *buf = &collect->text;
    struct bytes error = json_span(row_body(row), "error");
    buf_byte(buf, '\n');
    size_t at = buf->count;
    collect->status = status_of(row);
    if (collect->what == COLLECT_ONE) {
        buf_put(buf, error);
    } else {
        item_begin(buf, row);
        json_put_raw(buf, "error", error);
        json_put_text(buf, "error_type", frame_error_type(row));
        json_close(buf, '}');
    }
    gather(collect, &collect->errors, &collect->errors_count, row->item, at);
}

/* ---- the answer ---- */

static int by_item(const void *a, const void *b)
{
    int64_t left = ((const struct part *)a)->item, right = ((const struct part *)b)->item;
    return (left > right) - (left < right);
}

static void put_parts(struct buf *buf, const char *key, const struct buf *text, struct part *parts, size_t count)
{
    if (count)
        qsort(parts, count, sizeof *parts, by_item);
    json_key(buf, key);
    json_open(buf, '[');
    for (size_t i = 0; i < count; i++)
        json_raw(buf, (struct bytes){text->at + parts[i].at, parts[i].count});
    json_close(buf, ']');
}

static void answer_batch(struct collect *collect, const struct row *ended)
{
    const struct counts *counts = &live_job(collect->cursor.live)->counts;
    struct buf buf BUF_OWNED;
    buf_init(&buf, LIMIT_HTTP_ANSWER_BYTES);
    json_open(&buf, '{');
    json_put_int(&buf, "total", collect->header.total);
    json_put_int(&buf, "successful", counts->completed);
    json_put_int(&buf, "failed", counts->failed + counts->skipped);
    json_key(&buf, "average_accuracy");
    frame_accuracy(ended, &buf);
    json_put_raw(&buf, "processing_time_seconds", json_span(row_body(ended), "seconds"));
    put_parts(&buf, "results", &collect->text, collect->results, collect->results_count);
    put_parts(&buf, "errors", &collect->text, collect->errors, collect->errors_count);
    json_close(&buf, '}');
    if (!buf_ok(&collect->text))
        buf.failed = true;
    http_answer_buf(collect->request, 200, "application/json", &buf);
}

static void answer_one(struct collect *collect)
{
    struct bytes text = collect->text.count ? (struct bytes){collect->text.at + 1, collect->text.count - 1} : (struct bytes){0};
    if (collect->results_count && buf_ok(&collect->text)) {
        http_answer(collect->request, 200, "application/json", text);
        return;
    }
    struct buf wrapped BUF_OWNED;
    buf_init(&wrapped, text.count + 16);
    buf_print(&wrapped, "{\"e\":%.*s}", BYTES_ARG(text));
    JSON_OWNED struct json_object *object = collect->errors_count ? json_parse(buf_bytes(&wrapped), NULL) : NULL;
    struct bytes error = json_get_bytes(object, "e");
    if (error.count)
        http_refuse(collect->request, collect->status, "%.*s", BYTES_ARG(error));
    else
        http_refuse(collect->request, 500, "The job was cancelled before the file was processed.");
}

static void lost(struct collect *collect)
{
    http_refuse(collect->request, 500, "The log of job %s can no longer be read.", live_job(collect->cursor.live)->id);
}

/* ---- life ---- */

static void go_on(struct collect *collect)
{
    while (!collect->answered) {
        struct row *row;
        struct bytes result;
        int answer = cursor_next(&collect->cursor, &row, &result);
        if (answer == CURSOR_WAIT)
            return;
        if (answer != CURSOR_ROW) {
            collect->answered = true;
            lost(collect);
        } else if (row->kind == EVENT_ITEM_DONE) {
            item_done(collect, row, result);
        } else if (row->kind == EVENT_ITEM_FAILED) {
            item_failed(collect, row);
        } else if (row->kind == EVENT_JOB_ENDED) {
            collect->answered = true;
            if (collect->what == COLLECT_BATCH)
                answer_batch(collect, row);
            else
                answer_one(collect);
        }
    }
}

static void news(struct cursor *cursor)
{
    go_on(LIST_OF(cursor, struct collect, cursor));
}

static void closed(struct http_request *request, enum http_why why)
{
    struct collect *collect = request->user;
    list_leave(&collect->party.link);
    service_left(collect->service, collect->cursor.live, why, collect->cancel_on_leave);
    cursor_close(&collect->cursor);
    buf_done(&collect->text);
    free(collect->results);
    free(collect->errors);
    free(collect);
}

static void drain(struct party *party)
{
    struct collect *collect = LIST_OF(party, struct collect, party);
    if (collect->answered)
        return;
    collect->answered = true;
    http_refuse(collect->request, 503, "The server is going down; the job goes on when it is up again: /v1/jobs/%s",
                live_job(collect->cursor.live)->id);
}

void collect_begin(struct service *service, struct http_request *request, struct live *live, enum collect_what what, bool cancel_on_leave)
{
    struct collect *collect = MEM_NEW(struct collect);
    collect->service = service;
    collect->request = request;
    collect->what = what;
    collect->cancel_on_leave = cancel_on_leave;
    collect->header = frame_header_of(live_job(live));
    buf_init(&collect->text, LIMIT_HTTP_ANSWER_BYTES);
    cursor_open(&collect->cursor, &service->world, live, FACE_SEED, news);
    request->user = collect;
    request->on_close = closed;
    party_join(service, &collect->party, drain);
    go_on(collect);
    if (service->draining)
        drain(&collect->party);
}
