/* What workers compile ahead. */
#include "engine/workers_test.h"

#include <stdio.h>

#define STAGE_OF(program) "{\"stage\":\"jq\",\"with\":{\"program\":\"" program "\"}}"

static void learn(const char *stages)
{
    seen.crew->ops->learn(seen.crew, &(struct task){.stages = bytes_of(stages), .input_fd = -1});
}

static void start_jq(int item, const char *stages)
{
    struct task task = {.token = {1, item, 1, 5}, .stages = bytes_of(stages), .variables = BYTES("{}"), .value = BYTES("1"), .input_fd = -1, .timeout_us = 20000000};
    seen.crew->ops->start(seen.crew, &task);
    UNTIL(seen.outcomes[item] == 1);
}

/* What stands in /proc of a process behind its name: its state first. */
static bool stat_of(pid_t pid, char text[512], const char **ret)
{
    char path[64];
    memset(text, 0, 512);
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool read_it = fd >= 0 && read(fd, text, 511) > 0;
    if (fd >= 0)
        close(fd);
    *ret = strrchr(text, ')');
    return read_it && *ret;
}

/* It waits for a frame: there is nothing left to learn. */
static bool sleeps(pid_t pid)
{
    char text[512];
    const char *state;
    return stat_of(pid, text, &state) && state[2] == 'S';
}

/* Processor time so far, in ticks of 10 ms. */
static unsigned long ticks(pid_t pid)
{
    char text[512];
    const char *at;
    unsigned long user = 0;
    if (stat_of(pid, text, &at))
        sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu", &user);
    return user;
}

TEST_SLOW(a_worker_learns_when_it_has_nothing_else_to_do)
{
    open_crew(1, "jq", NULL);
    UNTIL(seen.readies == 1);
    start_jq(0, "[" STAGE_OF("[0]") "]");
    CHECK_INT(workers_awaited(seen.crew), 1);
    learn("[" STAGE_OF("[1]") "," STAGE_OF("[2]") "]");
    UNTIL(sleeps(workers_pid(seen.crew, 0)));
    start_jq(1, "[" STAGE_OF("[1]") "," STAGE_OF("[2]") "]");
    CHECK_TEXT(seen.value, "[2]");
    CHECK_INT(workers_awaited(seen.crew), 1);
    close_crew();
}

TEST_SLOW(a_worker_that_comes_later_learns_too)
{
    open_crew(1, "jq", NULL);
    learn("[" STAGE_OF("[1]") "]");      /* nobody is there */
    learn("[" STAGE_OF("[1]") "]");
    UNTIL(seen.readies == 1);
    UNTIL(sleeps(workers_pid(seen.crew, 0)));
    start_jq(0, "[" STAGE_OF("[1]") "]");
    kill(workers_pid(seen.crew, 0), SIGKILL);
    UNTIL(seen.readies == 2);
    UNTIL(sleeps(workers_pid(seen.crew, 0)));
    start_jq(1, "[" STAGE_OF("[1]") "]");
    CHECK_INT(workers_awaited(seen.crew), 0);
    close_crew();
}

/* Sixty take more than a second: the task is done long before the last, though the first ones were begun before it came. */
TEST_SLOW(a_task_overtakes_what_is_to_be_learned)
{
    struct buf BUF_OWNED stages;
    buf_init(&stages, LIMIT_FRAME_BYTES);
    buf_byte(&stages, '[');
    for (int i = 0; i < 60; i++)
        buf_print(&stages, "%s{\"stage\":\"jq\",\"with\":{\"program\":\"[%d]\"}}", i ? "," : "", i);
    buf_byte(&stages, ']');
    open_crew(1, "jq", NULL);
    UNTIL(seen.readies == 1);
    unsigned long before = ticks(workers_pid(seen.crew, 0));
    learn(buf_z(&stages));
    UNTIL(ticks(workers_pid(seen.crew, 0)) > before + 3);
    start_jq(0, "[" STAGE_OF("[59]") "]");
    CHECK_TEXT(seen.value, "[59]");
    CHECK_INT(workers_awaited(seen.crew), 1);
    close_crew();
}

TEST_SLOW(what_is_too_long_to_be_told_ahead_is_counted_when_it_is_wanted)
{
    static char stages[56 * 1024];
    snprintf(stages, sizeof stages, "[{\"stage\":\"jq\",\"with\":{\"program\":\"[1]%*s\"}}]", 52 * 1024, "");
    open_crew(1, "jq", NULL);
    UNTIL(seen.readies == 1);
    learn(stages);
    UNTIL(sleeps(workers_pid(seen.crew, 0)));
    CHECK_INT(workers_awaited(seen.crew), 0);
    start_jq(0, stages);
    CHECK_TEXT(seen.value, "[1]");
    CHECK_INT(workers_awaited(seen.crew), 1);
    close_crew();
}

TEST_SLOW(lessons_are_bounded_and_never_in_the_way_of_a_task)
{
    char lesson[20000];
    open_crew(1, "jq", NULL);
    UNTIL(seen.readies == 1);
    CHECK_INT(kill(workers_pid(seen.crew, 0), SIGSTOP), 0);
    for (int i = 0; i < 100; i++) {      /* more than the socket takes, and than is kept */
        snprintf(lesson, sizeof lesson, "[\"noop\",%d,\"%0*d\",{\"stage\":\"jq\",\"with\":7}]", i, 15000, i);
        learn(lesson);
    }
    const struct workers *workers = (const struct workers *)seen.crew;
    CHECK(workers->lessons_count > 1 && workers->lessons_count <= LIMIT_LESSONS && workers->lessons_bytes <= LIMIT_LESSONS_BYTES);
    CHECK_INT(kill(workers_pid(seen.crew, 0), SIGCONT), 0);
    start_jq(0, "[" STAGE_OF("[0]") "]");
    CHECK_INT(seen.verdict, VERDICT_DONE);
    learn("7");
    learn("{\"a\":1}");
    learn("[]");
    start_jq(1, "[" STAGE_OF("[0]") "]");
    CHECK_INT(seen.verdict, VERDICT_DONE);
    CHECK_INT(seen.readies, 1);
    close_crew();
}
