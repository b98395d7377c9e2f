/* Preloaded by tools/sanitize.py under valgrind, which does not know pidfd_open before 3.20 and follows nobody into /proc/self/exe: a pipe stands for the
 * descriptor of a child, whose other end a thread holds until the child has ended. All the rest is as it is without. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FDS_MAX = 65536 };
static _Atomic pid_t pids[FDS_MAX];      /* of whom a descriptor is */

struct vigil {
    pid_t pid;
    int fd;
};

static void *keep_vigil(void *data)
{
    struct vigil *vigil = data;
    siginfo_t info;
    while (waitid(P_PID, (id_t)vigil->pid, &info, WEXITED | WNOWAIT) && errno == EINTR)
        ;
    close(vigil->fd);
    free(vigil);
    return NULL;
}

int pidfd_open(pid_t pid, unsigned flags)
{
    int ends[2];
    pthread_t thread;
    struct vigil *vigil = malloc(sizeof *vigil);
    if (!vigil || pipe2(ends, O_CLOEXEC))
        abort();
    *vigil = (struct vigil){pid, ends[1]};
    if (ends[0] >= FDS_MAX || pthread_create(&thread, NULL, keep_vigil, vigil))
        abort();
    pthread_detach(thread);
    pids[ends[0]] = pid;
    return ends[0];
}

int pidfd_send_signal(int fd, int number, siginfo_t *info, unsigned flags)
{
    return kill(pids[fd], number);
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    static __typeof__(waitid) *next;
    if (!next)
        next = (__typeof__(waitid) *)dlsym(RTLD_NEXT, "waitid");
    return type == P_PIDFD ? next(P_PID, (id_t)pids[id], info, options) : next(type, id, info, options);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes, char *const argv[],
                char *const envp[])
{
    static __typeof__(posix_spawn) *next;
    char self[PATH_MAX];
    ssize_t count = strcmp(path, "/proc/self/exe") ? -1 : readlink(path, self, sizeof self - 1);
    if (count > 0)
        self[count] = 0;
    if (!next)
        next = (__typeof__(posix_spawn) *)dlsym(RTLD_NEXT, "posix_spawn");
    return next(pid, count > 0 ? self : path, actions, attributes, argv, envp);
}
