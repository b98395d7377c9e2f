/* Listening. What every connection shares is set on the listening socket, from which Linux lets the accepted ones inherit it, so
 * that accepting is one system call. */
#include "http/http_inside.h"

#include "base/mem.h"
#include "http/cors.h"
#include "http/problem_json.h"
#include "os/file.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_A_TURN = 64, BACKLOG = 1024, ACCEPT_REST_US = 100000 };

static void run_later(struct timer *timer)
{
    struct http_server *server = TIMER_OF(timer, struct http_server, later_timer);
    for (int left = server->conns_count; left > 0 && !list_empty(&server->later); left--)
        conn_pump(LIST_OF(server->later.next, struct conn, later));
    if (!list_empty(&server->later))
        timer_start(server->loop, timer, 0, run_later);
}

/* Above the cap there is no room for a connection's state, or the kernel has none for its watch: the answer is sent blindly and the socket closed. */
static void turn_away(struct http_server *server, int fd)
{
    struct buf body BUF_OWNED, answer BUF_OWNED;
    buf_init(&body, 1024);
    buf_init(&answer, 4096);
    problem_json(&body, 503, BYTES("The server has as many connections as it takes; try again soon."), (struct bytes){NULL, 0});
    buf_print(&answer, "HTTP/1.1 503 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nRetry-After: " HTTP_RETRY_S "\r\nConnection: close\r\n",
              problem_title(503), PROBLEM_JSON_TYPE, body.count);
    cors_put(&answer, server->settings.origins, (struct bytes){NULL, 0});
    buf_text(&answer, "\r\n");
    buf_put(&answer, buf_bytes(&body));
    if (send(fd, answer.at, answer.count, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
        shutdown(fd, SHUT_WR);
    close(fd);
}

static void accept_again(struct timer *timer)
{
    struct http_server *server = TIMER_OF(timer, struct http_server, accept_again);
    watch_want(server->watch, LOOP_READ);
}

/* False: the descriptor is still the caller's. */
static bool take_in(struct http_server *server, int fd, const struct sockaddr_storage *from)
{
    struct address *address = NULL;
    if (server->conns_count >= server->settings.connections_max || address_enter(&server->addresses, from, &address))
        return false;
    if (!conn_new(server, fd, address))
        return true;
    address_leave(&server->addresses, address);
    return false;
}

static void on_connections(void *data, int events)
{
    struct http_server *server = data;
    for (int i = 0; i < ACCEPTS_A_TURN && server->fd >= 0; i++) {
        struct sockaddr_storage from = {0};
        socklen_t from_bytes = sizeof from;
        int fd = accept4(server->fd, (struct sockaddr *)&from, &from_bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (!take_in(server, fd, &from))
                turn_away(server, fd);
        } else if (file_scarce(-errno) || errno == ENOBUFS) {
            watch_want(server->watch, 0);
            timer_start(server->loop, &server->accept_again, ACCEPT_REST_US, accept_again);
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        }
    }
}

/* ---- opening ---- */

static int set_options(int fd, const struct http_settings *settings)
{
    int on = 1, notsent = LIMIT_STREAM_NOTSENT_BYTES;
    unsigned unacked_ms = (unsigned)(2 * settings->stall_us / 1000);
    int failed = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    failed |= setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    failed |= setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &notsent, sizeof notsent);
    failed |= setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof unacked_ms);
    return failed ? -errno : 0;
}

static int try_listen(const struct addrinfo *address, const struct http_settings *settings, int *ret_fd)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int failed = set_options(fd, settings);
    if (!failed && (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0))
        failed = -errno;
    if (failed) {
        close(fd);
        return failed;
    }
    *ret_fd = fd;
    return 0;
}

static int say_why(const struct http_settings *settings, int error, struct problem *problem)
{
    const char *host = settings->host;
    int port = settings->port;
    switch (-error) {
    case EADDRINUSE: problem_set(problem, "Port %d on %s is in use by another program; choose another one.", port, host); break;
    case EACCES: problem_set(problem, "Port %d on %s may not be opened by this user; ports below 1024 belong to root.", port, host); break;
    case EADDRNOTAVAIL: problem_set(problem, "This machine has no address %s to listen on.", host); break;
    default: problem_set(problem, "Cannot listen on %s port %d: %s.", host, port, strerror(-error));
    }
    return error;
}

/* One that somebody else has opened gets our options too; what cannot be set is no reason to refuse it. */
int http_listen(const struct http_settings *settings, int *ret_fd, struct problem *problem)
{
    if (settings->listening > 0) {
        set_options(settings->listening, settings);
        *ret_fd = settings->listening;
        return 0;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    char port[8];
    if (settings->port < 0 || settings->port > 65535) {
        problem_set(problem, "The port to listen on must be 0 to 65535, not %d.", settings->port);
        return -EINVAL;
    }
    snprintf(port, sizeof port, "%d", settings->port);
    int unknown = getaddrinfo(settings->host, port, &hints, &found);
    if (unknown) {
        problem_set(problem, "The address to listen on, %s, is not known: %s.", settings->host, gai_strerror(unknown));
        return -EINVAL;
    }
    int failed = -EADDRNOTAVAIL;
    for (const struct addrinfo *address = found; address && failed; address = address->ai_next)
        failed = try_listen(address, settings, ret_fd);
    freeaddrinfo(found);
    return failed ? say_why(settings, failed, problem) : 0;
}

/* The port in use, and whether only this machine can reach it. */
static void look_at_address(struct http_server *server)
{
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } address;
    socklen_t size = sizeof address;
    int failed = getsockname(server->fd, &address.any, &size);
    assert(!failed);
    bool v6 = address.any.sa_family == AF_INET6;
    server->port = ntohs(v6 ? address.v6.sin6_port : address.v4.sin_port);
    bool loopback = v6 ? IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr) : ntohl(address.v4.sin_addr.s_addr) >> 24 == 127;
    server->check_host = loopback && !server->settings.any_host;
}

