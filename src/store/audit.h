/* A log and its stored files looked over from end to end, and its caches made anew.
 *
 * What is true stands in the events; they are read in order and folded as ever, and everything else in the directory is held against what they come
 * to: the rows of jobs, the caches behind the fold (folds, places, cells), uses of blobs, keys, cursors of outward readers. What differs there is
 * *mended* by a rebuild. What is wrong with the events themselves, or with a stored file, no rebuild can mend.
 *
 * That a job was deleted stands in its row alone (state 3), until its events are gone: a rebuild finishes such a removal.
 *
 * Looking needs no lock and changes nothing: it reads one snapshot, also while a server works. A rebuild takes DIR/lock; it is one transaction, which
 * is made whole or not at all.
 *
 * Thread: any; blocks. For tools: nothing of the program runs beside it in this process. */
#pragma once
#include "base/problem.h"

#include <stdint.h>

#define AUDIT_PARTS(X) \
    X(DATABASE,  "database") \
    X(OPENINGS,  "openings") \
    X(EVENTS,    "events") \
    X(JOBS,      "jobs") \
    X(FOLDS,     "folds") \
    X(PLACES,    "places") \
    X(CELLS,     "cells") \
    X(PIPELINES, "pipelines") \
    X(KEYS,      "keys") \
    X(CURSORS,   "cursors") \
    X(RESULTS,   "results by key") \
    X(USES,      "uses of files") \
    X(FILES,     "stored files")

enum audit_part {
#define X(part, name) AUDIT_##part,
    AUDIT_PARTS(X)
#undef X
    AUDIT_PARTS_COUNT
};
const char *audit_part_name(enum audit_part part);

enum audit_grade {
    AUDIT_NOTE,            /* no harm */
    AUDIT_CACHE,           /* a rebuild mends it */
    AUDIT_LOST,            /* it does not */
    AUDIT_GRADES_COUNT
};

struct audit_finding {
    enum audit_grade grade;
    enum audit_part part;
    const char *job;       /* id, or its number where that is all that is known; "" = of no job */
    uint64_t seq;          /* of the event; 0 = of none */
    const char *text;      /* what is wrong, without a full stop */
};

struct audit {
    /* the caller's */
    void *data;
    void (*found)(void *data, const struct audit_finding *finding);
    /* the answer */
    int64_t looked[AUDIT_PARTS_COUNT];                       /* rows, pages, files … that were there */
    int64_t findings[AUDIT_PARTS_COUNT][AUDIT_GRADES_COUNT];
    int64_t broken;        /* jobs whose events do not come to a job any more */
    int64_t dropped;       /* of these, forgotten by the rebuild */
    int64_t format;        /* of the log as it was found */
};

/* 0: looked at, however much was found; -1 and a problem: it could not be. */
int audit_look(const char *dir, struct audit *audit, struct problem *problem);

/* Makes the caches anew, and brings a log of an earlier format up to the present one. With `drop` broken jobs are forgotten, all their events; without,
 * one of them is reason to change nothing: -1 and a problem. Findings are told as they are met; those of a cache are mended then. */
int audit_rebuild(const char *dir, bool drop, struct audit *audit, struct problem *problem);

int64_t audit_count(const struct audit *audit, enum audit_grade grade);      /* findings of all parts */
