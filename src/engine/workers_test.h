/* For the tests of crews of workers. Real children: build/tests/test-worker, which is the worker that the program is, or a rogue one by the name of its stage. */
#pragma once
#include "engine/workers.h"
#include "engine/workers_own.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ITEMS = 64 };

/* One crew and what it told. */
static struct {
    struct loop *loop;
    struct crew *crew;
    int outcomes[ITEMS], lates, late_blobs, hints, readies, frees;
    enum verdict verdict;
    char value[512], error[512], type[32], stage[64], stats[256], hint[64];
    struct problem broken;
    bool blob, unsaid, gone;
    struct sha sha;
    bool again;                    /* start the next item from inside the outcome */
    int next;
} seen;

static inline void copy(char *to, size_t room, struct bytes from)
{
    size_t count = from.count < room - 1 ? from.count : room - 1;
    if (count)
        memcpy(to, from.at, count);
    to[count] = 0;
}

static inline void start_item(int item, const char *value, int input_fd, int64_t timeout_us)
{
    struct task task = {.token = {1, item, 1, 5}, .stages = BYTES("[\"noop\"]"), .variables = BYTES("{}"), .name = BYTES("a \"name\"\n.jpg"),
                        .type = BYTES("image/jpeg"), .value = bytes_of(value), .input_fd = input_fd, .timeout_us = timeout_us};
    seen.crew->ops->start(seen.crew, &task);
}

static inline void on_outcome(void *data, struct token token, const struct outcome *outcome, bool late)
{
    if (late) {
        seen.lates++;
        seen.late_blobs += outcome->blob != NULL;
        return;
    }
    seen.outcomes[token.item]++;
    seen.verdict = outcome->verdict;
    copy(seen.value, sizeof seen.value, outcome->value);
    copy(seen.error, sizeof seen.error, outcome->error);
    copy(seen.type, sizeof seen.type, outcome->error_type);
    copy(seen.stage, sizeof seen.stage, outcome->stage);
    copy(seen.stats, sizeof seen.stats, outcome->stats);
    seen.blob = outcome->blob != NULL;
    seen.unsaid = outcome->unsaid;
    if (outcome->blob)
        seen.sha = *outcome->blob;
    if (seen.again && seen.next < ITEMS && seen.crew->ops->slots_free(seen.crew))
        start_item(seen.next++, "{}", -1, 10000000);
}

static inline void on_hint(void *data, struct token token, int percent, struct bytes status)
{
    seen.hints++;
    copy(seen.hint, sizeof seen.hint, status);
}

static inline void on_free(void *data)
{
    seen.frees++;
}

static inline void on_ready(void *data, size_t ready)
{
    seen.readies++;
}

static inline void on_broken(void *data, const struct problem *problem)
{
    seen.broken = *problem;
}

static inline void on_stopped(void *data)
{
    seen.gone = true;
}

static inline const char *exe(void)
{
    static char path[4096];
    ssize_t count = readlink("/proc/self/exe", path, sizeof path - 32);
    CHECK(count > 0);
    path[count] = 0;
    memcpy(strrchr(path, '/'), "/tests/test-worker", 19);
    return path;
}

/* A turn of the loop, and a way out when what the test waits for never comes. */
static inline bool turn(int64_t began_us)
{
    loop_turn(seen.loop, true);
    return loop_now_us(seen.loop) - began_us < 20000000;
}
#define UNTIL(truth) do { int64_t began_ = loop_now_us(seen.loop); while (!(truth) && turn(began_)) ; CHECK(truth); } while (0)

/* Keeps the loop awake while nothing else would. */
static struct timer tick;
static inline void on_tick(struct timer *timer)
{
    timer_start(seen.loop, timer, 10000, on_tick);
}

static inline void open_crew(size_t count, const char *stage, struct blobs *blobs)
{
    struct problem problem = {0};
    memset(&seen, 0, sizeof seen);
    tick = (struct timer){0};
    CHECK_INT(loop_open(&seen.loop, &problem), 0);
    struct workers_options options = {.exe = exe(), .count = count, .stages = &stage, .stages_count = 1, .outfit = STAGE_OUTFIT_EMPTY,
                                      .exec = !strcmp(stage, "exec"), .blobs = blobs, .ready = on_ready, .broken = on_broken};
    CHECK_INT(workers_start(seen.loop, &options, &seen.crew, &problem), 0);
    seen.crew->client = (struct crew_client){.outcome = on_outcome, .hint = on_hint, .free = on_free};
    timer_start(seen.loop, &tick, 10000, on_tick);
}

static inline bool no_child_is_left(void)
{
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

static inline void close_crew(void)
{
    workers_stop(seen.crew, on_stopped, NULL);
    UNTIL(seen.gone);
    timer_stop(seen.loop, &tick);
    loop_close(seen.loop);
    CHECK(no_child_is_left());
}

static inline int lowest_free(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    return fd;
}
