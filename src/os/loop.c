/* Timers are a heap of our own over one timerfd: libuv's count whole milliseconds from a cached clock, and a group commit waits
 * for less than one. The timerfd is set only when an earlier time is wanted than it is set for; a wake-up that comes for
 * nothing sets it anew. What is due already is run by an idle handle, without a system call.
 *
 * The mailbox is an array that the loop swaps for an empty one, so that posts made while it runs wait for the next round.
 *
 * Watches stand in an epoll of our own, of which libuv watches the one descriptor. The kernel may have no place for one more, or no memory;
 * libuv, which asks only when it waits, then ends the process. Here watch_open asks, and what is changed later cannot fail. */
#include "os/loop.h"

#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/sanitized.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { SIGNALS_MAX = 8, READY_MAX = 256, UV_WATCHES = 4 };      /* libuv watches the mailbox's wake, signals, clock and gate */

struct post {
    void (*call)(void *data);
    void *data;
};

struct mailbox {
    struct post *posts;
    size_t count, room;
};

struct on_signal {
    uv_signal_t handle;
    void (*call)(void *data, int number);
    void *data;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;             /* another thread has posted */
    uv_poll_t clock;             /* the timerfd fired */
    uv_idle_t due;               /* active while a timer is due already */
    uv_poll_t gate;              /* of the watches some are ready */
    uv_signal_t mute;            /* of no signal: with the first such handle comes what all share */
    int clock_fd;
    int gate_fd;                 /* epoll: what is watched */
    int64_t armed_us;            /* what the timerfd is set for; INT64_MAX = not set */
    struct heap timers;
    struct list watches;
    struct epoll_event ready[READY_MAX];      /* those that are being told, from `ready_at` on; NULL = closed meanwhile */
    int ready_at, ready_count;
    pthread_mutex_t lock;        /* guards `inbox` */
    struct mailbox inbox, opened;
    int pooled;                  /* pieces of work in the pool, not yet done */
    int signals_count;
    struct on_signal signals[SIGNALS_MAX];
};

struct watch {
    struct list link;            /* in loop.watches */
    struct loop *loop;
    int fd;
    int wanted;                  /* LOOP_… bits */
    watch_fn *call;
    void *data;
};

int64_t loop_now_us(const struct loop *loop)
{
    return (int64_t)(uv_hrtime() / 1000);
}

int64_t loop_wall_us(const struct loop *loop)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void on_due(uv_idle_t *due);

static void arm(struct loop *loop)
{
    struct heap_node *top = heap_top(&loop->timers);
    if (!top || top->key >= loop->armed_us)
        return;
    if (top->key <= loop_now_us(loop)) {
        uv_idle_start(&loop->due, on_due);
        return;
    }
    struct itimerspec at = {.it_value = {top->key / 1000000, top->key % 1000000 * 1000}};
    int failed = timerfd_settime(loop->clock_fd, TFD_TIMER_ABSTIME, &at, NULL);
    assert(!failed);
    loop->armed_us = top->key;
}

static void run_due(struct loop *loop)
{
    int64_t now = loop_now_us(loop);
    struct heap_node *top;
    while ((top = heap_top(&loop->timers)) && top->key <= now) {
        struct timer *timer = HEAP_OF(top, struct timer, node);
        heap_leave(&loop->timers, top);
        timer->call(timer);
    }
    arm(loop);
}

static void on_due(uv_idle_t *due)
{
    uv_idle_stop(due);
    run_due(due->data);
}

static void on_clock(uv_poll_t *clock, int status, int events)
{
    struct loop *loop = clock->data;
    uint64_t times;
    if (read(loop->clock_fd, &times, sizeof times) != sizeof times)
        return;
    loop->armed_us = INT64_MAX;
    run_due(loop);
}

void timer_start(struct loop *loop, struct timer *timer, int64_t delay_us, timer_fn *call)
{
    heap_leave(&loop->timers, &timer->node);
    timer->call = call;
    heap_add(&loop->timers, &timer->node, loop_now_us(loop) + (delay_us > 0 ? delay_us : 0));
    if (heap_top(&loop->timers) == &timer->node)
        arm(loop);
}

void timer_stop(struct loop *loop, struct timer *timer)
{
    heap_leave(&loop->timers, &timer->node);
}

static void on_wake(uv_async_t *wake)
{
    struct loop *loop = wake->data;
    pthread_mutex_lock(&loop->lock);
    struct mailbox full = loop->inbox;
    loop->inbox = loop->opened;
    pthread_mutex_unlock(&loop->lock);
    for (size_t i = 0; i < full.count; i++)
        full.posts[i].call(full.posts[i].data);
    full.count = 0;
    loop->opened = full;
}

