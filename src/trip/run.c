/* A run: from stage to stage, and what a stage's failure means: another attempt, another value, or the end. */
#include "trip/trip_own.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "os/file.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- what was used ---- */

static void used_one(struct used *used, const char *name, double value)
{
    if (strlen(name) >= sizeof used->numbers[0].name || !isfinite(value))
        return;
    for (size_t i = 0; i < used->count; i++) {
        if (!strcmp(used->numbers[i].name, name)) {
            used->numbers[i].value += value;
            return;
        }
    }
    if (used->count == LIMIT_STATS)
        return;
    strncpy(used->numbers[used->count].name, name, sizeof used->numbers[0].name - 1);
    used->numbers[used->count++].value = value;
}

void used_add(struct used *used, struct bytes usage)
{
    if (!usage.count)
        return;
    JSON_OWNED struct json_object *object = json_parse(usage, NULL);
    if (!json_object_is_type(object, json_type_object))
        return;
    json_object_object_foreach(object, name, value) {
        if (json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double))
            used_one(used, name, json_object_get_double(value));
    }
}

void used_put(const struct used *used, struct buf *ret)
{
    if (!used->count)
        return;
    json_open(ret, '{');
    for (size_t i = 0; i < used->count; i++) {
        json_key_bytes(ret, bytes_of(used->numbers[i].name));
        json_real(ret, used->numbers[i].value);
    }
    json_close(ret, '}');
}

/* ---- life ---- */

struct run *run_new(struct trip *trip, int64_t record, struct bytes value, int input_fd, run_over_fn *over, void *data)
{
    struct run *run = MEM_NEW(struct run);
    *run = (struct run){.trip = trip, .record = record, .value = value, .over = over, .data = data};
    run->input_fd = input_fd;
    list_init(&run->link);
    return run;
}

static void drop_input(struct run *run)
{
    if (run->input_fd >= 0)
        close(run->input_fd);
    run->input_fd = -1;
    free(run->owned);
    run->owned = NULL;
    run->value = (struct bytes){0};
}

void run_free(struct run *run)
{
    assert(!run->step);
    list_leave(&run->link);
    timer_stop(run->trip->trips->options.loop, &run->timer);
    stow_drop(run->stow);
    ask_drop(run->ask);
    if (run->has_made)
        blob_abandon(run->trip->trips->options.blobs, &run->made);
    drop_input(run);
    free(run);
}

bool run_rests(const struct run *run)
{
    const struct step *step = run->step;
    return !run->stow && !run->ask && !run->has_made && (!step || (!step->ask && !step->call && !step->cache));
}

void run_stop(struct run *run, bool for_good)
{
    struct step *step = run->step;
    run->step = NULL;
    if (step)
        step_stop(step, for_good);
    run_free(run);
}

static void end_run(struct run *run, struct run_end *end)
{
    struct buf BUF_OWNED usage;
    buf_init(&usage, 4096);
    used_put(&run->used, &usage);
    end->usage = buf_bytes(&usage);
    run->over(run, end);
}

/* ---- stages ---- */

static void fail_run(struct run *run, const char *error_type, const char *sentence)
{
    struct run_end end = {.error_type = error_type, .error = bytes_of(sentence), .stage = trip_stage_name(run->trip, run->stage)};
    end_run(run, &end);
}

static void run_attempt(struct run *run)
{
    const struct step_kind *kind = step_kind_find(trip_stage_kind(run->trip, run->stage));
    struct problem problem = {0};
    if (!kind) {
        problem_set(&problem, "There is no stage kind %.*s that leaves the machine.", BYTES_ARG(trip_stage_kind(run->trip, run->stage)));
        fail_run(run, "processing", problem.text);
        return;
    }
    run->step = step_new(run, kind);
    step_begin(run->step);
}

static void on_timer(struct timer *timer)
{
    run_attempt(TIMER_OF(timer, struct run, timer));
}

void run_begin(struct run *run)
{
    timer_start(run->trip->trips->options.loop, &run->timer, 0, on_timer);
}

