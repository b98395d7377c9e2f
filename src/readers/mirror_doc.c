/* Rows to documents. What was only begun is kept as a few words until the commit is closed, so that an item which ends meanwhile is written once. */
#include "readers/mirror_own.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdlib.h>

enum {
    ENVELOPE_BYTES = 8 * 1024,           /* fields of a batch document beside its result, its name, and what Firestore adds */
    DOC_TEXT_BYTES = 7 * 1024 * 1024,    /* a document as REST writes it */
    PATH_BYTES = 4096,
    GATHER_WRITES = 400, GATHER_BYTES = 6 * 1024 * 1024,
    SKIPPED_MAX = 10000,                 /* documents of skipped items, of one row; the counters tell of all */
    INDICES_MAX = 5000,                  /* completed_batch_indices below this: 8 bytes each in the job's document */
};

struct mirror_begun {
    int64_t item;
    uint32_t attempt;
    int64_t started_us;                  /* 0 = it was before what was gathered */
    uint64_t seq;
    char *name, *remote, *error;         /* owned; NULL = not said */
};

static void free_begun(struct mirror_begun *begun)
{
    if (!begun)
        return;
    free(begun->name);
    free(begun->remote);
    free(begun->error);
    free(begun);
}

void mirror_gather_clear(struct mirror_gather *gather)
{
    size_t at = 0;
    for (struct mirror_begun *begun; (begun = map_next(&gather->begun, &at));)
        free_begun(begun);
    map_done(&gather->begun);
    gather->begun = (struct map){0};
    buf_done(&gather->writes);
    buf_init(&gather->writes, FIRESTORE_COMMIT_BYTES + DOC_TEXT_BYTES);
    for (size_t i = 0; i < gather->early_count; i++)
        buf_done(&gather->early[i]);
    free(gather->early);
    free(gather->early_writes);
    gather->early = NULL;
    gather->early_writes = NULL;
    free(gather->completed);
    gather->completed = NULL;
    json_drop(&gather->summary);
    gather->writes_count = gather->early_count = gather->completed_count = gather->completed_room = 0;
    gather->seq = 0;
    gather->created = gather->cancelling = false;
    gather->problem = (struct problem){0};
}

bool mirror_gather_full(const struct mirror_gather *gather)
{
    return gather->writes_count + gather->begun.count >= GATHER_WRITES || gather->writes.count >= GATHER_BYTES || gather->early_count;
}

/* ---- writes ---- */

static void name_of(struct mirror_gather *gather, int64_t item, int chunk, struct buf *ret)
{
    struct buf path BUF_OWNED;
    struct mirror_names names = gather->names;
    buf_init(&path, PATH_BYTES);
    buf_text(&path, gather->path);
    if (item >= 0) {
        names.item = item;
        buf_byte(&path, '/');
        mirror_path(bytes_of(gather->plan->batch), &names, &path, &gather->problem);
    }
    if (chunk >= 0)
        buf_print(&path, "/chunks/%d", chunk);
    firestore_name(gather->firestore, buf_bytes(&path), ret);
}

static void put_early(struct mirror_gather *gather, const struct firestore_doc *doc, struct bytes name)
{
    size_t last = gather->early_count - 1;
    bool room = gather->early_count && gather->early_writes[last] < FIRESTORE_COMMIT_WRITES &&
                gather->early[last].count + doc->fields.count + PATH_BYTES < FIRESTORE_COMMIT_BYTES;
    if (!room) {
        last = gather->early_count++;
        gather->early = mem_grow(gather->early, gather->early_count * sizeof *gather->early);
        gather->early_writes = mem_grow(gather->early_writes, gather->early_count * sizeof *gather->early_writes);
        buf_init(&gather->early[last], FIRESTORE_COMMIT_BYTES + 64 * 1024);
        gather->early_writes[last] = 0;
    }
    firestore_put_write(&gather->early[last], doc, name, FIRESTORE_ALWAYS, (struct bytes){NULL, 0});
    gather->early_writes[last]++;
}

