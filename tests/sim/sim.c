/* sim [--seeds N] [--seed S] [-v]: N lives, the first of them with seed S. The seeds are dealt to as many processes as there are
 * processors; a life that breaks a rule prints its seed, the rule and its last events, and ends the run. */
#include "sim.h"

#include "base/bytes.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES_MAX = 8, LIFE_SECONDS_MAX = 60 };

struct wishes {
    uint64_t seeds, from;
    size_t processes;
    bool verbose;
};

static int usage(void)
{
    fprintf(stderr, "usage: sim [--seeds N] [--seed S] [--processes P] [-v]\n");
    return 2;
}

static bool number(const char *text, uint64_t *ret)
{
    return text && bytes_to_u64(bytes_of(text), ret);
}

static int read_wishes(int argc, char **argv, struct wishes *ret)
{
    uint64_t processes = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    *ret = (struct wishes){.seeds = 2000, .from = 1};
    for (int i = 1; i < argc; i++) {
        bool good = true;
        if (!strcmp(argv[i], "-v"))
            ret->verbose = true;
        else if (!strcmp(argv[i], "--seeds"))
            good = number(argv[++i], &ret->seeds);
        else if (!strcmp(argv[i], "--seed"))
            good = number(argv[++i], &ret->from);
        else if (!strcmp(argv[i], "--processes"))
            good = number(argv[++i], &processes);
        else
            good = false;
        if (!good)
            return usage();
    }
    if (ret->verbose || processes < 1)
        processes = 1;
    ret->processes = processes > PROCESSES_MAX ? PROCESSES_MAX : (size_t)processes;
    return ret->seeds ? 0 : usage();
}

static void lives(const struct wishes *wishes, size_t process)
{
    report_of(process);
    for (uint64_t i = process; i < wishes->seeds; i += wishes->processes) {
        alarm(LIFE_SECONDS_MAX);
        life(wishes->from + i, wishes->verbose);
    }
}

/* The child's end as the seed's: what the program under test did to itself (an assert, a fault, an exit) is told here. */
static bool ended_well(size_t process, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 1)    /* it has told already */
        return false;
    printf("seed %llu: the program ended itself with %s %d\n", (unsigned long long)report_seed(process),
           WIFEXITED(status) ? "status" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    report_notes(process);
    return false;
}

static bool run(const struct wishes *wishes)
{
    pid_t children[PROCESSES_MAX] = {0};
    bool good = true;
    for (size_t i = 0; i < wishes->processes; i++) {
        children[i] = fork();
        if (children[i] < 0) {
            perror("sim: fork");
            return false;
        }
        if (!children[i]) {
            lives(wishes, i);
            exit(0);
        }
    }
    for (size_t left = wishes->processes; left; left--) {
        int status;
        pid_t ended = wait(&status);
        for (size_t i = 0; i < wishes->processes; i++) {
            if (children[i] != ended)
                continue;
            children[i] = 0;
            if (good && !ended_well(i, status))
                good = false;
        }
        for (size_t i = 0; !good && i < wishes->processes; i++)
            if (children[i])
                kill(children[i], SIGKILL);
    }
    return good;
}

int main(int argc, char **argv)
{
    struct wishes wishes;
    struct timespec began, ended;
    int answer = read_wishes(argc, argv, &wishes);
    if (answer)
        return answer;
    setvbuf(stdout, NULL, _IOLBF, 0);
    clock_gettime(CLOCK_MONOTONIC, &began);
    report_share(wishes.processes);
    bool good = run(&wishes);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    if (good) {
        report_tallies(wishes.processes);
        printf("seeds %llu to %llu in %.1f s\n", (unsigned long long)wishes.from, (unsigned long long)(wishes.from + wishes.seeds - 1),
               (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    }
    printf("%llu passed, %d failed\n", good ? (unsigned long long)wishes.seeds : 0ULL, good ? 0 : 1);
    return good ? 0 : 1;
}
