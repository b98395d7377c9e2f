#include "trip/schema.h"

#include "base/json.h"

#include <stdio.h>

enum { PATH_MAX_BYTES = 160, DEPTH_MAX = 32 };

/* Where we are: ".posts[3].likes". */
struct place {
    char path[PATH_MAX_BYTES];
    int depth;
};

static int check(struct json_object *schema, struct json_object *value, const struct place *at, struct problem *problem);

static const char *name_of(const struct place *at)
{
    return at->path[0] ? at->path : "it";
}

static bool is_a(struct json_object *value, const char *type)
{
    static const struct { const char *name; enum json_type type; } types[] = {
        {"object", json_type_object}, {"array", json_type_array}, {"string", json_type_string}, {"boolean", json_type_boolean},
        {"null", json_type_null},     {"integer", json_type_int}, {"number", json_type_int},    {"number", json_type_double},
    };
    enum json_type own = json_object_get_type(value);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (own == types[i].type && !strcmp(type, types[i].name))
            return true;
    double number = own == json_type_double ? json_object_get_double(value) : 0.5;
    return !strcmp(type, "integer") && number >= -9e15 && number <= 9e15 && number == (double)(int64_t)number;    /* 7.0 is one */
}

static int check_type(struct json_object *type, struct json_object *value, const struct place *at, struct problem *problem)
{
    if (json_object_is_type(type, json_type_string))
        return is_a(value, json_object_get_string(type)) ? 0 : problem_set(problem, "%s must be %s", name_of(at), json_object_get_string(type));
    for (size_t i = 0; json_object_is_type(type, json_type_array) && i < json_object_array_length(type); i++)
        if (is_a(value, json_object_get_string(json_object_array_get_idx(type, i))))
            return 0;
    return type ? problem_set(problem, "%s must be of one of the types %s", name_of(at), json_object_get_string(type)) : 0;
}

static int check_enum(struct json_object *schema, struct json_object *value, const struct place *at, struct problem *problem)
{
    struct json_object *all = json_get(schema, "enum"), *only;
    if (json_object_object_get_ex(schema, "const", &only) && !json_object_equal(only, value))
        return problem_set(problem, "%s must be %s", name_of(at), json_object_to_json_string(only));
    if (!all)
        return 0;
    for (size_t i = 0; json_object_is_type(all, json_type_array) && i < json_object_array_length(all); i++)
        if (json_object_equal(json_object_array_get_idx(all, i), value))
            return 0;
    return problem_set(problem, "%s must be one of %s", name_of(at), json_object_to_json_string(all));
}

/* One bound: is `number` on the wrong side of it? */
static int check_bound(struct json_object *schema, const char *key, double number, int side, bool open, const struct place *at, struct problem *problem)
{
    struct json_object *bound = json_get(schema, key);
    if (!bound)
        return 0;
    double limit = json_object_get_double(bound);
    bool wrong = side < 0 ? (number < limit || (open && number == limit)) : (number > limit || (open && number == limit));
    return wrong ? problem_set(problem, "%s is %g, %s %g", name_of(at), number, side < 0 ? (open ? "must be above" : "at least") : (open ? "must be below" : "at most"), limit) : 0;
}

static int check_number(struct json_object *schema, struct json_object *value, const struct place *at, struct problem *problem)
{
    double number = json_object_get_double(value);
    return check_bound(schema, "minimum", number, -1, false, at, problem) || check_bound(schema, "maximum", number, 1, false, at, problem) ||
           check_bound(schema, "exclusiveMinimum", number, -1, true, at, problem) ||
           check_bound(schema, "exclusiveMaximum", number, 1, true, at, problem) ? -1 : 0;
}

