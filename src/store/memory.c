#include "store/memory.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "store/memory_keys.h"
#include "store/memory_side.h"

#include <assert.h>
#include <stdlib.h>

struct memory_job {
    int64_t job;
    char *id, *owner;              /* owned */
    int state;                     /* as in the table job */
    int64_t ended_at_us;
    struct buf fold;
    uint64_t *places;              /* of seq 1, 2, 3 … as far as was flushed; owned */
    size_t places_count;
    struct map cells;              /* page + 1 → struct buf */
};

struct memory_disk {
    struct row **rows;             /* by pos, one reference each; owned */
    size_t rows_count, rows_room;
    uint64_t flushed_pos;
    struct memory_job **jobs;      /* by number; owned */
    size_t jobs_count;
    struct memory_keys keys;
    struct memory_side side;
    int64_t epoch;
    bool open;
};

struct memory {
    struct log log;                /* first: the caller's handle */
    struct memory_disk *disk;
    struct log_entry *entries, **entries_end;
    struct log_flush *flushes, **flushes_end;
    struct log_read *reads, **reads_end;
    struct log_find *finds, **finds_end;
    struct memory_side_line side;
    size_t waiting;                /* entries */
    bool prune_wanted;
    int64_t prune_before_us, prune_now_us;
    bool full, automatic, serving;
};

static struct memory *of(struct log *log)
{
    return (struct memory *)log;
}

/* ---- the disk ---- */

struct memory_disk *memory_disk_new(void)
{
    return MEM_NEW(struct memory_disk);
}

static void job_free(struct memory_job *job)
{
    size_t at = 0;
    for (struct buf *cell; (cell = map_next(&job->cells, &at));) {
        buf_done(cell);
        free(cell);
    }
    map_done(&job->cells);
    buf_done(&job->fold);
    free(job->places);
    free(job->id);
    free(job->owner);
    free(job);
}

void memory_disk_free(struct memory_disk *disk)
{
    if (!disk)
        return;
    assert(!disk->open);
    for (size_t i = 0; i < disk->rows_count; i++)
        row_unref(disk->rows[i]);
    for (size_t i = 0; i < disk->jobs_count; i++)
        job_free(disk->jobs[i]);
    memory_keys_done(&disk->keys);
    memory_side_done(&disk->side);
    free(disk->rows);
    free(disk->jobs);
    free(disk);
}

