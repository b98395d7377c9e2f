/* Timers are a heap of our own over one timerfd: libuv's count whole milliseconds from a cached clock, and a group commit waits
 * for less than one. The timerfd is set only when an earlier time is wanted than it is set for; a wake-up that comes for
 * nothing sets it anew. What is due already is run by an idle handle, without a system call.
 *
 * The mailbox is an array that the loop swaps for an empty one, so that posts made while it runs wait for the next round. */
#include "os/loop.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/sanitized.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { SIGNALS_MAX = 8 };

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
    int clock_fd;
    int64_t armed_us;            /* what the timerfd is set for; INT64_MAX = not set */
    struct heap timers;
    pthread_mutex_t lock;        /* guards `inbox` */
    struct mailbox inbox, opened;
    int pooled;                  /* pieces of work in the pool, not yet done */
    int signals_count;
    struct on_signal signals[SIGNALS_MAX];
};

struct watch {
    uv_poll_t handle;
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

static void on_ready(uv_poll_t *handle, int status, int events)
{
    struct watch *watch = handle->data;
    int ready = (events & UV_READABLE ? LOOP_READ : 0) | (events & UV_WRITABLE ? LOOP_WRITE : 0) |
                (events & UV_DISCONNECT ? LOOP_HANGUP : 0);
    ready &= watch->wanted;
    if (status < 0) {           /* libuv has silenced the handle: the callee sees the errno when it reads or writes */
        ready = watch->wanted;
        watch->wanted = 0;
    }
    if (ready)
        watch->call(watch->data, ready);
}

int watch_open(struct loop *loop, int fd, watch_fn *call, void *data, struct watch **ret_watch)
{
    struct watch *watch = MEM_NEW(struct watch);
    *watch = (struct watch){.call = call, .data = data};
    int failed = uv_poll_init(&loop->uv, &watch->handle, fd);
    if (failed) {
        free(watch);
        return failed;
    }
    watch->handle.data = watch;
    *ret_watch = watch;
    return 0;
}

void watch_want(struct watch *watch, int events)
{
    if (events == watch->wanted)
        return;
    watch->wanted = events;
    if (!events) {
        uv_poll_stop(&watch->handle);
        return;
    }
    int bits = (events & LOOP_READ ? UV_READABLE : 0) | (events & LOOP_WRITE ? UV_WRITABLE : 0) |
               (events & LOOP_HANGUP ? UV_DISCONNECT : 0);
    int failed = uv_poll_start(&watch->handle, bits, on_ready);
    assert(!failed);
}

static void watch_free(uv_handle_t *handle)
{
    free(handle->data);
}

/* Closed before its watch, the descriptor may by now be another thread's. Only sanitized programs look: it costs a call of the system each time. */
static void still_open(const struct watch *watch)
{
#ifdef SANITIZED
    int fd = -1;
    uv_fileno((const uv_handle_t *)&watch->handle, &fd);
    assert(fcntl(fd, F_GETFD) >= 0);
#endif
}

void watch_close(struct watch *watch)
{
    if (!watch)
        return;
    still_open(watch);
    watch->wanted = 0;
    uv_poll_stop(&watch->handle);
    uv_close((uv_handle_t *)&watch->handle, watch_free);
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

int loop_open(struct loop **ret_loop, struct problem *problem)
{
    struct loop *loop = MEM_NEW(struct loop);
    loop->armed_us = INT64_MAX;
    pthread_mutex_init(&loop->lock, NULL);
    int failed = uv_loop_init(&loop->uv);
    if (!failed)
        failed = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (!failed)
        failed = uv_idle_init(&loop->uv, &loop->due);
    if (!failed)
        failed = open_clock(loop);
    if (failed) {       /* what was half opened is left: the program ends on this */
        problem_set(problem, "the event loop cannot start: %s", uv_strerror(failed));
        return failed;
    }
    loop->wake.data = loop->clock.data = loop->due.data = loop;
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
    struct loop *loop = data;
    if (uv_is_closing(handle))
        return;
    if (handle->type == UV_POLL && handle != (uv_handle_t *)&loop->clock)
        watch_close(handle->data);
    else
        uv_close(handle, NULL);
}

void loop_close(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->pooled > 0)
        loop_turn(loop, true);
    uv_walk(&loop->uv, close_handle, loop);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int failed = uv_loop_close(&loop->uv);
    assert(!failed);
    close(loop->clock_fd);
    heap_done(&loop->timers);
    pthread_mutex_destroy(&loop->lock);
    free(loop->inbox.posts);
    free(loop->opened.posts);
    free(loop);
}
