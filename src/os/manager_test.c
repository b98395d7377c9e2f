#include "os/manager.h"

#include "base/bytes.h"
#include "base/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* A manager that listens on an abstract address. */
static int hear(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), count = snprintf(name, sizeof name, "@rivulet-manager-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)count - 1);
    CHECK(!bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)count)));
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void heard(int fd, char ret[512])
{
    ssize_t count = recv(fd, ret, 511, 0);
    ret[count > 0 ? count : 0] = 0;
}

static const char *now_says;
static void status(void *data, char ret[MANAGER_STATUS_SIZE])
{
    snprintf(ret, MANAGER_STATUS_SIZE, "%s", now_says);
}

static void number(const char *name, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    setenv(name, text, 1);
}

TEST(a_manager_hears_ready_pulses_changes_of_status_and_the_end)
{
    struct manager manager;
    struct loop *loop;
    char text[512];
    int fd = hear();
    number("WATCHDOG_USEC", 30000);
    number("WATCHDOG_PID", getpid());
    CHECK(!loop_open(&loop, NULL));
    manager_open(&manager);
    CHECK(!getenv("NOTIFY_SOCKET") && !getenv("WATCHDOG_USEC") && !getenv("WATCHDOG_PID"));
    now_says = "one\nREADY=0";
    manager_ready(&manager, loop, status, NULL);
    heard(fd, text);
    CHECK_TEXT(text, "READY=1\nWATCHDOG=1\nSTATUS=one READY=0\n");
    now_says = "two";
    loop_turn(loop, true);
    heard(fd, text);
    CHECK_TEXT(text, "WATCHDOG=1\nSTATUS=two\n");
    while (heard(fd, text), !text[0])
        loop_turn(loop, true);
    CHECK_TEXT(text, "WATCHDOG=1\n");
    manager_stopping(&manager);
    heard(fd, text);
    CHECK_TEXT(text, "STOPPING=1\n");
    manager_close(&manager);
    loop_close(loop);
    close(fd);
}

TEST(a_full_manager_is_told_later)
{
    struct manager manager, filler;
    struct loop *loop;
    char text[512];
    int fd = hear();
    CHECK(!loop_open(&loop, NULL));
    manager_open(&filler);
    manager = filler;
    while (sendto(filler.fd, "X", 1, MSG_DONTWAIT, (struct sockaddr *)&filler.address, filler.address_bytes) == 1) {
    }
    now_says = "";
    manager_ready(&manager, loop, status, NULL);
    CHECK(timer_runs(&manager.again));
    while (heard(fd, text), text[0])
        CHECK_TEXT(text, "X");
    while (heard(fd, text), !text[0])
        loop_turn(loop, true);
    CHECK_TEXT(text, "READY=1\n");
    manager_close(&manager);
    loop_close(loop);
    close(fd);
}

TEST(what_is_meant_for_another_process_is_not_taken)
{
    struct manager manager;
    number("WATCHDOG_USEC", 30000);
    number("WATCHDOG_PID", getpid() + 1);
    number("LISTEN_FDS", 1);
    number("LISTEN_PID", getpid() + 1);
    manager_open(&manager);
    char host[INET6_ADDRSTRLEN];
    int fd, port;
    CHECK(manager.fd == -1 && !manager.watchdog_us);
    CHECK_INT(manager_listener(&manager, &fd, host, &port, NULL), 1);
    manager_ready(&manager, NULL, status, NULL);
    manager_stopping(&manager);
    manager_close(&manager);
}

static int listening(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(!bind(fd, (struct sockaddr *)&address, sizeof address) && !listen(fd, 8));
    return fd;
}

/* Two sockets one behind the other, as a manager puts them. */
static int kept[2];
static void pass(struct manager *manager, int first, int second, const char *names)
{
    *manager = (struct manager){.fd = -1, .passed_from = fcntl(first, F_DUPFD_CLOEXEC, 200), .passed_count = second < 0 ? 1 : 2};
    if (second >= 0)
        dup3(second, manager->passed_from + 1, O_CLOEXEC);
    kept[0] = manager->passed_from;
    snprintf(manager->passed_names, sizeof manager->passed_names, "%s", names);
}

TEST(the_socket_that_was_handed_over_is_found)
{
    struct manager manager;
    struct problem problem = {0};
    char host[INET6_ADDRSTRLEN];
    int first = listening(), second = listening(), fd, port;
    pass(&manager, first, -1, "rivulet.socket");
    CHECK_INT(manager_listener(&manager, &fd, host, &port, &problem), 0);
    CHECK_TEXT(host, "127.0.0.1");
    CHECK(port > 0 && fd == kept[0] && fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
    pass(&manager, first, second, "metrics:http");
    CHECK_INT(manager_listener(&manager, &fd, host, &port, &problem), 0);
    CHECK_INT(fd, kept[0] + 1);
    CHECK_INT(fcntl(kept[0], F_GETFD), -1);
    close(fd);
    pass(&manager, first, second, "a:b");
    CHECK_INT(manager_listener(&manager, &fd, host, &port, &problem), -1);
    CHECK(strstr(problem.text, "2 sockets"));
    manager_close(&manager);
    CHECK_INT(fcntl(kept[0], F_GETFD), -1);
    close(first);
    close(second);
}

TEST(what_is_no_listening_socket_is_refused)
{
    struct manager manager;
    struct problem problem = {0};
    char host[INET6_ADDRSTRLEN];
    int datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd, port;
    pass(&manager, datagrams, -1, "http");
    CHECK_INT(manager_listener(&manager, &fd, host, &port, &problem), -1);
    CHECK(strstr(problem.text, "no TCP socket"));
    manager_close(&manager);
    close(datagrams);
}
