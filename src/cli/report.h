/* What a command makes of the items of one job as they end: a line each on standard output, as they come or in their order (--keep-order),
 * a row each in a job log (--joblog), and the moment to stop (--halt). The habits are those of GNU parallel, whose job logs it reads and
 * writes: Seq Host Starttime JobRuntime Send Receive Exitval Signal Command, separated by tabs, Seq from 1.
 *
 * With --keep-order a line that comes before its turn waits in an unlinked file, not in memory: 24 bytes an item are held.
 * Thread: the caller's. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"
#include "cli/bar.h"

#include <stdio.h>

/* --halt WHEN,WHY=VALUE */
struct halt {
    enum { HALT_NEVER, HALT_SOON, HALT_NOW } when;      /* SOON: start no more, finish what runs */
    enum { HALT_FAIL, HALT_SUCCESS, HALT_DONE } why;
    int64_t value;
    bool percent;                 /* of the items ended; three at least */
};
int halt_parse(const char *text, struct halt *ret, struct problem *problem);

/* Which items an earlier job log has already. */
enum resume { RESUME_ALL, RESUME_SKIP_LOGGED, RESUME_SKIP_SUCCEEDED, RESUME_ONLY_FAILED };
/* The items 0 … count - 1 that are to be done, as a list of indices (owned), for names[] as they would be logged. A log that tells of other
 * names is refused; one that is not there is empty. */
int resume_read(const char *path, enum resume how, char *const *names, size_t count, int64_t **ret, size_t *ret_count, struct problem *problem);

struct report_options {
    bool keep_order;
    const char *joblog;           /* NULL = none; added to */
    struct halt halt;
    const char *host;             /* of the job log: ":" for here */
    const int64_t *seqs;          /* index of an item → its place on the command line, from 0; NULL = the same */
    bool lines;                   /* standard output gets lines */
};

struct report {
    struct report_options options;
    struct bar *bar;              /* wiped before a line where both share a terminal; may be NULL */
    bool shares_terminal;
    FILE *joblog, *spill;
    struct report_item { int64_t started_us, at; int64_t bytes; } *items;      /* owned; at: in the spill, -1 = not waiting */
    int64_t items_room, next;     /* next: the item whose line is due with --keep-order */
    int64_t succeeded, failed;
    int output_error;             /* errno of writing to standard output */
};

int report_begin(struct report *report, const struct report_options *options, struct bar *bar, struct problem *problem);
void report_started(struct report *report, int64_t item, int64_t at_us);
/* `line` with its newline; name: as in the job log. */
void report_ended(struct report *report, int64_t item, struct bytes name, bool well, struct bytes line, int64_t at_us);
/* An item that will have no line (skipped): those behind it may go on. */
void report_skipped(struct report *report, int64_t item);
int report_halts(const struct report *report);          /* HALT_NEVER while it may go on */
void report_end(struct report *report);                 /* harmless when zeroed */
