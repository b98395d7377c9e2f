#include "server/intake/upload.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "http/multipart.h"

#include <errno.h>
#include <stdlib.h>

enum {
    BATCH_BYTES = 128 * 1024,                              /* gathered before the pool is asked, and before the client has to wait */
    BATCH_BYTES_MAX = BATCH_BYTES + 2 * LIMIT_HTTP_READ_BYTES,
};

/* ---- what the pool is to do, in order ---- */

enum what { OPEN, ADD, COMMIT, ABORT };

struct step {
    enum what what;
    struct upload_file *file;
    size_t count;             /* ADD: bytes of the batch, behind those of the step before */
};

struct upload_batch {
    struct buf data;
    struct step *steps;
    size_t steps_count, steps_room;
};

static struct upload_batch *batch_new(void)
{
    struct upload_batch *batch = MEM_NEW(struct upload_batch);
    buf_init(&batch->data, BATCH_BYTES_MAX);
    return batch;
}

static void batch_free(struct upload_batch *batch)
{
    if (!batch)
        return;
    buf_done(&batch->data);
    free(batch->steps);
    free(batch);
}

static void batch_step(struct upload_batch *batch, enum what what, struct upload_file *file, size_t count)
{
    struct step *last = batch->steps_count ? &batch->steps[batch->steps_count - 1] : NULL;
    if (what == ADD && last && last->what == ADD) {
        last->count += count;
        return;
    }
    if (batch->steps_count == batch->steps_room) {
        batch->steps_room = batch->steps_room ? batch->steps_room * 2 : 8;
        batch->steps = mem_grow(batch->steps, batch->steps_room * sizeof *batch->steps);
    }
    batch->steps[batch->steps_count++] = (struct step){what, file, count};
}

static int take_step(struct upload *upload, const struct step *step, struct bytes *data)
{
    struct bytes piece = {data->at, step->what == ADD ? step->count : 0};
    int answer;
    switch (step->what) {
    case OPEN: return blob_writer_open(upload->blobs, &upload->writer);
    case ADD:
        data->at += piece.count;
        data->count -= piece.count;
        return blob_writer_add(upload->writer, piece);
    case COMMIT:
        answer = blob_writer_commit(upload->writer, &step->file->sha);
        upload->writer = NULL;
        step->file->stored = !answer;
        return answer;
    case ABORT:
        blob_writer_abort(upload->writer);
        upload->writer = NULL;
    }
    return 0;
}

/* In the pool: the steps of the flying batch. Touches nothing of the upload but its writer, and the files that the steps name. */
static int fly(void *data)
{
    struct upload *upload = data;
    struct upload_batch *batch = upload->flying;
    struct bytes rest = buf_bytes(&batch->data);
    for (size_t i = 0; i < batch->steps_count; i++) {
        int answer = take_step(upload, &batch->steps[i], &rest);
        if (answer < 0)
            return answer;
    }
    return 0;
}

/* ---- the end ---- */

/* What is needed while the body comes only: who has the upload then may have to wait, with many others. */
static void drop_tools(struct upload *upload)
{
    multipart_free(upload->multipart);
    batch_free(upload->filling);
    batch_free(upload->flying);
    upload->multipart = NULL;
    upload->filling = upload->flying = NULL;
}

void upload_free(struct upload *upload)
{
    if (!upload)
        return;
    for (int i = 0; i < upload->count; i++) {
        struct upload_file *file = upload->files[i];
        if (file->stored && upload->used)
            blob_unpin(upload->blobs, &file->sha);
        else if (file->stored)
            blob_abandon(upload->blobs, &file->sha);
        free(file->name);
        free(file->type);
        free(file->error);
        free(file);
    }
    free(upload->files);
    buf_done(&upload->params);
    blob_writer_abort(upload->writer);
    drop_tools(upload);
    free(upload);
}

/* The request has been answered, or its client has gone. The pool may still hold the upload. */
static void closed(struct http_request *request, enum http_why why)
{
    struct upload *upload = request->user;
    list_leave(&upload->party.link);
    turn_leave(&upload->turn);
    upload->request = NULL;
    upload->closed = true;
    if (upload->dropped)
        upload->dropped(upload->data);
    if (!upload->in_pool)
        upload_free(upload);
}

