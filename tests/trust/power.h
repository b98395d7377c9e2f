/* Power loss, tried in one program: the real store lives through a story while everything that reaches its files is written down; then images
 * of the disk are made as a power cut may leave them at any moment, and each is opened by the real opening code.
 *
 *     power_story.c    the story: jobs from their upload to their removal, over the real store, log and blobs
 *     power_machine.c  a store with its log and blobs on a loop of its own
 *     power_seam.c     where file operations are seen (calls of our own code by the linker's --wrap, SQLite's by its VFS), counted and failed
 *     power_ways.c     by which call paths they are come to
 *     power_journal.c  what was seen, in memory that outlives the process that did it
 *     power_image.c    the disk at a moment: what was synced, and any part of what was not
 *     power_check.c    what must hold of an image
 *     power.c          the command line, the rows
 *
 * A story runs in a child process; its journal lies in shared memory, so that it is there however the child ended.
 *
 * There is a long story, for images, and a short one, for failures: each of its writes, syncs and changes of names and sizes fails in a life
 * of its own, once with EIO and once without space. So that this is soon done a page in the WAL counts as many (WAL_PAGE_COUNTS: checkpoints
 * come early) and the log thread's pauses are shortened (PAUSE_PART).
 *
 * No two lives are quite alike, as their threads are free, and the long story goes ways that the short one does not. So the call paths to
 * operations are listed, in lives in which nothing fails; those of either story on which nothing has failed in the end are looked for. */
#pragma once
#include "base/hash.h"
#include "base/rng.h"
#include "core/row.h"
#include "store/store.h"
#include "store/sqlite.h"

#include <stdio.h>

enum { DIRS_MAX = 600, FILES_MAX = 20000, OPS_MAX = 400000, SECTOR = 512, PATH_ROOM = 256, WAYS_MAX = 4096, WAL_PAGE_COUNTS = 10, PAUSE_PART = 10 };
#define DATA_MAX (256u << 20)

/* ---- the journal ---- */

enum op_kind { OP_CREATE, OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_MKDIR, OP_RENAME, OP_UNLINK, OP_SYNC_DIR,
               OP_TOLD,            /* a row was told as durable: `data` is a struct told_row */
               OP_PHASE,           /* `at`: enum phase */
               OP_GOING,           /* job `at` may go from now on */
               OP_FAULT };         /* an operation on what has code `id` and is called `name` was made to fail */

/* `id`: a file's number, or a directory's. Names belong to directories: create, rename (to; `from` says where it was) and unlink change them. */
struct op {
    enum op_kind kind;
    uint32_t id, dir, from;        /* from: a directory */
    char name[72], from_name[72];
    int64_t at;                    /* offset, size … */
    size_t data, count;            /* in journal->bytes */
};

struct told_row {
    uint64_t pos, seq;
    int64_t job, epoch, at_us, item;
    uint32_t kind, attempt;
    size_t body_bytes;
    char body[];
};

enum phase { PHASE_NONE, PHASE_CREATION, PHASE_UPLOAD, PHASE_CLAIMS, PHASE_FINISHES, PHASE_FLUSH, PHASE_CHECKPOINT, PHASE_REMOVAL, PHASE_STOP,
             PHASE_START, PHASE_UPGRADE, PHASE_COUNT };
extern const char *const phase_names[PHASE_COUNT];

struct name { uint32_t dir; char text[72]; uint32_t id; bool is_dir, used; };

/* A file or directory by one number; 0 is none. */
static inline uint32_t code_of(bool is_dir, uint32_t id)
{
    return 1 + id + (is_dir ? FILES_MAX : 0);
}

enum fault_kind { FAULT_NONE, FAULT_WRITE, FAULT_SYNC, FAULT_CHANGE, FAULT_COUNT };      /* change: truncate, rename, unlink, make, create */
struct fault {
    enum fault_kind kind;
    int64_t number;                /* from 1: the operation of that kind that fails */
    uint64_t way;                  /* not 0: instead the first on that call path */
    int64_t times;                 /* how many of them in a row */
    int error;                     /* EIO or ENOSPC */
};

/* Call paths to operations of a kind: a table of hashes, 0 = free. */
struct ways { uint64_t at[WAYS_MAX]; };

