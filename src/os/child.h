/* Children: starting, killing and reaping processes of our own, without a SIGCHLD handler and without touching anybody
 * else's children. A child is held by its pidfd, which becomes readable when it has ended: a loop can watch it. */
#pragma once
#include "base/problem.h"

#include <sys/types.h>

struct child {
    pid_t pid;          /* 0 = none; valid until child_reap has answered */
    int pidfd;          /* -1 = none */
};
#define CHILD_NONE ((struct child){.pidfd = -1})

enum { CHILD_SOCKET = 3 };      /* the number under which the child finds its end of the pair */

/* Start `path` with the argument list `argv` (NULL-terminated). The child gets exactly: /dev/null as standard input and output, our
 * standard error, `socket` as descriptor CHILD_SOCKET, and a fixed environment (ORT_DISABLE_TELEMETRY=1, OMP_THREAD_LIMIT=1,
 * LC_ALL=C.UTF-8; under sanitizers their options too). SIGINT, SIGTERM and SIGHUP are blocked in it: a Ctrl-C or a service manager's
 * stop goes to the parent, which decides what its children finish.
 *
 * Blocks for about a millisecond: call it from a pool thread. The thread must live as long as the process: the death signal that
 * child_tie asks for comes when the *thread* that started the child ends. 0, or -errno and a problem. */
int child_start(const char *path, char *const argv[], int socket, struct child *ret, struct problem *problem);

/* In the child, first thing: die when the parent dies, now and later. If it is dead already this ends the process. `socket` is the
 * child's end of a pair that the parent made. */
void child_tie(int socket);

void child_kill(const struct child *child);                   /* SIGKILL; harmless when it has ended */

/* In a process of which all children are to end: asks for those that lose their parent to become ours (a subreaper), however they have left their group or
 * session. */
void child_adopt(void);
/* Kills and reaps all children and what they started, when child_adopt has been called; else nothing. For the thread that starts them; also within a signal
 * handler. What multiplies faster than it can be killed is given up after a while. */
void child_end_all(void);

/* Take note of the child's end: 0 and its wait status (as from waitpid; -1 when somebody else took it), the child is CHILD_NONE and
 * the pidfd closed; 1 when it still runs and `wait` is false. */
int child_reap(struct child *child, bool wait, int *ret_status);

/* "by signal SIGSEGV", "with exit status 3", "in an unknown way": the end of a sentence that begins "The worker ended". */
void child_status_text(int status, char *ret, size_t room);
