/* What a run writes to the outside beside its lines: the Firestore mirror of its job. A server's mirror goes on for ever; a run waits at its end until
 * all is there, and gives up when nothing arrived for OUTLET_PATIENCE_US: with --data the same command goes on from there.
 *
 * Thread: loop. */
#pragma once
#include "cli/host.h"
#include "readers/cursor.h"
#include "readers/mirror.h"

enum { OUTLET_PATIENCE_US = 30 * 1000 * 1000 };

struct outlet {                       /* zeroed = closed */
    struct host *host;
    struct cursor_world world;
    struct fetch *fetch;              /* its own: never from fixtures */
    struct mirror *mirror;
    struct timer tick;
    uint64_t writes;                  /* as of the last look */
    int64_t since_us;                 /* of the last progress */
    bool late;                        /* patience was at its end */
};

/* Nothing when the host's pipeline has no mirror, or the network is recorded answers. 0, or -1 and a problem. */
int outlet_open(struct outlet *outlet, struct host *host, const struct settings *settings, struct problem *problem);
/* Runs the loop until all that is durable is at the other side, the host was given up, or patience is at its end: then false, and it was said. */
bool outlet_finish(struct outlet *outlet);
void outlet_close(struct outlet *outlet);
