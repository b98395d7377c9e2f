#include "store/log_desk.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/test.h"

#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct letter {
    void (*call)(void *data);
    void *data;
    struct letter *next;
};

static void post(void *loop, void (*call)(void *data), void *data)
{
    struct desk *desk = loop;
    struct letter *letter = MEM_NEW(struct letter);
    *letter = (struct letter){call, data, NULL};
    pthread_mutex_lock(&desk->mutex);
    *desk->letters_end = letter;
    desk->letters_end = &letter->next;
    pthread_cond_signal(&desk->cond);
    pthread_mutex_unlock(&desk->mutex);
}

struct log_door desk_door(struct desk *desk)
{
    return (struct log_door){desk, post};
}

static struct letter *next_letter(struct desk *desk, bool wait)
{
    pthread_mutex_lock(&desk->mutex);
    while (wait && !desk->letters)
        pthread_cond_wait(&desk->cond, &desk->mutex);
    struct letter *letter = desk->letters;
    if (letter && !(desk->letters = letter->next))
        desk->letters_end = &desk->letters;
    pthread_mutex_unlock(&desk->mutex);
    return letter;
}

static bool turn(struct desk *desk, bool wait)
{
    struct letter *letter = next_letter(desk, wait);
    if (!letter)
        return false;
    letter->call(letter->data);
    free(letter);
    return true;
}

void desk_turn(struct desk *desk)
{
    turn(desk, true);
}

/* ---- what the log tells ---- */

static void told_durable(void *data, uint64_t pos)
{
    struct desk *desk = data;
    CHECK(pos > desk->durable && pos <= desk->pos);
    desk->durable = pos;
}

static void told_full(void *data, bool full)
{
    struct desk *desk = data;
    desk->fulls += full;
    desk->fulls_over += !full;
}

static void told_pruned(void *data, int64_t job)
{
    ((struct desk *)data)->pruned = job;
}

static void told_pipeline(void *data, const struct sha *hash, struct bytes text)
{
    struct sha want = sha_of(BYTES("pipeline"));
    CHECK(!memcmp(hash, &want, sizeof want));
    CHECK_BYTES(text, BYTES("pipeline"));
    ((struct desk *)data)->told_pipelines++;
}

static void told_job(void *data, int64_t job, struct bytes id, int state, struct bytes fold)
{
    struct desk *desk = data;
    struct desk_told *told = &desk->told[desk->told_jobs++ % DESK_TOLD];
    *told = (struct desk_told){.job = job, .state = state};
    snprintf(told->id, sizeof told->id, "%.*s", BYTES_ARG(id));
    snprintf(told->fold, sizeof told->fold, "%.*s", (int)fold.count, fold.at ? fold.at : "");
}

static void told_cell(void *data, int64_t job, uint32_t page, struct bytes body)
{
    struct desk *desk = data;
    desk->told_cells++;
    snprintf(desk->told_cell, sizeof desk->told_cell, "%.*s", BYTES_ARG(body));
}

static void told_row(void *data, struct row *row)
{
    struct desk *desk = data;
    if (!desk->told_rows++)
        desk->told_first = row->pos;
    desk->told_last = row->pos;
    desk->told_bytes += (int64_t)row->body_bytes;
    if (row->job < DESK_JOBS) {
        struct desk_job *job = &desk->jobs[row->job];
        CHECK(row->seq == job->seq + 1 || !job->fresh_count);
        if (!job->fresh_count)
            job->fresh_from = row->seq;
        job->seq = row->seq;
        job->fresh = mem_grow(job->fresh, (job->fresh_count + 1) * sizeof *job->fresh);
        job->fresh[job->fresh_count++] = row->pos;
    }
}

/* ---- lives ---- */

void desk_init(struct desk *desk)
{
    *desk = (struct desk){.dir = "/tmp/rivulet-log-XXXXXX"};
    desk->letters_end = &desk->letters;
    pthread_mutex_init(&desk->mutex, NULL);
    pthread_cond_init(&desk->cond, NULL);
    CHECK(mkdtemp(desk->dir));
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *walk)
{
    return remove(path);
}