#define REFUSE(upload, status, ...) ((upload)->refused = true, http_refuse((upload)->request, status, __VA_ARGS__))

static void refuse_disk(struct upload *upload)
{
    if (upload->error == -ENOSPC || upload->error == -EDQUOT || upload->error == -EFBIG)
        REFUSE(upload, 507, "The server's disk is full; nothing of this upload was kept.");
    else
        REFUSE(upload, 500, "The upload could not be written: %s.", strerror(-upload->error));
}

static int files_max(const struct upload *upload)
{
    return upload->rules->one ? 1 : upload->rules->many ? LIMIT_MULTIPART_PARTS : upload->service->settings.max_batch;
}

static void finish(struct upload *upload)
{
    int max = files_max(upload);
    struct http_request *request = upload->request;
    if (!upload->received && !upload->rules->none)
        REFUSE(upload, 422, "Field required: the form has no file in its field \"%s\"", upload->rules->field);
    else if (upload->received > max && upload->rules->one)
        REFUSE(upload, 400, "Exactly one file is expected in \"%s\" (received %d)", upload->rules->field, upload->received);
    else if (upload->received > max)
        REFUSE(upload, 400, "Maximum %d images per batch (received %d)", max, upload->received);
    if (upload->refused)
        return;
    drop_tools(upload);
    list_leave(&upload->party.link);
    turn_leave(&upload->turn);
    request->user = NULL;
    request->on_close = NULL;
    upload->request = NULL;
    upload->done(upload, request);
}

struct item_spec upload_item(const struct upload_file *file)
{
    return (struct item_spec){
        .name = bytes_of(file->name), .type = bytes_of(file->type), .bytes = file->bytes, .has_blob = file->stored, .blob = file->sha,
        .reject_error = bytes_of(file->error), .reject_type = file->error ? BYTES("validation") : (struct bytes){0},
    };
}

int64_t upload_bytes(const struct upload *upload)
{
    int64_t bytes = 0;
    for (int i = 0; i < upload->count; i++)
        bytes += upload->files[i]->bytes;
    return bytes;
}

/* ---- turns of the two batches ---- */

static void flown(void *data, int result);

static void go_on(struct upload *upload)
{
    struct upload_batch *filling = upload->filling;
    if (upload->refused || upload->in_pool)
        return;
    bool full = filling->data.count >= BATCH_BYTES;
    if (filling->steps_count && (full || upload->over)) {
        upload->filling = upload->flying;
        upload->flying = filling;
        upload->in_pool = true;
        loop_pool(upload->service->loop, fly, flown, upload);
        if (upload->paused)
            http_resume(upload->request);
        upload->paused = false;
    } else if (upload->over) {
        finish(upload);
    }
}

static void flown(void *data, int result)
{
    struct upload *upload = data;
    upload->in_pool = false;
    upload->flying->steps_count = 0;
    buf_clear(&upload->flying->data);
    if (result < 0 && !upload->error)
        upload->error = result;
    if (upload->closed)
        upload_free(upload);
    else if (upload->error && !upload->refused)
        refuse_disk(upload);
    else
        go_on(upload);
}

/* ---- what an image is ---- */

static bool starts(const struct upload_file *file, size_t at, struct bytes magic)
{
    return file->start_count >= at + magic.count && !memcmp(file->start + at, magic.at, magic.count);
}

static bool looks_like_image(const struct upload_file *file)
{
    return starts(file, 0, BYTES("\xff\xd8\xff")) || starts(file, 0, BYTES("\x89PNG\r\n\x1a\n")) ||
           (starts(file, 0, BYTES("RIFF")) && starts(file, 8, BYTES("WEBP")));
}

static bool ends(struct bytes name, const char *ending)
{
    struct bytes end = bytes_of(ending);
    return name.count >= end.count && bytes_equal_nocase((struct bytes){name.at + name.count - end.count, end.count}, end);
}

static bool is_type(struct bytes type, const char *want)
{
    return bytes_equal_nocase(type, bytes_of(want));
}

