/* Errands: what was claimed goes to the crew of its leg's room, and what the crews say of it goes to the store. */
#include "engine/engine_own.h"
#include "engine/variables.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NO_CREW_ERRANDS = 16 };    /* of a room without a crew, at a time: they fail as soon as their starts are durable */

/* ---- which there are ---- */

static uint64_t place_of(struct token token)
{
    return hash_mix((uint64_t)token.job) ^ ((uint64_t)token.item + 1);
}

static bool is_of(const struct errand *errand, struct token token)
{
    struct token own = errand->claim.token;
    return own.job == token.job && own.item == token.item && own.attempt == token.attempt && own.holder == token.holder;
}

static struct errand *errand_of(struct engine *engine, struct token token)
{
    struct errand *errand = map_get(&engine->by_token, place_of(token));
    while (errand && !is_of(errand, token))
        errand = errand->same;
    return errand;
}

static void note_launched(struct errand *errand)
{
    struct engine *engine = errand->engine;
    uint64_t place = place_of(errand->claim.token);
    engine->waiting[errand->room]--;
    engine->launched_count++;
    errand->launched = true;
    errand->launched_us = engine->options.world.now_us(engine->options.world.data);
    errand->same = map_get(&engine->by_token, place);
    map_set(&engine->by_token, place, errand);
    list_leave(&errand->link);
    list_push(&engine->launched, &errand->link);
}

static void forget_launched(struct errand *errand)
{
    struct engine *engine = errand->engine;
    uint64_t place = place_of(errand->claim.token);
    struct errand *first = map_get(&engine->by_token, place);
    engine->launched_count--;
    if (first != errand) {
        while (first->same != errand)
            first = first->same;
        first->same = errand->same;
    } else if (errand->same) {
        map_set(&engine->by_token, place, errand->same);
    } else {
        map_take(&engine->by_token, place);
    }
}

static void errand_end(struct errand *errand)
{
    if (errand->launched)
        forget_launched(errand);
    else
        errand->engine->waiting[errand->room]--;
    errand->engine->doomed_count -= errand->doomed;
    list_leave(&errand->link);
    store_unwait(&errand->durable);
    claim_done(&errand->claim);
    free(errand);
}

static void settle(struct errand *errand, const struct outcome *outcome);

/* It never came to its stages. */
static void fail(struct errand *errand, enum verdict verdict, const struct problem *problem)
{
    settle(errand, &(struct outcome){.verdict = verdict, .error = bytes_of(problem->text), .error_type = BYTES("processing"), .unsaid = true});
}

/* ---- launching ---- */

/* What no later attempt would find otherwise. */
static bool stays_so(int error)
{
    return error == ENOENT || error == EACCES || error == EPERM || error == EISDIR || error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG || error == ENXIO;
}

enum { INPUT_INLINE = -1, INPUT_GONE = -2, INPUT_NOT_NOW = -3 };

/* The item's input as a descriptor, INPUT_INLINE; or a problem, and whether another attempt may do better. */
static int open_input(struct engine *engine, const struct claim *claim, struct problem *problem)
{
    if (claim->has_blob) {
        int fd = engine->options.world.open_blob(engine->options.world.data, &claim->blob);
        if (fd >= 0)
            return fd;
        problem_set(problem, "the stored file of \"%.*s\" cannot be read: %s", BYTES_ARG(claim->name), strerror(-fd));
        return stays_so(-fd) ? INPUT_GONE : INPUT_NOT_NOW;
    }
    if (!claim->path.count)
        return INPUT_INLINE;
    char *path MEM_OWNED = mem_copy(claim->path.at, claim->path.count);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0)
        return fd;
    int error = errno;
    problem_set(problem, "\"%s\" cannot be read: %s", path, strerror(error));
    return stays_so(error) ? INPUT_GONE : INPUT_NOT_NOW;
}