static void put_write(struct mirror_gather *gather, const struct firestore_doc *doc, int64_t item, int chunk, bool early)
{
    struct buf name BUF_OWNED;
    buf_init(&name, 2 * PATH_BYTES);
    name_of(gather, item, chunk, &name);
    early |= gather->writes.count + doc->fields.count + PATH_BYTES > FIRESTORE_COMMIT_BYTES - 256 * 1024;
    if (early) {
        put_early(gather, doc, buf_bytes(&name));
    } else {
        firestore_put_write(&gather->writes, doc, buf_bytes(&name), FIRESTORE_ALWAYS, (struct bytes){NULL, 0});
        gather->writes_count++;
    }
}

/* ---- results ---- */

/* Where the elements of an array are cut so that each part fits; 0 = one of them does not by itself. */
static size_t next_cut(struct json_object *array, size_t from, int64_t room)
{
    size_t count = json_object_array_length(array), to = from;
    int64_t size = 0;
    while (to < count && (size += firestore_size(json_object_array_get_idx(array, to))) <= room)
        to++;
    return to == from ? 0 : to;
}

static bool can_cut(struct json_object *result, int64_t room)
{
    if (json_object_get_type(result) != json_type_array)
        return false;
    for (size_t at = 0, count = json_object_array_length(result); at < count;)
        if (!(at = next_cut(result, at, room)))
            return false;
    return true;
}

static void begin_chunk(struct firestore_doc *doc, int64_t item, int chunk)
{
    firestore_doc_init(doc, DOC_TEXT_BYTES);
    firestore_put_int(doc, "batch_index", item);
    firestore_put_int(doc, "index", chunk);
}

static int put_values(struct mirror_gather *gather, int64_t item, struct json_object *array, int64_t room)
{
    int chunks = 0;
    for (size_t from = 0, to, count = json_object_array_length(array); from < count; from = to, chunks++) {
        struct firestore_doc doc;
        to = next_cut(array, from, room);
        begin_chunk(&doc, item, chunks);
        firestore_put_int(&doc, "from", (int64_t)from);
        firestore_put_int(&doc, "count", (int64_t)(to - from));
        firestore_put_slice(&doc, gather->plan->results_key, array, from, to);
        if (!firestore_doc_ok(&doc)) {
            firestore_doc_done(&doc);
            return -1;
        }
        put_write(gather, &doc, item, chunks, true);
        firestore_doc_done(&doc);
    }
    return chunks;
}

