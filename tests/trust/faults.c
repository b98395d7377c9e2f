/* A preloaded library that makes the system fail where a test wants it: of the calls of some classes it counts each, and those from the
 * first to the last number wanted fail with an error of choice, or do a part of what was asked (a short read or write).
 *
 * Control is a small file that RIVULET_FAULTS names, shared between the process and the test that watches it (tests/trust/injection.py
 * has the same layout). Only one process counts: the one that was started with the variable, never a fork of it. With `children` set,
 * those that it starts by posix_spawn are given the library, and they count instead: the test of a worker. They map the control before their
 * sandbox closes, and what is done for a call here makes no call of the system that a sandbox would take amiss.
 *
 * A call is also known by its path: the class and the `depth` innermost return addresses, each relative to its object, so that neither
 * the order of threads nor where the loader puts things changes it. With `record` set the paths of all calls of the mask are listed with
 * their counts; with `path` set only calls of that path are numbered. The depth is bounded because recursion (values within values) and the
 * loops around each callback would make endlessly many paths of what is the same code; a dozen or so frames tell who asked, and for what.
 *
 * What the C library does within itself (fopen's open, say) does not pass here. */
#undef _FORTIFY_SOURCE
#undef _FILE_OFFSET_BITS      /* else open would be another name of open64 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* One bit of the mask each; the test knows them by their number. */
enum class { ALLOC, WRITE_FILE, WRITE_SOCKET, READ_FILE, READ_SOCKET, SYNC, OPEN, NAME, START, MAP, STAT, WAIT, WRITE_OTHER, READ_OTHER, ACCEPT, WATCH, CLASSES };

/* A path that calls came by. */
struct path {
    _Atomic uint64_t hash, count;
    uint32_t class, low;                  /* low: the last bits of where its innermost frame returns to, the same wherever the object lies */
};
#define ANY_LISTED UINT64_MAX
enum { PATHS_MAX = 1 << 14, DEPTH_MAX = 60, LOW_BITS = 0xfff };

struct control {
    _Atomic uint32_t armed;
    uint32_t mask, error, piece;          /* piece: 1 = do a part instead of failing, 2 = the first does a part and the others fail */
    uint64_t first, last;                 /* numbers of calls that fail; the first call is 1 */
    _Atomic uint64_t seen, failed;        /* calls of the mask, and those that failed, since it was armed */
    uint32_t children, pid;               /* pid: who counts */
    _Atomic uint64_t counts[16];          /* of each class */
    _Atomic int64_t skew_s;               /* the wall clock is so far ahead, armed or not */
    uint64_t least;                       /* allocations, and writes to files, below so many bytes are left alone */
    uint64_t path;                        /* other than 0: only calls of this path are numbered; ANY_LISTED: of those in `paths` */
    uint32_t low, depth, record;
    _Atomic uint32_t unlisted;            /* calls whose paths found no room */
    _Atomic uint64_t hit;                 /* the path of the first call that failed, where `path` is set */
    char spot[4096];                      /* where the first failure was: lines `object+offset` */
    struct path paths[PATHS_MAX];         /* by their hash, in the next free place */
};

static struct control none, *control = &none;
static _Atomic int counting;
static bool is_child;                     /* a process that was started by the one under test */
static dev_t memory;                      /* where files of memfd_create lie: no disk, so none that is full */
static __thread int inside __attribute__((tls_model("initial-exec")));

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static void note_spot(const char *name)
{
    void *frames[40];
    int count = backtrace(frames, 40);
    size_t used = (size_t)snprintf(control->spot, sizeof control->spot, "%s\n", name);
    for (int i = 2; i < count && used < sizeof control->spot - 200; i++) {
        Dl_info info = {0};
        if (!dladdr(frames[i], &info) || !info.dli_fname)
            continue;
        const char *file = strrchr(info.dli_fname, '/');
        used += (size_t)snprintf(control->spot + used, sizeof control->spot - used, "%.60s+0x%zx %.60s\n", file ? file + 1 : info.dli_fname,
                                 (size_t)((char *)frames[i] - (char *)info.dli_fbase) - 1, info.dli_sname ? info.dli_sname : "");
    }
}

