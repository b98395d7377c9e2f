#include "store/backup.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "os/file.h"
#include "store/sqlite_own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHAS_AT_ONCE = 256, SNAPSHOTS_MAX = 8, PIECE = 1 << 20 };

struct job_of_backup {
    const char *dir, *to;
    char part[4096];           /* where it comes to be */
    int from_dir, part_dir;    /* descriptors; -1 = not open */
    struct backup told;
    struct problem *problem;
};

static int wrong(struct job_of_backup *at, const char *what, int error)
{
    return problem_set(at->problem, "%s could not be written: %s: %s.", at->to, what, strerror(error < 0 ? -error : error));
}

/* ---- files ---- */

static int copy_content(int from, int to)
{
    char *piece MEM_OWNED = NULL;
    ssize_t count;
    while ((count = copy_file_range(from, NULL, to, NULL, 1 << 30, 0)) > 0)
        ;
    if (count == 0)
        return 0;
    if (errno != EXDEV && errno != ENOSYS && errno != EINVAL && errno != EOPNOTSUPP)
        return -errno;
    piece = mem_new(PIECE);
    while ((count = read(from, piece, PIECE)) > 0) {
        int result = file_write(to, (struct bytes){piece, (size_t)count});
        if (result < 0)
            return result;
    }
    return count < 0 ? -errno : 0;
}