static int check_length(struct json_object *schema, const char *least, const char *most, size_t count, const char *what, const struct place *at,
                        struct problem *problem)
{
    int64_t min = json_get_int(schema, least, 0), max = json_get_int(schema, most, INT64_MAX);
    if ((int64_t)count < min || (int64_t)count > max)
        return problem_set(problem, "%s has %zu %s, %s %lld", name_of(at), count, what, (int64_t)count < min ? "at least" : "at most",
                           (long long)((int64_t)count < min ? min : max));
    return 0;
}

static struct place below(const struct place *at, const char *key, size_t index)
{
    struct place place = {.depth = at->depth + 1};
    if (key)
        snprintf(place.path, sizeof place.path, "%.80s.%.60s", at->path, key);
    else
        snprintf(place.path, sizeof place.path, "%.80s[%zu]", at->path, index);
    return place;
}

static int check_object(struct json_object *schema, struct json_object *value, const struct place *at, struct problem *problem)
{
    struct json_object *properties = json_get(schema, "properties"), *required = json_get(schema, "required"), *others = NULL;
    for (size_t i = 0; json_object_is_type(required, json_type_array) && i < json_object_array_length(required); i++) {
        const char *key = json_object_get_string(json_object_array_get_idx(required, i));
        if (!json_object_object_get_ex(value, key, NULL))
            return problem_set(problem, "%s lacks \"%.60s\"", name_of(at), key);
    }
    json_object_object_get_ex(schema, "additionalProperties", &others);
    json_object_object_foreach(value, key, member) {
        struct json_object *own = json_get(properties, key);
        struct place place = below(at, key, 0);
        if (!own && json_object_is_type(others, json_type_boolean) && !json_object_get_boolean(others))
            return problem_set(problem, "%s must not have \"%.60s\"", name_of(at), key);
        if (!own && json_object_is_type(others, json_type_object))
            own = others;
        if (own && check(own, member, &place, problem))
            return -1;
    }
    return 0;
}

static int check_array(struct json_object *schema, struct json_object *value, const struct place *at, struct problem *problem)
{
    struct json_object *items = json_get(schema, "items");
    size_t count = json_object_array_length(value);
    if (check_length(schema, "minItems", "maxItems", count, "items", at, problem))
        return -1;
    for (size_t i = 0; items && i < count; i++) {
        struct place place = below(at, NULL, i);
        if (check(items, json_object_array_get_idx(value, i), &place, problem))
            return -1;
    }
    return 0;
}

static int check_any(struct json_object *any, struct json_object *value, const struct place *at, struct problem *problem)
{
    struct problem last = {0};
    for (size_t i = 0; i < json_object_array_length(any); i++) {
        last = (struct problem){0};
        if (!check(json_object_array_get_idx(any, i), value, at, &last))
            return 0;
    }
    return problem_set(problem, "%s fits none of the alternatives (%.300s)", name_of(at), last.text);
}

static int check(struct json_object *schema, struct json_object *value, const struct place *at, struct problem *problem)
{
    struct json_object *any = json_get(schema, "anyOf");
    if (!json_object_is_type(schema, json_type_object))
        return 0;
    if (at->depth > DEPTH_MAX)
        return problem_set(problem, "%s is nested more than %d deep", name_of(at), DEPTH_MAX);
    if (json_object_is_type(any, json_type_array) && check_any(any, value, at, problem))
        return -1;
    if (check_type(json_get(schema, "type"), value, at, problem) || check_enum(schema, value, at, problem))
        return -1;
    switch (json_object_get_type(value)) {
    case json_type_object: return check_object(schema, value, at, problem);
    case json_type_array: return check_array(schema, value, at, problem);
    case json_type_int:
    case json_type_double: return check_number(schema, value, at, problem);
    case json_type_string:
        return check_length(schema, "minLength", "maxLength", (size_t)json_object_get_string_len(value), "bytes", at, problem);
    default: return 0;
    }
}

int schema_check(struct json_object *schema, struct json_object *value, struct problem *problem)
{
    struct place top = {0};
    return check(schema, value, &top, problem);
}
