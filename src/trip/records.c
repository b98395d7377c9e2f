/* A leg over an item's records: each goes through the leg's stages by itself, so many at a time, and its end is told at once (record.done,
 * record.failed), so that whoever goes on with the leg after a crash takes it over. The item's result is the array of what came of them, in order.
 *
 * The array is not parsed into a tree: where its elements lie is found by looking through its text, in the pool when it is long. */
#include "trip/trip_own.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/mem.h"
#include "core/row.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum record_state { RECORD_TODO, RECORD_AWAY, RECORD_DONE, RECORD_FAILED, RECORD_DROPPED };

struct record {
    struct bytes input;            /* in the array's text */
    struct bytes result;           /* DONE: owned JSON, perhaps {"blob":…} */
    enum record_state state;
};

/* Looking through the array, and the store's answer: both may come when the records are gone. */
struct scan {
    struct records *records;       /* NULL: gone */
    struct bytes text;
    void *map;                     /* of `text`, or NULL */
    struct record *found;          /* owned until handed over */
    size_t count;
    struct problem problem;
};
struct look { struct records *records; };

struct records {
    struct trip *trip;
    struct bytes text;
    void *map;
    struct record *list;
    size_t count, next;            /* next: none before it is TODO */
    size_t at_once, away;
    int64_t done, failed, dropped;
    size_t bytes;                  /* of the results held */
    struct list runs;              /* run.link */
    struct list marks;             /* mark.link */
    struct scan *scan;
    struct look *look;
    struct stow *stow;
    char *first_error;             /* owned */
    const char *first_type;
    struct bytes first_stage;
    bool handing;
};

/* Its end is known, but for what score and hit make of its result. */
struct mark {
    struct list link;
    struct records *records;
    struct ask *ask;
    int64_t record;
    char *value, *usage;           /* owned; value may name a blob, which is pinned */
    size_t value_count, usage_count;
    bool has_blob;
    struct sha blob;
};

static void mark_free(struct mark *mark)
{
    list_leave(&mark->link);
    ask_drop(mark->ask);
    free(mark->value);
    free(mark->usage);
    free(mark);
}

/* ---- the end of the item ---- */

static struct records *unhook(struct records *records)
{
    records->trip->records = NULL;
    return records;
}

void records_stop(struct records *records, bool for_good)
{
    if (!records)
        return;
    if (records->scan)
        records->scan->records = NULL;      /* it still looks through the text, whose mapping is its own now */
    else if (records->map)
        munmap(records->map, records->text.count);
    if (records->look)
        records->look->records = NULL;
    stow_drop(records->stow);
    LIST_EACH(link, &records->marks) {
        struct mark *mark = LIST_OF(link, struct mark, link);
        if (mark->has_blob)
            blob_abandon(records->trip->trips->options.blobs, &mark->blob);
        mark_free(mark);
    }
    LIST_EACH(link, &records->runs)
        run_stop(LIST_OF(link, struct run, link), for_good);
    for (size_t i = 0; i < records->count; i++)
        free((char *)records->list[i].result.at);
    free(records->list);
    free(records->first_error);
    free(records);
}

/* All that is still under way is broken off. `outcome` may borrow from the records. */
static void end_item(struct records *records, const struct outcome *outcome)
{
    struct trip *trip = records->trip;
    struct trips *trips = trip->trips;
    struct crew_client client = trips->crew.client;
    list_leave(&trip->link);
    trips->count--;
    unhook(records);
    client.outcome(client.data, trip->token, outcome, false);
    records_stop(records, outcome->verdict == VERDICT_FAIL);
    trip_free(trip);
}

static void fail_item(struct records *records, enum verdict verdict, const char *error_type, const char *sentence)
{
    end_item(records, &(struct outcome){.verdict = verdict, .error = bytes_of(sentence), .error_type = bytes_of(error_type)});
}

static void on_stowed(void *data, const struct outcome *outcome)
{
    struct records *records = data;
    records->stow = NULL;
    end_item(records, outcome);
}

static void all_failed(struct records *records)
{
    struct problem problem = {0};
    problem_set(&problem, "All %zu records failed: %s", records->count, records->first_error ? records->first_error : "");
    end_item(records, &(struct outcome){.verdict = VERDICT_FAIL, .error = bytes_of(problem.text), .stage = records->first_stage,
                                        .error_type = bytes_of(records->first_type ? records->first_type : "processing")});
}

static void all_over(struct records *records)
{
    struct bytes *pieces = mem_new((records->count + 1) * sizeof *pieces);
    size_t count = 0;
    if (records->failed && !records->done) {
        free(pieces);
        all_failed(records);
        return;
    }
    for (size_t i = 0; i < records->count; i++) {
        if (records->list[i].state == RECORD_DONE)
            pieces[count++] = records->list[i].result;
        records->list[i].result = (struct bytes){0};
    }
    records->stow = stow_start(records->trip->trips, pieces, count, true, on_stowed, records);
}

