#include "worker/worker.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/sanitized.h"
#include "os/child.h"
#include "os/frame.h"
#include "stage/program.h"
#include "worker/leg.h"
#include "worker/lockdown.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The process is the worker, so there is one. */
struct worker {
    int socket;
    char *room;                       /* LIMIT_FRAME_BYTES: the frame that is being looked at */
    struct leg_kinds kinds;
    bool exec;                        /* its stages start programs, so its lock is another */
    struct lockdown lock;
    struct json_object *lessons[LIMIT_LESSONS];      /* arrays of stages whose programs are to be compiled; a ring */
    size_t lessons_first, lessons_count;
    size_t lesson_stage;              /* of the first one: how many of its stages are done */
    struct buf head;                  /* of the frame that is being written */
    int64_t hint_at_us;               /* monotonic time of the task's last hint; 0 = it had none */
    const char *hint_status;          /* of that hint */
};

/* A task as it came, and the outcome that is being made of it. */
struct job {
    struct worker *worker;
    struct json_object *head;         /* owned */
    struct stage_task task;           /* the views are into the frame and the head */
    int output_fd;
    const char *stage;                /* the stage that ran last; in the head */
    uint64_t compiled;                /* programs it had to wait for */
};

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static struct buf *begin(struct worker *worker, const char *frame)
{
    buf_clear(&worker->head);
    json_open(&worker->head, '{');
    json_put_text(&worker->head, "frame", frame);
    return &worker->head;
}

static int send_frame(struct worker *worker, struct bytes body)
{
    json_close(&worker->head, '}');
    return frame_send(worker->socket, buf_bytes(&worker->head), body, NULL, 0);
}

/* ---- init ---- */

static const char *path_in(struct json_object *init, const char *key)
{
    struct json_object *path = json_get(init, key);
    return path ? json_object_get_string(path) : NULL;
}

static void outfit_read(struct json_object *init, const struct frame *frame, struct stage_outfit *outfit)
{
    struct bytes engine = json_get_bytes(init, "engine");
    *outfit = STAGE_OUTFIT_EMPTY;
    outfit->engine = bytes_equal(engine, BYTES("onnx"))        ? STAGE_ENGINE_ONNX
                     : bytes_equal(engine, BYTES("tesseract")) ? STAGE_ENGINE_TESSERACT
                                                               : STAGE_ENGINE_AUTO;
    outfit->catalogue_path = path_in(init, "catalogue");
    outfit->model_path = path_in(init, "model");
    outfit->keys_path = path_in(init, "keys");
    outfit->library_path = path_in(init, "library");
    outfit->tessdata_path = path_in(init, "tessdata");
    outfit->scratch_path = path_in(init, "scratch");
    outfit->hidden_paths[0] = path_in(init, "hidden");
    outfit->hidden_paths[1] = path_in(init, "hidden_too");
    outfit->image_bytes_max = (size_t)json_get_int(init, "image_bytes_max", 0);
    outfit->image_pixels_max = (uint64_t)json_get_int(init, "image_pixels_max", 0);
    struct json_object *files = json_get(init, "files");
    size_t count = json_object_is_type(files, json_type_array) ? json_object_array_length(files) : 0;
    for (size_t i = 0; i < count && i < frame->fds_count; i++) {
        struct bytes which = bytes_of(json_object_get_string(json_object_array_get_idx(files, i)));
        if (bytes_equal(which, BYTES("catalogue")))
            outfit->catalogue_fd = frame->fds[i];
        else if (bytes_equal(which, BYTES("model")))
            outfit->model_fd = frame->fds[i];
        else if (bytes_equal(which, BYTES("keys")))
            outfit->keys_fd = frame->fds[i];
    }
}

/* Programs are looked up, and find their home, as the server would. */
static void environment_read(struct json_object *init)
{
    const char *path = path_in(init, "path"), *home = path_in(init, "home");
    if (path)
        setenv("PATH", path, 1);
    if (home)
        setenv("HOME", home, 1);
}

