/* vfork, because a worker may have hundreds of MB, and fork would copy their page tables for each program. Until exec the child runs on our memory while we wait:
 * it only makes system calls. */
#include "stage/exec_child.h"

#include "base/limits.h"
#include "os/child.h"
#include "os/file.h"
#include "os/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10, PATH_BYTES = 4096 };

struct ends {
    int in[2], out[2], err[2];      /* reading, writing; -1 = none */
};

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void ends_close(struct ends *ends)
{
    int *all[] = {&ends->in[0], &ends->in[1], &ends->out[0], &ends->out[1], &ends->err[0], &ends->err[1]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        shut(all[i]);
}

static int ends_open(const struct exec_child *child, struct ends *ends)
{
    *ends = (struct ends){{-1, -1}, {-1, -1}, {-1, -1}};
    if (child->input_fd < 0 && !child->input.count)
        ends->in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    else if (child->input_fd < 0 && pipe2(ends->in, O_CLOEXEC))
        return -errno;
    if ((child->input_fd < 0 && ends->in[0] < 0) || pipe2(ends->out, O_CLOEXEC) || pipe2(ends->err, O_CLOEXEC))
        return -errno;
    fcntl(ends->out[0], F_SETFL, O_NONBLOCK);
    fcntl(ends->err[0], F_SETFL, O_NONBLOCK);
    if (ends->in[1] >= 0)
        fcntl(ends->in[1], F_SETFL, O_NONBLOCK);
    if (child->input_fd >= 0)
        lseek(child->input_fd, 0, SEEK_SET);
    return 0;
}

/* ---- in the child, before exec ---- */

static void lower(int resource, int64_t most)
{
    struct rlimit limit;
    if (most <= 0 || getrlimit(resource, &limit))
        return;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > (rlim_t)most)
        limit.rlim_max = (rlim_t)most;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(resource, &limit);
}