static void to_next(struct run *run, struct bytes value)
{
    char *copy = mem_copy(value.at, value.count);
    drop_input(run);
    run->owned = copy;
    run->value = (struct bytes){copy, value.count};
    run->stage++;
    run->tries = 0;
    /* From the loop: a thousand stages that answer at once are no thousand calls inside one another. */
    timer_start(run->trip->trips->options.loop, &run->timer, 0, on_timer);
}

static void open_made(struct timer *timer)
{
    struct run *run = TIMER_OF(timer, struct run, timer);
    const struct trips_options *options = &run->trip->trips->options;
    int fd = blob_open(options->blobs, &run->made);
    if (file_scarce(fd)) {
        timer_start(options->loop, &run->timer, LIMIT_ROOM_US, open_made);
        return;
    }
    blob_abandon(options->blobs, &run->made);      /* an open file stays good */
    run->has_made = false;
    if (fd < 0) {
        fail_run(run, "processing", "What a stage has made could not be read again.");
        return;
    }
    to_next(run, (struct bytes){"", 0});
    run->input_fd = fd;
}

/* Without a descriptor it waits for one: what was paid for is not made again. */
static void to_next_blob(struct run *run, const struct sha *sha)
{
    run->made = *sha;
    run->has_made = true;
    open_made(&run->timer);
}

static void end_by_worker(struct run *run, const struct outcome *outcome)
{
    struct run_end end = {.done = outcome->verdict == VERDICT_DONE, .value = outcome->value, .blob = outcome->blob,
                          .retry = outcome->verdict == VERDICT_RETRY, .error_type = "processing", .error = outcome->error,
                          .stage = trip_stage_name(run->trip, run->stage)};
    end_run(run, &end);
}

static void on_stowed(void *data, const struct outcome *outcome)
{
    struct run *run = data;
    run->stow = NULL;
    end_by_worker(run, outcome);
}

/* A stage has made something of its input. */
static void stage_done(struct run *run, struct bytes value, const struct sha *blob)
{
    if (run->stage + 1 < run->trip->stages_count) {
        if (blob)
            to_next_blob(run, blob);
        else
            to_next(run, value);
        return;
    }
    if (!blob && value.count > LIMIT_BODY_BYTES) {
        struct bytes *piece = MEM_NEW(struct bytes);
        *piece = (struct bytes){mem_copy(value.at, value.count), value.count};
        run->stow = stow_start(run->trip->trips, piece, 1, false, on_stowed, run);
        return;
    }
    struct run_end end = {.done = true, .value = value, .blob = blob};
    end_run(run, &end);
}

/* ---- into the input ---- */

static void on_put(void *data, const struct outcome *outcome)
{
    struct run *run = data;
    run->ask = NULL;
    if (outcome->verdict == VERDICT_DONE)
        stage_done(run, outcome->value, outcome->blob);
    else
        end_by_worker(run, outcome);
}

/* The input is long and stands in a file: a worker reads it, and has it for good. Every JSON text is a jq program. */
static void put_into_file(struct run *run, struct bytes name, struct bytes value)
{
    struct buf BUF_OWNED program, BUF_OWNED stages;
    struct ask_want want = {.input_fd = run->input_fd, .type = BYTES("application/json"), .turn = ASK_GOES_ON};
    buf_init(&program, LIMIT_ASK_BYTES);
    buf_init(&stages, LIMIT_FRAME_BYTES);
    buf_text(&program, "if type == \"object\" then .[");
    json_bytes(&program, name);
    buf_print(&program, "] = %.*s else %.*s end", BYTES_ARG(value), BYTES_ARG(value));
    buf_text(&stages, "[{\"stage\":\"jq\",\"with\":{\"program\":");
    json_bytes(&stages, buf_bytes(&program));
    buf_text(&stages, "}}]");
    want.stages = buf_bytes(&stages);
    if (!buf_ok(&stages) || !buf_ok(&program)) {
        fail_run(run, "processing", "What a stage has made is too long to be put into its input.");
        return;
    }
    run->input_fd = -1;
    run->ask = ask_start(run->trip->trips->options.asker, &want, on_put, run);
    if (!run->ask)
        end_run(run, &(struct run_end){.retry = true, .error_type = "busy", .stage = trip_stage_name(run->trip, run->stage),
                                       .error = BYTES("Too many wait for workers: none could put what a stage has made into its input.")});
}

