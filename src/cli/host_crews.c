#include "cli/host.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "engine/batches.h"
#include "os/file.h"
#include "stage/models.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { STAGES_MAX = 16, EXPRESSION_WORKERS = 2 };

/* ---- what the pipelines need ---- */

/* Names of stage kinds, each once. Those that only compute are always there: a job goes on with the pipeline that it started with. */
struct needs {
    const char *names[STAGES_MAX];
    size_t count;
    bool decks, exec, trips;
};

static const char *const plain_kinds[] = {"jq", "split", "gather", "tail", "noop"};

static bool has_name(const struct needs *needs, const char *name)
{
    for (size_t i = 0; i < needs->count; i++)
        if (!strcmp(needs->names[i], name))
            return true;
    return false;
}

static int add_name(struct needs *needs, const char *name, struct problem *problem)
{
    if (has_name(needs, name))
        return 0;
    if (needs->count == STAGES_MAX)
        return problem_set(problem, "the pipelines use more than %d kinds of stages", STAGES_MAX);
    needs->names[needs->count++] = name;
    needs->decks |= !strcmp(name, "decklist") || !strcmp(name, "match");
    return 0;
}

/* The names are in the kinds' own table: they outlive the tree. */
static int add_leg(struct needs *needs, const struct pipeline *pipeline, const struct leg *leg, struct problem *problem)
{
    struct json_object *stages JSON_OWNED = json_parse(bytes_of(leg->stages), NULL);
    needs->exec |= leg->room == ROOM_EXEC;
    needs->trips |= leg->room == ROOM_TRIP;
    for (size_t i = 0; leg->room == ROOM_WORKER && i < json_object_array_length(stages); i++) {
        struct json_object *stage = json_object_array_get_idx(stages, i);
        const char *name = json_object_get_string(json_object_is_type(stage, json_type_object) ? json_get(stage, "stage") : stage);
        const struct stage_kind *kind = stage_kind_find(bytes_of(name));
        if (!kind)
            return problem_set(problem, "the pipeline \"%s\" has a stage \"%s\", which does not exist", pipeline->name, name ? name : "");
        if (add_name(needs, kind->name, problem))
            return -1;
    }
    return 0;
}

static int find_needs(const struct shelf *shelf, struct needs *needs, struct problem *problem)
{
    for (size_t i = 0; i < sizeof plain_kinds / sizeof *plain_kinds; i++)
        if (add_name(needs, plain_kinds[i], problem))
            return -1;
    for (size_t i = 0; i < shelf->count; i++) {
        const struct pipeline *pipeline = shelf->entries[i].pipeline;
        needs->trips |= batches_wanted(pipeline);
        for (size_t l = 0; l < pipeline->legs_count; l++)
            if (add_leg(needs, pipeline, &pipeline->legs[l], problem))
                return -1;
    }
    return 0;
}

/* ---- the workers ---- */

static void worker_ready(void *data, size_t ready)
{
    struct host *host = data;
    if (host->ready)
        return;
    host->ready = true;
    if (host->tell_ready)
        host->tell_ready(host->tell_data);
    if (host->waiting)
        loop_stop(host->loop);
}

/* Before the first worker was ready nothing can ever be done, so the loop ends; later it may be a passing trouble. */
static void workers_broken(void *data, const struct problem *problem)
{
    struct host *host = data;
    if (!host->ready)
        loop_stop(host->loop);
    else
        fprintf(stderr, "rivulet: %s\n", problem->text);
}

static void helpers_broken(void *data, const struct problem *problem)
{
    fprintf(stderr, "rivulet: %s\n", problem->text);
}

/* A catalogue that cannot be read is told at once, before anybody waits for a worker: the text matcher is opened here, asked what it
 * loaded, and closed. */
static int check_catalogue(struct host *host, const struct stage_outfit *outfit, struct problem *problem)
{
    const struct stage_kind *match = stage_kind_find(BYTES("match"));
    void *state = NULL;
    struct buf facts;
    buf_init(&facts, LIMIT_BODY_BYTES);
    if (match->open(outfit, &state, problem))
        return -1;
    match->describe(state, &facts);
    match->close(state);
    host->catalogue_facts = buf_take(&facts, NULL);
    return 0;
}

/* What the stages need, found; `models` keeps the paths alive. */
static int find_outfit(struct host *host, const struct settings *settings, bool reads_decks, struct models *models,
                       struct stage_outfit *ret, struct problem *problem)
{
    *ret = STAGE_OUTFIT_EMPTY;
    if (!reads_decks)
        return 0;
    if (!settings->catalogue)
        return problem_set(problem, "the decklists pipeline needs a card catalogue: --catalogue FILE or CARD_MAPPING_PATH");
    models_find(models, settings->models);
    models_outfit(models, ret);
    ret->catalogue_path = settings->catalogue;
    ret->image_bytes_max = (size_t)settings->max_file_mb << 20;
    ret->engine = !strcmp(settings->engine, "onnx") ? STAGE_ENGINE_ONNX : !strcmp(settings->engine, "tesseract") ? STAGE_ENGINE_TESSERACT : STAGE_ENGINE_AUTO;
    if (ret->engine == STAGE_ENGINE_AUTO && models->notice[0])
        host->notice = mem_text(models->notice);
    return check_catalogue(host, ret, problem);
}

