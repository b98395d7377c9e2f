#include "os/file.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOCK_LOOK_US = 5000 };      /* between two tries for a lock */

int file_sync_dir(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = fsync(fd) ? -errno : 0;
    close(fd);
    return result;
}

/* The directory that holds `path`, as an owned text. */
static char *parent_of(const char *path)
{
    size_t count = strlen(path);
    while (count > 1 && path[count - 1] == '/')
        count--;
    while (count && path[count - 1] != '/')
        count--;
    while (count > 1 && path[count - 1] == '/')
        count--;
    return count ? mem_copy(path, count) : mem_text(".");
}

static int make_one(const char *path)
{
    if (mkdir(path, 0700))
        return -errno;
    MEM_OWNED char *parent = parent_of(path);
    return file_sync_dir(AT_FDCWD, parent);
}

int file_make_dir(const char *path)
{
    struct stat about;
    if (!stat(path, &about))
        return S_ISDIR(about.st_mode) ? 0 : -ENOTDIR;
    int result = make_one(path);
    if (result == -ENOENT) {
        MEM_OWNED char *parent = parent_of(path);
        result = strcmp(parent, path) ? file_make_dir(parent) : -ENOENT;
        if (result == 0)
            result = make_one(path);
    }
    return result == -EEXIST ? 0 : result;
}

bool file_no_space(int answer)
{
    return answer == -ENOSPC || answer == -EDQUOT;
}

bool file_scarce(int answer)
{
    return answer == -EMFILE || answer == -ENFILE || answer == -ENOMEM;
}

int file_write(int fd, struct bytes view)
{
    while (view.count) {
        ssize_t wrote = write(fd, view.at, view.count);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return -errno;
        view.at += wrote;
        view.count -= (size_t)wrote;
    }
    return 0;
}

int file_read(const char *path, struct buf *ret)
{
    int result = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (;;) {
        char piece[16384];
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            result = got ? -errno : 0;
            break;
        }
        if (!buf_add(ret, piece, (size_t)got)) {
            result = -EFBIG;
            break;
        }
    }
    close(fd);
    return result;
}

static int write_and_sync(const char *path, struct bytes content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int result = file_write(fd, content);
    if (result == 0 && fsync(fd))
        result = -errno;
    if (close(fd) && result == 0)
        result = -errno;
    return result;
}

int file_replace(const char *path, struct bytes content)
{
    struct buf fresh BUF_OWNED;
    buf_init(&fresh, 4096);
    buf_print(&fresh, "%s.new", path);
    const char *name = buf_z(&fresh);
    if (!buf_ok(&fresh))
        return -ENAMETOOLONG;
    int result = write_and_sync(name, content);
    if (result == 0 && rename(name, path))
        result = -errno;
    if (result < 0) {
        unlink(name);
        return result;
    }
    MEM_OWNED char *parent = parent_of(path);
    return file_sync_dir(AT_FDCWD, parent);
}

int file_lock(const char *path, int64_t patience_us)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), error = 0;
    if (fd < 0)
        return -errno;
    for (int64_t waited_us = 0;; waited_us += LOCK_LOOK_US) {
        if (!flock(fd, LOCK_EX | LOCK_NB))
            return fd;
        error = errno;
        if (error != EWOULDBLOCK || waited_us >= patience_us)
            break;
        usleep(LOCK_LOOK_US);
    }
    close(fd);
    return error == EWOULDBLOCK ? -EBUSY : -error;
}

int file_empty_dir(int dir)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (!list) {
        result = -errno;
        if (copy >= 0)
            close(copy);
        return result;
    }
    for (struct dirent *entry; (entry = readdir(list));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (unlinkat(dir, entry->d_name, 0) && errno != EISDIR && errno != EPERM && result == 0)
            result = -errno;
    }
    closedir(list);
    return result;
}

int64_t file_space(int fd)
{
    struct statvfs about;
    if (fstatvfs(fd, &about))
        return -errno;
    return (int64_t)about.f_bavail * (int64_t)about.f_frsize;
}

int file_look(int fd, struct stat *ret)
{
#if defined(__x86_64__) || defined(__aarch64__)
    return syscall(SYS_fstat, fd, ret) ? -errno : 0;      /* the kernel's structure is the library's */
#else
    return fstat(fd, ret) ? -errno : 0;
#endif
}
