/* The log alone: what an item costs between the decider and the disk. 100 jobs in turn, two events an item (item.started, item.done
 * with a result of 300 bytes), so many items in flight; caches are flushed every LIMIT_FLUSH_EVENTS events as the decider does.
 * The next event of an item is handed over when the one before is durable, as the law wants it.
 *
 * The measure is CPU (user and system, all threads) an item, because time depends on the disk's syncs. Beside it stands a bare loop on the
 * same disk: the same INSERTs and nothing else, in transactions of the same size as the log's own; once as fast as it goes, once with
 * at most one commit a ms, as the log does it, because a machine that sleeps in between pays for each waking. The ratios are what can be
 * compared between machines.
 *
 *     log_bench [ITEMS [DIR]]       default: 200,000 items, a new directory under the present one */
#include "base/limits.h"
#include "base/mem.h"
#include "store/sqlite.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { JOBS = 100, IN_FLIGHT_MAX = 1024, STARTED_BYTES = 80, DONE_BYTES = 360, EVENTS_A_PAGE = 1024, CELL_BYTES = 512 * 16 };

static char body[DONE_BYTES + 1];      /* a line of JSON with a result of 300 bytes */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* ---- the loop ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    void (*call)(void *data);          /* the log has one message under way at a time */
    void *data;
} mail = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, NULL};

static void post(void *loop, void (*call)(void *data), void *data)
{
    pthread_mutex_lock(&mail.mutex);
    mail.call = call;
    mail.data = data;
    pthread_mutex_unlock(&mail.mutex);
    pthread_cond_signal(&mail.cond);
}

static void turn(void)
{
    pthread_mutex_lock(&mail.mutex);
    while (!mail.call)
        pthread_cond_wait(&mail.cond, &mail.mutex);
    void (*call)(void *data) = mail.call;
    mail.call = NULL;
    pthread_mutex_unlock(&mail.mutex);
    call(mail.data);
}

/* ---- a decider in the small ---- */

static struct log *hand;
static int64_t epoch;
static uint64_t pos, durable, flushed;
static int64_t commits;
static struct {
    uint64_t seq, fresh_from, *fresh;
    size_t fresh_count, fresh_room;
} jobs[JOBS + 1];
/* Items in flight, oldest event first: a ring. */
static struct flight {
    int64_t job, item;
    uint64_t pos;                      /* of its last event */
    bool done;
} ring[IN_FLIGHT_MAX];
static size_t ring_first, ring_count;

static void append(int64_t job, enum event_kind kind, int64_t item, size_t bytes)
{
    struct row *row = row_new((struct bytes){body, bytes});
    row->pos = ++pos;
    row->job = job;
    row->seq = ++jobs[job].seq;
    row->epoch = epoch;
    row->at_us = (int64_t)pos;
    row->kind = kind;
    row->item = item;
    row->attempt = item >= 0;
    if (jobs[job].fresh_count == jobs[job].fresh_room) {
        jobs[job].fresh_room = jobs[job].fresh_room * 2 + 64;
        jobs[job].fresh = mem_grow(jobs[job].fresh, jobs[job].fresh_room * sizeof *jobs[job].fresh);
    }
    if (!jobs[job].fresh_count)
        jobs[job].fresh_from = row->seq;
    jobs[job].fresh[jobs[job].fresh_count++] = pos;
    struct log_entry *entry = log_entry_new(row);
    if (kind == EVENT_JOB_CREATED) {
        char id[24];
        snprintf(id, sizeof id, "%lld", (long long)job);
        entry->job_id = mem_text(id);
    }
    hand->ops->append(hand, entry);
}

static void flush_done(void *data, struct log_flush *flush)
{
    log_flush_free(flush);
}

