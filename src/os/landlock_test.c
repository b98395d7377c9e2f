#include "os/landlock.h"

#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int may_open(const char *folder, const char *name, int flags)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? errno : 0;
}

static void make(const char *folder, const char *name)
{
    CHECK_INT(may_open(folder, name, O_WRONLY | O_CREAT), 0);
}

/* In a child, because there is no way back. Its exit status is the number of the first thing that was not as it should be. */
static int locked_in(const char *read, const char *write, const char *other)
{
    int rules = landlock_open(LANDLOCK_NO_NETWORK | LANDLOCK_NO_SIGNALS);
    if (rules < 0 || landlock_allow(rules, read, LANDLOCK_MAY_READ) || landlock_allow(rules, write, LANDLOCK_MAY_READ | LANDLOCK_MAY_WRITE))
        return 1;
    if (landlock_allow(rules, "/no/such/place", LANDLOCK_MAY_READ) != -ENOENT || may_open(other, "file", O_RDONLY))
        return 2;
    if (landlock_enter(rules))
        return 3;
    if (may_open(other, "file", O_RDONLY) != EACCES || may_open(other, "new", O_WRONLY | O_CREAT) != EACCES)
        return 4;
    if (may_open(read, "file", O_RDONLY) || may_open(read, "file", O_WRONLY) != EACCES || may_open(read, "new", O_WRONLY | O_CREAT) != EACCES)
        return 5;
    if (may_open(write, "file", O_RDWR) || may_open(write, "new", O_WRONLY | O_CREAT))
        return 6;
    return landlock_level() >= 6 && (!kill(getppid(), 0) || errno != EPERM) ? 7 : 0;
}

TEST(only_what_is_allowed_can_be_opened)
{
    char top[] = "/tmp/rivulet-test-XXXXXX", folders[3][64];
    int status = 0;
    CHECK(mkdtemp(top));
    for (int i = 0; i < 3; i++) {
        snprintf(folders[i], sizeof folders[i], "%s/%d", top, i);
        CHECK_INT(mkdir(folders[i], 0700), 0);
        make(folders[i], "file");
    }
    pid_t pid = landlock_level() ? fork() : -1;
    if (!pid)
        _exit(locked_in(folders[0], folders[1], folders[2]));
    if (pid > 0)
        CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(unlinkat(AT_FDCWD, folders[i], AT_REMOVEDIR) && errno == ENOTEMPTY, 1);
        char path[200];
        snprintf(path, sizeof path, "%s/file", folders[i]);
        unlink(path);
        snprintf(path, sizeof path, "%s/new", folders[i]);
        unlink(path);
        CHECK_INT(rmdir(folders[i]), 0);
    }
    CHECK_INT(rmdir(top), 0);
}

TEST(no_rules_where_there_is_no_landlock)
{
    int rules = landlock_open(0);
    CHECK((rules >= 0) == (landlock_level() > 0));
    if (rules >= 0)
        close(rules);
}
