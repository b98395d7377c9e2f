#include "cli/host.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "config/environment.h"
#include "core/resource.h"
#include "os/file.h"
#include "store/sqlite.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static int fill_shelf(struct host *host, const struct host_options *options, struct problem *problem)
{
    const struct settings *settings = options->settings;
    int answer = options->pipeline.count ? shelf_fill_one(&host->shelf, options->pipeline, settings->pipeline, problem)
                                         : shelf_fill(&host->shelf, settings->pipeline, settings->catalogue, problem);
    host->pipeline = answer ? NULL : host->shelf.entries[0].pipeline;
    return answer;
}

/* To be told at the start, before an item has to fail for it. */
static void find_missing(struct host *host)
{
    struct buf text, names BUF_OWNED;
    buf_init(&text, LIMIT_BODY_BYTES);
    buf_init(&names, 4096);
    for (size_t i = 0; i < host->shelf.count; i++) {
        buf_clear(&names);
        environment_missing(host->shelf.entries[i].pipeline, &names);
        if (names.count)
            buf_print(&text, "%sthe pipeline %s needs what is not set in the environment: %s", text.count ? "; " : "", host->shelf.entries[i].pipeline->name,
                      buf_z(&names));
    }
    host->missing = text.count ? buf_take(&text, NULL) : NULL;
}

int host_open(struct host *host, const struct host_options *options, struct problem *problem)
{
    const struct settings *settings = options->settings;
    *host = (struct host){.tell_ready = options->ready, .tell_data = options->ready_data};
    signal(SIGPIPE, SIG_IGN);      /* a reader that has gone, and a file that may not grow, are errors of the write */
    signal(SIGXFSZ, SIG_IGN);
    if (fill_shelf(host, options, problem) || make_directory(host, options->dir, problem) || loop_open(&host->loop, problem) || loop_start_pool(host->loop, problem) ||
        open_store(host, options, problem) || host_start_crews(host, settings, !options->pipeline.count, problem))
        return -1;
    find_missing(host);
    struct crew *const crews[ROOM_COUNT] = {[ROOM_WORKER] = host->crew, [ROOM_EXEC] = host->exec, [ROOM_TRIP] = host->trips};
    host->engine_loop = engine_loop_new(host->loop, host->store, crews, host->blobs, settings->retention_s * 1000000);
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

void host_close(struct host *host)
{
    engine_loop_free(host->engine_loop);
    host_stop_crews(host);
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
    free(host->missing);
    free(host->catalogue_facts);
    *host = (struct host){0};
}
