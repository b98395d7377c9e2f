/* What programs of the user's may see and write: all that the server's user may read, but for what is hidden; and to write only a scratch folder, the
 * folder that the stage names, and devices such as /dev/null. Kept by landlock (os/landlock.h): where the kernel has none there are no such rules, and
 * the scratch folder is all there is. Thread: one at a time. */
#pragma once
#include "base/problem.h"

struct jail;

/* `scratch`: a folder for programs of all workers, or NULL: no scratch folder and no rules, as in unit tests. `hidden`: up to two paths that
 * programs must not see (NULL = none). What workers left that are no more is removed. 0, or -1 and a problem. */
int jail_open(const char *scratch, const char *const hidden[2], struct jail **ret, struct problem *problem);
void jail_close(struct jail *jail);

/* The scratch folder of all programs, NULL = there is none. Borrowed; jail_rules sees to it that it is there. */
const char *jail_scratch(const struct jail *jail);
/* Before each program: its folder, and *ret_rules for landlock_enter when it runs in `cwd` (NULL = ours, which it only reads), borrowed until the next call; -1:
 * the kernel has none. 0, or -errno: for now they cannot be had whole, so no program may start. */
int jail_rules(struct jail *jail, const char *cwd, int *ret_rules);
/* The program has ended: what it left in its scratch folder is removed. */
void jail_clean(struct jail *jail);