/* Index of the first row at or behind a position. */
static size_t index_of(const struct memory_disk *disk, uint64_t pos)
{
    size_t low = 0, high = disk->rows_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (disk->rows[middle]->pos < pos)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct row *row_at(const struct memory_disk *disk, uint64_t pos)
{
    size_t index = index_of(disk, pos);
    return index < disk->rows_count && disk->rows[index]->pos == pos ? disk->rows[index] : NULL;
}

const struct row *memory_row(const struct memory_disk *disk, uint64_t pos)
{
    return row_at(disk, pos);
}

uint64_t memory_last_pos(const struct memory_disk *disk)
{
    uint64_t last = disk->rows_count ? disk->rows[disk->rows_count - 1]->pos : 0;
    return last > disk->flushed_pos ? last : disk->flushed_pos;
}

static struct memory_job *job_of(const struct memory_disk *disk, int64_t number)
{
    for (size_t i = disk->jobs_count; i-- > 0;)
        if (disk->jobs[i]->job == number)
            return disk->jobs[i];
    return NULL;
}

static void add_job(struct memory_disk *disk, const struct log_entry *entry)
{
    struct memory_job *job = MEM_NEW(struct memory_job);
    job->job = entry->row->job;
    job->id = mem_text(entry->job_id);
    job->owner = mem_text(entry->owner ? entry->owner : "");
    buf_init(&job->fold, SIZE_MAX / 2);
    disk->jobs = mem_grow(disk->jobs, (disk->jobs_count + 1) * sizeof *disk->jobs);
    disk->jobs[disk->jobs_count++] = job;
    memory_side_enter(&disk->side, entry);
}

int64_t memory_key_job(const struct memory_disk *disk, const char *owner, struct bytes key)
{
    const struct memory_key *found = memory_keys_get(&disk->keys, owner, key);
    return found ? found->job : 0;
}

static void add_entry(struct memory_disk *disk, const struct log_entry *entry)
{
    struct row *row = entry->row;
    assert(row->pos > (disk->rows_count ? disk->rows[disk->rows_count - 1]->pos : 0));
    if (disk->rows_count == disk->rows_room) {
        disk->rows_room = disk->rows_room ? disk->rows_room * 2 : 64;
        disk->rows = mem_grow(disk->rows, disk->rows_room * sizeof *disk->rows);
    }
    disk->rows[disk->rows_count++] = row_ref(row);
    if (row->kind == EVENT_JOB_CREATED)
        add_job(disk, entry);
    if (entry->key)
        memory_keys_add(&disk->keys, entry);
    if (entry->frees_key)
        memory_keys_remove(&disk->keys, row->job);
    struct memory_job *job = row->kind == EVENT_JOB_SEALED || row->kind == EVENT_JOB_ENDED ? job_of(disk, row->job) : NULL;
    if (!job)
        return;
    job->state = row->kind == EVENT_JOB_ENDED ? 2 : 1;
    job->ended_at_us = row->at_us;
}

static void add_cell(struct memory_job *job, const struct log_cell_page *page)
{
    struct buf *cell = map_get(&job->cells, (uint64_t)page->page + 1);
    if (!cell) {
        cell = MEM_NEW(struct buf);
        buf_init(cell, SIZE_MAX / 2);
        map_set(&job->cells, (uint64_t)page->page + 1, cell);
    }
    buf_clear(cell);
    buf_add(cell, page->body, page->bytes);
}

static void add_flush(struct memory_disk *disk, const struct log_flush *flush)
{
    struct memory_job *removed = flush->removed_job ? job_of(disk, flush->removed_job) : NULL;
    if (removed)
        removed->state = 3;
    memory_side_remove(&disk->side, flush->removed_job);
    if (flush->removed_job)
        return;
    for (size_t i = 0; i < flush->count; i++) {
        const struct log_job_cache *cache = &flush->jobs[i];
        struct memory_job *job = job_of(disk, cache->job);
        if (!job)
            continue;
        buf_clear(&job->fold);
        buf_put(&job->fold, cache->fold);
        for (size_t k = 0; k < cache->places_count; k++) {
            if (cache->places_from + k != job->places_count + 1)
                continue;          /* there already */
            job->places = mem_grow(job->places, (job->places_count + 1) * sizeof *job->places);
            job->places[job->places_count++] = cache->places[k];
        }
        for (size_t k = 0; k < cache->cells_count; k++)
            add_cell(job, &cache->cells[k]);
    }
    if (flush->pos > disk->flushed_pos)
        disk->flushed_pos = flush->pos;
}

/* ---- opening ---- */

static bool is_told(const struct memory_disk *disk, const struct memory_job *job)
{
    if (job->state < 2)
        return true;
    for (size_t i = index_of(disk, disk->flushed_pos + 1); i < disk->rows_count; i++)
        if (disk->rows[i]->job == job->job)
            return true;
    return false;
}

static void tell(struct memory_disk *disk, struct log_opening *opening)
{
    memory_side_tell_pipelines(&disk->side, opening);
    for (size_t i = 0; i < disk->jobs_count; i++) {
        struct memory_job *job = disk->jobs[i];
        if (is_told(disk, job))
            opening->job(opening->data, job->job, bytes_of(job->id), job->state, buf_bytes(&job->fold));
    }
    for (size_t i = 0; i < disk->jobs_count; i++) {
        struct memory_job *job = disk->jobs[i];
        for (size_t slot = 0; slot < job->cells.room && is_told(disk, job); slot++)
            if (job->cells.slots[slot].value)
                opening->cell(opening->data, job->job, (uint32_t)(job->cells.slots[slot].key - 1),
                              buf_bytes(job->cells.slots[slot].value));
    }
    memory_side_tell(&disk->side, opening);
    for (size_t i = index_of(disk, disk->flushed_pos + 1); i < disk->rows_count; i++)
        opening->row(opening->data, disk->rows[i]);
}

/* ---- questions ---- */

static bool add_row(struct log_read *read, struct row *row, size_t *bytes)
{
    if (read->rows_count == LIMIT_READ_ROWS || (read->rows_count && *bytes + row->body_bytes > LIMIT_READ_BYTES))
        return false;
    *bytes += row->body_bytes;
    read->rows[read->rows_count++] = row_ref(row);
    return true;
}

static void answer_read(struct memory *memory, struct log_read *read)
{
    const struct memory_job *job = job_of(memory->disk, read->job);
    size_t bytes = 0;
    read->rows = mem_new(LIMIT_READ_ROWS * sizeof *read->rows);
    for (size_t i = 0; !read->from_seq && i < read->known_count; i++) {
        struct row *row = row_at(memory->disk, read->known[i]);
        if (row && !add_row(read, row, &bytes))
            break;
    }
    for (uint64_t seq = read->from_seq; seq; seq++) {
        uint64_t pos = 0;
        if (read->known_count && seq >= read->known_from)
            pos = seq - read->known_from < read->known_count ? read->known[seq - read->known_from] : 0;
        else if (job && seq <= job->places_count)
            pos = job->places[seq - 1];
        struct row *row = pos ? row_at(memory->disk, pos) : NULL;
        assert(!row || (row->job == read->job && row->seq == seq));
        if (!row || !add_row(read, row, &bytes))
            break;
    }
    read->done(read->data, read);
}

static size_t found(struct log_find *find, const struct memory_job *job)
{
    struct log_found *found = log_find_add(find);
    found->job = job->job;
    found->id = mem_text(job->id);
    found->owner = mem_text(job->owner);
    found->fold = job->fold.count ? mem_copy(job->fold.at, job->fold.count) : NULL;
    found->fold_bytes = job->fold.count;
    return job->fold.count;
}

static void find_page(const struct memory_disk *disk, struct log_find *find)
{
    size_t bytes = 0;
    for (size_t i = disk->jobs_count; i-- > 0;) {
        const struct memory_job *job = disk->jobs[i];
        if (job->job >= find->before || job->state == 3 || (find->owner && strcmp(find->owner, job->owner)))
            continue;
        if (find->found_count == find->limit || bytes > LIMIT_READ_BYTES)
            return;
        bytes += found(find, job);
    }
    find->end = true;
}

static void find_cells(struct memory_job *job, struct log_find *find)
{
    find->cells = mem_new(find->pages_count * sizeof *find->cells);
    for (size_t i = 0; i < find->pages_count; i++) {
        struct buf *cell = map_get(&job->cells, (uint64_t)find->pages[i] + 1);
        if (cell)
            find->cells[find->cells_count++] = (struct log_cell_page){find->pages[i], mem_copy(cell->at, cell->count), cell->count};
    }
}

static void answer_find(struct memory *memory, struct log_find *find)
{
    const struct memory_disk *disk = memory->disk;
    const struct memory_key *key =
        find->by == LOG_BY_KEY ? memory_keys_get(&disk->keys, find->owner, (struct bytes){find->key, find->key_bytes}) : NULL;
    int64_t number = key && (!key->expires_us || key->expires_us > find->now_us) ? key->job : find->by == LOG_BY_NUMBER ? find->before : 0;
    if (find->by == LOG_BY_PAGE)
        find_page(disk, find);
    for (size_t i = 0; i < disk->jobs_count && find->by != LOG_BY_PAGE; i++) {
        struct memory_job *job = disk->jobs[i];
        bool wanted = find->by == LOG_BY_ID ? !strcmp(job->id, find->id) : job->job == number;
        if (!wanted || job->state == 3)
            continue;
        found(find, job);
        find_cells(job, find);
        if (key)
            find->print = key->print;
    }
    find->done(find->data, find);
}

/* As on disk, a job goes only when all its rows are flushed, and when nobody's key names it or it was deleted. */
static bool may_go(const struct memory *memory, const struct memory_job *job)
{
    if (job->state == 3)
        return true;
    if (memory_keys_live(&memory->disk->keys, job->job, memory->prune_now_us) ||
        memory_side_awaited(&memory->disk->side, job->job, job->places_count))
        return false;
    const struct row *last = job->places_count ? row_at(memory->disk, job->places[job->places_count - 1]) : NULL;
    return job->state == 2 && job->ended_at_us < memory->prune_before_us && last && last->kind == EVENT_JOB_ENDED;
}

static void prune(struct memory *memory)
{
    struct memory_disk *disk = memory->disk;
    size_t kept = 0;
    memory->prune_wanted = false;
    memory_side_expire(&disk->side, memory->prune_now_us);
    for (size_t i = 0; i < disk->jobs_count; i++) {
        struct memory_job *job = disk->jobs[i];
        if (!may_go(memory, job)) {
            disk->jobs[kept++] = job;
            continue;
        }
        size_t rows_kept = 0;
        for (size_t k = 0; k < disk->rows_count; k++) {
            if (disk->rows[k]->job == job->job)
                row_unref(disk->rows[k]);
            else
                disk->rows[rows_kept++] = disk->rows[k];
        }
        disk->rows_count = rows_kept;
        memory_keys_remove(&disk->keys, job->job);
        memory_side_remove(&disk->side, job->job);
        if (memory->log.client.pruned)
            memory->log.client.pruned(memory->log.client.data, job->job);
        job_free(job);
    }
    disk->jobs_count = kept;
}

/* ---- the table of calls ---- */

/* Not entered again from a callback: the round under way sees what was added meanwhile. */
static void serve(struct memory *memory)
{
    if (!memory->automatic || memory->serving)
        return;
    memory->serving = true;
    while (memory_sync(&memory->log, SIZE_MAX) + memory_pump(&memory->log) || (memory->flushes && !memory->full))
        ;
    memory->serving = false;
}

static void log_append(struct log *log, struct log_entry *entry)
{
    struct memory *memory = of(log);
    *memory->entries_end = entry;
    memory->entries_end = &log_last_of(entry)->next;
    for (; entry; entry = entry->next)
        memory->waiting++;
    serve(memory);
}

static void log_flush(struct log *log, struct log_flush *flush)
{
    struct memory *memory = of(log);
    flush->next = NULL;
    *memory->flushes_end = flush;
    memory->flushes_end = &flush->next;
    serve(memory);
}

static void log_read(struct log *log, struct log_read *read)
{
    struct memory *memory = of(log);
    read->next = NULL;
    *memory->reads_end = read;
    memory->reads_end = &read->next;
    serve(memory);
}

static void log_find(struct log *log, struct log_find *find)
{
    struct memory *memory = of(log);
    find->next = NULL;
    *memory->finds_end = find;
    memory->finds_end = &find->next;
    serve(memory);
}

static void log_prune(struct log *log, int64_t ended_before_us, int64_t now_us)
{
    struct memory *memory = of(log);
    memory->prune_wanted = true;
    memory->prune_before_us = ended_before_us;
    memory->prune_now_us = now_us;
    serve(memory);
}

static bool log_side(struct log *log, struct log_side *side)
{
    bool taken = memory_side_put(&of(log)->side, side);
    serve(of(log));
    return taken;
}

static void log_cached(struct log *log, struct log_cached *cached)
{
    memory_side_ask(&of(log)->side, cached);
    serve(of(log));
}

size_t memory_waiting(const struct log *log)
{
    return ((const struct memory *)log)->waiting;
}

static struct log_flush *take_flushes(struct memory *memory)
{
    struct log_flush *taken = memory->flushes, **end = &taken;
    while (*end && (!memory->entries || (*end)->pos < memory->entries->row->pos)) {
        add_flush(memory->disk, *end);
        memory->prune_wanted = memory->prune_wanted || (*end)->removed_job;
        end = &(*end)->next;
    }
    if (!(memory->flushes = *end))
        memory->flushes_end = &memory->flushes;
    *end = NULL;
    return taken;
}

static bool is_there(void *data, int64_t number)
{
    const struct memory_job *job = job_of(((struct memory *)data)->disk, number);
    return job && job->state < 3;
}

size_t memory_sync(struct log *log, size_t count)
{
    struct memory *memory = of(log);
    size_t done = 0;
    uint64_t pos = 0;
    bool joined = false;
    if (memory->full)
        return 0;
    for (struct log_entry *entry; (joined || done < count) && (entry = memory->entries); done++) {
        add_entry(memory->disk, entry);
        pos = entry->row->pos;
#ifndef BUG_SPLIT_UNIT
        joined = entry->joined;
#endif
        if (!(memory->entries = entry->next))
            memory->entries_end = &memory->entries;
        log_entry_free(entry);
        memory->waiting--;
    }
    struct log_flush *flushes = take_flushes(memory);
    memory_side_sync(&memory->disk->side, &memory->side, is_there, memory);
    if (done && log->client.durable)
        log->client.durable(log->client.data, pos);
    for (struct log_flush *flush = flushes, *next; flush; flush = next) {
        next = flush->next;
        flush->done(flush->data, flush);
    }
    return done;
}

size_t memory_pump(struct log *log)
{
    struct memory *memory = of(log);
    size_t count = memory->prune_wanted;
    struct log_read *reads = memory->reads;
    struct log_find *finds = memory->finds;
    memory->reads = NULL;
    memory->reads_end = &memory->reads;
    memory->finds = NULL;
    memory->finds_end = &memory->finds;
    if (memory->prune_wanted)
        prune(memory);
    for (struct log_read *read = reads, *next; read; read = next, count++) {
        next = read->next;
        answer_read(memory, read);
    }
    for (struct log_find *find = finds, *next; find; find = next, count++) {
        next = find->next;
        answer_find(memory, find);
    }
    return count + memory_side_pump(&memory->disk->side, &memory->side);
}

void memory_full(struct log *log, bool full)
{
    struct memory *memory = of(log);
    bool changed = memory->full != full;
    memory->full = full;
    if (changed && log->client.full)
        log->client.full(log->client.data, full);
    serve(memory);
}

void memory_auto(struct log *log, bool on)
{
    of(log)->automatic = on;
    serve(of(log));
}

void memory_crash(struct log *log)
{
    struct memory *memory = of(log);
    log_forget(memory->entries, memory->flushes, memory->reads, memory->finds);
    log_forget_sides(memory->side.words, memory->side.asks);
    memory->disk->open = false;
    free(memory);
}

static void log_close(struct log *log)
{
    of(log)->full = false;
    memory_sync(log, SIZE_MAX);
    memory_pump(log);
    memory_crash(log);
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

struct log *memory_open(struct memory_disk *disk, int64_t wall_s, struct log_opening *opening)
{
    struct memory *memory = MEM_NEW(struct memory);
    assert(!disk->open);
    disk->open = true;
    disk->epoch = disk->epoch + 1 > wall_s ? disk->epoch + 1 : wall_s;
    memory->log.ops = &ops;
    memory->disk = disk;
    memory->entries_end = &memory->entries;
    memory->flushes_end = &memory->flushes;
    memory->reads_end = &memory->reads;
    memory->finds_end = &memory->finds;
    memory_side_init(&memory->side);
    memory->log.cache_max = LIMIT_CACHE_BYTES;
    opening->epoch = disk->epoch;
    opening->last_pos = memory_last_pos(disk);
    for (size_t i = 0; i < disk->jobs_count; i++)    /* what an earlier opening began to remove */
        memory->prune_wanted = memory->prune_wanted || disk->jobs[i]->state == 3;
    tell(disk, opening);
    return &memory->log;
}
