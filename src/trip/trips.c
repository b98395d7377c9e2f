#include "trip/trip_own.h"

#include "base/json.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct trips *of(struct crew *crew)
{
    return (struct trips *)crew;
}

/* ---- stages ---- */

struct json_object *trip_stage(const struct trip *trip, size_t index)
{
    struct json_object *stage = index < trip->stages_count ? json_object_array_get_idx(trip->stages, index) : NULL;
    return json_object_is_type(stage, json_type_object) ? stage : NULL;
}

struct bytes trip_stage_kind(const struct trip *trip, size_t index)
{
    struct json_object *stage = index < trip->stages_count ? json_object_array_get_idx(trip->stages, index) : NULL;
    if (json_object_is_type(stage, json_type_string))
        return (struct bytes){json_object_get_string(stage), (size_t)json_object_get_string_len(stage)};
    return json_get_bytes(stage, "stage");
}

struct bytes trip_stage_name(const struct trip *trip, size_t index)
{
    struct bytes name = json_get_bytes(trip_stage(trip, index), "name");
    return name.count ? name : trip_stage_kind(trip, index);
}

static void take_stages(struct trip *trip, struct bytes text)
{
    struct json_object *legs = trip->pipeline ? json_get(trip->pipeline->tree, "legs") : NULL;
    if (json_object_is_type(legs, json_type_array) && trip->leg_number < json_object_array_length(legs))
        trip->stages = json_get(json_object_array_get_idx(legs, trip->leg_number), "stages");
    if (!json_object_is_type(trip->stages, json_type_array))
        trip->stages = trip->own_stages = json_parse(text, NULL);
    trip->stages_count = json_object_is_type(trip->stages, json_type_array) ? json_object_array_length(trip->stages) : 0;
}

/* ---- one trip ---- */

static struct bytes keep(char **at, struct bytes view)
{
    struct bytes kept = {*at, view.count};
    if (view.count)
        memcpy(*at, view.at, view.count);
    *at += view.count;
    return kept;
}

static void take_texts(struct trip *trip, const struct task *task)
{
    struct bytes id = json_span(json_span(task->variables, "job"), "id");
    char number[32];
    if (id.count > 2 && id.count <= 66)
        id = (struct bytes){id.at + 1, id.count - 2};
    else
        id = (struct bytes){number, (size_t)snprintf(number, sizeof number, "%lld", (long long)task->token.job)};
    size_t count = task->variables.count + task->value.count + task->type.count + task->trace.count + task->remote.count + id.count + 1;
    char *at = trip->texts = mem_new(count);
    trip->variables = keep(&at, task->variables);
    trip->value = keep(&at, task->value);
    trip->type = keep(&at, task->type);
    trip->trace = keep(&at, task->trace);
    trip->remote = keep(&at, task->remote);
    trip->id = keep(&at, id);
}

static struct trip *trip_new(struct trips *trips, const struct task *task)
{
    struct trip *trip = MEM_NEW(struct trip);
    trip->trips = trips;
    trip->token = task->token;
    trip->leg_number = task->leg;
    trip->pipeline = task->pipeline;
    trip->leg = task->pipeline && task->leg < task->pipeline->legs_count ? &task->pipeline->legs[task->leg] : NULL;
    trip->input_fd = task->input_fd;
    trip->has_records = task->has_records;
    take_texts(trip, task);
    take_stages(trip, task->stages);
    list_init(&trip->link);
    list_push(&trips->all, &trip->link);
    trips->count++;
    return trip;
}

static void trip_stop(struct trip *trip, bool for_good)
{
    if (trip->run)
        run_stop(trip->run, for_good);
    trip->run = NULL;
    records_stop(trip->records, for_good);
    trip->records = NULL;
}

/* Out of the crew's sight: its token means nothing from here on. */
static void trip_unlink(struct trip *trip)
{
    list_leave(&trip->link);
    trip->trips->count--;
}

void trip_free(struct trip *trip)
{
    assert(list_empty(&trip->link));
    trip_stop(trip, false);
    timer_stop(trip->trips->options.loop, &trip->timer);
    if (trip->input_fd >= 0)
        close(trip->input_fd);
    json_drop(&trip->own_stages);
    free(trip->texts);
    free(trip);
}

void trip_tell(struct trip *trip, const struct outcome *outcome)
{
    struct crew_client client = trip->trips->crew.client;
    trip_unlink(trip);
    client.outcome(client.data, trip->token, outcome, false);
    trip_free(trip);
}

static void on_fenced(struct timer *timer)
{
    struct trip *trip = TIMER_OF(timer, struct trip, timer);
    struct crew_client client = trip->trips->crew.client;
    trip_unlink(trip);
    trip_free(trip);
    if (client.free)
        client.free(client.data);
}

void trip_fence(struct trip *trip)
{
    trip->fenced = true;
    timer_start(trip->trips->options.loop, &trip->timer, 0, on_fenced);
}

bool trip_last_try(const struct trip *trip)
{
    struct live *live = trip->trips->options.store ? store_get_number(trip->trips->options.store, trip->token.job) : NULL;
    const struct job *job = live ? live_job(live) : NULL;
    if (!job || !job->items || trip->token.item >= job->total)
        return trip->leg && trip->token.attempt >= trip->leg->attempts;
    return trip->leg && job->items[trip->token.item].tries + 1u >= trip->leg->attempts;
}

