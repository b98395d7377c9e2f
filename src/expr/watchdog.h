/* The watchdog: one thread that halts programs whose time is over. It halts jq between two of its steps, so within microseconds as a rule, but not
 * inside one of its builtins ("a" * 1e8): the deadline of the process's task is behind it.
 *
 * Time is the processor's, of the thread that runs the program: on a machine that is busy elsewhere a program is not slower than it is.
 * Thread: any. */
#pragma once
#include "base/list.h"

#include <jq.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct watch_run {
    struct list link;
    jq_state *jq;
    clockid_t clock;       /* of the thread that runs it */
    int64_t spent_max_us;  /* on that clock */
    int64_t until_us;      /* CLOCK_MONOTONIC: when to look at it */
    bool fired;
};

/* Where no thread can be started later; else the first watch_begin does it. */
void watch_start(void);
/* Between jq_start and the last jq_next; `run` stands on the caller's stack until watch_end, which tells whether the program was halted. */
void watch_begin(struct watch_run *run, jq_state *jq, int64_t limit_us);
bool watch_end(struct watch_run *run);
