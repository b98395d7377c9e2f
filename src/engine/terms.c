#include "engine/terms.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

static bool is_a(struct json_object *value, struct bytes type)
{
    static const struct { struct bytes name; enum json_type type; } types[] = {
        {{"string", 6}, json_type_string}, {{"integer", 7}, json_type_int}, {{"boolean", 7}, json_type_boolean},
        {{"array", 5}, json_type_array},   {{"object", 6}, json_type_object}, {{"number", 6}, json_type_double},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (bytes_equal(type, types[i].name))
            return json_object_is_type(value, types[i].type) || (types[i].type == json_type_double && json_object_is_type(value, json_type_int));
    return true;
}

static int check_given(struct json_object *declared, struct json_object *given, const char *pipeline, struct problem *problem)
{
    json_object_object_foreach(given, name, value) {
        struct json_object *rule = json_get(declared, name);
        if (!rule)
            return problem_set(problem, "The pipeline %s has no parameter \"%s\".", pipeline, name);
        struct bytes type = json_get_bytes(rule, "type");
        if (!is_a(value, type))
            return problem_set(problem, "The parameter \"%s\" of the pipeline %s must be %.*s.", name, pipeline, BYTES_ARG(type));
    }
    return 0;
}

static int fill_in(struct json_object *declared, struct json_object *given, const char *pipeline, struct problem *problem)
{
    json_object_object_foreach(declared, name, rule) {
        struct json_object *fallback = json_get(rule, "default");
        if (json_object_object_get_ex(given, name, NULL))
            continue;
        if (fallback)
            json_object_object_add(given, name, json_object_get(fallback));
        else if (json_get_bool(rule, "required", false))
            return problem_set(problem, "The pipeline %s needs the parameter \"%s\".", pipeline, name);
    }
    return 0;
}

static int settle_params(const struct pipeline *pipeline, struct bytes params, struct json_object **ret, struct problem *problem)
{
    struct json_object *declared = json_get(pipeline->tree, "params");
    *ret = params.count ? json_parse(params, problem) : json_object_new_object();
    if (!*ret || !json_object_is_type(*ret, json_type_object))
        return problem_set(problem, "The parameters must be a JSON object.");
    if (!declared)
        return 0;
    return check_given(declared, *ret, pipeline->name, problem) || fill_in(declared, *ret, pipeline->name, problem) ? -1 : 0;
}

/* The NAME of "$params.NAME", or empty. */
static struct bytes param_named(struct json_object *number)
{
    struct bytes text = bytes_trim(bytes_of(json_object_get_string(number)));
    return bytes_start(text, BYTES("$params.")) ? (struct bytes){text.at + 8, text.count - 8} : (struct bytes){0};
}

/* A whole number from 0 to `max`: itself, as a text, or as a parameter. */
static int number_of(const struct pipeline *pipeline, const char *in, const char *key, struct json_object *params, int64_t max, int64_t *ret,
                     struct problem *problem)
{
    struct json_object *said = json_get(json_get(pipeline->tree, in), key), *number = said;
    *ret = 0;
    if (!said)
        return 0;
    if (json_object_is_type(said, json_type_string)) {
        struct bytes name = param_named(said);
        char *text MEM_OWNED = mem_copy(name.at ? name.at : "", name.count);
        number = name.count ? json_get(params, text) : NULL;
        if (!name.count && bytes_to_i64(bytes_trim(bytes_of(json_object_get_string(said))), ret) && *ret >= 0 && *ret <= max)
            return 0;
    }
    *ret = json_object_is_type(number, json_type_int) ? json_object_get_int64(number) : -1;
    if (*ret < 0 || *ret > max)
        return problem_set(problem, "The pipeline %s: \"%s\" of \"%s\" (%s) must come to a whole number from 0 to %lld.", pipeline->name, key, in,
                           json_object_get_string(said), (long long)max);
    return 0;
}

int terms_check(const struct pipeline *pipeline, struct problem *problem)
{
    static const char *const places[][2] = {{"stop", "count"}, {"top", "keep"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct json_object *said = json_get(json_get(pipeline->tree, places[i][0]), places[i][1]);
        int64_t number;
        if (!said || json_object_is_type(said, json_type_int) || bytes_to_i64(bytes_trim(bytes_of(json_object_get_string(said))), &number))
            continue;
        struct bytes name = param_named(said);
        char *text MEM_OWNED = mem_copy(name.at ? name.at : "", name.count);
        if (!name.count || !json_get(json_get(pipeline->tree, "params"), text))
            return problem_set(problem, "\"%s\" of \"%s\" must be a whole number or $params.NAME with a declared parameter, not %s", places[i][1],
                               places[i][0], json_object_get_string(said));
    }
    return 0;
}

static bool leaves_the_machine(const struct pipeline *pipeline)
{
    bool any = false;
    for (size_t i = 0; i < pipeline->legs_count; i++)
        any |= pipeline->legs[i].room == ROOM_TRIP;
    return any;
}

size_t terms_readers(const struct pipeline *pipeline, struct bytes webhook, const char *ret[TERMS_READERS])
{
    size_t count = 0;
    if (webhook.count)
        ret[count++] = "webhook";
    if (json_get(json_get(pipeline->tree, "mirror"), "firestore"))
        ret[count++] = "firestore";
    return count;
}

int terms_make(const struct pipeline *pipeline, struct bytes params, struct bytes webhook, struct terms *ret, struct store_job *job,
               struct problem *problem)
{
    struct json_object *given JSON_OWNED = NULL;
    *ret = (struct terms){0};
    if (settle_params(pipeline, params, &given, problem) ||
        number_of(pipeline, "stop", "count", given, INT64_MAX / 2, &job->stop_count, problem) ||
        number_of(pipeline, "top", "keep", given, JOB_TOP_MAX, &job->top_keep, problem))
        return -1;
    if (json_object_object_length(given)) {
        ret->params = mem_text(json_object_to_json_string_ext(given, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        job->params = bytes_of(ret->params);
    }
    if (webhook.count) {
        ret->webhook = mem_copy(webhook.at, webhook.count);
        job->webhook = bytes_of(ret->webhook);
    }
    job->readers_count = terms_readers(pipeline, webhook, ret->readers);
    job->readers = ret->readers;
    job->pipeline = pipeline;
    job->deadline_us = pipeline->deadline_us;
    job->max_cost = pipeline->max_cost;
    job->ordered |= pipeline->ordered;
    if (!job->in_flight)
        job->in_flight = pipeline->in_flight ? pipeline->in_flight : leaves_the_machine(pipeline) ? TERMS_IN_FLIGHT : 0;
    return 0;
}

void terms_done(struct terms *terms)
{
    free(terms->params);
    free(terms->webhook);
    *terms = (struct terms){0};
}
