#include "config/environment.h"

#include "base/json.h"
#include "config/secret.h"

#include <stdlib.h>

void environment_walk(struct json_object *tree, environment_fn *each, void *data)
{
    struct json_object *name = json_get(tree, "$env");
    if (json_object_is_type(name, json_type_string)) {
        each(data, json_object_get_string(name), json_get(tree, "default") != NULL);
    } else if (json_object_is_type(tree, json_type_object)) {
        json_object_object_foreach(tree, key, value) {
            if (key)
                environment_walk(value, each, data);
        }
    } else if (json_object_is_type(tree, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(tree); i++)
            environment_walk(json_object_array_get_idx(tree, i), each, data);
    }
}

static bool is_told(struct bytes list, struct bytes name)
{
    while (list.count) {
        if (bytes_equal(bytes_trim(bytes_cut(&list, ',')), name))
            return true;
    }
    return false;
}

static void add_missing(void *data, const char *name, bool has_default)
{
    struct buf *list = data;
    if (!has_default && !getenv(name) && !is_told(buf_bytes(list), bytes_of(name)))
        buf_print(list, "%s%s", list->count ? ", " : "", name);
}

void environment_missing(const struct pipeline *pipeline, struct buf *ret)
{
    environment_walk(pipeline->tree, add_missing, ret);
}

static void settle(void *data, const char *name, bool has_default)
{
    secret_settle(name, SECRET_ANY, data);      /* the first problem stays */
}

int environment_settle(const struct pipeline *pipeline, struct problem *problem)
{
    environment_walk(pipeline->tree, settle, problem);
    return problem_is(problem) ? -1 : 0;
}
