/* Limiters: what many steps share towards one other side: calls at once, requests and tokens a time, and the pause that one 429 makes for all. In memory;
 * they start empty after a restart. When a pause is over, one call goes out first; only its success lets the others follow, one more at a time with each
 * that goes well (a half-open circuit breaker); each further refusal doubles the pause, up to 5 minutes.
 *
 * Thread: loop. */
#pragma once
#include "base/bytes.h"
#include "base/list.h"
#include "os/loop.h"

struct limiters;
struct limiter;

struct limiters *limiters_new(struct loop *loop);
void limiters_free(struct limiters *limiters);

struct limiters_numbers {
    uint64_t pauses;               /* that began because somebody refused a call */
    size_t paused;                 /* limiters that pause now, or that wait for the one call that goes to see */
    size_t count;                  /* limiters that are held */
    size_t going, line;            /* calls under way, and in line */
} limiters_numbers(const struct limiters *limiters);

struct limiter_spec {              /* 0 = says nothing: what another stage has said of it stands, else there is no limit */
    int64_t concurrency;
    int64_t requests, requests_per_us;
    int64_t tokens, tokens_per_us;
    bool careful;                  /* the other side shuts out who is refused too often: refusals are spread, LIMIT_REFUSALS_FREE */
};
/* The limiter of that name ("llm https://api.example KEY"), made when there is none; the newest word on each figure counts. It stays until the caller
 * lets it go, and then as long as it may matter: addresses come from inputs too, and there is no end of those. */
struct limiter *limiter_of(struct limiters *limiters, struct bytes name, const struct limiter_spec *spec);
void limiter_let_go(struct limiter *limiter);         /* NULL does nothing */

struct limiter_place {             /* zeroed = not in line */
    struct list link;
    struct limiter *limiter;       /* NULL = neither in line nor under way */
    int64_t tokens;
    int64_t began_us;
    bool held;                     /* it has a place among the calls */
    void (*go)(struct limiter_place *place);       /* its turn: later, from the loop, or at once */
};
void limiter_take(struct limiter *limiter, struct limiter_place *place, int64_t tokens, void (*go)(struct limiter_place *place));
/* The call is over. refused: 429 (or 503 with Retry-After): everybody pauses. used: tokens that it really took, < 0 = as estimated. */
void limiter_give(struct limiter_place *place, bool refused, int64_t retry_after_us, int64_t used);
void limiter_leave(struct limiter_place *place);   /* out of the line, or its place is given back; harmless when zeroed */
