/* The log thread. It sleeps until something is handed over, then makes groups:
 *
 *     BEGIN IMMEDIATE
 *       rows in order          event, and exactly with it: pipeline, job, job.state, idem, reader, blob_use
 *       flushes that are due   place, cell, job.fold, mark: those whose pos is not behind a row that still waits
 *       words beside them      cache, reader: some of them; without a row to go with they wait a little
 *     COMMIT  (fsync)          then one message to the loop: durable up to the last row's pos
 *
 * Between groups it takes one step of pruning or of the sweep, if one is due. */
#include "store/sqlite_own.h"

#include "base/limits.h"
#include "base/mem.h"
#include "store/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    COMMIT_EVERY_US = 1000,
    GATHER_US = 50,                /* a thread that was asleep waits so long for what follows from the first row: the next start of an outcome */
    FULL_RETRY_US = 200000,
    FULL_TRIES_AT_CLOSE = 10,
    SIDES_WAIT_US = 100000,        /* how long words beside the log wait for rows whose fsync they can share */
    PRUNE_EVERY_US = 10000,        /* while rows come in; without them the steps follow one another */
    SWEEP_EVERY_US = 20000,
    RESTART_BUSY_MS = 20,          /* how long a commit waits for readers when the WAL has grown too long … */
    RESTART_EVERY_US = 1000000,    /* … and how often it does */
    EXIT_LOG = 70,
};

/* What one transaction takes. */
struct group {
    struct log_entry *entries;
    struct log_flush *flushes;
    struct log_side *sides;
    uint64_t last_pos;             /* of the last entry; 0 without one */
};

/* A row of the place cache that is being filled. */
struct page {
    struct buf deltas;
    uint64_t first_seq, last_pos;
    size_t count;
    bool changed;
};