/* ---- the end of a record ---- */

static void hand_out(struct records *records);

static void keep_error(struct records *records, struct bytes error, const char *error_type, struct bytes stage)
{
    if (records->first_error)
        return;
    records->first_error = mem_copy(error.at, error.count);
    records->first_type = error_type;
    records->first_stage = stage;
}

static void settle(struct records *records, int64_t index, enum record_state state, struct bytes result)
{
    struct record *record = &records->list[index];
    if (record->state == RECORD_AWAY)
        records->away--;
    record->state = state;
    if (state == RECORD_DONE) {
        record->result = (struct bytes){mem_copy(result.at, result.count), result.count};
        records->bytes += result.count;
    }
    records->done += state == RECORD_DONE;
    records->failed += state == RECORD_FAILED;
    records->dropped += state == RECORD_DROPPED;
}

/* Tell it. False: fenced; the trip goes in a moment. */
static bool tell(struct records *records, const struct record_outcome *outcome)
{
    const struct crew_client *client = &records->trip->trips->crew.client;
    if (!client->record || client->record(client->data, records->trip->token, outcome))
        return true;
    trip_fence(records->trip);
    return false;
}

/* True: that was the item's end. Asked of what is taken over too: the last opening may have ended between the record that was too much and this. */
static bool too_large(struct records *records)
{
    struct problem problem = {0};
    if (records->bytes <= LIMIT_RECORDS_BYTES)
        return false;
    problem_set(&problem, "The results of the records together have more than the %d bytes that are taken.", LIMIT_RECORDS_BYTES);
    fail_item(records, VERDICT_FAIL, "validation", problem.text);
    return true;
}

static void tell_done(struct records *records, struct record_outcome *outcome)
{
    settle(records, outcome->record, RECORD_DONE, outcome->value);
    if (tell(records, outcome) && !too_large(records))
        hand_out(records);
}

static void take_marks(struct json_object *answer, struct record_outcome *ret)
{
    struct json_object *score = json_get(answer, "score"), *hit = json_get(answer, "hit");
    ret->has_score = json_object_is_type(score, json_type_int) || json_object_is_type(score, json_type_double);
    ret->score = ret->has_score ? json_object_get_double(score) : 0;
    ret->hit = hit && !(json_object_is_type(hit, json_type_boolean) && !json_object_get_boolean(hit));
}

/* Marks that cannot be made leave a record without: it was paid for. */
static void on_marks(void *data, const struct outcome *outcome)
{
    struct mark *mark = data;
    struct records *records = mark->records;
    struct record_outcome told = {.record = mark->record, .value = {mark->value, mark->value_count}, .usage = {mark->usage, mark->usage_count},
                                  .blob = mark->has_blob ? &mark->blob : NULL};
    struct buf BUF_OWNED text;
    buf_init(&text, LIMIT_ASK_BYTES);
    mark->ask = NULL;
    if (outcome->verdict == VERDICT_DONE && ask_value(records->trip->trips->options.blobs, outcome, &text)) {
        JSON_OWNED struct json_object *answer = json_parse(buf_bytes(&text), NULL);
        take_marks(answer, &told);
    }
    list_leave(&mark->link);
    tell_done(records, &told);
    mark_free(mark);
}

static void put_marks(const struct trip *trip, struct buf *stages)
{
    buf_print(stages, "[{\"stage\":\"eval\",\"with\":{\"programs\":%s}}]", trip->leg->marks);
}

void records_learn(const struct trip *trip)
{
    struct buf BUF_OWNED stages;
    buf_init(&stages, LIMIT_FRAME_BYTES);
    if (!trip->leg || !trip->leg->marks)
        return;
    put_marks(trip, &stages);
    asker_learn(trip->trips->options.asker, buf_bytes(&stages));
}

static bool mark(struct records *records, const struct record_outcome *told)
{
    struct trips *trips = records->trip->trips;
    struct ask_want want = {.variables = records->trip->variables, .input_fd = -1, .turn = ASK_GOES_ON};
    struct buf BUF_OWNED stages;
    buf_init(&stages, LIMIT_FRAME_BYTES);
    if (!records->trip->leg->marks)
        return false;
    put_marks(records->trip, &stages);
    want.stages = buf_bytes(&stages);
    if (told->blob) {
        want.input_fd = blob_open(trips->options.blobs, told->blob);
        want.type = BYTES("application/json");
    }
    if (told->blob ? want.input_fd < 0 : !want_value(&want, told->value))
        return false;
    struct mark *mark = MEM_NEW(struct mark);
    *mark = (struct mark){.records = records, .record = told->record, .value = mem_copy(told->value.at, told->value.count),
                          .value_count = told->value.count, .usage = mem_copy(told->usage.at, told->usage.count), .usage_count = told->usage.count,
                          .has_blob = told->blob != NULL};
    if (told->blob)
        mark->blob = *told->blob;
    list_init(&mark->link);
    mark->ask = ask_start(trips->options.asker, &want, on_marks, mark);
    if (!mark->ask) {
        mark_free(mark);
        return false;
    }
    list_push(&records->marks, &mark->link);
    return true;
}

