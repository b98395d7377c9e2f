/* What the files of the SQLite log share; nobody else includes it.
 *
 *     sqlite.c         the table of calls, the lives of the threads
 *     sqlite_base.c    connections, the schema, statements
 *     sqlite_open.c    what is told at the opening
 *     sqlite_write.c   the log thread: group commit, flushes, checkpoints
 *     sqlite_side.c    the log thread: results by key and cursors of outward readers, written and removed
 *     sqlite_prune.c   the log thread between commits: removal of old jobs, the sweep of blobs
 *     sqlite_read.c    the read thread
 *     backup.c, audit*.c   tools that look at the files of a log from beside it
 *
 * Fields belong to the thread that is said; those of a mailbox to whoever holds its mutex. */
#pragma once
#include "store/outbox.h"
#include "store/sqlite.h"

#include <pthread.h>
#include <sqlite3.h>

#define WRITE_STATEMENTS(X) \
    X(BEGIN,        "BEGIN IMMEDIATE") \
    X(COMMIT,       "COMMIT") \
    X(ROLLBACK,     "ROLLBACK") \
    X(EVENT,        "INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?)") \
    X(PIPELINE,     "INSERT OR IGNORE INTO pipeline VALUES (?,?)") \
    X(JOB,          "INSERT INTO job (job, id, owner, pipeline, state, created_at) VALUES (?,?,?,?,0,?)") \
    X(JOB_STATE,    "UPDATE job SET state=?2, ended_at=?3 WHERE job=?1") \
    X(IDEM,         "INSERT OR REPLACE INTO idem VALUES (?,?,?,?,?)") \
    X(IDEM_GONE,    "DELETE FROM idem WHERE job=?") \
    X(IDEM_ALIVE,   "SELECT 1 FROM idem WHERE job=? AND expires_at>? LIMIT 1") \
    X(USE,          "INSERT OR IGNORE INTO blob_use VALUES (?,?)") \
    X(FOLD,         "UPDATE job SET fold=coalesce(?2, fold) WHERE job=?1 AND state<3") \
    X(LAST_PLACE,   "SELECT first_seq, count, deltas FROM place WHERE job=? ORDER BY first_seq DESC LIMIT 1") \
    X(PLACE,        "INSERT OR REPLACE INTO place VALUES (?,?,?,?)") \
    X(CELL,         "INSERT OR REPLACE INTO cell VALUES (?,?,?)") \
    X(MARK,         "UPDATE mark SET flushed_pos=max(flushed_pos, ?)") \
    X(JOBS_SCAN,    "SELECT job, state, ended_at FROM job WHERE job>? ORDER BY job LIMIT 256") \
    X(JOB_GOING,    "UPDATE job SET state=3 WHERE job=?") \
    X(KIND,         "SELECT kind FROM event WHERE pos=?") \
    X(FIRST_PLACE,  "SELECT first_seq, count, deltas FROM place WHERE job=? ORDER BY first_seq LIMIT 1") \
    X(PLACE_GONE,   "DELETE FROM place WHERE job=? AND first_seq=?") \
    X(EVENT_GONE,   "DELETE FROM event WHERE pos=?") \
    X(CELLS_GONE,   "DELETE FROM cell WHERE job=?1 AND page IN (SELECT page FROM cell WHERE job=?1 LIMIT ?2)") \
    X(USES,         "SELECT sha FROM blob_use WHERE job=? LIMIT ?") \
    X(USE_GONE,     "DELETE FROM blob_use WHERE sha=? AND job=?") \
    X(USED,         "SELECT 1 FROM blob_use WHERE sha=? LIMIT 1") \
    X(JOB_GONE,     "DELETE FROM job WHERE job=?") \
    X(CACHED,       "SELECT bytes FROM cache WHERE key=?") \
    X(CACHE,        "INSERT OR REPLACE INTO cache VALUES (?,?,?,?,NULL)") \
    X(CACHE_OLD,    "SELECT key, bytes, expires_at FROM cache ORDER BY expires_at LIMIT ?") \
    X(CACHE_GONE,   "DELETE FROM cache WHERE key=?") \
    X(READER_NEW,   "INSERT OR REPLACE INTO reader VALUES (?,?,?)") \
    X(READER,       "INSERT OR REPLACE INTO reader SELECT ?1,?2,?3 WHERE EXISTS (SELECT 1 FROM job WHERE job=?2 AND state<3)") \
    X(READER_GONE,  "DELETE FROM reader WHERE name=? AND job=?") \
    X(READERS_GONE, "DELETE FROM reader WHERE job=?") \
    X(AWAITED,      "SELECT 1 FROM reader WHERE job=? AND seq<? LIMIT 1")

