#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { NOTES = 30 };

struct note {
    int64_t now_us;
    const char *what;
    int64_t job, item, number;
};

/* Shared with the parent, which tells the story when the child cannot. */
static struct shared {
    uint64_t seed;
    size_t count;
    struct note notes[NOTES];
    uint64_t tallies[TALLY_COUNT];
} *all, *own;

void report_share(size_t processes)
{
    all = mmap(NULL, processes * sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        abort();
    own = all;
}

void report_of(size_t process)
{
    own = &all[process];
}

void report_begin(struct sim *sim)
{
    own->seed = sim->seed;
    own->count = 0;
}

uint64_t report_seed(size_t process)
{
    return all[process].seed;
}

static void show(const struct note *note)
{
    printf("  %12.6f s  %s", (double)note->now_us / 1e6, note->what);
    if (note->job)
        printf("  job %lld", (long long)note->job);
    if (note->item >= 0)
        printf("  item %lld", (long long)note->item);
    printf("  (%lld)\n", (long long)note->number);
}

void sim_note(struct sim *sim, const char *what, int64_t job, int64_t item, int64_t number)
{
    struct note *note = &own->notes[own->count++ % NOTES];
    *note = (struct note){sim->now_us, what, job, item, number};
    if (sim->verbose)
        show(note);
}

void report_notes(size_t process)
{
    struct shared *shared = &all[process];
    size_t from = shared->count > NOTES ? shared->count - NOTES : 0;
    printf("the last %zu events:\n", shared->count - from);
    for (; from < shared->count; from++)
        show(&shared->notes[from % NOTES]);
}

void sim_tally(enum tally tally, uint64_t count)
{
    own->tallies[tally] += count;
}

void report_tallies(size_t processes)
{
    static const char *const names[TALLY_COUNT] = {"events", "jobs", "power cuts", "clean stops", "late words", "given up", "rows seen",
                                                   "of them from disk", "documents", "keys asked again", "retries",
                                                   "begun at remote sides", "adopted", "records", "skips of a stop"};
    for (int tally = 0; tally < TALLY_COUNT; tally++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < processes; i++)
            sum += all[i].tallies[tally];
        printf("%s%llu %s", tally ? ", " : "", (unsigned long long)sum, names[tally]);
    }
    printf("\n");
}

/* Nothing is cleaned up: the life is over, and so is the process. */
void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list args;
    printf("seed %llu broke a rule: ", (unsigned long long)sim->seed);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    report_notes((size_t)(own - all));
    fflush(stdout);
    _Exit(1);
}