static void record_failed(struct records *records, const struct run_end *end, int64_t index)
{
    struct record_outcome told = {.record = index, .failed = true, .dropped = end->dropped, .error = end->error,
                                  .error_type = bytes_of(end->error_type), .stage = end->stage, .usage = end->usage};
    settle(records, index, end->dropped ? RECORD_DROPPED : RECORD_FAILED, (struct bytes){0});
    if (!end->dropped)
        keep_error(records, end->error, end->error_type, end->stage);
    if (end->fail_item || end->fail_job)    /* the record's end and the item's are told as one: no power cut parts them */
        end_item(records, &(struct outcome){.verdict = VERDICT_FAIL, .error = end->error, .error_type = bytes_of(end->error_type),
                                            .stage = end->stage, .fail_job = end->fail_job, .record = &told});
    else if (tell(records, &told))
        hand_out(records);
}

static void record_over(struct run *run, const struct run_end *end)
{
    struct records *records = run->data;
    struct record_outcome told = {.record = run->record, .value = end->value, .blob = end->blob, .usage = end->usage};
    int64_t index = run->record;
    char *owned = run->owned;      /* what a stage passed on as it came is still the run's own */
    run->owned = NULL;
    run_free(run);
    if (!end->done)
        record_failed(records, end, index);
    else if (!mark(records, &told))
        tell_done(records, &told);
    free(owned);
}

/* A row that says itself that it is none (ROW_FAILED). */
static bool row_failed(struct records *records, size_t index)
{
    struct bytes input = records->list[index].input;
    if (!memmem(input.at, input.count, "\"" ROW_FAILED "\"", sizeof ROW_FAILED + 1) || input.at[0] != '{' || !json_span(input, ROW_FAILED).at)
        return false;
    JSON_OWNED struct json_object *row = json_parse(input, NULL);
    struct json_object *failed = json_get(row, ROW_FAILED);
    struct bytes error = json_get_bytes(failed, "error");
    struct run_end end = {.error = error.count ? error : BYTES("The other side gave no result for it."), .error_type = "remote"};
    records->away++;
    records->list[index].state = RECORD_AWAY;
    record_failed(records, &end, (int64_t)index);
    return true;
}

static void send(struct records *records, size_t index)
{
    struct run *run = run_new(records->trip, (int64_t)index, records->list[index].input, -1, record_over, records);
    records->list[index].state = RECORD_AWAY;
    records->away++;
    list_push(&records->runs, &run->link);
    run_begin(run);
}

/* As many as may be away. A record may come to its end, and the item with it, while it is sent. */
static void hand_out(struct records *records)
{
    struct trip *trip = records->trip;
    if (records->handing || trip->fenced || records->stow)
        return;
    records->handing = true;
    while (trip->records && records->away < records->at_once && records->next < records->count && !trip->fenced) {
        size_t index = records->next++;
        if (records->list[index].state == RECORD_TODO && !row_failed(records, index))
            send(records, index);
    }
    records->handing = false;
    if (!records->away && records->next == records->count && !trip->fenced)
        all_over(records);
}

/* ---- what is there already ---- */

static struct bytes bare(struct bytes string)
{
    return string.count > 2 ? (struct bytes){string.at + 1, string.count - 2} : (struct bytes){0};
}

static void take_over(struct records *records, const struct row *row)
{
    struct bytes body = row_body(row), error = json_span(body, "error");
    int64_t index = -1;
    if (!bytes_to_i64(json_span(body, "record"), &index) || index < 0 || (size_t)index >= records->count || records->list[index].state != RECORD_TODO)
        return;
    if (row->kind == EVENT_RECORD_DONE) {
        struct bytes value = json_span(body, "value");
        settle(records, index, RECORD_DONE, value.count ? value : BYTES("null"));
        return;
    }
    bool dropped = bytes_equal(json_span(body, "dropped"), BYTES("true"));
    settle(records, index, dropped ? RECORD_DROPPED : RECORD_FAILED, (struct bytes){0});
    if (!dropped && error.count > 2)
        keep_error(records, (struct bytes){error.at + 1, error.count - 2}, step_error_type(bare(json_span(body, "error_type"))), (struct bytes){0});
}

