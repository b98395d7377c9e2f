#include "sim.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Calls that leave the machine: some begin work at a remote side and wait for it, others go over the records of their item, one by one. Who waits
 * takes no slot of the crew. */
struct trip {
    struct happening word;
    struct list link;             /* in sim.trip_list */
    struct sim *sim;
    struct token token;
    uint64_t mark;
    enum fate fate;
    bool records, waiting;
    uint64_t remote;              /* the remote side's name; 0 = none yet */
    unsigned done, count;         /* records: a bit for each that is done; how many there are */
};

static struct sim *of(struct crew *crew)
{
    return (struct sim *)((char *)crew - offsetof(struct sim, trips));
}

static void forget(struct trip *trip)
{
    sim_not(trip->sim, &trip->word);
    list_leave(&trip->link);
    store_drop_asks(trip->sim->store, trip);
    free(trip);
}

static void come_home(struct sim *sim, struct happening *happening)
{
    struct trip *trip = HAPPENING_OF(happening, struct trip, word);
    struct trip was = *trip;
    forget(trip);
    crew_say(sim, was.token, was.mark, was.fate, false);
    if (was.fate == FATE_HANG)
        crew_ghost(sim, was.token, was.mark);
}

/* ---- a remote side ---- */

static bool tell_waiting(struct trip *trip)
{
    char remote[64];
    struct sim *sim = trip->sim;
    snprintf(remote, sizeof remote, "{\"id\":%llu,\"task\":%llu}", (unsigned long long)trip->remote, (unsigned long long)trip->mark);
    sim_note(sim, "waits for remote", trip->token.job, trip->token.item, (int64_t)trip->remote);
    if (sim->trips.client.waiting(sim->trips.client.data, trip->token, bytes_of(remote), BYTES("{\"calls\":1}"))) {
        trip->waiting = true;
        return true;
    }
    forget(trip);
    return false;
}

static void call_remote(struct sim *sim, struct happening *happening)
{
    struct trip *trip = HAPPENING_OF(happening, struct trip, word);
    if (!trip->remote) {
        model_see_remote(sim, trip->token);
        trip->remote = ++sim->remotes;
        sim_tally(TALLY_REMOTES, 1);
    }
    if ((!trip->waiting || sim_chance(sim, 20)) && !tell_waiting(trip))
        return;
    trip->word.call = come_home;
    sim_at(sim, &trip->word, sim_spread(sim, MS, sim->calm ? SECOND : 6 * SECOND));
}

/* ---- records ---- */

/* A record that takes its item along: both are one word, so that the log can never hold the one without the other. */
static void end_with(struct sim *sim, struct trip *trip, unsigned record)
{
    char own[64], error[64];
    struct trip was = *trip;
    snprintf(own, sizeof own, "dead end #%llu", (unsigned long long)was.mark);
    snprintf(error, sizeof error, "no luck #%llu", (unsigned long long)was.mark);
    struct record_outcome told = {.record = record, .failed = true, .error = bytes_of(own), .usage = BYTES("{\"cost\":1}")};
    struct outcome outcome = {.verdict = VERDICT_FAIL, .error = bytes_of(error), .error_type = BYTES("processing"), .record = &told,
                              .fail_job = was.mark % 40 == 0};
    sim->model.marks[was.mark].verdict = VERDICT_FAIL;
    sim->model.marks[was.mark].spoiled = false;
    model_see_record(sim, was.token, record);
    sim_tally(TALLY_RECORDS, 1);
    sim_note(sim, "a record takes its item along", was.token.job, was.token.item, (int64_t)was.mark);
    forget(trip);
    sim->trips.client.outcome(sim->trips.client.data, was.token, &outcome, false);
    sim->cut_next = sim->cut_next || sim_chance(sim, 40);
}

