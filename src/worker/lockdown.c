#include "worker/lockdown.h"

#include "base/limits.h"
#include "base/sanitized.h"
#include "os/child.h"
#include "os/landlock.h"
#include "stage/stage.h"
#include "worker/lockdown_own.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NICENESS = 5 };      /* the loop goes before the work: a health check is answered while every core recognises */

static void ceiling(int resource, rlim_t most)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit))
        return;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > most)
        limit.rlim_max = most;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(resource, &limit);
}

static void end_group(int number)
{
    child_end_all();
    kill(0, SIGKILL);
}

/* The parent's end, or its wish that we end, is told by a signal that can be caught: SIGKILL would end us alone, and a program may have left our group. */
static void lead_group(void)
{
    pid_t parent = getppid();
    setpgid(0, 0);
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, end_group);
    child_adopt();
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
}

void lockdown_early(bool exec, struct lockdown *ret)
{
    *ret = (struct lockdown){0};
    ceiling(RLIMIT_CORE, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (nice(NICENESS) == -1) {
        /* -1 may also be the new niceness; either way there is nothing to do about it. */
    }
    if (exec) {
        lead_group();
        return;
    }
    /* Without privilege an own user namespace brings the right to an own network one; both need a process of one thread. */
    ret->network = !unshare(CLONE_NEWNET) || !unshare(CLONE_NEWUSER | CLONE_NEWNET);
#ifndef SANITIZED
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

#ifndef SANITIZED
static bool close_files(void)
{
    int rules = landlock_open(LANDLOCK_NO_NETWORK | LANDLOCK_NO_SIGNALS);
    bool done = rules >= 0 && !landlock_enter(rules);
    if (rules >= 0)
        close(rules);
    return done;
}

/* Libraries write there what senders of images like; and it may be a file, or the server's terminal. */
static void hush(void)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0 || dup2(nowhere, STDERR_FILENO) < 0)
        close(STDERR_FILENO);
    if (nowhere >= 0)
        close(nowhere);
}
#endif

void lockdown_late(bool exec, struct lockdown *ret)
{
    if (exec)
        return;
    /* A write beyond the file size is then an error that the task reports, not a death. */
    signal(SIGXFSZ, SIG_IGN);
    ceiling(RLIMIT_FSIZE, STAGE_VALUE_MAX);
    ceiling(RLIMIT_NOFILE, LIMIT_WORKER_FILES);
    ceiling(RLIMIT_CPU, LIMIT_WORKER_CPU_S);
#ifndef SANITIZED
    ceiling(RLIMIT_AS, LIMIT_WORKER_MEMORY_BYTES);
    ceiling(RLIMIT_NPROC, 0);
    ceiling(RLIMIT_MEMLOCK, 0);
    hush();
    ret->files = close_files();
    ret->calls = lockdown_calls();
#endif
}
