#include "engine/batches_own.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "stage/stage.h"

#include <stdlib.h>

enum { ASK_US = 60 * 1000 * 1000, ASK_INPUTS = 512, ASK_BYTES = 48 * 1024, TELL_ITEMS = 2048 };

/* ---- what the pipeline says ---- */

bool batches_wanted(const struct pipeline *pipeline)
{
    struct json_object *input = json_get(pipeline->tree, "input");
    return json_get(pipeline->tree, "batch") || json_get(input, "items") || json_get(input, "key") || json_get_bool(input, "dedupe", false);
}

static void put_program(struct buf *buf, const char *before, struct json_object *in, const char *key, const char *fallback, const char *after)
{
    const char *program = json_get(in, key) ? json_object_get_string(json_get(in, key)) : fallback;
    buf_print(buf, "%s(%s\n)%s", before, program, after);
}

/* One program over an array of inputs: [{v: value, k: key, g: group, c: key in the cache} or {v, e: error}], inputs in their order. A generator
 * that fails half-way keeps what it gave before. A file is one input. */
static char *stages_of(struct json_object *input, struct json_object *batch, struct json_object *stage, bool file)
{
    struct buf program BUF_OWNED, stages;
    buf_init(&program, LIMIT_BODY_BYTES);
    buf_text(&program, file ? "[[.] | " : "[");
    put_program(&program, ".[] as $input_ | try ($input_ | ", input, "items", ".", " | {v: .");
    put_program(&program, ", k: ", input, "key", ".", "");
    put_program(&program, ", g: ", batch, "by", "null", "");
    if (stage)
        buf_print(&program, ", c: (try (%.*s\n) catch null)", BYTES_ARG(pipeline_input_key(stage)));
    buf_text(&program, "}) catch {v: $input_, e: (if type == \"string\" then . else tojson end)}]");
    buf_init(&stages, 2 * LIMIT_BODY_BYTES);
    buf_text(&stages, "[{\"stage\":\"jq\",\"with\":{\"program\":");
    json_bytes(&stages, buf_bytes(&program));
    buf_print(&stages, ",\"time_limit_us\":%d}}]", ASK_US);      /* one document may hold a hundred thousand inputs */
    return buf_take(&stages, NULL);
}

/* The first stage, when its rows are kept in the cache. */
static struct json_object *caching_stage(const struct pipeline *pipeline)
{
    struct json_object *legs = json_get(pipeline->tree, "legs");
    struct json_object *stages = json_get(json_object_array_get_idx(legs, 0), "stages");
    struct json_object *stage = json_object_is_type(stages, json_type_array) ? json_object_array_get_idx(stages, 0) : NULL;
    return json_object_is_type(stage, json_type_object) && json_get(json_get(stage, "cache"), "row_key") ? stage : NULL;
}

static char *variables_of(const struct pipeline *pipeline, struct bytes params)
{
    struct buf buf;
    buf_init(&buf, 4 * LIMIT_BODY_BYTES);
    json_open(&buf, '{');
    json_put_raw(&buf, "params", params.count ? params : BYTES("{}"));
    json_key(&buf, "vars");
    json_tree(&buf, json_get(pipeline->tree, "vars"));
    json_close(&buf, '}');
    return buf_take(&buf, NULL);
}

struct batches *batches_new(const struct batches_world *world, const struct pipeline *pipeline, struct bytes params, int64_t first)
{
    struct json_object *input = json_get(pipeline->tree, "input"), *batch = json_get(pipeline->tree, "batch");
    struct json_object *stage = caching_stage(pipeline);
    struct batches *batches = MEM_NEW(struct batches);
    batches->world = *world;
    batches->pipeline = pipeline;
    batches->first = first;
    batches->variables = variables_of(pipeline, params);
    batches->dedupe = json_get_bool(input, "dedupe", false);
    batches->grouped = batch != NULL;
    batches->size = json_get_int(batch, "size", 1);
    batches->cache_stage = stage;
    if (stage || json_get(input, "items") || json_get(input, "key") || json_get(batch, "by")) {
        batches->stages = stages_of(input, batch, stage, false);
        batches->file_stages = stages_of(input, batch, stage, true);
    }
    list_init(&batches->whole);
    list_init(&batches->asked);
    list_init(&batches->told);
    return batches;
}

