/* What the two files of the crew share: workers.c lets processes come and go, workers_task.c gives them tasks and hears their outcomes. */
#pragma once
#include "base/limits.h"
#include "base/list.h"
#include "engine/keep.h"
#include "engine/workers.h"
#include "os/child.h"

enum slot_state {
    SLOT_WAITING,       /* no process; one will be started when the timer says so */
    SLOT_STARTING,      /* posix_spawn runs in the pool */
    SLOT_LOADING,       /* it has init; ready is awaited, the timer runs */
    SLOT_IDLE,
    SLOT_BUSY,          /* it has a task; the timer is the deadline */
    SLOT_KEEPING,       /* its task is over, its output is being read */
    SLOT_ENDING,        /* killed, or gone by itself: its frames are drained, its end is awaited */
};

struct slot {
    struct workers *workers;
    enum slot_state state;
    struct child child;
    int socket;                     /* our end; -1 = none */
    struct watch *frames, *end;     /* on the socket, on the pidfd; frames is NULL after its EOF */
    struct timer timer;             /* by state: next start, load limit, deadline, leave limit */
    uint32_t failures;              /* starts in a row that did not get to ready */
    struct problem why;             /* LOADING → ENDING: what the worker said, empty when it said nothing */
    bool was_loading;               /* ENDING: it never got to ready */
    bool last;                      /* it asked to be replaced */
    int output_fd;                  /* the file that goes with each task for a long result; -1 = to be made */
    /* The task it has, or had. */
    bool owes;                      /* an outcome has to be told */
    bool late;                      /* ENDING: the outcome was told already; what still comes is late */
    bool refused;                   /* BUSY: it never got the task, which is too long for a frame */
    struct token token;
    char stages[96];                /* for sentences: "decode, decklist" */
    int64_t timeout_us;
    int64_t hint_at_us;             /* of the last hint that was passed on */
    uint64_t hint_status;           /* its hash */
    int hints_early;                /* of this task: passed on at once, because their status was new */
};

struct workers {
    struct crew crew;               /* first, so that the one is the other */
    struct loop *loop;
    struct workers_options options; /* texts, arrays and descriptors are own copies */
    char *room;                     /* LIMIT_FRAME_BYTES: the frame that is being looked at */
    struct buf head, body;          /* of the frame that is being written */
    struct list results;            /* struct result: on their way into blobs */
    size_t keeping;                 /* of them in the pool */
    struct list lessons;            /* struct lesson: what later workers are told too, the oldest first */
    size_t lessons_count, lessons_bytes;
    uint64_t awaited;               /* programs that tasks had to wait for */
    uint32_t failures;              /* starts in a row that failed, of any slot */
    bool broken, ever_ready;
    struct problem problem;         /* of the first of the failures */
    char *loaded;                   /* owned JSON text; NULL before the first ready */
    struct workers_walls walls;
    bool stopping;
    void (*stopped)(void *data);
    void *stopped_data;
    struct timer finish;            /* stopping: all is gone */
    struct slot slots[];            /* options.count */
};

/* workers.c */
void slot_kill(struct slot *slot);              /* to ENDING */
void slot_release(struct slot *slot);           /* its task is over: to IDLE, or out when it is to be replaced */
bool slot_read(struct slot *slot, int max);     /* up to `max` frames; false: the pair has come to its end */
void slot_timer(struct timer *timer);
void workers_settle(struct workers *workers);   /* stopping: finish when nothing is left */

/* workers_task.c */
extern const struct crew_ops workers_ops;
void task_deadline(struct slot *slot);                                   /* BUSY, the timer has run out */
void task_frame(struct slot *slot, struct frame *frame);                 /* BUSY, or ENDING with `late` */
void task_crashed(struct slot *slot, const char *how);                   /* tells what is owed; `how` ends a sentence */
void results_drop(struct workers *workers);                              /* no outcome of them any more */

/* workers_learn.c */
void workers_learn(struct crew *crew, const struct task *task);          /* of crew_ops */
void slot_teach_all(struct slot *slot);                                  /* it has become ready */
void lessons_drop(struct workers *workers);
