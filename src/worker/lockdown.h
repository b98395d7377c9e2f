/* The lock on a worker: what it gives up for good, in two steps. What a system does not permit is left out, never an error:
 * the lock is the second wall behind the first, which is that a worker is a process. Thread: the worker's only one. */
#pragma once
#include <stdbool.h>

/* Before anything is loaded: no new privileges, no network of any kind but the pair it holds already (where an own network
 * namespace is permitted), no core file, nice 5.
 *   exec   its stages start programs, which are the user's own and may have the network. It becomes the leader of a process group, that all of them
 *          are in, and adopts those that leave it; its parent's end, or SIGUSR1, ends all of them. */
void lockdown_early(bool exec);

/* After everything is loaded, before the first task: memory, CPU, file size and descriptors get their ceilings (limits.h). Memory has
 * none under sanitizers, which reserve terabytes. With `exec` nothing: programs would inherit it, and have limits of their own. */
void lockdown_late(bool exec);