/* With "into" what a stage has made becomes a member of its input; an input that has none is replaced. */
static void stage_made(struct run *run, struct bytes value, const struct sha *blob)
{
    struct bytes name = json_get_bytes(json_get(trip_stage(run->trip, run->stage), "with"), "into");
    if (!name.count || blob) {
        stage_done(run, value, blob);
        return;
    }
    if (run->input_fd >= 0) {
        put_into_file(run, name, value);
        return;
    }
    JSON_OWNED struct json_object *input = json_parse(run->value, NULL);
    if (json_object_is_type(input, json_type_object)) {
        json_object_object_add(input, name.at, json_parse(value, NULL));
        value = bytes_of(json_object_to_json_string_ext(input, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    }
    stage_done(run, value, NULL);
}

/* ---- failures ---- */

/* Whether another attempt of a record's stage follows, and after how long. */
static bool again(struct run *run, struct json_object *stage, const struct step_result *result)
{
    struct json_object *retry = json_get(stage, "retry"), *backoff = json_get(retry, "backoff_us");
    int64_t min_us = 500000, max_us = 8000000;
    if (!result->retry || (int64_t)++run->tries >= json_get_int(retry, "attempts", 3))
        return false;
    if (json_object_is_type(backoff, json_type_array) && json_object_array_length(backoff) == 2) {
        min_us = json_object_get_int64(json_object_array_get_idx(backoff, 0));
        max_us = json_object_get_int64(json_object_array_get_idx(backoff, 1));
    }
    int64_t wait_us = min_us;
    for (uint32_t i = 1; i < run->tries && wait_us < max_us; i++)
        wait_us *= 2;
    wait_us = wait_us < max_us ? wait_us : max_us;
    if (json_get_bool(retry, "jitter", true) && wait_us > 1) {
        uint64_t drawn;
        rng_system(&drawn, sizeof drawn);
        wait_us = wait_us / 2 + (int64_t)(drawn % (uint64_t)(wait_us / 2 + 1));
    }
    if (wait_us < result->retry_after_us)
        wait_us = result->retry_after_us;
    timer_start(run->trip->trips->options.loop, &run->timer, wait_us, on_timer);
    return true;
}

static void stage_failed(struct run *run, const struct step_result *result)
{
    struct json_object *stage = trip_stage(run->trip, run->stage), *on_error = json_get(stage, "on_error"), *use = NULL;
    struct run_end end = {.error_type = result->error_type ? result->error_type : "processing", .error = result->error,
                          .stage = trip_stage_name(run->trip, run->stage), .retry_after_us = result->retry_after_us};
    const char *word = json_object_is_type(on_error, json_type_string) ? json_object_get_string(on_error) : "";
    if (run->record >= 0 ? again(run, stage, result) : result->retry && !trip_last_try(run->trip)) {
        if (run->record >= 0)
            return;
        end.retry = true;
    } else if (json_object_is_type(on_error, json_type_object) && json_object_object_get_ex(on_error, "use", &use)) {
        stage_made(run, use ? bytes_of(json_object_to_json_string_ext(use, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)) : BYTES("null"),
                   NULL);
        return;
    }
    end.dropped = !strcmp(word, "drop_record");
    end.fail_item = !strcmp(word, "fail_item");
    end.fail_job = !end.retry && !strcmp(word, "fail_job");
    end_run(run, &end);
}

void run_step_over(struct run *run, struct step *step, const struct step_result *result)
{
    struct trips *trips = run->trip->trips;
    used_add(&run->used, result->usage.count ? result->usage : step->usage);
    if (result->error_type) {
        stage_failed(run, result);
        return;
    }
    int64_t ttl_us = json_get_int(json_get(step->stage, "cache"), "ttl_us", 0);
    if (run->has_cache_key && !run->from_cache && !result->blob && ttl_us > 0)
        store_cache_put(trips->options.store, &run->cache_key, result->value, ttl_us);
    if (result->passed)
        stage_done(run, result->value, result->blob);
    else
        stage_made(run, result->value, result->blob);
}
