/* How processes come and go. All waiting is the loop's: for the pool, for frames, for a pidfd, for a timer. What the kernel does in the
 * child's name reaches us in one order only: its last frames, EOF on the pair, its end on the pidfd. So an end is handled in
 * one place, slot_gone, after the pair was read to its EOF. */
#include "engine/workers_own.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REAP_AGAIN_US = 5000,
    PAUSE_US = 100000,       /* before the second start; doubles with each that fails */
    DRAIN_FRAMES = 1024,     /* more than a pair holds: the smallest frame takes three quarters of a KiB of its 208 */
};

static void slot_begin(struct slot *slot);
static void slot_reap_again(struct timer *timer);

static struct workers *of(struct crew *crew)
{
    return (struct workers *)crew;
}

/* ---- failing to start ---- */

static void slot_pause(struct slot *slot)
{
    int64_t pause_us = 0;
    if (slot->failures)
        pause_us = PAUSE_US * (INT64_C(1) << (slot->failures < 10 ? slot->failures - 1 : 9));
    slot->state = SLOT_WAITING;
    timer_start(slot->workers->loop, &slot->timer, pause_us < LIMIT_WORKER_PAUSE_US ? pause_us : LIMIT_WORKER_PAUSE_US, slot_timer);
}

/* It did not get to ready, for the reason in `why`: again, later. `certain` = the worker said so itself, so again may not help. */
static void slot_failed(struct slot *slot, bool certain)
{
    struct workers *workers = slot->workers;
    slot->failures++;
    workers->failures++;
    problem_set(&workers->problem, "%s", slot->why.text);
    slot_pause(slot);
    if (workers->broken || (workers->failures < LIMIT_WORKER_FAILURES && !(certain && !workers->ever_ready)))
        return;
    workers->broken = true;
    if (workers->options.broken)
        workers->options.broken(workers->options.data, &workers->problem);
}

/* ---- ending ---- */

/* The group is there as long as the worker is not reaped, whoever of it still lives. */
static void slot_signal(struct slot *slot)
{
    child_kill(&slot->child);
    if (slot->workers->options.exec && slot->child.pid > 0)
        kill(-slot->child.pid, SIGKILL);
}

/* A worker of programs ends them itself, because it alone finds those that have left its group; one that does not is killed. */
static void slot_ask_to_end(struct slot *slot)
{
    kill(slot->child.pid, SIGUSR1);
    timer_start(slot->workers->loop, &slot->timer, LIMIT_WORKER_LEAVE_US, slot_timer);
}

void slot_kill(struct slot *slot)
{
    bool asks = slot->workers->options.exec && slot->child.pid > 0 && slot->state != SLOT_ENDING;
    if (!asks)
        slot_signal(slot);
    if (slot->state == SLOT_ENDING)
        return;
    timer_stop(slot->workers->loop, &slot->timer);
    if (asks)
        slot_ask_to_end(slot);
    slot->was_loading = slot->state == SLOT_LOADING;
    slot->state = SLOT_ENDING;
}

/* Nobody needs it any more: it leaves by itself on EOF, and is killed if it does not. */
static void slot_dismiss(struct slot *slot)
{
    slot->was_loading = false;
    slot->state = SLOT_ENDING;
    watch_close(slot->frames);
    slot->frames = NULL;
    close(slot->socket);
    slot->socket = -1;
    timer_start(slot->workers->loop, &slot->timer, LIMIT_WORKER_LEAVE_US, slot_timer);
}

void slot_release(struct slot *slot)
{
    slot->state = SLOT_IDLE;
    if (slot->last || slot->workers->stopping)
        slot_dismiss(slot);
}

static void slot_close(struct slot *slot)
{
    timer_stop(slot->workers->loop, &slot->timer);
    watch_close(slot->frames);
    watch_close(slot->end);
    slot->frames = slot->end = NULL;
    if (slot->socket >= 0)
        close(slot->socket);
    if (slot->output_fd >= 0)
        close(slot->output_fd);
    slot->socket = slot->output_fd = -1;
}

static void slot_gone(struct slot *slot, int status)
{
    struct workers *workers = slot->workers;
    bool loading = slot->state == SLOT_LOADING || (slot->state == SLOT_ENDING && slot->was_loading), certain = problem_is(&slot->why);
    char how[64];
    child_status_text(status, how, sizeof how);
    slot_close(slot);
    if (workers->stopping) {
        slot->state = SLOT_WAITING;
        workers_settle(workers);
        return;
    }
    if (loading) {
        problem_set(&slot->why, "A worker ended %s while it loaded its stages.", how);
        slot_failed(slot, certain);
    } else {
        slot_pause(slot);
        task_crashed(slot, how);      /* last: the client may do anything */
    }
}