/* May a file of this type be taken? *ret_sniff: its first bytes will tell. */
static bool acceptable(const struct upload *upload, struct bytes type, struct bytes name, bool *ret_sniff)
{
    *ret_sniff = false;
    if (upload->rules->any)
        return true;
    type = bytes_trim(bytes_cut(&type, ';'));
    *ret_sniff = !type.count || is_type(type, "application/octet-stream");
    if (*ret_sniff)
        return true;
    if (upload->service->settings.accept_text && (is_type(type, "text/plain") || is_type(type, "application/json")))
        return ends(name, ".txt") || ends(name, ".json");
    return type.count > 6 && bytes_equal_nocase((struct bytes){type.at, 6}, BYTES("image/"));
}

/* ---- parts ---- */

static char *name_of(const struct upload *upload, const struct multipart_part *part, int index)
{
    struct buf name BUF_OWNED;
    buf_init(&name, 2 * LIMIT_NAME_BYTES);
    if (!part->filename.count)
        buf_print(&name, upload->rules->any ? "file_%d" : "image_%d.jpg", index);
    else if (!part->filename_cut)
        buf_put(&name, part->filename);
    else {
        static const struct bytes mark = {"\xe2\x80\xa6", 3};    /* … */
        buf_put(&name, (struct bytes){part->filename.at, text_cut(part->filename, LIMIT_NAME_BYTES - mark.count)});
        buf_put(&name, mark);
    }
    return mem_copy(name.at, name.count);
}

static void set_error(struct upload_file *file, const char *error)
{
    if (!file->error)
        file->error = mem_text(error);
}

static const char NO_IMAGE[] = "File must be an image (JPG/PNG)";

static void add_file(struct upload *upload, const struct multipart_part *part)
{
    struct upload_file *file = MEM_NEW(struct upload_file);
    file->name = name_of(upload, part, upload->count);
    file->type = mem_copy(part->type.at, part->type.count < 128 ? part->type.count : 0);
    upload->files = mem_grow(upload->files, (size_t)(upload->count + 1) * sizeof *upload->files);
    upload->files[upload->count++] = file;
    upload->current = file;
    upload->writing = acceptable(upload, part->type, bytes_of(file->name), &file->sniff);
    if (upload->writing)
        batch_step(upload->filling, OPEN, file, 0);
    else
        set_error(file, NO_IMAGE);
}

static bool is_files(const struct upload_rules *rules, struct bytes name)
{
    return bytes_equal(name, bytes_of(rules->field)) || (rules->other && bytes_equal(name, bytes_of(rules->other)));
}

static int part_begins(void *user, const struct multipart_part *part)
{
    struct upload *upload = user;
    upload->current = NULL;
    upload->writing = false;
    upload->in_params = upload->rules->params && bytes_equal(part->name, BYTES("params"));
    if (upload->in_params)
        buf_clear(&upload->params);
    if (!is_files(upload->rules, part->name))
        return 0;
    upload->received++;
    if (upload->received > files_max(upload))
        return 0;    /* the form will be refused; only its files are still counted */
    add_file(upload, part);
    if (upload->rules->one && upload->current->error) {
        REFUSE(upload, 400, "%s", upload->current->error);
        return 1;
    }
    return 0;
}

static void stop_writing(struct upload *upload)
{
    if (upload->writing)
        batch_step(upload->filling, ABORT, upload->current, 0);
    upload->writing = false;
}

static int part_data(void *user, struct bytes data)
{
    struct upload *upload = user;
    struct upload_file *file = upload->current;
    if (upload->in_params && !buf_put(&upload->params, data)) {
        REFUSE(upload, 413, "The field \"params\" has more than %d bytes.", LIMIT_PARAMS_BYTES);
        return 1;
    }
    if (!file)
        return 0;
    size_t start = sizeof file->start - file->start_count;
    if (start > data.count)
        start = data.count;
    memcpy(file->start + file->start_count, data.at, start);
    file->start_count += start;
    file->bytes += (int64_t)data.count;
    if (file->bytes > upload->service->settings.max_file_bytes) {
        file->too_large = true;
        stop_writing(upload);
    }
    if (upload->writing) {
        buf_put(&upload->filling->data, data);
        batch_step(upload->filling, ADD, file, data.count);
    }
    return buf_ok(&upload->filling->data) ? 0 : 1;
}

static void judge(struct upload *upload, struct upload_file *file)
{
    const double mib = 1024 * 1024;
    if (file->too_large) {
        struct problem text = {0};
        problem_set(&text, "File size (%.1fMB) exceeds maximum (%gMB)", (double)file->bytes / mib,
                    (double)upload->service->settings.max_file_bytes / mib);
        set_error(file, text.text);
    }
    if (!file->bytes && !upload->rules->any)
        set_error(file, "The file is empty");
    if (file->sniff && !looks_like_image(file))
        set_error(file, NO_IMAGE);
}