/* As the decider would: the fold of each job (600 B), its fresh positions, the pages of cells whose items had events. */
static void flush_all(void)
{
    struct log_flush *flush = MEM_NEW(struct log_flush);
    flush->pos = flushed = pos;
    flush->jobs = mem_new(JOBS * sizeof *flush->jobs);
    flush->done = flush_done;
    for (int64_t job = 1; job <= JOBS; job++) {
        struct log_job_cache *cache = &flush->jobs[flush->count++];
        *cache = (struct log_job_cache){.job = job, .fold = {mem_new(600), 600}, .places_from = jobs[job].fresh_from,
                                        .places = jobs[job].fresh, .places_count = jobs[job].fresh_count};
        uint32_t page = (uint32_t)(jobs[job].fresh_from / EVENTS_A_PAGE), last = (uint32_t)(jobs[job].seq / EVENTS_A_PAGE);
        cache->cells = mem_new((last - page + 1) * sizeof *cache->cells);
        for (; page <= last; page++)
            cache->cells[cache->cells_count++] = (struct log_cell_page){page, mem_new(CELL_BYTES), CELL_BYTES};
        jobs[job].fresh = NULL;
        jobs[job].fresh_count = jobs[job].fresh_room = 0;
    }
    hand->ops->flush(hand, flush);
}

static void told_durable(void *data, uint64_t to)
{
    durable = to;
    commits++;
}

static void start_item(int64_t number)
{
    struct flight *flight = &ring[(ring_first + ring_count++) % IN_FLIGHT_MAX];
    *flight = (struct flight){.job = number % JOBS + 1, .item = number / JOBS};
    append(flight->job, EVENT_ITEM_STARTED, flight->item, STARTED_BYTES);
    flight->pos = pos;
}

/* Takes the oldest item a step further. True when it has ended. */
static bool step_item(void)
{
    struct flight flight = ring[ring_first];
    ring_first = (ring_first + 1) % IN_FLIGHT_MAX;
    if (flight.done)
        return --ring_count, true;
    append(flight.job, EVENT_ITEM_DONE, flight.item, DONE_BYTES);
    flight.pos = pos;
    flight.done = true;
    ring[(ring_first + ring_count - 1) % IN_FLIGHT_MAX] = flight;
    return false;
}

/* An item's end and the start of the next one share a commit: its slot is free as soon as the end is handed over. */
static void run_items(int64_t items, size_t in_flight)
{
    int64_t started = 0, ended = 0;
    size_t busy = 0;
    while (ended < items) {
        for (; busy < in_flight && started < items; busy++)
            start_item(started++);
        turn();
        while (ring_count && ring[ring_first].pos <= durable) {
            bool over = step_item();
            ended += over;
            if (over)
                continue;
            busy--;
            if (started < items && busy < in_flight) {
                start_item(started++);
                busy++;
            }
        }
        if (pos - flushed >= LIMIT_FLUSH_EVENTS)
            flush_all();
    }
}

/* ---- the bare loop ---- */

static void must(sqlite3 *db, int rc, const char *what)
{
    if (rc == SQLITE_OK || rc == SQLITE_DONE)
        return;
    fprintf(stderr, "log_bench: %s: %s\n", what, sqlite3_errmsg(db));
    exit(1);
}

static void insert(sqlite3 *db, sqlite3_stmt *stmt, int64_t number, int64_t job, int kind, size_t bytes)
{
    int64_t columns[] = {number, job, number / JOBS + 1, 1, number, kind, number / 2 / JOBS, 1};
    for (int i = 0; i < 8; i++)
        sqlite3_bind_int64(stmt, i + 1, columns[i]);
    sqlite3_bind_text(stmt, 9, body, (int)bytes, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    must(db, rc, "INSERT");
}

/* Waits until 1 ms after the last commit began, when paced as the log is. */
static void pace(double *last_begin, bool paced)
{
    double now = seconds();
    if (paced && now < *last_begin + 0.001) {
        struct timespec rest = {0, (long)((*last_begin + 0.001 - now) * 1e9)};
        nanosleep(&rest, NULL);
    }
    *last_begin = seconds();
}

static void bare(const char *dir, const char *name, int64_t items, int64_t events_a_commit, bool paced)
{
    char *path = sqlite3_mprintf("%s/%s", dir, name);
    double last_begin = 0;
    sqlite3 *db;
    sqlite3_stmt *stmt;
    must(NULL, sqlite3_open(path, &db), "open");
    sqlite3_free(path);
    must(db, sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE event (pos INTEGER PRIMARY KEY, "
                          "job INTEGER, seq INTEGER, epoch INTEGER, at INTEGER, kind INTEGER, item INTEGER, attempt INTEGER, body TEXT) "
                          "STRICT", NULL, NULL, NULL), "schema");
    must(db, sqlite3_prepare_v2(db, "INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?)", -1, &stmt, NULL), "prepare");
    for (int64_t number = 0; number < items * 2;) {
        pace(&last_begin, paced);
        must(db, sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), "BEGIN");
        for (int64_t i = 0; i < events_a_commit && number < items * 2; i++, number++)
            insert(db, stmt, number + 1, number / 2 % JOBS + 1, number % 2 ? EVENT_ITEM_DONE : EVENT_ITEM_STARTED,
                   number % 2 ? DONE_BYTES : STARTED_BYTES);
        must(db, sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), "COMMIT");
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

/* ---- runs ---- */

static void told_pipeline(void *data, const struct sha *hash, struct bytes text) {}
static void told_job(void *data, int64_t job, struct bytes id, int state, struct bytes fold) {}
static void told_cell(void *data, int64_t job, uint32_t page, struct bytes cell) {}
static void told_row(void *data, struct row *row) {}

static double open_log(const char *dir)
{
    struct log_opening opening = {NULL, told_pipeline, told_job, told_cell, told_row};
    struct problem problem = {0};
    double from = seconds();
    if (sqlite_open(dir, (struct log_door){NULL, post}, &opening, NULL, &hand, &problem) < 0) {
        fprintf(stderr, "log_bench: %s\n", problem.text);
        exit(1);
    }
    hand->client = (struct log_client){NULL, told_durable, NULL, NULL};
    epoch = opening.epoch;
    pos = durable = flushed = opening.last_pos;
    return seconds() - from;
}

static void empty_dir(const char *dir)
{
    DIR *list = opendir(dir);
    for (struct dirent *entry; list && (entry = readdir(list));)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(list), entry->d_name, 0);
    if (list)
        closedir(list);
}

