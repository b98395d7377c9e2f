/* From rows to the result. What was fetched grows in a file in memory, {"rows":[[…],…],"inputs":…,"hits":[…]}, which a worker joins in one go: rows
 * go to their inputs by key, error rows and inputs without a row become ROW_FAILED. Then the good ones are kept in the cache, one key each. */
#include "trip/remote_job.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20, KEPT_BYTES_MAX = 16 << 20 };

/* ---- the file ---- */

static bool put(struct remote_job *job, struct bytes text)
{
    while (text.count) {
        ssize_t count = write(job->rows, text.at, text.count);
        if (count < 0 && errno != EINTR)
            return false;
        text.at += count > 0 ? count : 0;
        text.count -= count > 0 ? (size_t)count : 0;
    }
    return true;
}

static void no_room(struct remote_job *job)
{
    remote_job_fail(job, "processing", true, "there is no memory for its rows");
}

void remote_job_rows_begin(struct remote_job *job)
{
    if (job->rows >= 0)
        return;
    job->rows = memfd_create("rows", MFD_CLOEXEC);
    if (job->rows >= 0)
        put(job, BYTES("{\"rows\":["));
}

/* Large ones are copied a piece each turn of the loop. */
static void copy_turn(struct step *step)
{
    struct remote_job *job = (struct remote_job *)step;
    MEM_OWNED char *piece = mem_new(COPY_BYTES);
    ssize_t count = pread(job->copying, piece, COPY_BYTES, job->copied);
    bool broken = count < 0 && errno == EINTR;
    if (!broken && (count < 0 || !put(job, (struct bytes){piece, (size_t)count}))) {
        no_room(job);
        return;
    }
    if (count) {
        job->copied += broken ? 0 : count;
        step_sleep(step, 0, copy_turn);
        return;
    }
    close(job->copying);
    job->copying = -1;
    job->copied_all(job);
}

static void copy(struct remote_job *job, int file, void (*done)(struct remote_job *job))
{
    job->copying = file;
    job->copied = 0;
    job->copied_all = done;
    copy_turn(&job->step);
}

void remote_job_rows_add(struct remote_job *job, const struct outcome *outcome, void (*added)(struct remote_job *job))
{
    struct blobs *blobs = step_world(&job->step)->blobs;
    int file = outcome->blob ? blob_open(blobs, outcome->blob) : -1;
    if (outcome->blob)
        blob_abandon(blobs, outcome->blob);
    if (job->rows < 0 || (outcome->blob && file < 0) || !put(job, job->rows_count++ ? BYTES(",") : (struct bytes){0})) {
        if (file >= 0)
            close(file);
        no_room(job);
    } else if (file >= 0) {
        copy(job, file, added);
    } else if (put(job, outcome->value)) {
        added(job);
    } else {
        no_room(job);
    }
}

/* ---- keeping rows ---- */

static void over(struct remote_job *job)
{
    struct step_result result = {.value = buf_bytes(&job->result), .blob = job->has_blob ? &job->result_blob : NULL};
    job->has_blob = false;         /* whoever hears of it has the pin */
    remote_job_end(job, &result);
}

/* Rows of one key stand together, and are kept together. */
static void keep_rows(struct remote_job *job, struct bytes rows, const struct sha *keys, size_t count)
{
    int64_t ttl_us = json_get_int(json_get(job->step.stage, "cache"), "ttl_us", 24 * 3600 * 1000000LL);
    BUF_OWNED struct buf group;
    struct bytes rest = rows, row, last = {0};
    buf_init(&group, LIMIT_BODY_BYTES);
    for (size_t i = 0; i < count && json_element(&rest, &row); i++) {
        if (group.count && memcmp(&keys[i], &keys[i - 1], sizeof *keys) == 0) {
            if (!bytes_equal(row, last))       /* an input that was there twice */
                json_raw(&group, row);
        } else {
            buf_clear(&group);
            json_open(&group, '[');
            json_raw(&group, row);
        }
        last = row;
        bool ends = i + 1 == count || memcmp(&keys[i], &keys[i + 1], sizeof *keys) != 0;
        if (!ends || remote_job_no_key(&keys[i]))
            continue;
        json_close(&group, ']');
        if (buf_ok(&group))
            store_cache_put(step_world(&job->step)->store, &keys[i], buf_bytes(&group), ttl_us);
    }
}