/* What we ignore or block is as it was meant in a program. */
static void signals_reset(void)
{
    static const int ours[] = {SIGPIPE, SIGTERM, SIGXFSZ, SIGUSR1};
    sigset_t none;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        signal(ours[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int become(const struct exec_child *child, const struct ends *ends, const char *path, pid_t parent)
{
    signals_reset();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        return ESRCH;
    if (dup2(child->input_fd >= 0 ? child->input_fd : ends->in[0], 0) < 0 || dup2(ends->out[1], 1) < 0 || dup2(ends->err[1], 2) < 0)
        return errno;
    if (child->cwd && chdir(child->cwd))
        return errno;
    lower(RLIMIT_CPU, child->cpu_s);
    lower(RLIMIT_AS, child->memory_bytes);
    lower(RLIMIT_NOFILE, child->files);
    umask(022);      /* the server's own files are its own; a program's are as a shell's */
    lower(RLIMIT_FSIZE, LIMIT_PROGRAM_FILE_BYTES);
    if (child->rules >= 0 && landlock_enter(child->rules))
        return errno;
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    /* Not execve(): a build that counts coverage has another one in its place, which writes its counts down first, here with our memory. */
    execveat(AT_FDCWD, path, child->argv, child->env, 0);
    return errno;
}

/* ---- starting ---- */

/* vfork's child stands on this frame, so nothing here is kept in registers over it. What it could not do it says over `say`, which exec closes. */
static __attribute__((noinline)) pid_t launch(const struct exec_child *child, const struct ends *ends, const char *path, pid_t parent, int say)
{
    pid_t pid = vfork();
    if (!pid) {
        int error = become(child, ends, path, parent);
        _exit(write(say, &error, sizeof error) == sizeof error ? 127 : 126);
    }
    return pid;
}

/* 0, or an errno. */
static int start(const struct exec_child *child, const struct ends *ends, const char *path, pid_t *ret_pid)
{
    int said[2], error = 0;
    *ret_pid = -1;
    if (pipe2(said, O_CLOEXEC))
        return errno;
    *ret_pid = launch(child, ends, path, getpid(), said[1]);
    if (*ret_pid < 0)
        error = errno;
    close(said[1]);
    if (*ret_pid > 0 && read(said[0], &error, sizeof error) == sizeof error)
        waitpid(*ret_pid, NULL, 0);
    close(said[0]);
    return error;
}

/* The first in PATH that may be executed; else the name itself, and exec says what is wrong with it. */
static const char *find(const char *name, char room[PATH_BYTES])
{
    const char *path = getenv("PATH");
    struct bytes rest = bytes_of(path ? path : "/usr/local/bin:/usr/bin:/bin");
    while (!strchr(name, '/') && rest.count) {
        struct bytes folder = bytes_cut(&rest, ':');
        int length = snprintf(room, PATH_BYTES, "%.*s/%s", BYTES_ARG(folder), name);
        if (folder.count && length < PATH_BYTES && !access(room, X_OK))
            return room;
    }
    return name;
}

/* ---- while it runs ---- */

static void feed(struct exec_child *child, struct ends *ends)
{
    ssize_t count = write(ends->in[1], child->input.at, child->input.count);
    if (count > 0) {
        child->input.at += count;
        child->input.count -= (size_t)count;
    }
    /* A program need not read all of it. */
    if (!child->input.count || (count < 0 && errno != EAGAIN && errno != EINTR))
        shut(&ends->in[1]);
}

/* What is there now. At the end the pipe is shut. */
static void drain(int *fd, struct buf *into, size_t keep)
{
    for (;;) {
        if (*fd < 0 || !buf_reserve(into, READ_BYTES))
            return;
        ssize_t count = read(*fd, into->at + into->count, READ_BYTES);
        if (count > 0) {
            into->count += (size_t)count;
            if (keep && into->count > keep)
                buf_eat(into, into->count - keep);
        } else if (!count) {
            shut(fd);
        } else if (errno != EINTR) {
            if (errno != EAGAIN)
                shut(fd);
            return;
        }
    }
}

/* Until the program has ended: others may hold its pipes open longer. -E2BIG: it wrote too much; -ENOMEM: for what it wrote there is no memory. */
static int attend(struct exec_child *child, struct ends *ends, int pidfd)
{
    for (;;) {
        struct pollfd wanted[] = {{pidfd, POLLIN, 0}, {ends->out[0], POLLIN, 0}, {ends->err[0], POLLIN, 0}, {ends->in[1], POLLOUT, 0}};
        if (poll(wanted, 4, -1) < 0)
            continue;
        if (wanted[3].revents)
            feed(child, ends);
        if (wanted[1].revents || wanted[0].revents)
            drain(&ends->out[0], &child->output, 0);
        if (wanted[2].revents || wanted[0].revents)
            drain(&ends->err[0], &child->errors, EXEC_SAID_BYTES);
        if (child->output.count > child->output_max)
            return -E2BIG;
        if (!buf_ok(&child->output) || !buf_ok(&child->errors))
            return -ENOMEM;
        if (wanted[0].revents)
            return 0;
    }
}

static int reap(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static int run(struct exec_child *child, struct ends *ends, struct problem *problem)
{
    char room[PATH_BYTES];
    pid_t pid;
    int error = start(child, ends, find(child->argv[0], room), &pid);
    if (error) {
        problem_set(problem, "The program %.200s cannot be started: %s.", child->argv[0], strerror(error));
        return error == EAGAIN || file_scarce(-error) ? EXEC_AGAIN : -1;
    }
    shut(&ends->in[0]);
    shut(&ends->out[1]);
    shut(&ends->err[1]);
    int pidfd = pidfd_open(pid, 0);
    int rc = pidfd < 0 ? -errno : attend(child, ends, pidfd);
    if (rc)
        kill(pid, SIGKILL);
    child->status = reap(pid);
    shut(&pidfd);
    child_end_all();      /* what it has left running */
    if (!rc)
        return 0;
    if (rc == -E2BIG)
        return problem_set(problem, "The program %.200s wrote more than the %zu bytes that a result may have.", child->argv[0], child->output_max);
    problem_set(problem, "The program %.200s had to be ended: %s.", child->argv[0], strerror(-rc));
    return EXEC_AGAIN;
}

int exec_child_run(struct exec_child *child, struct problem *problem)
{
    struct ends ends;
    buf_init(&child->output, child->output_max + READ_BYTES);
    buf_init(&child->errors, EXEC_SAID_BYTES + READ_BYTES);
    int rc = ends_open(child, &ends);
    if (rc) {
        problem_set(problem, "No pipes for the program %.200s: %s.", child->argv[0], strerror(-rc));
        rc = EXEC_AGAIN;
    } else {
        rc = run(child, &ends, problem);
    }
    ends_close(&ends);
    return rc;
}

void exec_child_done(struct exec_child *child)
{
    buf_done(&child->output);
    buf_done(&child->errors);
}
