/* Landlock allows and never forbids. So what hides a path is that beneath each folder on the way to it everything else is allowed by name; and
 * as new names appear, the rules are made again when one of these folders has changed. */
#include "stage/jail.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/landlock.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HIDDEN_MAX = 2, DEPTH_MAX = 64, OPEN_MAX_HERE = 16, SEE = LANDLOCK_MAY_READ | LANDLOCK_MAY_RUN };

struct jail {
    char *scratch;                   /* of this worker: SCRATCH/PID; NULL = none */
    char *hidden[HIDDEN_MAX];        /* as the kernel calls them; NULL = none */
    int rules;                       /* -1 = none yet */
    char *cwd;                       /* that the rules were made for */
    uint64_t seen;                   /* what the folders on the way were like then */
    int trouble;                     /* -errno: rules that are being made lack something that may be had later */
};

/* A folder that was made unreadable goes the next time. The one at the top stays: rules are for it, whatever it is called. */
static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    if (type == FTW_DNR)
        chmod(path, 0700);
    else if (place->level)
        remove(path);
    return 0;
}

static void empty(const char *path)
{
    nftw(path, remove_entry, OPEN_MAX_HERE, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void jail_remove(const char *path)
{
    empty(path);
    rmdir(path);
}

/* ---- scratch folders ---- */

/* Those of workers that were killed: nobody else could. */
static void sweep(const char *folder)
{
    DIR *list = opendir(folder);
    if (!list)
        return;
    for (struct dirent *entry; (entry = readdir(list));) {
        char path[PATH_MAX];
        int64_t pid;
        if (!bytes_to_i64(bytes_of(entry->d_name), &pid) || pid <= 0 || pid > INT32_MAX || (!kill((pid_t)pid, 0) && pid != getpid()))
            continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path)
            jail_remove(path);
    }
    closedir(list);
}

static int make_scratch(const struct jail *jail)
{
    return mkdir(jail->scratch, 0700) && errno != EEXIST ? -errno : 0;
}

const char *jail_scratch(const struct jail *jail)
{
    return jail->scratch;
}

void jail_clean(struct jail *jail)
{
    if (jail->scratch)
        empty(jail->scratch);
}

/* ---- rules ---- */

/* Whether `path` is `place` or leads to it. */
static bool leads_to(const char *path, const char *place)
{
    size_t length = strlen(path);
    return !strcmp(path, "/") || (!strncmp(path, place, length) && (!place[length] || place[length] == '/'));
}

static bool leads_to_hidden(const struct jail *jail, const char *path)
{
    for (int i = 0; i < HIDDEN_MAX; i++)
        if (jail->hidden[i] && leads_to(path, jail->hidden[i]))
            return true;
    return false;
}

/* What a system refuses is no part of the rules; what it has none left of for a moment must not be missing in them for long. */
static void note(struct jail *jail, int rc)
{
    if (file_scarce(rc))
        jail->trouble = rc;
}

static void allow(struct jail *jail, const char *path, unsigned may)
{
    note(jail, landlock_allow(jail->rules, path, may));
}

/* All beneath `folder` but what is hidden. `folder` leads to something hidden. */
static void allow_beneath(struct jail *jail, const char *folder, int depth)
{
    if (depth == DEPTH_MAX)
        return;
    DIR *list = opendir(folder);
    if (!list) {
        note(jail, -errno);
        return;
    }
    for (struct dirent *entry; (entry = readdir(list));) {
        char path[PATH_MAX];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            snprintf(path, sizeof path, "%s/%s", strcmp(folder, "/") ? folder : "", entry->d_name) >= (int)sizeof path)
            continue;
        bool hidden = jail->hidden[0] && !strcmp(path, jail->hidden[0]);
        hidden |= jail->hidden[1] && !strcmp(path, jail->hidden[1]);
        if (leads_to_hidden(jail, path) && !hidden)
            allow_beneath(jail, path, depth + 1);
        else if (!hidden && entry->d_type != DT_LNK)      /* a link allows nothing: what it leads to has its own rule */
            allow(jail, path, SEE);
    }
    closedir(list);
}