static int put_text(struct mirror_gather *gather, int64_t item, struct json_object *result, int64_t room)
{
    const char *json = json_object_to_json_string_ext(result, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    struct bytes rest = bytes_of(json);
    int chunks = 0;
    for (; rest.count; chunks++) {
        struct firestore_doc doc;
        size_t count = text_cut(rest, (size_t)room);
        begin_chunk(&doc, item, chunks);
        firestore_put_bytes(&doc, "json", (struct bytes){rest.at, count});
        put_write(gather, &doc, item, chunks, true);
        firestore_doc_done(&doc);
        rest = (struct bytes){rest.at + count, rest.count - count};
    }
    return chunks;
}

/* A result that is longer than one document: in chunks, as values when they can be parted, else as pieces of its JSON. */
static void put_overflow(struct mirror_gather *gather, struct firestore_doc *doc, int64_t item, struct json_object *result, int64_t size)
{
    int64_t room = gather->plan->max_doc - 1000;
    bool values = can_cut(result, room);
    int chunks = !gather->plan->chunks ? -1 : values ? put_values(gather, item, result, room) : put_text(gather, item, result, room);
    if (chunks < 0) {
        firestore_put_flag(doc, "result_omitted", true);
        firestore_put_int(doc, "result_bytes", size);
        return;
    }
    firestore_put_int(doc, "chunks", chunks);
    firestore_put_bytes(doc, "chunks_of", values ? BYTES("values") : BYTES("json"));
    if (json_object_get_type(result) == json_type_array)
        firestore_put_int(doc, "result_count", (int64_t)json_object_array_length(result));
}

static void put_result(struct mirror_gather *gather, struct firestore_doc *doc, int64_t item, struct json_object *result, int64_t omitted)
{
    if (omitted) {
        firestore_put_flag(doc, "result_omitted", true);
        firestore_put_int(doc, "result_bytes", omitted);
        return;
    }
    struct firestore_mark mark = firestore_mark(doc);
    firestore_put_json(doc, gather->plan->results_key, result);
    int64_t size = doc->size - mark.size;
    if (firestore_doc_ok(doc) && doc->size + ENVELOPE_BYTES <= gather->plan->max_doc)     /* small values grow most in REST: both can be too long */
        return;
    firestore_rewind(doc, mark);
    put_overflow(gather, doc, item, result, size);
}

/* ---- batch documents ---- */

static void begin_batch(struct firestore_doc *doc, int64_t item, const char *status, uint64_t seq)
{
    firestore_doc_init(doc, DOC_TEXT_BYTES);
    firestore_put_int(doc, "batch_id", item);
    firestore_put_bytes(doc, "status", bytes_of(status));
    firestore_put_int(doc, "log_seq", (int64_t)seq);
}

static void put_begun_fields(struct firestore_doc *doc, const struct mirror_begun *begun)
{
    if (begun && begun->started_us)
        firestore_put_time(doc, "started_at", begun->started_us);
    if (begun && begun->remote)
        firestore_put_bytes(doc, "snapshot_id", bytes_of(begun->remote));
    if (begun && begun->error)
        firestore_put_bytes(doc, "last_error", bytes_of(begun->error));
}

static void put_json_text(struct firestore_doc *doc, const char *name, struct bytes json)
{
    struct json_object *tree JSON_OWNED = json.count ? json_parse(json, NULL) : NULL;
    if (tree)
        firestore_put_json(doc, name, tree);
}

static struct mirror_begun *begun_of(struct mirror_gather *gather, const struct event *event)
{
    struct mirror_begun *begun = map_get(&gather->begun, (uint64_t)event->item + 1);
    if (!begun) {
        begun = MEM_NEW(struct mirror_begun);
        begun->item = event->item;
        begun->name = mem_copy(event->name.at, event->name.count);
        map_set(&gather->begun, (uint64_t)event->item + 1, begun);
    }
    begun->attempt = event->attempt;
    begun->seq = event->seq;
    return begun;
}

static void replace(char **text, struct bytes with)
{
    free(*text);
    *text = with.count ? mem_copy(with.at, with.count) : NULL;
}

static void add_begun(struct mirror_gather *gather, const struct event *event)
{
    struct mirror_begun *begun = begun_of(gather, event);
    if (event->kind == EVENT_ITEM_STARTED && event->attempt == 1)
        begun->started_us = event->at_us;
    if (event->kind == EVENT_ITEM_WAITING) {
        struct json_object *remote JSON_OWNED = json_parse(event->waiting.remote, NULL), *id = json_get(remote, "id");
        replace(&begun->remote, bytes_of(id ? json_object_get_string(id) : ""));
    }
    if (event->kind == EVENT_ITEM_RETRY)
        replace(&begun->error, event->retry.error);
}

static void put_begun(struct mirror_gather *gather)
{
    size_t at = 0;
    for (struct mirror_begun *begun; (begun = map_next(&gather->begun, &at));) {
        struct firestore_doc doc;
        begin_batch(&doc, begun->item, "processing", begun->seq);
        firestore_put_bytes(&doc, "name", bytes_of(begun->name));
        firestore_put_int(&doc, "attempts", begun->attempt);
        put_begun_fields(&doc, begun);
        put_write(gather, &doc, begun->item, -1, false);
        firestore_doc_done(&doc);
    }
}

static void note_completed(struct mirror_gather *gather, int64_t item)
{
    if (item >= INDICES_MAX)
        return;
    if (gather->completed_count == gather->completed_room) {
        gather->completed_room = gather->completed_room ? 2 * gather->completed_room : 16;
        gather->completed = mem_grow(gather->completed, gather->completed_room * sizeof *gather->completed);
    }
    gather->completed[gather->completed_count++] = item;
}

static void put_done(struct mirror_gather *gather, struct firestore_doc *doc, const struct event *event, struct json_object *result, int64_t omitted)
{
    put_json_text(doc, "usage", event->done.usage);
    put_json_text(doc, "stats", event->done.stats);
    if (event->done.has_score)
        firestore_put_real(doc, "score", event->done.score);
    put_result(gather, doc, event->item, result, omitted);
    note_completed(gather, event->item);
}

static void put_failed(struct firestore_doc *doc, const struct event *event)
{
    firestore_put_bytes(doc, "error", event->failed.error);
    firestore_put_bytes(doc, "error_type", event->failed.error_type);
    if (event->failed.stage.count)
        firestore_put_bytes(doc, "error_stage", event->failed.stage);
    put_json_text(doc, "usage", event->failed.usage);
}

static void add_ended(struct mirror_gather *gather, const struct event *event, struct json_object *result, int64_t omitted)
{
    struct mirror_begun *begun = map_take(&gather->begun, (uint64_t)event->item + 1);
    bool done = event->kind == EVENT_ITEM_DONE;
    struct firestore_doc doc;
    begin_batch(&doc, event->item, done ? "completed" : "error", event->seq);
    firestore_put_bytes(&doc, "name", event->name);
    firestore_put_int(&doc, "attempts", event->attempt);
    firestore_put_time(&doc, "completed_at", event->at_us);
    put_begun_fields(&doc, begun);
    if (done)
        put_done(gather, &doc, event, result, omitted);
    else
        put_failed(&doc, event);
    put_write(gather, &doc, event->item, -1, false);
    firestore_doc_done(&doc);
    free_begun(begun);
}

static void add_skipped(struct mirror_gather *gather, const struct event *event)
{
    int written = 0;
    for (size_t r = 0; r < event->skipped.count; r++) {
        struct item_range range = event->skipped.ranges[r];
        for (int64_t item = range.from; item <= range.to && written < SKIPPED_MAX; item++, written++) {
            struct firestore_doc doc;
            free_begun(map_take(&gather->begun, (uint64_t)item + 1));
            begin_batch(&doc, item, "skipped", event->seq);
            firestore_put_bytes(&doc, "error", event->skipped.reason);
            firestore_put_time(&doc, "completed_at", event->at_us);
            put_write(gather, &doc, item, -1, gather->writes_count >= GATHER_WRITES);
            firestore_doc_done(&doc);
        }
    }
}

void mirror_add(struct mirror_gather *gather, const struct row *row, const struct event *event, struct json_object *result, int64_t omitted)
{
    switch (event->kind) {
    case EVENT_JOB_CREATED: gather->created = true; break;
    case EVENT_JOB_CANCELLING: gather->cancelling = true; break;
    case EVENT_ITEM_STARTED:
    case EVENT_ITEM_WAITING:
    case EVENT_ITEM_RETRY: add_begun(gather, event); break;
    case EVENT_ITEM_DONE:
    case EVENT_ITEM_FAILED: add_ended(gather, event, result, omitted); break;
    case EVENT_ITEMS_SKIPPED: add_skipped(gather, event); break;
    case EVENT_JOB_ENDED:
        json_drop(&gather->summary);
        gather->summary = event->ended.summary.count ? json_parse(event->ended.summary, NULL) : NULL;
        break;
    default: break;
    }
    gather->seq = row->seq;
}

/* ---- the job's document ---- */

static bool has_counts(const struct event *event)
{
    return event_is_item(event->kind) || event->kind == EVENT_JOB_ENDED;
}

static void count(struct mirror_state *state, const struct counts *counts)
{
    int64_t ended = counts->completed + counts->failed + counts->skipped, total = ended + counts->pending + counts->processing;
    state->counts = *counts;
    state->counted = true;
    state->total = total > state->total ? total : state->total;
    int progress = state->sealed && state->total ? (int)(100 * ended / state->total) : 0;
    progress = progress > 99 ? 99 : progress;
    state->progress = progress > state->progress ? progress : state->progress;
}

void mirror_state_apply(struct mirror_state *state, const struct event *event)
{
    state->last_us = event->at_us;
    if (has_counts(event))
        count(state, &event->counts);
    switch (event->kind) {
    case EVENT_JOB_CREATED: state->status = JOB_PENDING; break;
    case EVENT_ITEMS_ADDED:
        if (event->added.first + (int64_t)event->added.count > state->total)
            state->total = event->added.first + (int64_t)event->added.count;
        break;
    case EVENT_JOB_SEALED:
        state->sealed = true;
        state->total = event->sealed.total;
        break;
    case EVENT_JOB_ENDED:
        state->status = event->ended.status;
        state->ended_us = event->at_us;
        state->progress = 100;
        free(state->error);
        state->error = event->ended.error.count ? mem_copy(event->ended.error.at, event->ended.error.count) : NULL;
        break;
    default:
        if (event_is_item(event->kind) && state->status <= JOB_PENDING)
            state->status = JOB_RUNNING;
    }
}

static void put_sums(struct firestore_doc *doc, const struct job *job)
{
    struct json_object *usage JSON_OWNED = json_object_new_object();
    for (size_t i = 0; i < job->usage_count; i++)
        json_object_object_add(usage, job->usage[i].name, json_object_new_double(job->usage[i].sum));
    if (job->usage_count)
        firestore_put_json(doc, "usage", usage);
    if (job->records.completed + job->records.failed + job->records.dropped) {
        firestore_put_int(doc, "records_completed", job->records.completed);
        firestore_put_int(doc, "records_failed", job->records.failed);
        firestore_put_int(doc, "records_dropped", job->records.dropped);
    }
    if (job->stop_count)
        firestore_put_int(doc, "hits", job->hits);
}

static void put_counts(struct firestore_doc *doc, const struct mirror_state *state)
{
    const struct counts *counts = &state->counts;
    int64_t ended = counts->completed + counts->failed + counts->skipped;
    firestore_put_int(doc, "total_batches", state->total);
    firestore_put_int(doc, "batches_pending", state->total - ended - counts->processing);
    firestore_put_int(doc, "batches_processing", counts->processing);
    firestore_put_int(doc, "batches_completed", counts->completed);
    firestore_put_int(doc, "batches_failed", counts->failed);
    firestore_put_int(doc, "batches_skipped", counts->skipped);
    firestore_put_int(doc, "overall_progress", state->progress);
}

static void put_times(struct firestore_doc *doc, const struct mirror_state *state, const struct job *job)
{
    firestore_put_time(doc, "created_at", job->created_us);
    firestore_put_time(doc, "updated_at", state->last_us);
    if (job->started_us && job->started_us <= state->last_us)
        firestore_put_time(doc, "started_at", job->started_us);
    if (state->ended_us)
        firestore_put_time(doc, "completed_at", state->ended_us);
}

static void put_ended(struct firestore_doc *doc, const struct mirror_state *state, struct json_object *summary)
{
    if (state->error)
        firestore_put_bytes(doc, "error_message", bytes_of(state->error));
    else
        firestore_put_null(doc, "error_message");
    if (summary)
        firestore_put_json(doc, "summary", summary);
}

void mirror_put_job(struct mirror_gather *gather, const struct mirror_state *state, const struct job *job, bool now, enum firestore_when when,
                    struct bytes update_time)
{
    struct firestore_doc doc;
    struct buf name BUF_OWNED;
    buf_init(&name, 2 * PATH_BYTES);
    firestore_doc_init(&doc, DOC_TEXT_BYTES);
    put_begun(gather);
    firestore_put_bytes(&doc, "job_id", bytes_of(job->id));
    firestore_put_bytes(&doc, "pipeline", bytes_of(job->pipeline));
    firestore_put_int(&doc, "log_seq", (int64_t)gather->seq);
    if (state->status >= 0)
        firestore_put_bytes(&doc, "status", bytes_of(job_status_name(state->status)));
    if (state->counted || gather->created)
        put_counts(&doc, state);
    put_times(&doc, state, job);
    if (gather->created)
        put_json_text(&doc, "params", bytes_of(job->params));
    if (gather->cancelling)
        firestore_put_flag(&doc, "cancel_requested", true);
    if (state->ended_us)
        put_ended(&doc, state, gather->summary);
    if (now)
        put_sums(&doc, job);
    if (gather->completed_count)
        firestore_put_missing(&doc, "completed_batch_indices", gather->completed, gather->completed_count);
    name_of(gather, -1, -1, &name);
    firestore_put_write(&gather->writes, &doc, buf_bytes(&name), when, update_time);
    gather->writes_count++;
    if (!firestore_doc_ok(&doc) || !buf_ok(&gather->writes))
        problem_set(&gather->problem, "the document of job %s is too long", job->id);
    firestore_doc_done(&doc);
}
