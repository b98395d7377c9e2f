#include "cli/host.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "core/resource.h"
#include "os/file.h"
#include "stage/models.h"
#include "store/sqlite.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STAGES_MAX = 16 };

/* ---- the directory ---- */

static int make_temporary(struct host *host, struct problem *problem)
{
    const char *folder = getenv("TMPDIR");
    struct buf path;
    buf_init(&path, 4096);
    buf_print(&path, "%s/rivulet-XXXXXX", folder && folder[0] ? folder : "/tmp");
    host->dir = buf_take(&path, NULL);
    if (!host->dir || !mkdtemp(host->dir)) {
        int error = host->dir ? errno : ENAMETOOLONG;
        free(host->dir);
        host->dir = NULL;
        return problem_set(problem, "no temporary directory can be made in %s: %s", folder && folder[0] ? folder : "/tmp", strerror(error));
    }
    host->temporary = true;
    return 0;
}

static int make_directory(struct host *host, const char *dir, struct problem *problem)
{
    if (!dir)
        return make_temporary(host, problem);
    host->dir = mem_text(dir);
    if (mkdir(dir, 0700) && errno != EEXIST)
        return problem_set(problem, "the data directory \"%s\" cannot be made: %s", dir, strerror(errno));
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    return remove(path);
}

/* ---- the store ---- */

static void post(void *loop, void (*call)(void *data), void *data)
{
    loop_post(loop, call, data);
}

/* How many units of each resource there are, and whether every pipeline that is offered can ever start. */
static int find_resources(struct host *host, const struct settings *settings, struct resources *ret, struct problem *problem)
{
    if (resources_parse(bytes_of(settings->resources ? settings->resources : ""), ret, problem))
        return -1;
    for (size_t i = 0; i < host->shelf.count; i++)
        if (resources_check(ret, host->shelf.entries[i].pipeline, problem))
            return -1;
    return 0;
}

static int open_store(struct host *host, const struct host_options *options, struct problem *problem)
{
    struct resources resources;
    struct log *log = NULL;
    struct store_world world = engine_loop_store_world(host->loop);
    world.id = options->id;
    world.id_data = options->id_data;
    if (find_resources(host, options->settings, &resources, problem) || blobs_open(host->dir, &host->blobs, problem))
        return -1;
    host->store = store_new(&world);
    store_set_pools(host->store, &resources);
    if (sqlite_open(host->dir, (struct log_door){host->loop, post}, store_opening(host->store), host->blobs, &log, problem))
        return -1;
    return store_start(host->store, log, problem);
}

/* ---- the workers ---- */

static void worker_ready(void *data, size_t ready)
{
    struct host *host = data;
    if (host->ready)
        return;
    host->ready = true;
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

/* The names of all stages of a shelf, each once. */
struct stages {
    struct json_object *trees[SHELF_MAX * PIPELINE_LEGS_MAX];    /* the names point into these */
    size_t trees_count;
    const char *names[STAGES_MAX];
    size_t count;
};

static bool has_stage(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static int add_stages(const struct leg *leg, struct stages *stages, struct problem *problem)
{
    struct json_object *tree = stages->trees[stages->trees_count++] = json_parse(bytes_of(leg->stages), NULL);
    for (size_t i = 0; i < json_object_array_length(tree); i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(tree, i));
        if (has_stage(stages->names, stages->count, name))
            continue;
        if (stages->count == STAGES_MAX)
            return problem_set(problem, "the pipelines use more than %d kinds of stages", STAGES_MAX);
        stages->names[stages->count++] = name;
    }
    return 0;
}

static int find_stages(const struct shelf *shelf, struct stages *stages, struct problem *problem)
{
    for (size_t i = 0; i < shelf->count; i++)
        for (size_t l = 0; l < shelf->entries[i].pipeline->legs_count; l++)
            if (add_stages(&shelf->entries[i].pipeline->legs[l], stages, problem))
                return -1;
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
static int start_workers(struct host *host, const struct settings *settings, struct problem *problem)
{
    struct models models = {0};
    struct stages stages = {0};
    int answer = find_stages(&host->shelf, &stages, problem);
    struct workers_options options = {.count = (size_t)settings->max_workers, .stages = stages.names, .stages_count = stages.count,
                                      .blobs = host->blobs, .data = host, .ready = worker_ready, .broken = workers_broken};
    bool reads_decks = has_stage(stages.names, stages.count, "decklist") || has_stage(stages.names, stages.count, "match");
    if (!answer)
        answer = find_outfit(host, settings, reads_decks, &models, &options.outfit, problem);
    if (!answer)
        answer = workers_start(host->loop, &options, &host->crew, problem);
    models_done(&models);
    for (size_t i = 0; i < stages.trees_count; i++)
        json_drop(&stages.trees[i]);
    return answer;
}

static int fill_shelf(struct host *host, const struct host_options *options, struct problem *problem)
{
    const struct settings *settings = options->settings;
    int answer = options->pipeline.count ? shelf_fill_one(&host->shelf, options->pipeline, settings->pipeline, problem)
                                         : shelf_fill(&host->shelf, settings->pipeline, settings->catalogue, problem);
    host->pipeline = answer ? NULL : host->shelf.entries[0].pipeline;
    return answer;
}

int host_open(struct host *host, const struct host_options *options, struct problem *problem)
{
    const struct settings *settings = options->settings;
    *host = (struct host){0};
    signal(SIGPIPE, SIG_IGN);      /* a reader that has gone, and a file that may not grow, are errors of the write */
    signal(SIGXFSZ, SIG_IGN);
    if (fill_shelf(host, options, problem) || make_directory(host, options->dir, problem) || loop_open(&host->loop, problem) ||
        open_store(host, options, problem) || start_workers(host, settings, problem))
        return -1;
    host->engine_loop = engine_loop_new(host->loop, host->store, host->crew, host->blobs, settings->retention_s * 1000000);
    host->engine = engine_loop_engine(host->engine_loop);
    return 0;
}

int host_wait_ready(struct host *host, struct problem *problem)
{
    host->waiting = true;
    while (!host->ready && !host->given_up && !workers_problem(host->crew))
        loop_run(host->loop);
    host->waiting = false;
    if (host->given_up)
        return HOST_GIVEN_UP;
    return host->ready ? 0 : problem_set(problem, "%s", workers_problem(host->crew)->text);
}

/* ---- closing ---- */

static void workers_gone(void *data)
{
    struct host *host = data;
    host->stopped = true;
    loop_stop(host->loop);
}

void host_close(struct host *host)
{
    engine_loop_free(host->engine_loop);
    if (host->crew) {
        workers_stop(host->crew, workers_gone, host);
        while (!host->stopped)
            loop_run(host->loop);
    }
    store_close(host->store);
    if (host->loop)
        loop_turn(host->loop, false);    /* the log's last message is heard */
    loop_close(host->loop);        /* with it ends what the pool still writes into blobs */
    blobs_close(host->blobs);
    if (host->temporary)
        nftw(host->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    shelf_done(&host->shelf);
    free(host->dir);
    free(host->notice);
    free(host->catalogue_facts);
    *host = (struct host){0};
}
