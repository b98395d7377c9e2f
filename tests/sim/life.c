#include "sim.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "core/document.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define BEGINNING 1790000000000000LL       /* wall time at which every life begins */

enum {
    HAPPENINGS_MAX = 3000000,              /* a life goes round in circles beyond it */
    CALM_SECONDS_MAX = 1800,               /* virtual; by then everything must have ended */
};

/* ---- chance and time ---- */

bool sim_chance(struct sim *sim, unsigned percent)
{
    return rng_below(&sim->rng, 100) < percent;
}

int64_t sim_between(struct sim *sim, int64_t from, int64_t to)
{
    return from + (int64_t)rng_below(&sim->rng, (uint64_t)(to - from) + 1);
}

int64_t sim_spread(struct sim *sim, int64_t from, int64_t to)
{
    while (to > 2 * from && sim_chance(sim, 75))
        to /= 2;
    return sim_between(sim, from, to);
}

void sim_at(struct sim *sim, struct happening *happening, int64_t delay_us)
{
    heap_leave(&sim->timeline, &happening->node);
    heap_add(&sim->timeline, &happening->node, sim->now_us + delay_us);
}

void sim_not(struct sim *sim, struct happening *happening)
{
    heap_leave(&sim->timeline, &happening->node);
}

struct bytes sim_name(int64_t input, char ret[64])
{
    static const char *const names[] = {"deck %lld.jpg", "\xe6\x98\x93\xe7\xbb\x8f %lld.png", "a\"b\\c %lld", "tab\there %lld", ".%lld"};
    snprintf(ret, 64, names[input % 5], (long long)input);
    return bytes_of(ret);
}

static int64_t now_us(void *data)
{
    return ((struct sim *)data)->now_us;
}

static int64_t wall_us(void *data)
{
    struct sim *sim = data;
    return BEGINNING + sim->now_us + sim->wall_offset_us;
}

static uint64_t chance(void *data)
{
    return rng_next(&((struct sim *)data)->rng);
}

static void new_id(void *data, char ret[33])
{
    struct sim *sim = data;
    snprintf(ret, 33, "%016llx%016llx", (unsigned long long)rng_next(&sim->rng), (unsigned long long)rng_next(&sim->rng));
}

/* ---- the engine's world ---- */

static void run_at(void *data, int64_t at_us)
{
    struct sim *sim = data;
    int64_t delay = at_us > sim->now_us ? at_us - sim->now_us : 0;
    if (!sim->run.node.place || sim->run.node.key > sim->now_us + delay)
        sim_at(sim, &sim->run, delay);
}

