/* Usage: power [--quick] [--seed N] [--images N] [--points N] [--processes N] [--keep]
 *
 * Prints rows `trust: WHAT = VALUE UNIT (bar BAR) held|MISSED`, and at the end `N passed, N failed`.
 * --points: of each kind of operation so many fail, evenly chosen, and not all. --keep leaves images that failed. */
#include "power.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES_MAX = 64, STORY_S_MAX = 60, IMAGES = 10000, IMAGES_QUICK = 100, LIE_IMAGES = 400, LIE_IMAGES_QUICK = 60,
       POINTS_QUICK = 4, RECORDINGS = 3, TRIES = 12, LIVES_A_CORE = 3, EXIT_LOG = 70, EXIT_REFUSED = 3 };

static char root[64];
static uint64_t seed = 1;
static size_t processes, at_once;     /* as asked for; of the present work */
static bool quick, keep;
static int passed, failed;

/* What processes tell of their share; shared. */
static struct share {
    int64_t tried, wrong, met, ended_by_log, refused, went_on;
    struct ways ways;              /* on which something failed */
    int64_t by_phase[PHASE_COUNT];
    char first[1200];
} *shares;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void row(const char *what, int64_t value, const char *unit, const char *bar, int good)
{
    printf("trust: %s = %lld%s%s", what, (long long)value, *unit ? " " : "", unit);
    if (good >= 0) {
        printf(" (bar %s) %s", bar, good ? "held" : "MISSED");
        passed += good;
        failed += !good;
    }
    printf("\n");
    fflush(stdout);
}

/* ---- a story ---- */

struct ending {
    int status;                    /* of the process; -1: it took too long */
    char words[1000];              /* what it said on stderr */
};

static void path_in(char ret[PATH_ROOM], const char *name, size_t number)
{
    snprintf(ret, PATH_ROOM, "%s/%s-%zu", root, name, number);
}

static _Noreturn void be_story(const char *own_root, bool full, int words)
{
    char data[PATH_ROOM + 8];
    dup2(words, STDERR_FILENO);
    snprintf(data, sizeof data, "%s/data", own_root);
    seam_install();
    journal_begin(own_root);
    ways_begin();
    story_live(data, full);
    _exit(0);
}

static int wait_for(pid_t pid, int seconds)
{
    double until = now_s() + seconds;
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now_s() > until) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -1;
        }
        usleep(2000);
    }
    return status;
}

static void take_words(int fd, struct ending *ret)
{
    ssize_t got = read(fd, ret->words, sizeof ret->words - 1);
    ret->words[got > 0 ? got : 0] = 0;
    close(fd);
}

/* In a process of its own; the journal tells it afterwards. */
static struct ending record(size_t process, bool full, const struct fault *fault)
{
    struct ending ending = {0};
    char own_root[PATH_ROOM];
    int ends[2];
    path_in(own_root, "story", process);
    remove_tree(own_root);
    if (mkdir(own_root, 0700) || pipe(ends))
        exit(99);
    journal->fault = *fault;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fflush(stdout);
    pid_t pid = fork();
    if (!pid)
        be_story(own_root, full, ends[1]);
    close(ends[1]);
    ending.status = wait_for(pid, STORY_S_MAX);
    take_words(ends[0], &ending);
    remove_tree(own_root);
    return ending;
}

/* ---- images ---- */

static size_t points[PHASE_COUNT][OPS_MAX];
static size_t points_count[PHASE_COUNT];

static void find_points(void)
{
    enum phase phase = PHASE_NONE;
    memset(points_count, 0, sizeof points_count);
    for (size_t i = 0; i < journal->ops_count; i++) {
        if (journal->ops[i].kind == OP_PHASE)
            phase = (enum phase)journal->ops[i].at;
        points[phase][points_count[phase]++] = i;
    }
}