/* The union of what the shelf's pipelines need is what every worker loads. */
static int start_workers(struct host *host, const struct settings *settings, const struct needs *needs, struct problem *problem)
{
    struct models models = {0};
    struct workers_options options = {.count = (size_t)settings->max_workers, .stages = needs->names, .stages_count = needs->count,
                                      .blobs = host->blobs, .data = host, .ready = worker_ready, .broken = workers_broken};
    int answer = find_outfit(host, settings, needs->decks, &models, &options.outfit, problem);
    if (!answer)
        answer = workers_start(host->loop, &options, &host->crew, problem);
    models_done(&models);
    return answer;
}

/* Programs of the user's have workers of their own: each waits for one, so there are as many as may run at a time. */
static int start_programs(struct host *host, const struct settings *settings, struct problem *problem)
{
    static const char *const kinds[] = {"exec"};
    struct workers_options options = {.count = (size_t)settings->max_workers, .stages = kinds, .stages_count = sizeof kinds / sizeof *kinds,
                                      .outfit = STAGE_OUTFIT_EMPTY, .called = "programs", .exec = true, .blobs = host->blobs, .data = host, .broken = helpers_broken};
    struct buf scratch BUF_OWNED;
    buf_init(&scratch, PATH_MAX + 16);
    char *data = realpath(host->dir, NULL);
    buf_print(&scratch, "%s/scratch", data ? data : "");
    int rc = data ? file_make_dir(buf_z(&scratch)) : -errno;
    options.outfit.scratch_path = buf_z(&scratch);
    options.outfit.hidden_paths[0] = data;
    options.outfit.hidden_paths[1] = settings->keys_file;
    if (rc)
        problem_set(problem, "the folder for programs, %s, cannot be made: %s", buf_z(&scratch), strerror(-rc));
    else
        rc = workers_start(host->loop, &options, &host->exec, problem);
    free(data);
    return rc ? -1 : 0;
}

/* ---- what leaves the workers ---- */

/* The key outlives this process, so that addresses of hooks given to remote sides stay good. */
static int find_hook_key(struct host *host, struct problem *problem)
{
    struct buf path BUF_OWNED, key BUF_OWNED;
    buf_init(&path, 4096);
    buf_init(&key, sizeof host->hook_key);
    buf_print(&path, "%s/hook.key", host->dir);
    int rc = file_read(buf_z(&path), &key);
    if (!rc && key.count == sizeof host->hook_key) {
        memcpy(host->hook_key, key.at, key.count);
        return 0;
    }
    rng_system(host->hook_key, sizeof host->hook_key);
    mode_t before = umask(077);
    rc = file_replace(buf_z(&path), (struct bytes){(const char *)host->hook_key, sizeof host->hook_key});
    umask(before);
    return rc ? problem_set(problem, "the key for hooks cannot be kept in %s: %s", buf_z(&path), strerror(-rc)) : 0;
}

static int start_outside(struct host *host, const struct settings *settings, struct problem *problem)
{
    static const char *const kinds[] = {"eval", "jq", "rows"};
    struct workers_options options = {.count = EXPRESSION_WORKERS, .stages = kinds, .stages_count = sizeof kinds / sizeof *kinds,
                                      .called = "expressions", .outfit = STAGE_OUTFIT_EMPTY, .blobs = host->blobs, .data = host, .broken = helpers_broken};
    struct fetch_options calls = {.allow = settings->net_allow, .fixtures = settings->fixtures, .record = settings->record, .spool_dir = host->dir};
    if (find_hook_key(host, problem) || fetch_open(host->loop, &calls, &host->fetch, problem) ||
        workers_start(host->loop, &options, &host->expressions, problem))
        return -1;
    host->asker = asker_new(host->expressions, host->blobs);
    struct trips_options trips = {.loop = host->loop, .store = host->store, .blobs = host->blobs, .fetch = host->fetch, .asker = host->asker,
                                  .public_url = settings->public_url, .hook_key = host->hook_key};
    host->trips = trips_new(&trips);
    return 0;
}

int host_start_crews(struct host *host, const struct settings *settings, bool serves, struct problem *problem)
{
    struct needs needs = {0};
    if (find_needs(&host->shelf, &needs, problem) || start_workers(host, settings, &needs, problem))
        return -1;
    if (needs.exec && start_programs(host, settings, problem))
        return -1;
    return (serves || needs.trips) && start_outside(host, settings, problem) ? -1 : 0;
}

/* ---- the end ---- */

static void crew_gone(void *data)
{
    struct host *host = data;
    if (!--host->stopping)
        loop_stop(host->loop);
}

void host_stop_crews(struct host *host)
{
    struct crew *crews[] = {host->crew, host->exec, host->expressions};
    trips_free(host->trips);
    asker_free(host->asker);
    fetch_close(host->fetch);
    host->stopping = 1;
    for (size_t i = 0; i < sizeof crews / sizeof *crews; i++) {
        host->stopping += crews[i] != NULL;
        if (crews[i])
            workers_stop(crews[i], crew_gone, host);
    }
    if (!--host->stopping)
        return;
    while (host->stopping)
        loop_run(host->loop);
}
