/* A new job of what failed in an ended one.
 *
 *     states of the old job ──▶ the set of items ──▶ its key ──▶ found: follow that job until it is sealed and durable
 *                                                     └─▶ none: create, then piece by piece: read specs, pin blobs, add, wait
 *                                                         until that is durable, unpin; seal
 *
 * The key is made of the old job's id and the set, belongs to the old job's owner, and lives as long as the new job. The new job is
 * unsealed while it is filled: a restart in the middle ends it and frees the key, and the next question begins anew. */
#include "engine/engine_own.h"
#include "engine/terms.h"

#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_ITEMS = LIMIT_READ_ROWS };

struct retry {
    struct list link;              /* in the engine's list */
    struct engine *engine;
    struct store *store;
    struct live *from, *live;      /* one reference each; live: the new job, NULL before it is there */
    engine_retry_fn *done;
    void *data;
    bool all;                      /* no items were named: all that failed */
    int64_t *items;                /* the set, ascending; owned */
    size_t count, room;
    size_t checked;                /* named items that were found to have failed */
    int64_t seen;                  /* states that were looked at, when all are */
    size_t added;
    struct sha print;              /* of the question */
    struct watcher watcher;        /* of a job that another retry is filling */
    struct store_wait durable;
    struct sha pins[PIECE_ITEMS];  /* until the present piece is durable */
    size_t pins_count;
};

static const struct engine_world *world_of(const struct retry *retry)
{
    return &engine_options_of(retry->engine)->world;
}

static void unpin_all(struct retry *retry)
{
    const struct engine_world *world = world_of(retry);
    for (size_t i = 0; i < retry->pins_count && world->unpin_blob; i++)
        world->unpin_blob(world->data, &retry->pins[i]);
    retry->pins_count = 0;
}

static void retry_free(struct retry *retry)
{
    store_unwait(&retry->durable);
    store_unwatch(&retry->watcher);
    list_leave(&retry->link);
    live_unref(retry->from);
    live_unref(retry->live);
    free(retry->items);
    free(retry);
}

void retry_forget(struct engine *engine)
{
    for (struct list *link; (link = list_pop(engine_retries(engine)));) {    /* pins stay: their events may yet become durable */
        struct retry *retry = LIST_OF(link, struct retry, link);
        store_drop_asks(retry->store, retry);
        retry_free(retry);
    }
}

static void finish(struct retry *retry, int status, const struct problem *problem)
{
    retry->done(retry->data, problem ? NULL : retry->live, status, problem);
    retry_free(retry);
}