/* How often the database was synced while work went on: what the moments of a checkpoint are worth something for. */
static int64_t checkpoints(void)
{
    int64_t count = 0;
    uint32_t database = UINT32_MAX;
    enum phase phase = PHASE_NONE;
    for (size_t i = 0; i < journal->ops_count; i++) {
        const struct op *op = &journal->ops[i];
        if (op->kind == OP_CREATE && !strcmp(op->name, "log.db"))
            database = op->id;
        if (op->kind == OP_PHASE)
            phase = (enum phase)op->at;
        bool works = phase != PHASE_NONE && phase != PHASE_CREATION && phase < PHASE_STOP;
        count += works && op->kind == OP_SYNC && op->id == database;
    }
    return count;
}

static bool try_image(size_t process, size_t op, enum lie lie, bool nothing, struct rng *rng, struct share *share, const char *what)
{
    char own_root[PATH_ROOM], data[PATH_ROOM + 8], text[1000];
    path_in(own_root, "image", process);
    snprintf(data, sizeof data, "%s/data", own_root);
    image_make(own_root, op, lie, nothing, rng);
    int wrong = check_image(data, op, text, sizeof text);
    share->tried++;
    if (wrong && !share->wrong++)
        snprintf(share->first, sizeof share->first, "%s: %s", what, text);
    if (wrong && keep && lie == LIE_NONE) {
        char kept[PATH_ROOM];
        path_in(kept, "wrong", (size_t)rng_next(rng) % 100000);
        rename(own_root, kept);
    }
    remove_tree(own_root);
    return !wrong;
}

static void make_share(size_t process, size_t count, enum lie lie)
{
    struct share *share = &shares[process];
    for (size_t i = process; i < count; i += at_once) {
        struct rng rng = {hash_mix(seed * 1000003 + i) + (uint64_t)lie};
        enum phase phase = (enum phase)(1 + i % (PHASE_COUNT - 1));
        char what[100];
        if (!points_count[phase])
            continue;
        size_t op = points[phase][rng_below(&rng, points_count[phase])];
        snprintf(what, sizeof what, "image %zu, before operation %zu of %zu, in %s", i, op, journal->ops_count, phase_names[phase]);
        share->by_phase[phase]++;
        if (!try_image(process, op, lie, rng_below(&rng, 5) == 0, &rng, share, what) && lie != LIE_NONE)
            return;                /* caught */
    }
}

/* `work` in so many processes; a process that dies in it counts as a failure. */
static struct share in_processes(void (*work)(size_t process, size_t count, enum lie lie), size_t count, enum lie lie, size_t wanted)
{
    at_once = wanted < PROCESSES_MAX ? wanted : PROCESSES_MAX;
    pid_t pids[PROCESSES_MAX];
    struct share all = {0};
    memset(shares, 0, PROCESSES_MAX * sizeof *shares);
    fflush(stdout);
    for (size_t i = 0; i < at_once; i++) {
        pids[i] = fork();
        if (pids[i])
            continue;
        if (lie != LIE_NONE)
            dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        work(i, count, lie);
        _exit(0);
    }
    for (size_t i = 0; i < at_once; i++) {
        int status = wait_for(pids[i], 3600);
        const struct share *share = &shares[i];
        if (status)
            snprintf(all.first, sizeof all.first, "process %zu ended with status %d behind %lld images", i, status, (long long)share->tried);
        all.wrong += share->wrong + !!status;
        all.tried += share->tried;
        all.ended_by_log += share->ended_by_log;
        all.refused += share->refused;
        all.went_on += share->went_on;
        all.met += share->met;
        ways_add_all(&all.ways, &share->ways);
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            all.by_phase[phase] += share->by_phase[phase];
        if (share->wrong)
            snprintf(all.first, sizeof all.first, "%s", share->first);
    }
    return all;
}

static void tell_first(const struct share *share)
{
    if (share->wrong)
        printf("       %s\n", share->first);
}

static void try_images(size_t count)
{
    struct share all = in_processes(make_share, count, LIE_NONE, processes);
    tell_first(&all);
    row("images of the disk as a power cut may leave it", all.tried, "", "all that were asked for", all.tried == (int64_t)count);
    for (int phase = 1; phase < PHASE_COUNT; phase++) {
        char what[60];
        snprintf(what, sizeof what, "    in %s, of %zu moments", phase_names[phase], points_count[phase]);
        row(what, all.by_phase[phase], "", "1 at least", all.by_phase[phase] > 0);
    }
    row("images that were not opened, lost what had been told, or were torn", all.wrong, "", "0", all.wrong == 0);
}

