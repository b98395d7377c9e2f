/* Every operation is written down when it has happened, and a sync when it has answered: what is told behind it stands behind it in the journal.
 * An operation that is to fail does nothing (or, on a full disk, half), answers its error, and leaves a note. */
#include "power.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FDS_MAX = 4096 };
static struct { bool used, is_dir; uint32_t id; } fds[FDS_MAX];

/* ---- faults ---- */

/* Lock held. */
static void note_fault(enum fault_kind kind, uint32_t code, const char *name, uint64_t way)
{
    struct op *op = journal_add(OP_FAULT);
    op->id = code;
    op->at = (int64_t)kind;
    snprintf(op->name, sizeof op->name, "%s", name);
    if (kind == FAULT_SYNC)
        journal->failed_sync = code;
    if (!journal->failed_way)
        journal->failed_way = way;
}

/* `name` may be NULL, when the code tells it. Lock held. */
static __attribute__((noinline)) bool fails(enum fault_kind kind, uint32_t code, const char *name)
{
    struct fault *fault = &journal->fault;
    int64_t number = ++journal->seen[kind];
    if (kind == FAULT_SYNC && code == journal->failed_sync)
        journal->retried++;
    bool hit = fault->kind == kind && !fault->way && number >= fault->number && number < fault->number + fault->times;
    bool looks = fault->kind == kind && fault->way, notes = fault->kind == FAULT_NONE;
    if (!hit && !looks && !notes)
        return false;
    name = name ? name : journal_name_of(code);
    uint64_t way = way_here(code, name);
    if (notes)
        ways_add(&journal->ways[kind], way);
    if (looks && way == fault->way) {
        fault->way = 0;
        fault->number = number;
        hit = true;
    }
    if (hit)
        note_fault(kind, code, name, way);
    return hit;
}

/* ---- our own code ---- */

