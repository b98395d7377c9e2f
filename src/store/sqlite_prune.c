/* Removal of jobs whose time has passed, or that were deleted (they are in state 3 already). A job goes in steps, each a transaction of
 * at most LIMIT_PRUNE_ROWS rows: state 3; its rows with their page of places, page by page from the front; its cells and uses of blobs;
 * its keys and the job itself. A step needs nothing but what the database says, so after a crash the scan finds the job in state 3 and
 * goes on.
 *
 * A job goes only when all its rows are in the place cache, which its last row, job.ended, proves. All that is removed is
 * therefore before flushed_pos, and the rows behind that have no gap. */
#include "store/sqlite_own.h"

#include "base/limits.h"
#include "store/place.h"

/* Blobs that lost their last use in the present transaction. */
struct unused {
    struct sha shas[LIMIT_PRUNE_ROWS];
    size_t count;
};

void prune_begin(struct sqlite *s, int64_t ended_before_us, int64_t now_us)
{
    struct prune *prune = &s->prune;
    prune->active = true;
    prune->scanned = 0;
    if (ended_before_us > prune->ended_before_us)
        prune->ended_before_us = ended_before_us;
    if (now_us > prune->now_us)
        prune->now_us = now_us;
    if (s->blobs && !s->sweeping && blob_take_abandoned(s->blobs)) {
        s->sweep = (struct blob_sweep){0};
        s->sweeping = true;
    }
}

static sqlite3_stmt *bind_job(struct sqlite *s, int statement, int64_t job)
{
    sqlite3_bind_int64(s->write[statement], 1, job);
    return s->write[statement];
}

/* The position of the last row that the place cache knows of the job, and its seq; 0 none. */
static uint64_t last_place(struct sqlite *s, int64_t job, uint64_t *ret_seq)
{
    sqlite3_stmt *stmt = bind_job(s, WRITE_LAST_PLACE, job);
    uint64_t pos = 0;
    *ret_seq = 0;
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        *ret_seq = (uint64_t)sqlite3_column_int64(stmt, 0) - 1;
        for (struct bytes rest = base_bytes(stmt, 2); place_next(&rest, &pos); ++*ret_seq)
            ;
    }
    sqlite3_reset(stmt);
    return pos;
}

/* All of its rows are in the place cache; says which seq the last one has. */
static bool is_flushed(struct sqlite *s, int64_t job, uint64_t *ret_last_seq)
{
    sqlite3_stmt *stmt = bind_job(s, WRITE_KIND, (int64_t)last_place(s, job, ret_last_seq));
    bool ended = sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int(stmt, 0) == EVENT_JOB_ENDED;
    sqlite3_reset(stmt);
    return ended;
}

static bool has_key(struct sqlite *s, int64_t job)
{
    sqlite3_stmt *stmt = bind_job(s, WRITE_IDEM_ALIVE, job);
    sqlite3_bind_int64(stmt, 2, s->prune.now_us);
    int rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    return rc != SQLITE_DONE;      /* in doubt it has */
}

/* Looks at the next jobs for one that must go. Answers its number, or 0, and says how far it looked and whether that was the end. */
static int64_t scan(struct sqlite *s, int *ret_state, bool *ret_end)
{
    sqlite3_stmt *stmt = bind_job(s, WRITE_JOBS_SCAN, s->prune.scanned);
    int64_t found = 0;
    *ret_end = true;
    while (!found && sqlite3_step(stmt) == SQLITE_ROW) {
        int state = sqlite3_column_int(stmt, 1);
        int64_t job = s->prune.scanned = sqlite3_column_int64(stmt, 0);
        bool old = state == 2 && sqlite3_column_int64(stmt, 2) < s->prune.ended_before_us;
        uint64_t last_seq;
        if (state == 3 || (old && is_flushed(s, job, &last_seq) && !has_key(s, job) && !side_is_awaited(s, job, last_seq)))
            found = job;
        *ret_state = state;
        *ret_end = false;
    }
    sqlite3_reset(stmt);
    return found;
}

static int mark_going(struct sqlite *s, int64_t job)
{
    int rc = write_one(s, WRITE_BEGIN);
    bind_job(s, WRITE_JOB_GOING, job);
    if (rc == SQLITE_OK)
        rc = write_one(s, WRITE_JOB_GOING);
    return write_commit(s, rc);
}