static void refuse(struct retry *retry, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void refuse(struct retry *retry, int status, const char *format, ...)
{
    struct problem problem = {0};
    char text[sizeof problem.text];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    problem_set(&problem, "%s", text);
    finish(retry, status, &problem);
}

/* What was begun is taken back; its key is free again. */
static void abandon(struct retry *retry, int status, const struct problem *problem)
{
    store_cancel(retry->store, retry->live, BYTES("server"), BYTES("retry failed"), bytes_of(problem->text));
    unpin_all(retry);
    finish(retry, status, problem);
}

static int busy_status(const struct retry *retry)
{
    return store_disk_full(retry->store) ? 507 : 503;
}

/* ---- filling the new job ---- */

static void next_piece(struct retry *retry);

static void sealed(struct store_wait *wait)
{
    finish((struct retry *)((char *)wait - offsetof(struct retry, durable)), 0, NULL);
}

static void piece_durable(struct store_wait *wait)
{
    struct retry *retry = (struct retry *)((char *)wait - offsetof(struct retry, durable));
    unpin_all(retry);
    if (retry->added < retry->count) {
        next_piece(retry);
        return;
    }
    if (live_job(retry->live)->ended) {
        struct problem problem = {0};
        problem_set(&problem, "job %s was cancelled before all items were in it", live_job(retry->live)->id);
        finish(retry, 409, &problem);
        return;
    }
    store_seal(retry->store, retry->live);
    store_when(retry->store, &retry->durable, store_pos(retry->store), sealed);
}

/* Pinned first, then looked for: a file that is there now stays until the new job's use of it is durable. */
static int pin(struct retry *retry, const struct item_spec *spec, struct problem *problem)
{
    const struct engine_world *world = world_of(retry);
    if (!spec->has_blob)
        return 0;
    if (world->pin_blob) {
        world->pin_blob(world->data, &spec->blob);
        retry->pins[retry->pins_count++] = spec->blob;
    }
    int fd = world->open_blob(world->data, &spec->blob);
    if (fd < 0)
        return problem_set(problem, "the stored file of \"%.*s\" cannot be read: %s", BYTES_ARG(spec->name), strerror(-fd));
    close(fd);
    return 0;
}

static void specs_came(void *data, const struct store_item *items, size_t count, int error)
{
    struct retry *retry = data;
    struct problem problem = {0};
    struct item_spec specs[PIECE_ITEMS];
    bool busy = false;
    int bad = error;
    if (error == -ENOENT)
        problem_set(&problem, "job %s was removed meanwhile", live_job(retry->from)->id);
    else if (error)
        problem_set(&problem, "the items of job %s cannot be read: %s", live_job(retry->from)->id, strerror(-error));
    for (size_t i = 0; i < count && !bad; i++) {
        specs[i] = items[i].spec;
        bad = pin(retry, &specs[i], &problem);
    }
    if (bad) {
        abandon(retry, error == -ENOENT ? 404 : 500, &problem);
        return;
    }
    int answer = engine_add(retry->engine, retry->live, specs, count, &busy, &problem);
    if (answer) {
        abandon(retry, busy ? busy_status(retry) : answer > 0 ? 503 : 409, &problem);
        return;
    }
    retry->added += count;
    store_when(retry->store, &retry->durable, store_pos(retry->store), piece_durable);
}

static void next_piece(struct retry *retry)
{
    size_t count = retry->count - retry->added;
    store_items(retry->store, retry->from, retry->items + retry->added, count < PIECE_ITEMS ? count : PIECE_ITEMS, specs_came, retry);
}

/* ---- one question, one job ---- */

static void look_at_other(struct watcher *watcher)
{
    struct retry *retry = LIST_OF(watcher, struct retry, watcher);
    const struct job *job = live_job(retry->live);
    if (!job->sealed && !job->ended)
        return;
    store_unwatch(watcher);
    if (!job->sealed)
        refuse(retry, 503, "the retry that was under way could not be finished: ask again");
    else
        store_when(retry->store, &retry->durable, store_pos(retry->store), sealed);
}

static void create(struct retry *retry, struct bytes key)
{
    const struct job *from = live_job(retry->from);
    struct problem problem = {0};
    bool busy;
    const char *readers[TERMS_READERS];
    struct store_job job = {.owner = bytes_of(from->owner), .pipeline = store_pipeline(retry->store, &from->hash),
                            .params = bytes_of(from->params), .trace = bytes_of(from->trace), .in_flight = from->in_flight, .ordered = from->ordered,
                            .retry_of = bytes_of(from->id), .key = key, .print = retry->print,
                            .deadline_us = from->deadline_us ? from->deadline_us - from->created_us : 0, .top_keep = from->top_keep,
                            .stop_count = from->stop_count, .max_cost = from->max_cost, .webhook = bytes_of(from->webhook)};
#ifdef BUG_TWO_RETRIES
    job.key = (struct bytes){0};
#endif
    if (!job.pipeline) {
        refuse(retry, 500, "the pipeline text of job %s is missing in the log", from->id);
        return;
    }
    job.readers = readers;
    job.readers_count = terms_readers(job.pipeline, job.webhook, readers);
    struct live *live = engine_open_job(retry->engine, &job, &busy, &problem);
    if (!live) {
        finish(retry, busy ? busy_status(retry) : 500, &problem);
        return;
    }
    retry->live = live_ref(live);
    next_piece(retry);
}

static void key_text(const struct retry *retry, char ret[80])
{
    char hex[SHA_HEX_SIZE];
    sha_hex(&retry->print, hex);
    snprintf(ret, 80, "\001retry:%s", hex);    /* no header can bring such a key */
}

static void key_found(void *data, struct live *live, const struct sha *print)
{
    struct retry *retry = data;
    char key[80];
    key_text(retry, key);
    if (!live) {
        create(retry, bytes_of(key));
        return;
    }
    retry->live = live_ref(live);
    retry->watcher.news = look_at_other;
    store_watch(live, &retry->watcher);
    look_at_other(&retry->watcher);
}

static void find_key(struct retry *retry)
{
    char key[80];
    const struct job *from = live_job(retry->from);
    struct sha_stream *stream = sha_new();
    sha_add(stream, bytes_of(from->id));
    sha_add(stream, (struct bytes){(const char *)retry->items, retry->count * sizeof *retry->items});
    retry->print = sha_end(stream);
    key_text(retry, key);
    store_find_key(retry->store, bytes_of(from->owner), bytes_of(key), key_found, retry);
}

/* ---- the set of items ---- */

static void next_states(struct retry *retry);

static void take(struct retry *retry, int64_t item)
{
    if (retry->count == retry->room) {
        retry->room = retry->room ? retry->room * 2 : 64;
        retry->items = mem_grow(retry->items, retry->room * sizeof *retry->items);
    }
    retry->items[retry->count++] = item;
}

static void states_came(void *data, const struct store_item *items, size_t count, int error)
{
    struct retry *retry = data;
    const struct job *from = live_job(retry->from);
    if (error == -ENOENT) {
        refuse(retry, 404, "job %s was removed meanwhile", from->id);
        return;
    }
    if (error || !count) {
        refuse(retry, 500, "the items of job %s cannot be read: %s", from->id, error ? strerror(-error) : "they are missing");
        return;
    }
    retry->seen = items[count - 1].index + 1;
    for (size_t i = 0; i < count && retry->all; i++)
        if (items[i].state.state == ITEM_FAILED)
            take(retry, items[i].index);
    while (!retry->all && retry->checked < retry->count && retry->items[retry->checked] <= items[count - 1].index) {
        int64_t item = retry->items[retry->checked++];
        if (items[item - items[0].index].state.state == ITEM_FAILED)
            continue;
        refuse(retry, 409, "item %lld of job %s has not failed", (long long)item, from->id);
        return;
    }
    bool over = retry->all ? (int64_t)retry->count == from->counts.failed : retry->checked == retry->count;
    if (!over && retry->all && retry->seen == from->total) {
        refuse(retry, 500, "the items of job %s cannot be read: the caches of the log are damaged", from->id);
        return;
    }
    if (over)
        find_key(retry);
    else
        next_states(retry);
}

static void next_states(struct retry *retry)
{
    int64_t from = retry->all ? retry->seen : retry->items[retry->checked];
    store_states(retry->store, retry->from, from, states_came, retry);
}

static int by_value(const void *a, const void *b)
{
    int64_t one = *(const int64_t *)a, two = *(const int64_t *)b;
    return one < two ? -1 : one > two;
}

/* Sorted, each once. */
static void take_set(struct retry *retry, const int64_t *items, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        take(retry, items[i]);
    if (count)
        qsort(retry->items, count, sizeof *retry->items, by_value);
    for (size_t i = 0; i < count; i++)
        if (!kept || retry->items[i] != retry->items[kept - 1])
            retry->items[kept++] = retry->items[i];
    retry->count = kept;
}

void engine_retry(struct engine *engine, struct live *live, const int64_t *items, size_t count, engine_retry_fn *done, void *data)
{
    const struct job *job = live_job(live);
    struct retry *retry = MEM_NEW(struct retry);
    *retry = (struct retry){.engine = engine, .store = engine_options_of(engine)->store, .from = live_ref(live), .done = done,
                            .data = data, .all = !count};
    list_push(engine_retries(engine), &retry->link);
    take_set(retry, items, count);
    int64_t outside = !retry->count ? -1 : retry->items[0] < 0 ? retry->items[0] : retry->items[retry->count - 1];
    if (!job->ended)
        refuse(retry, 409, "job %s has not ended: what fails in it can be retried when it has", job->id);
    else if (!job->counts.failed)
        refuse(retry, 409, "nothing failed in job %s", job->id);
    else if (retry->count && (outside < 0 || outside >= job->total))
        refuse(retry, 409, "job %s has no item %lld", job->id, (long long)outside);
    else
        next_states(retry);
}