/* What the folders on the way are like now. */
static uint64_t look(const struct jail *jail)
{
    uint64_t seen = 0;
    for (int i = 0; i < HIDDEN_MAX; i++) {
        char path[PATH_MAX];
        if (!jail->hidden[i] || snprintf(path, sizeof path, "%s", jail->hidden[i]) >= (int)sizeof path)
            continue;
        for (char *slash; (slash = strrchr(path, '/'));) {
            struct stat about;
            slash[slash == path] = 0;
            if (!stat(path, &about))
                seen = seen * 31 + (uint64_t)about.st_mtim.tv_sec * 1000000007u + (uint64_t)about.st_mtim.tv_nsec;
            if (slash == path)
                break;
        }
    }
    return seen;
}

static void allow_all(struct jail *jail, const char *cwd)
{
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts",
                                          "/dev/dri", "/dev/kfd", "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"};
    char place[PATH_MAX];
    if (leads_to_hidden(jail, "/"))
        allow_beneath(jail, "/", 0);
    else
        allow(jail, "/", SEE);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        allow(jail, devices[i], LANDLOCK_MAY_READ | LANDLOCK_MAY_USE);
    allow(jail, jail->scratch, SEE | LANDLOCK_MAY_WRITE);
    /* Beneath it would be what is hidden, too. */
    if (cwd && realpath(cwd, place) && !leads_to_hidden(jail, place))
        allow(jail, place, SEE | LANDLOCK_MAY_WRITE);
}

static void forget(struct jail *jail)
{
    if (jail->rules >= 0)
        close(jail->rules);
    free(jail->cwd);
    jail->cwd = NULL;
    jail->rules = -1;
}

static int make_rules(struct jail *jail, const char *cwd, uint64_t seen)
{
    forget(jail);
    int rules = landlock_open(LANDLOCK_NO_SIGNALS);
    jail->trouble = 0;
    note(jail, rules);
    if (rules < 0)
        return jail->trouble;
    jail->rules = rules;
    jail->cwd = mem_text(cwd ? cwd : "");
    jail->seen = seen;
    allow_all(jail, cwd);
    if (jail->trouble)
        forget(jail);
    return jail->trouble;
}

int jail_rules(struct jail *jail, const char *cwd, int *ret_rules)
{
    int rc = jail->scratch ? make_scratch(jail) : 0;
    uint64_t seen = look(jail);
    bool same = jail->rules >= 0 && seen == jail->seen && !strcmp(jail->cwd, cwd ? cwd : "");
    if (!rc && jail->scratch && !same)
        rc = make_rules(jail, cwd, seen);
    *ret_rules = rc ? -1 : jail->rules;
    return rc;
}

/* ---- the whole ---- */

int jail_open(const char *scratch, const char *const hidden[2], struct jail **ret, struct problem *problem)
{
    struct jail *jail = MEM_NEW(struct jail);
    jail->rules = -1;
    *ret = jail;
    for (int i = 0; i < HIDDEN_MAX; i++)
        jail->hidden[i] = hidden[i] ? realpath(hidden[i], NULL) : NULL;
    if (!scratch)
        return 0;
    struct buf path BUF_OWNED;
    buf_init(&path, PATH_MAX);
    sweep(scratch);
    buf_print(&path, "%s/%d", scratch, (int)getpid());
    jail->scratch = mem_text(buf_z(&path));
    int rc = make_scratch(jail);
    if (!rc)
        return 0;
    jail_close(jail);
    *ret = NULL;
    return problem_set(problem, "The folder %s for programs cannot be made: %s.", buf_z(&path), strerror(-rc));
}

void jail_close(struct jail *jail)
{
    if (!jail)
        return;
    forget(jail);
    if (jail->scratch)
        jail_remove(jail->scratch);
    free(jail->scratch);
    for (int i = 0; i < HIDDEN_MAX; i++)
        free(jail->hidden[i]);
    free(jail);
}
