#include "store/log.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

struct log_entry *log_entry_new(struct row *row)
{
    struct log_entry *entry = MEM_NEW(struct log_entry);
    entry->row = row;
    return entry;
}

void log_entry_free(struct log_entry *entry)
{
    if (!entry)
        return;
    row_unref(entry->row);
    free(entry->job_id);
    free(entry->owner);
    free(entry->pipeline_text);
    free(entry->key);
    free(entry->blobs);
    for (size_t i = 0; i < entry->readers_count; i++)
        free(entry->readers[i]);
    free(entry->readers);
    free(entry);
}

static void cache_done(struct log_job_cache *cache)
{
    free((char *)cache->fold.at);
    free(cache->places);
    for (size_t i = 0; i < cache->cells_count; i++)
        free(cache->cells[i].body);
    free(cache->cells);
}

struct log_entry *log_last_of(struct log_entry *unit)
{
    while (unit->joined && unit->next)
        unit = unit->next;
    unit->joined = false;
    unit->next = NULL;
    return unit;
}

void log_flush_free(struct log_flush *flush)
{
    if (!flush)
        return;
    for (size_t i = 0; i < flush->count; i++)
        cache_done(&flush->jobs[i]);
    free(flush->jobs);
    free(flush);
}

void log_read_free(struct log_read *read)
{
    if (!read)
        return;
    for (size_t i = 0; i < read->rows_count; i++)
        row_unref(read->rows[i]);
    free(read->rows);
    free(read->known);
    free(read);
}

struct log_found *log_find_add(struct log_find *find)
{
    find->found = mem_grow(find->found, (find->found_count + 1) * sizeof *find->found);
    find->found[find->found_count] = (struct log_found){0};
    return &find->found[find->found_count++];
}

void log_find_free(struct log_find *find)
{
    if (!find)
        return;
    for (size_t i = 0; i < find->found_count; i++) {
        free(find->found[i].id);
        free(find->found[i].owner);
        free(find->found[i].fold);
    }
    for (size_t i = 0; i < find->cells_count; i++)
        free(find->cells[i].body);
    free(find->found);
    free(find->cells);
    free(find->id);
    free(find->owner);
    free(find->key);
    free(find->pages);
    free(find);
}

void log_forget(struct log_entry *entries, struct log_flush *flushes, struct log_read *reads, struct log_find *finds)
{
    for (struct log_entry *entry = entries, *next; entry; entry = next) {
        next = entry->next;
        log_entry_free(entry);
    }
    for (struct log_flush *flush = flushes, *next; flush; flush = next) {
        next = flush->next;
        log_flush_free(flush);
    }
    for (struct log_read *read = reads, *next; read; read = next) {
        next = read->next;
        log_read_free(read);
    }
    for (struct log_find *find = finds, *next; find; find = next) {
        next = find->next;
        log_find_free(find);
    }
}

/* ---- beside the log ---- */

void log_side_free(struct log_side *side)
{
    if (!side)
        return;
    free((char *)side->value.at);
    free(side->reader);
    free(side);
}

bool log_side_fits(struct log_side_count *count, const struct log_side *side)
{
    if (side->what != LOG_CACHE_PUT) {
        bool fits = count->readers < LIMIT_READERS_QUEUED;
        count->readers += fits;
        return fits;
    }
    size_t bytes = sizeof *side + side->value.count;
    if (count->bytes + bytes > LIMIT_CACHE_QUEUED_BYTES)
        return false;
    count->bytes += bytes;
    return true;
}

void log_side_gone(struct log_side_count *count, const struct log_side *side)
{
    if (side->what == LOG_CACHE_PUT)
        count->bytes -= sizeof *side + side->value.count;
    else
        count->readers--;
}

void log_cached_free(struct log_cached *cached)
{
    if (!cached)
        return;
    for (size_t i = 0; i < cached->count && cached->values; i++)
        free((char *)cached->values[i].value.at);
    free(cached->values);
    free(cached->keys);
    free(cached);
}

void log_forget_sides(struct log_side *sides, struct log_cached *cached)
{
    for (struct log_side *side = sides, *next; side; side = next) {
        next = side->next;
        log_side_free(side);
    }
    for (struct log_cached *one = cached, *next; one; one = next) {
        next = one->next;
        log_cached_free(one);
    }
}