int __real_openat(int dir, const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __real_close(int fd);
ssize_t __real_write(int fd, const void *at, size_t count);
int __real_fsync(int fd);
int __real_mkdirat(int dir, const char *path, mode_t mode);
int __real_mkdir(const char *path, mode_t mode);
int __real_renameat(int from_dir, const char *from, int dir, const char *to);
int __real_rename(const char *from, const char *to);
int __real_unlinkat(int dir, const char *path, int flags);
int __real_unlink(const char *path);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int fd);
ssize_t __wrap_write(int fd, const void *at, size_t count);
int __wrap_fsync(int fd);
int __wrap_mkdirat(int dir, const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_renameat(int from_dir, const char *from, int dir, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __wrap_unlink(const char *path);

struct place {
    bool known;
    uint32_t dir;
    char name[72];
};

/* Lock held. */
static struct place place_of(int fd, const char *path)
{
    struct place place = {0};
    const char *name;
    int64_t dir = fd >= 0 && fd < FDS_MAX && fds[fd].used && fds[fd].is_dir ? (int64_t)fds[fd].id : -1;
    if (journal_find(dir, path, &place.dir, &name)) {
        place.known = true;
        snprintf(place.name, sizeof place.name, "%s", name);
    }
    return place;
}

static void note_name(enum op_kind kind, const struct place *place, uint32_t id)
{
    struct op *op = journal_add(kind);
    op->id = id;
    op->dir = place->dir;
    snprintf(op->name, sizeof op->name, "%s", place->name);
}

/* The file or directory is open under that number. A file that was not there is created. Lock held. */
static void note_open(int fd, const struct place *place, int flags)
{
    if (fd < 0 || fd >= FDS_MAX)
        return;
    fds[fd].used = place->known;
    fds[fd].is_dir = place->known && !strcmp(place->name, ".");
    if (!place->known)
        return;
    if (fds[fd].is_dir) {
        fds[fd].id = place->dir;
        return;
    }
    struct name *found = journal_name(place->dir, place->name);
    if (!found) {
        found = journal_new_name(place->dir, place->name, false);
        note_name(OP_CREATE, place, found->id);
    } else if (flags & O_TRUNC) {
        journal_add(OP_TRUNCATE)->id = found->id;
    }
    fds[fd].id = found->id;
}

static int open_watched(int dir, const char *path, int flags, mode_t mode)
{
    if (!journal_lock())
        return __real_openat(dir, path, flags, mode);
    struct place place = place_of(dir, path);
    bool creates = place.known && (flags & O_CREAT) && !journal_name(place.dir, place.name);
    int fd = -1;
    if (creates && fails(FAULT_CHANGE, 0, place.name))
        errno = journal->fault.error;
    else
        fd = __real_openat(dir, path, flags, mode);
    int error = errno;
    note_open(fd, &place, flags);
    journal_unlock();
    errno = error;
    return fd;
}

int __wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_watched(dir, path, flags, mode);
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_watched(AT_FDCWD, path, flags, mode);
}

/* What they are called where files have sizes of 64 bits. */
int __wrap_open64(const char *path, int flags, ...) __attribute__((alias("__wrap_open")));
int __wrap_openat64(int dir, const char *path, int flags, ...) __attribute__((alias("__wrap_openat")));

int __wrap_close(int fd)
{
    if (!journal_lock())
        return __real_close(fd);
    if (fd >= 0 && fd < FDS_MAX)
        fds[fd].used = false;
    journal_unlock();
    return __real_close(fd);
}

/* Files of our own are written from their beginning to their end. */
static int64_t end_of(uint32_t file)
{
    for (size_t i = journal->ops_count; i-- > 0;) {
        const struct op *op = &journal->ops[i];
        if (op->id == file && op->kind == OP_WRITE)
            return op->at + (int64_t)op->count;
        if (op->id == file && (op->kind == OP_CREATE || op->kind == OP_TRUNCATE))
            return op->at;
    }
    return 0;
}

ssize_t __wrap_write(int fd, const void *at, size_t count)
{
    bool watched = fd >= 0 && fd < FDS_MAX && journal_lock();
    if (!watched || !fds[fd].used || fds[fd].is_dir) {
        if (watched)
            journal_unlock();
        return __real_write(fd, at, count);
    }
    ssize_t wrote = -1;
    if (fails(FAULT_WRITE, code_of(false, fds[fd].id), NULL))
        errno = journal->fault.error;
    else
        wrote = __real_write(fd, at, count);
    int error = errno;
    if (wrote > 0) {
        int64_t end = end_of(fds[fd].id);
        struct op *op = journal_add(OP_WRITE);
        op->id = fds[fd].id;
        op->at = end;
        journal_data(op, at, (size_t)wrote);
    }
    journal_unlock();
    errno = error;
    return wrote;
}

int __wrap_fsync(int fd)
{
    bool watched = fd >= 0 && fd < FDS_MAX && journal_lock();
    if (!watched || !fds[fd].used) {
        if (watched)
            journal_unlock();
        return __real_fsync(fd);
    }
    int answer = 0;
    if (fails(FAULT_SYNC, code_of(fds[fd].is_dir, fds[fd].id), NULL))
        answer = -1;
    else
        journal_add(fds[fd].is_dir ? OP_SYNC_DIR : OP_SYNC)->id = fds[fd].id;
    if (answer)
        errno = journal->fault.error;
    journal_unlock();
    return answer;
}

int __wrap_mkdirat(int dir, const char *path, mode_t mode)
{
    if (!journal_lock())
        return __real_mkdirat(dir, path, mode);
    struct place place = place_of(dir, path);
    int answer = -1;
    if (place.known && fails(FAULT_CHANGE, 0, place.name))
        errno = journal->fault.error;
    else
        answer = __real_mkdirat(dir, path, mode);
    int error = errno;
    if (!answer && place.known)
        note_name(OP_MKDIR, &place, journal_new_name(place.dir, place.name, true)->id);
    journal_unlock();
    errno = error;
    return answer;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return __wrap_mkdirat(AT_FDCWD, path, mode);
}

/* Lock held. */
static void note_rename(const struct place *from, const struct place *to)
{
    struct name *moved = journal_name(from->dir, from->name), *covered = journal_name(to->dir, to->name);
    if (!moved)
        return;
    note_name(OP_RENAME, to, moved->id);
    struct op *op = &journal->ops[journal->ops_count - 1];
    op->from = from->dir;
    memcpy(op->from_name, from->name, sizeof op->from_name);
    if (covered)
        covered->used = false;
    moved->dir = to->dir;
    memcpy(moved->text, to->name, sizeof moved->text);
}

int __wrap_renameat(int from_dir, const char *from, int dir, const char *to)
{
    if (!journal_lock())
        return __real_renameat(from_dir, from, dir, to);
    struct place before = place_of(from_dir, from), after = place_of(dir, to);
    int answer = -1;
    if (before.known && fails(FAULT_CHANGE, 0, before.name))
        errno = journal->fault.error;
    else
        answer = __real_renameat(from_dir, from, dir, to);
    int error = errno;
    if (!answer && before.known && after.known)
        note_rename(&before, &after);
    journal_unlock();
    errno = error;
    return answer;
}

int __wrap_rename(const char *from, const char *to)
{
    return __wrap_renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* Lock held. */
static void note_unlink(const struct place *place)
{
    struct name *gone = place->known ? journal_name(place->dir, place->name) : NULL;
    if (!gone)
        return;
    note_name(OP_UNLINK, place, gone->id);
    gone->used = false;
}

int __wrap_unlinkat(int dir, const char *path, int flags)
{
    if (!journal_lock())
        return __real_unlinkat(dir, path, flags);
    struct place place = place_of(dir, path);
    int answer = -1;
    if (place.known && journal_name(place.dir, place.name) && fails(FAULT_CHANGE, 0, place.name))
        errno = journal->fault.error;
    else
        answer = __real_unlinkat(dir, path, flags);
    int error = errno;
    if (!answer)
        note_unlink(&place);
    journal_unlock();
    errno = error;
    return answer;
}

int __wrap_unlink(const char *path)
{
    return __wrap_unlinkat(AT_FDCWD, path, 0);
}

/* ---- SQLite ---- */

static struct open_file {
    sqlite3_file *file;
    bool known;
    uint32_t id;
    const sqlite3_io_methods *real;
} open_files[64];
static sqlite3_vfs own_vfs;
static int (*real_open)(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags);
static int (*real_delete)(sqlite3_vfs *vfs, const char *name, int sync_dir);
static sqlite3_io_methods patched[2];          /* the database has locks, its other files have none */

static struct open_file *opened(sqlite3_file *file)
{
    for (size_t i = 0; i < sizeof open_files / sizeof *open_files; i++)
        if (open_files[i].file == file)
            return &open_files[i];
    return NULL;
}

static int write_file(sqlite3_file *file, const void *at, int count, sqlite3_int64 offset)
{
    struct open_file *own = opened(file);
    if (!own->known || !journal_lock())
        return own->real->xWrite(file, at, count, offset);
    bool fail = fails(FAULT_WRITE, code_of(false, own->id), NULL), full = fail && journal->fault.error == ENOSPC;
    int rc = fail ? SQLITE_IOERR_WRITE : SQLITE_OK;
    if (full)
        count /= 2;
    if (count && (!fail || full))
        rc = own->real->xWrite(file, at, count, offset);
    if (rc == SQLITE_OK && count) {
        struct op *op = journal_add(OP_WRITE);
        op->id = own->id;
        op->at = offset;
        journal_data(op, at, (size_t)count);
    }
    journal_unlock();
    return full ? SQLITE_FULL : rc;
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size)
{
    struct open_file *own = opened(file);
    if (!own->known || !journal_lock())
        return own->real->xTruncate(file, size);
    int rc = fails(FAULT_CHANGE, code_of(false, own->id), NULL) ? SQLITE_IOERR_TRUNCATE : own->real->xTruncate(file, size);
    if (rc == SQLITE_OK) {
        struct op *op = journal_add(OP_TRUNCATE);
        op->id = own->id;
        op->at = size;
    }
    journal_unlock();
    return rc;
}

/* The real one is called without the lock: it may sync the directory too, which is seen by itself. */
static int sync_file(sqlite3_file *file, int flags)
{
    struct open_file *own = opened(file);
    if (!own->known || !journal_lock())
        return own->real->xSync(file, flags);
    bool fail = fails(FAULT_SYNC, code_of(false, own->id), NULL);
    journal_unlock();
    int rc = fail ? SQLITE_IOERR_FSYNC : own->real->xSync(file, flags);
    if (rc == SQLITE_OK && journal_lock()) {
        journal_add(OP_SYNC)->id = own->id;
        journal_unlock();
    }
    return rc;
}

static int close_file(sqlite3_file *file)
{
    struct open_file *own = opened(file);
    const sqlite3_io_methods *real = own->real;
    own->file = NULL;
    return real->xClose(file);
}

static void patch(sqlite3_file *file, int flags, const struct place *place)
{
    struct open_file *own = opened(NULL);
    sqlite3_io_methods *methods = &patched[!!(flags & SQLITE_OPEN_MAIN_DB)];
    *own = (struct open_file){.file = file, .known = place->known, .real = file->pMethods};
    if (place->known) {
        struct name *found = journal_name(place->dir, place->name);
        if (!found) {
            found = journal_new_name(place->dir, place->name, false);
            note_name(OP_CREATE, place, found->id);
        }
        own->id = found->id;
    }
    *methods = *file->pMethods;
    methods->xWrite = write_file;
    methods->xTruncate = truncate_file;
    methods->xSync = sync_file;
    methods->xClose = close_file;
    file->pMethods = methods;
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    if (!name || !journal_lock())
        return real_open(vfs, name, file, flags, ret_flags);
    struct place place = place_of(-1, name);
    bool creates = place.known && (flags & SQLITE_OPEN_CREATE) && !journal_name(place.dir, place.name);
    int rc = SQLITE_CANTOPEN;
    file->pMethods = NULL;
    if (!creates || !fails(FAULT_CHANGE, 0, place.name))
        rc = real_open(vfs, name, file, flags, ret_flags);
    if (rc == SQLITE_OK && file->pMethods)
        patch(file, flags, &place);
    journal_unlock();
    return rc;
}

static int delete_file(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    if (journal_lock()) {
        struct place place = place_of(-1, name);
        bool fail = place.known && journal_name(place.dir, place.name) && fails(FAULT_CHANGE, 0, place.name);
        if (!fail)
            note_unlink(&place);
        journal_unlock();
        if (fail)
            return SQLITE_IOERR_DELETE;
    }
    return real_delete(vfs, name, sync_dir);
}

/* SQLite opens a directory to sync it, and for nothing else. It goes on whatever that answers, so this is no operation that fails here. */
static int (*real_open_directory)(const char *path, int *ret);
static int open_directory(const char *path, int *ret)
{
    if (journal_lock()) {
        struct place place = place_of(-1, path);
        if (place.known)
            journal_add(OP_SYNC_DIR)->id = place.dir;
        journal_unlock();
    }
    return real_open_directory(path, ret);
}

/* ---- time ---- */

typedef int wal_hook(void *data, sqlite3 *db, const char *name, int pages);
void *__real_sqlite3_wal_hook(sqlite3 *db, wal_hook *hook, void *data);
void *__wrap_sqlite3_wal_hook(sqlite3 *db, wal_hook *hook, void *data);
int __real_clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left);
int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left);