/* 0, 1 = it is there already, -ENOENT = there is none to copy, or another -errno. */
static int copy_file(struct job_of_backup *at, const char *name)
{
    struct stat about;
    if (!faccessat(at->part_dir, name, F_OK, 0))
        return 1;
    int from = openat(at->from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0)
        return -errno;
    int to = openat(at->part_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int result = to < 0 ? -errno : copy_content(from, to);
    if (result == 0 && fsync(to))
        result = -errno;
    if (result == 0 && !fstat(to, &about))
        at->told.bytes += about.st_size;
    if (to >= 0)
        close(to);
    close(from);
    return result;
}

static int copy_blob(struct job_of_backup *at, const struct sha *sha)
{
    char hex[SHA_HEX_SIZE], folder[16], name[SHA_HEX_SIZE + 16];
    sha_hex(sha, hex);
    snprintf(folder, sizeof folder, "blobs/%.2s", hex);
    snprintf(name, sizeof name, "%s/%s", folder, hex);
    if (mkdirat(at->part_dir, folder, 0700) && errno != EEXIST)
        return -errno;
    int result = copy_file(at, name);
    at->told.blobs += result == 0;
    return result;
}

/* ---- blobs that a database names ---- */

/* The next of them behind `after`; answers how many, or -1. The statement is done at the end: no snapshot is held while files are copied. */
static int next_shas(sqlite3 *db, struct sha *after, struct sha ret[SHAS_AT_ONCE])
{
    sqlite3_stmt *stmt;
    int count = 0, rc = SQLITE_ROW;
    if (sqlite3_prepare_v2(db, "SELECT DISTINCT sha FROM blob_use WHERE sha>? ORDER BY sha LIMIT ?", -1, &stmt, NULL) != SQLITE_OK)
        return -1;
    sqlite3_bind_blob(stmt, 1, after->at, SHA_SIZE, SQLITE_STATIC);
    sqlite3_bind_int(stmt, 2, SHAS_AT_ONCE);
    while (count < SHAS_AT_ONCE && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct bytes sha = base_bytes(stmt, 0);
        if (sha.count == SHA_SIZE)
            memcpy(ret[count++].at, sha.at, SHA_SIZE);
    }
    sqlite3_finalize(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return -1;
    if (count)
        *after = ret[count - 1];
    return count;
}

static bool is_used(sqlite3 *db, const struct sha *sha)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(db, "SELECT 1 FROM blob_use WHERE sha=? LIMIT 1", -1, &stmt, NULL) != SQLITE_OK)
        return true;
    sqlite3_bind_blob(stmt, 1, sha->at, SHA_SIZE, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    sqlite3_finalize(stmt);
    return rc != SQLITE_DONE;
}

/* Copies what `names` names and is not copied yet. 0; 1 = one of them was forgotten meanwhile, as `source` says (NULL: that does not matter);
 * -1 and a problem. */
static int copy_blobs(struct job_of_backup *at, sqlite3 *names, sqlite3 *source)
{
    struct sha after = {0}, *shas MEM_OWNED = mem_new(SHAS_AT_ONCE * sizeof *shas);
    at->told.lost = 0;
    for (int count; (count = next_shas(names, &after, shas)) != 0;) {
        if (count < 0)
            return problem_set(at->problem, "%s/log.db could not be read: %s.", at->dir, sqlite3_errmsg(names));
        for (int i = 0; i < count; i++) {
            int result = copy_blob(at, &shas[i]);
            if (result < 0 && result != -ENOENT)
                return wrong(at, "a stored file", result);
            if (result == -ENOENT && source && !is_used(source, &shas[i]))
                return 1;
            at->told.lost += result == -ENOENT;
        }
    }
    return 0;
}

/* ---- the log ---- */

static int open_base(struct job_of_backup *at, const char *dir, int flags, sqlite3 **ret)
{
    char *path = sqlite3_mprintf("%s/log.db", dir);
    int rc = sqlite3_open_v2(path, ret, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    sqlite3_free(path);
    if (rc == SQLITE_OK)
        sqlite3_busy_timeout(*ret, BUSY_MS);
    return rc == SQLITE_OK ? 0 : problem_set(at->problem, "%s/log.db could not be opened: %s.", dir, sqlite3_errmsg(*ret));
}

/* All in one step, from one snapshot: a copy in several would begin anew with every commit. */
static int copy_log(struct job_of_backup *at, sqlite3 *source, sqlite3 **ret)
{
    unlinkat(at->part_dir, "log.db", 0);
    if (open_base(at, at->part, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, ret))
        return -1;
    sqlite3_backup *copy = sqlite3_backup_init(*ret, "main", source, "main");
    int rc = copy ? sqlite3_backup_step(copy, -1) : sqlite3_errcode(*ret);
    int end = copy ? sqlite3_backup_finish(copy) : SQLITE_OK;
    if (rc != SQLITE_DONE || end != SQLITE_OK)
        return problem_set(at->problem, "%s/log.db could not be copied to %s: %s.", at->dir, at->to, sqlite3_errstr(rc == SQLITE_DONE ? end : rc));
    at->told.pos = (uint64_t)base_number(*ret, "SELECT max(pos) FROM event", 0);
    at->told.jobs = base_number(*ret, "SELECT count(*) FROM job WHERE state<3", 0);
    return 0;
}

static int copy_all(struct job_of_backup *at, sqlite3 *source)
{
    struct stat about;
    int result = copy_blobs(at, source, NULL), again = 1;
    for (int i = 0; i < SNAPSHOTS_MAX && result == 0 && again; i++) {
        sqlite3 *copy = NULL;
        result = copy_log(at, source, &copy);
        if (result == 0)
            again = copy_blobs(at, copy, source);
        sqlite3_close(copy);
        result = again < 0 ? -1 : result;
    }
    if (result == 0 && again)
        result = problem_set(at->problem, "%s: jobs are forgotten faster than their files can be copied: try again later.", at->dir);
    if (result == 0 && !fstatat(at->part_dir, "log.db", &about, 0))
        at->told.bytes += about.st_size;
    return result;
}

/* ---- the directory ---- */

/* The source is opened by a connection that neither makes a database nor brings one up to another format. */
static int check_source(struct job_of_backup *at, sqlite3 *source)
{
    int64_t format = base_number(source, "PRAGMA user_version", -1);
    if (format < 0)
        return problem_set(at->problem, "%s/log.db could not be read: %s.", at->dir, sqlite3_errmsg(source));
    if (format < 1 || format > base_format())
        return problem_set(at->problem, "%s/log.db has format %lld, and this program copies formats 1 to %d.", at->dir, (long long)format, base_format());
    return 0;
}

static int begin(struct job_of_backup *at)
{
    struct stat about;
    size_t length = strlen(at->to);
    while (length > 1 && at->to[length - 1] == '/')
        length--;
    if (!lstat(at->to, &about) && (!S_ISDIR(about.st_mode) || rmdir(at->to)))
        return problem_set(at->problem, "%s is there already, and a backup takes the place of nothing: name another one.", at->to);
    if (snprintf(at->part, sizeof at->part, "%.*s.part-XXXXXX", (int)length, at->to) >= (int)sizeof at->part)
        return wrong(at, "its name", ENAMETOOLONG);
    if (!mkdtemp(at->part)) {
        at->part[0] = 0;
        return wrong(at, "its directory", errno);
    }
    at->from_dir = open(at->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    at->part_dir = open(at->part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at->from_dir < 0 || at->part_dir < 0 || mkdirat(at->part_dir, "blobs", 0700))
        return wrong(at, "its directory", errno);
    return 0;
}

/* Files are synced as they are copied, the log by SQLite; the names of all of them here. (One syncfs() would make the server wait for the disk.) */
static int sync_folders(struct job_of_backup *at)
{
    char folder[16];
    int result = file_sync_dir(at->part_dir, ".");
    if (result == 0)
        result = file_sync_dir(at->part_dir, "blobs");
    for (unsigned i = 0; i < 256 && result == 0; i++) {
        snprintf(folder, sizeof folder, "blobs/%02x", i & 255);
        if (!faccessat(at->part_dir, folder, F_OK, 0))
            result = file_sync_dir(at->part_dir, folder);
    }
    return result;
}

/* The name is given last, when all under it is on the disk. */
static int end(struct job_of_backup *at)
{
    char above[sizeof at->part];
    int result = copy_file(at, "hook.key");
    if (result < 0 && result != -ENOENT)
        return wrong(at, "hook.key", result);
    if ((result = sync_folders(at)) < 0)
        return wrong(at, "it could not be synced", result);
    if (rename(at->part, at->to))
        return wrong(at, "its name", errno);
    snprintf(above, sizeof above, "%s", at->part);
    char *slash = strrchr(above, '/');
    at->part[0] = 0;
    if (slash)
        slash[slash == above] = 0;
    result = file_sync_dir(AT_FDCWD, slash ? above : ".");
    return result < 0 ? wrong(at, "the directory above it", result) : 0;
}

static void remove_tree(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *entry; list && (entry = readdir(list));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && unlinkat(fd, entry->d_name, 0))
            remove_tree(fd, entry->d_name);
    if (list)
        closedir(list);
    unlinkat(dir, name, AT_REMOVEDIR);
}

int backup_make(const char *dir, const char *to, struct backup *ret, struct problem *problem)
{
    struct job_of_backup at = {.dir = dir, .to = to, .from_dir = -1, .part_dir = -1, .problem = problem};
    sqlite3 *source = NULL;
    int result = open_base(&at, dir, SQLITE_OPEN_READONLY, &source);
    if (result == 0)
        result = check_source(&at, source);
    if (result == 0)
        result = begin(&at);
    if (result == 0)
        result = copy_all(&at, source);
    sqlite3_close(source);
    if (result == 0)
        result = end(&at);
    if (result < 0 && at.part[0])
        remove_tree(AT_FDCWD, at.part);
    if (at.from_dir >= 0)
        close(at.from_dir);
    if (at.part_dir >= 0)
        close(at.part_dir);
    *ret = at.told;
    return result;
}
