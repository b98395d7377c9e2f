/* The structures and numbers are the kernel's, written down here because a system's headers may be older than its kernel. */
#include "os/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

struct ruleset {
    uint64_t files;      /* level 1 */
    uint64_t network;    /* level 4 */
    uint64_t scoped;     /* level 6 */
};

struct beneath {
    uint64_t allowed;
    int32_t folder;
} __attribute__((packed));

enum { VERSION = 1, BENEATH = 1 };

enum {
    EXECUTE = 1 << 0, WRITE_FILE = 1 << 1, READ_FILE = 1 << 2, READ_DIR = 1 << 3, REMOVE_DIR = 1 << 4, REMOVE_FILE = 1 << 5,
    MAKE_CHAR = 1 << 6, MAKE_DIR = 1 << 7, MAKE_REG = 1 << 8, MAKE_SOCK = 1 << 9, MAKE_FIFO = 1 << 10, MAKE_BLOCK = 1 << 11,
    MAKE_SYM = 1 << 12, REFER = 1 << 13, TRUNCATE = 1 << 14, IOCTL_DEV = 1 << 15,
    ALL_OF_LEVEL_1 = REFER - 1,
    OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV,
};

enum { BIND_TCP = 1 << 0, CONNECT_TCP = 1 << 1, SCOPE_ABSTRACT = 1 << 0, SCOPE_SIGNAL = 1 << 1 };

int landlock_level(void)
{
    long level = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION);
    return level > 0 ? (int)level : 0;
}

static uint64_t files_of(int level)
{
    return (uint64_t)ALL_OF_LEVEL_1 | (level >= 2 ? REFER : 0) | (level >= 3 ? TRUNCATE : 0) | (level >= 5 ? IOCTL_DEV : 0);
}

int landlock_open(unsigned also)
{
    int level = landlock_level();
    struct ruleset rules = {.files = files_of(level)};
    size_t size = level >= 6 ? sizeof rules : level >= 4 ? offsetof(struct ruleset, scoped) : offsetof(struct ruleset, network);
    if (also & LANDLOCK_NO_NETWORK && level >= 4)
        rules.network = BIND_TCP | CONNECT_TCP;
    if (also & LANDLOCK_NO_NETWORK && level >= 6)
        rules.scoped |= SCOPE_ABSTRACT;
    if (also & LANDLOCK_NO_SIGNALS && level >= 6)
        rules.scoped |= SCOPE_SIGNAL;
    long fd = syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    return fd < 0 ? -errno : (int)fd;
}

static uint64_t rights(unsigned may)
{
    uint64_t ret = 0;
    if (may & LANDLOCK_MAY_READ)
        ret |= READ_FILE | READ_DIR;
    if (may & LANDLOCK_MAY_RUN)
        ret |= EXECUTE;
    if (may & LANDLOCK_MAY_WRITE)
        ret |= WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER;
    if (may & LANDLOCK_MAY_USE)
        ret |= WRITE_FILE | TRUNCATE | IOCTL_DEV;
    return ret;
}

int landlock_allow(int rules, const char *path, unsigned may)
{
    struct stat about;
    struct beneath rule = {.folder = open(path, O_PATH | O_CLOEXEC)};
    if (rule.folder < 0)
        return -errno;
    rule.allowed = rights(may) & files_of(landlock_level());
    int rc = fstat(rule.folder, &about) ? -errno : 0;
    if (!rc && !S_ISDIR(about.st_mode))
        rule.allowed &= OF_A_FILE;
    if (!rc && syscall(SYS_landlock_add_rule, rules, BENEATH, &rule, 0))
        rc = -errno;
    close(rule.folder);
    return rc;
}

int landlock_enter(int rules)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -errno;
    return syscall(SYS_landlock_restrict_self, rules, 0) ? -errno : 0;
}
