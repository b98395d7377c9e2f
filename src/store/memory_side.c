#include "store/memory_side.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

void memory_side_init(struct memory_side_line *line)
{
    line->words_end = &line->words;
    line->asks_end = &line->asks;
}

bool memory_side_put(struct memory_side_line *line, struct log_side *side)
{
    if (!log_side_fits(&line->count, side))
        return false;
    side->next = NULL;
    *line->words_end = side;
    line->words_end = &side->next;
    return true;
}

void memory_side_ask(struct memory_side_line *line, struct log_cached *cached)
{
    cached->next = NULL;
    *line->asks_end = cached;
    line->asks_end = &cached->next;
}

/* ---- results ---- */

static int64_t weight(size_t count)
{
    return (int64_t)count + LIMIT_CACHE_ROW_BYTES;
}

static void drop_value(struct memory_side *side, size_t at)
{
    side->bytes -= weight(side->values[at].count);
    free(side->values[at].at);
    side->values[at] = side->values[--side->values_count];
}

static size_t find_value(const struct memory_side *side, const struct sha *key)
{
    size_t at = 0;
    while (at < side->values_count && memcmp(&side->values[at].key, key, sizeof *key))
        at++;
    return at;
}

static void put_value(struct memory_side *side, const struct log_side *word)
{
    size_t at = find_value(side, &word->key);
    if (at < side->values_count)
        drop_value(side, at);
    side->values = mem_grow(side->values, (side->values_count + 1) * sizeof *side->values);
    side->values[side->values_count++] =
        (struct memory_value){word->key, mem_copy(word->value.at, word->value.count), word->value.count, word->expires_us};
    side->bytes += weight(word->value.count);
}

/* The first to expire goes first. */
static void shrink(struct memory_side *side, int64_t max)
{
    while (side->bytes > max) {
        size_t first = 0;
        for (size_t i = 1; i < side->values_count; i++)
            if (side->values[i].expires_us < side->values[first].expires_us)
                first = i;
        drop_value(side, first);
    }
}

void memory_side_expire(struct memory_side *side, int64_t now_us)
{
    for (size_t i = side->values_count; i-- > 0;)
        if (side->values[i].expires_us <= now_us)
            drop_value(side, i);
}

static void answer(const struct memory_side *side, struct log_cached *cached)
{
    cached->values = mem_new(cached->count * sizeof *cached->values);
    for (size_t i = 0; i < cached->count; i++) {
        size_t at = find_value(side, &cached->keys[i]);
        const struct memory_value *value = at < side->values_count ? &side->values[at] : NULL;
        if (value && value->expires_us > cached->now_us)
            cached->values[i] = (struct log_value){{mem_copy(value->at, value->count), value->count}, value->expires_us};
    }
    cached->done(cached->data, cached);
}

size_t memory_side_pump(const struct memory_side *side, struct memory_side_line *line)
{
    struct log_cached *asks = line->asks;
    size_t count = 0;
    line->asks = NULL;
    line->asks_end = &line->asks;
    for (struct log_cached *next; asks; asks = next, count++) {
        next = asks->next;
        answer(side, asks);
    }
    return count;
}

/* ---- cursors ---- */

static struct memory_cursor *find_cursor(const struct memory_side *side, const char *reader, int64_t job)
{
    for (size_t i = 0; i < side->cursors_count; i++)
        if (side->cursors[i].job == job && !strcmp(side->cursors[i].reader, reader))
            return &side->cursors[i];
    return NULL;
}

static void drop_cursor(struct memory_side *side, struct memory_cursor *cursor)
{
    free(cursor->reader);
    *cursor = side->cursors[--side->cursors_count];
}

static void set_cursor(struct memory_side *side, const char *reader, int64_t job, uint64_t seq)
{
    struct memory_cursor *cursor = find_cursor(side, reader, job);
    if (!cursor) {
        side->cursors = mem_grow(side->cursors, (side->cursors_count + 1) * sizeof *side->cursors);
        cursor = &side->cursors[side->cursors_count++];
        *cursor = (struct memory_cursor){mem_text(reader), job, 0};
    }
    cursor->seq = seq;
}

static void add_pipeline(struct memory_side *side, const struct log_entry *entry)
{
    for (size_t i = 0; i < side->pipelines_count; i++)
        if (!memcmp(&side->pipelines[i].hash, &entry->pipeline_hash, sizeof entry->pipeline_hash))
            return;
    side->pipelines = mem_grow(side->pipelines, (side->pipelines_count + 1) * sizeof *side->pipelines);
    side->pipelines[side->pipelines_count++] = (struct memory_text){entry->pipeline_hash, mem_text(entry->pipeline_text)};
}

void memory_side_tell_pipelines(const struct memory_side *side, const struct log_opening *opening)
{
    for (size_t i = 0; i < side->pipelines_count; i++)
        opening->pipeline(opening->data, &side->pipelines[i].hash, bytes_of(side->pipelines[i].text));
}

void memory_side_enter(struct memory_side *side, const struct log_entry *entry)
{
    if (entry->pipeline_text)
        add_pipeline(side, entry);
    for (size_t i = 0; i < entry->readers_count; i++)
        set_cursor(side, entry->readers[i], entry->row->job, 0);
}

void memory_side_tell(const struct memory_side *side, const struct log_opening *opening)
{
    for (size_t i = 0; i < side->cursors_count && opening->reader; i++)
        opening->reader(opening->data, side->cursors[i].reader, side->cursors[i].job, side->cursors[i].seq);
}

bool memory_side_awaited(const struct memory_side *side, int64_t job, uint64_t last_seq)
{
    for (size_t i = 0; i < side->cursors_count; i++)
        if (side->cursors[i].job == job && side->cursors[i].seq < last_seq)
            return true;
    return false;
}

void memory_side_remove(struct memory_side *side, int64_t job)
{
    for (size_t i = side->cursors_count; i-- > 0;)
        if (side->cursors[i].job == job)
            drop_cursor(side, &side->cursors[i]);
}

void memory_side_done(struct memory_side *side)
{
    while (side->values_count)
        drop_value(side, 0);
    while (side->cursors_count)
        drop_cursor(side, side->cursors);
    for (size_t i = 0; i < side->pipelines_count; i++)
        free(side->pipelines[i].text);
    free(side->pipelines);
    free(side->values);
    free(side->cursors);
    *side = (struct memory_side){0};
}

void memory_side_sync(struct memory_side *side, struct memory_side_line *line, bool (*is_there)(void *data, int64_t job), void *data)
{
    for (struct log_side *word; (word = line->words);) {
        struct memory_cursor *cursor = word->what == LOG_READER_DROP ? find_cursor(side, word->reader, word->job) : NULL;
        if (word->what == LOG_CACHE_PUT)
            put_value(side, word);
        else if (word->what == LOG_READER_SET && is_there(data, word->job))
            set_cursor(side, word->reader, word->job, word->seq);
        else if (cursor)
            drop_cursor(side, cursor);
        line->words = word->next;
        log_side_gone(&line->count, word);
        log_side_free(word);
    }
    line->words_end = &line->words;
    shrink(side, ((struct log *)data)->cache_max);
}
