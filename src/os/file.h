/* Files that outlive a power cut. "Durable" here means: fsynced, and the directory that names it fsynced too.
 *
 * Thread: any; every function may block on the disk, so the loop calls only what its comment allows.
 * Answers: 0 or a descriptor, < 0 = -errno. */
#pragma once
#include "base/buf.h"

/* Makes a directory and its missing parents (mode 0700), durably. One that is there already is fine. */
int file_make_dir(const char *path);

/* Whether -errno says that the disk is full, or what this user may have of it: a moment later it may not be. Never waits. */
bool file_no_space(int answer);

/* The same of descriptors and memory. */
bool file_scarce(int answer);

/* fsyncs a directory: the names in it are durable. `dir` is a descriptor, `name` a directory in it ("." = itself). */
int file_sync_dir(int dir, const char *name);

/* Writes all of `view`, however many writes that takes. */
int file_write(int fd, struct bytes view);

/* Appends the whole file to `ret`; -EFBIG when it would pass the ceiling of `ret`. Loop: for small local files at start. */
int file_read(const char *path, struct buf *ret);

/* Puts `content` in place of what the file held, or makes it: after a power cut it holds the old or the new, never a mixture. */
int file_replace(const char *path, struct bytes content);

/* Takes the lock that the file stands for, and makes the file when it is missing. The descriptor holds the lock until it is closed or
 * the process ends, in whatever way. -EBUSY: another process, or another descriptor of this one, has it. It waits so long for it:
 * who ends lets go of it last of all. */
int file_lock(const char *path, int64_t patience_us);

/* fstat by a call that takes no path, so that a process which may name no file can make it; -errno. Thread: any, it never waits. */
struct stat;
int file_look(int fd, struct stat *ret);

/* Removes what lies in the directory: files and links, not directories. Goes on after a failure and answers the first one. */
int file_empty_dir(int dir);

/* Bytes that an unprivileged writer may still add on the disk that `fd` lies on; -errno. Loop: allowed, it asks the kernel only. */
int64_t file_space(int fd);
