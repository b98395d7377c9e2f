#include "config/shelf.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "config/builtin.h"
#include "config/environment.h"

#include <stdlib.h>

static bool accepts_images(struct json_object *tree)
{
    struct json_object *accept = json_get(json_get(tree, "input"), "accept");
    size_t count = json_object_is_type(accept, json_type_array) ? json_object_array_length(accept) : 0;
    for (size_t i = 0; i < count; i++)
        if (strncmp(json_object_get_string(json_object_array_get_idx(accept, i)), "image/", 6))
            return false;
    return count;
}

/* What reads screenshots wants pictures; so does whatever takes the name of the pipeline that does, or accepts nothing else. */
static bool takes_images(const struct pipeline *pipeline)
{
    struct json_object *first = json_object_array_get_idx(json_get(json_object_array_get_idx(json_get(pipeline->tree, "legs"), 0), "stages"), 0);
    struct bytes kind = json_object_is_type(first, json_type_string) ? bytes_of(json_object_get_string(first)) : json_get_bytes(first, "stage");
    return !strcmp(pipeline->name, "decklists") || bytes_equal(kind, BYTES("decklist")) || accepts_images(pipeline->tree);
}

/* Takes the pipeline over; NULL, with its problem set, is passed on. */
static int put(struct shelf *shelf, struct pipeline *pipeline, struct problem *problem)
{
    if (!pipeline)
        return -1;
    int answer = 0;
    if (shelf_find(shelf, bytes_of(pipeline->name)))
        answer = problem_set(problem, "two pipelines have the name \"%s\"", pipeline->name);
    else if (shelf->count == SHELF_MAX)
        answer = problem_set(problem, "there are more than %d pipelines", SHELF_MAX);
    else
        answer = environment_settle(pipeline, problem);
    if (answer) {
        pipeline_free(pipeline);
        return answer;
    }
    shelf->entries[shelf->count++] = (struct shelf_entry){pipeline, takes_images(pipeline)};
    return 0;
}

static int put_files(struct shelf *shelf, const char *files, struct problem *problem)
{
    struct bytes rest = bytes_of(files);
    while (rest.count) {
        struct bytes one = bytes_cut(&rest, ':');
        char *path MEM_OWNED = mem_copy(one.at, one.count);
        if (one.count && put(shelf, builtin_load((struct bytes){0}, path, problem), problem))
            return -1;
    }
    return 0;
}

static int put_builtin(struct shelf *shelf, struct bytes name, struct problem *problem)
{
    return shelf_find(shelf, name) ? 0 : put(shelf, builtin_load(name, NULL, problem), problem);
}

int shelf_fill(struct shelf *shelf, const char *files, bool catalogue, struct problem *problem)
{
    *shelf = (struct shelf){0};
    if (put_files(shelf, files, problem))
        return -1;
    /* Without a file the first has to be decklists, whether there is a catalogue or not: who opens the workers says what is missing. */
    if ((catalogue || !shelf->count) && put_builtin(shelf, BYTES("decklists"), problem))
        return -1;
    return put_builtin(shelf, BYTES("noop"), problem);
}

int shelf_fill_one(struct shelf *shelf, struct bytes name, const char *files, struct problem *problem)
{
    *shelf = (struct shelf){0};
    if (put_files(shelf, files, problem))
        return -1;
    if (!shelf->count)
        return put_builtin(shelf, name, problem);
    const struct shelf_entry *named = shelf_find(shelf, name);
    struct shelf_entry one = named ? *named : shelf->entries[0];
    for (size_t i = 0; i < shelf->count; i++)
        if (shelf->entries[i].pipeline != one.pipeline)
            pipeline_free(shelf->entries[i].pipeline);
    shelf->entries[0] = one;
    shelf->count = 1;
    return 0;
}

void shelf_done(struct shelf *shelf)
{
    for (size_t i = 0; i < shelf->count; i++)
        pipeline_free(shelf->entries[i].pipeline);
    *shelf = (struct shelf){0};
}

const struct shelf_entry *shelf_find(const struct shelf *shelf, struct bytes name)
{
    for (size_t i = 0; i < shelf->count; i++)
        if (bytes_equal(name, bytes_of(shelf->entries[i].pipeline->name)))
            return &shelf->entries[i];
    return NULL;
}

void shelf_names(const struct shelf *shelf, struct buf *ret)
{
    for (size_t i = 0; i < shelf->count; i++)
        buf_print(ret, "%s%s", i ? ", " : "", shelf->entries[i].pipeline->name);
}
