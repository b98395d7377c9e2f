#include "fanout_crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FAST, SLOW, DEAD };
enum { SLOW_BYTES = 64, SLOW_TICK_MS = 100, SMALL_BUFFER = 4096, EVENTS = 256 };

struct reader {
    int fd, kind;
    uint32_t frames;
    bool newline;             /* the last byte read was one */
};

struct room {
    const struct crowd_order *order;
    struct crowd_shared *shared;
    struct reader *readers;
    int poll, line;
    uint64_t expected;        /* 0 = nothing */
    uint64_t frames;
    char buffer[256 * 1024];
};

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void fail(const char *what)
{
    perror(what);
    _exit(1);
}

static int kind_of(const struct crowd_order *order, int n)
{
    if (order->dead_each && n % order->dead_each == order->dead_each - 1)
        return DEAD;
    return order->slow_each && n % order->slow_each == 0 ? SLOW : FAST;
}

/* Ask, and read the answer's head and first chunk away. */
static void ask(struct room *room, int fd, int n)
{
    char text[512], path[256];
    size_t have = 0;
    if (room->order->jobs)
        snprintf(path, sizeof path, "%s%032d/events?after=end", room->order->path, n);
    else
        snprintf(path, sizeof path, "%s", room->order->path);
    int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", path);
    if (write(fd, text, (size_t)size) != size)
        fail("write");
    while (!memmem(room->buffer, have, "\r\n\r\n", 4) || !(room->order->any || memmem(room->buffer, have, "retry: 1000\n\n\r\n", 15))) {
        ssize_t count = read(fd, room->buffer + have, sizeof room->buffer - have);
        if (count <= 0) {
            fprintf(stderr, "no stream: %.*s\n", (int)have, room->buffer);
            _exit(1);
        }
        have += (size_t)count;
    }
}

static void enter(struct room *room, int n)
{
    struct reader *reader = &room->readers[n];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)room->order->port)};
    int small = SMALL_BUFFER;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    reader->kind = kind_of(room->order, n);
    reader->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (reader->kind != FAST)
        setsockopt(reader->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (reader->fd < 0 || connect(reader->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    if (room->order->path)
        ask(room, reader->fd, n);
    fcntl(reader->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)n};
    if (reader->kind == FAST && epoll_ctl(room->poll, EPOLL_CTL_ADD, reader->fd, &event) < 0)
        fail("epoll_ctl");
}

static void count_frames(struct room *room, int n, size_t count)
{
    struct reader *reader = &room->readers[n];
    struct crowd_shared *shared = room->shared;
    int64_t now = room->order->times ? now_us() : 0;
    for (size_t i = 0; i < count; i++) {
        bool newline = room->buffer[i] == '\n';
        if (newline && reader->newline) {
            uint32_t frame = room->order->jobs ? (uint32_t)n : reader->frames;
            reader->frames++;
            room->frames++;
            uint32_t at = shared->times_count;
            int64_t sent = now ? shared->sent_us[frame % CROWD_STAMPS] : 0;
            if (sent && at < CROWD_TIMES) {
                shared->times_us[at] = (uint32_t)(now - sent);
                shared->times_count = at + 1;
            }
            newline = false;
        }
        reader->newline = newline;
    }
}

static void take(struct room *room, int n)
{
    ssize_t count = recv(room->readers[n].fd, room->buffer, sizeof room->buffer, MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN))
        _exit(count ? 1 : 0);
    if (count < 0)
        return;
    room->shared->bytes += (uint64_t)count;
    count_frames(room, n, (size_t)count);
}

static void tell(struct room *room)
{
    room->shared->frames = room->frames;
    if (room->expected && room->frames >= room->expected && write(room->line, "k", 1) == 1)
        room->expected = 0;
}

static void listen_to_line(struct room *room)
{
    if (read(room->line, &room->expected, sizeof room->expected) != sizeof room->expected)
        _exit(0);
}

static void read_slowly(struct room *room)
{
    char little[SLOW_BYTES];
    for (int n = 0; n < room->order->count; n++)
        if (room->readers[n].kind == SLOW && recv(room->readers[n].fd, little, sizeof little, MSG_DONTWAIT) == 0)
            room->readers[n].kind = DEAD;
}

static void live(struct room *room)
{
    struct epoll_event events[EVENTS];
    int64_t slow_at = now_us();
    for (;;) {
        int count = epoll_wait(room->poll, events, EVENTS, room->order->slow_each ? SLOW_TICK_MS : -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u32 == UINT32_MAX)
                listen_to_line(room);
            else
                take(room, (int)events[i].data.u32);
        }
        tell(room);
        if (room->order->slow_each && now_us() - slow_at > SLOW_TICK_MS * 1000) {
            slow_at = now_us();
            read_slowly(room);
        }
    }
}

static void run(const struct crowd_order *order, struct crowd_shared *shared, int line)
{
    struct room *room = calloc(1, sizeof *room);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    *room = (struct room){.order = order, .shared = shared, .line = line, .poll = epoll_create1(EPOLL_CLOEXEC)};
    room->readers = calloc((size_t)order->count, sizeof *room->readers);
    epoll_ctl(room->poll, EPOLL_CTL_ADD, line, &event);
    for (int n = 0; n < order->count; n++)
        enter(room, n);
    if (write(line, "k", 1) != 1)
        fail("write");
    live(room);
}

struct crowd crowd_start(const struct crowd_order *order, void (*serve)(void *data), void *data)
{
    struct crowd crowd;
    int lines[2];
    crowd.shared = mmap(NULL, sizeof *crowd.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (crowd.shared == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, lines) < 0)
        fail("socketpair");
    crowd.pid = fork();
    if (crowd.pid == 0) {
        for (int fd = 3; fd < 100; fd++)    /* the server's own: a reader that dies must not keep its sockets open */
            if (fd != lines[1])
                close(fd);
        run(order, crowd.shared, lines[1]);
    }
    close(lines[1]);
    crowd.line = lines[0];
    char byte;
    struct pollfd ready = {.fd = crowd.line, .events = POLLIN};
    while (poll(&ready, 1, 0) == 0)
        serve(data);
    if (read(crowd.line, &byte, 1) != 1)
        fail("the crowd");
    return crowd;
}

void crowd_expect(struct crowd *crowd, uint64_t frames)
{
    if (write(crowd->line, &frames, sizeof frames) != sizeof frames)
        fail("the crowd");
}

void crowd_end(struct crowd *crowd)
{
    kill(crowd->pid, SIGKILL);
    waitpid(crowd->pid, NULL, 0);
    close(crowd->line);
    munmap(crowd->shared, sizeof *crowd->shared);
}
