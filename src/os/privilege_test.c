#include "os/privilege.h"

#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child: 0, or the number of what was not as it should be. */
static int dropped(const char *dir)
{
    struct problem problem = {0}, other = {0};
    struct stat about;
    if (privilege_give(dir, "nobody", &problem) || stat(dir, &about) || !about.st_uid || (about.st_mode & 077))
        return 1;
    if (privilege_give(dir, "root", &problem) == 0 || !strstr(problem.text, "chown -R root"))
        return 2;
    privilege_shut();
    if (privilege_become("nobody", &other))
        return 3;
    if (!getuid() || !geteuid() || !getgid() || getgroups(0, NULL) > 1 || !setuid(0) || !access("/etc/shadow", R_OK))
        return 4;
    return privilege_is_root() || strcmp(getenv("USER"), "nobody") ? 5 : 0;
}

TEST(root_becomes_somebody_for_good)
{
    char dir[] = "/tmp/rivulet-test-XXXXXX";
    int status = 0;
    CHECK(mkdtemp(dir));
    CHECK_INT(rmdir(dir), 0);
    pid_t pid = privilege_is_root() ? fork() : -1;
    if (!pid)
        _exit(dropped(dir));
    if (pid > 0) {
        CHECK_INT(waitpid(pid, &status, 0), pid);
        CHECK_INT(rmdir(dir), 0);
    }
    CHECK_INT(status, 0);
}

TEST(who_is_not_there_cannot_be_become)
{
    struct problem problem = {0};
    CHECK_INT(privilege_become("no-such-user", &problem), -1);
    CHECK_TEXT(problem.text, "there is no user \"no-such-user\" on this machine (--user)");
}
