/* The simulator: one seed is one life of the store and the engine, on a virtual clock, over a log that loses what was not synced.
 *
 * Everything under test is real: the decider, the engine, the fold, the codec. Simulated are the clocks, the disk's moments (when
 * rows become durable, when it is full, when the power goes), the crew of workers, the clients and the readers. The model (model.h)
 * looks at every durable row and knows the law by itself: it shares no code with the fold.
 *
 * One thread, one life at a time. The parts:
 *
 *     sim.c        the command line; lives on several processes
 *     life.c       the timeline, the machine that boots and dies, what goes wrong
 *     crew.c       workers: good, slow, dead, hung, late
 *     trips.c      calls that leave the machine: remote sides, records
 *     client.c     who submits jobs, uploads slowly, vanishes, cancels, deletes, retries
 *     reader.c     who watches, reads slowly, leaves, resumes
 *     model.c      what the log may say
 *     witness.c    what others see, held against it
 *     report.c     the last events, and the end of a life that broke a rule */
#pragma once
#include "base/heap.h"
#include "base/list.h"
#include "base/rng.h"
#include "core/resource.h"
#include "engine/engine.h"
#include "store/memory.h"
#include "model.h"

#define SECOND 1000000LL
#define MS 1000LL

/* Something that happens at a virtual time. It is off the timeline when it is called. */
struct happening {
    struct heap_node node;
    void (*call)(struct sim *sim, struct happening *happening);
};
#define HAPPENING_OF(happening, type, member) ((type *)((char *)(happening) - offsetof(type, member)))

/* What kind of life it is; drawn from the seed. */
struct temper {
    int64_t turbulent_us;         /* how long things go wrong; then everything must end well */
    int64_t trouble_us;           /* mean time between two troubles */
    unsigned clients, slots;
    unsigned hang_percent, fail_percent, slow_percent;
    unsigned items_max;
    unsigned cut_percent;         /* of the troubles: the power goes */
    bool prunes;
    bool pools;                   /* pipelines have a concurrency, legs share resources */
    bool trips;                   /* pipelines have legs that leave the machine */
};

struct sim {
    uint64_t seed;
    bool verbose;
    struct rng rng;
    int64_t now_us, wall_offset_us;
    struct heap timeline;
    uint64_t happened;            /* happenings so far: bounds a life that goes round in circles */
    struct temper temper;
    bool calm;                    /* nothing goes wrong any more */
    int64_t calm_since_us;
    /* the machine */
    struct memory_disk *disk;
    struct log *log;              /* NULL while the machine is down */
    struct store *store;
    struct engine *engine;
    bool drained;
    struct happening boot, sync, pump, run, trouble, disk_freed;
    bool disk_full;
    bool cut_next;                /* the power goes as soon as the disk has taken a part of what waits */
    bool idle;                    /* the disk had nothing to do: it need not look again */
    struct crew crew;
    struct worker *workers;       /* temper.slots of them */
    struct list ghosts;           /* words that come too late */
    struct crew trips;
    struct list trip_list;        /* those under way */
    uint64_t remotes;             /* begun at remote sides so far: each has a number of its own */
    struct pipeline *pipelines[SIM_PIPELINES];
    struct resources resources;
    struct model model;
    struct client *clients;
    unsigned clients_left;
    struct list readers;
    unsigned readers_left;
    int64_t inputs;               /* items made so far: each has a number of its own */
};

/* What lives went through, summed up: a simulator that does nothing must be seen to do nothing. */
enum tally { TALLY_EVENTS, TALLY_JOBS, TALLY_CUTS, TALLY_STOPS, TALLY_LATE, TALLY_GIVEN_UP, TALLY_SEEN, TALLY_FROM_DISK, TALLY_DOCUMENTS, TALLY_AGAIN, TALLY_RETRIES,
             TALLY_REMOTES, TALLY_ADOPTED, TALLY_RECORDS, TALLY_STOPPED,
             TALLY_COUNT };

/* report.c */
void sim_tally(enum tally tally, uint64_t count);
/* Takes note: shown with -v, and the last ones when the life breaks a rule. `what` is a literal. */
void sim_note(struct sim *sim, const char *what, int64_t job, int64_t item, int64_t number);
_Noreturn void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define SIM_CHECK(sim, truth, ...) do { if (!(truth)) sim_fail(sim, __VA_ARGS__); } while (0)
void report_share(size_t processes);                     /* before the fork: the notes outlive the process that took them */
void report_of(size_t process);                          /* in the child: which one it is */
void report_begin(struct sim *sim);                      /* a life begins */
uint64_t report_seed(size_t process);                    /* the parent: the life that the child is or was at */
void report_notes(size_t process);
void report_tallies(size_t processes);

/* life.c */
void life(uint64_t seed, bool verbose);
void sim_at(struct sim *sim, struct happening *happening, int64_t delay_us);      /* moves it when it stands already */
void sim_not(struct sim *sim, struct happening *happening);
bool sim_chance(struct sim *sim, unsigned percent);
int64_t sim_between(struct sim *sim, int64_t from, int64_t to);                  /* both inclusive */
int64_t sim_spread(struct sim *sim, int64_t from, int64_t to);                   /* small ones more often: spread over magnitudes */
bool sim_up(const struct sim *sim);
struct bytes sim_name(int64_t input, char ret[64]);                              /* what item number `input` is called */

/* crew.c */
/* What a task comes to. */
enum fate { FATE_DONE, FATE_RETRY, FATE_FAIL, FATE_CRASH, FATE_HANG, FATE_HUGE, FATE_BROKEN };
enum fate crew_fate(struct sim *sim);
void crew_say(struct sim *sim, struct token token, uint64_t mark, enum fate fate, bool late);
void crew_ghost(struct sim *sim, struct token token, uint64_t mark);      /* its word comes all the same, too late */
void crew_begin(struct sim *sim);
void crew_power_cut(struct sim *sim);      /* before the engine goes */
void crew_boot(struct sim *sim);
void crew_lose_one(struct sim *sim);       /* an idle worker dies */
void crew_end(struct sim *sim);

/* trips.c */
void trips_begin(struct sim *sim);
void trips_power_cut(struct sim *sim);     /* before the engine goes */

/* client.c */
void clients_begin(struct sim *sim);
void clients_leave(struct sim *sim);       /* the machine goes: all that they hold of it */
void clients_end(struct sim *sim);

/* reader.c */
void reader_new(struct sim *sim, struct model_job *job);
void readers_leave(struct sim *sim);
void readers_end(struct sim *sim);