static int load(struct worker *worker, struct json_object *init, const struct stage_outfit *outfit, struct problem *problem)
{
    struct json_object *names = json_get(init, "stages");
    size_t count = json_object_is_type(names, json_type_array) ? json_object_array_length(names) : 0;
    if (!count || count > LIMIT_WORKER_STAGES)
        return problem_set(problem, "The worker was given %zu stages; it takes 1 to %d.", count, LIMIT_WORKER_STAGES);
    for (size_t i = 0; i < count; i++) {
        struct bytes name = bytes_of(json_object_get_string(json_object_array_get_idx(names, i)));
        struct leg_kind stage = {.kind = stage_kind_find(name)};
        if (!stage.kind)
            return problem_set(problem, "There is no stage \"%.*s\".", BYTES_ARG(name));
        if (stage.kind->open(outfit, &stage.state, problem))
            return problem_set(problem, "The stage %s could not be loaded.", stage.kind->name);
        worker->kinds.at[worker->kinds.count++] = stage;
    }
    return program_open(outfit, &worker->kinds.shelf, problem);
}

static void unload(struct worker *worker)
{
    program_close(worker->kinds.shelf);
    while (worker->kinds.count) {
        struct leg_kind *stage = &worker->kinds.at[--worker->kinds.count];
        if (stage->kind->close)
            stage->kind->close(stage->state);
    }
}

#ifndef SANITIZED
static void say_lock(struct buf *head, const struct lockdown *lock)
{
    json_key(head, "lock");
    json_open(head, '{');
    json_put_flag(head, "network", lock->network);
    json_put_flag(head, "files", lock->files);
    json_put_flag(head, "calls", lock->calls);
    json_close(head, '}');
}
#endif

static int say_ready(struct worker *worker, double seconds)
{
    struct buf *head = begin(worker, "ready");
    json_put_real(head, "seconds", seconds);
    json_key(head, "loaded");
    json_open(head, '{');
    for (size_t i = 0; i < worker->kinds.count; i++) {
        const struct leg_kind *stage = &worker->kinds.at[i];
        json_key(head, stage->kind->name);
        if (stage->kind->describe)
            stage->kind->describe(stage->state, head);
        else
            buf_text(head, "{}");
    }
    json_close(head, '}');
#ifndef SANITIZED
    say_lock(head, &worker->lock);
#endif
    return send_frame(worker, (struct bytes){0});
}

/* 0 ready and locked, or -1: it has been said why, as far as anybody listens. */
static int start(struct worker *worker)
{
    FRAME_OWNED struct frame frame = FRAME_EMPTY;
    struct problem problem = {0};
    struct stage_outfit outfit;
    int64_t began_us = now_us(CLOCK_MONOTONIC);
    if (frame_receive(worker->socket, worker->room, &frame))
        return -1;
    JSON_OWNED struct json_object *init = json_parse(frame.head, &problem);
    worker->exec = bytes_equal(json_get_bytes(init, "lock"), BYTES("exec"));
    lockdown_early(worker->exec, &worker->lock);
    if (init && bytes_equal(json_get_bytes(init, "frame"), BYTES("init"))) {
        outfit_read(init, &frame, &outfit);
        if (worker->exec)
            environment_read(init);
        load(worker, init, &outfit, &problem);
    } else {
        problem_set(&problem, "The worker's first frame is not init.");
    }
    if (problem_is(&problem)) {
        struct buf *head = begin(worker, "ready");
        json_put_text(head, "error", problem.text);
        send_frame(worker, (struct bytes){0});
        return -1;
    }
    lockdown_late(worker->exec, &worker->lock);
    return say_ready(worker, (double)(now_us(CLOCK_MONOTONIC) - began_us) / 1e6);
}

/* ---- task ---- */

/* Hints are for the eye: one that comes too soon, or finds the socket full, is dropped. A new status is never too soon: there are few,
 * and clients wait for each. */
