/* Round trips through the crew: no-op tasks with an input descriptor, one worker, then two with one task each under way.
 *     build/bench/workers-bench [TASKS]
 * Prints wall and CPU microseconds a task: CPU of the server's side, and of the children. */
#include "engine/workers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static struct {
    struct loop *loop;
    struct crew *crew;
    int64_t started, ended, wanted;
    int input_fd;
    const char *value;
    bool ready, stopped;
    size_t count;
} bench;

static void start_some(void)
{
    while (bench.started < bench.wanted && bench.crew->ops->slots_free(bench.crew)) {
        struct task task = {.token = {1, bench.started++, 1, 1}, .stages = BYTES("[\"noop\"]"), .params = BYTES("{}"),
                            .name = BYTES("deck-01.jpg"), .type = BYTES("image/jpeg"), .value = bytes_of(bench.value),
                            .input_fd = bench.input_fd < 0 ? -1 : fcntl(bench.input_fd, F_DUPFD_CLOEXEC, 0), .timeout_us = 60000000};
        bench.crew->ops->start(bench.crew, &task);
    }
}

static void on_outcome(void *data, struct token token, const struct outcome *outcome, bool late)
{
    bench.ended++;
    start_some();
}

static void on_ready(void *data, size_t ready)
{
    bench.ready = ready == bench.count;
}

static void on_stopped(void *data)
{
    bench.stopped = true;
}

static double cpu_us(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int measure(size_t count, int64_t tasks, bool with_file, const char *value)
{
    static char exe[4096];
    const char *stage = "noop";
    struct problem problem = {0};
    ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 32);
    memcpy(exe + length - strlen("bench/workers-bench"), "rivulet", 8);
    bench.count = count;
    bench.started = bench.ended = 0;
    bench.wanted = tasks;
    bench.ready = bench.stopped = false;
    bench.value = value;
    bench.input_fd = with_file ? memfd_create("input", MFD_CLOEXEC) : -1;
    struct workers_options options = {.exe = exe, .count = count, .stages = &stage, .stages_count = 1, .outfit = STAGE_OUTFIT_EMPTY,
                                      .ready = on_ready};
    if (loop_open(&bench.loop, &problem) || workers_start(bench.loop, &options, &bench.crew, &problem)) {
        fprintf(stderr, "%s\n", problem.text);
        return 1;
    }
    bench.crew->client.outcome = on_outcome;
    while (!bench.ready)
        loop_turn(bench.loop, true);
    double own = cpu_us(RUSAGE_SELF), children = cpu_us(RUSAGE_CHILDREN);
    int64_t began = loop_now_us(bench.loop);
    start_some();
    while (bench.ended < bench.wanted)
        loop_turn(bench.loop, true);
    double wall = (double)(loop_now_us(bench.loop) - began);
    own = cpu_us(RUSAGE_SELF) - own;
    workers_stop(bench.crew, on_stopped, NULL);
    while (!bench.stopped)
        loop_turn(bench.loop, true);
    children = cpu_us(RUSAGE_CHILDREN) - children;
    loop_close(bench.loop);
    close(bench.input_fd);
    double n = (double)tasks;
    printf("%zu worker%s, %s: %.1f us wall, %.1f us CPU here, %.1f us CPU in the children, a task\n", count, count > 1 ? "s" : "",
           with_file ? "a descriptor each" : value[2] ? "60 KB each" : "empty", wall / n, own / n, children / n);
    return 0;
}

int main(int argc, char **argv)
{
    static char large[60000];
    int64_t tasks = argc > 1 ? atoll(argv[1]) : 20000;
    memset(large, 'x', sizeof large - 1);
    large[0] = large[sizeof large - 2] = '"';
    return measure(1, tasks, true, "") || measure(1, tasks, false, "{}") || measure(1, tasks / 10, false, large) || measure(2, tasks, true, "");
}