enum { HTTP_CONNECTIONS_LEAST = 8 };

static int64_t or_else(int64_t value, int64_t fallback)
{
    return value ? value : fallback;
}

/* How many connections a small number of descriptors allows. The rest of the program has its share first. */
static int connections_of(int files)
{
    if (files > 2 * LIMIT_HTTP_FILES_LEFT)
        return files - LIMIT_HTTP_FILES_LEFT;
    int most = files - LIMIT_HTTP_FILES_LEAST;
    return most < HTTP_CONNECTIONS_LEAST ? HTTP_CONNECTIONS_LEAST : most < files / 2 ? most : files / 2;
}

static void fill_settings(struct http_settings *settings)
{
    struct rlimit files;
    settings->host = mem_text(settings->host);
    settings->origins = mem_text(settings->origins ? settings->origins : "*");
    settings->body_bytes_max = or_else(settings->body_bytes_max, LIMIT_HTTP_BODY_BYTES);
    settings->connections_max = (int)or_else(settings->connections_max, LIMIT_HTTP_CONNECTIONS);
    settings->idle_us = or_else(settings->idle_us, LIMIT_HTTP_IDLE_US);
    settings->head_us = or_else(settings->head_us, LIMIT_HTTP_HEAD_US);
    settings->body_window_us = or_else(settings->body_window_us, LIMIT_HTTP_BODY_WINDOW_US);
    settings->stall_us = or_else(settings->stall_us, LIMIT_STREAM_STALL_US);
    settings->discard_us = or_else(settings->discard_us, LIMIT_HTTP_DISCARD_US);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < (rlim_t)settings->connections_max + LIMIT_HTTP_FILES_LEFT)
        settings->connections_max = connections_of((int)files.rlim_cur);
}

static void server_free(struct http_server *server)
{
    free((char *)server->settings.host);
    free((char *)server->settings.origins);
    free(server);
}

int http_open(struct loop *loop, const struct http_settings *settings, http_request_fn *on_request, void *data,
              struct http_server **ret_server, struct problem *problem)
{
    struct http_server *server = MEM_NEW(struct http_server);
    server->loop = loop;
    server->settings = *settings;
    server->on_request = on_request;
    server->data = data;
    server->later_timer.call = run_later;
    list_init(&server->conns);
    list_init(&server->later);
    fill_settings(&server->settings);
    int failed = http_listen(&server->settings, &server->fd, problem);
    if (!failed) {
        failed = watch_open(loop, server->fd, on_connections, server, &server->watch);
        if (failed)
            close(server->fd);
    }
    if (failed) {
        problem_set(problem, "The listening socket cannot be watched: %s.", strerror(-failed));
        server_free(server);
        return failed;
    }
    look_at_address(server);
    int of_one = server->settings.address_connections_max;
    server->addresses.loopback = of_one > 0;
    server->addresses.max = of_one > 0 ? of_one : server->settings.connections_max * LIMIT_HTTP_ADDRESS_PERCENT / 100 + 1;
    watch_want(server->watch, LOOP_READ);
    *ret_server = server;
    return 0;
}

int http_port(const struct http_server *server)
{
    return server->port;
}

int http_connections(const struct http_server *server)
{
    return server->conns_count;
}

int http_requests_open(const struct http_server *server)
{
    return server->exchanges_count;
}

/* ---- closing ---- */

static void stop_listening(struct http_server *server)
{
    if (server->fd < 0)
        return;
    timer_stop(server->loop, &server->accept_again);
    watch_close(server->watch);
    close(server->fd);
    server->watch = NULL;
    server->fd = -1;
}

void http_drain(struct http_server *server)
{
    server->draining = true;
    stop_listening(server);
    LIST_EACH(link, &server->conns) {
        struct conn *conn = LIST_OF(link, struct conn, link);
        if (conn->phase == HEADING && !conn->in.count)
            conn_kill(conn, HTTP_DONE);
    }
}

void http_close(struct http_server *server)
{
    if (!server)
        return;
    stop_listening(server);
    while (!list_empty(&server->conns)) {
        struct conn *conn = LIST_OF(server->conns.next, struct conn, link);
        assert(!conn->busy);
        conn_kill(conn, HTTP_CLOSING);
        conn_pump(conn);
    }
    timer_stop(server->loop, &server->later_timer);
    addresses_done(&server->addresses);
    server_free(server);
}
