/* The stage `try`: does what no worker may. The order is the input value, {"try": what, "path": text, "number": n}; the result is
 * {"errno": 0 when it could be done}. Linked into test programs only; `test-worker try ORDER` does it in a process without a lock, to
 * show that there it can be done. */
#include "base/json.h"
#include "stage/stage.h"
#include "try.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct order {
    const char *what, *path;
    int number;      /* a process, a port, a descriptor */
};

/* 0, or what errno says; descriptors are given back. */
static int said(long rc)
{
    return rc < 0 ? errno : 0;
}

static int said_fd(int fd)
{
    int error = said(fd);
    if (fd >= 0)
        close(fd);
    return error;
}

/* ---- files ---- */

static int try_read(const struct order *order)
{
    return said_fd(open(order->path, O_RDONLY));
}

static int try_write(const struct order *order)
{
    return said_fd(open(order->path, O_WRONLY | O_CREAT, 0600));
}

static int try_stat(const struct order *order)
{
    struct stat about;
    return said(fstatat(AT_FDCWD, order->path, &about, 0));
}

static int try_folder(const struct order *order)
{
    return said(mkdir(order->path, 0700));
}

static int try_link(const struct order *order)
{
    return said(symlink("/etc/passwd", order->path));
}

static int try_unlink(const struct order *order)
{
    return said(unlink(order->path));
}

static int try_chmod(const struct order *order)
{
    return said(chmod(order->path, 0777));
}

static int try_device(const struct order *order)
{
    return said(mknod(order->path, S_IFCHR | 0600, makedev(1, 3)));
}

static int try_chdir(const struct order *order)
{
    return said(chdir(order->path));
}

/* What came along from whoever started it: its standard error is the server's, and may be a file. */
static int try_inherited(const struct order *order)
{
    return said(write(order->number, "forged\n", 7));
}

/* ---- the network ---- */

static int try_internet(const struct order *order, int type)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)order->number), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? errno : said(connect(fd, (struct sockaddr *)&address, sizeof address));
    if (!error && type == SOCK_DGRAM)
        error = said(send(fd, "x", 1, MSG_NOSIGNAL));
    if (fd >= 0)
        close(fd);
    return error;
}

static int try_tcp(const struct order *order)
{
    return try_internet(order, SOCK_STREAM);
}

static int try_udp(const struct order *order)
{
    return try_internet(order, SOCK_DGRAM);
}

/* The path is a name without a file. */
static int try_abstract(const struct order *order)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(order->path);
    memcpy(address.sun_path + 1, order->path, length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? errno : said(connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)));
    if (fd >= 0)
        close(fd);
    return error;
}

static int try_listen(const struct order *order)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? errno : said(listen(fd, 1));
    if (fd >= 0)
        close(fd);
    return error;
}

static int try_pair(const struct order *order)
{
    int ends[2];
    int error = said(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    if (!error) {
        close(ends[0]);
        close(ends[1]);
    }
    return error;
}

static int try_netlink(const struct order *order)
{
    return said_fd(socket(AF_NETLINK, SOCK_RAW, 0));
}

/* ---- processes ---- */

static int try_fork(const struct order *order)
{
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (!pid)
        _exit(0);
    int error = said(pid);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return error;
}

static void *nothing(void *data)
{
    return data;
}

static int try_thread(const struct order *order)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, nothing, NULL);
    if (!error)
        pthread_join(thread, NULL);
    return error;
}

/* Only an exec that works does not come back. */
static int try_exec(const struct order *order)
{
    char *const argv[] = {"true", NULL}, *const env[] = {NULL};
    execve(order->path, argv, env);
    return errno;
}

static int try_memory_exec(const struct order *order)
{
    char *const argv[] = {"true", NULL}, *const env[] = {NULL};
    int from = open(order->path, O_RDONLY | O_CLOEXEC), fd = memfd_create("program", MFD_CLOEXEC);
    if (fd < 0)
        return errno;
    if (from >= 0)
        while (sendfile(fd, from, NULL, 1 << 20) > 0)
            ;
    syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH);
    return errno;
}

static int try_runnable_memory(const struct order *order)
{
    void *room = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return room == MAP_FAILED ? errno : said(munmap(room, 4096));
}

static int try_made_runnable(const struct order *order)
{
    void *room = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return errno;
    int error = said(mprotect(room, 4096, PROT_READ | PROT_EXEC));
    munmap(room, 4096);
    return error;
}

static int try_signal(const struct order *order)
{
    return said(kill(order->number, 0));
}

static int try_stop(const struct order *order)
{
    return said(syscall(SYS_tgkill, order->number, order->number, SIGSTOP));
}

static int try_kill(const struct order *order)
{
    return said(kill(order->number, SIGKILL));
}

static int try_pidfd(const struct order *order)
{
    return said_fd((int)syscall(SYS_pidfd_open, order->number, 0));
}

static int try_ptrace(const struct order *order)
{
    int error = said(ptrace(PTRACE_SEIZE, order->number, 0, 0));
    if (!error)
        ptrace(PTRACE_DETACH, order->number, 0, 0);
    return error;
}

static int try_memory_of(const struct order *order)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)nothing, 1};
    return said(syscall(SYS_process_vm_readv, order->number, &here, 1, &there, 1, 0));
}

static int try_priority(const struct order *order)
{
    return said(setpriority(PRIO_PROCESS, (id_t)order->number, 19));
}

/* ---- the system ---- */

static int try_mount(const struct order *order)
{
    return said(mount("none", order->path, "tmpfs", 0, NULL));
}

static int try_chroot(const struct order *order)
{
    return said(chroot(order->path));
}

