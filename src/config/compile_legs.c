/* Stages become legs. Workers' stages join; a stage that leaves, and one that starts a program, is a leg of its own, or the end of one over records.
 * What a leg may take is what its stages may: times are added, of attempts and back-off the most counts. */
#include "config/compile_own.h"

#include "base/limits.h"

#include <assert.h>

enum {
    LEG_DEFAULT_US = 60 * 1000000,
    ATTEMPTS_DEFAULT = 3,
};
static const int64_t REMOTE_DEFAULT_US = 3600 * 1000000LL, RECORDS_US = 86400 * 1000000LL, BACKOFF_DEFAULT_US[2] = {500000, 8000000};

struct leg_draft {
    struct json_object *stages, *resources;
    bool record, closed, remote, steady;
    int64_t timeout_us, attempts, backoff_us[2];
};

static bool is_kind(const struct draft *draft, const char *name)
{
    return !strcmp(draft->kind->shape.name, name);
}

static bool fits(const struct leg_draft *leg, const struct draft *draft)
{
    bool alone = draft->kind->place != KIND_WORKER && !draft->record;
    return leg->stages && !leg->closed && !alone && leg->record == draft->record && json_object_array_length(leg->stages) < LIMIT_WORKER_STAGES;
}

static struct json_object *text(const char *word)
{
    return json_object_new_string(word);
}

static struct json_object *pair_ms(const int64_t us[2])
{
    struct json_object *pair = json_object_new_array();
    json_object_array_add(pair, json_object_new_int64(us[0] / 1000));
    json_object_array_add(pair, json_object_new_int64(us[1] / 1000));
    return pair;
}

/* A leg over records has no time of its own: each record's stages have theirs. */
static int64_t leg_seconds(const struct leg_draft *leg)
{
    int64_t us = leg->record ? RECORDS_US : leg->timeout_us ? leg->timeout_us : leg->remote ? REMOTE_DEFAULT_US : LEG_DEFAULT_US;
    int64_t seconds = (us + 999999) / 1000000;
    return seconds > 86400 ? 86400 : seconds;
}

static void end_leg(struct json_object *legs, struct leg_draft *leg)
{
    if (!leg->stages)
        return;
    struct json_object *out = json_object_new_object();
    if (leg->record)
        json_object_object_add(out, "each", text("record"));
    json_object_object_add(out, "stages", leg->stages);
    json_object_object_add(out, "timeout_s", json_object_new_int64(leg_seconds(leg)));
    json_object_object_add(out, "attempts", json_object_new_int64(leg->attempts ? leg->attempts : ATTEMPTS_DEFAULT));
    json_object_object_add(out, "backoff_ms", pair_ms(leg->backoff_us[1] ? leg->backoff_us : BACKOFF_DEFAULT_US));
    if (leg->steady)
        json_object_object_add(out, "jitter", json_object_new_boolean(false));
    if (leg->resources)
        json_object_object_add(out, "resources", leg->resources);
    json_object_array_add(legs, out);
    *leg = (struct leg_draft){0};
}

static void add_resources(struct leg_draft *leg, struct json_object *resources)
{
    if (!resources)
        return;
    if (!leg->resources)
        leg->resources = json_object_new_object();
    json_object_object_foreach(resources, name, units) {
        int64_t more = json_object_get_int64(units), have = json_get_int(leg->resources, name, 0);
        json_object_object_add(leg->resources, name, json_object_new_int64(more > have ? more : have));
    }
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What the leg says for a stage in a worker is not said again by the stage; a stage that says nothing is its kind's name. */
static struct json_object *stage_of(const struct draft *draft)
{
    struct json_object *stage = json_object_get(draft->stage);
    if (draft->kind->place == KIND_WORKER && !draft->record) {
        json_object_object_del(stage, "timeout_us");
        json_object_object_del(stage, "retry");
    }
    if (json_object_object_length(stage) > 1)
        return stage;
    json_object_put(stage);
    return text(draft->kind->shape.name);
}

static void add_stage(struct leg_draft *leg, const struct draft *draft)
{
    if (!leg->stages)
        *leg = (struct leg_draft){.stages = json_object_new_array(), .record = draft->record};
    json_object_array_add(leg->stages, stage_of(draft));
    leg->timeout_us += draft->timeout_us;
    leg->attempts = most(leg->attempts, draft->attempts);
    for (size_t i = 0; i < 2; i++)
        leg->backoff_us[i] = most(leg->backoff_us[i], draft->backoff_us[i]);
    leg->steady |= draft->steady;
    leg->remote |= is_kind(draft, "remote_job");
    leg->closed |= draft->kind->place != KIND_WORKER;
    add_resources(leg, draft->resources);
}

/* ---- what is made of the last results ---- */

/* Takes a member out of an object and puts it elsewhere under another name. */
static void move(struct json_object *from, const char *key, struct json_object *to, const char *name)
{
    struct json_object *value = json_get(from, key);
    if (!value)
        return;
    json_object_object_add(to, name, json_object_get(value));
    json_object_object_del(from, key);
}

static struct json_object *last_record_leg(struct json_object *legs)
{
    for (size_t i = json_object_array_length(legs); i--;)
        if (json_get(json_object_array_get_idx(legs, i), "each"))
            return json_object_array_get_idx(legs, i);
    return NULL;
}

static bool ends_in_worker(const struct compile *compile)
{
    const struct draft *last = &compile->drafts[compile->drafts_count - 1];
    return last->kind->place == KIND_WORKER && !last->record;
}

static void add_tail(const struct compile *compile, struct json_object *legs, struct json_object *with)
{
    struct json_object *tail = json_object_new_object();
    struct json_object *stages = json_get(json_object_array_get_idx(legs, json_object_array_length(legs) - 1), "stages");
    json_object_object_add(tail, "stage", text("tail"));
    json_object_object_add(tail, "with", with);
    if (ends_in_worker(compile) && json_object_array_length(stages) < LIMIT_WORKER_STAGES) {
        json_object_array_add(stages, tail);
        return;
    }
    struct leg_draft leg = {.stages = json_object_new_array()};
    json_object_array_add(leg.stages, tail);
    end_leg(legs, &leg);
}

/* Scores and hits are a record's where there are records, else an item's. */
static void add_marks(struct compile *compile, struct json_object *legs)
{
    struct json_object *tail = json_object_new_object(), *marks = json_object_new_object(), *records = last_record_leg(legs);
    move(compile->out, "result", tail, "result");
    move(compile->out, "stats", tail, "stats");
    move(json_get(compile->out, "top"), "by", records ? marks : tail, "score");
    move(json_get(compile->out, "stop"), "when", records ? marks : tail, "hit");
    if (json_object_object_length(marks))
        json_object_object_add(records, "marks", json_object_get(marks));
    if (json_object_object_length(tail))
        add_tail(compile, legs, json_object_get(tail));
    json_object_put(marks);
    json_object_put(tail);
}

void compile_legs(struct compile *compile)
{
    struct json_object *legs = json_object_new_array();
    struct leg_draft leg = {0};
    for (size_t i = 0; i < compile->drafts_count; i++) {
        if (!fits(&leg, &compile->drafts[i]))
            end_leg(legs, &leg);
        add_stage(&leg, &compile->drafts[i]);
    }
    end_leg(legs, &leg);
    assert(json_object_array_length(legs));      /* no stages are a mistake, and then nobody comes here */
    add_marks(compile, legs);
    json_object_object_add(compile->out, "legs", legs);
}
