/* For the tests of fetch: a small server on loopback, and a loop that waits for one call's answer. One a file. */
#pragma once
#include "os/fetch.h"

#include "base/mem.h"
#include "base/test.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a server on loopback, one connection after another, one answer each ---- */

enum { REQUEST_BYTES = 256 * 1024 };

static struct {
    int listener, port, held[64], held_count;
    pthread_t thread;
    pthread_mutex_t lock;
    int hits;
    char last[REQUEST_BYTES];
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline size_t read_request(int fd, char *at, size_t room)
{
    size_t count = 0, want = 0;
    for (ssize_t got; count < room - 1 && (!want || count < want) && (got = read(fd, at + count, room - 1 - count)) > 0;) {
        count += got;
        at[count] = 0;
        char *end = strstr(at, "\r\n\r\n"), *length = strstr(at, "Content-Length: ");
        if (end && !want)
            want = (size_t)(end + 4 - at) + (length && length < end ? strtoul(length + 16, NULL, 10) : 0);
    }
    at[count] = 0;
    return count;
}

static inline void send_text(int fd, const char *text)
{
    for (size_t left = strlen(text); left;) {
        ssize_t sent = send(fd, text, left, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        left -= sent;
    }
}

static inline void send_many(int fd, const char *head, size_t bytes)
{
    char piece[1001];
    memset(piece, 'x', 1000);
    piece[1000] = 0;
    send_text(fd, head);
    for (size_t at = 0; at < bytes; at += 1000)
        send_text(fd, piece);
}

/* False: the connection is kept open without an answer. */
static inline bool answer(int fd, const char *path)
{
    char text[512];
    if (!strncmp(path, "/hold", 5))
        return false;
    if (!strncmp(path, "/redirect?", 10)) {
        snprintf(text, sizeof text, "HTTP/1.1 302 Found\r\nLocation: %.*s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                 (int)strcspn(path + 10, " "), path + 10);
        send_text(fd, text);
    } else if (!strncmp(path, "/loop", 5)) {
        send_text(fd, "HTTP/1.1 307 Again\r\nLocation: /loop\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    } else if (!strncmp(path, "/many", 5)) {
        send_many(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 300000);
    } else if (!strncmp(path, "/error", 6)) {
        send_many(fd, "HTTP/1.1 500 Bad\r\nRetry-After: 7\r\nConnection: close\r\n\r\n", 100000);
    } else if (!strncmp(path, "/empty", 6)) {
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    } else if (!strncmp(path, "/ms", 3)) {
        send_text(fd, "HTTP/1.1 429 Slow\r\nretry-after-ms: 250\r\nRetry-After: 9\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    } else if (!strncmp(path, "/date", 5)) {
        char date[64];
        time_t at = time(NULL) + 100;
        struct tm parts;
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&at, &parts));
        snprintf(text, sizeof text, "HTTP/1.1 503 Busy\r\nRetry-After: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", date);
        send_text(fd, text);
    } else if (!strncmp(path, "/cut", 4)) {
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nonly this");
    } else {
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-RateLimit-Left: 3\r\nSet-Cookie: a=1\r\nContent-Length: 11\r\n"
                      "Connection: close\r\n\r\n{\"ok\":true}");
    }
    return true;
}

static inline void *serve(void *unused)
{
    char *request MEM_OWNED = mem_new(REQUEST_BYTES);
    for (int fd; (fd = accept(server.listener, NULL, NULL)) >= 0;) {
        if (!read_request(fd, request, REQUEST_BYTES)) {
            close(fd);
            continue;
        }
        pthread_mutex_lock(&server.lock);
        server.hits++;
        memcpy(server.last, request, REQUEST_BYTES);
        pthread_mutex_unlock(&server.lock);
        char *path = strchr(request, ' ');
        if (path && answer(fd, path + 1))
            close(fd);
        else if (server.held_count < 64)
            server.held[server.held_count++] = fd;
    }
    return NULL;
}

static inline void open_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    server.hits = server.held_count = 0;
    server.last[0] = 0;
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(!bind(server.listener, (struct sockaddr *)&address, size) && !listen(server.listener, 64));
    getsockname(server.listener, (struct sockaddr *)&address, &size);
    server.port = ntohs(address.sin_port);
    CHECK(!pthread_create(&server.thread, NULL, serve, NULL));
}

static inline void close_server(void)
{
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listener);
    for (int i = 0; i < server.held_count; i++)
        close(server.held[i]);
}

/* ---- calls ---- */

static struct loop *loop;
static struct fetch *fetch;
static struct {
    int count, status, file;
    enum fetch_end end;
    int64_t bytes, retry_after_us;
    char body[70000], problem[512], limit[16], type[64];
} got;

static inline void open_all(const struct fetch_options *options)
{
    struct problem problem = {0};
    CHECK_INT(loop_open(&loop, &problem), 0);
    CHECK_INT(fetch_open(loop, options, &fetch, &problem), 0);
    open_server();
}

static inline void close_all(void)
{
    fetch_close(fetch);
    loop_close(loop);
    close_server();
}

static inline void on_answer(void *data, struct fetch_answer *answer)
{
    got.count++;
    got.status = answer->status;
    got.end = answer->end;
    got.bytes = answer->bytes;
    got.file = answer->file;
    got.retry_after_us = answer->retry_after_us;
    size_t count = answer->body.count < sizeof got.body - 1 ? answer->body.count : sizeof got.body - 1;
    if (count)
        memcpy(got.body, answer->body.at, count);
    got.body[count] = 0;
    snprintf(got.problem, sizeof got.problem, "%s", answer->problem.text);
    snprintf(got.limit, sizeof got.limit, "%.*s", BYTES_ARG(fetch_header(answer, "x-ratelimit-LEFT")));
    snprintf(got.type, sizeof got.type, "%.*s", BYTES_ARG(answer->type));
    if (data)
        *(int *)data += 1;
}

static inline void wait_for(int count)
{
    while (got.count < count)
        loop_turn(loop, true);
}

static inline void call(struct fetch_request request, const char *path)
{
    char url[512];
    snprintf(url, sizeof url, "%s", path);
    if (path[0] == '/')
        snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server.port, path);
    request.url = bytes_of(url);
    request.method = request.method ? request.method : "GET";
    memset(&got, 0, sizeof got);
    fetch_start(fetch, &request, on_answer, NULL);
    CHECK_INT(got.count, 0);
    wait_for(1);
}

static inline char *last_request(void)
{
    pthread_mutex_lock(&server.lock);
    char *copy = mem_text(server.last);
    pthread_mutex_unlock(&server.lock);
    return copy;
}