static wal_hook *own_hook;

static int hear_of_more(void *data, sqlite3 *db, const char *name, int pages)
{
    return own_hook(data, db, name, pages * WAL_PAGE_COUNTS);
}

void *__wrap_sqlite3_wal_hook(sqlite3 *db, wal_hook *hook, void *data)
{
    own_hook = hook;
    return __real_sqlite3_wal_hook(db, hook ? hear_of_more : NULL, data);
}

/* Pauses until a moment: between commits, and before another try on a full disk. */
int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    struct timespec now;
    if (flags != TIMER_ABSTIME)
        return __real_clock_nanosleep(clock, flags, until, left);
    clock_gettime(clock, &now);
    int64_t ns = ((until->tv_sec - now.tv_sec) * 1000000000LL + until->tv_nsec - now.tv_nsec) / PAUSE_PART;
    struct timespec part = {ns / 1000000000, ns % 1000000000};
    return ns > 0 ? __real_clock_nanosleep(clock, 0, &part, NULL) : 0;
}

void seam_install(void)
{
    sqlite3_vfs *unix_vfs = sqlite3_vfs_find(NULL);
    real_open_directory = (int (*)(const char *, int *))unix_vfs->xGetSystemCall(unix_vfs, "openDirectory");
    unix_vfs->xSetSystemCall(unix_vfs, "openDirectory", (sqlite3_syscall_ptr)open_directory);
    own_vfs = *unix_vfs;
    own_vfs.zName = "watched";
    real_open = own_vfs.xOpen;
    real_delete = own_vfs.xDelete;
    own_vfs.xOpen = open_file;
    own_vfs.xDelete = delete_file;
    sqlite3_vfs_register(&own_vfs, 1);
}
