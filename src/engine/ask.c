/* Asks stand in a line for each turn. The crew knows them by the number in their token; one that is dropped while a worker has it is let come to its end,
 * because that takes milliseconds, and killing a warm worker costs the next asker its start. */
#include "engine/ask.h"

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

struct asker {
    struct crew *crew;
    struct blobs *blobs;
    struct list lines[ASK_TURNS];  /* asks that no worker has yet */
    size_t line_count;             /* of all */
    struct map going;              /* by number: asks that a worker has */
    uint64_t last;                 /* number of the newest */
    bool handing;                  /* a crew that answers while it is given something does not make us recurse */
};

struct ask {
    struct list link;
    struct asker *asker;
    uint64_t number;
    bool going, dropped;
    struct ask_want want;          /* its views are into `texts` */
    ask_fn *done;
    void *data;
    char texts[];
};

static void ask_free(struct ask *ask)
{
    list_leave(&ask->link);
    if (ask->going)
        map_take(&ask->asker->going, ask->number);
    else
        ask->asker->line_count--;
    if (ask->want.input_fd >= 0)
        close(ask->want.input_fd);
    free(ask);
}

static void ask_give(struct asker *asker, struct ask *ask)
{
    struct task task = {
        .token = {.job = 0, .item = (int64_t)ask->number, .attempt = 1}, .stages = ask->want.stages, .params = BYTES("{}"),
        .variables = ask->want.variables, .value = ask->want.value, .type = ask->want.type, .input_fd = ask->want.input_fd,
        .timeout_us = ask->want.timeout_us ? ask->want.timeout_us : LIMIT_ASK_US,
    };
    ask->want.input_fd = -1;
    list_leave(&ask->link);
    asker->line_count--;
    ask->going = true;
    map_set(&asker->going, ask->number, ask);
    asker->crew->ops->start(asker->crew, &task);
}

static struct ask *first_in_line(struct asker *asker)
{
    for (size_t turn = ASK_TURNS; turn--;)
        if (!list_empty(&asker->lines[turn]))
            return LIST_OF(asker->lines[turn].next, struct ask, link);
    return NULL;
}

static void hand_out(struct asker *asker)
{
    if (asker->handing)
        return;
    asker->handing = true;
    while (asker->line_count && asker->crew->ops->slots_free(asker->crew))
        ask_give(asker, first_in_line(asker));
    asker->handing = false;
}

static void on_outcome(void *data, struct token token, const struct outcome *outcome, bool late)
{
    struct asker *asker = data;
    struct ask *ask = late ? NULL : map_get(&asker->going, (uint64_t)token.item);
    ask_fn *done = ask && !ask->dropped ? ask->done : NULL;
    void *done_data = ask ? ask->data : NULL;
    if (ask)
        ask_free(ask);
    hand_out(asker);      /* the next one need not wait for what is made of this answer */
    if (done)
        done(done_data, outcome);
    else if (outcome->blob && asker->blobs)
        blob_abandon(asker->blobs, outcome->blob);
}

static void on_free(void *data)
{
    hand_out(data);
}

struct asker *asker_new(struct crew *crew, struct blobs *blobs)
{
    struct asker *asker = MEM_NEW(struct asker);
    asker->crew = crew;
    asker->blobs = blobs;
    for (size_t turn = 0; turn < ASK_TURNS; turn++)
        list_init(&asker->lines[turn]);
    crew->client = (struct crew_client){.data = asker, .outcome = on_outcome, .free = on_free};
    return asker;
}

void asker_free(struct asker *asker)
{
    if (!asker)
        return;
    size_t at = 0;
    struct ask *waiting;
    for (struct ask *ask; (ask = map_next(&asker->going, &at)); at = 0) {
        asker->crew->ops->stop(asker->crew, (struct token){.item = (int64_t)ask->number, .attempt = 1}, true);
        ask_free(ask);
    }
    while ((waiting = first_in_line(asker)))
        ask_free(waiting);
    asker->crew->client = (struct crew_client){0};
    map_done(&asker->going);
    free(asker);
}

static struct bytes keep(char **at, struct bytes view)
{
    struct bytes kept = {*at, view.count};
    if (view.count)
        memcpy(*at, view.at, view.count);
    *at += view.count;
    return kept;
}

struct ask *ask_start(struct asker *asker, const struct ask_want *want, ask_fn *done, void *data)
{
    if (asker->line_count >= LIMIT_ASKS) {
        if (want->input_fd >= 0)
            close(want->input_fd);
        return NULL;
    }
    struct ask *ask = mem_new(sizeof *ask + want->stages.count + want->variables.count + want->value.count + want->type.count);
    char *at = ask->texts;
    ask->asker = asker;
    ask->number = ++asker->last;
    ask->want = *want;
    ask->want.stages = keep(&at, want->stages);
    ask->want.variables = keep(&at, want->variables);
    ask->want.value = keep(&at, want->value);
    ask->want.type = keep(&at, want->type);
    ask->done = done;
    ask->data = data;
    list_push(&asker->lines[want->turn], &ask->link);
    asker->line_count++;
    hand_out(asker);
    return ask;
}

void asker_learn(struct asker *asker, struct bytes stages)
{
    if (asker->crew->ops->learn)
        asker->crew->ops->learn(asker->crew, &(struct task){.stages = stages, .input_fd = -1});
}

void ask_drop(struct ask *ask)
{
    if (!ask)
        return;
    if (ask->going)
        ask->dropped = true;
    else
        ask_free(ask);
}

bool ask_value(struct blobs *blobs, const struct outcome *outcome, struct buf *ret)
{
    if (!outcome->blob)
        return buf_put(ret, outcome->value);
    if (!blobs)
        return false;
    int result = blob_read(blobs, outcome->blob, ret);      /* out of the page cache: it was written a moment ago */
    blob_abandon(blobs, outcome->blob);
    return !result;
}