static void try_lies(size_t count)
{
    for (int lie = LIE_NONE + 1; lie < LIE_COUNT; lie++) {
        struct share all = in_processes(make_share, count, (enum lie)lie, processes);
        char what[100];
        snprintf(what, sizeof what, "images until a disk is caught that does not sync %s", lie_names[lie]);
        row(what, all.tried, "", "caught", all.wrong > 0);
        if (all.wrong)
            printf("       %.150s\n", all.first);
    }
}

/* ---- operations that fail ---- */

static struct fault pattern;
static int64_t stride, points_max;                       /* 0: all */
static struct ways long_ways[FAULT_COUNT], short_ways[FAULT_COUNT];
static int64_t short_seen[FAULT_COUNT];
static size_t ways_there, ways_not_met;
static const char *const kind_names[FAULT_COUNT] = {"nothing", "write", "sync", "change"};

/* Where the fault lay, and in which phase; `op` is NULL when the life did not come to it. */
struct met { const struct op *op; enum phase phase; };

static struct met find_fault(void)
{
    struct met met = {0};
    for (size_t i = 0; i < journal->ops_count && !met.op; i++) {
        if (journal->ops[i].kind == OP_PHASE)
            met.phase = (enum phase)journal->ops[i].at;
        if (journal->ops[i].kind == OP_FAULT)
            met.op = &journal->ops[i];
    }
    return met;
}

static bool is_of_log(const struct op *op)
{
    return !strncmp(op->name, "log.db", 6);
}

/* Nothing goes on behind a failed sync, but that a file finds no space nobody was told of: its writer hears why. */
static bool must_end(const struct op *op)
{
    bool blob = op->id <= FILES_MAX && !is_of_log(op);
    return pattern.kind == FAULT_SYNC && (pattern.error == EIO || !blob);
}

/* A full disk is waited for, or told to who wants to write; that a file of the log cannot be cut is more than a full disk. */
static bool must_go_on(const struct op *op)
{
    return pattern.error == ENOSPC && !must_end(op) && !(pattern.kind == FAULT_CHANGE && is_of_log(op));
}

/* NULL: it ended as it should. */
static const char *judge(const struct ending *ending, const struct met *met, struct share *share)
{
    int code = ending->status >= 0 && WIFEXITED(ending->status) ? WEXITSTATUS(ending->status) : -1;
    bool foreign = met->phase == PHASE_NONE, stopping = foreign || met->phase == PHASE_STOP;
    bool opening = foreign || met->phase == PHASE_CREATION || met->phase == PHASE_START || met->phase == PHASE_UPGRADE;
    share->ended_by_log += code == EXIT_LOG;
    share->refused += code == EXIT_REFUSED;
    share->went_on += code == 0;
    if (ending->status < 0)
        return "it hangs";
    if (code == 5 && (opening || stopping))
        return NULL;               /* the log could not be made one of an earlier format: not what is tried here */
    if (code != 0 && code != EXIT_LOG && code != EXIT_REFUSED)
        return "it ended otherwise than it should";
    if (code == EXIT_LOG && !strstr(ending->words, "start it again to recover"))
        return "it ended without its sentence";
    if (code == EXIT_REFUSED && (!(opening || stopping) || !strchr(ending->words, '.')))
        return "it was not opened, and there is no sentence that says why";
    if (code == EXIT_LOG && must_go_on(met->op))
        return "a full disk ended the process";
    if (code == 0 && must_end(met->op) && !stopping)
        return "it went on behind a failed sync";
    if (journal->retried && !opening && !stopping)
        return "a sync that failed was tried again";
    return NULL;
}