/* ---- frames ---- */

static void slot_ready(struct slot *slot, struct json_object *head)
{
    struct workers *workers = slot->workers;
    struct bytes error = json_get_bytes(head, "error");
    if (error.at) {
        slot_kill(slot);
        problem_set(&slot->why, "%.*s", BYTES_ARG(error));
        return;
    }
    timer_stop(workers->loop, &slot->timer);
    struct json_object *loaded = json_get(head, "loaded");
    free(workers->loaded);
    workers->loaded = mem_text(loaded ? json_object_to_json_string_ext(loaded, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE) : "{}");
    struct json_object *lock = json_get(head, "lock");
    workers->walls = (struct workers_walls){lock != NULL, json_get_bool(lock, "network", false), json_get_bool(lock, "files", false), json_get_bool(lock, "calls", false)};
    workers->failures = slot->failures = 0;
    workers->broken = false;
    workers->ever_ready = true;
    workers->problem = (struct problem){0};
    slot_release(slot);
    slot_teach_all(slot);
    if (workers->options.ready)
        workers->options.ready(workers->options.data, workers_ready(&workers->crew));
    if (workers->crew.client.free)
        workers->crew.client.free(workers->crew.client.data);
}

static void slot_frame(struct slot *slot, struct frame *frame)
{
    if (slot->state == SLOT_BUSY || (slot->state == SLOT_ENDING && slot->late)) {
        task_frame(slot, frame);
    } else if (slot->state == SLOT_LOADING) {
        JSON_OWNED struct json_object *head = json_parse(frame->head, NULL);
        if (bytes_equal(json_get_bytes(head, "frame"), BYTES("ready")))
            slot_ready(slot, head);
        else
            slot_kill(slot);
    } else if (slot->state != SLOT_ENDING) {
        slot_kill(slot);      /* it speaks without being asked */
    }
}

bool slot_read(struct slot *slot, int max)
{
    while (max-- > 0 && slot->socket >= 0) {
        FRAME_OWNED struct frame frame = FRAME_EMPTY;
        int rc = frame_receive(slot->socket, slot->workers->room, &frame);
        if (rc == FRAME_AGAIN)
            return true;
        if (rc)
            return false;
        slot_frame(slot, &frame);
    }
    return true;
}

static void on_frames(void *data, int events)
{
    struct slot *slot = data;
    if (slot_read(slot, 1))      /* one a turn: there is rarely a second, and asking costs a system call */
        return;
    watch_close(slot->frames);
    slot->frames = NULL;
    slot_kill(slot);
}

static void slot_reap(struct slot *slot)
{
    int status;
    slot_signal(slot);      /* of an exec worker: what its program left */
    watch_close(slot->end);      /* before its descriptor, which reaping closes and another thread may be given at once */
    slot->end = NULL;
    if (child_reap(&slot->child, false, &status)) {
        /* Somebody traces it (a debugger, a leak checker): the tracer hears of its end before we may. */
        timer_start(slot->workers->loop, &slot->timer, REAP_AGAIN_US, slot_reap_again);
        return;
    }
    slot_gone(slot, status);
}

static void slot_reap_again(struct timer *timer)
{
    slot_reap(TIMER_OF(timer, struct slot, timer));
}

static void on_end(void *data, int events)
{
    struct slot *slot = data;
    slot->last = true;      /* it is dead: whatever it says now, it gets no task again */
    if (slot->frames)
        slot_read(slot, DRAIN_FRAMES);
    slot_kill(slot);
    slot_reap(slot);
}

void slot_timer(struct timer *timer)
{
    struct slot *slot = TIMER_OF(timer, struct slot, timer);
    switch (slot->state) {
    case SLOT_WAITING:
        slot_begin(slot);
        break;
    case SLOT_LOADING:
        problem_set(&slot->why, "A worker did not load its stages within %lld seconds.", LIMIT_WORKER_LOAD_US / 1000000);
        slot_kill(slot);
        break;
    case SLOT_BUSY:
        task_deadline(slot);
        break;
    case SLOT_ENDING:
        slot_signal(slot);
        break;
    default:
        break;
    }
}

/* ---- starting ---- */

/* On its way through the pool. */
struct spawn {
    struct slot *slot;
    const char *exe, *called;     /* the options' own; they outlive it */
    int ends[2];                  /* ours, the child's */
    struct child child;
    struct problem problem;
};

/* Thread: pool. */
static int spawn_work(void *data)
{
    struct spawn *spawn = data;
    return child_start(spawn->exe, (char *[]){"rivulet", "worker", (char *)spawn->called, NULL}, spawn->ends[1], &spawn->child, &spawn->problem);
}