#define READ_STATEMENTS(X) \
    X(BEGIN,        "BEGIN") \
    X(COMMIT,       "COMMIT") \
    X(PLACE,        "SELECT first_seq, count, deltas FROM place WHERE job=? AND first_seq<=? ORDER BY first_seq DESC LIMIT 1") \
    X(EVENT,        "SELECT pos, job, seq, epoch, at, kind, item, attempt, body FROM event WHERE pos=?") \
    X(FIND,         "SELECT job, id, owner, fold FROM job WHERE id=? AND state<3") \
    X(FIND_NUMBER,  "SELECT job, id, owner, fold FROM job WHERE job=? AND state<3") \
    X(FIND_KEY,     "SELECT j.job, j.id, j.owner, j.fold, i.print FROM idem i CROSS JOIN job j ON j.job=i.job " \
                    "WHERE i.owner=? AND i.key=? AND (i.expires_at=0 OR i.expires_at>?) AND j.state<3") \
    X(PAGE,         "SELECT job, id, owner, fold FROM job WHERE job<? AND state<3 ORDER BY job DESC LIMIT ?") \
    X(OWNER_PAGE,   "SELECT job, id, owner, fold FROM job WHERE job<? AND owner=?3 AND state<3 ORDER BY job DESC LIMIT ?2") \
    X(CELL,         "SELECT body FROM cell WHERE job=? AND page=?") \
    X(CACHED,       "SELECT value, expires_at FROM cache WHERE key=? AND expires_at>?")

#define X(name, text) WRITE_##name,
enum { WRITE_STATEMENTS(X) WRITE_COUNT };
#undef X
#define X(name, text) READ_##name,
enum { READ_STATEMENTS(X) READ_COUNT };
#undef X

enum { BUSY_MS = 2000 };           /* how long a connection waits for another program's lock */

struct prune {
    bool active;
    int64_t ended_before_us;       /* jobs that ended earlier go; those in state 3 go in any case */
    int64_t now_us;                /* wall; a key that lives on behind it keeps its job */
    int64_t scanned;               /* jobs up to this number were looked at */
    int64_t job;                   /* is going; 0 none */
};

/* The table of results, as the log thread knows it. */
struct cache {
    bool counted;                  /* `bytes` is right: not at first, nor after a failed commit */
    int64_t bytes;                 /* of all rows, as LIMIT_CACHE_BYTES counts them */
    bool cleaning;                 /* steps of removal are due */
    int64_t now_us;                /* wall; what has expired by then goes */
};

struct sqlite {
    struct log log;                /* first: the caller's handle */
    char *dir;                     /* owned; for sentences */
    int lock_fd;                   /* holds DIR/lock */
    struct blobs *blobs;           /* borrowed; may be NULL */
    struct outbox *outbox;
    bool reader_runs, writer_runs; /* threads were started; loop */

    /* The log thread's. */
    pthread_t writer;
    sqlite3 *write_db;
    sqlite3_stmt *write[WRITE_COUNT];
    int64_t last_begin_us;         /* when the last commit began, monotonic */
    int64_t last_prune_us, last_sweep_us;    /* when the last step of each ended, monotonic */
    bool full;                     /* the loop was told that the disk is full */
    int write_errno;               /* the system's error behind the last failure */
    int checkpoint_error;          /* a failed checkpoint of the present commit */
    int64_t restart_from_us;       /* when a commit may next wait for readers, monotonic */
    struct prune prune;
    struct cache cache;
    struct blob_sweep sweep;
    bool sweeping;

