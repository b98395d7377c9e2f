#include "os/child.h"

#include "base/sanitized.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENVIRONMENT_MAX = 8 };

/* A sanitizer that reads other options than its parent would report other things. */
static void environment(char *ret[ENVIRONMENT_MAX])
{
    static char *const fixed[] = {"ORT_DISABLE_TELEMETRY=1", "OMP_THREAD_LIMIT=1", "LC_ALL=C.UTF-8"};
    size_t count = 0;
    for (; count < sizeof fixed / sizeof *fixed; count++)
        ret[count] = fixed[count];
#ifdef SANITIZED
    static const char *const kept[] = {"ASAN_OPTIONS=", "LSAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS="};
    for (char **each = environ; each && *each; each++)
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            if (!strncmp(*each, kept[i], strlen(kept[i])) && count < ENVIRONMENT_MAX - 1)
                ret[count++] = *each;
#endif
    ret[count] = NULL;
}

static int prepare_files(posix_spawn_file_actions_t *actions, int socket)
{
    int error = posix_spawn_file_actions_adddup2(actions, socket, CHILD_SOCKET);
    if (!error)
        error = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_addclosefrom_np(actions, CHILD_SOCKET + 1);
    return error;
}

static int prepare_signals(posix_spawnattr_t *attributes)
{
    sigset_t blocked, defaults;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigfillset(&defaults);
    posix_spawnattr_setsigmask(attributes, &blocked);
    posix_spawnattr_setsigdefault(attributes, &defaults);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int spawn(const char *path, char *const argv[], int socket, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *variables[ENVIRONMENT_MAX];
    environment(variables);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int error = prepare_files(&actions, socket);
    if (!error)
        error = prepare_signals(&attributes);
    if (!error)
        error = posix_spawn(ret_pid, path, &actions, &attributes, argv, variables);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

int child_start(const char *path, char *const argv[], int socket, struct child *ret, struct problem *problem)
{
    /* dup2 onto itself would leave close-on-exec set, and 0 to 2 would be overwritten before they are moved. */
    int clear = socket <= CHILD_SOCKET ? fcntl(socket, F_DUPFD_CLOEXEC, CHILD_SOCKET + 1) : socket;
    pid_t pid = 0;
    int error = clear < 0 ? errno : spawn(path, argv, clear, &pid);
    if (clear != socket && clear >= 0)
        close(clear);
    if (error) {
        problem_set(problem, "Cannot start %s: %s.", path, strerror(error));
        return -error;
    }
    int pidfd = pidfd_open(pid, 0);      /* close-on-exec by itself; the pid is ours until it is reaped */
    if (pidfd < 0) {
        error = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        problem_set(problem, "Cannot watch the process of %s: %s.", path, strerror(error));
        return -error;
    }
    *ret = (struct child){pid, pidfd};
    return 0;
}

/* The pair remembers who made it. If that is not our parent any more, it died before the death signal was asked for. */
void child_tie(int socket)
{
    struct ucred maker;
    socklen_t size = sizeof maker;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &maker, &size) || maker.pid != getppid())
        _exit(EXIT_FAILURE);
}

void child_kill(const struct child *child)
{
    if (child->pidfd >= 0)
        pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
}

void child_adopt(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* SIGKILL to those that the kernel lists; false: there are none, or no list. */
static bool kill_children(void)
{
    char list[4096];
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? 0 : read(fd, list, sizeof list);
    bool any = false;
    if (fd >= 0)
        close(fd);
    pid_t pid = 0;
    for (ssize_t i = 0; i < count; i++) {
        if (list[i] >= '0' && list[i] <= '9') {
            pid = pid * 10 + (list[i] - '0');
            continue;
        }
        any |= pid > 0 && !kill(pid, SIGKILL);      /* a number that the end of the list cuts has no space behind it */
        pid = 0;
    }
    return any;
}

void child_end_all(void)
{
    enum { ROUNDS = 10000 };
    int adopts = 0;
    if (prctl(PR_GET_CHILD_SUBREAPER, &adopts, 0, 0, 0) || !adopts)
        return;
    for (int round = 0; round < ROUNDS && kill_children(); round++) {
        if (waitpid(-1, NULL, 0) < 0 && errno != EINTR)
            return;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}

int child_reap(struct child *child, bool wait, int *ret_status)
{
    siginfo_t info = {0};
    int rc;
    assert(child->pidfd >= 0);
    /* A loop makes the pidfd non-blocking, and waitid obeys that: so the waiting is poll's. */
    struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
    while (wait && poll(&end, 1, -1) < 0 && errno == EINTR)
        ;
    do
        rc = waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG);
    while (rc && errno == EINTR);
    if ((!rc && !info.si_pid) || (rc && errno == EAGAIN))
        return 1;
    if (rc)
        *ret_status = -1;
    else if (info.si_code == CLD_EXITED)
        *ret_status = W_EXITCODE(info.si_status, 0);
    else
        *ret_status = W_EXITCODE(0, info.si_status);
    close(child->pidfd);
    *child = CHILD_NONE;
    return 0;
}

void child_status_text(int status, char *ret, size_t room)
{
    if (status >= 0 && WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(ret, room, "by signal %s%s", name ? "SIG" : "", name ? name : "of an unknown kind");
    } else if (status >= 0 && WIFEXITED(status)) {
        snprintf(ret, room, "with exit status %d", WEXITSTATUS(status));
    } else {
        snprintf(ret, room, "in an unknown way");
    }
}
