#include "sim.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* A client submits one job: in one breath, or as a slow upload that may never see its seal. One with an idempotency key asks for it
 * first, comes back when it was not told how that ended, and may ask again when it was. Some delete their job, some have what failed in
 * it done again. */
struct client {
    struct happening next;
    struct sim *sim;
    bool slow, vanishes, will_cancel, will_delete, created;
    bool open;                    /* a slow one whose items start as they come */
    bool keyed, asking, asked_again;
    bool deleted;                 /* that is durable */
    bool will_retry, retrying;
    unsigned retries;             /* asked for so far */
    char retry_id[33];            /* the job that was made of what failed; "" before */
    char key[24];
    struct live *live;            /* of an upload under way; one reference */
    struct store_wait durable;
    bool waiting;
    char id[33];
    int64_t total, sent;
    bool done;
};

static void finished(struct client *client)
{
    if (client->done)
        return;
    client->done = true;
    client->sim->clients_left--;
    sim_not(client->sim, &client->next);
}

/* ---- items ---- */

/* `count` items with the next numbers. Their texts live in `texts`. */
static void make_items(struct sim *sim, struct item_spec *items, char (*texts)[2][64], int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t input = ++sim->inputs;
        snprintf(texts[i][1], 64, "{\"in\":%lld}", (long long)input);
        items[i] = (struct item_spec){.name = sim_name(input, texts[i][0]), .type = BYTES("image/jpeg"), .bytes = input};
        if (sim_chance(sim, 3))
            items[i].has_blob = true;
        else
            items[i].value = bytes_of(texts[i][1]);
        if (sim_chance(sim, 8)) {
            items[i].reject_error = BYTES("refused at the door");
            items[i].reject_type = BYTES("validation");
        }
    }
}

static struct store_job make_job(struct sim *sim)
{
    unsigned pipeline = (unsigned)rng_below(&sim->rng, SIM_PIPELINES);
    bool bounded = sim->temper.trips && sim_chance(sim, 40);
    return (struct store_job){
        .stop_count = bounded ? sim_between(sim, 0, 9) : 0,
        .max_cost = bounded ? (double)sim_between(sim, 0, 60) : 0,
        .deadline_us = bounded && sim_chance(sim, 50) ? sim_between(sim, 1, 20 * SECOND) : 0,
        .owner = bytes_of(model_owners[rng_below(&sim->rng, SIM_OWNERS)]),
        .pipeline = sim->pipelines[pipeline],
        .params = sim_chance(sim, 50) ? BYTES("{\"a\":\"b\"}") : (struct bytes){0},
        .in_flight = (uint32_t)sim_spread(sim, 1, 16),
        .ordered = sim_chance(sim, 30),
    };
}

/* ---- after the answer ---- */

static void is_deleted(void *data)
{
    ((struct client *)data)->deleted = true;
}

static void delete_job(struct sim *sim, struct happening *happening)
{
    struct client *client = HAPPENING_OF(happening, struct client, next);
    struct live *live = sim_up(sim) ? store_get(sim->store, bytes_of(client->id)) : NULL;
    if (live && live_job(live)->ended) {
        sim_note(sim, "a client deletes", live_job(live)->job, -1, 0);
        model_job_by_id(sim, bytes_of(client->id))->deleting = true;
        SIM_CHECK(sim, !store_delete(sim->store, live, is_deleted, client), "an ended job could not be deleted");
        SIM_CHECK(sim, !store_get(sim->store, bytes_of(client->id)), "a deleted job is found");
    }
    finished(client);
}

static void retry(struct sim *sim, struct happening *happening);

static void retry_later(struct client *client)
{
    client->next.call = retry;
    sim_at(client->sim, &client->next, sim_spread(client->sim, SECOND, 10 * SECOND));
}

