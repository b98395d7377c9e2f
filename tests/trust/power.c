/* Usage: power [--quick] [--seed N] [--images N] [--processes N] [--keep]
 *
 * Prints rows `trust: WHAT = VALUE UNIT (bar BAR) held|MISSED`, and at the end `N passed, N failed`. --keep leaves images that failed. */
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

enum { PROCESSES_MAX = 64, STORY_S_MAX = 60, IMAGES = 10000, IMAGES_QUICK = 100, LIE_IMAGES = 400, LIE_IMAGES_QUICK = 60, POINTS = 400,
       POINTS_QUICK = 4, EXIT_LOG = 70, EXIT_REFUSED = 3 };

static char root[64];
static uint64_t seed = 1;
static size_t processes;
static bool quick, keep;
static int passed, failed;

/* What processes tell of their share; shared. */
static struct share {
    int64_t tried, wrong, ended_by_log, refused, went_on, retried;
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
    for (size_t i = process; i < count; i += processes) {
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

/* `work` in every process; a process that dies in it counts as a failure. */
static struct share in_processes(void (*work)(size_t process, size_t count, enum lie lie), size_t count, enum lie lie)
{
    pid_t pids[PROCESSES_MAX];
    struct share all = {0};
    memset(shares, 0, PROCESSES_MAX * sizeof *shares);
    fflush(stdout);
    for (size_t i = 0; i < processes; i++) {
        pids[i] = fork();
        if (pids[i])
            continue;
        if (lie != LIE_NONE)
            dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        work(i, count, lie);
        _exit(0);
    }
    for (size_t i = 0; i < processes; i++) {
        int status = wait_for(pids[i], 3600);
        const struct share *share = &shares[i];
        if (status)
            snprintf(all.first, sizeof all.first, "process %zu ended with status %d behind %lld images", i, status, (long long)share->tried);
        all.wrong += share->wrong + !!status;
        all.tried += share->tried;
        all.ended_by_log += share->ended_by_log;
        all.refused += share->refused;
        all.went_on += share->went_on;
        all.retried += share->retried;
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
    struct share all = in_processes(make_share, count, LIE_NONE);
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
        struct share all = in_processes(make_share, count, (enum lie)lie);
        char what[100];
        snprintf(what, sizeof what, "images until a disk is caught that does not sync %s", lie_names[lie]);
        row(what, all.tried, "", "caught", all.wrong > 0);
        if (all.wrong)
            printf("       %.150s\n", all.first);
    }
}

/* ---- operations that fail ---- */

static struct fault pattern;
static int64_t stride;

static bool in_phase(enum phase a, enum phase b, enum phase c, enum phase d)
{
    enum phase phase = PHASE_NONE;
    for (size_t i = 0; i < journal->ops_count && journal->ops[i].kind != OP_FAULT; i++)
        if (journal->ops[i].kind == OP_PHASE)
            phase = (enum phase)journal->ops[i].at;
    return phase == a || phase == b || phase == c || phase == d;
}

static bool was_reached(void)
{
    for (size_t i = 0; i < journal->ops_count; i++)
        if (journal->ops[i].kind == OP_FAULT)
            return true;
    return false;
}

/* NULL: it ended as it should. */
static const char *judge(const struct ending *ending, struct share *share)
{
    int code = ending->status >= 0 && WIFEXITED(ending->status) ? WEXITSTATUS(ending->status) : -1;
    bool opening = in_phase(PHASE_CREATION, PHASE_START, PHASE_UPGRADE, PHASE_NONE), stopping = in_phase(PHASE_STOP, PHASE_STOP, PHASE_STOP, PHASE_NONE);
    share->ended_by_log += code == EXIT_LOG;
    share->refused += code == EXIT_REFUSED;
    share->went_on += code == 0;
    share->retried += journal->retried;
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
    if (pattern.error == ENOSPC && code == EXIT_LOG)
        return "a full disk ended the process";
    if (pattern.error == EIO && pattern.kind == FAULT_SYNC && code == 0 && !stopping)
        return "it went on behind a failed sync";
    if (journal->retried && !opening && !stopping)
        return "a sync that failed was tried again";
    return NULL;
}

static void fail_share(size_t process, size_t count, enum lie lie)
{
    struct share *share = &shares[process];
    journal_open();                /* one of its own */
    for (size_t i = process; i < count; i += processes) {
        struct fault fault = pattern;
        struct rng rng = {hash_mix(seed + i)};
        char what[200];
        fault.number = 1 + (int64_t)i * stride;
        struct ending ending = record(process, false, &fault);
        if (!was_reached())
            continue;
        const char *wrong = judge(&ending, share);
        snprintf(what, sizeof what, "%s number %lld", pattern.kind == FAULT_WRITE ? "write" : pattern.kind == FAULT_SYNC ? "sync" : "change",
                 (long long)fault.number);
        if (wrong && !share->wrong++)
            snprintf(share->first, sizeof share->first, "%s: %s (status %x): %.500s", what, wrong, (unsigned)ending.status, ending.words);
        try_image(process, journal->ops_count, LIE_NONE, true, &rng, share, what);
        try_image(process, journal->ops_count, LIE_NONE, false, &rng, share, what);
    }
}

static void try_faults(enum fault_kind kind, int error, const char *what, const char *bar)
{
    int64_t all_points = journal->seen[kind], most = quick ? POINTS_QUICK : POINTS;
    pattern = (struct fault){.kind = kind, .times = error == ENOSPC ? 3 : 1, .error = error};
    stride = all_points > most ? (all_points + most - 1) / most : 1;
    size_t count = (size_t)((all_points + stride - 1) / stride);
    struct share all = in_processes(fail_share, count, LIE_NONE);
    char text[200];
    tell_first(&all);
    snprintf(text, sizeof text, "%s, %lld of %lld points (%lld stopped the log, %lld its opening, %lld did no harm), gone wrong", what, (long long)count,
             (long long)all_points, (long long)all.ended_by_log, (long long)all.refused, (long long)all.went_on);
    row(text, all.wrong, "", bar, all.wrong == 0 && all.ended_by_log + all.refused + all.went_on > 0);
}

static void try_all_faults(void)
{
    struct fault none = {0};
    struct ending ending = record(0, false, &none);
    if (ending.status)
        printf("       the short story ends with status %x: %s\n", (unsigned)ending.status, ending.words);
    row("operations of the short story", journal->seen[FAULT_WRITE] + journal->seen[FAULT_SYNC] + journal->seen[FAULT_CHANGE], "", "it ends well",
        ending.status == 0);
    int64_t seen[FAULT_COUNT];
    memcpy(seen, journal->seen, sizeof seen);
    try_faults(FAULT_SYNC, EIO, "syncs that fail", "0");
    try_faults(FAULT_WRITE, EIO, "writes that fail", "0");
    try_faults(FAULT_CHANGE, EIO, "changes of names and sizes that fail", "0");
    try_faults(FAULT_WRITE, ENOSPC, "writes that find no space", "0");
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
        else if (!strcmp(argv[i], "--processes") && i + 1 < argc)
            processes = 1 + (number_of(argv[++i]) + PROCESSES_MAX - 1) % PROCESSES_MAX;
        else {
            fprintf(stderr, "usage: power [--quick] [--seed N] [--images N] [--processes N] [--keep]\n");
            return 2;
        }
    }
    make_root();
    journal_open();
    shares = mmap(NULL, PROCESSES_MAX * sizeof *shares, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct fault none = {0};
    struct ending ending = record(0, true, &none);
    if (ending.status)
        printf("       the story ends with status %x: %s\n", (unsigned)ending.status, ending.words);
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