static void sleep_until(int64_t monotonic_us)
{
    struct timespec until = {monotonic_us / 1000000, monotonic_us % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

int write_one(struct sqlite *s, int statement)
{
    return base_run(s->write[statement]);
}

static int write_for_job(struct sqlite *s, int statement, int64_t job)
{
    sqlite3_bind_int64(s->write[statement], 1, job);
    return write_one(s, statement);
}

/* ---- failures ---- */

/* Errors after which the database is what it was before, and another try may succeed: no space for the WAL or its index, or
 * another program holds the write lock. A failed sync is never among them. */
static bool may_succeed_later(struct sqlite *s, int rc)
{
    int error = s->write_errno;
    if ((rc & 0xff) == SQLITE_FULL || (rc & 0xff) == SQLITE_BUSY || rc == SQLITE_IOERR_SHMSIZE)
        return true;
    return rc == SQLITE_IOERR_WRITE && (error == ENOSPC || error == EDQUOT || error == EFBIG);
}

/* The system's error at the last write to the WAL, where a commit fails. sqlite3_system_errno() does not know it. */
static int wal_errno(struct sqlite *s)
{
    sqlite3_file *wal = NULL;
    int error = 0;
    sqlite3_file_control(s->write_db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (wal && wal->pMethods)
        wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &error);
    return error;
}

static _Noreturn void end_process(struct sqlite *s, int rc, const char *what)
{
    fprintf(stderr, "rivulet: %s/log.db: %s failed (%s, code %d, %s); what the disk holds is unknown now, so the process ends; "
            "start it again to recover.\n", s->dir, what, sqlite3_errstr(rc), rc,
            s->write_errno ? strerror(s->write_errno) : "no system error");
    _exit(EXIT_LOG);
}

bool write_failed(struct sqlite *s, int rc, const char *what)
{
    if (rc != SQLITE_OK && !may_succeed_later(s, rc))
        end_process(s, rc, what);
    bool full = rc != SQLITE_OK;
    if (full != s->full)
        outbox_add_full(s->outbox, full);
    s->full = full;
    return full;
}

int write_commit(struct sqlite *s, int rc)
{
    s->checkpoint_error = SQLITE_OK;
    if (rc == SQLITE_OK) {
        int64_t began_us = base_now_us();
        rc = write_one(s, WRITE_COMMIT);
        histogram_add(&s->log.commits, base_now_us() - began_us);
    }
    if (rc != SQLITE_OK) {
        s->write_errno = wal_errno(s);
        if (!sqlite3_get_autocommit(s->write_db))
            write_one(s, WRITE_ROLLBACK);
        return rc;
    }
    if (s->checkpoint_error != SQLITE_OK)
        end_process(s, s->checkpoint_error, "a checkpoint");
    return SQLITE_OK;
}

/* SQLite's own checkpoints ignore a failed sync, so they are made here and their answers looked at. One that finds no space
 * or a reader in its way is made up for later. */
int write_after_commit(void *data, sqlite3 *db, const char *name, int pages)
{
    struct sqlite *s = data;
    int64_t now = base_now_us();
    if (pages < LIMIT_CHECKPOINT_PAGES)
        return SQLITE_OK;
    bool restart = pages >= LIMIT_WAL_PAGES && now >= s->restart_from_us;
    sqlite3_busy_timeout(db, RESTART_BUSY_MS);
    int rc = sqlite3_wal_checkpoint_v2(db, name, restart ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    sqlite3_busy_timeout(db, BUSY_MS);
    if (restart)
        s->restart_from_us = now + RESTART_EVERY_US;
    s->write_errno = 0;
    if (rc != SQLITE_OK)
        sqlite3_file_control(db, name, SQLITE_FCNTL_LAST_ERRNO, &s->write_errno);
    if (rc != SQLITE_OK && !may_succeed_later(s, rc) && (rc & 0xff) != SQLITE_LOCKED)
        s->checkpoint_error = rc;
    return SQLITE_OK;
}

/* ---- rows ---- */

static void bind_view(sqlite3_stmt *stmt, int place, const void *at, size_t count)
{
    sqlite3_bind_blob64(stmt, place, at, count, SQLITE_STATIC);
}

static int write_row(struct sqlite *s, const struct row *row)
{
    sqlite3_stmt *stmt = s->write[WRITE_EVENT];
    sqlite3_bind_int64(stmt, 1, (int64_t)row->pos);
    sqlite3_bind_int64(stmt, 2, row->job);
    sqlite3_bind_int64(stmt, 3, (int64_t)row->seq);
    sqlite3_bind_int64(stmt, 4, row->epoch);
    sqlite3_bind_int64(stmt, 5, row->at_us);
    sqlite3_bind_int(stmt, 6, (int)row->kind);
    if (row->item >= 0) {
        sqlite3_bind_int64(stmt, 7, row->item);
        sqlite3_bind_int64(stmt, 8, row->attempt);
    } else {
        sqlite3_bind_null(stmt, 7);
        sqlite3_bind_null(stmt, 8);
    }
    sqlite3_bind_text64(stmt, 9, row->body, row->body_bytes, SQLITE_STATIC, SQLITE_UTF8);
    return write_one(s, WRITE_EVENT);
}

static int write_job(struct sqlite *s, const struct log_entry *entry)
{
    sqlite3_stmt *job = s->write[WRITE_JOB], *pipeline = s->write[WRITE_PIPELINE];
    int rc = SQLITE_OK;
    if (entry->pipeline_text) {
        bind_view(pipeline, 1, entry->pipeline_hash.at, SHA_SIZE);
        sqlite3_bind_text(pipeline, 2, entry->pipeline_text, -1, SQLITE_STATIC);
        rc = write_one(s, WRITE_PIPELINE);
    }
    sqlite3_bind_int64(job, 1, entry->row->job);
    sqlite3_bind_text(job, 2, entry->job_id, -1, SQLITE_STATIC);
    sqlite3_bind_text(job, 3, entry->owner ? entry->owner : "", -1, SQLITE_STATIC);
    bind_view(job, 4, entry->pipeline_hash.at, SHA_SIZE);
    sqlite3_bind_int64(job, 5, entry->row->at_us);
    return rc == SQLITE_OK ? write_one(s, WRITE_JOB) : rc;
}

static int write_key(struct sqlite *s, const struct log_entry *entry)
{
    sqlite3_stmt *stmt = s->write[WRITE_IDEM];
    sqlite3_bind_text(stmt, 1, entry->owner ? entry->owner : "", -1, SQLITE_STATIC);
    sqlite3_bind_text64(stmt, 2, entry->key, entry->key_bytes, SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_int64(stmt, 3, entry->row->job);
    bind_view(stmt, 4, entry->print.at, SHA_SIZE);
    sqlite3_bind_int64(stmt, 5, entry->key_expires_us);
    return write_one(s, WRITE_IDEM);
}

static int write_job_state(struct sqlite *s, const struct row *row)
{
    sqlite3_stmt *stmt = s->write[WRITE_JOB_STATE];
    bool ended = row->kind == EVENT_JOB_ENDED;
    sqlite3_bind_int64(stmt, 1, row->job);
    sqlite3_bind_int(stmt, 2, ended ? 2 : 1);
    if (ended)
        sqlite3_bind_int64(stmt, 3, row->at_us);
    else
        sqlite3_bind_null(stmt, 3);
    return write_one(s, WRITE_JOB_STATE);
}

static int write_entry(struct sqlite *s, const struct log_entry *entry)
{
    const struct row *row = entry->row;
    int rc = write_row(s, row);
    if (rc == SQLITE_OK && row->kind == EVENT_JOB_CREATED)
        rc = write_job(s, entry);
    if (rc == SQLITE_OK && entry->readers_count)
        rc = side_write_readers(s, entry);
    if (rc == SQLITE_OK && (row->kind == EVENT_JOB_SEALED || row->kind == EVENT_JOB_ENDED))
        rc = write_job_state(s, row);
    if (rc == SQLITE_OK && entry->key)
        rc = write_key(s, entry);
    if (rc == SQLITE_OK && entry->frees_key)
        rc = write_for_job(s, WRITE_IDEM_GONE, row->job);
    for (size_t i = 0; i < entry->blobs_count && rc == SQLITE_OK; i++) {
        bind_view(s->write[WRITE_USE], 1, entry->blobs[i].at, SHA_SIZE);
        sqlite3_bind_int64(s->write[WRITE_USE], 2, row->job);
        rc = write_one(s, WRITE_USE);
    }
    return rc;
}

/* ---- flushes ---- */

static int write_page(struct sqlite *s, int64_t job, struct page *page)
{
    sqlite3_stmt *stmt = s->write[WRITE_PLACE];
    if (!page->changed)
        return SQLITE_OK;
    sqlite3_bind_int64(stmt, 1, job);
    sqlite3_bind_int64(stmt, 2, (int64_t)page->first_seq);
    sqlite3_bind_int64(stmt, 3, (int64_t)page->count);
    bind_view(stmt, 4, page->deltas.at, page->deltas.count);
    return write_one(s, WRITE_PLACE);
}

/* The job's last page, so that it goes on growing: else a quiet job would leave a page for each of its flushes. */
static int load_page(struct sqlite *s, int64_t job, struct page *page)
{
    sqlite3_stmt *stmt = s->write[WRITE_LAST_PLACE];
    sqlite3_bind_int64(stmt, 1, job);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        struct bytes rest = base_bytes(stmt, 2);
        page->first_seq = (uint64_t)sqlite3_column_int64(stmt, 0);
        buf_put(&page->deltas, rest);
        while (place_next(&rest, &page->last_pos))
            page->count++;
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int write_places(struct sqlite *s, const struct log_job_cache *cache)
{
    struct page page = {0};
    buf_init(&page.deltas, LIMIT_PLACE_SEQS * PLACE_BYTES_MAX);
    int rc = cache->places_count ? load_page(s, cache->job, &page) : SQLITE_OK;
    uint64_t end = page.first_seq + page.count;       /* seqs before it are there already */
    for (size_t i = 0; i < cache->places_count && rc == SQLITE_OK; i++) {
        uint64_t seq = cache->places_from + i;
        if (seq < end)
            continue;
        if (page.count >= LIMIT_PLACE_SEQS || seq != page.first_seq + page.count) {
            rc = write_page(s, cache->job, &page);
            page = (struct page){.deltas = page.deltas, .first_seq = seq};
            buf_clear(&page.deltas);
        }
        place_add(&page.deltas, &page.last_pos, cache->places[i]);
        page.count++;
        page.changed = true;
    }
    if (rc == SQLITE_OK)
        rc = write_page(s, cache->job, &page);
    buf_done(&page.deltas);
    return rc;
}

/* A job that is going or gone takes no caches any more. */
static int write_cache(struct sqlite *s, const struct log_job_cache *cache)
{
    sqlite3_stmt *fold = s->write[WRITE_FOLD], *cell = s->write[WRITE_CELL];
    bind_view(fold, 2, cache->fold.at, cache->fold.count);
    int rc = write_for_job(s, WRITE_FOLD, cache->job);
    if (rc != SQLITE_OK || sqlite3_changes(s->write_db) == 0)
        return rc;
    rc = write_places(s, cache);
    for (size_t i = 0; i < cache->cells_count && rc == SQLITE_OK; i++) {
        sqlite3_bind_int64(cell, 2, cache->cells[i].page);
        bind_view(cell, 3, cache->cells[i].body, cache->cells[i].bytes);
        rc = write_for_job(s, WRITE_CELL, cache->job);
    }
    return rc;
}

static int write_flush(struct sqlite *s, const struct log_flush *flush)
{
    int rc = SQLITE_OK;
    if (flush->removed_job)        /* the steps of pruning find it in state 3 and do the rest */
        return write_for_job(s, WRITE_JOB_GOING, flush->removed_job);
    for (size_t i = 0; i < flush->count && rc == SQLITE_OK; i++)
        rc = write_cache(s, &flush->jobs[i]);
    sqlite3_bind_int64(s->write[WRITE_MARK], 1, (int64_t)flush->pos);
    return rc == SQLITE_OK ? write_one(s, WRITE_MARK) : rc;
}

/* ---- groups ---- */

static int write_group(struct sqlite *s, const struct group *group)
{
    int rc = write_one(s, WRITE_BEGIN);
    for (const struct log_entry *entry = group->entries; entry && rc == SQLITE_OK; entry = entry->next)
        rc = write_entry(s, entry);
    for (const struct log_flush *flush = group->flushes; flush && rc == SQLITE_OK; flush = flush->next)
        rc = write_flush(s, flush);
    for (const struct log_side *side = group->sides; side && rc == SQLITE_OK; side = side->next)
        rc = side_write(s, side);
    rc = write_commit(s, rc);
    s->cache.counted = s->cache.counted && rc == SQLITE_OK;
    return rc;
}

static bool is_closing(struct sqlite *s)
{
    pthread_mutex_lock(&s->write_mutex);
    bool closing = s->write_closing;
    pthread_mutex_unlock(&s->write_mutex);
    return closing;
}

static void commit_group(struct sqlite *s, struct group *group)
{
    int rc, tries_at_close = 0;
    s->last_begin_us = base_now_us();
    while (write_failed(s, rc = write_group(s, group), "a commit")) {
        if (is_closing(s) && ++tries_at_close > FULL_TRIES_AT_CLOSE)
            end_process(s, rc, "the last commit");
        sleep_until(base_now_us() + FULL_RETRY_US);
        s->last_begin_us = base_now_us();
    }
    for (const struct log_flush *flush = group->flushes; flush; flush = flush->next)
        if (flush->removed_job)
            prune_begin(s, 0, 0);
    outbox_add_commit(s->outbox, group->last_pos, group->flushes);
    for (struct log_entry *entry = group->entries, *next; entry; entry = next) {
        next = entry->next;
        log_entry_free(entry);
    }
    log_forget_sides(group->sides, NULL);
}

/* Mutex held. */
static struct log_side *take_sides(struct sqlite *s)
{
    struct log_side *taken = s->sides, **end = &s->sides;
    size_t count = 0, bytes = 0;
    for (; *end && count < LIMIT_SIDE_ROWS; end = &(*end)->next, count++) {
        bytes += (*end)->value.count;
        if (count && bytes > LIMIT_SIDE_BYTES)
            break;
        log_side_gone(&s->sides_count, *end);
    }
    s->sides = *end;
    *end = NULL;
    if (!s->sides)
        s->sides_end = &s->sides;
    s->sides_from_us = 0;          /* what is left has waited */
    return count ? taken : NULL;
}

/* Cuts the front of the queues off, never between entries that are joined. Mutex held. */
static void take_group(struct sqlite *s, struct group *ret)
{
    size_t count = 0, bytes = 0;
    struct log_entry **end = &s->entries;
    bool joined = false;
    *ret = (struct group){.entries = s->entries, .flushes = s->flushes};
    for (; *end && (joined || count < LIMIT_COMMIT_EVENTS); end = &(*end)->next, count++) {
        bytes += (*end)->row->body_bytes;
        if (count && !joined && bytes > LIMIT_COMMIT_BYTES)
            break;
        ret->last_pos = (*end)->row->pos;
        joined = (*end)->joined;
    }
    s->entries = *end;
    *end = NULL;
    if (!s->entries)
        s->entries_end = &s->entries;
    if (!count)
        ret->entries = NULL;
    struct log_flush **flush = &ret->flushes;
    while (*flush && (!s->entries || (*flush)->pos < s->entries->row->pos))
        flush = &(*flush)->next;
    s->flushes = *flush;
    *flush = NULL;
    if (!s->flushes)
        s->flushes_end = &s->flushes;
    ret->sides = take_sides(s);
}

enum work { WORK_GROUP, WORK_PRUNE, WORK_SWEEP, WORK_WAIT, WORK_END };

/* When the next step of pruning, and of the sweep, may be taken. Each has a clock of its own: pruning that goes on and on would else
 * starve the sweep. */
static int64_t prune_from(const struct sqlite *s, bool queued)
{
    return s->last_prune_us + (s->full ? FULL_RETRY_US : queued ? PRUNE_EVERY_US : 0);
}

static int64_t sweep_from(const struct sqlite *s)
{
    return s->last_sweep_us + (s->full ? FULL_RETRY_US : SWEEP_EVERY_US);
}

/* What is to be done now; *ret_until says when to look again at the latest (INT64_MAX: when a signal comes). Mutex held. */
static enum work choose(struct sqlite *s, int64_t now, int64_t *ret_until)
{
    bool queued = s->entries || s->flushes;
    if (s->prune_wanted)
        prune_begin(s, s->prune_before_us, s->prune_now_us);
    if (s->prune_wanted)
        side_clean(s, s->prune_now_us);
    s->prune_wanted = false;
    if (s->write_closing)
        return queued || s->sides ? WORK_GROUP : WORK_END;
    int64_t sides_us = s->sides ? s->sides_from_us + SIDES_WAIT_US : INT64_MAX;
    queued = queued || now >= sides_us;
    int64_t prune_us = s->prune.active || s->cache.cleaning ? prune_from(s, queued) : INT64_MAX;
    int64_t sweep_us = s->sweeping ? sweep_from(s) : INT64_MAX;
    *ret_until = prune_us < sweep_us ? prune_us : sweep_us;
    *ret_until = sides_us < *ret_until ? sides_us : *ret_until;
    if (now >= prune_us && prune_us <= sweep_us)
        return WORK_PRUNE;
    if (queued)
        return WORK_GROUP;
    return now >= sweep_us ? WORK_SWEEP : now >= prune_us ? WORK_PRUNE : WORK_WAIT;
}

static void wait_for_signal(struct sqlite *s, int64_t until_us)
{
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    s->write_waits = true;
    if (until_us == INT64_MAX)
        pthread_cond_wait(&s->write_cond, &s->write_mutex);
    else
        pthread_cond_timedwait(&s->write_cond, &s->write_mutex, &until);
    s->write_waits = false;
}

/* The row that woke the thread is seldom alone: an outcome brings the start of the next item with it, a moment later. Mutex held. */
static void gather(struct sqlite *s)
{
    pthread_mutex_unlock(&s->write_mutex);
    sleep_until(base_now_us() + GATHER_US);
    pthread_mutex_lock(&s->write_mutex);
}

/* Sleeps until there is work; takes it if it is a group. */
static enum work next_work(struct sqlite *s, struct group *ret_group)
{
    int64_t until;
    enum work work;
    pthread_mutex_lock(&s->write_mutex);
    bool slept = false;
    while ((work = choose(s, base_now_us(), &until)) == WORK_WAIT) {
        wait_for_signal(s, until);
        slept = true;
    }
    if (work == WORK_GROUP && slept)
        gather(s);
    if (work == WORK_GROUP)
        take_group(s, ret_group);
    pthread_mutex_unlock(&s->write_mutex);
    return work;
}

/* The rest of the 1 ms is slept out at once, deaf: under load the next group has gathered when it is over, and nobody had to
 * wake the thread for it. */
static void pause_after_commit(const struct sqlite *s)
{
    int64_t until = s->last_begin_us + COMMIT_EVERY_US;
    if (base_now_us() < until)
        sleep_until(until);
}

void *write_thread(void *data)
{
    struct sqlite *s = data;
    struct group group;
    for (enum work work; (work = next_work(s, &group)) != WORK_END;) {
        if (work == WORK_GROUP) {
            commit_group(s, &group);
            pause_after_commit(s);
            continue;
        }
        if (work == WORK_PRUNE) {
            if (s->prune.active)
                prune_step(s);
            if (s->cache.cleaning)
                side_clean_step(s);
            s->last_prune_us = base_now_us();
        } else {
            sweep_step(s);
            s->last_sweep_us = base_now_us();
        }
    }
    return NULL;
}