/* The new job is whole and durable, and has exactly what failed, in its order; asked again it is the same one. */
static void check_retry(struct client *client, struct live *live)
{
    struct sim *sim = client->sim;
    model_catch_up(sim);
    struct model_job *from = model_job_by_id(sim, bytes_of(client->id)), *job = model_job_by_id(sim, bytes_of(live_job(live)->id));
    int64_t next = 0;
    SIM_CHECK(sim, job && job->sealed, "a client was told of a retry that is not on the disk");
    SIM_CHECK(sim, !strcmp(live_job(live)->retry_of, from->id) && job->total == from->counts.failed, "a retry is not of what failed");
    for (int64_t n = 0; n < from->total; n++)
        if (from->items[n].state == MODEL_FAILED)
            SIM_CHECK(sim, job->items[next++].input == from->items[n].input, "a retry has other items than failed");
    SIM_CHECK(sim, !client->retry_id[0] || !strcmp(client->retry_id, job->id) || sim->temper.prunes, "the same retry made two jobs");
    memcpy(client->retry_id, job->id, sizeof client->retry_id);
    sim_tally(TALLY_RETRIES, 1);
}

static void retried(void *data, struct live *live, int status, const struct problem *problem)
{
    struct client *client = data;
    client->retrying = false;
    if (live)
        check_retry(client, live);
    if (status != 409)            /* nothing failed */
        retry_later(client);
    else
        finished(client);
}

static void retry_found(void *data, struct live *live)
{
    struct client *client = data;
    struct sim *sim = client->sim;
    SIM_CHECK(sim, live || sim->temper.prunes, "a job that is to be retried is not found");
    client->retrying = live && live_job(live)->ended;
    if (!live || (client->retrying && client->retries++ == 4)) {
        finished(client);
    } else if (!client->retrying) {
        retry_later(client);
    } else {
        sim_note(sim, "a client asks for a retry", live_job(live)->job, -1, live_job(live)->counts.failed);
        engine_retry(sim->engine, live, NULL, 0, retried, client);
    }
}

static void retry(struct sim *sim, struct happening *happening)
{
    struct client *client = HAPPENING_OF(happening, struct client, next);
    if (!sim_up(sim)) {
        retry_later(client);
        return;
    }
    client->retrying = true;
    store_find(sim->store, bytes_of(client->id), retry_found, client);
}

static void begin(struct sim *sim, struct happening *happening);

static void cancel(struct sim *sim, struct happening *happening)
{
    struct client *client = HAPPENING_OF(happening, struct client, next);
    struct live *live = sim_up(sim) ? store_get(sim->store, bytes_of(client->id)) : NULL;
    if (live) {
        bool had_ended = live_job(live)->ended;
        sim_note(sim, "a client cancels", live_job(live)->job, -1, had_ended);
        int answer = engine_cancel(sim->engine, live, BYTES("client"), BYTES("asked"));
        SIM_CHECK(sim, answer == had_ended, "a cancel answered %d to a job that had%s ended", answer, had_ended ? "" : " not");
        SIM_CHECK(sim, live_job(live)->ended, "a cancelled job did not end");
    }
    finished(client);
}

/* The 202: what it says must be on the disk. */
static void answered(struct store_wait *wait)
{
    struct client *client = (struct client *)((char *)wait - offsetof(struct client, durable));
    struct sim *sim = client->sim;
    client->waiting = false;
    model_catch_up(sim);
    struct model_job *job = model_job_by_id(sim, bytes_of(client->id));
    SIM_CHECK(sim, job && (client->slow || job->sealed) && (client->slow || job->total == client->total),
              "a client was told of a job that is not on the disk");
    sim_note(sim, "a client is answered", job->job, -1, job->total);
    for (int64_t i = sim_between(sim, -1, 3); i > 0; i--)
        reader_new(sim, job);
    if (client->slow)
        return;
    if (client->keyed && !client->asked_again && sim_chance(sim, 50)) {
        client->asked_again = true;
        client->next.call = begin;
        sim_at(sim, &client->next, sim_spread(sim, 100, 8 * SECOND));
    } else if (client->will_retry) {
        retry_later(client);
    } else if (client->will_delete) {
        client->next.call = delete_job;
        sim_at(sim, &client->next, sim_spread(sim, SECOND, 20 * SECOND));
    } else if (client->will_cancel) {
        client->next.call = cancel;
        sim_at(sim, &client->next, sim_spread(sim, 100, 8 * SECOND));
    } else {
        finished(client);
    }
}

