#include "store/sqlite_own.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* Jobs as of the last flush: those still open, and those that ended behind it. CROSS JOIN keeps the short tail on the outside. */
static const char open_jobs[] = "SELECT job, id, state, fold FROM job WHERE state<2 ORDER BY job";
static const char ended_jobs[] = "SELECT j.job, j.id, j.state, j.fold FROM event e CROSS JOIN job j ON j.job=e.job "
                                 "WHERE e.pos>(SELECT flushed_pos FROM mark) AND e.kind=12 AND j.state=2 ORDER BY e.pos";
_Static_assert(EVENT_JOB_ENDED == 12, "the query above says so");

/* What a query walks over. */
struct walk {
    struct sqlite *s;
    struct log_opening *opening;
    int64_t *jobs;                 /* told so far; owned */
    size_t jobs_count;
    int64_t job;                   /* whose cells are told */
    uint64_t pos;                  /* of the last row told, or flushed_pos */
    bool gap;                      /* the row behind pos is missing */
};

static void tell_pipeline(struct walk *walk, sqlite3_stmt *stmt)
{
    struct sha hash = {0};
    struct bytes stored = base_bytes(stmt, 0);
    if (stored.count == SHA_SIZE)
        memcpy(hash.at, stored.at, SHA_SIZE);
    walk->opening->pipeline(walk->opening->data, &hash, base_bytes(stmt, 1));
}

static void tell_job(struct walk *walk, sqlite3_stmt *stmt)
{
    int64_t job = sqlite3_column_int64(stmt, 0);
    walk->jobs = mem_grow(walk->jobs, (walk->jobs_count + 1) * sizeof *walk->jobs);
    walk->jobs[walk->jobs_count++] = job;
    walk->opening->job(walk->opening->data, job, base_bytes(stmt, 1), sqlite3_column_int(stmt, 2), base_bytes(stmt, 3));
}

static void tell_cell(struct walk *walk, sqlite3_stmt *stmt)
{
    walk->opening->cell(walk->opening->data, walk->job, (uint32_t)sqlite3_column_int64(stmt, 0), base_bytes(stmt, 1));
}

static void tell_reader(struct walk *walk, sqlite3_stmt *stmt)
{
    char name[64];
    struct bytes stored = base_bytes(stmt, 0);
    snprintf(name, sizeof name, "%.*s", BYTES_ARG(stored));
    if (walk->opening->reader)
        walk->opening->reader(walk->opening->data, name, sqlite3_column_int64(stmt, 1), (uint64_t)sqlite3_column_int64(stmt, 2));
}

static void tell_row(struct walk *walk, sqlite3_stmt *stmt)
{
    struct row *row = base_row(stmt);
    walk->gap = walk->gap || row->pos != walk->pos + 1;
    if (!walk->gap) {
        walk->pos = row->pos;
        walk->opening->row(walk->opening->data, row);
    }
    row_unref(row);
}

/* Tells each row of the query's answer; `key` is its one parameter, if it has one. */
static int each(struct walk *walk, const char *query, int64_t key, void (*tell)(struct walk *walk, sqlite3_stmt *stmt))
{
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(walk->s->write_db, query, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return rc;
    if (sqlite3_bind_parameter_count(stmt))
        sqlite3_bind_int64(stmt, 1, key);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        tell(walk, stmt);
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int tell_all(struct walk *walk)
{
    int rc = each(walk, "SELECT hash, text FROM pipeline", 0, tell_pipeline);
    if (rc == SQLITE_OK)
        rc = each(walk, open_jobs, 0, tell_job);
    if (rc == SQLITE_OK)
        rc = each(walk, ended_jobs, 0, tell_job);
    for (size_t i = 0; i < walk->jobs_count && rc == SQLITE_OK; i++) {
        walk->job = walk->jobs[i];
        rc = each(walk, "SELECT page, body FROM cell WHERE job=? ORDER BY page", walk->job, tell_cell);
    }
    if (rc == SQLITE_OK)
        rc = each(walk, "SELECT r.name, r.job, r.seq FROM reader r CROSS JOIN job j ON j.job=r.job WHERE j.state<3", 0, tell_reader);
    if (rc == SQLITE_OK)
        rc = each(walk, "SELECT pos, job, seq, epoch, at, kind, item, attempt, body FROM event WHERE pos>? ORDER BY pos",
                  (int64_t)walk->pos, tell_row);
    return rc;
}

/* A number that no other opening of this log has, nor one of a copy of it: a backup and what it was made of go on apart, and what either of them
 * tells must never bear a name that the other one has given. So it is the time, to the microsecond; where the clock is behind of that, chance. */
static int64_t new_epoch(int64_t last, int64_t wall_us)
{
    uint32_t chance = 0;
    if (wall_us > last)
        return wall_us;
    sqlite3_randomness(sizeof chance, &chance);
    return last + 1 + chance % 1000000;
}

/* The epoch is durable before anything is stamped with it. */
static int begin_epoch(struct sqlite *s, int64_t *ret)
{
    int64_t wall_us = base_wall_us();
    int64_t epoch = new_epoch(base_number(s->write_db, "SELECT max(epoch) FROM opening", 0), wall_us);
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(s->write_db, "INSERT INTO opening VALUES (?,?,'rivulet')", -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int64(stmt, 1, epoch);
    sqlite3_bind_int64(stmt, 2, wall_us);
    rc = base_run(stmt);
    sqlite3_finalize(stmt);
    *ret = epoch;
    return rc;
}

int open_tell(struct sqlite *s, struct log_opening *opening, struct problem *problem)
{
    int64_t flushed = base_number(s->write_db, "SELECT flushed_pos FROM mark", -1), epoch;
    if (flushed < 0 || begin_epoch(s, &epoch) != SQLITE_OK)
        return base_problem(s, problem, "could not be written");
    struct walk walk = {.s = s, .opening = opening, .pos = (uint64_t)flushed};
    int rc = tell_all(&walk);
    free(walk.jobs);
    if (rc != SQLITE_OK)
        return base_problem(s, problem, "could not be read");
    if (walk.gap)
        return problem_set(problem, "%s/log.db is damaged: event %llu is missing; put a backup in its place.", s->dir,
                           (unsigned long long)walk.pos + 1);
    opening->epoch = epoch;
    opening->last_pos = walk.pos;
    return 0;
}
