/* The loop: the one thread on which jobs, cursors, connections and timers live. A thin door over libuv, so that nothing above
 * it knows libuv. Everything here is called on the loop's thread and never blocks, except loop_post (any thread).
 *
 * Callbacks run one after another, never inside a call that you make: timer_start(…, 0, …) and loop_post from the loop's own
 * thread return first. A callback may start and stop anything, itself included. */
#pragma once
#include "base/heap.h"
#include "base/problem.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* One loop a thread. 0, or < 0 and a problem. */
int loop_open(struct loop **ret_loop, struct problem *problem);
/* After loop_run has returned. Timers are forgotten, watches still open are closed (their descriptors are not, and are open yet), work in the
 * pool is waited for and its `done` called. NULL does nothing. */
void loop_close(struct loop *loop);
void loop_run(struct loop *loop);       /* until loop_stop */
void loop_stop(struct loop *loop);      /* loop thread; loop_run returns at the end of this turn, and may be called again */
/* One turn: waits at most until something happened when `wait`, then runs what is due. For tests and for programs that
 * have no server. */
void loop_turn(struct loop *loop, bool wait);

int64_t loop_now_us(const struct loop *loop);    /* monotonic µs, exact at each call (25 ns); any thread; loop may be NULL */
int64_t loop_wall_us(const struct loop *loop);   /* µs since 1970, UTC; jumps when the clock is set: for stamps only */

/* ---- timers: a field of whatever waits ---- */

struct timer;
typedef void timer_fn(struct timer *timer);
struct timer {                  /* zeroed = not running */
    struct heap_node node;      /* key: monotonic µs at which it is due */
    timer_fn *call;             /* once, when due; the timer is stopped before, so it may be started again or freed there */
};

#define TIMER_OF(timer, type, member) ((type *)((char *)(timer) - offsetof(type, member)))   /* the struct it is a field of */

/* (Re)start: `call` in `delay_us` (<= 0: later in this turn or at the start of the next). Precision is about 60 µs. */
void timer_start(struct loop *loop, struct timer *timer, int64_t delay_us, timer_fn *call);
void timer_stop(struct loop *loop, struct timer *timer);      /* harmless when not running */
static inline bool timer_runs(const struct timer *timer) { return timer->node.place != 0; }

/* ---- other threads ---- */

/* Put call(data) into the loop's mailbox and wake it. Any thread; never blocks but for a short lock; calls are made in the
 * order of posting. The mailbox has LIMIT_LOOP_POSTS places: whoever posts has few messages under way at a time
 * (a log thread has one a commit); overflowing it is a bug and ends the program. */
void loop_post(struct loop *loop, void (*call)(void *data), void *data);

/* Blocking work (file I/O, posix_spawn) in libuv's pool of 4 threads: work(data) there, then done(data, what work answered)
 * on the loop. The queue has no bound of its own: the caller has one. */
enum { LOOP_POOL_THREADS = 4 };
int loop_start_pool(struct loop *loop, struct problem *problem);    /* its threads now, and not at the first work: 0, or -1 and a problem */
void loop_pool(struct loop *loop, int (*work)(void *data), void (*done)(void *data, int result), void *data);

/* ---- descriptors ---- */

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4 };   /* HANGUP: the peer closed its side, even with unread bytes before it */

struct watch;
typedef void watch_fn(void *data, int events);
/* Watch a socket, pipe, eventfd … (not a file). It begins silent: say what with watch_want. One watch a descriptor. `call` gets
 * what is ready, of what was wanted; after an error on the descriptor it gets everything that was wanted (so that read or
 * write shows the errno). Level triggered. The descriptor stays the caller's, and becomes non-blocking. 0, or < 0: -errno, of which
 * ENOSPC (fs.epoll.max_user_watches) and ENOMEM may come at any time; what is done with a watch once it is there cannot fail. */
int watch_open(struct loop *loop, int fd, watch_fn *call, void *data, struct watch **ret_watch);
void watch_want(struct watch *watch, int events);          /* 0 = silent; the same again costs nothing */
void watch_close(struct watch *watch);                     /* no call after this; then close the descriptor. NULL is fine */

/* ---- signals ---- */

/* call(data, signal) on the loop each time the process gets it. At most 8, until loop_close. 0 or < 0: -errno. */
int loop_on_signal(struct loop *loop, int number, void (*call)(void *data, int number), void *data);