/* One page of places and the rows it tells of. *ret_none: the job has no page any more. */
static int remove_page(struct sqlite *s, int64_t job, bool *ret_none)
{
    sqlite3_stmt *page = bind_job(s, WRITE_FIRST_PLACE, job);
    int rc = sqlite3_step(page);
    uint64_t pos = 0;
    *ret_none = rc == SQLITE_DONE;
    if (rc == SQLITE_ROW) {
        struct bytes rest = base_bytes(page, 2);
        rc = SQLITE_OK;
        while (rc == SQLITE_OK && place_next(&rest, &pos)) {
            bind_job(s, WRITE_EVENT_GONE, (int64_t)pos);
            rc = write_one(s, WRITE_EVENT_GONE);
        }
        sqlite3_bind_int64(bind_job(s, WRITE_PLACE_GONE, job), 2, sqlite3_column_int64(page, 0));
    }
    sqlite3_reset(page);
    if (rc == SQLITE_OK)
        rc = write_one(s, WRITE_PLACE_GONE);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static bool is_used(void *data, const struct sha *sha)
{
    struct sqlite *s = data;
    sqlite3_stmt *stmt = s->write[WRITE_USED];
    sqlite3_bind_blob(stmt, 1, sha->at, SHA_SIZE, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    return rc != SQLITE_DONE;      /* in doubt it is used */
}

static int remove_uses(struct sqlite *s, int64_t job, struct unused *ret)
{
    sqlite3_stmt *uses = bind_job(s, WRITE_USES, job), *gone = s->write[WRITE_USE_GONE];
    int rc;
    sqlite3_bind_int(uses, 2, LIMIT_PRUNE_ROWS);
    for (ret->count = 0; (rc = sqlite3_step(uses)) == SQLITE_ROW;) {
        struct bytes stored = base_bytes(uses, 0);
        if (stored.count == SHA_SIZE)
            memcpy(ret->shas[ret->count++].at, stored.at, SHA_SIZE);
    }
    sqlite3_reset(uses);
    rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    for (size_t i = 0; i < ret->count && rc == SQLITE_OK; i++) {
        sqlite3_bind_blob(gone, 1, ret->shas[i].at, SHA_SIZE, SQLITE_STATIC);
        sqlite3_bind_int64(gone, 2, job);
        rc = write_one(s, WRITE_USE_GONE);
    }
    size_t kept = 0;
    for (size_t i = 0; i < ret->count && rc == SQLITE_OK; i++)
        if (!is_used(s, &ret->shas[i]))
            ret->shas[kept++] = ret->shas[i];
    ret->count = kept;
    return rc;
}

static int64_t changes_of(struct sqlite *s, int statement, int *rc)
{
    if (*rc == SQLITE_OK)
        *rc = write_one(s, statement);
    return *rc == SQLITE_OK ? sqlite3_changes(s->write_db) : 0;
}

/* Cells first, then uses of blobs, then the job: one kind a step while there are many. */
static int remove_rest(struct sqlite *s, int64_t job, struct unused *unused, bool *ret_gone)
{
    int rc = SQLITE_OK;
    sqlite3_bind_int(bind_job(s, WRITE_CELLS_GONE, job), 2, LIMIT_PRUNE_ROWS);
    if (changes_of(s, WRITE_CELLS_GONE, &rc) == LIMIT_PRUNE_ROWS || rc != SQLITE_OK)
        return rc;
    int64_t before = sqlite3_total_changes(s->write_db);
    rc = remove_uses(s, job, unused);
    if (rc != SQLITE_OK || sqlite3_total_changes(s->write_db) - before == LIMIT_PRUNE_ROWS)
        return rc;
    bind_job(s, WRITE_IDEM_GONE, job);
    rc = write_one(s, WRITE_IDEM_GONE);
    if (rc == SQLITE_OK)
        rc = side_remove_readers(s, job);
    bind_job(s, WRITE_JOB_GONE, job);
    if (rc == SQLITE_OK)
        rc = write_one(s, WRITE_JOB_GONE);
    *ret_gone = rc == SQLITE_OK;
    return rc;
}

static void remove_step(struct sqlite *s)
{
    int64_t job = s->prune.job;
    struct unused unused;
    bool none = false, gone = false;
    unused.count = 0;
    int rc = write_one(s, WRITE_BEGIN);
    if (rc == SQLITE_OK)
        rc = remove_page(s, job, &none);
    if (rc == SQLITE_OK && none)
        rc = remove_rest(s, job, &unused, &gone);
    if (write_failed(s, write_commit(s, rc), "pruning"))
        return;                    /* the next step does the same again */
    for (size_t i = 0; i < unused.count && s->blobs; i++)
        blob_remove(s->blobs, &unused.shas[i]);
    if (!gone)
        return;
    s->prune.job = 0;
    outbox_add_pruned(s->outbox, job);
}

void prune_step(struct sqlite *s)
{
    bool end;
    int state;
    if (s->prune.job) {
        remove_step(s);
        return;
    }
    int64_t job = scan(s, &state, &end);
    s->prune.active = job || !end;
    if (job && state != 3 && write_failed(s, mark_going(s, job), "pruning"))
        s->prune.scanned = job - 1;
    else
        s->prune.job = job;
}

void sweep_step(struct sqlite *s)
{
    s->sweeping = blob_sweep(s->blobs, &s->sweep, is_used, s);
}
