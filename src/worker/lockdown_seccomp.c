/* The calls that a worker still needs, and no others. Written with libseccomp, which knows their numbers on each machine.
 *
 * Three answers. What its work is made of is allowed, with its arguments looked at where that says something: memory that can
 * be run, another socket than its own, another process. What libraries try, and live without, gets EACCES: files, mostly. Everything else
 * ends the process: nobody honest asks for it, and the server sees an end by SIGSYS. */
#include "worker/lockdown_own.h"

#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

static const int allowed[] = {
    SCMP_SYS(close), SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(write), SCMP_SYS(writev),
    SCMP_SYS(pwrite64), SCMP_SYS(lseek), SCMP_SYS(fstat),                                                     /* what it has open */
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),                                     /* memory */
    SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(exit),        /* the watchdog's thread */
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(restart_syscall), SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getrusage), SCMP_SYS(sysinfo),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(exit_group),           /* abort, and the end */
};

/* A time zone, a locale, the number of cores, whether a file is a terminal: without them libraries go on. */
static const int refused[] = {
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getcwd), SCMP_SYS(ioctl), SCMP_SYS(fcntl),
    SCMP_SYS(uname), SCMP_SYS(prctl), SCMP_SYS(prlimit64), SCMP_SYS(getrlimit), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
    SCMP_SYS(socket), SCMP_SYS(sched_setaffinity), SCMP_SYS(set_mempolicy), SCMP_SYS(get_mempolicy), SCMP_SYS(clone3),
};

/* A call that a machine does not have is none of our business: -EDOM. */
static int add(scmp_filter_ctx filter, uint32_t answer, int call)
{
    int rc = seccomp_rule_add(filter, answer, call, 0);
    return rc == -EDOM ? 0 : rc;
}

static int add_where(scmp_filter_ctx filter, int call, struct scmp_arg_cmp first, struct scmp_arg_cmp second, unsigned count)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, count, first, second);
}

static int add_some(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp none = {0}, pair = SCMP_A0(SCMP_CMP_EQ, CHILD_SOCKET);
    int rc = add_where(filter, SCMP_SYS(recvmsg), pair, none, 1);
    if (!rc)
        rc = add_where(filter, SCMP_SYS(sendmsg), pair, none, 1);
    /* Nothing that was written may be run. */
    if (!rc)
        rc = add_where(filter, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0), none, 1);
    if (!rc)
        rc = add_where(filter, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0), none, 1);
    /* A signal to itself, which is how abort ends. */
    if (!rc)
        rc = add_where(filter, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()), none, 1);
    return rc;
}

static int add_all(scmp_filter_ctx filter)
{
    int rc = add_some(filter);
    for (size_t i = 0; !rc && i < sizeof allowed / sizeof *allowed; i++)
        rc = add(filter, SCMP_ACT_ALLOW, allowed[i]);
    for (size_t i = 0; !rc && i < sizeof refused / sizeof *refused; i++)
        rc = add(filter, SCMP_ACT_ERRNO(refused[i] == SCMP_SYS(clone3) ? ENOSYS : EACCES), refused[i]);
    return rc;
}

bool lockdown_calls(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return false;
    /* All threads, not only this one; and calls by another machine's numbers (32 bits) are ends too. */
    bool done = !seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) && !seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) &&
                !add_all(filter) && !seccomp_load(filter);
    seccomp_release(filter);
    return done;
}
