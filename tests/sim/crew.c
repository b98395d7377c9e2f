#include "sim.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct worker {
    struct happening word;        /* its outcome, or its return to life */
    struct sim *sim;
    bool dead, busy;
    struct token token;
    uint64_t mark;
    enum fate fate;
};

/* A word of a task that was over already: killed for its deadline, or of a process that outlived its server. */
struct ghost {
    struct happening word;
    struct list link;             /* in sim.ghosts */
    struct token token;
    uint64_t mark;
};

void crew_say(struct sim *sim, struct token token, uint64_t mark, enum fate fate, bool late)
{
    static char huge[LIMIT_BODY_BYTES + 100];
    char value[64], error[64], stats[32];
    int64_t half = sim_between(sim, 0, 200);
    snprintf(value, sizeof value, late ? "{\"late\":%llu}" : "{\"mark\":%llu}", (unsigned long long)mark);
    snprintf(error, sizeof error, late ? "too late #%llu" : "no luck #%llu", (unsigned long long)mark);
    snprintf(stats, sizeof stats, "{\"accuracy\":%g}", (double)half / 2);
    struct outcome outcome = {.verdict = VERDICT_DONE, .value = bytes_of(value), .error = bytes_of(error), .error_type = BYTES("processing")};
    struct sha sha = sha_of(bytes_of(value));
    switch (fate) {
    case FATE_DONE:
        if (sim_chance(sim, 70))
            outcome.stats = bytes_of(stats);
        if (sim_chance(sim, 3))
            outcome.blob = &sha;
        break;
    case FATE_RETRY: outcome.verdict = VERDICT_RETRY; break;
    case FATE_CRASH: outcome.verdict = VERDICT_RETRY; outcome.error_type = BYTES("crash"); break;
    case FATE_HANG: outcome.verdict = VERDICT_RETRY; outcome.error_type = BYTES("timeout"); break;
    case FATE_FAIL: outcome.verdict = VERDICT_FAIL; outcome.stage = BYTES("a"); break;
    case FATE_HUGE:
        if (!huge[0])
            memset(huge, '1', sizeof huge);
        outcome.value = (struct bytes){huge, sizeof huge};
        break;
    case FATE_BROKEN: outcome.value = BYTES("{\"mark\":"); break;
    }
    if (fate != FATE_DONE)
        outcome.stats = (struct bytes){0};
    if (sim->temper.trips) {
        outcome.usage = BYTES("{\"cost\":1}");
        outcome.hit = mark % 2;
        outcome.fail_job = mark % 40 == 0;
    }
    sim_note(sim, late ? "a late word" : "an outcome", token.job, token.item, (int64_t)mark);
    sim->crew.client.outcome(sim->crew.client.data, token, &outcome, late);
}

/* ---- late words ---- */

static void haunt(struct sim *sim, struct happening *happening)
{
    struct ghost *ghost = HAPPENING_OF(happening, struct ghost, word);
    if (!sim_up(sim)) {
        sim_at(sim, happening, sim_between(sim, MS, SECOND));
        return;
    }
    list_leave(&ghost->link);
    sim_tally(TALLY_LATE, 1);
    crew_say(sim, ghost->token, ghost->mark, sim_chance(sim, 70) ? FATE_DONE : FATE_FAIL, true);
    free(ghost);
}

void crew_ghost(struct sim *sim, struct token token, uint64_t mark)
{
    struct ghost *ghost = MEM_NEW(struct ghost);
    ghost->word.call = haunt;
    ghost->token = token;
    ghost->mark = mark;
    list_push(&sim->ghosts, &ghost->link);
    sim_at(sim, &ghost->word, sim_spread(sim, 100, 3 * SECOND));
}

/* ---- workers ---- */

static void wake(struct sim *sim, struct happening *happening)
{
    struct worker *worker = HAPPENING_OF(happening, struct worker, word);
    worker->dead = false;
    if (sim_up(sim))
        sim->crew.client.free(sim->crew.client.data);
}

static void die(struct worker *worker)
{
    worker->dead = true;
    worker->busy = false;
    worker->word.call = wake;
    sim_at(worker->sim, &worker->word, sim_between(worker->sim, 10 * MS, 500 * MS));
}

static void speak(struct sim *sim, struct happening *happening)
{
    struct worker *worker = HAPPENING_OF(happening, struct worker, word);
    struct worker was = *worker;
    worker->busy = false;
    if (was.fate == FATE_CRASH || was.fate == FATE_HANG)
        die(worker);
    crew_say(sim, was.token, was.mark, was.fate, false);
    if (was.fate == FATE_HANG && sim_chance(sim, 60))    /* the socket of the killed one is drained */
        crew_ghost(sim, was.token, was.mark);
}