static int check_crew(const struct errand *errand, struct problem *problem)
{
    static const char *const what[ROOM_COUNT] = {"is done by workers", "starts programs", "leaves the machine, or goes over records"};
    if (errand->engine->options.crews[errand->room])
        return 0;
    return problem_set(problem, "leg %u of pipeline \"%s\" %s, and nothing here does that", errand->claim.leg, errand->claim.pipeline->name,
                       what[errand->room]);
}

static int put_variables(const struct errand *errand, struct buf *buf, struct problem *problem)
{
    const struct engine_world *world = &errand->engine->options.world;
    buf_init(buf, LIMIT_VARIABLES_BYTES);
    variables_put(&errand->claim, world->wall_us(world->data), buf);
    if (buf_ok(buf))
        return 0;
    return problem_set(problem, "the parameters of the job and the vars of pipeline \"%s\" take more than %d bytes",
                       errand->claim.pipeline->name, LIMIT_VARIABLES_BYTES);
}

/* The programs of all legs are made ready while a pipeline's first item is still on its way through the first. */
static void teach(struct engine *engine, const struct pipeline *pipeline)
{
    if (map_get(&engine->taught, (uintptr_t)pipeline))
        return;
    map_set(&engine->taught, (uintptr_t)pipeline, (void *)pipeline);
    for (uint32_t i = 0; i < pipeline->legs_count; i++) {
        const struct leg *leg = &pipeline->legs[i];
        struct crew *crew = engine->options.crews[leg->room];
        struct task task = {.leg = i, .stages = bytes_of(leg->stages), .pipeline = pipeline, .input_fd = -1};
        if (leg->programs && crew && crew->ops->learn)
            crew->ops->learn(crew, &task);
    }
}

static void start(struct errand *errand, struct bytes variables, int input_fd)
{
    struct engine *engine = errand->engine;
    const struct claim *claim = &errand->claim;
    const struct leg *leg = &claim->pipeline->legs[claim->leg];
    const struct pipeline *pipeline = claim->pipeline;
    struct crew *crew = engine->options.crews[errand->room];
    bool carried = claim->leg && claim->has_blob;     /* what a leg has made is JSON, whatever its item is */
    struct task task = {.token = claim->token, .leg = claim->leg, .stages = bytes_of(leg->stages), .variables = variables,
                        .params = bytes_of(live_job(claim->live)->params), .trace = bytes_of(live_job(claim->live)->trace),
                        .name = claim->name, .type = carried ? BYTES("application/json") : claim->type, .key = claim->key,
                        .remote = claim->remote, .has_records = claim->has_records, .pipeline = claim->pipeline,
                        .value = claim->value, .input_fd = input_fd, .timeout_us = leg->timeout_us};
    crew->ops->start(crew, &task);
    teach(engine, pipeline);      /* behind it, which need not wait; the errand may be gone */
}

static void launch(struct errand *errand)
{
    struct problem problem = {0};
    struct buf variables BUF_OWNED = {0};
    note_launched(errand);
    if (check_crew(errand, &problem) || put_variables(errand, &variables, &problem)) {
        fail(errand, VERDICT_FAIL, &problem);
        return;
    }
    int input_fd = open_input(errand->engine, &errand->claim, &problem);
    if (input_fd < INPUT_INLINE)
        fail(errand, input_fd == INPUT_GONE ? VERDICT_FAIL : VERDICT_RETRY, &problem);
    else
        start(errand, buf_bytes(&variables), input_fd);
}

static bool slot_free(const struct errand *errand)
{
    struct crew *crew = errand->engine->options.crews[errand->room];
    return !crew || crew->ops->slots_free(crew) > 0;
}

/* Launching one may end others: begin anew behind each. */
void errands_launch(struct engine *engine)
{
    bool full[ROOM_COUNT] = {0};
    LIST_EACH(link, &engine->errands) {
        struct errand *errand = LIST_OF(link, struct errand, link);
        if (!errand->ready || full[errand->room])
            continue;
        full[errand->room] = !slot_free(errand);
        if (full[errand->room])
            continue;
        launch(errand);
        link_next = engine->errands.next;
    }
}