struct journal {
    size_t ops_count, bytes_count;
    uint32_t files, dirs;
    struct name names[FILES_MAX];  /* as they are now */
    size_t names_count;
    struct op ops[OPS_MAX];
    struct fault fault;
    int64_t seen[FAULT_COUNT];     /* operations of each kind so far */
    uint32_t failed_sync;          /* code of what could not be synced last; 0 none */
    int64_t retried;               /* syncs of such a one afterwards */
    enum phase phase;              /* the present one */
    struct ways ways[FAULT_COUNT]; /* taken so far; only a life in which nothing is to fail fills them */
    uint64_t failed_way;           /* the one on which the first failure lay; 0 none */
    char bytes[DATA_MAX];
};
extern struct journal *journal;    /* shared; NULL = nothing is written down */
void journal_open(void);           /* makes the shared memory */
void journal_begin(const char *root);      /* empties it; what lies under `root` from now on is watched */
void journal_stop(void);           /* this process is watched no more */

/* Everything below: in the child only, mutex held between lock and unlock. */
bool journal_lock(void);           /* false: nothing is watched */
void journal_unlock(void);
struct op *journal_add(enum op_kind kind);
void journal_data(struct op *op, const void *at, size_t count);
/* Where a path leads: *ret_dir and its last name. false: not under the root. `dir`: directory number, or -1 for a path from the root of all. */
bool journal_find(int64_t dir, const char *path, uint32_t *ret_dir, const char **ret_name);
struct name *journal_name(uint32_t dir, const char *name);       /* NULL: there is none */
struct name *journal_new_name(uint32_t dir, const char *name, bool is_dir);      /* with a number of its own */
const char *journal_name_of(uint32_t code);    /* "" when it has none any more */
void journal_told(const struct row *row);
void journal_note(enum op_kind kind, int64_t at);

/* ---- the seam ---- */

void seam_install(void);           /* SQLite's default VFS becomes ours */

/* ---- call paths ---- */

void ways_begin(void);             /* on this thread they begin in the caller; the first call is made before there are children, as it loads a library */
/* The one that leads to this call, for an operation on what has that code and name, in the present phase: never 0. Lock held. */
uint64_t way_here(uint32_t code, const char *name);
void ways_add(struct ways *ways, uint64_t way);
void ways_add_all(struct ways *ways, const struct ways *more);
size_t ways_count(const struct ways *ways);
bool ways_have(const struct ways *ways, uint64_t way);

/* ---- the machine ---- */

struct machine {
    struct store *store;
    struct blobs *blobs;
    struct log *log;
    char problem[600];             /* why it was not opened */
};
extern struct machine machine;     /* one a process */
/* `looks` is called between the log's opening and store_start(): then the folds are what the disk says. 0, or -1: not opened. */
int machine_open(const char *dir, void (*looks)(void));
void machine_close(void);
bool machine_turn(int wait_ms);    /* reads a letter of the log; false: none came in that time */
void machine_settle(void);         /* until all that was accepted is durable */
bool machine_until(const bool *done);      /* turns until it is true; false: that took 10 s */

/* ---- the story ---- */

/* Lives it on the directory; ends the process when the log is not opened (status 3, its sentence on stderr). `full`: the long one. */
void story_live(const char *dir, bool full);
extern const char story_pipeline[];

/* ---- images ---- */

enum lie { LIE_NONE, LIE_WAL_SYNC, LIE_DB_SYNC, LIE_BLOB_SYNC, LIE_BLOB_DIR, LIE_DATA_DIR, LIE_COUNT };
extern const char *const lie_names[LIE_COUNT];
/* The disk before operation number `op`, under `root`: what syncs have made durable (a lying disk forgets some of them), and of the rest what
 * chance leaves. `nothing`: nothing of the rest. */
void image_make(const char *root, size_t op, enum lie lie, bool nothing, struct rng *rng);

/* ---- checks ---- */

/* Opens the image and looks at everything; goes on with it; opens it once more. 0, or -1 and what is wrong. */
int check_image(const char *dir, size_t op, char *ret_wrong, size_t room);
void remove_tree(const char *path);