static int open_blob(void *data, const struct sha *sha)
{
    return sim_chance(data, 10) ? -ENOENT : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void run_engine(struct sim *sim, struct happening *happening)
{
    engine_run(sim->engine);
}

/* ---- the machine ---- */

bool sim_up(const struct sim *sim)
{
    return sim->engine != NULL;
}

static void boot(struct sim *sim, struct happening *happening)
{
    struct store_world world = {.data = sim, .now_us = now_us, .wall_us = wall_us, .random = chance, .id = new_id, .id_data = sim};
    struct problem problem = {0};
    sim->store = store_new(&world);
    store_set_pools(sim->store, &sim->resources);
    sim->log = memory_open(sim->disk, wall_us(sim) / SECOND, store_opening(sim->store));
    sim->disk_full = false;
    sim_note(sim, "the machine boots", 0, -1, store_opening(sim->store)->epoch);
    sim->model.epoch = store_opening(sim->store)->epoch;
    model_opened(sim);
    if (store_start(sim->store, sim->log, &problem))
        sim_fail(sim, "the store does not start: %s", problem.text);
    model_started(sim);
    crew_boot(sim);
    struct engine_options options = {.world = {.data = sim, .now_us = now_us, .wall_us = wall_us, .run_at = run_at, .open_blob = open_blob},
                                     .store = sim->store, .crews = {&sim->crew, NULL, &sim->trips},
                                     .retention_us = sim->temper.prunes ? 20 * SECOND : 0};
    sim->engine = engine_new(&options);
    sim->drained = false;
}

static void machine_off(struct sim *sim)
{
    sim_not(sim, &sim->sync);
    sim_not(sim, &sim->pump);
    sim_not(sim, &sim->run);
    sim_not(sim, &sim->disk_freed);
    sim->log = NULL;
    sim->store = NULL;
    sim->engine = NULL;
}

static void power_cut(struct sim *sim)
{
    model_catch_up(sim);
    sim_note(sim, "THE POWER GOES; rows lost", 0, -1, (int64_t)memory_waiting(sim->log));
    sim_tally(TALLY_CUTS, 1);
    crew_power_cut(sim);
    trips_power_cut(sim);
    engine_free(sim->engine);
    clients_leave(sim);
    readers_leave(sim);
    store_forget(sim->store);
    memory_crash(sim->log);
    machine_off(sim);
}

static void now_idle(void *data)
{
    ((struct sim *)data)->drained = true;
}

/* Everything that was accepted is durable behind a clean stop. */
static void clean_stop(struct sim *sim)
{
    sim_note(sim, "a clean stop", 0, -1, 0);
    sim_tally(TALLY_STOPS, 1);
    engine_drain(sim->engine, now_idle, sim);
    crew_power_cut(sim);
    trips_power_cut(sim);
    engine_free(sim->engine);
    clients_leave(sim);
    readers_leave(sim);
    uint64_t pos = store_pos(sim->store);
    store_close(sim->store);
    machine_off(sim);
    model_catch_up(sim);
    SIM_CHECK(sim, sim->model.rows_count == pos, "a clean stop left %llu of %llu events behind",
              (unsigned long long)(pos - sim->model.rows_count), (unsigned long long)pos);
}

static void go_down(struct sim *sim, void (*how)(struct sim *sim))
{
    sim->cut_next = false;
    how(sim);
    sim_at(sim, &sim->boot, sim_chance(sim, 10) ? sim_between(sim, SECOND, 60 * SECOND) : sim_spread(sim, MS, 2 * SECOND));
}

/* ---- the disk's moments ---- */

static void sync_some(struct sim *sim, struct happening *happening)
{
    size_t waiting = memory_waiting(sim->log);
    bool part = waiting > 1 && (sim->cut_next || sim_chance(sim, 30));
    size_t count = part ? (size_t)sim_between(sim, 1, (int64_t)waiting - 1) : waiting;
    count = memory_sync(sim->log, count);
    sim->idle = !count;
    if (count)
        sim_note(sim, "durable", 0, -1, (int64_t)memory_last_pos(sim->disk));
    model_catch_up(sim);
    if (sim->cut_next && part)
        go_down(sim, power_cut);
    else if (memory_waiting(sim->log))
        sim_at(sim, &sim->sync, sim_between(sim, 100, 3 * MS));
}

static void pump(struct sim *sim, struct happening *happening)
{
    sim->idle = !memory_pump(sim->log);
    model_see_usage(sim);
}

/* Rows, flushes and questions may have been handed over just now: the disk looks for them in a moment. */
static void wake_disk(struct sim *sim)
{
    if (!sim->sync.node.place && !sim->disk_full)
        sim_at(sim, &sim->sync, sim_between(sim, 100, 3 * MS));
    if (!sim->pump.node.place)
        sim_at(sim, &sim->pump, sim_between(sim, 50, 5 * MS));
}

static void disk_freed(struct sim *sim, struct happening *happening)
{
    sim_note(sim, "the disk takes rows again", 0, -1, 0);
    sim->disk_full = false;
    memory_full(sim->log, false);
}

static void fill_disk(struct sim *sim)
{
    if (sim->disk_full)
        return;
    sim_note(sim, "the disk is full", 0, -1, 0);
    sim->disk_full = true;
    sim_not(sim, &sim->sync);
    memory_full(sim->log, true);
    sim_at(sim, &sim->disk_freed, sim_spread(sim, 50 * MS, 3 * SECOND));
}

/* ---- trouble ---- */

static void jump_wall(struct sim *sim)
{
    int64_t jump = sim_spread(sim, SECOND, 40LL * 86400 * SECOND) * (sim_chance(sim, 50) ? 1 : -1);
    sim->wall_offset_us += jump;
    sim_note(sim, "the wall clock jumps, s", 0, -1, jump / SECOND);
}

static void trouble(struct sim *sim, struct happening *happening)
{
    if (sim->calm)
        return;
    if (sim_up(sim) && sim_chance(sim, sim->temper.cut_percent)) {
        if (sim_chance(sim, 40) && !sim->cut_next)
            sim->cut_next = true;
        else
            go_down(sim, sim_chance(sim, 20) ? clean_stop : power_cut);
    } else if (sim_up(sim)) {
        switch (sim_between(sim, 0, 2)) {
        case 0: fill_disk(sim); break;
        case 1: jump_wall(sim); break;
        case 2: crew_lose_one(sim); break;
        }
    }
    sim_at(sim, &sim->trouble, sim_between(sim, 0, 2 * sim->temper.trouble_us));
}

static void calm_down(struct sim *sim)
{
    sim->calm = true;
    sim->cut_next = false;
    sim->calm_since_us = sim->now_us;
    sim_not(sim, &sim->trouble);
    sim_note(sim, "from now on nothing goes wrong", 0, -1, 0);
    if (sim->disk_freed.node.place)
        sim_at(sim, &sim->disk_freed, 0);
}

/* ---- a life ---- */

static void draw_temper(struct sim *sim)
{
    struct temper *temper = &sim->temper;
    *temper = (struct temper){
        .turbulent_us = sim_between(sim, 2, 30) * SECOND,
        .trouble_us = sim_spread(sim, 100 * MS, 8 * SECOND),
        .clients = (unsigned)sim_between(sim, 1, 14),
        .slots = (unsigned)sim_between(sim, 1, 8),
        .hang_percent = (unsigned)sim_spread(sim, 1, 40),
        .fail_percent = (unsigned)sim_spread(sim, 1, 40),
        .slow_percent = (unsigned)sim_spread(sim, 1, 60),
        .items_max = (unsigned)sim_spread(sim, 8, 300),
        .cut_percent = (unsigned)sim_between(sim, 0, 90),
        .prunes = sim_chance(sim, 20),
        .pools = sim->seed % 3 == 1,
        .trips = sim->seed % 3 == 2,
    };
    if (sim->seed % 32 == 7) {        /* large jobs: several events of items, several pages of cells */
        temper->items_max = 2000;
        temper->clients = 3;
    }
    if (sim->seed % 16 == 5) {        /* the same few items are interrupted again and again */
        temper->hang_percent = 90;
        temper->clients = 3;
        temper->cut_percent = 90;
        temper->turbulent_us = 30 * SECOND;
        temper->trouble_us = SECOND;
    }
}

static void begin(struct sim *sim)
{
    static const char *const texts[SIM_PIPELINES] = {
        "{\"name\":\"one\",\"legs\":[{\"stages\":[\"a\"],\"timeout_s\":5,\"backoff_ms\":[100,2000]}]}",
        "{\"name\":\"two\",\"result_key\":\"r\",\"legs\":[{\"stages\":[\"a\",\"b\"],\"timeout_s\":10,\"attempts\":2},{\"stages\":[\"c\"],\"timeout_s\":20}]}",
        "{\"name\":\"three\",\"legs\":[{\"stages\":[\"a\"],\"timeout_s\":1},{\"stages\":[\"b\"],\"timeout_s\":30,\"attempts\":4,\"backoff_ms\":[0,10]},{\"stages\":[\"c\"]}]}",
        "{\"name\":\"once\",\"legs\":[{\"stages\":[{\"stage\":\"a\",\"on_error\":\"fail_job\"}],\"timeout_s\":60,\"attempts\":1}]}",
    };
    static const char *const pooled[SIM_PIPELINES] = {
        "{\"name\":\"one\",\"concurrency\":2,\"legs\":[{\"stages\":[\"a\"],\"timeout_s\":5,\"backoff_ms\":[100,2000]}]}",
        "{\"name\":\"two\",\"legs\":[{\"stages\":[\"a\"],\"resources\":{\"gpu\":1},\"timeout_s\":10},{\"stages\":[\"c\"],\"resources\":{\"llm\":2}}]}",
        ("{\"name\":\"three\",\"concurrency\":3,\"legs\":[{\"stages\":[\"a\"],\"resources\":{\"llm\":1,\"gpu\":1}},{\"stages\":[\"b\"]},"
         "{\"stages\":[\"c\"],\"resources\":{\"gpu\":1,\"other\":1}}]}"),
        "{\"name\":\"once\",\"legs\":[{\"stages\":[\"a\"],\"timeout_s\":60,\"attempts\":1}]}",
    };
    static const char *const away[SIM_PIPELINES] = {
        "{\"name\":\"one\",\"legs\":[{\"stages\":[\"a\"],\"timeout_s\":5,\"backoff_ms\":[100,2000]}]}",
        ("{\"name\":\"two\",\"legs\":[{\"stages\":[\"a\"],\"timeout_s\":10},{\"stages\":[{\"stage\":\"remote_job\"}],\"attempts\":4,\"backoff_ms\":[10,500]},"
         "{\"stages\":[\"c\"],\"timeout_s\":20}]}"),
        ("{\"name\":\"three\",\"legs\":[{\"stages\":[\"a\"],\"timeout_s\":1},{\"stages\":[{\"stage\":\"http\"}],\"each\":\"record\",\"attempts\":4,"
         "\"backoff_ms\":[0,10]},{\"stages\":[\"c\"]}]}"),
        "{\"name\":\"once\",\"legs\":[{\"stages\":[{\"stage\":\"remote_job\"}],\"timeout_s\":60,\"attempts\":3}]}",
    };
    struct problem problem = {0};
    draw_temper(sim);
    if (resources_parse(BYTES("gpu=1,llm=3"), &sim->resources, &problem))
        sim_fail(sim, "%s", problem.text);
    for (size_t i = 0; i < SIM_PIPELINES; i++)
        if (!(sim->pipelines[i] = pipeline_parse(bytes_of(sim->temper.pools ? pooled[i] : sim->temper.trips ? away[i] : texts[i]), &problem)) ||
            resources_check(&sim->resources, sim->pipelines[i], &problem))
            sim_fail(sim, "%s", problem.text);
    sim->boot.call = boot;
    sim->sync.call = sync_some;
    sim->pump.call = pump;
    sim->run.call = run_engine;
    sim->trouble.call = trouble;
    sim->disk_freed.call = disk_freed;
    list_init(&sim->ghosts);
    list_init(&sim->readers);
    sim->disk = memory_disk_new();
    crew_begin(sim);
    trips_begin(sim);
    clients_begin(sim);
    sim_at(sim, &sim->boot, 0);
    sim_at(sim, &sim->trouble, sim->temper.trouble_us);
}

static bool all_ended(const struct sim *sim)
{
    return sim->calm && sim_up(sim) && !sim->clients_left && !sim->readers_left && !sim->model.jobs_open && !memory_waiting(sim->log);
}

static void step(struct sim *sim)
{
    struct heap_node *top = heap_top(&sim->timeline);
    if (!top)
        sim_fail(sim, "nothing will ever happen any more: %u jobs have not ended, %u clients and %u readers wait", sim->model.jobs_open,
                 sim->clients_left, sim->readers_left);
    struct happening *happening = HEAP_OF(top, struct happening, node);
    bool was_full = sim->disk_full;
    heap_leave(&sim->timeline, top);
    if (top->key > sim->now_us)
        sim->now_us = top->key;
    sim->idle = false;
    happening->call(sim, happening);
    if (sim_up(sim)) {
        model_accepted(sim, was_full && sim->disk_full);
        if (!sim->idle)
            wake_disk(sim);
    }
}

static void check_found(void *data, struct live *live)
{
    struct sim *sim = data;
    struct buf have BUF_OWNED, want BUF_OWNED;
    buf_init(&have, 1 << 20);
    buf_init(&want, 1 << 20);
    if (!live)
        return;
    struct model_job *job = model_job(sim, live_job(live)->job);
    SIM_CHECK(sim, job, "the store knows a job that the log does not");
    model_fold(sim, job);
    document_job(live_job(live), &have);
    document_job(job->shadow, &want);
    SIM_CHECK(sim, bytes_equal(buf_bytes(&have), buf_bytes(&want)), "the document of job %lld is not that of its log:\n%.*s\n%.*s",
              (long long)job->job, BYTES_ARG(buf_bytes(&have)), BYTES_ARG(buf_bytes(&want)));
}

/* All jobs that were not removed, newest first. */
static void check_list(void *data, struct live **lives, size_t count, bool more, int error)
{
    struct sim *sim = data;
    size_t at = 0;
    SIM_CHECK(sim, !error && !more, "the jobs cannot be listed");
    for (size_t i = sim->model.jobs_count; i-- > 0;) {
        const struct model_job *job = sim->model.jobs[i];
        if (model_pruned(sim, job))
            continue;
        SIM_CHECK(sim, at < count && live_job(lives[at])->job == job->job, "job %lld is not in its place in the list", (long long)job->job);
        at++;
    }
    SIM_CHECK(sim, at == count, "the list has jobs that the log has not");
}

/* After everything has ended: once more through the disk, and every job is as its log says. */
static void last_look(struct sim *sim)
{
    if (sim_chance(sim, 50))
        power_cut(sim);
    else
        clean_stop(sim);
    boot(sim, &sim->boot);
    for (size_t i = 0; i < sim->model.jobs_count; i++)
        store_find(sim->store, bytes_of(sim->model.jobs[i]->id), check_found, sim);
    store_list(sim->store, &(struct store_list_want){.status = -1, .before = INT64_MAX, .limit = LIMIT_LIST_JOBS}, check_list, sim);
    memory_auto(sim->log, true);
    clean_stop(sim);
}

static void end(struct sim *sim)
{
    clients_end(sim);
    readers_end(sim);
    crew_end(sim);
    model_done(sim);
    memory_disk_free(sim->disk);
    heap_done(&sim->timeline);
    for (size_t i = 0; i < SIM_PIPELINES; i++)
        pipeline_free(sim->pipelines[i]);
}

void life(uint64_t seed, bool verbose)
{
    struct sim sim = {.seed = seed, .verbose = verbose, .rng = {seed * 0x9e3779b97f4a7c15ULL + 1}};
    report_begin(&sim);
    begin(&sim);
    while (!all_ended(&sim)) {
        if (!sim.calm && sim.now_us >= sim.temper.turbulent_us) {
            calm_down(&sim);
            continue;
        }
        step(&sim);
        SIM_CHECK(&sim, ++sim.happened < HAPPENINGS_MAX, "the life goes round in circles");
        SIM_CHECK(&sim, !sim.calm || sim.now_us < sim.calm_since_us + CALM_SECONDS_MAX * SECOND,
                  "%u jobs have not ended, %u clients and %u readers wait, long after everything was well", sim.model.jobs_open,
                  sim.clients_left, sim.readers_left);
    }
    last_look(&sim);
    sim_tally(TALLY_EVENTS, sim.model.rows_count);
    sim_tally(TALLY_JOBS, sim.model.jobs_count);
    end(&sim);
}
