#include "server/intake/order_own.h"

#include "base/mem.h"

#include <stdlib.h>

static void pour_on(struct store_wait *wait)
{
    order_pour(LIST_OF(wait, struct order, wait));
}

static void seal(struct order *order)
{
    struct problem problem = {0};
    bool busy = false;
    bool sealing = order->want->live ? order->want->seal : !order->want->open;
    if (sealing && !live_job(order->live)->sealed && !live_job(order->live)->ended &&
        engine_seal(order->service->engine, order->live, &busy, &problem)) {
        order_wait_for_disk(order, &problem, pour_on);
        return;
    }
    order_finish(order);
}

/* `items` of the job, made of the inputs that were being taken; they stay readable while they are held. */
static void poured(struct order *order, const struct item_spec *items, size_t count)
{
    struct problem problem = {0};
    bool busy = false, stays = order->spool || order->batches;
    int answer = engine_add(order->service->engine, order->live, items, count, &busy, &problem);
    if (answer == ENGINE_FULL) {
        order_fail(order, 429, "%s", problem.text);
    } else if (answer && busy) {
        order->held = stays ? items : NULL;
        order->held_count = stays ? count : 0;
        order_wait_for_disk(order, &problem, pour_on);
    } else if (answer) {
        order_fail(order, live_job(order->live)->sealed || live_job(order->live)->ended ? 409 : 400, "%s", problem.text);
    } else {
        order->at += order->batches ? 0 : (int64_t)count;
        order->made += (int64_t)count;
        store_when(order->service->store, &order->wait, store_pos(order->service->store), pour_on);
    }
}

/* ---- through batches ---- */

static void batched(void *data, const struct item_spec *items, size_t count, const struct problem *problem)
{
    struct order *order = data;
    order->flushed = !count && !order->feeding;      /* a feed that gives nothing has filled no batch yet */
    order->at += (int64_t)order->feeding;
    order->feeding = 0;
    if (problem)
        order_fail(order, 503, "%s", problem->text);
    else if (count)
        poured(order, items, count);
    else
        order_pour(order);
}

static void take(struct order *order, const struct item_spec *inputs, size_t count)
{
    if (!order->batches) {
        poured(order, inputs, count);
        return;
    }
    order->feeding = count;
    batches_feed(order->batches, inputs, count, batched, order);
}

/* ---- where inputs come from ---- */

static void take_files(struct order *order)
{
    struct upload *upload = order->upload;
    size_t count = (size_t)(upload->count - order->at < SPOOL_READ ? upload->count - order->at : SPOOL_READ);
    free(order->files);
    order->files = mem_new(count * sizeof *order->files);
    for (size_t i = 0; i < count; i++)
        order->files[i] = upload_item(upload->files[order->at + (int64_t)i]);
    take(order, order->files, count);
}

static void values_came(void *data, const struct item_spec *items, size_t count, int error)
{
    struct order *order = data;
    order->busy = false;
    if (order->dead)
        order_free(order);
    else if (error || !count)
        order_fail(order, 500, "The items could not be read back from the disk.");
    else
        take(order, items, count);
}

static void take_values(struct order *order)
{
    order->busy = true;
    spool_read(order->spool, order->first + order->at, values_came, order);
}

void order_pour(struct order *order)
{
    struct store *store = order->service->store;
    bool all_taken = order->at == order_inputs(order);
    if (all_taken && !order->held_count && (!order->batches || order->flushed)) {
        seal(order);
    } else if (order->service->draining) {
        order_fail_down(order);
    } else if (store_busy(store)) {
        order_wait_for_disk(order, &(struct problem){0}, pour_on);
    } else if (order->held_count) {
        size_t count = order->held_count;
        order->held_count = 0;
        poured(order, order->held, count);
    } else if (all_taken) {
        batches_flush(order->batches, batched, order);
    } else if (order->upload) {
        take_files(order);
    } else {
        take_values(order);
    }
}