static void on_rows(void *data, struct row **rows, size_t count, int error)
{
    struct look *look = data;
    struct records *records = look->records;
    free(look);
    if (!records)
        return;
    records->look = NULL;
    if (error) {
        struct problem problem = {0};
        problem_set(&problem, "The records that are done already could not be read: %s.", strerror(-error));
        fail_item(records, VERDICT_RETRY, "processing", problem.text);
        return;
    }
    for (size_t i = 0; i < count; i++)
        take_over(records, rows[i]);
    if (!too_large(records))
        hand_out(records);
}

static void look_back(struct records *records)
{
    struct trip *trip = records->trip;
    struct store *store = trip->trips->options.store;
    struct live *live = trip->has_records && store ? store_get_number(store, trip->token.job) : NULL;
    if (!live) {
        hand_out(records);
        return;
    }
    records->look = MEM_NEW(struct look);
    records->look->records = records;
    store_records(store, live, trip->token.item, on_rows, records->look);
}

/* ---- where the elements lie ---- */

static size_t skip_space(struct bytes text, size_t at)
{
    while (at < text.count && strchr(" \t\r\n", text.at[at]))
        at++;
    return at;
}

static int find(struct scan *scan)
{
    struct bytes text = scan->text, element;
    size_t room = 0, where = 0, at = skip_space(text, 0);
    if (text.count == 0 || json_grammar(text, JSON_DEPTH_MAX, &where) != JSON_GRAMMAR_GOOD)
        return problem_set(&scan->problem, "The records are not valid JSON at byte %zu.", where);
    if (text.at[at] != '[')
        return problem_set(&scan->problem, "A leg over records needs an array, and its input is none.");
    while (json_element(&text, &element)) {
        if (scan->count == LIMIT_RECORDS)
            return problem_set(&scan->problem, "The input has more than the %d records that are taken.", LIMIT_RECORDS);
        if (scan->count == room)
            scan->found = mem_grow(scan->found, (room = room ? room * 2 : 32) * sizeof *scan->found);
        scan->found[scan->count++] = (struct record){.input = element};
    }
    return 0;
}

/* Thread: pool, or loop for a short text. */
static int scan_work(void *data)
{
    return find(data);
}

static void scan_done(void *data, int rc)
{
    struct scan *scan = data;
    struct records *records = scan->records;
    struct problem problem = scan->problem;
    if (records) {
        records->scan = NULL;
        records->list = scan->found;
        records->count = scan->count;
    } else {
        free(scan->found);
        if (scan->map)
            munmap(scan->map, scan->text.count);
    }
    free(scan);
    if (records && rc)
        fail_item(records, VERDICT_FAIL, "validation", problem.text);
    else if (records)
        look_back(records);
}

static struct scan *scan_new(struct records *records)
{
    struct scan *scan = MEM_NEW(struct scan);
    *scan = (struct scan){.records = records, .text = records->text, .map = records->map};
    records->scan = scan;
    return scan;
}

static size_t parallel(const struct trip *trip)
{
    int64_t most = 0;
    for (size_t i = 0; i < trip->stages_count; i++) {
        int64_t said = json_get_int(trip_stage(trip, i), "concurrency", 0);
        most = said > most ? said : most;
    }
    return most < 1 ? 8 : most > LIMIT_RECORDS_AT_ONCE ? LIMIT_RECORDS_AT_ONCE : (size_t)most;
}

struct records *records_new(struct trip *trip)
{
    struct records *records = MEM_NEW(struct records);
    records->trip = trip;
    records->text = trip->value;
    records->at_once = parallel(trip);
    list_init(&records->runs);
    list_init(&records->marks);
    return records;
}

void records_begin(struct records *records)
{
    struct trip *trip = records->trip;
    struct stat stat;
    if (trip->input_fd < 0) {
        struct scan *scan = scan_new(records);
        scan_done(scan, scan_work(scan));
        return;
    }
    if (!fstat(trip->input_fd, &stat) && stat.st_size > 0)
        records->map = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, trip->input_fd, 0);
    if (!records->map || records->map == MAP_FAILED) {
        records->map = NULL;
        fail_item(records, VERDICT_RETRY, "processing", "The file of the records could not be read.");
        return;
    }
    records->text = (struct bytes){records->map, (size_t)stat.st_size};
    loop_pool(trip->trips->options.loop, scan_work, scan_done, scan_new(records));
}

bool records_rest(const struct records *records)
{
    if (records->scan || records->look || records->stow || !list_empty(&records->marks))
        return false;
    LIST_EACH(link, &records->runs)
        if (!run_rests(LIST_OF(link, struct run, link)))
            return false;
    return true;
}

void records_wake(struct records *records, void (*wake)(struct step *step))
{
    LIST_EACH(link, &records->runs) {
        struct run *run = LIST_OF(link, struct run, link);
        if (run->step)
            wake(run->step);
    }
}
