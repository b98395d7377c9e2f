#include "core/pipeline.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY_S 86400LL
enum { ATTEMPTS_MAX = 100 };

void pipeline_free(struct pipeline *pipeline)
{
    if (!pipeline)
        return;
    for (size_t i = 0; i < pipeline->legs_count; i++)
        free(pipeline->legs[i].stages);
    for (size_t i = 0; i < pipeline->legs_count; i++)
        free(pipeline->legs[i].marks);
    json_drop(&pipeline->tree);
    free(pipeline->text);
    free(pipeline->name);
    free(pipeline->result_key);
    free(pipeline);
}

static int whole(struct json_object *from, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *ret, struct problem *problem)
{
    *ret = json_get_int(from, key, json_get(from, key) ? min - 1 : fallback);
    if (*ret < min || *ret > max)
        return problem_set(problem, "pipeline: \"%s\" must be a whole number from %lld to %lld", key, (long long)min, (long long)max);
    return 0;
}

/* ---- what type a member must be of ---- */

struct member {
    const char *name;
    enum json_type type;     /* json_type_double: any number above 0; json_type_int: a whole one from 1 */
};

static const char *type_words(enum json_type type)
{
    switch (type) {
    case json_type_string: return "text";
    case json_type_object: return "an object";
    case json_type_array: return "a list";
    case json_type_boolean: return "true or false";
    case json_type_int: return "a whole number of at least 1";
    default: return "a number above 0";
    }
}

static bool fits(struct json_object *value, enum json_type type)
{
    if (type == json_type_double)
        return (json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double)) && json_object_get_double(value) > 0;
    return json_object_is_type(value, type) && (type != json_type_int || json_object_get_int64(value) >= 1);
}

/* Members that are there must be of their type; which others there are is no matter of this file. */
static int check_members(struct json_object *from, const char *where, const struct member *members, size_t count, struct problem *problem)
{
    for (size_t i = 0; i < count; i++)
        if (json_get(from, members[i].name) && !fits(json_get(from, members[i].name), members[i].type))
            return problem_set(problem, "pipeline: \"%s\" of %s must be %s", members[i].name, where, type_words(members[i].type));
    return 0;
}
#define CHECK_MEMBERS(from, where, members, problem) check_members(from, where, members, sizeof(members) / sizeof *(members), problem)

/* ---- stages ---- */

struct bytes pipeline_stage_kind(struct json_object *stage)
{
    if (json_object_is_type(stage, json_type_string))
        return (struct bytes){json_object_get_string(stage), (size_t)json_object_get_string_len(stage)};
    return json_get_bytes(stage, "stage");
}

struct bytes pipeline_stage_name(struct json_object *stage)
{
    struct bytes name = json_get_bytes(stage, "name");
    return name.count ? name : pipeline_stage_kind(stage);
}

struct json_object *pipeline_stages(const struct pipeline *pipeline, size_t leg)
{
    return json_get(json_object_array_get_idx(json_get(pipeline->tree, "legs"), leg), "stages");
}

static int check_on_error(struct json_object *on_error, const char *where, struct problem *problem)
{
    static const char *const words[] = {"continue", "drop_record", "fail_item", "fail_job"};
    bool good = !on_error || (json_object_is_type(on_error, json_type_object) && json_object_object_get_ex(on_error, "use", NULL));
    for (size_t i = 0; i < sizeof words / sizeof *words && json_object_is_type(on_error, json_type_string); i++)
        good |= !strcmp(json_object_get_string(on_error), words[i]);
    if (!good)
        return problem_set(problem, "pipeline: \"on_error\" of %s must be continue, drop_record, fail_item, fail_job or {\"use\": value}", where);
    return 0;
}