static void hint(void *data, int percent, const char *status)
{
    struct job *job = data;
    struct worker *worker = job->worker;
    int64_t at_us = now_us(CLOCK_MONOTONIC);
    bool same = worker->hint_at_us && !strcmp(worker->hint_status, status);
    if (same && at_us - worker->hint_at_us < LIMIT_HINT_US)
        return;
    worker->hint_at_us = at_us;
    worker->hint_status = status;
    struct buf *head = begin(worker, "hint");
    json_put_int(head, "percent", percent);
    json_put_text(head, "status", status);
    send_frame(worker, (struct bytes){0});
}

static int output_write(int fd, struct bytes value)
{
    for (size_t at = 0; at < value.count;) {
        ssize_t count = pwrite(fd, value.at + at, value.count - at, (off_t)at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count ? -errno : -EIO;
        at += (size_t)count;
    }
    return 0;
}

/* A value that is too long for an event goes to the output; the server makes a blob of it. */
static struct bytes value_place(struct job *job, struct stage_outcome *outcome, size_t *ret_in_output)
{
    struct bytes value = buf_bytes(&outcome->value);
    *ret_in_output = 0;
    if (outcome->verdict != STAGE_DONE)
        return (struct bytes){0};
    if (value.count <= LIMIT_BODY_BYTES)
        return value;
    int rc = output_write(job->output_fd, value);
    if (!rc)
        *ret_in_output = value.count;
    else
        stage_outcome_fail(outcome, STAGE_RETRY, "processing", "The result of %zu bytes could not be written: %s.", value.count, strerror(-rc));
    return (struct bytes){0};
}

static void stats_write(struct buf *head, const struct stage_outcome *outcome)
{
    if (!outcome->stats_count)
        return;
    json_key(head, "stats");
    json_open(head, '{');
    for (size_t i = 0; i < outcome->stats_count; i++) {
        json_key_bytes(head, bytes_of(outcome->stats[i].name));
        json_real(head, outcome->stats[i].value);
    }
    json_close(head, '}');
}

static int say_outcome(struct job *job, struct stage_outcome *outcome)
{
    static const char *const verdicts[] = {[STAGE_DONE] = "done", [STAGE_RETRY] = "retry", [STAGE_FAIL] = "fail"};
    size_t in_output;
    struct bytes value = value_place(job, outcome, &in_output);
    struct buf *head = begin(job->worker, "outcome");
    json_put_int(head, "item", json_get_int(job->head, "item", -1));
    json_put_int(head, "attempt", json_get_int(job->head, "attempt", 0));
    json_put_text(head, "verdict", verdicts[outcome->verdict]);
    if (in_output) {
        json_put_int(head, "output", (int64_t)in_output);
    }
    stats_write(head, outcome);
    if (outcome->has_score)
        json_put_real(head, "score", outcome->score);
    if (outcome->hit)
        json_put_flag(head, "hit", true);
    if (outcome->verdict != STAGE_DONE) {
        buf_clear(&outcome->value);
        buf_text(&outcome->value, outcome->error.text);
        buf_put(&outcome->value, buf_bytes(&outcome->error_more));
        json_put_bytes(head, "error", buf_bytes(&outcome->value));
        json_put_text(head, "error_type", outcome->error_type);
        json_put_text(head, "stage", job->stage);
        if (outcome->fail_job)
            json_put_flag(head, "fail_job", true);
    }
    if (job->compiled)
        json_put_int(head, "compiled", (int64_t)job->compiled);
    if (now_us(CLOCK_PROCESS_CPUTIME_ID) > LIMIT_WORKER_CPU_S * INT64_C(1000000) / 2) {
        json_put_flag(head, "last", true);
    }
    return send_frame(job->worker, value);
}

/* The frame as a task. False: it is none, or its parts do not fit together. */
static bool task_read(struct job *job, const struct frame *frame)
{
    struct json_object *head = job->head;
    bool has_input = json_get_bool(head, "input", false);
    int64_t variables = json_get_int(head, "variables", 0);
    if (!bytes_equal(json_get_bytes(head, "frame"), BYTES("task")) || frame->fds_count != (has_input ? 2 : 1) || variables < 0 ||
        (uint64_t)variables > frame->body.count)
        return false;
    job->output_fd = frame->fds[has_input];
    job->stage = "";
    job->task = (struct stage_task){
        .name = json_get_bytes(head, "name"),
        .type = json_get_bytes(head, "type"),
        .trace = json_get_bytes(head, "trace"),
        .input_fd = has_input ? frame->fds[0] : -1,
        .variables = {frame->body.at, (size_t)variables},
        .value = {frame->body.at + variables, frame->body.count - (size_t)variables},
        .hint = hint,
        .hint_data = job,
    };
    return true;
}

static int do_task(struct worker *worker, struct json_object *head, const struct frame *frame)
{
    struct job job = {.worker = worker, .head = head};
    if (!task_read(&job, frame))
        return -EPROTO;
    worker->hint_at_us = 0;
    struct stage_outcome outcome;
    uint64_t compiled = expr_compiled();
    leg_run(&worker->kinds, json_get(head, "stages"), json_get_int(head, "attempt", 1), &job.task, &outcome, &job.stage);
    job.compiled = expr_compiled() - compiled;
    int rc = say_outcome(&job, &outcome);
    stage_outcome_done(&outcome);
    return rc;
}

/* ---- learning ---- */

static void lesson_keep(struct worker *worker, struct json_object *stages)
{
    if (worker->lessons_count == LIMIT_LESSONS || !json_object_is_type(stages, json_type_array))
        return;
    worker->lessons[(worker->lessons_first + worker->lessons_count++) % LIMIT_LESSONS] = json_object_get(stages);
}

static void lesson_drop(struct worker *worker)
{
    json_object_put(worker->lessons[worker->lessons_first]);
    worker->lessons_first = (worker->lessons_first + 1) % LIMIT_LESSONS;
    worker->lessons_count--;
    worker->lesson_stage = 0;
}

/* One stage, because a task may come meanwhile. */
static void lesson_go_on(struct worker *worker)
{
    struct json_object *stages = worker->lessons[worker->lessons_first];
    if (worker->lesson_stage < json_object_array_length(stages))
        leg_learn(&worker->kinds, json_object_array_get_idx(stages, worker->lesson_stage++));
    else
        lesson_drop(worker);
}

static int do_frame(struct worker *worker, const struct frame *frame)
{
    JSON_OWNED struct json_object *head = json_parse(frame->head, NULL);
    if (!bytes_equal(json_get_bytes(head, "frame"), BYTES("learn")))
        return head ? do_task(worker, head, frame) : -EPROTO;
    lesson_keep(worker, json_get(head, "stages"));
    return 0;
}

static int work(struct worker *worker)
{
    int rc;
    do {
        FRAME_OWNED struct frame frame = FRAME_EMPTY;
        rc = worker->lessons_count ? frame_receive_now(worker->socket, worker->room, &frame) : frame_receive(worker->socket, worker->room, &frame);
        if (!rc) {
            rc = do_frame(worker, &frame);
        } else if (rc == FRAME_AGAIN) {
            lesson_go_on(worker);
            rc = 0;
        }
    } while (!rc);
    while (worker->lessons_count)
        lesson_drop(worker);
    return rc == FRAME_END ? 0 : -1;
}

int worker_main(void)
{
    struct worker worker = {.socket = CHILD_SOCKET};
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(worker.socket, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_SEQPACKET) {
        fputs("rivulet: a worker is started by rivulet itself, not by hand\n", stderr);
        return 2;
    }
    child_tie(worker.socket);
    buf_init(&worker.head, LIMIT_FRAME_BYTES);
    worker.room = mem_new(LIMIT_FRAME_BYTES);
    int rc = start(&worker);
    if (!rc)
        rc = work(&worker);
    unload(&worker);
    buf_done(&worker.head);
    free(worker.room);
    return rc ? EXIT_FAILURE : 0;
}