static void answer_when_durable(struct client *client)
{
    client->waiting = true;
    store_when(client->sim->store, &client->durable, store_pos(client->sim->store), answered);
}

static void remember_id(struct client *client, struct live *live)
{
    memcpy(client->id, live_job(live)->id, sizeof client->id);
}

/* ---- slow uploads ---- */

static void let_go(struct client *client)
{
    live_unref(client->live);
    client->live = NULL;
}

static void upload(struct sim *sim, struct happening *happening)
{
    struct client *client = HAPPENING_OF(happening, struct client, next);
    struct problem problem = {0};
    struct item_spec items[40];
    char texts[40][2][64];
    if (store_busy(sim->store)) {
        sim_at(sim, happening, 50 * MS);
        return;
    }
    if (client->vanishes && sim_chance(sim, 30)) {
        sim_note(sim, "an upload breaks off", live_job(client->live)->job, -1, client->sent);
        store_cancel(sim->store, client->live, BYTES("server"), BYTES("upload was cut off"), BYTES("upload was cut off"));
        let_go(client);
        finished(client);
        return;
    }
    if (live_job(client->live)->ended) {    /* it had enough, was too dear, or late */
        let_go(client);
        finished(client);
        return;
    }
    int64_t count = client->total - client->sent < 40 ? client->total - client->sent : sim_between(sim, 1, 40);
    make_items(sim, items, texts, count);
    if (store_add(sim->store, client->live, items, (size_t)count, &problem))
        sim_fail(sim, "items were refused: %s", problem.text);
    client->sent += count;
    if (client->sent < client->total || client->vanishes) {
        sim_at(sim, happening, sim_spread(sim, MS, 2 * SECOND));
        return;
    }
    store_seal(sim->store, client->live);
    let_go(client);
    client->slow = false;
    if (client->waiting)
        store_unwait(&client->durable);
    answer_when_durable(client);
}

static void begin_upload(struct client *client)
{
    struct sim *sim = client->sim;
    struct store_job job = make_job(sim);
    job.open = client->open;
    client->live = live_ref(store_create(sim->store, &job));
    remember_id(client, client->live);
    sim_note(sim, "an upload begins", live_job(client->live)->job, -1, client->total);
    client->created = true;
    client->next.call = upload;
    sim_at(sim, &client->next, sim_spread(sim, MS, SECOND));
    answer_when_durable(client);
}

/* ---- in one breath ---- */

static void submit(struct client *client)
{
    struct sim *sim = client->sim;
    struct store_job job = make_job(sim);
    struct problem problem = {0};
    bool busy;
    if (client->keyed) {
        job.owner = bytes_of(model_owners[0]);
        job.key = bytes_of(client->key);
        job.print = sha_of(job.key);
    }
    struct item_spec *items MEM_OWNED = mem_new((size_t)client->total * sizeof *items + 1);
    char (*texts)[2][64] = mem_new((size_t)client->total * sizeof *texts + 1);
    int64_t inputs = sim->inputs;
    make_items(sim, items, texts, client->total);
    struct live *live = engine_submit(sim->engine, &job, items, (size_t)client->total, &busy, &problem);
    free(texts);
    SIM_CHECK(sim, busy == !live, "a job was refused for no reason: %s", problem.text);
    SIM_CHECK(sim, !busy || sim->disk_full, "a job was refused while the disk had room: %s", problem.text);
    SIM_CHECK(sim, busy || !sim->disk_full, "a job was taken while the disk was full");
    if (busy) {
        sim->inputs = inputs;
        sim_at(sim, &client->next, sim_between(sim, MS, SECOND));
        return;
    }
    sim_note(sim, "a job is submitted", live_job(live)->job, -1, client->total);
    client->created = true;
    remember_id(client, live);
    answer_when_durable(client);
}