static uint64_t mixed(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

/* Takes no lock and no memory: both may be what fails. */
static uint64_t mixed_frame(uint64_t hash, void *frame, bool *ours)
{
    struct dl_find_object in = {0};
    if (_dl_find_object(frame, &in) != 0)
        return mixed(hash, (uintptr_t)frame & LOW_BITS);
    *ours = (char *)in.dlfo_map_start <= (char *)&none && (char *)&none < (char *)in.dlfo_map_end;
    const char *name = in.dlfo_link_map->l_name, *base = name ? strrchr(name, '/') : NULL;
    for (base = base ? base + 1 : name ? name : ""; *base; base++)
        hash = mixed(hash, (unsigned char)*base);
    return mixed(hash, (uint64_t)((char *)frame - (char *)in.dlfo_map_start));
}

static uint64_t path_of(enum class class)
{
    void *frames[DEPTH_MAX];
    uint64_t hash = class + 1U;
    uint32_t taken = 0;
    int count = backtrace(frames, DEPTH_MAX);
    for (int i = 0; i < count && taken < control->depth; i++) {
        bool ours = false;
        uint64_t more = mixed_frame(hash, frames[i], &ours);
        if (!ours) {      /* what is below stands in this library */
            hash = more;
            taken++;
        }
    }
    return hash ? hash : 1;
}

/* The place of a path, taken for it if it has none and `takes`; NULL when there is none. */
static struct path *place_of(uint64_t hash, bool takes)
{
    for (uint32_t i = 0; i < PATHS_MAX; i++) {
        struct path *path = &control->paths[(hash + i) % PATHS_MAX];
        uint64_t there = path->hash;
        if (!there && takes && atomic_compare_exchange_strong(&path->hash, &there, hash))
            return path;
        if (there == hash)
            return path;
        if (!there)
            return NULL;
    }
    return NULL;
}

static void list_path(enum class class, uint32_t low)
{
    struct path *path = place_of(path_of(class), true);
    if (path) {
        path->class = class;
        path->low = low;
        path->count++;
    } else {
        control->unlisted++;
    }
}

/* Whether the call is one of the path that is wanted. The low bits spare most calls the look at their frames. */
static bool on_the_path(enum class class, uint32_t low)
{
    uint64_t wanted = control->path;
    if (!wanted)
        return true;
    if (control->seen >= control->last || (wanted != ANY_LISTED && control->low != low))
        return false;
    uint64_t hash = path_of(class), none_yet = 0;
    if (wanted == ANY_LISTED ? !place_of(hash, false) : hash != wanted)
        return false;
    atomic_compare_exchange_strong(&control->hit, &none_yet, hash);
    return true;
}

/* Whether this call is one that is to fail. `caller` is where the hook returns to. */
static bool fails_at(enum class class, const char *name, void *caller)
{
    if (!counting || inside || !control->armed)
        return false;
    control->counts[class]++;
    if (!(control->mask & 1U << class))
        return false;
    int before = errno;
    uint32_t low = (uintptr_t)caller & LOW_BITS;
    bool wanted = false;
    inside++;
    if (control->record)
        list_path(class, low);
    if (on_the_path(class, low)) {
        uint64_t number = ++control->seen;
        wanted = number >= control->first && number <= control->last;
        if (wanted && control->failed++ == 0)
            note_spot(name);
    }
    inside--;
    errno = before;
    return wanted;
}

/* For hooks, and what is always inlined into them. */
#define fails(class, name) fails_at(class, name, __builtin_return_address(0))
#define IN_ITS_HOOK static inline __attribute__((always_inline))

static int fail(void)
{
    errno = (int)control->error;
    return -1;
}

static void forked(void)
{
    counting = 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("RIVULET_FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return;
    void *frames[4];
    backtrace(frames, 4);      /* loads what it needs now, and not where memory is said to be gone */
    pthread_atfork(NULL, NULL, forked);
    struct stat about;
    if ((fd = memfd_create("faults", MFD_CLOEXEC)) >= 0 && fstat(fd, &about) == 0)
        memory = about.st_dev;
    close(fd);
    control = at;
    is_child = getenv("RIVULET_FAULTS_CHILD") != NULL;
    if (is_child)
        unsetenv("LD_PRELOAD");
    counting = is_child || !control->children;
    if (counting)
        control->pid = (uint32_t)getpid();
}

/* The next one of that name. It is looked up once; the look-up itself is not counted. */
#define NEXT(name) ({ static __typeof__(&name) next; if (!next) { inside++; next = (__typeof__(&name))dlsym(RTLD_NEXT, #name); inside--; } next; })
#define PLAIN(class, type, name, declared, given) \
    type name declared { return fails(class, #name) ? fail() : NEXT(name) given; }

/* ---- memory ---- */

static void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

IN_ITS_HOOK bool none_left(size_t size, const char *name)
{
    return size >= control->least && fails(ALLOC, name);
}

void *malloc(size_t size) { return none_left(size, "malloc") ? out_of_memory() : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return none_left(count * size, "calloc") ? out_of_memory() : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return none_left(size, "realloc") ? out_of_memory() : __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) { return none_left(size, "memalign") ? out_of_memory() : __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { return none_left(size, "aligned_alloc") ? out_of_memory() : __libc_memalign(alignment, size); }
int posix_memalign(void **ret, size_t alignment, size_t size)
{
    if (none_left(size, "posix_memalign"))
        return ENOMEM;
    *ret = __libc_memalign(alignment, size);
    return *ret ? 0 : ENOMEM;
}

/* ---- bytes ---- */

enum kind { A_FILE, A_MEMORY_FILE, A_SOCKET, A_MESSAGE_SOCKET, ANOTHER };

/* A worker has no other socket than its end of the pair, and may ask no more than what a descriptor is, by that one call. Its files in memory are what its
 * results go to, so theirs is the disk that is full. */
static enum kind kind_of(int fd)
{
    struct stat about = {0};
    int before = errno, type = 0;
    socklen_t room = sizeof type;
    enum kind kind = ANOTHER;
    if (syscall(SYS_fstat, fd, &about) == 0 && S_ISREG(about.st_mode))
        kind = about.st_dev == memory && control->error == ENOSPC && !is_child ? A_MEMORY_FILE : A_FILE;
    else if (S_ISSOCK(about.st_mode))
        kind = !is_child && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &room) == 0 && type == SOCK_STREAM ? A_SOCKET : A_MESSAGE_SOCKET;
    errno = before;
    return kind;
}

/* 1 = the call fails, 2 = it does a part. A message is never cut, and nothing of one byte. */
IN_ITS_HOOK int bytes_fail(int fd, bool writes, const char *name, size_t count)
{
    if (!counting || inside || !control->armed)
        return 0;
    enum kind kind = kind_of(fd);
    if (kind == A_MEMORY_FILE || (kind == A_FILE && writes && count < control->least))
        return 0;
    enum class class = kind == A_FILE ? (writes ? WRITE_FILE : READ_FILE) : kind == ANOTHER ? (writes ? WRITE_OTHER : READ_OTHER) : writes ? WRITE_SOCKET : READ_SOCKET;
    if (!fails(class, name))
        return 0;
    if (!control->piece || (control->piece == 2 && control->failed > 1))
        return 1;
    return count > 1 && (kind == A_FILE || kind == A_SOCKET) ? 2 : 0;
}

static size_t piece_of(size_t count)
{
    return count > 2 ? count / 3 : 1;
}

#define BYTES(name, writes, pointer, more_declared, more_given) \
    ssize_t name(int fd, pointer at, size_t count more_declared) \
    { \
        int how = bytes_fail(fd, writes, #name, count); \
        return how == 1 ? fail() : NEXT(name)(fd, at, how == 2 ? piece_of(count) : count more_given); \
    }
#define COMMA ,
BYTES(write, true, const void *, , )
BYTES(read, false, void *, , )
BYTES(pwrite, true, const void *, COMMA off_t offset, COMMA offset)
BYTES(pread, false, void *, COMMA off_t offset, COMMA offset)
BYTES(pwrite64, true, const void *, COMMA off64_t offset, COMMA offset)
BYTES(pread64, false, void *, COMMA off64_t offset, COMMA offset)
BYTES(send, true, const void *, COMMA int flags, COMMA flags)
BYTES(recv, false, void *, COMMA int flags, COMMA flags)

/* Vectors: a part of one is a part of its first piece. */
#define VECTORS(name, writes) \
    ssize_t name(int fd, const struct iovec *pieces, int count) \
    { \
        struct iovec first = count > 0 ? pieces[0] : (struct iovec){0}; \
        int how = bytes_fail(fd, writes, #name, first.iov_len); \
        first.iov_len = piece_of(first.iov_len); \
        return how == 1 ? fail() : how == 2 ? NEXT(name)(fd, &first, 1) : NEXT(name)(fd, pieces, count); \
    }
VECTORS(writev, true)
VECTORS(readv, false)

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec first = message->msg_iovlen ? message->msg_iov[0] : (struct iovec){0};
    struct msghdr part = *message;
    int how = bytes_fail(fd, true, "sendmsg", first.iov_len);
    first.iov_len = piece_of(first.iov_len);
    part.msg_iov = &first;
    part.msg_iovlen = 1;
    return how == 1 ? fail() : NEXT(sendmsg)(fd, how == 2 ? &part : message, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return bytes_fail(fd, false, "recvmsg", 0) == 1 ? fail() : NEXT(recvmsg)(fd, message, flags);
}

ssize_t __read_chk(int fd, void *at, size_t count, size_t room);
ssize_t __recv_chk(int fd, void *at, size_t count, size_t room, int flags);
ssize_t __pread64_chk(int fd, void *at, size_t count, off64_t offset, size_t room);
ssize_t __read_chk(int fd, void *at, size_t count, size_t room) { return count > room ? fail() : read(fd, at, count); }
ssize_t __recv_chk(int fd, void *at, size_t count, size_t room, int flags) { return count > room ? fail() : recv(fd, at, count, flags); }
ssize_t __pread64_chk(int fd, void *at, size_t count, off64_t offset, size_t room) { return count > room ? fail() : pread64(fd, at, count, offset); }

/* ---- the rest ---- */

static bool is_folder(int fd)
{
    struct stat about;
    return NEXT(fstat)(fd, &about) == 0 && S_ISDIR(about.st_mode);
}

int fsync(int fd) { return fails(SYNC, is_folder(fd) ? "fsync of a folder" : "fsync") ? fail() : NEXT(fsync)(fd); }
int fdatasync(int fd) { return fails(SYNC, is_folder(fd) ? "fdatasync of a folder" : "fdatasync") ? fail() : NEXT(fdatasync)(fd); }

static mode_t mode_from(int flags, va_list rest)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPENS(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_from(flags, rest); \
        va_end(rest); \
        return fails(OPEN, #name) ? fail() : NEXT(name)(path, flags, mode); \
    }
#define OPENS_AT(name) \
    int name(int dir, const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_from(flags, rest); \
        va_end(rest); \
        return fails(OPEN, #name) ? fail() : NEXT(name)(dir, path, flags, mode); \
    }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)
PLAIN(ACCEPT, int, accept, (int fd, struct sockaddr *from, socklen_t *room), (fd, from, room))
PLAIN(ACCEPT, int, accept4, (int fd, struct sockaddr *from, socklen_t *room, int flags), (fd, from, room, flags))
PLAIN(OPEN, int, socket, (int domain, int type, int protocol), (domain, type, protocol))
PLAIN(OPEN, int, socketpair, (int domain, int type, int protocol, int ret[2]), (domain, type, protocol, ret))
PLAIN(OPEN, int, epoll_create1, (int flags), (flags))
/* What is watched already costs the kernel nothing more: only a new watch may find no room. */
int epoll_ctl(int fd, int what, int on, struct epoll_event *event)
{
    return what == EPOLL_CTL_ADD && fails(WATCH, "epoll_ctl") ? fail() : NEXT(epoll_ctl)(fd, what, on, event);
}
PLAIN(OPEN, int, eventfd, (unsigned value, int flags), (value, flags))
PLAIN(OPEN, int, pipe2, (int ret[2], int flags), (ret, flags))
PLAIN(OPEN, int, pidfd_open, (pid_t pid, unsigned flags), (pid, flags))
PLAIN(OPEN, int, memfd_create, (const char *name, unsigned flags), (name, flags))
PLAIN(OPEN, int, dup3, (int from, int to, int flags), (from, to, flags))

/* Of its many orders only those that make a descriptor. */
#define ORDERS(name) \
    int name(int fd, int order, ...) \
    { \
        va_list rest; \
        va_start(rest, order); \
        void *with = va_arg(rest, void *); \
        va_end(rest); \
        return (order == F_DUPFD || order == F_DUPFD_CLOEXEC) && fails(OPEN, "fcntl that duplicates") ? fail() : NEXT(name)(fd, order, with); \
    }
ORDERS(fcntl)
ORDERS(fcntl64)

PLAIN(NAME, int, rename, (const char *from, const char *to), (from, to))
PLAIN(NAME, int, renameat, (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to))
PLAIN(NAME, int, unlink, (const char *path), (path))
PLAIN(NAME, int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
PLAIN(NAME, int, mkdir, (const char *path, mode_t mode), (path, mode))
PLAIN(NAME, int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
PLAIN(NAME, int, ftruncate, (int fd, off_t size), (fd, size))
PLAIN(NAME, int, ftruncate64, (int fd, off64_t size), (fd, size))
PLAIN(NAME, int, fallocate, (int fd, int mode, off_t from, off_t count), (fd, mode, from, count))
PLAIN(NAME, int, fallocate64, (int fd, int mode, off64_t from, off64_t count), (fd, mode, from, count))

PLAIN(STAT, int, stat, (const char *path, struct stat *ret), (path, ret))
PLAIN(STAT, int, stat64, (const char *path, struct stat64 *ret), (path, ret))
PLAIN(STAT, int, lstat64, (const char *path, struct stat64 *ret), (path, ret))
PLAIN(STAT, int, fstat, (int fd, struct stat *ret), (fd, ret))
PLAIN(STAT, int, fstat64, (int fd, struct stat64 *ret), (fd, ret))
PLAIN(STAT, int, fstatvfs, (int fd, struct statvfs *ret), (fd, ret))
PLAIN(STAT, int, fstatvfs64, (int fd, struct statvfs64 *ret), (fd, ret))
PLAIN(STAT, int, flock, (int fd, int what), (fd, what))

PLAIN(WAIT, int, epoll_wait, (int fd, struct epoll_event *events, int room, int ms), (fd, events, room, ms))
PLAIN(WAIT, int, epoll_pwait, (int fd, struct epoll_event *events, int room, int ms, const sigset_t *set), (fd, events, room, ms, set))
struct pollfd;
int poll(struct pollfd *fds, unsigned long count, int ms);
PLAIN(WAIT, int, poll, (struct pollfd *fds, unsigned long count, int ms), (fds, count, ms))

/* ---- the wall clock: set by somebody while the program runs. Time that only goes on is left alone. */

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int result = NEXT(clock_gettime)(clock, ret);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret->tv_sec += control->skew_s;
    return result;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    int result = NEXT(gettimeofday)(ret, zone);
    ret->tv_sec += control->skew_s;
    return result;
}

time_t time(time_t *ret)
{
    time_t now = NEXT(time)(NULL) + control->skew_s;
    if (ret)
        *ret = now;
    return now;
}

void *mmap64(void *at, size_t count, int protection, int flags, int fd, off64_t offset)
{
    return fails(MAP, "mmap64") ? fail(), MAP_FAILED : NEXT(mmap64)(at, count, protection, flags, fd, offset);
}

void *mmap(void *at, size_t count, int protection, int flags, int fd, off_t offset)
{
    return fails(MAP, "mmap") ? fail(), MAP_FAILED : NEXT(mmap)(at, count, protection, flags, fd, offset);
}

PLAIN(START, pid_t, fork, (void), ())

int pthread_create(pthread_t *ret, const pthread_attr_t *how, void *(*run)(void *), void *data)
{
    return fails(START, "pthread_create") ? EAGAIN : NEXT(pthread_create)(ret, how, run, data);
}

/* A child that is to count gets the library and its control. */
int posix_spawn(pid_t *ret, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *how, char *const argv[], char *const env[])
{
    static char preload[4096], where[4096];
    char *more[64] = {0};
    size_t count = 0;
    if (fails(START, "posix_spawn"))
        return (int)control->error;
    if (!control->children || !env)
        return NEXT(posix_spawn)(ret, path, actions, how, argv, env);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", getenv("LD_PRELOAD") ?: "");
    snprintf(where, sizeof where, "RIVULET_FAULTS=%s", getenv("RIVULET_FAULTS") ?: "");
    for (; env[count] && count < 60; count++)
        more[count] = env[count];
    more[count++] = preload;
    more[count++] = where;
    more[count++] = "RIVULET_FAULTS_CHILD=1";
    return NEXT(posix_spawn)(ret, path, actions, how, argv, more);
}
