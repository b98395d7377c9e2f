#include "os/privilege.h"

#include "base/sanitized.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

void privilege_shut(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    umask(077);
#ifndef SANITIZED
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

bool privilege_is_root(void)
{
    return geteuid() == 0;
}

static const struct passwd *find(const char *user, struct problem *problem)
{
    errno = 0;
    const struct passwd *found = getpwnam(user);
    if (!found)
        problem_set(problem, "there is no user \"%.64s\" on this machine (--user)", user);
    return found;
}

int privilege_give(const char *dir, const char *user, struct problem *problem)
{
    struct stat about;
    const struct passwd *found = find(user, problem);
    if (!found)
        return -1;
    if (!mkdir(dir, 0700)) {
        if (!chown(dir, found->pw_uid, found->pw_gid))
            return 0;
        return problem_set(problem, "the data directory \"%s\" cannot be given to %s: %s", dir, user, strerror(errno));
    }
    if (errno != EEXIST || stat(dir, &about))
        return problem_set(problem, "the data directory \"%s\" cannot be made: %s", dir, strerror(errno));
    if (about.st_uid == found->pw_uid)
        return 0;
    return problem_set(problem, "the data directory \"%s\" does not belong to %s: chown -R %s it", dir, user, user);
}

/* All of it, and no way back. */
static int become(const struct passwd *user)
{
    if (initgroups(user->pw_name, user->pw_gid) || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid))
        return -errno;
    if (user->pw_uid && (!setuid(0) || !seteuid(0)))
        return -EPERM;
    return 0;
}

int privilege_become(const char *user, struct problem *problem)
{
    const struct passwd *found = find(user, problem);
    if (!found)
        return -1;
    if (found->pw_uid == geteuid() && found->pw_uid == getuid() && found->pw_uid)
        return 0;
    if (!privilege_is_root())
        return problem_set(problem, "only root can become another user, %s (--user)", user);
    int rc = become(found);
    if (rc)
        return problem_set(problem, "cannot become the user %s: %s", user, strerror(-rc));
    setenv("HOME", found->pw_dir, 1);
    setenv("USER", user, 1);
    setenv("LOGNAME", user, 1);
    return 0;
}