static int check_stage(struct json_object *stage, struct problem *problem)
{
    static const struct member members[] = {
        {"name", json_type_string}, {"with", json_type_object}, {"when", json_type_string}, {"else", json_type_string},
        {"timeout_us", json_type_int}, {"retry", json_type_object}, {"rate", json_type_object}, {"concurrency", json_type_int},
        {"cache", json_type_object},
    };
    static const struct member retry[] = {{"attempts", json_type_int}, {"on", json_type_array}, {"backoff_us", json_type_array}, {"jitter", json_type_boolean}};
    static const struct member rate[] = {{"requests", json_type_double}, {"requests_per_us", json_type_int}, {"tokens", json_type_double},
                                         {"tokens_per_us", json_type_int}};
    static const struct member cache[] = {{"key", json_type_string}, {"row_key", json_type_string}, {"ttl_us", json_type_int}};
    char where[64];
    struct bytes name = pipeline_stage_name(stage);
    if (!pipeline_stage_kind(stage).count)
        return problem_set(problem, "pipeline: each of \"stages\" must be the name of a kind, or an object with the name as \"stage\"");
    if (json_object_is_type(stage, json_type_string))
        return 0;
    snprintf(where, sizeof where, "the stage %.*s", (int)(name.count < 40 ? name.count : 40), name.at);
    if (CHECK_MEMBERS(stage, where, members, problem) || CHECK_MEMBERS(json_get(stage, "retry"), where, retry, problem) ||
        CHECK_MEMBERS(json_get(stage, "rate"), where, rate, problem) || CHECK_MEMBERS(json_get(stage, "cache"), where, cache, problem))
        return -1;
    return check_on_error(json_get(stage, "on_error"), where, problem);
}

/* ---- legs ---- */

static enum room room_of(struct bytes kind)
{
    static const struct { struct bytes kind; enum room room; } rooms[] = {
        {{"exec", 4}, ROOM_EXEC}, {{"http", 4}, ROOM_TRIP}, {{"remote_job", 10}, ROOM_TRIP}, {{"llm", 3}, ROOM_TRIP},
    };
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        if (bytes_equal(kind, rooms[i].kind))
            return rooms[i].room;
    return ROOM_WORKER;
}

static bool has_programs(struct json_object *stage)
{
    struct bytes kind = pipeline_stage_kind(stage);
    bool plain = bytes_equal(kind, BYTES("decklist")) || bytes_equal(kind, BYTES("match")) || bytes_equal(kind, BYTES("noop"));
    return !plain || json_get(stage, "when");
}

/* Records go through any kinds; else only what stays in a worker stands beside others. */
static int find_room(struct json_object *stages, struct leg *leg, struct problem *problem)
{
    size_t count = json_object_array_length(stages);
    leg->room = leg->records ? ROOM_TRIP : room_of(pipeline_stage_kind(json_object_array_get_idx(stages, 0)));
    for (size_t i = 0; i < count && !leg->records; i++) {
        struct json_object *stage = json_object_array_get_idx(stages, i);
        struct bytes name = pipeline_stage_name(stage);
        if (count > 1 && (leg->room != ROOM_WORKER || room_of(pipeline_stage_kind(stage)) != ROOM_WORKER))
            return problem_set(problem, "pipeline: \"stages\": %.*s is done elsewhere than the others of its leg, so it needs a leg of its own",
                               BYTES_ARG(name));
    }
    return 0;
}

static int64_t int_at(struct json_object *array, size_t index)
{
    bool there = json_object_is_type(array, json_type_array) && index < json_object_array_length(array);
    return there ? json_object_get_int64(json_object_array_get_idx(array, index)) : 0;
}

/* What the leg does not say by itself is that of its stages: the sum of their times, the most of their attempts and waits. */
static void take_stages(struct json_object *stages, struct leg *leg)
{
    int64_t timeout_us = 0, attempts = 0, first = 0, longest = 0;
    for (size_t i = 0; i < json_object_array_length(stages); i++) {
        struct json_object *stage = json_object_array_get_idx(stages, i), *retry = json_get(stage, "retry"), *waits = json_get(retry, "backoff_us");
        int64_t tries = json_get_int(retry, "attempts", 0);
        int64_t a = int_at(waits, 0), b = int_at(waits, 1);
        timeout_us += json_get_int(stage, "timeout_us", 0);
        attempts = tries > attempts ? tries : attempts;
        leg->steady |= !json_get_bool(retry, "jitter", true);
        first = a > first ? a : first;
        longest = b > longest ? b : longest;
    }
    leg->timeout_us = timeout_us ? timeout_us : 60 * 1000000LL;
    leg->attempts = attempts ? (uint32_t)attempts : 3;
    leg->backoff_min_us = longest ? first : 500 * 1000LL;
    leg->backoff_max_us = longest ? longest : 30 * 1000000LL;
}