/* ---- the end of a call ---- */

static void tell(struct batches *batches, const struct problem *problem)
{
    batches_fn *got = batches->got;
    size_t count = 0;
    made_drop_all(&batches->told);
    if (!batches->specs)
        batches->specs = mem_new(TELL_ITEMS * sizeof *batches->specs);
    while (!problem && count < TELL_ITEMS && !list_empty(&batches->whole)) {
        struct made *made = LIST_OF(list_pop(&batches->whole), struct made, link);
        list_push(&batches->told, &made->link);
        batches->specs[count++] = (struct item_spec){
            .name = made->name, .type = BYTES("application/json"), .bytes = (int64_t)made->value.count, .key = made->key, .has_blob = made->has_blob,
            .blob = made->blob, .value = made->has_blob ? (struct bytes){0} : made->value, .reject_error = made->error,
            .reject_type = made->error.count ? BYTES("validation") : (struct bytes){0}};
    }
    batches->got = NULL;
    got(batches->data, batches->specs, count, problem);
}

static void fail(struct batches *batches, const char *why)
{
    struct problem problem = {0};
    problem_set(&problem, "The inputs could not be told apart: %s", why);
    tell(batches, &problem);
}

/* Values that are too long for an event become blobs, all of them in one go. Thread: pool. */
static int store_long(void *data)
{
    struct batches *batches = data;
    LIST_EACH(link, &batches->whole) {
        struct made *made = LIST_OF(link, struct made, link);
        if (made->has_blob || made->error.count || made->value.count <= LIMIT_VALUE_BYTES)
            continue;
        int rc = blob_put(batches->world.blobs, made->value, &made->blob);
        if (rc)
            return rc;
        made->has_blob = true;
        if (batches->pins_count == batches->pins_room) {
            batches->pins_room = batches->pins_room ? 2 * batches->pins_room : 16;
            batches->pins = mem_grow(batches->pins, batches->pins_room * sizeof *batches->pins);
        }
        batches->pins[batches->pins_count++] = made->blob;
    }
    return 0;
}

static void stored_long(void *data, int rc)
{
    struct batches *batches = data;
    batches->in_pool = false;
    if (batches->dead)
        batches_free(batches);
    else if (rc)
        fail(batches, strerror(-rc));
    else
        tell(batches, NULL);
}

static void finish(struct batches *batches)
{
    bool any_long = false;
    LIST_EACH(link, &batches->whole) {
        struct made *made = LIST_OF(link, struct made, link);
        any_long |= !made->has_blob && !made->error.count && made->value.count > LIMIT_VALUE_BYTES;
    }
    if (!any_long) {
        tell(batches, NULL);
        return;
    }
    batches->in_pool = true;
    loop_pool(batches->world.loop, store_long, stored_long, batches);
}

/* ---- inputs ---- */

static bool is_duplicate(struct batches *batches, struct bytes key)
{
    uint64_t hash;
    struct sha sha = sha_of(key);
    if (!batches->dedupe)
        return false;
    memcpy(&hash, sha.at, sizeof hash);
    if (map_get(&batches->seen, hash))
        return true;
    map_set(&batches->seen, hash, batches);
    return false;
}

static struct bytes text_of(struct json_object *value)
{
    return value ? bytes_of(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)) : BYTES("null");
}

/* A key or a group: a string as it stands, null as nothing, else its JSON. */
static struct bytes word_of(struct json_object *value)
{
    return !value ? (struct bytes){0} : json_object_is_type(value, json_type_string) ? bytes_of(json_object_get_string(value)) : text_of(value);
}