enum fate crew_fate(struct sim *sim)
{
    if (sim->calm)
        return FATE_DONE;
    if (sim_chance(sim, sim->temper.hang_percent))
        return FATE_HANG;
    if (!sim_chance(sim, sim->temper.fail_percent))
        return FATE_DONE;
    return rng_below(&sim->rng, 40) == 0 ? FATE_HUGE : (enum fate)(FATE_RETRY + rng_below(&sim->rng, 3));
}

static int64_t draw_time(struct sim *sim)
{
    if (!sim->calm && sim_chance(sim, sim->temper.slow_percent))
        return sim_spread(sim, 50 * MS, 4 * SECOND);
    return sim_spread(sim, 100, 50 * MS);
}

static struct worker *idle_worker(struct sim *sim)
{
    for (unsigned i = 0; i < sim->temper.slots; i++)
        if (!sim->workers[i].busy && !sim->workers[i].dead)
            return &sim->workers[i];
    return NULL;
}

static struct sim *of(struct crew *crew)
{
    return (struct sim *)((char *)crew - offsetof(struct sim, crew));
}

static size_t slots_free(struct crew *crew)
{
    struct sim *sim = of(crew);
    size_t count = 0;
    for (unsigned i = 0; i < sim->temper.slots; i++)
        count += !sim->workers[i].busy && !sim->workers[i].dead;
    return count;
}

static void see_work(struct sim *sim, struct token more)
{
    struct token *busy MEM_OWNED = mem_new(sim->temper.slots * sizeof *busy);
    size_t count = 0;
    for (unsigned i = 0; i < sim->temper.slots; i++)
        if (sim->workers[i].busy)
            busy[count++] = sim->workers[i].token;
    model_see_work(sim, more, busy, count);
}

static void start(struct crew *crew, const struct task *task)
{
    struct sim *sim = of(crew);
    struct worker *worker = idle_worker(sim);
    SIM_CHECK(sim, worker, "a task was started without a free slot");
    worker->mark = model_see_task(sim, task);
    see_work(sim, task->token);
    worker->busy = true;
    worker->token = task->token;
    worker->fate = crew_fate(sim);
    if (worker->fate == FATE_FAIL && sim_chance(sim, 10))
        worker->fate = FATE_BROKEN;
    struct mark *mark = &sim->model.marks[worker->mark];
    mark->spoiled = worker->fate == FATE_HUGE || worker->fate == FATE_BROKEN;
    mark->verdict = worker->fate == FATE_DONE ? VERDICT_DONE : worker->fate == FATE_FAIL || mark->spoiled ? VERDICT_FAIL : VERDICT_RETRY;
    worker->word.call = speak;
    int64_t time = draw_time(sim);
    if (worker->fate == FATE_HANG || time > task->timeout_us) {
        worker->fate = FATE_HANG;
        mark->verdict = VERDICT_RETRY;
        mark->spoiled = false;
        time = task->timeout_us;
    }
    sim_note(sim, "launched", task->token.job, task->token.item, (int64_t)worker->mark);
    sim_at(sim, &worker->word, time);
    if (sim_chance(sim, 5))
        crew->client.hint(crew->client.data, task->token, 50, BYTES("half"));
    if (task->input_fd >= 0)
        close(task->input_fd);
}

static void stop(struct crew *crew, struct token token, bool for_good)
{
    struct sim *sim = of(crew);
    for (unsigned i = 0; i < sim->temper.slots; i++) {
        struct worker *worker = &sim->workers[i];
        if (worker->busy && worker->token.job == token.job && worker->token.item == token.item &&
            worker->token.attempt == token.attempt && worker->token.holder == token.holder) {
            sim_note(sim, "stopped", token.job, token.item, (int64_t)worker->mark);
            die(worker);
        }
    }
}

static const struct crew_ops ops = {slots_free, start, stop};

void crew_begin(struct sim *sim)
{
    sim->crew.ops = &ops;
    sim->workers = mem_new(sim->temper.slots * sizeof *sim->workers);
    for (unsigned i = 0; i < sim->temper.slots; i++)
        sim->workers[i].sim = sim;
}

/* The workers die with their server; what one of them had on its tongue may come to the next one all the same. */
void crew_power_cut(struct sim *sim)
{
    for (unsigned i = 0; i < sim->temper.slots; i++) {
        struct worker *worker = &sim->workers[i];
        sim_not(sim, &worker->word);
        if (worker->busy && sim_chance(sim, 30))
            crew_ghost(sim, worker->token, worker->mark);
        worker->busy = false;
        worker->dead = true;
    }
}

void crew_boot(struct sim *sim)
{
    for (unsigned i = 0; i < sim->temper.slots; i++)
        die(&sim->workers[i]);
}

void crew_lose_one(struct sim *sim)
{
    struct worker *worker = idle_worker(sim);
    if (!worker)
        return;
    sim_note(sim, "an idle worker dies", 0, -1, worker - sim->workers);
    die(worker);
}

void crew_end(struct sim *sim)
{
    for (struct list *link; (link = list_pop(&sim->ghosts));)
        free(LIST_OF(link, struct ghost, link));
    free(sim->workers);
}
