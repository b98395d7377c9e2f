#include "config/secret.h"

#include "base/limits.h"
#include "os/file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 200, DIRECTORY_MAX_BYTES = 3500 };

bool secret_is_shared(const struct stat *status)
{
    bool own = status->st_uid == geteuid() || !geteuid();
    return status->st_mode & S_IRGRP && status->st_uid && own;
}

/* What is wrong with the file, or NULL. Pipes have no mode that says anything: whoever holds one may read it. `given`: a credential,
 * whose group bits may be the mask of an access list. */
static const char *wrong_mode(const struct stat *status, bool given)
{
    if (S_ISDIR(status->st_mode))
        return "is a directory";
    if (S_ISREG(status->st_mode) && status->st_mode & S_IWOTH)
        return "may be written by everybody on this machine: chmod 600 it";
    if (S_ISREG(status->st_mode) && status->st_mode & S_IROTH)
        return "may be read by everybody on this machine: chmod 600 it";
    if (S_ISREG(status->st_mode) && status->st_mode & S_IWGRP)
        return "may be written by its group: chmod 600 it";
    if (S_ISREG(status->st_mode) && !given && secret_is_shared(status))
        return "may be read by its group, though it is the file of an ordinary user: chmod 600 it";
    return NULL;
}

static int put_text(const char *name, const char *path, struct buf *text, struct problem *problem)
{
    size_t count = text->count;
    while (count && (text->at[count - 1] == '\n' || text->at[count - 1] == '\r'))
        count--;
    if (!count || memchr(text->at, 0, count))
        return problem_set(problem, "the file \"%.300s\", which should hold %s, %s", path, name, count ? "holds bytes that are no text" : "is empty");
    buf_byte(text, 0);
    if (!buf_ok(text))
        return problem_set(problem, "the file \"%.300s\", which should hold %s, is longer than %d bytes", path, name, LIMIT_SECRET_BYTES);
    text->at[count] = 0;
    return setenv(name, text->at, 1) ? problem_set(problem, "%s does not fit into the environment", name) : 0;
}

static int take(const char *name, const char *path, bool given, struct problem *problem)
{
    struct buf text BUF_OWNED;
    struct stat status;
    buf_init(&text, LIMIT_SECRET_BYTES);
    int failed = stat(path, &status) ? -errno : 0;
    const char *wrong = failed ? NULL : wrong_mode(&status, given);
    if (wrong)
        return problem_set(problem, "the file \"%.300s\", which should hold %s, %s", path, name, wrong);
    failed = failed ? failed : file_read(path, &text);
    int answer = failed ? problem_set(problem, "the file \"%.300s\", which should hold %s, cannot be read: %s", path, name, strerror(-failed))
                        : put_text(name, path, &text, problem);
    if (text.at)
        explicit_bzero(text.at, text.count);
    return answer;
}

/* The path of the credential, if the manager has one of that name. */
static bool find_credential(const char *name, char ret[PATH_MAX])
{
    static const char *const folders[] = {"", "env_"};
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    struct stat status;
    if (!directory || directory[0] != '/' || strlen(directory) > DIRECTORY_MAX_BYTES || strchr(name, '/'))
        return false;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(ret, PATH_MAX, "%s/%s%s", directory, folders[i], name);
        if (!stat(ret, &status))
            return true;
    }
    return false;
}

int secret_settle(const char *name, int ways, struct problem *problem)
{
    char of_file[NAME_MAX_BYTES + 8], path[PATH_MAX];
    const char *set = getenv(name);
    if ((set && set[0]) || strlen(name) > NAME_MAX_BYTES)
        return 0;
    snprintf(of_file, sizeof of_file, "%s_FILE", name);
    const char *named = ways & SECRET_FILE ? getenv(of_file) : NULL;
    if (named && named[0])
        return take(name, named, false, problem);
    return ways & SECRET_CREDENTIAL && find_credential(name, path) ? take(name, path, true, problem) : 0;
}
