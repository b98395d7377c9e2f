/* Tasks and their outcomes. A client may do anything from inside a callback, so a slot has its new state before one is made. */
#include "engine/workers_own.h"

#include "base/mem.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* A long result on its way into a blob. The blob comes pinned; the pin goes to the client with the outcome. */
struct result {
    struct list link;               /* in workers.results */
    struct workers *workers;
    struct slot *slot;              /* the worker that waits for its output to be read, or NULL: it has ended since */
    struct token token;
    struct keep *keep;
    bool late, dropped;
};

static bool same(struct token a, struct token b)
{
    return a.job == b.job && a.item == b.item && a.attempt == b.attempt && a.holder == b.holder;
}

static void tell(struct workers *workers, struct token token, const struct outcome *outcome, bool late)
{
    if (workers->crew.client.outcome)
        workers->crew.client.outcome(workers->crew.client.data, token, outcome, late);
}

static void tell_free(struct workers *workers)
{
    if (workers->crew.client.free)
        workers->crew.client.free(workers->crew.client.data);
}

/* The outcome of a task that no worker told. */
static void tell_failure(struct slot *slot, enum verdict verdict, struct bytes error_type, const struct problem *problem)
{
    struct outcome outcome = {.verdict = verdict, .error = bytes_of(problem->text), .error_type = error_type, .stage = bytes_of(slot->stages),
                              .unsaid = true};
    slot->owes = false;
    tell(slot->workers, slot->token, &outcome, false);
}

/* ---- results ---- */

static void result_free(struct result *result)
{
    list_leave(&result->link);
    free(result);
}

static void result_kept(void *data, const struct outcome *outcome)
{
    struct result *result = data;
    struct workers *workers = result->workers;
    bool has_slot = result->slot && result->slot->state == SLOT_KEEPING;
    workers->keeping--;
    if (has_slot)
        slot_release(result->slot);
    result->slot = NULL;
    bool freed = has_slot && (result->dropped || result->late) && !workers->stopping;
    if (!result->dropped)
        tell(workers, result->token, outcome, result->late);
    if (freed)
        tell_free(workers);
    if (outcome->blob && result->dropped)
        blob_abandon(workers->options.blobs, outcome->blob);
    result_free(result);
    if (workers->stopping)
        workers_settle(workers);
}

static void result_keep(struct slot *slot, struct wire_outcome *told)
{
    struct workers *workers = slot->workers;
    struct result *result = MEM_NEW(struct result);
    *result = (struct result){.workers = workers, .token = slot->token, .late = slot->late};
    list_push(&workers->results, &result->link);
    workers->keeping++;
    if (slot->state == SLOT_BUSY) {
        slot->state = SLOT_KEEPING;
        result->slot = slot;
    }
    result->keep = keep_start(workers->loop, workers->options.blobs, slot->output_fd, told, result_kept, result);
    slot->output_fd = -1;
}

void results_drop(struct workers *workers)
{
    LIST_EACH(link, &workers->results) {
        struct result *result = LIST_OF(link, struct result, link);
        result->dropped = true;
        keep_hurry(result->keep);
    }
}

/* ---- frames ---- */

static void task_hint(struct slot *slot, struct json_object *head)
{
    struct workers *workers = slot->workers;
    int64_t percent = json_get_int(head, "percent", 0), now_us = loop_now_us(workers->loop);
    struct bytes status = json_get_bytes(head, "status");
    uint64_t hash = hash_bytes(status);
    /* The worker keeps the pace; half of it leaves room for a late turn of the loop. A new status need not wait, a few times a task. */
    bool early = now_us - slot->hint_at_us < LIMIT_HINT_US / 2;
    if (slot->late || (early && (hash == slot->hint_status || ++slot->hints_early > LIMIT_HINTS_EARLY)))
        return;
    slot->hint_at_us = now_us;
    slot->hint_status = hash;
    status.count = text_cut(status, LIMIT_HINT_BYTES);
    if (workers->crew.client.hint)
        workers->crew.client.hint(workers->crew.client.data, slot->token, (int)(percent < 0 ? 0 : percent > 100 ? 100 : percent), status);
}

