/* What a long-lived process gives up of its own. Thread: the only one, at the start. */
#pragma once
#include "base/problem.h"

#include <stdbool.h>

/* No core file, no look into our memory for others of the same user, and files that we make are ours alone (umask 077). Sanitized programs, of which a
 * thread looks at the others, leave the second out. */
void privilege_shut(void);

/* Whether this process is root. */
bool privilege_is_root(void);

/* `dir` is made if it is missing and given to the user; one that is there has to be the user's already. 0, or -1 and a problem. For root. */
int privilege_give(const char *dir, const char *user, struct problem *problem);

/* Become the user for good: groups, group, user, and HOME, USER, LOGNAME of the environment. Nothing to do when we are that user already. 0, or -1
 * and a problem; then nothing may go on. */
int privilege_become(const char *user, struct problem *problem);
