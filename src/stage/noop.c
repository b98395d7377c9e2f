/* The kind that does nothing: its value is its input. Benches measure the engine with it, and tests ask it to misbehave,
 * either in the job's params or, item by item, in an object "noop" inside the input value, or in a small file that is such an object
 * ({"noop": {"sleep_ms": 100}}):
 *   sleep_ms N    wait that long first             crash true    end by a signal
 *   hang true     never come back                  exit N        end the process with this status
 *   fail TEXT     fail with this sentence          retry TEXT    ask for another try with it
 *   accuracy N    give this as the stat            error_type    "validation" or "processing" (default)
 *   pad N         a result with a text of N bytes  hints true    say "ocr" 20 and "matching" 70 on the way
 *   result X      give this as the result          trace true    give the job's traceparent as the result */
#include "base/json.h"
#include "os/file.h"
#include "stage/input.h"
#include "stage/stage.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WISHES_BYTES_MAX = 1023 };

/* Waiting on a condition that nobody signals needs no system call beyond futex, which a locked-in worker still has. */
static void rest(int64_t ms)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000)
        until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_mutex_lock(&mutex);
    while (pthread_cond_timedwait(&never, &mutex, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&mutex);
}

static void give_hints(const struct stage_task *task)
{
    task->hint(task->hint_data, 20, "ocr");
    task->hint(task->hint_data, 21, "ocr");    /* too soon after the same status: dropped on the way */
    task->hint(task->hint_data, 70, "matching");
}

static void pad(struct buf *value, int64_t count)
{
    json_open(value, '{');
    json_key(value, "pad");
    buf_byte(value, '"');
    for (int64_t i = 0; i < count && value->count < STAGE_VALUE_MAX; i++)
        buf_byte(value, (char)('a' + i % 26));
    buf_byte(value, '"');
    json_close(value, '}');
}

static void wish(struct json_object *wishes, const struct stage_task *task, struct stage_outcome *outcome)
{
    int64_t sleep_ms = json_get_int(wishes, "sleep_ms", 0);
    if (sleep_ms > 0)
        rest(sleep_ms);
    if (json_get_bool(wishes, "hints", false) && task->hint)
        give_hints(task);
    if (json_get(wishes, "pad"))
        pad(&outcome->value, json_get_int(wishes, "pad", 0));
    else if (json_get(wishes, "result"))
        json_tree(&outcome->value, json_get(wishes, "result"));
    else if (json_get_bool(wishes, "trace", false))
        json_bytes(&outcome->value, task->trace);
    if (json_get_bool(wishes, "crash", false))
        __builtin_trap();
    if (json_get(wishes, "exit"))
        _exit((int)json_get_int(wishes, "exit", 0));
    while (json_get_bool(wishes, "hang", false))
        rest(1000);
    if (json_get(wishes, "accuracy"))
        stage_outcome_stat(outcome, "accuracy", json_get_real(wishes, "accuracy", 0));
    const char *type = bytes_equal(json_get_bytes(wishes, "error_type"), BYTES("validation")) ? "validation" : "processing";
    struct bytes fail = json_get_bytes(wishes, "fail"), retry = json_get_bytes(wishes, "retry");
    if (fail.at)
        stage_outcome_fail(outcome, STAGE_FAIL, type, "%.*s", BYTES_ARG(fail));
    else if (retry.at)
        stage_outcome_fail(outcome, STAGE_RETRY, type, "%.*s", BYTES_ARG(retry));
}

static void wish_from(struct bytes text, const char *inside, const struct stage_task *task, struct stage_outcome *outcome)
{
    if (!text.count || outcome->verdict != STAGE_DONE)
        return;
    JSON_OWNED struct json_object *object = json_parse(text, NULL);
    struct json_object *wishes = json_get(object, inside);
    if (wishes)
        wish(wishes, task, outcome);
}

static void wish_inside(struct bytes text, const struct stage_task *task, struct stage_outcome *outcome)
{
    if (text.count && memmem(text.at, text.count, "\"noop\"", 6))
        wish_from(text, "noop", task, outcome);
}

/* Larger files are data: they are not read. */
static void wish_in_file(const struct stage_task *task, struct stage_outcome *outcome)
{
    struct buf text BUF_OWNED;
    struct problem problem = {0};
    int64_t size;
    buf_init(&text, WISHES_BYTES_MAX);
    int rc = task->input_fd >= 0 ? input_read(task->input_fd, &text, &size, &problem) : INPUT_TOO_LARGE;
    if (rc < 0)
        stage_outcome_fail(outcome, STAGE_RETRY, "processing", "%s", problem.text);
    else if (!rc && bytes_start(buf_bytes(&text), BYTES("{")))
        wish_inside(buf_bytes(&text), task, outcome);
}

static void run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    wish_from(task->variables, "params", task, outcome);
    wish_inside(task->value, task, outcome);
    wish_in_file(task, outcome);
    if (outcome->verdict != STAGE_DONE || outcome->value.count)
        return;
    struct stat about;
    if (task->value.count)
        buf_put(&outcome->value, task->value);
    else if (task->input_fd >= 0 && !file_look(task->input_fd, &about))
        buf_print(&outcome->value, "{\"bytes\":%lld}", (long long)about.st_size);
    else
        buf_text(&outcome->value, "{}");
}

static int load(const struct stage_outfit *outfit, void **ret_state, struct problem *problem)
{
    *ret_state = NULL;
    return 0;
}

const struct stage_kind stage_noop = {
    .name = "noop", .help = "gives its input back; for tests and benches", .open = load, .run = run,
};