static void durable(struct store_wait *wait)
{
    struct errand *errand = (struct errand *)((char *)wait - offsetof(struct errand, durable));
    errand->ready = true;
    if (slot_free(errand))
        launch(errand);
}

void errand_begin(struct engine *engine, const struct claim *claim)
{
    struct store *store = engine->options.store;
    struct errand *errand = MEM_NEW(struct errand);
    errand->engine = engine;
    errand->claim = *claim;
    errand->room = claim->pipeline->legs[claim->leg].room;
    list_push(&engine->errands, &errand->link);
    engine->waiting[errand->room]++;
#ifdef BUG_LAUNCH_EARLY
    store_when(store, &errand->durable, 0, durable);
#else
    store_when(store, &errand->durable, store_pos(store), durable);
#endif
}

unsigned errands_rooms(struct engine *engine)
{
    unsigned rooms = 0;
    for (int room = 0; room < ROOM_COUNT; room++) {
        struct crew *crew = engine->options.crews[room];
        if ((crew ? crew->ops->slots_free(crew) : NO_CREW_ERRANDS) > engine->waiting[room])
            rooms |= 1u << room;
    }
    return rooms;
}

/* ---- what the crews say ---- */

/* A blob result stays pinned until the event that names it is durable. */
struct pin {
    struct list link;             /* in engine.pins */
    struct store_wait durable;
    struct engine_world world;
    struct sha sha;
};

static void unpin(struct store_wait *wait)
{
    struct pin *pin = (struct pin *)((char *)wait - offsetof(struct pin, durable));
    if (pin->world.unpin_blob)
        pin->world.unpin_blob(pin->world.data, &pin->sha);
    list_leave(&pin->link);
    free(pin);
}

static void let_go(struct engine *engine, const struct sha *blob, int answer)
{
    const struct engine_world *world = &engine->options.world;
    if (!blob)
        return;
    if (answer == STORE_FENCED && world->abandon_blob) {
        world->abandon_blob(world->data, blob);
        return;
    }
    struct pin *pin = MEM_NEW(struct pin);
    pin->world = engine->options.world;
    pin->sha = *blob;
    list_push(&engine->pins, &pin->link);
    store_when(engine->options.store, &pin->durable, store_pos(engine->options.store), unpin);
}

static void count_leg(struct engine *engine, const struct errand *errand)
{
    struct engine_numbers *numbers = &engine->numbers;
    size_t leg = errand->claim.leg;
    histogram_add(&numbers->legs[leg], engine->options.world.now_us(engine->options.world.data) - errand->launched_us);
    if (leg >= numbers->legs_count)
        numbers->legs_count = leg + 1;
}

static void settle(struct errand *errand, const struct outcome *outcome)
{
    struct claim next = {0};
    struct engine *engine = errand->engine;
    struct token token = errand->claim.token;
    count_leg(engine, errand);
    errand_end(errand);    /* before its word is heard: that may end the job, and what still runs for it is stopped then */
    int answer = store_finish(engine->options.store, token, outcome, &next);
    let_go(engine, outcome->blob, answer);
    if (answer == STORE_STEPPED)
        errand_begin(engine, &next);
    engine_run_soon(engine);
}

static void crew_outcome(void *data, struct token token, const struct outcome *outcome, bool late)
{
    struct engine *engine = data;
    struct errand *errand = late ? NULL : errand_of(engine, token);
    if (errand) {
        settle(errand, outcome);
        return;
    }
    int answer = store_finish(engine->options.store, token, outcome, NULL);    /* too late: the fence says so and counts it */
    engine->numbers.late += late;
    engine->numbers.late_refused += late && answer == STORE_FENCED;
    let_go(engine, outcome->blob, answer);
}

static struct errand *speak(struct engine *engine, struct token token)
{
    struct errand *errand = errand_of(engine, token);
    if (errand)
        errand->speaking = true;
    return errand;
}

/* A crew that is told "fenced" forgets its task: then nobody speaks for the errand any more. If its own word has ended its job, it is stopped
 * for good in a moment: what it has begun elsewhere is still to be called off. */