static int parse_backoff(struct json_object *from, struct leg *leg, struct problem *problem)
{
    struct json_object *pair = json_get(from, "backoff_ms");
    if (!pair)
        return 0;
    if (!json_object_is_type(pair, json_type_array) || json_object_array_length(pair) != 2)
        return problem_set(problem, "pipeline: \"backoff_ms\" must be [first, longest]");
    leg->backoff_min_us = json_object_get_int64(json_object_array_get_idx(pair, 0)) * 1000;
    leg->backoff_max_us = json_object_get_int64(json_object_array_get_idx(pair, 1)) * 1000;
    return 0;
}

static int parse_terms(struct json_object *from, struct json_object *stages, struct leg *leg, struct problem *problem)
{
    int64_t timeout_s, attempts;
    take_stages(stages, leg);
    if (whole(from, "timeout_s", 60, 1, DAY_S, &timeout_s, problem) || whole(from, "attempts", 3, 1, ATTEMPTS_MAX, &attempts, problem) ||
        parse_backoff(from, leg, problem))
        return -1;
    if (json_get(from, "timeout_s"))
        leg->timeout_us = timeout_s * 1000000;
    if (json_get(from, "attempts"))
        leg->attempts = (uint32_t)attempts;
    if (json_get(from, "jitter"))
        leg->steady = !json_get_bool(from, "jitter", true);
    if (leg->timeout_us > 7 * DAY_S * 1000000)
        return problem_set(problem, "pipeline: the \"timeout_us\" of a leg's stages must stay within seven days together");
    if (leg->attempts > ATTEMPTS_MAX)
        return problem_set(problem, "pipeline: \"attempts\" must be a whole number from 1 to %d", ATTEMPTS_MAX);
    if (leg->backoff_min_us < 0 || leg->backoff_max_us < leg->backoff_min_us || leg->backoff_max_us > DAY_S * 1000000)
        return problem_set(problem, "pipeline: \"%s\" must rise and stay within one day", json_get(from, "backoff_ms") ? "backoff_ms" : "backoff_us");
    return 0;
}

static bool resource_name(const char *name)
{
    size_t count = strlen(name);
    return count && count <= RESOURCE_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == count;
}

static int parse_needs(struct json_object *from, struct leg *leg, struct problem *problem)
{
    struct json_object *needs = json_get(from, "resources");
    if (!needs)
        return 0;
    if (!json_object_is_type(needs, json_type_object) || json_object_object_length(needs) > LEG_NEEDS_MAX)
        return problem_set(problem, "pipeline: \"resources\" must be an object of at most %d names and how many of each a leg takes", LEG_NEEDS_MAX);
    json_object_object_foreach(needs, name, units) {
        int64_t count = json_object_is_type(units, json_type_int) ? json_object_get_int64(units) : 0;
        if (!resource_name(name) || count < 1 || count > 1000000)
            return problem_set(problem, "pipeline: \"resources\": \"%s\" must be a name of letters, digits, _ and - with a number from 1 to 1000000",
                               name);
        struct need *need = &leg->needs[leg->needs_count++];
        memcpy(need->name, name, strlen(name) + 1);
        need->units = (uint32_t)count;
    }
    return 0;
}