static void absorb_row(struct batches *batches, struct json_object *row)
{
    struct bytes value = text_of(json_get(row, "v")), error = json_get_bytes(row, "e");
    if (json_get(row, "e")) {
        error.count = text_cut(error, LIMIT_ERROR_BYTES);
        if (value.count > LIMIT_VALUE_BYTES)
            value = BYTES("null");
        made_item(batches, value, (struct bytes){0}, (struct bytes){0}, error.count ? error : BYTES("the pipeline's input program failed on it"), NULL);
        return;
    }
    char *value_text MEM_OWNED = mem_copy(value.at, value.count);      /* json-c's text lives until the next of the same object */
    char *key MEM_OWNED = mem_copy(word_of(json_get(row, "k")).at, word_of(json_get(row, "k")).count);
    if (is_duplicate(batches, bytes_of(key)))
        return;
    struct made *made = made_new((struct bytes){value_text, value.count}, bytes_of(key), word_of(json_get(row, "g")), (struct bytes){0});
    if (batches->cache_stage)
        made->cached_as = pipeline_row_name(batches->pipeline, batches->cache_stage, json_get(row, "c"));
    list_push(&batches->asked, &made->link);
}

static void go_on(struct batches *batches);

static void place_asked(struct batches *batches)
{
    for (struct list *link; (link = list_pop(&batches->asked));)
        group_place(batches, LIST_OF(link, struct made, link));
    go_on(batches);
}

static void look_up(struct batches *batches);

static void looked_up(void *data, const struct bytes *values, size_t count)
{
    struct batches *batches = data;
    batches->looking = false;
    if (batches->dead) {
        batches_free(batches);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct made *made = LIST_OF(list_pop(&batches->asked), struct made, link);
        made->known = values[i].at != NULL;
        group_place(batches, made);
    }
    look_up(batches);
}

static void look_up(struct batches *batches)
{
    struct sha keys[LIMIT_CACHE_KEYS];
    size_t count = 0;
    LIST_EACH(link, &batches->asked) {
        if (count == LIMIT_CACHE_KEYS)
            break;
        keys[count++] = LIST_OF(link, struct made, link)->cached_as;
    }
    if (!count) {
        go_on(batches);
        return;
    }
    batches->looking = true;
    store_cache_get(batches->world.store, keys, count, looked_up, batches);
}

static void absorb(struct batches *batches, struct bytes answer)
{
    struct problem problem = {0};
    struct json_object *rows JSON_OWNED = json_parse(answer, &problem);
    if (!json_object_is_type(rows, json_type_array)) {
        fail(batches, rows ? "their program gave no array" : problem.text);
        return;
    }
    for (size_t i = 0; i < json_object_array_length(rows); i++)
        absorb_row(batches, json_object_array_get_idx(rows, i));
    batches->at += batches->asking;
    if (batches->cache_stage && batches->grouped)
        look_up(batches);
    else
        place_asked(batches);
}

/* ---- asking ---- */

/* Thread: pool. */
static int read_answer(void *data)
{
    struct batches *batches = data;
    buf_init(&batches->answer_text, STAGE_VALUE_MAX);
    return blob_read(batches->world.blobs, &batches->answer, &batches->answer_text);
}

static void answer_read(void *data, int rc)
{
    struct batches *batches = data;
    struct buf text BUF_OWNED = batches->answer_text;
    batches->answer_text = (struct buf){0};
    batches->in_pool = false;
    blob_abandon(batches->world.blobs, &batches->answer);
    if (batches->dead)
        batches_free(batches);
    else if (rc)
        fail(batches, strerror(-rc));
    else
        absorb(batches, buf_bytes(&text));
}

static void answered(void *data, const struct outcome *outcome)
{
    struct batches *batches = data;
    batches->ask = NULL;
    if (outcome->blob) {
        batches->answer = *outcome->blob;
        batches->in_pool = true;
        loop_pool(batches->world.loop, read_answer, answer_read, batches);
    } else if (outcome->verdict != VERDICT_DONE) {
        struct problem problem = {0};
        problem_set(&problem, "%.*s", BYTES_ARG(outcome->error));
        fail(batches, problem.text);
    } else {
        absorb(batches, outcome->value);
    }
}

