/* Following one job of a server: its events become lines, rows of a job log and a bar, as `run` makes them of a job of its own.
 *
 *     follow_begin ──▶ follow_turn … until it answers false ──▶ follow_end → exit status
 *
 * Thread: the only one. */
#pragma once
#include "cli/remote.h"
#include "cli/report.h"
#include "client/watching.h"

/* Its flags, behind those of REMOTE_FLAGS and in this order. */
#define FOLLOW_FLAGS                                                                       \
    {"keep-order", NULL, "lines in the order of the items, not as they end"},              \
    {"joblog", "FILE", "a row for each item that ended, as GNU parallel writes them"},     \
    {"halt", "WHEN,WHY=N", "cancel the job early: now,fail=1; now,success=3; now,fail=10%"}
enum { FOLLOW_KEEP_ORDER = REMOTE_OWN, FOLLOW_JOBLOG, FOLLOW_HALT, FOLLOW_OWN };

struct fetch;

struct follow {
    struct remote *remote;
    struct watching watching;
    struct report report;
    struct bar bar;
    char *job, *result_key;            /* owned */
    char *const *names;                /* as in the job log, by index; NULL = the items' own */
    int64_t names_count;
    struct counts counts;              /* as of the last event */
    int64_t total;
    struct fetch *fetches, **fetches_end;      /* results too large for an event, to be asked for */
    bool halted;
    bool cancelled, failed_job;        /* how it ended */
};

/* Is the command line's part of it sound? To be asked before anything is sent. -1 and a problem. */
int follow_check(struct remote *remote, struct halt *ret);
/* seqs and names may be NULL; borrowed. -1 and a problem. */
int follow_begin(struct follow *follow, struct remote *remote, const char *job, const int64_t *seqs, char *const *names, int64_t names_count);
bool follow_turn(struct follow *follow);      /* waits for up to a second; false = it is over */
void follow_turn_now(struct follow *follow);   /* the same without waiting */
int follow_end(struct follow *follow);        /* the exit status; says on standard error what is to be said. Harmless when zeroed */
/* A first Ctrl-C is taken note of from now on: follow_turn answers false then. */
void follow_heed_interrupt(void);
bool follow_interrupted(void);