static void task_outcome(struct slot *slot, struct wire_outcome *told)
{
    struct workers *workers = slot->workers;
    struct token token = slot->token;
    bool late = slot->late;
    slot->last |= told->last;
    workers->awaited += told->compiled;
    slot->owes = slot->late = false;      /* one task, one outcome frame */
    timer_stop(workers->loop, &slot->timer);
    if (told->output_bytes && slot->output_fd >= 0) {
        slot->late = late;
        result_keep(slot, told);
        slot->late = false;
    } else {
        if (slot->state == SLOT_BUSY)
            slot_release(slot);
        tell(workers, token, &told->outcome, late);
    }
    wire_outcome_done(told);
}

static void task_nonsense(struct slot *slot, const struct problem *why)
{
    struct problem problem = {0};
    bool owes = slot->owes;
    slot->late = false;
    slot_kill(slot);
    if (!owes)
        return;
    problem_set(&problem, "The worker gave no usable outcome at stage %s: %s.", slot->stages, why->text);
    tell_failure(slot, VERDICT_RETRY, BYTES("crash"), &problem);
}

void task_frame(struct slot *slot, struct frame *frame)
{
    struct problem problem = {0};
    struct wire_outcome told;
    struct json_object *head = json_parse(frame->head, &problem);
    struct bytes kind = json_get_bytes(head, "frame");
    if (bytes_equal(kind, BYTES("hint"))) {
        task_hint(slot, head);
        json_drop(&head);
    } else if (bytes_equal(kind, BYTES("outcome"))) {
        if (wire_outcome(head, frame, slot->token, &told, &problem))
            task_nonsense(slot, &problem);
        else
            task_outcome(slot, &told);
    } else {
        problem_set(&problem, "a frame that is neither a hint nor an outcome");
        json_drop(&head);
        task_nonsense(slot, &problem);
    }
}

/* ---- ends that no frame tells ---- */

void task_deadline(struct slot *slot)
{
    struct problem problem = {0};
    if (slot->refused) {
        slot->refused = false;
        slot_release(slot);
        problem_set(&problem, "The input and the parameters together are longer than the %d bytes that a worker takes at once.", LIMIT_FRAME_BYTES);
        tell_failure(slot, VERDICT_FAIL, BYTES("validation"), &problem);
        return;
    }
    /* What it said in time counts, though it was not heard yet. After its EOF it is not late but dead. */
    bool alive = slot_read(slot, LIMIT_WORKER_TURN);
    if (slot->state != SLOT_BUSY)
        return;
    slot_kill(slot);
    if (!alive)
        return;
    slot->late = true;
    problem_set(&problem, "The stage %s took longer than its limit of %.3g seconds.", slot->stages, (double)slot->timeout_us / 1e6);
    tell_failure(slot, VERDICT_RETRY, BYTES("timeout"), &problem);
}

void task_crashed(struct slot *slot, const char *how)
{
    struct problem problem = {0};
    LIST_EACH(link, &slot->workers->results) {
        struct result *result = LIST_OF(link, struct result, link);
        if (result->slot == slot)
            result->slot = NULL;
    }
    if (!slot->owes)
        return;
    problem_set(&problem, "The worker ended %s at stage %s.", how, slot->stages);
    tell_failure(slot, VERDICT_RETRY, BYTES("crash"), &problem);
}

/* ---- the crew's table ---- */

static size_t slots_free(struct crew *crew)
{
    struct workers *workers = (struct workers *)crew;
    size_t count = 0;
    for (size_t i = 0; i < workers->options.count && !workers->stopping; i++)
        count += workers->slots[i].state == SLOT_IDLE;
    return count;
}

