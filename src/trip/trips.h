/* Trips: a crew for the legs that leave the machine (http, remote_job, llm), and for those that go through an item's records one by one. A trip is one
 * item on its way through one such leg. Nothing is computed here: expressions and rows are asked of workers (engine/ask.h), calls go through os/fetch.h.
 * A trip waits without a thread; thousands of them may.
 *
 * Back-off between attempts is the engine's (item.retry, due_at in the log). Within an attempt only what is shared by many waits: limiters (limiter.h).
 *
 * Thread: loop. */
#pragma once
#include "engine/ask.h"
#include "os/fetch.h"
#include "store/blob.h"
#include "store/store.h"
#include "trip/limiter.h"

struct trips_options {
    struct loop *loop;
    struct store *store;           /* its cache, and the records that an item has already */
    struct blobs *blobs;
    struct fetch *fetch;
    struct asker *asker;
    const char *public_url;        /* "https://rivulet.example": where webhooks of remote jobs reach us; NULL = they cannot */
    const unsigned char *hook_key; /* 32 bytes: signs hook tokens; borrowed */
};
struct crew *trips_new(const struct trips_options *options);
void trips_free(struct crew *crew);                /* remote jobs go on; the next opening polls them again */

struct trips_numbers {
    size_t trips;                  /* items on their way */
    uint64_t answers[6];           /* calls that were answered, by class of status: answers[2] is 2xx */
    uint64_t broken, late, refused;        /* calls that the network ended, that took too long, and that could not be sent or taken */
    struct limiters_numbers limiters;
} trips_numbers(struct crew *crew);

/* A remote side says that something is ready (POST /v1/hooks/TOKEN): the trip polls now. 0, or -1: no token of ours. What it says is never believed. */
int trips_wake(struct crew *crew, struct bytes hook_token);