static int slot_watch(struct slot *slot)
{
    struct loop *loop = slot->workers->loop;
    int rc = watch_open(loop, slot->socket, on_frames, slot, &slot->frames);
    if (!rc)
        rc = watch_open(loop, slot->child.pidfd, on_end, slot, &slot->end);
    if (rc)
        return rc;
    watch_want(slot->frames, LOOP_READ);
    watch_want(slot->end, LOOP_READ);
    return 0;
}

static int slot_init(struct slot *slot)
{
    struct workers *workers = slot->workers;
    const struct workers_options *options = &workers->options;
    int fds[FRAME_FDS_MAX];
    size_t fds_count;
    buf_clear(&workers->head);
    wire_init(&workers->head, options->stages, options->stages_count, &options->outfit, options->exec, fds, &fds_count);
    if (!buf_ok(&workers->head))
        return -EMSGSIZE;
    return frame_send(slot->socket, buf_bytes(&workers->head), (struct bytes){0}, fds, fds_count);
}

/* It never came to be: nothing to reap, only to try again. */
static void slot_unborn(struct slot *slot, const struct problem *problem)
{
    slot_close(slot);
    slot->state = SLOT_WAITING;
    if (slot->workers->stopping) {
        workers_settle(slot->workers);
        return;
    }
    problem_set(&slot->why, "%s", problem->text);
    slot_failed(slot, false);
}

static void spawn_done(void *data, int failed)
{
    struct spawn spawn = *(struct spawn *)data;
    struct slot *slot = spawn.slot;
    struct workers *workers = slot->workers;
    free(data);
    close(spawn.ends[1]);
    slot->socket = spawn.ends[0];
    slot->child = spawn.child;
    if (failed) {
        slot_unborn(slot, &spawn.problem);
        return;
    }
    slot->state = SLOT_LOADING;
    int rc = slot_watch(slot);
    if (rc) {      /* no descriptors left: it cannot be held, so it goes */
        int status;
        child_kill(&slot->child);
        child_reap(&slot->child, true, &status);
        problem_set(&spawn.problem, "Cannot watch a worker: %s.", strerror(-rc));
        slot_unborn(slot, &spawn.problem);
        return;
    }
    timer_start(workers->loop, &slot->timer, LIMIT_WORKER_LOAD_US, slot_timer);
    if (workers->stopping || slot_init(slot))
        slot_kill(slot);
}

static void slot_begin(struct slot *slot)
{
    struct spawn *spawn = MEM_NEW(struct spawn);
    slot->why = (struct problem){0};
    slot->was_loading = slot->last = slot->owes = slot->late = slot->refused = false;
    int rc = frame_pair(spawn->ends);
    if (rc) {
        problem_set(&spawn->problem, "Cannot make a socket pair for a worker: %s.", strerror(-rc));
        slot_unborn(slot, &spawn->problem);
        free(spawn);
        return;
    }
    spawn->slot = slot;
    spawn->exe = slot->workers->options.exe;
    spawn->called = slot->workers->options.called;
    spawn->child = CHILD_NONE;
    slot->state = SLOT_STARTING;
    loop_pool(slot->workers->loop, spawn_work, spawn_done, spawn);
}

/* ---- the crew ---- */

static const char **texts_copy(const char *const *texts, size_t count)
{
    const char **copy = mem_new(count * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = mem_text(texts[i]);
    return copy;
}

static int duplicate(int fd, int *ret)
{
    *ret = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, CHILD_SOCKET + 1);
    return fd >= 0 && *ret < 0 ? -errno : 0;
}

static int outfit_copy(const struct stage_outfit *from, struct stage_outfit *to)
{
    *to = *from;
    to->catalogue_path = mem_text(from->catalogue_path);
    to->model_path = mem_text(from->model_path);
    to->keys_path = mem_text(from->keys_path);
    to->library_path = mem_text(from->library_path);
    to->tessdata_path = mem_text(from->tessdata_path);
    to->scratch_path = mem_text(from->scratch_path);
    for (size_t i = 0; i < 2; i++)
        to->hidden_paths[i] = mem_text(from->hidden_paths[i]);
    int first = duplicate(from->catalogue_fd, &to->catalogue_fd), second = duplicate(from->model_fd, &to->model_fd),
        third = duplicate(from->keys_fd, &to->keys_fd);
    return first ? first : second ? second : third;
}

