#include "cli/values.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/batches.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    struct host *host;
    struct files *files;
    size_t room, texts_room;
    struct problem *problem;
    struct batches *batches;
    bool waiting, ended;
};

/* ---- texts that live as long as the items ---- */

static struct bytes keep(struct reading *reading, struct bytes text)
{
    struct files *files = reading->files;
    if (!text.count)
        return (struct bytes){0};
    if (files->texts_count == reading->texts_room) {
        reading->texts_room = reading->texts_room ? 2 * reading->texts_room : 256;
        files->texts = mem_grow(files->texts, reading->texts_room * sizeof *files->texts);
    }
    char *copy = mem_copy(text.at, text.count);
    files->texts[files->texts_count++] = copy;
    return (struct bytes){copy, text.count};
}

static struct item_spec *new_spec(struct reading *reading)
{
    struct files *files = reading->files;
    if (files->count == reading->room) {
        reading->room = reading->room ? 2 * reading->room : 256;
        files->specs = mem_grow(files->specs, reading->room * sizeof *files->specs);
    }
    files->specs[files->count] = (struct item_spec){0};
    return &files->specs[files->count++];
}

/* ---- lines ---- */

static bool stands_for_value(struct json_object *object)
{
    if (!json_object_is_type(object, json_type_object) || !json_object_object_get_ex(object, "value", NULL))
        return false;
    json_object_object_foreach(object, key, member) {
        bool text = json_object_is_type(member, json_type_string);
        if (strcmp(key, "value") != 0 && !(text && (!strcmp(key, "name") || !strcmp(key, "key") || !strcmp(key, "type"))))
            return false;
    }
    return true;
}

static int take_line(struct reading *reading, struct bytes line, size_t number)
{
    struct problem why = {0};
    char name[32];
    struct json_object *object JSON_OWNED = json_parse(line, &why);
    if (!object)
        return problem_set(reading->problem, "line %zu of the values is %s", number, why.text);
    bool named = stands_for_value(object);
    struct bytes value = named ? json_span(line, "value") : line;
    snprintf(name, sizeof name, "item %zu", reading->files->count + 1);
    struct item_spec *spec = new_spec(reading);
    spec->name = keep(reading, named && json_get(object, "name") ? json_get_bytes(object, "name") : bytes_of(name));
    spec->key = keep(reading, named ? json_get_bytes(object, "key") : (struct bytes){0});
    spec->type = BYTES("application/json");
    spec->bytes = (int64_t)value.count;
    if (value.count <= LIMIT_VALUE_BYTES) {
        spec->value = keep(reading, value);
        return 0;
    }
    int rc = blob_put(reading->host->blobs, value, &spec->blob);
    spec->has_blob = true;
    return rc ? problem_set(reading->problem, "line %zu of the values cannot be stored: %s", number, strerror(-rc)) : 0;
}

static int take_lines(struct reading *reading, FILE *from, const char *path, struct sha_stream *print)
{
    char *line = NULL;
    size_t room = 0, number = 0;
    ssize_t count;
    int answer = 0;
    while (!answer && (count = getline(&line, &room, from)) >= 0) {
        struct bytes text = {line, (size_t)count};
        number++;
        while (text.count && strchr("\r\n \t", text.at[text.count - 1]))
            text.count--;
        sha_add(print, (struct bytes){line, (size_t)count});
        if (text.count > LIMIT_JSON_BODY_BYTES)
            answer = problem_set(reading->problem, "line %zu of the values has %zu bytes, at most %d", number, text.count, LIMIT_JSON_BODY_BYTES);
        else if (text.count)
            answer = take_line(reading, text, number);
        if (!answer && reading->files->count > LIMIT_OPEN_ITEMS)
            answer = problem_set(reading->problem, "there are more than %d items", LIMIT_OPEN_ITEMS);
    }
    if (!answer && ferror(from))
        answer = problem_set(reading->problem, "\"%s\" cannot be read: %s", path, strerror(errno));
    free(line);
    return answer;
}

/* ---- batches ---- */

static void batched(void *data, const struct item_spec *items, size_t count, const struct problem *problem)
{
    struct reading *reading = data;
    if (problem)
        problem_set(reading->problem, "%s", problem->text);
    for (size_t i = 0; i < count; i++) {
        struct item_spec *spec = new_spec(reading);
        *spec = items[i];
        struct bytes *texts[] = {&spec->name, &spec->key, &spec->value, &spec->reject_error};
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
            *texts[t] = keep(reading, *texts[t]);
        if (spec->has_blob)
            blob_pin(reading->host->blobs, &spec->blob);      /* for as long as the command lives, as files are */
    }
    reading->ended = !count;
    reading->waiting = false;
    loop_stop(reading->host->loop);
}

static void wait(struct reading *reading)
{
    while (reading->waiting && !reading->host->given_up)
        loop_run(reading->host->loop);
}

/* The lines were inputs: what they come to are the items. */
static int make_batches(struct reading *reading, struct bytes params)
{
    struct host *host = reading->host;
    struct batches_world world = {host->loop, host->store, host->blobs, host->asker};
    struct files inputs = *reading->files;
    *reading->files = (struct files){0};
    reading->room = reading->texts_room = 0;
    reading->batches = batches_new(&world, host->pipeline, params, 0);
    reading->waiting = true;
    batches_feed(reading->batches, inputs.specs, inputs.count, batched, reading);
    wait(reading);
    for (reading->ended = false; !reading->ended && !reading->waiting && !problem_is(reading->problem);) {
        reading->waiting = true;
        batches_flush(reading->batches, batched, reading);
        wait(reading);
    }
    batches_free(reading->batches);
    files_done(&inputs);
    if (reading->waiting)
        problem_set(reading->problem, "stopped");
    return problem_is(reading->problem) ? -1 : 0;
}

int values_read(const char *path, struct host *host, struct bytes params, struct sha_stream *print, struct files *files, struct problem *problem)
{
    struct reading reading = {.host = host, .files = files, .problem = problem};
    bool standard = !strcmp(path, "-");
    FILE *from = standard ? stdin : fopen(path, "re");
    if (!from)
        return problem_set(problem, "the values in \"%s\" cannot be read: %s", path, strerror(errno));
    int answer = take_lines(&reading, from, path, print);
    if (!standard)
        fclose(from);
    return answer || !batches_wanted(host->pipeline) ? answer : make_batches(&reading, params);
}
