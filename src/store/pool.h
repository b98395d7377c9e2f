/* Pools: how many may be at work at once, over all jobs. There is one for every pipeline's name ("concurrency") and one for every
 * resource that legs share. Units are taken when an item starts and given back at its outcome or its job's end; nothing of it is
 * stored, so after a restart the counts build themselves up again.
 *
 * A job that must wait stands in the line of each pool it waits for, once for each room (its spot there). Only the first of a line may take from it while anybody waits,
 * so nobody starves. The line of its pipeline is passed before those of its resources, which are joined all at once: no two jobs can wait
 * for each other. */
#pragma once
#include "base/list.h"
#include "core/resource.h"

struct live;
struct spot;

struct pool {
    char *name;
    uint32_t units;                /* 0 = without end */
    uint32_t used;
    int64_t said_by;               /* pipelines: the newest job; its text says how many */
    struct list line;              /* pool_place, first come first served */
};

enum { POOL_PLACES_MAX = 1 + LEG_NEEDS_MAX };

struct pool_place {                /* zeroed = in no line */
    struct list link;
    struct pool *pool;
    struct spot *spot;
};

/* What is at work, here or at a remote side: one item of a job, its texts for the events and claims to come, and the units it has. It keeps them
 * while the remote side works: they say how much may be asked of that side at once. */
struct held {
    int64_t item;
    uint32_t leg;                  /* whose resources it has, when has_leg */
    bool has_pipeline, has_leg;
    struct bytes name, type, key;
    char texts[];
};

/* May an item of this job go to work at `leg` now? If not, its spot in that room stands in line from now on, and claim_refresh() is called when it may be
 * its turn. */
bool pool_may(struct live *live, uint32_t leg, bool has_pipeline);
void pool_take(struct live *live, uint32_t leg, struct held *held);       /* after pool_may(); leaves the lines */
void pool_give_leg(struct live *live, struct held *held);
void pool_give(struct live *live, struct held *held);                     /* all that it has */
bool pool_stands(const struct spot *spot);                                /* in any line */
void pool_leave(struct spot *spot);                                       /* it wants nothing now */
struct store;
void pools_forget(struct store *store);
void pool_join(struct live *live);                                        /* a job begins, or was read back: its pipeline's pool */