static void result_keys_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    BUF_OWNED struct buf answer, rows;
    struct problem problem = {0};
    buf_init(&answer, LIMIT_ASK_BYTES);
    buf_init(&rows, KEPT_BYTES_MAX);
    bool good = outcome->verdict == VERDICT_DONE && ask_value(step_world(&job->step)->blobs, outcome, &answer);
    JSON_OWNED struct json_object *tree = good ? json_parse(buf_bytes(&answer), &problem) : NULL;
    struct json_object *keys = tree && json_object_is_type(tree, json_type_object) ? json_get(tree, "keys") : NULL;
    size_t count = keys && json_object_is_type(keys, json_type_array) ? json_object_array_length(keys) : 0;
    /* A row that cannot be kept only costs work another day. */
    if (count && (!job->has_blob || !blob_read(step_world(&job->step)->blobs, &job->result_blob, &rows))) {
        MEM_OWNED struct sha *shas = mem_new(count * sizeof *shas);
        remote_job_keys(job, keys, shas);
        keep_rows(job, job->has_blob ? buf_bytes(&rows) : buf_bytes(&job->result), shas, count);
    }
    over(job);
}

static void ask_result_keys(struct remote_job *job)
{
    BUF_OWNED struct buf program, stages;
    struct bytes key = remote_job_row_key(job);
    buf_init(&program, LIMIT_BODY_BYTES);
    buf_init(&stages, LIMIT_BODY_BYTES);
    buf_print(&program, "map(if type == \"object\" and has(\"" ROW_FAILED "\") then null else (try (%.*s\n) catch null) end)", BYTES_ARG(key));
    buf_text(&stages, "[{\"stage\":\"eval\",\"with\":{\"programs\":{");
    json_put_bytes(&stages, "keys", buf_bytes(&program));
    buf_text(&stages, "}}}]");
    int file = job->has_blob ? blob_open(step_world(&job->step)->blobs, &job->result_blob) : -1;
    if (job->has_blob && file < 0)
        over(job);
    else if (file >= 0)
        remote_job_ask(job, buf_bytes(&stages), file, result_keys_got);
    else
        remote_job_ask_over(job, buf_bytes(&stages), buf_bytes(&job->result), result_keys_got);
}

/* ---- the join ---- */

static void joined(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    if (outcome->verdict != VERDICT_DONE) {
        bool retry = outcome->verdict == VERDICT_RETRY;
        remote_job_fail(job, retry ? "crash" : "expression", retry, "joining rows to inputs: %.*s",
                    (int)(outcome->error.count < 300 ? outcome->error.count : 300), outcome->error.at ? outcome->error.at : "");
        return;
    }
    buf_put(&job->result, outcome->value);
    job->has_blob = outcome->blob != NULL;
    if (outcome->blob)
        job->result_blob = *outcome->blob;
    if (remote_job_keeps(job) && job->rows_count)
        ask_result_keys(job);
    else
        over(job);
}

static const char CLEAN[] =
    "def remote_job_clean: . as $row | ((try (%.*s\n) catch null) // null) as $error | if $error == null then .\n"
    "  else {\"" ROW_FAILED "\": ({error: ($error | if type == \"string\" then . else tojson end), error_type: \"remote\"}\n"
    "    + (if ($row | type) == \"object\" and $row.error_code != null then {error_code: $row.error_code} else {} end)),\n"
    "    input: (if ($row | type) == \"object\" and ($row | has(\"input\")) then $row.input else $row end)} end;\n";
static const char ERROR[] =
    "if type == \"object\" then\n"
    "  (.error | if (type == \"string\" and . != \"\") or type == \"object\" or . == true then . else null end) else null end";
static const char JOIN[] =
    "def row_key: (try (%.*s\n) catch null) | tojson;\n"
    "def input_key: (try (%.*s\n) catch null) | tojson;\n"
    ". as $in | (.inputs | if type == \"array\" then . else [.] end) as $inputs\n"
    "| (reduce .rows[][] as $row ({}; .[$row | row_key] += [$row | remote_job_clean])) as $rows\n"
    "| ($inputs | map(input_key)) as $keys\n"
    "| (reduce $keys[] as $key ({}; .[$key] = true)) as $known\n"
    "| [range(0; $inputs | length) as $i | ($in.hits[$i] // (if $keys[$i] == \"null\" then null else $rows[$keys[$i]] end)) as $found\n"
    "    | if $found then ($found[] | if type == \"object\" and has(\"" ROW_FAILED "\") then .input = $inputs[$i] else . end)\n"
    "      else {\"" ROW_FAILED "\": {error: \"there is no row for this input\", error_type: \"remote\"}, input: $inputs[$i]} end]\n"
    "  + [$rows | to_entries[] | select($known[.key] | not) | .value[]]\n";