/* A life in which that fails; false: it did not come to it. */
static bool fail_once(size_t process, bool full, const struct fault *fault, struct rng *rng)
{
    struct share *share = &shares[process];
    struct ending ending = record(process, full, fault);
    struct met met = find_fault();
    char what[300];
    if (!met.op)
        return false;
    share->met++;
    ways_add(&share->ways, journal->failed_way);
    const char *wrong = judge(&ending, &met, share);
    snprintf(what, sizeof what, "%s number %lld, of %s, in %s", kind_names[pattern.kind], (long long)journal->fault.number,
             *met.op->name ? met.op->name : "a folder", phase_names[met.phase]);
    if (wrong && !share->wrong++)
        snprintf(share->first, sizeof share->first, "%s: %s (status %x): %.500s", what, wrong, (unsigned)ending.status, ending.words);
    try_image(process, journal->ops_count, LIE_NONE, true, rng, share, what);
    try_image(process, journal->ops_count, LIE_NONE, false, rng, share, what);
    return true;
}

static void fail_numbers(size_t process, size_t count, enum lie lie)
{
    journal_open();                /* one of its own */
    for (size_t i = process; i < count; i += at_once) {
        struct fault fault = pattern;
        struct rng rng = {hash_mix(seed + i)};
        fault.number = 1 + (int64_t)i * stride;
        fail_once(process, false, &fault, &rng);
    }
}

/* Those ways of the stories on which nothing has failed. */
static struct look { uint64_t way; bool full; } looks[2 * WAYS_MAX];
static size_t looks_count;

static void fail_ways(size_t process, size_t count, enum lie lie)
{
    journal_open();
    for (size_t i = process; i < count; i += at_once) {
        struct fault fault = pattern;
        struct rng rng = {hash_mix(seed + i)};
        fault.way = looks[i].way;
        for (int tries = 0; tries < TRIES && !fail_once(process, looks[i].full, &fault, &rng); tries++)
            ;
    }
}

static void find_looks(const struct ways *of, bool full, const struct ways *done, const struct ways *others)
{
    for (size_t i = 0; i < WAYS_MAX; i++)
        if (of->at[i] && !ways_have(done, of->at[i]) && !(others && ways_have(others, of->at[i])))
            looks[looks_count++] = (struct look){of->at[i], full};
}

static void look_for_ways(enum fault_kind kind, struct share *all)
{
    looks_count = 0;
    find_looks(&short_ways[kind], false, &all->ways, NULL);
    find_looks(&long_ways[kind], true, &all->ways, &short_ways[kind]);
    struct share more = in_processes(fail_ways, looks_count, LIE_NONE, processes * LIVES_A_CORE);
    if (more.wrong)
        memcpy(all->first, more.first, sizeof all->first);
    all->wrong += more.wrong;
    all->met += more.met;
    all->ended_by_log += more.ended_by_log;
    all->refused += more.refused;
    all->went_on += more.went_on;
    ways_add_all(&all->ways, &more.ways);
}

static void try_faults(enum fault_kind kind, int error, const char *what)
{
    int64_t there = short_seen[kind];
    bool in_a_row = error == ENOSPC && kind == FAULT_WRITE;        /* space is not there again at once */
    pattern = (struct fault){.kind = kind, .times = in_a_row ? 3 : 1, .error = error};
    stride = points_max && there > points_max ? (there + points_max - 1) / points_max : 1;
    struct share all = in_processes(fail_numbers, (size_t)((there + stride - 1) / stride), LIE_NONE, processes * LIVES_A_CORE);
    int64_t by_number = all.met;
    char text[280];
    if (!points_max)
        look_for_ways(kind, &all);
    struct ways ways = short_ways[kind];
    ways_add_all(&ways, &long_ways[kind]);
    size_t not_met = 0;
    for (size_t i = 0; i < WAYS_MAX; i++)
        not_met += ways.at[i] && !ways_have(&all.ways, ways.at[i]);
    ways_there += ways_count(&ways);
    ways_not_met += not_met;
    tell_first(&all);
    snprintf(text, sizeof text, "%s, %lld of %lld and %lld by their call paths: %zu of %zu paths (%lld stopped the log, %lld its opening, "
             "%lld did no harm), gone wrong", what, (long long)by_number, (long long)there, (long long)(all.met - by_number),
             ways_count(&ways) - not_met, ways_count(&ways), (long long)all.ended_by_log, (long long)all.refused, (long long)all.went_on);
    row(text, all.wrong, "", "0", all.wrong == 0 && all.met > 0);
}