static int parse_marks(struct json_object *from, struct leg *leg, struct problem *problem)
{
    static const struct member members[] = {{"score", json_type_string}, {"hit", json_type_string}};
    struct json_object *marks = json_get(from, "marks");
    if (!marks)
        return 0;
    if (!leg->records || !json_object_is_type(marks, json_type_object))
        return problem_set(problem, "pipeline: \"marks\" must be an object, of a leg with \"each\": \"record\"");
    leg->marks = mem_text(json_object_to_json_string_ext(marks, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    return CHECK_MEMBERS(marks, "marks", members, problem);
}

static int parse_leg(struct json_object *from, struct leg *leg, struct problem *problem)
{
    struct json_object *stages = json_get(from, "stages");
    if (!json_object_is_type(stages, json_type_array) || !json_object_array_length(stages))
        return problem_set(problem, "pipeline: a leg needs \"stages\", a list of stages");
    if (json_object_array_length(stages) > LIMIT_WORKER_STAGES)
        return problem_set(problem, "pipeline: \"stages\" of one leg are at most %d", LIMIT_WORKER_STAGES);
    if (json_get(from, "each") && !bytes_equal(json_get_bytes(from, "each"), BYTES("record")))
        return problem_set(problem, "pipeline: \"each\" of a leg can only be \"record\"");
    leg->records = json_get(from, "each") != NULL;
    for (size_t i = 0; i < json_object_array_length(stages); i++)
        if (check_stage(json_object_array_get_idx(stages, i), problem))
            return -1;
    for (size_t i = 0; i < json_object_array_length(stages); i++)
        leg->programs |= has_programs(json_object_array_get_idx(stages, i));
    leg->stages = mem_text(json_object_to_json_string_ext(stages, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    return find_room(stages, leg, problem) || parse_terms(from, stages, leg, problem) || parse_marks(from, leg, problem) ||
           parse_needs(from, leg, problem) ? -1 : 0;
}

static int parse_head(struct pipeline *pipeline, struct json_object *tree, struct problem *problem)
{
    static const struct member members[] = {
        {"name", json_type_string}, {"result_key", json_type_string}, {"ordered", json_type_boolean}, {"deadline_us", json_type_int},
        {"max_cost", json_type_double}, {"params", json_type_object}, {"input", json_type_object}, {"batch", json_type_object},
        {"stop", json_type_object}, {"top", json_type_object}, {"mirror", json_type_object},
    };
    struct bytes name = json_get_bytes(tree, "name"), result_key = json_get_bytes(tree, "result_key");
    int64_t concurrency, in_flight;
    if (CHECK_MEMBERS(tree, "the pipeline", members, problem))
        return -1;
    if (!name.count)
        return problem_set(problem, "pipeline: it needs a \"name\"");
    pipeline->name = mem_copy(name.at, name.count);
    pipeline->result_key = result_key.count ? mem_copy(result_key.at, result_key.count) : mem_text("result");
    if (whole(tree, "concurrency", 0, json_get(tree, "concurrency") ? 1 : 0, 1000000, &concurrency, problem) ||
        whole(tree, "in_flight", 0, json_get(tree, "in_flight") ? 1 : 0, LIMIT_IN_FLIGHT, &in_flight, problem))
        return -1;
    pipeline->concurrency = (uint32_t)concurrency;
    pipeline->in_flight = (uint32_t)in_flight;
    pipeline->ordered = json_get_bool(tree, "ordered", false);
    pipeline->deadline_us = json_get_int(tree, "deadline_us", 0);
    pipeline->max_cost = json_get_real(tree, "max_cost", 0);
    return 0;
}

static int parse(struct pipeline *pipeline, struct json_object *tree, struct problem *problem)
{
    struct json_object *legs = json_get(tree, "legs");
    if (parse_head(pipeline, tree, problem))
        return -1;
    if (!json_object_is_type(legs, json_type_array) || !json_object_array_length(legs) ||
        json_object_array_length(legs) > PIPELINE_LEGS_MAX)
        return problem_set(problem, "pipeline \"%s\": \"legs\" must be a list of 1 to %d legs", pipeline->name, PIPELINE_LEGS_MAX);
    for (size_t i = 0; i < json_object_array_length(legs); i++) {
        pipeline->legs_count = i + 1;
        if (parse_leg(json_object_array_get_idx(legs, i), &pipeline->legs[i], problem))
            return -1;
    }
    return 0;
}

struct pipeline *pipeline_parse(struct bytes text, struct problem *problem)
{
    struct json_object *tree = json_parse(text, problem);
    if (!tree)
        return NULL;
    struct pipeline *pipeline = MEM_NEW(struct pipeline);
    pipeline->tree = tree;
    pipeline->text = mem_copy(text.at, text.count);
    pipeline->hash = sha_of(text);
    if (!parse(pipeline, tree, problem))
        return pipeline;
    pipeline_free(pipeline);
    return NULL;
}

struct bytes pipeline_input_key(struct json_object *stage)
{
    struct bytes key = json_get_bytes(json_get(json_get(stage, "with"), "join"), "input_key");
    return key.count ? key : BYTES("if type == \"object\" then (.url // .id // .key // .) else . end");
}

struct sha pipeline_row_name(const struct pipeline *pipeline, struct json_object *stage, struct json_object *key)
{
    static const char *const parts[] = {"base", "start", "fetch"};
    struct buf text BUF_OWNED;
    buf_init(&text, 2 * LIMIT_BODY_BYTES);
    if (!key)
        return (struct sha){0};
    buf_add(&text, pipeline->name, strlen(pipeline->name) + 1);
    buf_put(&text, pipeline_stage_name(stage));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        buf_byte(&text, 0);
        json_tree(&text, json_get(json_get(stage, "with"), parts[i]));
    }
    buf_byte(&text, 0);
    json_tree(&text, key);
    return buf_ok(&text) ? sha_of(buf_bytes(&text)) : (struct sha){0};
}
