/* Tries every kept input again, in whatever build: `fuzz-replay [FOLDER] [TARGET]…` goes through FOLDER/corpus/TARGET and FOLDER/found/TARGET
 * (FOLDER: tests/fuzz) and ends with `N passed, N failed`. Each target runs in a process of its own, so that one that breaks hides no other; so does each
 * folder. --list names the targets, --time says how long each took. */
#include "fuzz.h"

#include "base/mem.h"


#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_BYTES_MAX = 1 << 20, INPUT_SECONDS_MAX = 20 };

struct fuzz_target *fuzz_targets(void);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);

static char current[1024];

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

/* A copy of its own size, so that a sanitizer sees each byte read beyond it. */
static void run_file(struct fuzz_target *target, const char *path)
{
    static char room[INPUT_BYTES_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        _exit(2);
    }
    size_t count = fread(room, 1, sizeof room, file);
    fclose(file);
    snprintf(current, sizeof current, "%s", path);
    alarm(INPUT_SECONDS_MAX);
    char *copy = mem_copy(room, count);
    copy = mem_grow(copy, count ? count : 1);
    fuzz_stand_ins = (struct fuzz_stand_ins){0};
    target->run((struct bytes){copy, count});
    free(copy);
    alarm(0);
}

static int run_folder(struct fuzz_target *target, const char *folder)
{
    struct dirent **names = NULL;
    int files = scandir(folder, &names, NULL, alphasort), tried = 0;
    for (int i = 0; i < files; i++) {
        char path[1024];
        struct stat stat_of;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        free(names[i]);
        if (stat(path, &stat_of) || !S_ISREG(stat_of.st_mode))
            continue;
        run_file(target, path);
        tried++;
    }
    free(names);
    return tried;
}

/* The child writes before each input which it is, and at the end how many there were. */
static void child(struct fuzz_target *target, const char *folder, int pipe_to)
{
    int tried = run_folder(target, folder);
    if (write(pipe_to, &tried, sizeof tried) != sizeof tried)
        _exit(2);
    fflush(NULL);
    exit(0);
}

static const char *how(int status)
{
    static char words[64];
    if (WIFSIGNALED(status))
        snprintf(words, sizeof words, "%s", WTERMSIG(status) == SIGALRM ? "takes too long" : strsignal(WTERMSIG(status)));
    else
        snprintf(words, sizeof words, "exit status %d", WEXITSTATUS(status));
    return words;
}

static void tell_current(int signal)
{
    ssize_t ignored = write(2, current, strlen(current));
    ignored = write(2, " breaks\n", 8);
    (void)ignored;
    _exit(signal == SIGALRM ? 3 : 4);
}

/* How many inputs held; -1 = one broke. */
static int try_folder(struct fuzz_target *target, const char *folder)
{
    int ends[2], tried = -1, status;
    if (pipe(ends))
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) {
        signal(SIGABRT, tell_current);
        signal(SIGALRM, tell_current);
        close(ends[0]);
        child(target, folder, ends[1]);
    }
    close(ends[1]);
    if (pid < 0 || read(ends[0], &tried, sizeof tried) != sizeof tried)
        tried = -1;
    close(ends[0]);
    if (pid > 0 && waitpid(pid, &status, 0) == pid && status) {
        fprintf(stderr, "%s: %s\n", folder, how(status));
        tried = -1;
    }
    return tried;
}

static bool is_wanted(const char *name, char **wanted, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(wanted[i], name))
            return true;
    return count <= 0;
}

static int run_target(struct fuzz_target *target, const char *root, bool times)
{
    static const char *const kinds[] = {"corpus", "found"};
    double began = now();
    int passed = 0, failed = 0;
    for (int i = 0; i < 2; i++) {
        char folder[700];
        snprintf(folder, sizeof folder, "%s/%s/%s", root, kinds[i], target->name);
        int tried = try_folder(target, folder);
        passed += tried > 0 ? tried : 0;
        failed += tried < 0;
    }
    if (!passed && !failed) {
        fprintf(stderr, "%s: no input is kept for it\n", target->name);
        failed++;
    }
    if (times || failed)
        printf("%-12s %5d held %2d broken %7.2f s\n", target->name, passed, failed, now() - began);
    return failed ? -failed : passed;
}

int main(int count, char **words)
{
    bool times = count > 1 && !strcmp(words[1], "--time");
    int at = times ? 2 : 1;
    if (count > 1 && !strcmp(words[1], "--list")) {
        for (struct fuzz_target *target = fuzz_targets(); target; target = target->next)
            puts(target->name);
        return 0;
    }
    const char *root = at < count ? words[at] : "tests/fuzz";
    int passed = 0, failed = 0;
    for (struct fuzz_target *target = fuzz_targets(); target; target = target->next) {
        if (!is_wanted(target->name, words + at + 1, count - at - 1))
            continue;
        int answer = run_target(target, root, times);
        passed += answer > 0 ? answer : 0;
        failed += answer < 0 ? -answer : 0;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed;
}
