/* What the engine's files share; nobody else includes it. engine.c turns, errand.c does what was claimed, intake.c takes jobs in,
 * retry.c makes jobs of failed ones. */
#pragma once
#include "base/map.h"
#include "engine/engine.h"

/* An errand: one claimed item on its way. It waits until its start is durable and its room has a slot (a slot can vanish between claim
 * and launch, when an idle worker dies), then the crew of that room has it. */
struct errand {
    struct list link;             /* in engine.errands until it is launched, in the order of their claims; then in engine.launched */
    struct engine *engine;
    struct claim claim;
    enum room room;
    struct store_wait durable;
    bool ready;                   /* durable: may be launched */
    bool launched;                /* the crew has it … */
    int64_t launched_us;          /* … since then */
    bool speaking;                /* its crew tells something of it just now: it is not stopped from inside that */
    bool doomed;                  /* … but by the next engine_run(): its job has ended */
    struct errand *same;          /* the next one whose token has the same place in engine.by_token */
};

struct engine {
    struct engine_options options;
    struct list errands, launched;
    struct map by_token;          /* those that were launched */
    size_t waiting[ROOM_COUNT];   /* errands that were not */
    size_t launched_count, doomed_count;
    struct map taught;            /* pipelines whose crews were told to learn, by their address: they live as long as the store */
    struct list pins;
    struct list retries;          /* retry.c's */
    engine_hint_fn *hint;
    void *hint_data;
    bool draining, leaving_calls;
    void (*idle)(void *data);
    void *idle_data;
    int64_t prune_at_us;
    struct engine_numbers numbers;
};

const struct engine_options *engine_options_of(const struct engine *engine);
void engine_run_soon(struct engine *engine);

/* errand.c */
void errand_begin(struct engine *engine, const struct claim *claim);      /* takes the claim over; launched when store_pos() is durable */
void errands_launch(struct engine *engine);                               /* those that are ready and find a slot now */
unsigned errands_rooms(struct engine *engine);                            /* the rooms that can take one more: a bit for each */
void errands_stop_doomed(struct engine *engine);                          /* whose jobs were ended by their own words */
void errands_stop_job(struct engine *engine, int64_t job);                /* for good */
void errands_forget(struct engine *engine);                               /* the engine goes */
bool errands_idle(const struct engine *engine);                           /* nothing is at work, but at remote places */
struct crew_client errands_client(struct engine *engine);

/* retry.c: retries under way stand in a list of the engine's. */
struct list *engine_retries(struct engine *engine);
void retry_forget(struct engine *engine);        /* the engine goes: nobody is answered any more */
