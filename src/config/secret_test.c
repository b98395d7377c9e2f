#include "config/secret.h"

#include "base/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "RIVULET_TEST_SECRET"

static char folder[64];

static void begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/rivulet-secret-XXXXXX");
    CHECK(mkdtemp(folder));
    unsetenv(NAME);
    unsetenv(NAME "_FILE");
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
}

static char *put(const char *name, const char *content, size_t count, mode_t mode)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(write(fd, content, count) == (ssize_t)count && !fchmod(fd, mode));
    close(fd);
    return path;
}

static void end(void)
{
    static const char *const names[] = {"own", NAME, ("env_" NAME)};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    CHECK(!rmdir(folder));
    unsetenv("CREDENTIALS_DIRECTORY");
    unsetenv(NAME);
    unsetenv(NAME "_FILE");
}

static const char *refused(void)
{
    static struct problem problem;
    problem = (struct problem){0};
    CHECK_INT(secret_settle(NAME, SECRET_ANY, &problem), -1);
    CHECK(!getenv(NAME));
    return problem.text;
}

TEST(the_environment_goes_before_a_named_file_before_a_credential)
{
    begin();
    CHECK(!secret_settle(NAME, SECRET_ANY, NULL) && !getenv(NAME));
    put("env_" NAME, "third", 5, 0400);
    CHECK(!secret_settle(NAME, SECRET_FILE, NULL) && !getenv(NAME));
    CHECK(!secret_settle(NAME, SECRET_ANY, NULL));
    CHECK_TEXT(getenv(NAME), "third");
    setenv(NAME, "", 1);
    put(NAME, "second\r\n\n", 9, 0440);
    CHECK(!secret_settle(NAME, SECRET_ANY, NULL));
    CHECK_TEXT(getenv(NAME), "second");
    unsetenv(NAME);
    setenv(NAME "_FILE", put("own", "fi\nrst\n", 7, 0600), 1);
    CHECK(!secret_settle(NAME, SECRET_ANY, NULL));
    CHECK_TEXT(getenv(NAME), "fi\nrst");
    setenv(NAME, "set", 1);
    CHECK(!secret_settle(NAME, SECRET_ANY, NULL));
    CHECK_TEXT(getenv(NAME), "set");
    unsetenv(NAME);
    CHECK(!secret_settle(NAME, SECRET_CREDENTIAL, NULL));
    CHECK_TEXT(getenv(NAME), "second");
    end();
}

TEST(a_file_of_a_secret_that_cannot_be_used_is_refused)
{
    static char large[65 * 1024];
    memset(large, 'x', sizeof large);
    begin();
    setenv(NAME "_FILE", put("own", "seen", 4, 0644), 1);
    CHECK(strstr(refused(), "read by everybody"));
    put("own", "", 0, 0602);
    CHECK(strstr(refused(), "written by everybody"));
    put("own", "seen", 4, 0620);
    CHECK(strstr(refused(), "written by its group"));
    if (geteuid())
        put("own", "seen", 4, 0640);
    else
        CHECK(!chown(put("own", "seen", 4, 0640), 1, 1));
    CHECK(strstr(refused(), "read by its group"));
    CHECK(geteuid() || !chown(getenv(NAME "_FILE"), 0, 1));
    if (!geteuid())                                         /* of root, given to a group */
        CHECK(!secret_settle(NAME, SECRET_ANY, NULL) && !unsetenv(NAME));
    put("own", "\n\n", 2, 0600);
    CHECK(strstr(refused(), "is empty"));
    put("own", "a\0b", 3, 0600);
    CHECK(strstr(refused(), "no text"));
    put("own", large, sizeof large, 0600);
    CHECK(strstr(refused(), NAME));
    setenv(NAME "_FILE", folder, 1);
    CHECK(strstr(refused(), "directory"));
    setenv(NAME "_FILE", "/no/such/file", 1);
    CHECK(strstr(refused(), "No such file"));
    end();
}
