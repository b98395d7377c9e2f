/* Durable no-op items through the whole engine: intake, claim, start, outcome, commit, end, on the real log, with a crew that
 * answers at once. What it costs in CPU an item, all threads together.
 *
 * Usage: engine_bench [DIR] [ITEMS] [IN_FLIGHT]; DIR is made and must not hold a log (default: under the temporary folder). */
#include "base/mem.h"
#include "engine/engine_loop.h"
#include "store/sqlite.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIPELINE "{\"name\":\"noop\",\"legs\":[{\"stages\":[\"noop\"]}]}"

/* A crew of `slots` that does nothing, in the turn after it was asked. */
struct idle_crew {
    struct crew crew;
    struct loop *loop;
    struct timer timer;
    struct token *tasks;
    size_t count, slots;
};

static size_t slots_free(struct crew *crew)
{
    struct idle_crew *idle = (struct idle_crew *)crew;
    return idle->slots - idle->count;
}

static void answer(struct timer *timer)
{
    struct idle_crew *idle = TIMER_OF(timer, struct idle_crew, timer);
    struct outcome outcome = {.verdict = VERDICT_DONE, .value = BYTES("{\"ok\":true}"), .stats = BYTES("{\"accuracy\":100}")};
    struct token tasks[1024];
    size_t count = idle->count;
    memcpy(tasks, idle->tasks, count * sizeof *tasks);
    idle->count = 0;
    for (size_t i = 0; i < count; i++)
        idle->crew.client.outcome(idle->crew.client.data, tasks[i], &outcome, false);
}

static void start(struct crew *crew, const struct task *task)
{
    struct idle_crew *idle = (struct idle_crew *)crew;
    idle->tasks[idle->count++] = task->token;
    if (!timer_runs(&idle->timer))
        timer_start(idle->loop, &idle->timer, 0, answer);
}

static void stop(struct crew *crew, struct token token, bool for_good)
{
}

static const struct crew_ops idle_ops = {slots_free, start, stop};

struct finish {
    struct watcher watcher;
    struct loop *loop;
};

static void news(struct watcher *watcher)
{
    const struct job *job = live_job(watcher->live);
    if (job->ended && live_durable_seq(watcher->live) == job->seq)
        loop_stop(((struct finish *)watcher)->loop);
}

static void post(void *loop, void (*call)(void *data), void *data)
{
    loop_post(loop, call, data);
}

static double cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    return remove(path);
}

static void submit(struct engine *engine, const struct pipeline *pipeline, struct loop *loop, size_t items, size_t in_flight)
{
    struct item_spec *specs = mem_new(items * sizeof *specs);
    struct problem problem = {0};
    bool busy;
    for (size_t i = 0; i < items; i++)
        specs[i] = (struct item_spec){.name = BYTES("item"), .bytes = 2, .value = BYTES("{}")};
    struct store_job job = {.owner = BYTES("local"), .pipeline = pipeline, .in_flight = (uint32_t)in_flight};
    struct live *live = engine_submit(engine, &job, specs, items, &busy, &problem);
    struct finish finish = {.watcher.news = news, .loop = loop};
    if (!live) {
        fprintf(stderr, "%s\n", problem.text);
        exit(1);
    }
    store_watch(live, &finish.watcher);
    loop_run(loop);
    store_unwatch(&finish.watcher);
    free(specs);
}

int main(int argc, char **argv)
{
    char temporary[] = "/tmp/rivulet-bench-XXXXXX";
    const char *dir = argc > 1 && argv[1][0] ? argv[1] : mkdtemp(temporary);
    size_t items = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000, in_flight = argc > 3 ? strtoul(argv[3], NULL, 10) : 16;
    struct problem problem = {0};
    struct loop *loop;
    struct blobs *blobs;
    struct log *log;
    mkdir(dir, 0700);
    if (in_flight > 1024 || loop_open(&loop, &problem) || blobs_open(dir, &blobs, &problem))
        return fprintf(stderr, "%s\n", problem.text), 1;
    struct store_world world = engine_loop_store_world(loop);
    struct store *store = store_new(&world);
    if (sqlite_open(dir, (struct log_door){loop, post}, store_opening(store), blobs, &log, &problem) || store_start(store, log, &problem))
        return fprintf(stderr, "%s\n", problem.text), 1;
    struct idle_crew idle = {.crew.ops = &idle_ops, .loop = loop, .slots = in_flight, .tasks = mem_new(in_flight * sizeof(struct token))};
    struct engine_loop *engine_loop = engine_loop_new(loop, store, (struct crew *const[ROOM_COUNT]){&idle.crew}, blobs, 0);
    struct pipeline *pipeline = pipeline_parse(BYTES(PIPELINE), &problem);
    submit(engine_loop_engine(engine_loop), pipeline, loop, items / 10, in_flight);    /* warm */
    double cpu = cpu_us();
    int64_t began = loop_now_us(loop);
    submit(engine_loop_engine(engine_loop), pipeline, loop, items, in_flight);
    double wall = (double)(loop_now_us(loop) - began);
    cpu = cpu_us() - cpu;
    printf("{\"items\":%zu,\"in_flight\":%zu,\"cpu_us_per_item\":%.1f,\"items_per_s\":%.0f}\n", items, in_flight, cpu / (double)items,
           (double)items / wall * 1e6);
    engine_loop_free(engine_loop);
    store_close(store);
    blobs_close(blobs);
    loop_close(loop);
    pipeline_free(pipeline);
    free(idle.tasks);
    if (argc < 2 || !argv[1][0])
        nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