static int part_ends(void *user)
{
    struct upload *upload = user;
    struct upload_file *file = upload->current;
    if (!file)
        return 0;
    judge(upload, file);
    if (file->error)
        stop_writing(upload);
    else
        batch_step(upload->filling, COMMIT, file, 0);
    upload->current = NULL;
    upload->writing = false;
    if (upload->rules->one && file->error) {
        REFUSE(upload, 400, "%s", file->error);
        return 1;
    }
    return 0;
}

static const struct multipart_calls calls = {part_begins, part_data, part_ends};

/* ---- the body ---- */

static void data_came(struct http_request *request, struct bytes chunk)
{
    struct upload *upload = request->user;
    struct problem problem = {0};
    if (upload->refused)
        return;
    int answer = multipart_feed(upload->multipart, chunk, &problem);
    if (upload->refused)
        return;
    if (answer) {
        REFUSE(upload, 400, "%s", problem_is(&problem) ? problem.text : "The form cannot be read.");
        return;
    }
    go_on(upload);
    if (upload->filling->data.count >= BATCH_BYTES && !upload->paused) {
        upload->paused = true;
        http_pause(request);
    }
}

static void data_ended(struct http_request *request)
{
    struct upload *upload = request->user;
    struct problem problem = {0};
    if (upload->refused)
        return;
    if (multipart_end(upload->multipart, &problem)) {
        REFUSE(upload, 400, "%s", problem.text);
        return;
    }
    upload->over = true;
    go_on(upload);
}

static const struct http_body body = {data_came, data_ended};

static void go(struct turn *turn)
{
    struct upload *upload = LIST_OF(turn, struct upload, turn);
    http_read_body(upload->request, upload->service->settings.max_body_bytes, &body);
}

static void late(struct turn *turn)
{
    struct upload *upload = LIST_OF(turn, struct upload, turn);
    if (upload->refused)
        return;
    upload->refused = true;
    turn_refuse(turn);
}

static void drain(struct party *party)
{
    struct upload *upload = LIST_OF(party, struct upload, party);
    if (!upload->refused)
        REFUSE(upload, 503, "The server is going down; nothing of this upload was kept.");
}

/* ---- the beginning ---- */

bool upload_refused(struct service *service, struct http_request *request)
{
    if (service->draining) {
        http_refuse(request, 503, "The server is going down.");
    } else if (!blob_space_ok(service->blobs) || store_disk_full(service->store)) {
        http_refuse(request, 507, "The server's disk is full.");
    } else {
        return false;
    }
    return true;
}

static bool has_no_boundary(struct http_request *request, const char *field, char *boundary)
{
    struct problem problem = {0};
    int answer = multipart_boundary(http_head_get(request->head, "Content-Type"), boundary, &problem);
    if (answer > 0)
        http_refuse(request, 422, "Field required: send multipart/form-data with a file in its field \"%s\"", field);
    else if (answer < 0)
        http_refuse(request, 400, "%s", problem.text);
    return answer != 0;
}

void upload_begin(struct service *service, struct http_request *request, const struct upload_rules *rules, void *data,
                  void (*done)(struct upload *upload, struct http_request *request), void (*dropped)(void *data))
{
    char boundary[MULTIPART_BOUNDARY_SIZE];
    if (upload_refused(service, request) || has_no_boundary(request, rules->field, boundary)) {
        if (dropped)
            dropped(data);
        return;
    }
    struct upload *upload = MEM_NEW(struct upload);
    upload->service = service;
    upload->blobs = service->blobs;
    upload->request = request;
    upload->rules = rules;
    upload->data = data;
    upload->done = done;
    upload->dropped = dropped;
    buf_init(&upload->params, LIMIT_PARAMS_BYTES);
    upload->filling = batch_new();
    upload->flying = batch_new();
    upload->multipart = multipart_new(boundary, 0, &calls, upload);
    request->user = upload;
    request->on_close = closed;
    party_join(service, &upload->party, drain);
    turn_take(&upload->turn, service, request, go, late);
}
