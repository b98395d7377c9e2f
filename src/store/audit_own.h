/* What the files of the audit share; nobody else includes it.
 *
 *     audit.c          the order of things: the snapshot or the transaction, the database by itself
 *     audit_walk.c     events in order, folded; which jobs they come to
 *     audit_caches.c   one job: its row, fold, places, cells: compared, or written
 *     audit_sides.c    tables beside the log: pipelines, keys, cursors, results
 *     audit_files.c    uses of blobs, and the files themselves */
#pragma once
#include "store/audit.h"

#include "base/map.h"
#include "core/codec.h"
#include "store/sqlite_own.h"

/* A job as its events tell of it. */
struct subject {
    int64_t job;
    char *id;                  /* from its row, else from job.created; owned */
    bool has_row;
    int state;                 /* of the row */
    bool going;                /* the row says that it is being removed: events may be missing from the front */
    bool broken;               /* does not come to a job; said once */
    bool settled;              /* its caches were looked at or written */
    uint64_t seq;              /* of its last event */
    struct sha pipeline;
    bool ended;
    struct job *fold;          /* NULL once it is ended and settled */
    uint64_t *places;          /* pos of seq first, … */
    size_t places_count, places_room;
};

struct look {
    const char *dir;
    struct audit *audit;
    struct problem *problem;
    sqlite3 *db;
    bool mend, drop;           /* write instead of compare */
    int64_t format;
    struct map subjects;       /* job number → struct subject */
    uint64_t flushed;          /* how far the caches reach, as they say */
    bool behind_flush;         /* the walk is */
    uint64_t pos;              /* of the last row walked */
    int64_t epoch;
    sqlite3_stmt *use;         /* INSERT INTO temp.used */
};

/* audit.c */
void look_found(struct look *look, enum audit_grade grade, enum audit_part part, const struct subject *subject, uint64_t seq, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* A query's rows one by one; `bound` is its first parameter, if it has one. 0, or -1 and the problem. */
int look_each(struct look *look, const char *query, int64_t bound, int (*row)(struct look *look, sqlite3_stmt *stmt, void *data), void *data);
int look_run(struct look *look, const char *statements);
int look_failed(struct look *look);                  /* -1 and what SQLite says */
bool look_has(struct look *look, int64_t format);    /* tables that came with that format are there */
struct subject *look_subject(struct look *look, int64_t job);        /* NULL = there is none */

/* audit_walk.c */
int walk_events(struct look *look);
int walk_rows_without_events(struct look *look);
void walk_break(struct look *look, struct subject *subject, uint64_t seq, const char *why);
bool walk_removes(const struct look *look, const struct subject *subject);        /* the rebuild removes it */
void walk_done(struct look *look);

/* audit_caches.c */
int caches_settle(struct look *look, struct subject *subject);       /* fold, places, cells: as of now */
int caches_settle_row(struct look *look, struct subject *subject);   /* its row, at the end of the walk */
int caches_clear(struct look *look);
int caches_remove(struct look *look, struct subject *subject);       /* its events */

/* audit_sides.c */
int sides_look(struct look *look);
int sides_check_pipelines(struct look *look);         /* breaks open jobs whose text is not there */
int sides_mend(struct look *look);

/* audit_files.c */
int files_begin(struct look *look);
int files_note(struct look *look, const struct event *event);        /* what it names is used */
int files_settle_uses(struct look *look);
int files_look(struct look *look);