static void measure(const char *dir, int64_t items, size_t in_flight)
{
    memset(jobs, 0, sizeof jobs);
    commits = 0;
    open_log(dir);
    for (int64_t job = 1; job <= JOBS; job++) {
        append(job, EVENT_JOB_CREATED, -1, STARTED_BYTES);
        append(job, EVENT_JOB_SEALED, -1, 2);
    }
    while (durable < pos)
        turn();
    int64_t commits_before = commits;
    double cpu = cpu_seconds(), wall = seconds();
    run_items(items, in_flight);
    cpu = cpu_seconds() - cpu;
    wall = seconds() - wall;
    int64_t batch = items * 2 / (commits - commits_before);
    hand->ops->close(hand);
    double reopened = open_log(dir);
    hand->ops->close(hand);
    double bare_cpu[2], bare_wall[2];
    for (int paced = 0; paced < 2; paced++) {
        bare_cpu[paced] = cpu_seconds();
        bare_wall[paced] = seconds();
        bare(dir, paced ? "paced.db" : "bare.db", items, batch > 0 ? batch : 1, paced);
        bare_cpu[paced] = cpu_seconds() - bare_cpu[paced];
        bare_wall[paced] = seconds() - bare_wall[paced];
    }
    printf("%4zu in flight, %lld events a commit: log %.1f us CPU an item, %.0f items/s; bare %.1f us, %.0f items/s, ratio %.2f; "
           "bare with a commit a ms %.1f us, %.0f items/s, ratio %.2f; log opened again in %.1f ms\n",
           in_flight, (long long)batch, cpu / (double)items * 1e6, (double)items / wall,
           bare_cpu[0] / (double)items * 1e6, (double)items / bare_wall[0], cpu / bare_cpu[0],
           bare_cpu[1] / (double)items * 1e6, (double)items / bare_wall[1], cpu / bare_cpu[1], reopened * 1e3);
    empty_dir(dir);
    for (int64_t job = 1; job <= JOBS; job++) {
        free(jobs[job].fresh);
        jobs[job].fresh = NULL;
    }
}

int main(int argc, char **argv)
{
    char dir[256] = "log_bench.XXXXXX";
    int64_t items = 200000;
    if (argc > 1 && (!bytes_to_i64(bytes_of(argv[1]), &items) || items < 1)) {
        fprintf(stderr, "usage: log_bench [ITEMS [DIR]]\n");
        return 2;
    }
    if (argc > 2)
        snprintf(dir, sizeof dir, "%s/log_bench.XXXXXX", argv[2]);
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    memset(body, 'x', DONE_BYTES);
    measure(dir, items, 16);
    measure(dir, items, 128);
    rmdir(dir);
    return 0;
}
