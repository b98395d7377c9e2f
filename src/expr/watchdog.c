#include "expr/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sooner;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct list runs = {&runs, &runs};
static int64_t wakes_us;      /* when it looks again */

enum { IDLE_US = 3600000000LL, STACK_BYTES = 128 << 10 };

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* Halts what is over and answers when the next one will be. jv_null() takes no memory: a thread that takes some reserves an arena, and address
 * space is scarce in a worker. */
static int64_t look(int64_t at_us)
{
    int64_t next_us = at_us + IDLE_US;
    LIST_EACH(link, &runs) {
        struct watch_run *run = LIST_OF(link, struct watch_run, link);
        if (run->fired)
            continue;
        int64_t left_us = run->until_us <= at_us ? run->spent_max_us - now_us(run->clock) : 0;
        if (left_us > 0)
            run->until_us = at_us + left_us;
        if (run->until_us <= at_us) {
            run->fired = true;
            jq_halt(run->jq, jv_null(), jv_null());
        } else if (run->until_us < next_us) {
            next_us = run->until_us;
        }
    }
    return next_us;
}

static void *guard(void *data)
{
    pthread_mutex_lock(&lock);
    for (;;) {
        wakes_us = look(now_us(CLOCK_MONOTONIC));
        struct timespec until = {wakes_us / 1000000, wakes_us % 1000000 * 1000};
        pthread_cond_timedwait(&sooner, &lock, &until);
    }
    return NULL;
}

static void start(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_condattr_t clock;
    sigset_t all, before;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&sooner, &clock);
    pthread_condattr_destroy(&clock);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    /* Without it programs run on until the deadline of their task. */
    pthread_create(&thread, &attributes, guard, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

void watch_start(void)
{
    pthread_once(&once, start);
}

void watch_begin(struct watch_run *run, jq_state *jq, int64_t limit_us)
{
    watch_start();
    *run = (struct watch_run){.jq = jq, .until_us = now_us(CLOCK_MONOTONIC) + limit_us};
    pthread_getcpuclockid(pthread_self(), &run->clock);
    run->spent_max_us = now_us(run->clock) + limit_us;
    pthread_mutex_lock(&lock);
    list_push(&runs, &run->link);
    bool earlier = run->until_us < wakes_us;
    pthread_mutex_unlock(&lock);
    if (earlier)
        pthread_cond_signal(&sooner);
}

bool watch_end(struct watch_run *run)
{
    pthread_mutex_lock(&lock);
    list_leave(&run->link);
    pthread_mutex_unlock(&lock);
    return run->fired;
}
