#include "core/pipeline.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdlib.h>

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

static int parse_backoff(struct json_object *from, struct leg *leg, struct problem *problem)
{
    struct json_object *pair = json_get(from, "backoff_ms");
    leg->backoff_min_us = 500 * 1000;
    leg->backoff_max_us = 30 * 1000 * 1000;
    if (!pair)
        return 0;
    if (!json_object_is_type(pair, json_type_array) || json_object_array_length(pair) != 2)
        return problem_set(problem, "pipeline: \"backoff_ms\" must be [first, longest]");
    leg->backoff_min_us = json_object_get_int64(json_object_array_get_idx(pair, 0)) * 1000;
    leg->backoff_max_us = json_object_get_int64(json_object_array_get_idx(pair, 1)) * 1000;
    if (leg->backoff_min_us < 0 || leg->backoff_max_us < leg->backoff_min_us || leg->backoff_max_us > 86400000000)
        return problem_set(problem, "pipeline: \"backoff_ms\" must rise and stay within one day");
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

static int parse_leg(struct json_object *from, struct leg *leg, struct problem *problem)
{
    struct json_object *stages = json_get(from, "stages");
    int64_t timeout_s, attempts;
    if (!json_object_is_type(stages, json_type_array) || !json_object_array_length(stages))
        return problem_set(problem, "pipeline: a leg needs \"stages\", a list of stage names");
    for (size_t i = 0; i < json_object_array_length(stages); i++)
        if (!json_object_is_type(json_object_array_get_idx(stages, i), json_type_string))
            return problem_set(problem, "pipeline: \"stages\" must be a list of names");
    if (whole(from, "timeout_s", 60, 1, 86400, &timeout_s, problem) || whole(from, "attempts", 3, 1, 100, &attempts, problem))
        return -1;
    leg->timeout_us = timeout_s * 1000000;
    leg->attempts = (uint32_t)attempts;
    leg->stages = mem_text(json_object_to_json_string_ext(stages, JSON_C_TO_STRING_PLAIN));
    return parse_backoff(from, leg, problem) || parse_needs(from, leg, problem) ? -1 : 0;
}

static int parse(struct pipeline *pipeline, struct json_object *tree, struct problem *problem)
{
    struct bytes name = json_get_bytes(tree, "name"), result_key = json_get_bytes(tree, "result_key");
    struct json_object *legs = json_get(tree, "legs");
    int64_t concurrency;
    if (!name.count)
        return problem_set(problem, "pipeline: it needs a \"name\"");
    pipeline->name = mem_copy(name.at, name.count);
    pipeline->result_key = result_key.count ? mem_copy(result_key.at, result_key.count) : mem_text("result");
    if (whole(tree, "concurrency", 0, json_get(tree, "concurrency") ? 1 : 0, 1000000, &concurrency, problem))
        return -1;
    pipeline->concurrency = (uint32_t)concurrency;
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
    struct json_object *tree JSON_OWNED = json_parse(text, problem);
    if (!tree)
        return NULL;
    struct pipeline *pipeline = MEM_NEW(struct pipeline);
    pipeline->text = mem_copy(text.at, text.count);
    pipeline->hash = sha_of(text);
    if (!parse(pipeline, tree, problem))
        return pipeline;
    pipeline_free(pipeline);
    return NULL;
}

struct sha pipeline_cache_key(const struct pipeline *pipeline, struct bytes stage, struct bytes key)
{
    struct sha_stream *hash = sha_new();
    sha_add(hash, (struct bytes){pipeline->name, strlen(pipeline->name) + 1});
    sha_add(hash, stage);
    sha_add(hash, (struct bytes){"", 1});
    sha_add(hash, key);
    return sha_end(hash);
}