static void ask(struct batches *batches)
{
    struct buf value BUF_OWNED;
    const struct item_spec *input = &batches->inputs[batches->at];
    struct ask_want want = {.stages = bytes_of(batches->stages), .variables = bytes_of(batches->variables), .input_fd = -1,
                            .timeout_us = 2 * ASK_US};
    buf_init(&value, LIMIT_FRAME_BYTES);
    batches->asking = 1;
    if (input->has_blob) {
        want.input_fd = blob_open(batches->world.blobs, &input->blob);
        want.stages = bytes_of(batches->file_stages);
        want.type = BYTES("application/json");
    } else {
        size_t n = 0;
        json_open(&value, '[');
        for (; batches->at + n < batches->count && n < ASK_INPUTS && !batches->inputs[batches->at + n].has_blob &&
               (!n || value.count + batches->inputs[batches->at + n].value.count < ASK_BYTES); n++)
            json_raw(&value, batches->inputs[batches->at + n].value);
        json_close(&value, ']');
        batches->asking = n;
        want.value = buf_bytes(&value);
    }
    if (input->has_blob && want.input_fd < 0)
        fail(batches, "a stored input cannot be read");
    else if (!(batches->ask = ask_start(batches->world.asker, &want, answered, batches)))
        fail(batches, "too many others wait for the same worker");
}

/* Without a program an input is itself, its own key and of no group. */
static void take_plainly(struct batches *batches)
{
    for (; batches->at < batches->count; batches->at++) {
        const struct item_spec *input = &batches->inputs[batches->at];
        struct bytes key = input->key.count ? input->key : input->has_blob ? (struct bytes){(const char *)input->blob.at, SHA_SIZE} : input->value;
        if (is_duplicate(batches, key))
            continue;
        if (input->has_blob || input->reject_error.count)
            made_item(batches, input->value, input->key, (struct bytes){0}, input->reject_error, input->has_blob ? &input->blob : NULL);
        else
            group_place(batches, made_new(input->value, input->key, (struct bytes){0}, (struct bytes){0}));
    }
}

static void go_on(struct batches *batches)
{
    while (batches->at < batches->count && batches->inputs[batches->at].reject_error.count) {
        made_item(batches, BYTES("null"), (struct bytes){0}, (struct bytes){0}, batches->inputs[batches->at].reject_error, NULL);
        batches->at++;
    }
    if (!batches->stages)
        take_plainly(batches);
    if (batches->at < batches->count)
        ask(batches);
    else
        finish(batches);
}

static void begin(struct timer *timer)
{
    struct batches *batches = TIMER_OF(timer, struct batches, soon);
    if (batches->flushing && list_empty(&batches->whole)) {
        groups_close(batches, &batches->groups[1]);
        groups_close(batches, &batches->groups[0]);
    }
    go_on(batches);
}

void batches_feed(struct batches *batches, const struct item_spec *inputs, size_t count, batches_fn *got, void *data)
{
    batches->inputs = inputs;
    batches->count = count;
    batches->at = 0;
    batches->got = got;
    batches->data = data;
    timer_start(batches->world.loop, &batches->soon, 0, begin);
}

void batches_flush(struct batches *batches, batches_fn *got, void *data)
{
    batches->flushing = true;
    batches_feed(batches, NULL, 0, got, data);
}

void batches_free(struct batches *batches)
{
    if (!batches)
        return;
    timer_stop(batches->world.loop, &batches->soon);
    ask_drop(batches->ask);
    batches->ask = NULL;
    batches->dead = true;
    if (batches->in_pool || batches->looking)
        return;
    for (size_t i = 0; i < batches->pins_count; i++)
        blob_abandon(batches->world.blobs, &batches->pins[i]);
    groups_drop(&batches->groups[0]);
    groups_drop(&batches->groups[1]);
    made_drop_all(&batches->whole);
    made_drop_all(&batches->asked);
    made_drop_all(&batches->told);
    map_done(&batches->seen);
    free(batches->pins);
    free(batches->specs);
    free(batches->variables);
    free(batches->stages);
    free(batches->file_stages);
    free(batches);
}