static void next_record(struct sim *sim, struct happening *happening)
{
    struct trip *trip = HAPPENING_OF(happening, struct trip, word);
    char text[64];
    unsigned record = 0;
    while (record < trip->count && trip->done & 1u << record)
        record++;
    if (record == trip->count || (trip->fate != FATE_DONE && sim_chance(sim, 40))) {
        come_home(sim, happening);
        return;
    }
    if (!sim->calm && sim_chance(sim, 12)) {
        end_with(sim, trip, record);
        return;
    }
    bool failed = sim_chance(sim, 20);
    snprintf(text, sizeof text, failed ? "no luck #%llu" : "{\"mark\":%llu}", (unsigned long long)trip->mark);
    model_see_record(sim, trip->token, record);
    trip->done |= 1u << record;
    struct record_outcome outcome = {.record = record, .failed = failed, .value = bytes_of(text), .error = bytes_of(text), .usage = BYTES("{\"cost\":1}"), .hit = record == 3};
    sim_tally(TALLY_RECORDS, 1);
    if (sim->trips.client.record(sim->trips.client.data, trip->token, &outcome))
        sim_at(sim, &trip->word, sim_spread(sim, 100, 300 * MS));
    else
        forget(trip);
}

static void records_came(void *data, struct row **rows, size_t count, int error)
{
    struct trip *trip = data;
    SIM_CHECK(trip->sim, !error, "the records of an item cannot be read: %d", error);
    trip->done = model_see_records(trip->sim, trip->token, rows, count);
    sim_at(trip->sim, &trip->word, sim_spread(trip->sim, 100, 50 * MS));
}

/* ---- the crew ---- */

static size_t slots_free(struct crew *crew)
{
    struct sim *sim = of(crew);
    size_t free_now = sim->temper.slots;
    LIST_EACH(link, &sim->trip_list)
        free_now -= !LIST_OF(link, struct trip, link)->waiting && free_now;
    return free_now;
}

static void start(struct crew *crew, const struct task *task)
{
    struct sim *sim = of(crew);
    SIM_CHECK(sim, slots_free(crew), "a trip was started without a free slot");
    struct trip *trip = MEM_NEW(struct trip);
    trip->sim = sim;
    trip->token = task->token;
    trip->mark = model_see_task(sim, task);
    trip->fate = crew_fate(sim);
    trip->records = task->pipeline->legs[task->leg].records;
    trip->remote = model_remote_of(task->remote);
    trip->count = 1 + (unsigned)(task->token.item % 5);
    list_push(&sim->trip_list, &trip->link);
    struct mark *mark = &sim->model.marks[trip->mark];
    mark->spoiled = trip->fate == FATE_HUGE;
    mark->verdict = trip->fate == FATE_DONE ? VERDICT_DONE : trip->fate == FATE_FAIL || mark->spoiled ? VERDICT_FAIL : VERDICT_RETRY;
    sim_note(sim, "a trip begins", task->token.job, task->token.item, (int64_t)trip->mark);
    trip->word.call = trip->records ? next_record : call_remote;
    if (task->has_records)
        store_records(sim->store, store_get_number(sim->store, task->token.job), task->token.item, records_came, trip);
    else
        sim_at(sim, &trip->word, sim_spread(sim, 100, 50 * MS));
    if (task->input_fd >= 0)
        close(task->input_fd);
}

static void stop(struct crew *crew, struct token token, bool for_good)
{
    LIST_EACH(link, &of(crew)->trip_list) {
        struct trip *trip = LIST_OF(link, struct trip, link);
        if (trip->token.job == token.job && trip->token.item == token.item && trip->token.attempt == token.attempt)
            forget(trip);
    }
}

static const struct crew_ops ops = {slots_free, start, stop};

void trips_begin(struct sim *sim)
{
    sim->trips.ops = &ops;
    list_init(&sim->trip_list);
}

void trips_power_cut(struct sim *sim)
{
    LIST_EACH(link, &sim->trip_list) {
        struct trip *trip = LIST_OF(link, struct trip, link);
        if (sim_chance(sim, 30))
            crew_ghost(sim, trip->token, trip->mark);
        forget(trip);
    }
}
