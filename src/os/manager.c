/* The protocol is one datagram of lines NAME=VALUE to a unix socket (sd_notify(3)), and descriptors from 3 on (sd_listen_fds(3)). The socket that is written to is
 * opened once, so that running out of descriptors never looks like a hang; it is not connected, for a manager that is executed anew binds its address again. */
#include "os/manager.h"

#include "base/bytes.h"
#include "base/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PASSED_FROM = 3, PASSED_MAX = 64, AGAIN_US = 50000 };

/* ---- what the manager left ---- */

/* The whole number that the variable holds; 0 when there is none. */
static int64_t number_of(const char *name)
{
    const char *text = getenv(name);
    int64_t number;
    return text && bytes_to_i64(bytes_of(text), &number) && number > 0 ? number : 0;
}

/* Is what comes with this variable meant for us? An absent one means everybody where `absent`. */
static bool is_ours(const char *name, bool absent)
{
    return getenv(name) ? number_of(name) == getpid() : absent;
}

static void read_address(struct manager *manager)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t count = path ? strlen(path) : 0;
    if (count < 2 || count >= sizeof manager->address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    manager->address.sun_family = AF_UNIX;
    memcpy(manager->address.sun_path, path, count);
    if (path[0] == '@')
        manager->address.sun_path[0] = 0;
    manager->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + count + (path[0] == '/'));
    manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static void read_passed(struct manager *manager)
{
    int64_t count = number_of("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    if (!count || !is_ours("LISTEN_PID", false))
        return;
    manager->passed_from = PASSED_FROM;
    manager->passed_count = (int)(count < PASSED_MAX ? count : PASSED_MAX);
    snprintf(manager->passed_names, sizeof manager->passed_names, "%s", names ? names : "");
    for (int i = 0; i < manager->passed_count; i++)
        fcntl(PASSED_FROM + i, F_SETFD, FD_CLOEXEC);
}

void manager_open(struct manager *manager)
{
    static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"};
    *manager = (struct manager){.fd = -1};
    read_passed(manager);
    read_address(manager);
    if (is_ours("WATCHDOG_PID", true))
        manager->watchdog_us = number_of("WATCHDOG_USEC");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

void manager_close(struct manager *manager)
{
    if (manager->loop) {
        timer_stop(manager->loop, &manager->pulse);
        timer_stop(manager->loop, &manager->again);
    }
    for (int i = 0; i < manager->passed_count; i++)
        close(manager->passed_from + i);
    if (manager->fd >= 0)
        close(manager->fd);
    *manager = (struct manager){.fd = -1};
}

/* ---- the socket ---- */

/* Which of those that were passed; -1 = it cannot be told. */
static int choose(const struct manager *manager)
{
    struct bytes rest = bytes_of(manager->passed_names);
    if (manager->passed_count == 1)
        return 0;
    for (int i = 0; i < manager->passed_count && rest.count; i++)
        if (bytes_equal(bytes_cut(&rest, ':'), BYTES("http")))
            return i;
    return -1;
}

static bool tell_address(int fd, char ret_host[INET6_ADDRSTRLEN], int *ret_port)
{
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } address;
    socklen_t size = sizeof address;
    int type = 0, listens = 0;
    socklen_t type_size = sizeof type, listens_size = sizeof listens;
    if (getsockname(fd, &address.any, &size) || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) || type != SOCK_STREAM || !listens)
        return false;
    bool v6 = address.any.sa_family == AF_INET6;
    *ret_port = ntohs(v6 ? address.v6.sin6_port : address.v4.sin_port);
    const void *digits = v6 ? (const void *)&address.v6.sin6_addr : (const void *)&address.v4.sin_addr;
    return (v6 || address.any.sa_family == AF_INET) && inet_ntop(address.any.sa_family, digits, ret_host, INET6_ADDRSTRLEN);
}

int manager_listener(struct manager *manager, int *ret_fd, char ret_host[INET6_ADDRSTRLEN], int *ret_port, struct problem *problem)
{
    if (!manager->passed_count)
        return 1;
    int chosen = choose(manager);
    if (chosen < 0)
        return problem_set(problem, "the service manager handed over %d sockets, and none is named \"http\" (FileDescriptorName=http): one is listened on",
                           manager->passed_count);
    int fd = manager->passed_from + chosen;
    if (!tell_address(fd, ret_host, ret_port))
        return problem_set(problem, "what the service manager handed over is no TCP socket that listens (ListenStream=HOST:PORT, Accept=no)");
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    for (int i = 0; i < manager->passed_count; i++)
        if (i != chosen)
            close(manager->passed_from + i);
    manager->passed_count = 0;
    *ret_fd = fd;
    return 0;
}

/* ---- telling ---- */

static void again(struct timer *timer);

/* Sends what is due in one datagram. A manager whose queue is full is told a little later; one that is not there never. */
static void tell(struct manager *manager)
{
    char text[MANAGER_STATUS_SIZE + 64];
    int count = snprintf(text, sizeof text, "%s%s%s%s%s%s", manager->state ? manager->state : "", manager->state ? "\n" : "",
                         manager->alive_due ? "WATCHDOG=1\n" : "", manager->status_due ? "STATUS=" : "", manager->status_due ? manager->status : "",
                         manager->status_due ? "\n" : "");
    if (manager->fd < 0 || count <= 0)
        return;
    ssize_t sent = sendto(manager->fd, text, (size_t)count, MSG_NOSIGNAL, (struct sockaddr *)&manager->address, manager->address_bytes);
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
        timer_start(manager->loop, &manager->again, AGAIN_US, again);
        return;
    }
    manager->state = NULL;
    manager->alive_due = manager->status_due = false;
}

static void again(struct timer *timer)
{
    tell(TIMER_OF(timer, struct manager, again));
}

static void ask_status(struct manager *manager)
{
    char now[MANAGER_STATUS_SIZE] = "";
    manager->status_of(manager->status_data, now);
    if (!strcmp(now, manager->status))
        return;
    memcpy(manager->status, now, sizeof now);
    for (char *byte = manager->status; *byte; byte++)
        if ((unsigned char)*byte < ' ')
            *byte = ' ';
    manager->status_due = true;
}

/* A third of the silence that it bears: one pulse may be lost, or late. */
static void pulse(struct timer *timer)
{
    struct manager *manager = TIMER_OF(timer, struct manager, pulse);
    int64_t third = manager->watchdog_us / 3;
    manager->alive_due = manager->watchdog_us > 0;
    ask_status(manager);
    tell(manager);
    timer_start(manager->loop, &manager->pulse, third && third < LIMIT_MANAGER_PULSE_US ? third : LIMIT_MANAGER_PULSE_US, pulse);
}

void manager_ready(struct manager *manager, struct loop *loop, manager_status_fn *status, void *data)
{
    if (manager->fd < 0)
        return;
    manager->loop = loop;
    manager->status_of = status;
    manager->status_data = data;
    manager->state = "READY=1";
    pulse(&manager->pulse);
}

void manager_stopping(struct manager *manager)
{
    if (!manager->loop)
        return;
    manager->state = "STOPPING=1";
    ask_status(manager);
    tell(manager);
}