static bool spoken(struct engine *engine, struct errand *errand, int answer)
{
    engine_run_soon(engine);
    if (errand)
        errand->speaking = false;
    if (errand && errand->doomed)
        return true;
    if (errand && answer == STORE_FENCED)
        errand_end(errand);
    return answer != STORE_FENCED;
}

static bool crew_waiting(void *data, struct token token, struct bytes remote, struct bytes usage)
{
    struct engine *engine = data;
    struct errand *errand = speak(engine, token);
    return spoken(engine, errand, store_waiting(engine->options.store, token, remote, usage));
}

static bool crew_record(void *data, struct token token, const struct record_outcome *record)
{
    struct engine *engine = data;
    struct errand *errand = speak(engine, token);
    int answer = store_record(engine->options.store, token, record);
    let_go(engine, record->blob, answer);
    return spoken(engine, errand, answer);
}

static void crew_hint(void *data, struct token token, int percent, struct bytes status)
{
    struct engine *engine = data;
    if (engine->hint)
        engine->hint(engine->hint_data, token.job, token.item, percent, status);
}

static void crew_free(void *data)
{
    engine_run_soon(data);
}

struct crew_client errands_client(struct engine *engine)
{
    return (struct crew_client){.data = engine, .outcome = crew_outcome, .waiting = crew_waiting, .record = crew_record, .hint = crew_hint,
                                .free = crew_free};
}

/* ---- stopping ---- */

static void stop(struct errand *errand, bool for_good)
{
    struct crew *crew = errand->engine->options.crews[errand->room];
    if (errand->launched && crew)
        crew->ops->stop(crew, errand->claim.token, for_good);
    errand_end(errand);
}

static void stop_job(struct list *errands, int64_t job)
{
    LIST_EACH(link, errands) {
        struct errand *errand = LIST_OF(link, struct errand, link);
        if (errand->claim.token.job != job)
            continue;
        if (!errand->speaking) {
            stop(errand, true);
        } else if (!errand->doomed) {
            errand->doomed = true;
            errand->engine->doomed_count++;
        }
    }
}

void errands_stop_doomed(struct engine *engine)
{
    LIST_EACH(link, &engine->launched) {
        struct errand *errand = LIST_OF(link, struct errand, link);
        if (!engine->doomed_count)
            return;
        if (errand->doomed)
            stop(errand, true);
    }
}

void errands_stop_job(struct engine *engine, int64_t job)
{
    stop_job(&engine->errands, job);
    stop_job(&engine->launched, job);
}

void errands_forget(struct engine *engine)
{
    LIST_EACH(link, &engine->launched)
        stop(LIST_OF(link, struct errand, link), false);
    LIST_EACH(link, &engine->errands)
        stop(LIST_OF(link, struct errand, link), false);
    map_done(&engine->by_token);
    for (struct list *link; (link = list_pop(&engine->pins));) {    /* still pinned: their events may yet become durable */
        struct pin *pin = LIST_OF(link, struct pin, link);
        store_unwait(&pin->durable);
        free(pin);
    }
}

/* The remote side works on, whether or not this program is there: the next opening adopts it. Or nobody works: it waits for a pause to end. */
static bool is_away(const struct errand *errand)
{
    const struct job *job = live_job(errand->claim.live);
    struct crew *crew = errand->launched ? errand->engine->options.crews[errand->room] : NULL;
    if (!job->ended && job->items[errand->claim.token.item].state == ITEM_WAITING)
        return true;
    return crew && crew->ops->rests && crew->ops->rests(crew, errand->claim.token);
}

static bool may_be_left(const struct errand *errand)
{
    return is_away(errand) || (errand->engine->leaving_calls && errand->room == ROOM_TRIP);
}

bool errands_idle(const struct engine *engine)
{
    LIST_EACH(link, &engine->errands)
        if (!may_be_left(LIST_OF(link, struct errand, link)))
            return false;
    LIST_EACH(link, &engine->launched)
        if (!may_be_left(LIST_OF(link, struct errand, link)))
            return false;
    return true;
}