static void ask_join(struct remote_job *job)
{
    BUF_OWNED struct buf program, stages;
    struct bytes error = remote_job_text(job->with, "row_error"), row = remote_job_row_key(job), input = remote_job_input_key(job);
    buf_init(&program, LIMIT_BODY_BYTES);
    buf_init(&stages, LIMIT_BODY_BYTES * 2);
    buf_print(&program, CLEAN, BYTES_ARG(error.count ? error : BYTES(ERROR)));
    if (row.count)
        buf_print(&program, JOIN, BYTES_ARG(row), BYTES_ARG(input));
    else
        buf_text(&program, "[.rows[][] | remote_job_clean]");
    buf_text(&stages, "[{\"stage\":\"jq\",\"with\":{");
    json_put_bytes(&stages, "program", buf_bytes(&program));
    buf_text(&stages, "}}]");
    int file = job->rows;
    job->rows = -1;
    remote_job_ask(job, buf_bytes(&stages), file, joined);
}

void remote_job_learn_rows(struct remote_job *job)
{
    ask_join(job);
    if (remote_job_keeps(job))
        ask_result_keys(job);
}

/* The rows that the cache had, once more: waiting for the others they were nowhere. */
static void hits_next(struct step *step);

static void hits_found(struct remote_job *job, const struct bytes *values, size_t count)
{
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        good = good && (job->looked + i == 0 || put(job, BYTES(",")));
        good = good && put(job, values[i].at && job->hits[job->looked + i] ? values[i] : BYTES("null"));
    }
    job->looked += count;
    if (good)
        step_sleep(&job->step, 0, hits_next);
    else
        no_room(job);
}

static void hits_next(struct step *step)
{
    struct remote_job *job = (struct remote_job *)step;
    size_t left = job->hits ? job->inputs_count - job->looked : 0;
    if (left)
        remote_job_look_up(job, job->keys + job->looked, left < LIMIT_CACHE_KEYS ? left : LIMIT_CACHE_KEYS, hits_found);
    else if (put(job, BYTES("]}")))
        ask_join(job);
    else
        no_room(job);
}

static void hits_begin(struct remote_job *job)
{
    job->looked = 0;
    if (put(job, BYTES(",\"hits\":[")))
        hits_next(&job->step);
    else
        no_room(job);
}

/* After a restart it is not in memory any more which inputs the cache had; their keys are made again. */
static void lost_keys_got(void *data, const struct outcome *outcome)
{
    struct remote_job *job = data;
    struct problem problem = {0};
    JSON_OWNED struct json_object *answer = remote_job_answer(job, outcome, "making the keys of its inputs");
    if (!answer)
        return;
    struct json_object *keys = json_get(answer, "keys");
    JSON_OWNED struct json_object *misses = json_parse(buf_bytes(&job->misses), &problem);
    job->inputs_count = keys && json_object_is_type(keys, json_type_array) ? json_object_array_length(keys) : 0;
    job->keys = mem_new((job->inputs_count + 1) * sizeof *job->keys);
    job->hits = mem_new((job->inputs_count + 1) * sizeof *job->hits);
    if (job->inputs_count)
        remote_job_keys(job, keys, job->keys);
    for (size_t i = 0; i < job->inputs_count; i++)
        job->hits[i] = true;
    for (size_t i = 0; misses && i < json_object_array_length(misses); i++) {
        int64_t missed = json_object_get_int64(json_object_array_get_idx(misses, i));
        if (missed >= 0 && (size_t)missed < job->inputs_count)
            job->hits[missed] = false;
    }
    hits_begin(job);
}

static void inputs_there(struct remote_job *job)
{
    if (!job->misses.count || job->hits) {
        if (!job->hits_count) {
            free(job->hits);
            job->hits = NULL;
        }
        hits_begin(job);
        return;
    }
    remote_job_ask_keys(job, lost_keys_got);
}

void remote_job_finish(struct remote_job *job)
{
    job->phase = REMOTE_FETCHING;
    remote_job_rows_begin(job);
    if (job->rows < 0 || !put(job, BYTES("],\"inputs\":"))) {
        no_room(job);
        return;
    }
    bool joins = remote_job_joins(job), in_file = joins && job->step.input_fd >= 0;
    int file = in_file ? fcntl(job->step.input_fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (file >= 0)
        copy(job, file, inputs_there);
    else if (in_file)
        remote_job_fail(job, "processing", true, "its input cannot be read again: %s", strerror(errno));
    else if (put(job, joins && job->step.value.count ? job->step.value : BYTES("null")))
        inputs_there(job);
    else
        no_room(job);
}
