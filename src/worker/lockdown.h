/* The lock on a worker: what it gives up for good, in two steps. What a system does not permit is left out, never an error, but it is told:
 * the lock is the second wall behind the first, which is that a worker is a process. Thread: the worker's only one. */
#pragma once
#include <stdbool.h>

/* What holds. */
struct lockdown {
    bool network;      /* it is alone in a network of its own */
    bool files;        /* it can open nothing (landlock) */
    bool calls;        /* it makes only the calls that work is made of (seccomp) */
};

/* Before anything is loaded: no new privileges, no network of any kind but the pair it holds already (where an own network
 * namespace is permitted), no core file, no look into its memory for others of the same user, nice 5.
 *   exec   its stages start programs, which are the user's own and may have the network. It becomes the leader of a process group, that all of them
 *          are in, and adopts those that leave it; its parent's end, or SIGUSR1, ends all of them. */
void lockdown_early(bool exec, struct lockdown *ret);

/* After everything is loaded, before the first task. Memory, CPU, file size, processes and descriptors get their ceilings (limits.h); standard error
 * becomes /dev/null; no file can be opened; calls that no work needs end the process (lockdown_seccomp.c). From here it has its frames, the
 * descriptors that come with a task, memory and the clock. With `exec` nothing: programs would inherit it, and have limits of their own.
 *
 * Under sanitizers, which reserve terabytes, open files and call what they like, neither memory nor files nor calls are limited. */
void lockdown_late(bool exec, struct lockdown *ret);