static int try_unshare(const struct order *order)
{
    return said(unshare(CLONE_NEWUSER));
}

static int try_keys(const struct order *order)
{
    return said(syscall(SYS_keyctl, 0, -3, 1));      /* KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING */
}

static int try_bpf(const struct order *order)
{
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    return said_fd((int)syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map));
}

static int try_uring(const struct order *order)
{
    struct io_uring_params params = {0};
    return said_fd((int)syscall(SYS_io_uring_setup, 1, &params));
}

static int try_perf(const struct order *order)
{
    return said_fd((int)syscall(SYS_userfaultfd, 1));
}

static int try_setuid(const struct order *order)
{
    return said(setuid((uid_t)order->number));
}

static int try_dumpable(const struct order *order)
{
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    return said(setrlimit(RLIMIT_CORE, &all));
}

static int try_memfd(const struct order *order)
{
    return said_fd(memfd_create("more", MFD_CLOEXEC));
}

/* ---- too much ---- */

static int try_memory(const struct order *order)
{
    enum { PIECE = 64 << 20, PIECES = 64 };      /* 4 GiB; only touched where it is given */
    void *rooms[PIECES];
    int count = 0, error = 0;
    while (count < PIECES && !error) {
        rooms[count] = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        error = rooms[count] == MAP_FAILED ? errno : 0;
        count += !error;
    }
    while (count)
        munmap(rooms[--count], PIECE);
    return error;
}

static int try_files(const struct order *order)
{
    enum { MANY = 64 };
    int fds[MANY], count = 0, error = 0;
    while (count < MANY && !error) {
        fds[count] = dup(0);
        error = said(fds[count]);
        count += !error;
    }
    while (count)
        close(fds[--count]);
    return error;
}

/* The output of its task is a file without a name, on the disk or in memory; a hole counts as full. */
static int try_disk(const struct order *order)
{
    int error = 0;
    signal(SIGXFSZ, SIG_IGN);
    for (int fd = 4; fd < 16; fd++)
        if (pwrite(fd, "x", 1, INT64_C(1) << 30) < 0 && errno == EFBIG)
            error = EFBIG;
    return error;
}

static int try_abort(const struct order *order)
{
    if (order)
        abort();
    return 0;
}

static int try_endless(const struct order *order)
{
    while (order)
        __asm__ volatile("");
    return 0;
}

/* ---- what sanitizers are there to see ---- */

static int try_freed(const struct order *order)
{
    char *volatile room = malloc(16);
    char *volatile gone = room;
    free(room);
    return gone[order->number] == 'x';
}

static int try_overflow(const struct order *order)
{
    volatile int most = INT_MAX;
    most += order->path != NULL;
    return most != 0;
}

/* Many, of which one or the other may still be seen where a pointer has been. */
static int try_lost(const struct order *order)
{
    char *volatile room = NULL;
    for (int i = 0; i < 64; i++) {
        room = malloc(1000);
        room[0] = order->path[0];
    }
    room = NULL;
    return room != NULL;
}

static const struct attempt {
    const char *name;
    int (*of)(const struct order *order);
} attempts[] = {
    {"read", try_read}, {"write", try_write}, {"stat", try_stat}, {"folder", try_folder}, {"link", try_link}, {"unlink", try_unlink}, {"chmod", try_chmod},
    {"device", try_device}, {"chdir", try_chdir}, {"inherited", try_inherited}, {"tcp", try_tcp}, {"udp", try_udp}, {"abstract", try_abstract},
    {"listen", try_listen}, {"pair", try_pair}, {"netlink", try_netlink}, {"fork", try_fork}, {"thread", try_thread}, {"exec", try_exec},
    {"memory-exec", try_memory_exec}, {"runnable", try_runnable_memory}, {"made-runnable", try_made_runnable}, {"signal", try_signal}, {"stop", try_stop},
    {"kill", try_kill}, {"pidfd", try_pidfd}, {"ptrace", try_ptrace}, {"memory-of", try_memory_of}, {"priority", try_priority}, {"mount", try_mount},
    {"chroot", try_chroot}, {"unshare", try_unshare}, {"keys", try_keys}, {"bpf", try_bpf}, {"uring", try_uring}, {"userfault", try_perf}, {"setuid", try_setuid},
    {"core", try_dumpable}, {"memfd", try_memfd}, {"memory", try_memory}, {"files", try_files}, {"disk", try_disk}, {"abort", try_abort}, {"endless", try_endless},
    {"freed", try_freed}, {"overflow", try_overflow}, {"lost", try_lost},
};

static int attempt(struct bytes json)
{
    JSON_OWNED struct json_object *head = json_parse(json, NULL);
    struct bytes what = json_get_bytes(head, "try");
    const char *path = json_get_bytes(head, "path").at;
    struct order order = {.path = path ? path : "", .number = (int)json_get_int(head, "number", 0)};
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        if (bytes_equal(what, bytes_of(attempts[i].name)))
            return attempts[i].of(&order);
    return -1;
}

int try_alone(const char *order)
{
    printf("{\"errno\":%d}\n", attempt(bytes_of(order)));
    return 0;
}

static int load(const struct stage_outfit *outfit, void **ret_state, struct problem *problem)
{
    return 0;
}

static void run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    char file[4096];
    ssize_t count = task->input_fd >= 0 ? pread(task->input_fd, file, sizeof file, 0) : 0;
    buf_print(&outcome->value, "{\"errno\":%d}", attempt(count > 0 ? (struct bytes){file, (size_t)count} : task->value));
}

static const struct stage_kind stage_try = {.name = "try", .help = "what no worker may", .open = load, .run = run};

static __attribute__((constructor)) void add(void)
{
    stage_kind_extra = &stage_try;
}