/* ["decode",{"stage":"jq","name":"fit",…}] as a reader would say it: decode, fit. */
static void stages_text(struct bytes stages, char *ret, size_t room)
{
    size_t count = 0;
    JSON_OWNED struct json_object *array = json_parse(stages, NULL);
    *ret = 0;
    for (size_t i = 0; json_object_is_type(array, json_type_array) && i < json_object_array_length(array) && count < room; i++) {
        struct json_object *stage = json_object_array_get_idx(array, i);
        struct bytes name = json_get_bytes(stage, "name"), kind = json_get_bytes(stage, "stage");
        const char *text = name.at ? name.at : kind.at ? kind.at : json_object_is_type(stage, json_type_string) ? json_object_get_string(stage) : "?";
        count += (size_t)snprintf(ret + count, room - count, "%s%s", i ? ", " : "", text);
    }
}

static int slot_send(struct slot *slot, const struct task *task)
{
    struct workers *workers = slot->workers;
    int fds[2];
    size_t count = 0;
    if (!buf_ok(&workers->head) || !buf_ok(&workers->body))
        return -EMSGSIZE;
    if (slot->output_fd < 0)
        slot->output_fd = memfd_create("output", MFD_CLOEXEC);
    if (slot->output_fd < 0)
        return -errno;
    if (task->input_fd >= 0)
        fds[count++] = task->input_fd;
    fds[count++] = slot->output_fd;
    return frame_send(slot->socket, buf_bytes(&workers->head), buf_bytes(&workers->body), fds, count);
}

static void slot_take(struct slot *slot, const struct task *task)
{
    slot->state = SLOT_BUSY;
    slot->owes = true;
    slot->late = slot->refused = false;
    slot->token = task->token;
    slot->timeout_us = task->timeout_us;
    slot->hint_at_us = 0;
    slot->hints_early = 0;
    stages_text(task->stages, slot->stages, sizeof slot->stages);
}

/* Whether the slot has the task now. A worker that died a moment ago does not get it, unless it is the last one: then its end will be the
 * task's outcome. */
static bool slot_start(struct slot *slot, const struct task *task, bool last)
{
    int rc = slot_send(slot, task);
    if (rc && rc != -EMSGSIZE && !last) {
        slot_kill(slot);
        return false;
    }
    slot_take(slot, task);
    slot->refused = rc == -EMSGSIZE;
    if (rc && !slot->refused)
        slot_kill(slot);
    else
        timer_start(slot->workers->loop, &slot->timer, slot->refused ? 0 : task->timeout_us, slot_timer);
    return true;
}

static void start(struct crew *crew, const struct task *task)
{
    struct workers *workers = (struct workers *)crew;
    size_t free_now = slots_free(crew);
    assert(free_now);
    buf_clear(&workers->head);
    buf_clear(&workers->body);
    wire_task(&workers->head, &workers->body, task, workers->options.exec);
    for (size_t i = 0; i < workers->options.count && free_now; i++) {
        struct slot *slot = &workers->slots[i];
        if (slot->state == SLOT_IDLE && slot_start(slot, task, --free_now == 0))
            break;
    }
    if (task->input_fd >= 0)
        close(task->input_fd);
}

static void stop(struct crew *crew, struct token token, bool for_good)
{
    struct workers *workers = (struct workers *)crew;
    for (size_t i = 0; i < workers->options.count; i++) {
        struct slot *slot = &workers->slots[i];
        if (!slot->owes || !same(slot->token, token))
            continue;
        slot->owes = false;
        slot->late = for_good;      /* what it has said by now, or says while it goes, is offered all the same */
        if (slot->state == SLOT_BUSY)
            slot_kill(slot);
    }
    LIST_EACH(link, &workers->results) {
        struct result *result = LIST_OF(link, struct result, link);
        if (!same(result->token, token))
            continue;
        result->late = for_good;
        result->dropped = !for_good;
        keep_hurry(result->keep);
    }
}

const struct crew_ops workers_ops = {.slots_free = slots_free, .start = start, .stop = stop, .learn = workers_learn};
