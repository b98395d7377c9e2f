#include "os/loop.h"

#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static int calls, order[8];

static void open_loop(void)
{
    struct problem problem = {0};
    calls = 0;
    CHECK_INT(loop_open(&loop, &problem), 0);
}

struct numbered { int number; struct timer timer; };

static void note_number(struct timer *timer)
{
    order[calls++] = TIMER_OF(timer, struct numbered, timer)->number;
    if (calls == 3)
        loop_stop(loop);
}

TEST(timers_run_in_the_order_of_their_times)
{
    open_loop();
    struct numbered a = {1}, b = {2}, c = {3}, never = {9};
    timer_start(loop, &b.timer, 3000, note_number);
    timer_start(loop, &c.timer, 6000, note_number);
    timer_start(loop, &never.timer, 4000, note_number);
    timer_start(loop, &a.timer, 0, note_number);
    CHECK_INT(calls, 0);
    timer_stop(loop, &never.timer);
    int64_t began = loop_now_us(loop);
    loop_run(loop);
    CHECK(order[0] == 1 && order[1] == 2 && order[2] == 3);
    CHECK(loop_now_us(loop) - began >= 5000);
    CHECK(!timer_runs(&a.timer) && !timer_runs(&never.timer));
    loop_close(loop);
}

static struct timer again;

static void start_again(struct timer *timer)
{
    if (++calls == 1000)
        loop_stop(loop);
    else
        timer_start(loop, timer, calls % 2 ? 0 : 20, start_again);
}

TEST(a_timer_may_start_itself_again)
{
    open_loop();
    timer_start(loop, &again, 0, start_again);
    loop_run(loop);
    CHECK_INT(calls, 1000);
    loop_close(loop);
}

enum { POSTS = 10000 };

static void count_post(void *data)
{
    int number = (int)(intptr_t)data;
    CHECK_INT(number, calls);
    if (++calls == POSTS)
        loop_stop(loop);
}

static void *post_many(void *data)
{
    for (intptr_t i = 0; i < POSTS; i++)
        loop_post(loop, count_post, (void *)i);
    return NULL;
}

TEST(posts_of_another_thread_arrive_in_order)
{
    open_loop();
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, post_many, NULL), 0);
    loop_run(loop);
    pthread_join(thread, NULL);
    CHECK_INT(calls, POSTS);
    loop_close(loop);
}

static int double_it(void *data)
{
    return *(int *)data * 2;
}

static void pool_is_done(void *data, int result)
{
    calls = result;
    loop_stop(loop);
}

TEST(the_pool_answers_on_the_loop)
{
    open_loop();
    int number = 21;
    loop_pool(loop, double_it, pool_is_done, &number);
    loop_run(loop);
    CHECK_INT(calls, 42);
    loop_pool(loop, double_it, pool_is_done, &number);
    calls = 0;
    loop_close(loop);
    CHECK_INT(calls, 42);
}

static int pair[2];
static struct watch *watch;

static void on_events(void *data, int events)
{
    order[calls++] = events;
    char byte;
    if (events & LOOP_READ && read(pair[0], &byte, 1) == 1)
        watch_want(watch, LOOP_HANGUP);
    if (events & LOOP_WRITE)
        watch_want(watch, LOOP_READ);
    loop_stop(loop);
}

TEST(a_watch_tells_what_is_wanted_and_no_more)
{
    open_loop();
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_INT(watch_open(loop, pair[0], on_events, NULL, &watch), 0);
    loop_turn(loop, false);
    CHECK_INT(calls, 0);
    watch_want(watch, LOOP_WRITE | LOOP_READ);
    loop_run(loop);
    CHECK_INT(order[0], LOOP_WRITE);
    CHECK_INT(write(pair[1], "xy", 2), 2);
    loop_run(loop);
    CHECK_INT(order[1], LOOP_READ);
    close(pair[1]);
    loop_run(loop);                     /* one byte is still unread, the hang-up is seen all the same */
    CHECK_INT(order[2], LOOP_HANGUP);
    watch_close(watch);
    close(pair[0]);
    loop_close(loop);
}

static struct watch *watches[2];

static void count_events(void *data, int events)
{
    calls++;
}

static void close_both(void *data, int events)
{
    calls++;
    for (int i = 0; i < 2; i++)
        watch_close(watches[i]);
}

TEST(what_cannot_be_watched_is_refused_and_costs_the_others_nothing)
{
    open_loop();
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_INT(watch_open(loop, pair[0], count_events, NULL, &watches[0]), 0);
    CHECK_INT(watch_open(loop, pair[0], count_events, NULL, &watches[1]), -EEXIST);
    CHECK_INT(watch_open(loop, file, count_events, NULL, &watches[1]), -EPERM);
    CHECK_INT(watch_open(loop, -1, count_events, NULL, &watches[1]), -EBADF);
    watch_want(watches[0], LOOP_WRITE);
    loop_turn(loop, true);
    CHECK_INT(calls, 1);
    loop_close(loop);                   /* closes the watch */
    close(pair[0]);
    close(pair[1]);
    close(file);
}

TEST(a_watch_that_another_closes_in_the_same_turn_is_not_called)
{
    open_loop();
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(watch_open(loop, pair[i], close_both, NULL, &watches[i]), 0);
        watch_want(watches[i], LOOP_WRITE);
    }
    for (int i = 0; i < 3; i++)
        loop_turn(loop, false);
    CHECK_INT(calls, 1);
    close(pair[0]);
    close(pair[1]);
    loop_close(loop);
}

static void end_of_wait(struct timer *timer)
{
    order[0] = -1;
}

/* How many turns the loop makes while nothing should happen. */
static int idle_turns(void)
{
    struct timer wait = {0};
    int turns = 0;
    order[0] = 0;
    timer_start(loop, &wait, 20000, end_of_wait);
    for (; order[0] != -1; turns++)
        loop_turn(loop, true);
    return turns;
}

TEST(a_silent_watch_wakes_nobody_when_its_peer_goes)
{
    open_loop();
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_INT(watch_open(loop, pair[0], count_events, NULL, &watches[0]), 0);
    CHECK_INT(write(pair[1], "x", 1), 1);
    close(pair[1]);
    CHECK(idle_turns() < 10);
    CHECK_INT(calls, 0);
    watch_want(watches[0], LOOP_READ);
    loop_turn(loop, true);
    CHECK_INT(calls, 1);
    watch_want(watches[0], 0);
    CHECK(idle_turns() < 10);
    CHECK_INT(calls, 1);
    watch_close(watches[0]);
    close(pair[0]);
    loop_close(loop);
}

TEST(an_error_is_told_once)
{
    open_loop();
    CHECK_INT(pipe2(pair, O_CLOEXEC), 0);
    CHECK_INT(watch_open(loop, pair[1], count_events, NULL, &watches[0]), 0);
    close(pair[0]);
    watch_want(watches[0], LOOP_WRITE);
    CHECK(idle_turns() < 10);
    CHECK_INT(calls, 1);
    watch_close(watches[0]);
    close(pair[1]);
    loop_close(loop);
}

static void on_usr1(void *data, int number)
{
    calls = number;
    loop_stop(loop);
}

TEST(a_signal_is_told_on_the_loop)
{
    open_loop();
    CHECK_INT(loop_on_signal(loop, SIGUSR1, on_usr1, NULL), 0);
    raise(SIGUSR1);
    loop_run(loop);
    CHECK_INT(calls, SIGUSR1);
    loop_close(loop);
}