/* A key is there exactly if its whole job is. */
static void key_found(void *data, struct live *live, const struct sha *print)
{
    struct client *client = data;
    struct sim *sim = client->sim;
    client->asking = false;
    model_catch_up(sim);
    struct model_job *before = client->id[0] ? model_job_by_id(sim, bytes_of(client->id)) : NULL;
    bool there = before && before->sealed && !model_pruned(sim, before) && !before->deleting && !client->deleted;
    SIM_CHECK(sim, !live == !there, "key \"%s\" names %s, and %s of that key is on the disk", client->key, live ? "a job" : "no job",
              there ? "one" : "none");
    if (!live) {
        submit(client);
        return;
    }
    struct sha want = sha_of(bytes_of(client->key));
    SIM_CHECK(sim, !strcmp(live_job(live)->id, client->id) && !memcmp(print, &want, sizeof want), "key \"%s\" names another job", client->key);
    sim_tally(TALLY_AGAIN, 1);
    client->created = true;
    answer_when_durable(client);
}

static void begin(struct sim *sim, struct happening *happening)
{
    struct client *client = HAPPENING_OF(happening, struct client, next);
    if (!sim_up(sim) || (client->slow && store_busy(sim->store)))
        sim_at(sim, happening, sim_between(sim, MS, SECOND));
    else if (client->slow)
        begin_upload(client);
    else if (!client->keyed)
        submit(client);
    else {
        client->asking = true;
        store_find_key(sim->store, bytes_of(model_owners[0]), bytes_of(client->key), key_found, client);
    }
}

static int64_t draw_total(struct sim *sim)
{
    if (sim_chance(sim, 8))
        return 0;
    if (sim_chance(sim, 20))
        return 1;
    return sim->temper.items_max == 2000 ? sim_spread(sim, 300, 2000) : sim_spread(sim, 1, sim->temper.items_max);
}

void clients_begin(struct sim *sim)
{
    sim->clients = mem_new(sim->temper.clients * sizeof *sim->clients);
    sim->clients_left = sim->temper.clients;
    for (unsigned i = 0; i < sim->temper.clients; i++) {
        struct client *client = &sim->clients[i];
        client->sim = sim;
        client->slow = sim_chance(sim, 25);
        client->vanishes = client->slow && sim_chance(sim, 25);
        client->will_cancel = sim_chance(sim, 15);
        client->keyed = !client->slow && sim_chance(sim, 40);
        client->will_delete = !client->slow && sim_chance(sim, 10);
        client->will_retry = !client->slow && sim_chance(sim, 20);
        snprintf(client->key, sizeof client->key, "key %u", i);
        client->open = client->slow && sim_chance(sim, 50);
        client->total = draw_total(sim);
        client->next.call = begin;
        sim_at(sim, &client->next, sim_between(sim, 0, sim->temper.turbulent_us * 3 / 4));
    }
}

static void come_back(struct client *client)
{
    client->asking = client->created = false;
    client->next.call = begin;
    sim_at(client->sim, &client->next, sim_between(client->sim, MS, SECOND));
}

/* A client whose server went away does not come back, unless it has a key: whether its job lives on is for the log to say. */
void clients_leave(struct sim *sim)
{
    for (unsigned i = 0; i < sim->temper.clients; i++) {
        struct client *client = &sim->clients[i];
        bool told = client->created && !client->waiting && !client->live;
        struct model_job *job = client->id[0] ? model_job_by_id(sim, bytes_of(client->id)) : NULL;
        if (job)
            job->deleting = false;
        if (client->waiting)
            store_unwait(&client->durable);
        client->waiting = false;
        store_drop_asks(sim->store, client);
        if (client->live)
            let_go(client);
        if (client->retrying)
            retry_later(client);
        client->retrying = false;
        if (client->asking || (client->keyed && client->created && !told))
            come_back(client);
        else if (client->created && !told)
            finished(client);
    }
}

void clients_end(struct sim *sim)
{
    free(sim->clients);
}