static void outfit_free(struct stage_outfit *outfit)
{
    const char *const texts[] = {outfit->catalogue_path, outfit->model_path, outfit->keys_path, outfit->library_path, outfit->tessdata_path,
                                 outfit->scratch_path, outfit->hidden_paths[0], outfit->hidden_paths[1]};
    const int fds[] = {outfit->catalogue_fd, outfit->model_fd, outfit->keys_fd};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free((char *)texts[i]);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void workers_free(struct workers *workers)
{
    assert(list_empty(&workers->results));
    timer_stop(workers->loop, &workers->finish);
    for (size_t i = 0; i < workers->options.stages_count; i++)
        free((char *)workers->options.stages[i]);
    free((void *)workers->options.stages);
    free((char *)workers->options.exe);
    outfit_free(&workers->options.outfit);
    lessons_drop(workers);
    buf_done(&workers->head);
    buf_done(&workers->body);
    free(workers->room);
    free(workers->loaded);
    free(workers);
}

static struct workers *workers_new(struct loop *loop, const struct workers_options *options)
{
    struct workers *workers = mem_new(sizeof *workers + options->count * sizeof *workers->slots);
    workers->crew.ops = &workers_ops;
    workers->loop = loop;
    workers->options = *options;
    workers->options.exe = mem_text(options->exe ? options->exe : "/proc/self/exe");
    workers->options.stages = texts_copy(options->stages, options->stages_count);
    workers->room = mem_new(LIMIT_FRAME_BYTES);
    list_init(&workers->results);
    list_init(&workers->lessons);
    buf_init(&workers->head, LIMIT_FRAME_BYTES);
    buf_init(&workers->body, LIMIT_FRAME_BYTES);
    for (size_t i = 0; i < options->count; i++)
        workers->slots[i] = (struct slot){.workers = workers, .socket = -1, .output_fd = -1, .child = CHILD_NONE};
    return workers;
}

int workers_start(struct loop *loop, const struct workers_options *options, struct crew **ret_crew, struct problem *problem)
{
    if (options->count < 1 || options->count > LIMIT_WORKERS)
        return problem_set(problem, "%zu workers: the number must be from 1 to %d.", options->count, LIMIT_WORKERS);
    struct workers *workers = workers_new(loop, options);
    int rc = outfit_copy(&options->outfit, &workers->options.outfit);
    if (rc) {
        workers_free(workers);
        return problem_set(problem, "Cannot hand files to the workers: %s.", strerror(-rc));
    }
    /* Not at once, because a callback must not come inside this call. */
    for (size_t i = 0; i < options->count; i++)
        timer_start(loop, &workers->slots[i].timer, 0, slot_timer);
    *ret_crew = &workers->crew;
    return 0;
}

static void on_finish(struct timer *timer)
{
    struct workers *workers = TIMER_OF(timer, struct workers, finish);
    void (*stopped)(void *data) = workers->stopped;
    void *data = workers->stopped_data;
    workers_free(workers);
    stopped(data);
}

void workers_settle(struct workers *workers)
{
    bool gone = !workers->keeping;
    for (size_t i = 0; i < workers->options.count; i++)
        gone = gone && workers->slots[i].state == SLOT_WAITING;
    if (gone)
        timer_start(workers->loop, &workers->finish, 0, on_finish);
}

void workers_stop(struct crew *crew, void (*stopped)(void *data), void *data)
{
    if (!crew) {
        stopped(data);
        return;
    }
    struct workers *workers = of(crew);
    assert(!workers->stopping);
    workers->stopping = true;
    workers->stopped = stopped;
    workers->stopped_data = data;
    results_drop(workers);
    for (size_t i = 0; i < workers->options.count; i++) {
        struct slot *slot = &workers->slots[i];
        slot->owes = slot->late = false;
        if (slot->state == SLOT_WAITING)
            timer_stop(workers->loop, &slot->timer);
        else if (slot->state == SLOT_IDLE)
            slot_dismiss(slot);
        else if (slot->state == SLOT_LOADING || slot->state == SLOT_BUSY)
            slot_kill(slot);
    }
    workers_settle(workers);
}

size_t workers_ready(struct crew *crew)
{
    struct workers *workers = of(crew);
    size_t count = 0;
    for (size_t i = 0; i < workers->options.count; i++)
        count += workers->slots[i].state >= SLOT_IDLE && workers->slots[i].state <= SLOT_KEEPING;
    return count;
}

const struct problem *workers_problem(struct crew *crew)
{
    return of(crew)->broken ? &of(crew)->problem : NULL;
}

struct bytes workers_loaded(struct crew *crew)
{
    return bytes_of(of(crew)->loaded);
}

struct workers_walls workers_walls(struct crew *crew)
{
    return of(crew)->walls;
}

uint64_t workers_awaited(struct crew *crew)
{
    return crew ? of(crew)->awaited : 0;
}

pid_t workers_pid(struct crew *crew, size_t index)
{
    struct workers *workers = of(crew);
    return index < workers->options.count ? workers->slots[index].child.pid : 0;
}