void loop_post(struct loop *loop, void (*call)(void *data), void *data)
{
    pthread_mutex_lock(&loop->lock);
    struct mailbox *inbox = &loop->inbox;
    assert(inbox->count < LIMIT_LOOP_POSTS);
    if (inbox->count == inbox->room) {
        inbox->room = inbox->room ? inbox->room * 2 : 16;
        inbox->posts = mem_grow(inbox->posts, inbox->room * sizeof *inbox->posts);
    }
    inbox->posts[inbox->count++] = (struct post){call, data};
    bool was_empty = inbox->count == 1;
    pthread_mutex_unlock(&loop->lock);
    if (was_empty)
        uv_async_send(&loop->wake);
}

struct pooled {
    uv_work_t request;
    struct loop *loop;
    int (*work)(void *data);
    void (*done)(void *data, int result);
    void *data;
    int result;
};

static void pool_work(uv_work_t *request)
{
    struct pooled *pooled = request->data;
    pooled->result = pooled->work(pooled->data);
}

static void pool_done(uv_work_t *request, int status)
{
    struct pooled *pooled = request->data;
    pooled->loop->pooled--;
    pooled->done(pooled->data, pooled->result);
    free(pooled);
}

/* libuv makes the pool's threads at the first call. Signals belong to the loop: the threads block them all. */
static int queue_work(struct loop *loop, struct pooled *pooled)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = uv_queue_work(&loop->uv, &pooled->request, pool_work, pool_done);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static int nothing_to_do(void *data)
{
    return 0;
}

static void nothing_done(void *data, int result)
{
}

static void *nothing_run(void *data)
{
    return data;
}

/* libuv ends the process, without a word, when it cannot have its threads. So they are had at the start, and asked for before. */
int loop_start_pool(struct loop *loop, struct problem *problem)
{
    pthread_t threads[LOOP_POOL_THREADS];
    int count = 0, failed = 0;
    while (count < LOOP_POOL_THREADS && !(failed = pthread_create(&threads[count], NULL, nothing_run, NULL)))
        count++;
    while (count)
        pthread_join(threads[--count], NULL);
    if (failed)
        return problem_set(problem, "%d threads could not be started: %s", LOOP_POOL_THREADS, strerror(failed));
    loop_pool(loop, nothing_to_do, nothing_done, NULL);
    return 0;
}

void loop_pool(struct loop *loop, int (*work)(void *data), void (*done)(void *data, int result), void *data)
{
    struct pooled *pooled = MEM_NEW(struct pooled);
    *pooled = (struct pooled){.loop = loop, .work = work, .done = done, .data = data};
    pooled->request.data = pooled;
    loop->pooled++;
    int failed = queue_work(loop, pooled);
    assert(!failed);
}

/* Errors and hang-ups are told even of a silent one, but by their edge: once. */
static uint32_t bits_of(int events)
{
    return events ? (events & LOOP_READ ? EPOLLIN : 0U) | (events & LOOP_WRITE ? EPOLLOUT : 0U) | (events & LOOP_HANGUP ? EPOLLRDHUP : 0U) : EPOLLET;
}

static void watch_tell(struct watch *watch, uint32_t bits)
{
    int wanted = watch->wanted;
    int ready = wanted & ((bits & EPOLLIN ? LOOP_READ : 0) | (bits & EPOLLOUT ? LOOP_WRITE : 0) | (bits & EPOLLRDHUP ? LOOP_HANGUP : 0));
    if (bits & EPOLLERR || (bits & EPOLLHUP && !ready))
        ready = wanted;
    if (bits & EPOLLERR)         /* once: the callee sees the errno when it reads or writes */
        watch_want(watch, 0);
    if (ready)
        watch->call(watch->data, ready);
}

/* What is left over is ready at the next turn too. */
static void on_gate(uv_poll_t *gate, int status, int events)
{
    struct loop *loop = gate->data;
    loop->ready_count = epoll_wait(loop->gate_fd, loop->ready, READY_MAX, 0);
    for (loop->ready_at = 0; loop->ready_at < loop->ready_count; loop->ready_at++) {
        const struct epoll_event *event = &loop->ready[loop->ready_at];
        if (event->data.ptr)
            watch_tell(event->data.ptr, event->events);
    }
    loop->ready_count = 0;
}

int watch_open(struct loop *loop, int fd, watch_fn *call, void *data, struct watch **ret_watch)
{
    int on = 1;
    struct watch *watch = MEM_NEW(struct watch);
    *watch = (struct watch){.loop = loop, .fd = fd, .call = call, .data = data};
    struct epoll_event event = {.events = bits_of(0), .data.ptr = watch};
    if (ioctl(fd, FIONBIO, &on) || epoll_ctl(loop->gate_fd, EPOLL_CTL_ADD, fd, &event)) {
        int failed = -errno;
        free(watch);
        return failed;
    }
    list_push(&loop->watches, &watch->link);
    *ret_watch = watch;
    return 0;
}

