/* Lanes with many calls to a host that takes no more: what waits, what is given on, and what it costs. */
#include "os/fetch.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/test.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct loop *loop;
static struct fetch *fetch;
static int answers, timeouts;
static char silent_url[64], closed_url[64];
static int silent;

/* One address at which calls are taken and never answered, and one at which nobody listens. */
static void open_all(void)
{
    struct problem problem = {0};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int closed = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(!bind(closed, (struct sockaddr *)&at, sizeof at) && !getsockname(closed, (struct sockaddr *)&at, &size));
    snprintf(closed_url, sizeof closed_url, "http://127.0.0.1:%d/x", ntohs(at.sin_port));
    at.sin_port = 0;
    CHECK(!bind(silent, (struct sockaddr *)&at, sizeof at) && !listen(silent, 4096) && !getsockname(silent, (struct sockaddr *)&at, &size));
    snprintf(silent_url, sizeof silent_url, "http://127.0.0.1:%d/x", ntohs(at.sin_port));
    close(closed);
    answers = timeouts = 0;
    CHECK_INT(loop_open(&loop, &problem), 0);
    CHECK_INT(fetch_open(loop, &(struct fetch_options){0}, &fetch, &problem), 0);
}

static void close_all(void)
{
    fetch_close(fetch);
    loop_close(loop);
    close(silent);
}

static void on_answer(void *data, struct fetch_answer *answer)
{
    answers++;
    timeouts += answer->end == FETCH_TIMEOUT;
}

static struct fetch_call *start(const char *url, int64_t timeout_us)
{
    return fetch_start(fetch, &(struct fetch_request){.method = "GET", .url = bytes_of(url), .timeout_us = timeout_us}, on_answer, NULL);
}

static void wait_for(int count)
{
    while (answers < count)
        loop_turn(loop, true);
}

TEST_SLOW(a_place_that_is_free_again_is_given_to_the_next_in_line)
{
    enum { CALLS = 2 * LIMIT_FETCH_HOST_CALLS + 50 };
    open_all();
    for (int i = 0; i < CALLS; i++)
        start(silent_url, 100000);
    wait_for(CALLS);
    CHECK_INT(timeouts, CALLS);
    close_all();
}

TEST(a_host_that_is_full_holds_up_no_other_whoever_of_its_line_is_dropped)
{
    enum { CALLS = LIMIT_FETCH_HOST_CALLS + 500 };
    struct fetch_call *calls[CALLS];
    open_all();
    for (int i = 0; i < CALLS; i++)
        calls[i] = start(silent_url, 0);
    start(closed_url, 0);
    wait_for(1);
    for (int i = 0; i < CALLS; i++)              /* some run, some wait, those that wait move up meanwhile */
        fetch_drop(calls[i * 11 % CALLS]);
    start(closed_url, 0);
    wait_for(2);
    start(silent_url, 50000);                    /* the host has its places again */
    wait_for(3);
    CHECK_INT(answers, 3);
    CHECK_INT(timeouts, 1);
    close_all();
}

static int64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

TEST_SLOW(calls_that_wait_for_their_answers_cost_nothing)
{
    open_all();
    for (int i = 0; i < 100; i++)
        start(silent_url, 0);
    start(silent_url, 100000);
    wait_for(1);                                 /* all are sent */
    int64_t before = cpu_us();
    start(silent_url, 400000);
    wait_for(2);
    test_note("%lld us of processor time in 400 ms", (long long)(cpu_us() - before));
    CHECK(cpu_us() - before < 20000);
    close_all();
}
