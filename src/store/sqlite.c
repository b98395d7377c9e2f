#include "store/sqlite_own.h"

#include "base/limits.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sqlite *of(struct log *log)
{
    return (struct sqlite *)log;
}

/* Unlocks the log thread's mailbox and wakes the thread if it sleeps. */
static void unlock_writer(struct sqlite *s)
{
    bool wake = s->write_waits;
    s->write_waits = false;
    pthread_mutex_unlock(&s->write_mutex);
    if (wake)
        pthread_cond_signal(&s->write_cond);
}

static void unlock_reader(struct sqlite *s)
{
    pthread_mutex_unlock(&s->read_mutex);
    pthread_cond_signal(&s->read_cond);
}

static void log_append(struct log *log, struct log_entry *entry)
{
    struct sqlite *s = of(log);
    struct log_entry *last = log_last_of(entry);
    pthread_mutex_lock(&s->write_mutex);
    *s->entries_end = entry;
    s->entries_end = &last->next;
    unlock_writer(s);
}

static void log_flush(struct log *log, struct log_flush *flush)
{
    struct sqlite *s = of(log);
    flush->next = NULL;
    pthread_mutex_lock(&s->write_mutex);
    *s->flushes_end = flush;
    s->flushes_end = &flush->next;
    unlock_writer(s);
}

static void log_prune(struct log *log, int64_t ended_before_us, int64_t now_us)
{
    struct sqlite *s = of(log);
    pthread_mutex_lock(&s->write_mutex);
    s->prune_wanted = true;
    s->prune_before_us = ended_before_us;
    s->prune_now_us = now_us;
    unlock_writer(s);
}

static void log_read(struct log *log, struct log_read *read)
{
    struct sqlite *s = of(log);
    read->next = NULL;
    pthread_mutex_lock(&s->read_mutex);
    *s->reads_end = read;
    s->reads_end = &read->next;
    unlock_reader(s);
}

static void log_find(struct log *log, struct log_find *find)
{
    struct sqlite *s = of(log);
    find->next = NULL;
    pthread_mutex_lock(&s->read_mutex);
    *s->finds_end = find;
    s->finds_end = &find->next;
    unlock_reader(s);
}

static bool log_side(struct log *log, struct log_side *side)
{
    struct sqlite *s = of(log);
    side->next = NULL;
    pthread_mutex_lock(&s->write_mutex);
    bool fits = log_side_fits(&s->sides_count, side);
    if (fits) {
        if (!s->sides)
            s->sides_from_us = base_now_us();
        *s->sides_end = side;
        s->sides_end = &side->next;
    }
    unlock_writer(s);
    return fits;
}

static void log_cached(struct log *log, struct log_cached *cached)
{
    struct sqlite *s = of(log);
    cached->next = NULL;
    pthread_mutex_lock(&s->read_mutex);
    *s->cached_end = cached;
    s->cached_end = &cached->next;
    unlock_reader(s);
}

static void stop_threads(struct sqlite *s)
{
    pthread_mutex_lock(&s->read_mutex);
    s->read_closing = true;
    unlock_reader(s);
    pthread_mutex_lock(&s->write_mutex);
    s->write_closing = true;
    unlock_writer(s);
    if (s->reader_runs)
        pthread_join(s->reader, NULL);
    if (s->writer_runs)
        pthread_join(s->writer, NULL);
}

static void log_close(struct log *log)
{
    struct sqlite *s = of(log);
    stop_threads(s);
    blob_sweep_done(&s->sweep);
    base_close(s);
    outbox_close(s->outbox);
    log_forget(s->entries, s->flushes, s->reads, s->finds);    /* what the last answers made others say and ask: too late */
    log_forget_sides(s->sides, s->cached);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_cond_destroy(&s->write_cond);
    pthread_cond_destroy(&s->read_cond);
    pthread_mutex_destroy(&s->write_mutex);
    pthread_mutex_destroy(&s->read_mutex);
    free(s->dir);
    free(s);
}

static const struct log_ops ops = {
    .append = log_append,
    .flush = log_flush,
    .read = log_read,
    .find = log_find,
    .side = log_side,
    .cached = log_cached,
    .prune = log_prune,
    .close = log_close,
};

static struct sqlite *make(const char *dir, struct log_door door, struct blobs *blobs)
{
    struct sqlite *s = MEM_NEW(struct sqlite);
    pthread_condattr_t monotonic;
    s->log.ops = &ops;
    s->log.cache_max = LIMIT_CACHE_BYTES;
    s->dir = mem_text(dir);
    s->lock_fd = -1;
    s->blobs = blobs;
    s->outbox = outbox_new(door, &s->log);
    s->entries_end = &s->entries;
    s->flushes_end = &s->flushes;
    s->reads_end = &s->reads;
    s->finds_end = &s->finds;
    s->sides_end = &s->sides;
    s->cached_end = &s->cached;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->write_cond, &monotonic);
    pthread_cond_init(&s->read_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&s->write_mutex, NULL);
    pthread_mutex_init(&s->read_mutex, NULL);
    return s;
}

static int take_lock(struct sqlite *s, struct problem *problem)
{
    int result = file_make_dir(s->dir);
    if (result < 0)
        return problem_set(problem, "The data directory %s could not be made: %s.", s->dir, strerror(-result));
    char *path = sqlite3_mprintf("%s/lock", s->dir);
    s->lock_fd = path ? file_lock(path, LIMIT_LOCK_US) : -ENOMEM;
    sqlite3_free(path);
    if (s->lock_fd == -EBUSY)
        return problem_set(problem, "The data directory %s is in use by another process: stop it, or name another directory.", s->dir);
    if (s->lock_fd < 0)
        return problem_set(problem, "%s/lock could not be taken: %s.", s->dir, strerror(-s->lock_fd));
    return 0;
}

/* Signals belong to the loop: the threads block them all. */
static int start_threads(struct sqlite *s, struct problem *problem)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->writer_runs = !pthread_create(&s->writer, NULL, write_thread, s);
    s->reader_runs = !pthread_create(&s->reader, NULL, read_thread, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!s->writer_runs || !s->reader_runs)
        return problem_set(problem, "No thread could be started for the log in %s.", s->dir);
    return 0;
}

static int open_all(struct sqlite *s, struct log_opening *opening, struct problem *problem)
{
    if (take_lock(s, problem) < 0 || base_open(s, problem) < 0)
        return -1;
    int result = file_sync_dir(AT_FDCWD, s->dir);
    if (result < 0)
        return problem_set(problem, "The data directory %s could not be synced: %s.", s->dir, strerror(-result));
    if (s->blobs)
        blobs_clean(s->blobs);
    if (open_tell(s, opening, problem) < 0 || base_open_reader(s, problem) < 0)
        return -1;
    s->sweeping = s->blobs != NULL;
    prune_begin(s, 0, 0);             /* goes on with what an earlier process began */
    return start_threads(s, problem);
}

int sqlite_open(const char *dir, struct log_door door, struct log_opening *opening, struct blobs *blobs, struct log **ret,
                struct problem *problem)
{
    struct sqlite *s = make(dir, door, blobs);
    if (open_all(s, opening, problem) < 0) {
        log_close(&s->log);
        return -1;
    }
    *ret = &s->log;
    return 0;
}