static void item_over(struct run *run, const struct run_end *end)
{
    struct trip *trip = run->trip;
    struct outcome outcome = {.usage = end->usage, .value = end->value, .blob = end->blob};
    trip->run = NULL;
    if (!end->done) {
        outcome = (struct outcome){.verdict = end->retry ? VERDICT_RETRY : VERDICT_FAIL, .error = end->error, .error_type = bytes_of(end->error_type),
                                   .stage = end->stage, .usage = end->usage, .retry_after_us = end->retry_after_us, .fail_job = end->fail_job};
    }
    struct crew_client client = trip->trips->crew.client;
    trip_unlink(trip);
    client.outcome(client.data, trip->token, &outcome, false);
    run_free(run);
    trip_free(trip);
}

static void on_begin(struct timer *timer)
{
    struct trip *trip = TIMER_OF(timer, struct trip, timer);
    if (!trip->stages_count) {
        trip_tell(trip, &(struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("The leg has no stages."), .error_type = BYTES("processing")});
    } else if (trip->leg && trip->leg->records) {
        trip->records = records_new(trip);
        records_begin(trip->records);
    } else {
        trip->run = run_new(trip, -1, trip->value, trip->input_fd, item_over, NULL);
        trip->input_fd = -1;
        run_begin(trip->run);
    }
}

/* ---- the crew ---- */

static size_t slots_free(struct crew *crew)
{
    return of(crew)->count < LIMIT_TRIPS ? LIMIT_TRIPS - of(crew)->count : 0;
}

static void start(struct crew *crew, const struct task *task)
{
    struct trip *trip = trip_new(of(crew), task);
    timer_start(trip->trips->options.loop, &trip->timer, 0, on_begin);
}

static void stop(struct crew *crew, struct token token, bool for_good)
{
    LIST_EACH(link, &of(crew)->all) {
        struct trip *trip = LIST_OF(link, struct trip, link);
        if (trip->token.job != token.job || trip->token.item != token.item || trip->token.attempt != token.attempt)
            continue;
        trip_unlink(trip);
        trip_stop(trip, for_good);
        trip_free(trip);
        return;
    }
}

static bool rests(struct crew *crew, struct token token)
{
    LIST_EACH(link, &of(crew)->all) {
        const struct trip *trip = LIST_OF(link, struct trip, link);
        if (trip->token.job == token.job && trip->token.item == token.item && trip->token.attempt == token.attempt)
            return trip->records ? records_rest(trip->records) : trip->run && run_rests(trip->run);
    }
    return false;
}

/* A rehearsal of the leg, without an input. */
static void learn(struct crew *crew, const struct task *task)
{
    struct trip *trip = trip_new(of(crew), task);
    for (size_t i = 0; i < trip->stages_count; i++) {
        const struct step_kind *kind = step_kind_find(trip_stage_kind(trip, i));
        struct run *run = run_new(trip, -1, (struct bytes){0}, -1, NULL, NULL);
        run->stage = i;
        if (kind && kind->learn)
            step_learn(run, kind);
        run_free(run);
    }
    records_learn(trip);
    trip_unlink(trip);
    trip_free(trip);
}

static const struct crew_ops ops = {.slots_free = slots_free, .start = start, .stop = stop, .rests = rests, .learn = learn};

struct crew *trips_new(const struct trips_options *options)
{
    struct trips *trips = MEM_NEW(struct trips);
    trips->crew.ops = &ops;
    trips->options = *options;
    trips->limiters = limiters_new(options->loop);
    list_init(&trips->all);
    list_init(&trips->farewells);
    return &trips->crew;
}

void trips_free(struct crew *crew)
{
    if (!crew)
        return;
    struct trips *trips = of(crew);
    LIST_EACH(link, &trips->all) {
        struct trip *trip = LIST_OF(link, struct trip, link);
        trip_unlink(trip);
        trip_free(trip);
    }
    farewells_drop(trips);
    limiters_free(trips->limiters);
    free(trips);
}

struct trips_numbers trips_numbers(struct crew *crew)
{
    struct trips_numbers numbers = of(crew)->numbers;
    numbers.trips = of(crew)->count;
    numbers.limiters = limiters_numbers(of(crew)->limiters);
    return numbers;
}

static void wake(struct step *step)
{
    if (step->kind->wake)
        step->kind->wake(step);
}

int trips_wake(struct crew *crew, struct bytes hook_token)
{
    struct trips *trips = of(crew);
    int64_t job, item;
    uint32_t leg;
    if (!trips->options.hook_key || !hook_read(trips->options.hook_key, hook_token, &job, &item, &leg))
        return -1;
    LIST_EACH(link, &trips->all) {
        struct trip *trip = LIST_OF(link, struct trip, link);
        if (trip->token.job != job || trip->token.item != item || trip->leg_number != leg)
            continue;
        if (trip->run && trip->run->step)
            wake(trip->run->step);
        else if (trip->records)
            records_wake(trip->records, wake);
        break;
    }
    return 0;
}