void desk_done(struct desk *desk)
{
    desk_close(desk);
    nftw(desk->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    pthread_mutex_destroy(&desk->mutex);
    pthread_cond_destroy(&desk->cond);
}

static void forget_told(struct desk *desk)
{
    desk->told_pipelines = desk->told_jobs = desk->told_cells = desk->told_rows = 0;
    desk->told_first = desk->told_last = 0;
    desk->told_bytes = 0;
    for (size_t i = 0; i < DESK_JOBS; i++) {
        free(desk->jobs[i].fresh);
        desk->jobs[i].fresh = NULL;
        desk->jobs[i].fresh_count = 0;
    }
}

/* A job's seqs go on behind its rows that were told, or, when all were flushed, where its fold ends. */
static void take_up_seqs(struct desk *desk)
{
    for (size_t i = 0; i < desk->told_jobs && i < DESK_TOLD; i++) {
        struct desk_job *job = &desk->jobs[desk->told[i].job % DESK_JOBS];
        struct bytes fold = bytes_of(desk->told[i].fold);
        bytes_cut(&fold, ' ');
        if (!job->fresh_count && !bytes_to_u64(fold, &job->seq))
            job->seq = 0;
    }
}

int desk_open(struct desk *desk)
{
    desk->problem.text[0] = 0;
    desk->opening = (struct log_opening){desk, told_pipeline, told_job, told_cell, told_row};
    if (sqlite_open(desk->dir, desk_door(desk), &desk->opening, desk->blobs, &desk->log, &desk->problem) < 0)
        return -1;
    desk->log->client = (struct log_client){desk, told_durable, told_full, told_pruned};
    desk->pos = desk->durable = desk->opening.last_pos;
    take_up_seqs(desk);
    return 0;
}

int desk_open_with_blobs(struct desk *desk)
{
    if (blobs_open(desk->dir, &desk->blobs, &desk->problem) < 0)
        return -1;
    return desk_open(desk);
}

void desk_close(struct desk *desk)
{
    if (desk->log)
        desk->log->ops->close(desk->log);
    desk->log = NULL;
    while (turn(desk, false))
        ;
    blobs_close(desk->blobs);
    desk->blobs = NULL;
    forget_told(desk);
}

/* ---- writing ---- */

static struct log_entry *next_entry(struct desk *desk, int64_t number, enum event_kind kind, int64_t item, struct bytes body)
{
    struct desk_job *job = &desk->jobs[number];
    struct row *row = row_new(body);
    row->pos = ++desk->pos;
    row->job = number;
    row->seq = ++job->seq;
    row->epoch = desk->opening.epoch;
    row->at_us = (int64_t)row->pos * 1000000;
    row->kind = kind;
    row->item = item;
    row->attempt = item < 0 ? 0 : 3;
    if (!job->fresh_count)
        job->fresh_from = row->seq;
    job->fresh = mem_grow(job->fresh, (job->fresh_count + 1) * sizeof *job->fresh);
    job->fresh[job->fresh_count++] = row->pos;
    return log_entry_new(row);
}

uint64_t desk_append(struct desk *desk, int64_t job, enum event_kind kind, int64_t item, struct bytes body)
{
    struct log_entry *entry = next_entry(desk, job, kind, item, body);
    if (kind == EVENT_JOB_CREATED) {
        char id[40];
        snprintf(id, sizeof id, "job %lld", (long long)job);
        entry->job_id = mem_text(id);
        entry->owner = mem_text("owner");
        entry->pipeline_text = mem_text("pipeline");
        entry->pipeline_hash = sha_of(BYTES("pipeline"));
    }
    desk->log->ops->append(desk->log, entry);
    return desk->pos;
}

void desk_append_naming(struct desk *desk, int64_t job, const struct sha *blob)
{
    struct log_entry *entry = next_entry(desk, job, EVENT_ITEMS_ADDED, -1, BYTES("{}"));
    entry->blobs = (struct sha *)mem_copy(blob, sizeof *blob);
    entry->blobs_count = 1;
    desk->log->ops->append(desk->log, entry);
}

uint64_t desk_append_unit(struct desk *desk, int64_t job, size_t count)
{
    struct log_entry *unit = NULL, **end = &unit;
    for (; count; count--, end = &(*end)->next) {
        *end = next_entry(desk, job, EVENT_ITEM_DONE, 0, BYTES("{}"));
        (*end)->joined = count > 1;
    }
    desk->log->ops->append(desk->log, unit);
    return desk->pos;
}

void desk_settle(struct desk *desk)
{
    while (desk->durable < desk->pos)
        desk_turn(desk);
}

static void flush_done(void *data, struct log_flush *flush)
{
    struct desk *desk = data;
    CHECK(desk->durable >= flush->pos);
    desk->flushed++;
    log_flush_free(flush);
}

static void fill(struct log_job_cache *cache, int64_t number, struct desk_job *job)
{
    char text[40];
    snprintf(text, sizeof text, "fold %llu", (unsigned long long)job->seq);
    *cache = (struct log_job_cache){.job = number, .fold = {mem_text(text), strlen(text)}};
    snprintf(text, sizeof text, "cell %llu", (unsigned long long)job->seq);
    cache->cells = mem_new(sizeof *cache->cells);
    cache->cells[0] = (struct log_cell_page){0, mem_text(text), strlen(text)};
    cache->cells_count = 1;
    cache->places_from = job->fresh_from;
    cache->places = job->fresh;
    cache->places_count = job->fresh_count;
    job->fresh = NULL;
    job->fresh_count = 0;
}

void desk_flush(struct desk *desk, bool wait)
{
    struct log_flush *flush = MEM_NEW(struct log_flush);
    flush->pos = desk->pos;
    flush->jobs = mem_new(DESK_JOBS * sizeof *flush->jobs);
    for (int64_t i = 0; i < DESK_JOBS; i++)
        if (desk->jobs[i].fresh_count)
            fill(&flush->jobs[flush->count++], i, &desk->jobs[i]);
    flush->done = flush_done;
    flush->data = desk;
    size_t want = desk->flushed + 1;
    desk->log->ops->flush(desk->log, flush);
    while (wait && desk->flushed < want)
        desk_turn(desk);
}

/* ---- asking ---- */

static void read_done(void *data, struct log_read *read)
{
    *(bool *)data = true;
}

static void find_done(void *data, struct log_find *find)
{
    *(bool *)data = true;
}

static struct log_read *ask(struct desk *desk, struct log_read *read)
{
    bool done = false;
    read->done = read_done;
    read->data = &done;
    desk->log->ops->read(desk->log, read);
    while (!done)
        desk_turn(desk);
    return read;
}

struct log_read *desk_read(struct desk *desk, int64_t number, uint64_t from_seq)
{
    struct log_read *read = MEM_NEW(struct log_read);
    const struct desk_job *job = &desk->jobs[number];
    read->job = number;
    read->from_seq = from_seq;
    read->known_from = job->fresh_from;
    read->known_count = job->fresh_count;
    read->known = (uint64_t *)mem_copy(job->fresh, job->fresh_count * sizeof *job->fresh);
    return ask(desk, read);
}

struct log_read *desk_read_at(struct desk *desk, const uint64_t *positions, size_t count)
{
    struct log_read *read = MEM_NEW(struct log_read);
    read->known = (uint64_t *)mem_copy(positions, count * sizeof *positions);
    read->known_count = count;
    return ask(desk, read);
}

struct log_find *desk_find(struct desk *desk, const char *id)
{
    struct log_find *find = MEM_NEW(struct log_find);
    bool done = false;
    find->id = mem_text(id);
    find->done = find_done;
    find->data = &done;
    desk->log->ops->find(desk->log, find);
    while (!done)
        desk_turn(desk);
    return find;
}

int64_t desk_query(struct desk *desk, const char *query)
{
    char path[80];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    int64_t number = -1;
    snprintf(path, sizeof path, "%s/log.db", desk->dir);
    CHECK_INT(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 2000);
    CHECK_INT(sqlite3_prepare_v2(db, query, -1, &stmt, NULL), SQLITE_OK);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        number = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return number;
}
