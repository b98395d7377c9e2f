#include "os/fetch_own.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EVENTS = 64, TURN_US_MAX = 60000000 };

/* What curl wants to know of a socket. Which ones the kernel has is asked of the kernel: curl may have closed one before it says so, and
 * its number be given to the next. A call whose socket cannot be watched ends by itself: a failure told to curl would end every call there is. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *unused)
{
    struct lane *lane = data;
    struct epoll_event event = {.data.fd = fd};
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(lane->poll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    if (epoll_ctl(lane->poll, EPOLL_CTL_MOD, fd, &event) && errno == ENOENT && epoll_ctl(lane->poll, EPOLL_CTL_ADD, fd, &event))
        fetch_easy_blind(easy, errno);
    return 0;
}

int fetch_poll_open(struct lane *lane, struct problem *problem)
{
    lane->poll = epoll_create1(EPOLL_CLOEXEC);
    lane->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = lane->wake};
    if (lane->poll < 0 || lane->wake < 0 || epoll_ctl(lane->poll, EPOLL_CTL_ADD, lane->wake, &event))
        return problem_set(problem, "calls cannot be set up: %s", strerror(errno));
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
    return 0;
}

void fetch_poll_close(struct lane *lane)
{
    if (lane->poll >= 0)
        close(lane->poll);
    if (lane->wake >= 0)
        close(lane->wake);
    lane->poll = lane->wake = -1;
}

void fetch_poll_wake(struct lane *lane)
{
    uint64_t one = 1;
    while (write(lane->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;                                        /* else it can only fail because the wait is ended already */
}

/* Curl is asked for its next time at each turn, and not told to call: it calls only when that time changes, so a clock of ours that is a
 * little ahead of its own would lose it. */
static int wait_ms(const struct lane *lane, int64_t wait_us)
{
    long curl_ms = -1;
    curl_multi_timeout(lane->multi, &curl_ms);
    int64_t most_us = wait_us >= 0 && wait_us < TURN_US_MAX ? wait_us : TURN_US_MAX, most_ms = (most_us + 999) / 1000;
    return curl_ms >= 0 && curl_ms < most_ms ? (int)curl_ms : (int)most_ms;
}

static int ready_of(const struct epoll_event *event)
{
    return (event->events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) | (event->events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
           (event->events & EPOLLERR ? CURL_CSELECT_ERR : 0);
}

void fetch_poll_turn(struct lane *lane, int64_t wait_us)
{
    struct epoll_event events[EVENTS];
    int running, count = epoll_wait(lane->poll, events, EVENTS, wait_ms(lane, wait_us));
    for (int i = 0; i < count; i++) {
        uint64_t times;
        if (events[i].data.fd != lane->wake)
            curl_multi_socket_action(lane->multi, events[i].data.fd, ready_of(&events[i]), &running);
        else if (read(lane->wake, &times, sizeof times) < 0)
            continue;
    }
    if (!wait_ms(lane, -1))
        curl_multi_socket_action(lane->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}