void watch_want(struct watch *watch, int events)
{
    if (events == watch->wanted)
        return;
    watch->wanted = events;
    struct epoll_event event = {.events = bits_of(events), .data.ptr = watch};
    int failed = epoll_ctl(watch->loop->gate_fd, EPOLL_CTL_MOD, watch->fd, &event);
    assert(!failed);
}

/* Closed before its watch, the descriptor may by now be another thread's. Only sanitized programs look: it costs a call of the system each time. */
static void still_open(const struct watch *watch)
{
#ifdef SANITIZED
    assert(fcntl(watch->fd, F_GETFD) >= 0);
#endif
}

void watch_close(struct watch *watch)
{
    if (!watch)
        return;
    struct loop *loop = watch->loop;
    still_open(watch);
    epoll_ctl(loop->gate_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = loop->ready_at + 1; i < loop->ready_count; i++)
        if (loop->ready[i].data.ptr == watch)
            loop->ready[i].data.ptr = NULL;
    list_leave(&watch->link);
    free(watch);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct on_signal *signal = handle->data;
    signal->call(signal->data, number);
}

int loop_on_signal(struct loop *loop, int number, void (*call)(void *data, int number), void *data)
{
    assert(loop->signals_count < SIGNALS_MAX);
    struct on_signal *signal = &loop->signals[loop->signals_count];
    signal->call = call;
    signal->data = data;
    int failed = uv_signal_init(&loop->uv, &signal->handle);
    if (failed)
        return failed;
    loop->signals_count++;
    signal->handle.data = signal;
    return uv_signal_start(&signal->handle, on_signal, number);
}

static int open_clock(struct loop *loop)
{
    loop->clock_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->clock_fd < 0)
        return -errno;
    int failed = uv_poll_init(&loop->uv, &loop->clock, loop->clock_fd);
    return failed ? failed : uv_poll_start(&loop->clock, UV_READABLE, on_clock);
}

static int open_gate(struct loop *loop)
{
    loop->gate_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->gate_fd < 0)
        return -errno;
    int failed = uv_poll_init(&loop->uv, &loop->gate, loop->gate_fd);
    return failed ? failed : uv_poll_start(&loop->gate, UV_READABLE, on_gate);
}

/* libuv ends the process when it cannot have its own watches. So as many are had here for a moment, where there is somebody to say why not. The turn, in which
 * nothing is due, is for libuv to take them. */
static int take_watches(struct loop *loop)
{
    int fds[UV_WATCHES], count = 0, failed = 0;
    struct epoll_event event = {.events = 0};
    while (!failed && count < UV_WATCHES) {
        fds[count] = eventfd(0, EFD_CLOEXEC);
        failed = fds[count] < 0 || epoll_ctl(uv_backend_fd(&loop->uv), EPOLL_CTL_ADD, fds[count], &event) ? -errno : 0;
        count += fds[count] >= 0;
    }
    while (count)
        close(fds[--count]);      /* the last descriptor of each: with it goes its watch */
    if (!failed)
        uv_run(&loop->uv, UV_RUN_NOWAIT);
    return failed;
}

int loop_open(struct loop **ret_loop, struct problem *problem)
{
    struct loop *loop = MEM_NEW(struct loop);
    loop->armed_us = INT64_MAX;
    list_init(&loop->watches);
    pthread_mutex_init(&loop->lock, NULL);
    int failed = uv_loop_init(&loop->uv);
    if (!failed)
        failed = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (!failed)
        failed = uv_idle_init(&loop->uv, &loop->due);
    if (!failed)
        failed = open_clock(loop);
    if (!failed)
        failed = open_gate(loop);
    if (!failed)
        failed = uv_signal_init(&loop->uv, &loop->mute);
    if (!failed)
        failed = take_watches(loop);
    if (failed) {       /* what was half opened is left: the program ends on this */
        problem_set(problem, "the event loop cannot start: %s", uv_strerror(failed));
        return failed;
    }
    loop->wake.data = loop->clock.data = loop->gate.data = loop->due.data = loop;
    *ret_loop = loop;
    return 0;
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

void loop_turn(struct loop *loop, bool wait)
{
    uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}

static void close_handle(uv_handle_t *handle, void *data)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void loop_close(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->pooled > 0)
        loop_turn(loop, true);
    LIST_EACH(link, &loop->watches)
        watch_close(LIST_OF(link, struct watch, link));
    uv_walk(&loop->uv, close_handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int failed = uv_loop_close(&loop->uv);
    assert(!failed);
    close(loop->clock_fd);
    close(loop->gate_fd);
    heap_done(&loop->timers);
    pthread_mutex_destroy(&loop->lock);
    free(loop->inbox.posts);
    free(loop->opened.posts);
    free(loop);
}