    /* The log thread's mailbox. */
    pthread_mutex_t write_mutex;
    pthread_cond_t write_cond;     /* clock: monotonic */
    struct log_entry *entries, **entries_end;
    struct log_flush *flushes, **flushes_end;
    struct log_side *sides, **sides_end;
    struct log_side_count sides_count;
    int64_t sides_from_us;         /* when the first of them came, monotonic */
    bool write_waits;              /* the thread sleeps and wants a signal */
    bool write_closing;
    bool prune_wanted;
    int64_t prune_before_us, prune_now_us;

    /* The read thread's. */
    pthread_t reader;
    sqlite3 *read_db;
    sqlite3_stmt *read[READ_COUNT];

    /* The read thread's mailbox. */
    pthread_mutex_t read_mutex;
    pthread_cond_t read_cond;
    struct log_read *reads, **reads_end;
    struct log_find *finds, **finds_end;
    struct log_cached *cached, **cached_end;
    bool read_closing;
};

/* sqlite_base.c. Those with a problem answer 0 or -1. */
int base_open(struct sqlite *s, struct problem *problem);               /* the write connection, schema, statements */
int base_open_reader(struct sqlite *s, struct problem *problem);
int base_format(void);                                                  /* user_version of the logs that this program writes */
void base_close(struct sqlite *s);                                      /* finalizes, checkpoints, closes both */
int base_problem(struct sqlite *s, struct problem *problem, const char *what);    /* "DIR/log.db: WHAT: what SQLite says." */
int64_t base_number(sqlite3 *db, const char *query, int64_t missing);   /* the one number a query answers */
int base_run(sqlite3_stmt *stmt);                                       /* steps once and resets: SQLITE_OK or the error */
struct bytes base_bytes(sqlite3_stmt *stmt, int column);                /* borrowed until the next step */
struct row *base_row(sqlite3_stmt *stmt);                               /* from the columns of READ_EVENT; refs 1 */
int64_t base_now_us(void);                                              /* monotonic */
int64_t base_wall_us(void);

/* sqlite_open.c */
int open_tell(struct sqlite *s, struct log_opening *opening, struct problem *problem);

/* sqlite_write.c */
void *write_thread(void *s);
int write_after_commit(void *s, sqlite3 *db, const char *name, int pages);        /* the WAL hook: checkpoints */
/* Ends the process if `rc` is an error other than a full disk; tells the loop about full and not full. True: try again. */
bool write_failed(struct sqlite *s, int rc, const char *what);
int write_commit(struct sqlite *s, int rc);           /* COMMIT if rc is SQLITE_OK, else, or when that fails, ROLLBACK */
int write_one(struct sqlite *s, int statement);       /* base_run of a write statement */

/* sqlite_side.c: all answer SQLITE_OK or the error, but for the last */
int side_write(struct sqlite *s, const struct log_side *side);
int side_write_readers(struct sqlite *s, const struct log_entry *entry);      /* of a job.created */
int side_remove_readers(struct sqlite *s, int64_t job);
bool side_is_awaited(struct sqlite *s, int64_t job, uint64_t last_seq);       /* a reader is behind of it */
void side_clean(struct sqlite *s, int64_t now_us);                            /* what has expired is to go */
void side_clean_step(struct sqlite *s);               /* one bounded transaction; clears cache.cleaning at the end */

/* sqlite_prune.c */
void prune_begin(struct sqlite *s, int64_t ended_before_us, int64_t now_us);
void prune_step(struct sqlite *s);                    /* one bounded transaction; clears prune.active at the end */
void sweep_step(struct sqlite *s);                    /* clears sweeping at the end */

/* sqlite_read.c */
void *read_thread(void *s);
