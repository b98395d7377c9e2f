/* The durable cursors of readers that go outwards: what the opening told of them, and words to the log about how far they came. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct reader_row {
    char *name;                    /* owned */
    int64_t job;
    uint64_t seq;
};

void reader_told(void *data, const char *name, int64_t job, uint64_t seq)
{
    struct store *store = data;
    if (!(store->reader_rows_count & (store->reader_rows_count - 1)))
        store->reader_rows = mem_grow(store->reader_rows, (2 * store->reader_rows_count + 1) * sizeof *store->reader_rows);
    store->reader_rows[store->reader_rows_count++] = (struct reader_row){mem_text(name), job, seq};
}

void store_readers(struct store *store, const char *name, store_reader_fn *each, void *data)
{
    for (size_t i = 0; i < store->reader_rows_count; i++)
        if (!strcmp(store->reader_rows[i].name, name))
            each(data, store->reader_rows[i].job, store->reader_rows[i].seq);
}

static void say(struct store *store, enum log_side_what what, const char *name, int64_t job, uint64_t seq)
{
    if (store->closing)
        return;
    struct log_side *side = MEM_NEW(struct log_side);
    *side = (struct log_side){.what = what, .reader = mem_text(name), .job = job, .seq = seq};
    if (!store->log->ops->side(store->log, side))
        log_side_free(side);       /* something is sent a second time behind the next opening */
}

void store_reader_set(struct store *store, const char *name, int64_t job, uint64_t seq)
{
    say(store, LOG_READER_SET, name, job, seq);
}

void store_reader_drop(struct store *store, const char *name, int64_t job)
{
    say(store, LOG_READER_DROP, name, job, 0);
}

void reader_enter(struct log_entry *entry, const struct store_job *job)
{
    entry->readers = mem_new((job->readers_count + 1) * sizeof *entry->readers);
    for (size_t i = 0; i < job->readers_count; i++)
        entry->readers[entry->readers_count++] = mem_text(job->readers[i]);
}

void reader_forget(struct store *store)
{
    for (size_t i = 0; i < store->reader_rows_count; i++)
        free(store->reader_rows[i].name);
    free(store->reader_rows);
}