/* Lives in which nothing fails. */
static bool learn_short_story(void)
{
    struct fault none = {0};
    for (int i = 0; i < RECORDINGS; i++) {
        struct ending ending = record(0, false, &none);
        if (ending.status) {
            printf("       the short story ends with status %x: %s\n", (unsigned)ending.status, ending.words);
            return false;
        }
        for (int kind = 0; kind < FAULT_COUNT; kind++) {
            ways_add_all(&short_ways[kind], &journal->ways[kind]);
            short_seen[kind] = journal->seen[kind] > short_seen[kind] ? journal->seen[kind] : short_seen[kind];
        }
    }
    return true;
}

static void try_all_faults(void)
{
    bool learned = learn_short_story();
    row("operations of the short story", short_seen[FAULT_WRITE] + short_seen[FAULT_SYNC] + short_seen[FAULT_CHANGE], "", "it ends well", learned);
    try_faults(FAULT_SYNC, EIO, "syncs that fail");
    try_faults(FAULT_WRITE, EIO, "writes that fail");
    try_faults(FAULT_CHANGE, EIO, "changes of names and sizes that fail");
    try_faults(FAULT_SYNC, ENOSPC, "syncs that find no space");
    try_faults(FAULT_WRITE, ENOSPC, "writes that find no space");
    try_faults(FAULT_CHANGE, ENOSPC, "changes of names and sizes that find no space");
    if (!points_max)
        row("call paths of either story that did not come again, and on which nothing failed", (int64_t)ways_not_met, "", "1 in 10 at most",
            ways_not_met * 10 <= ways_there);
}

/* ---- the command line ---- */

static void make_root(void)
{
    static const char *const places[] = {"/dev/shm/power-XXXXXX", "/tmp/power-XXXXXX"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(root, sizeof root, "%s", places[i]);
        if (mkdtemp(root))
            return;
    }
    fprintf(stderr, "power: no directory could be made: %s\n", strerror(errno));
    exit(1);
}

static uint64_t number_of(const char *text)
{
    uint64_t number = 0;
    if (!text || !bytes_to_u64(bytes_of(text), &number)) {
        fprintf(stderr, "power: %s is not a number\n", text ? text : "nothing");
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    double began = now_s();
    size_t images = 0;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    processes = cores < 1 ? 1 : cores > 16 ? 16 : (size_t)cores;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick"))
            quick = true;
        else if (!strcmp(argv[i], "--keep"))
            keep = true;
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = number_of(argv[++i]);
        else if (!strcmp(argv[i], "--images") && i + 1 < argc)
            images = number_of(argv[++i]);
        else if (!strcmp(argv[i], "--points") && i + 1 < argc)
            points_max = (int64_t)number_of(argv[++i]);
        else if (!strcmp(argv[i], "--processes") && i + 1 < argc)
            processes = 1 + (number_of(argv[++i]) + PROCESSES_MAX - 1) % PROCESSES_MAX;
        else {
            fprintf(stderr, "usage: power [--quick] [--seed N] [--images N] [--points N] [--processes N] [--keep]\n");
            return 2;
        }
    }
    if (quick && !points_max)
        points_max = POINTS_QUICK;
    make_root();
    journal_open();
    ways_begin();
    shares = mmap(NULL, PROCESSES_MAX * sizeof *shares, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct fault none = {0};
    struct ending ending = record(0, true, &none);
    if (ending.status)
        printf("       the story ends with status %x: %s\n", (unsigned)ending.status, ending.words);
    memcpy(long_ways, journal->ways, sizeof long_ways);
    find_points();
    row("operations on files in the story", (int64_t)journal->ops_count, "", "it ends well", ending.status == 0);
    row("checkpoints in it while work goes on", checkpoints(), "", "1 at least", checkpoints() > 0);
    if (!ending.status) {
        try_images(images ? images : quick ? IMAGES_QUICK : IMAGES);
        try_lies(quick ? LIE_IMAGES_QUICK : LIE_IMAGES);
        try_all_faults();
    }
    if (!keep)
        remove_tree(root);
    row("seconds", (int64_t)(now_s() - began), "s", "", -1);
    printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed;
}
