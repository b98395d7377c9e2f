#include "store/memory.h"

#include "base/mem.h"
#include "base/test.h"

#include <stdlib.h>

/* What the log told. */
static struct {
    size_t pipelines, jobs, cells, rows, flushed, reads;
    uint64_t durable, first_row;
    int64_t pruned;
    int state;
    char fold[16];
    bool full;
} told;
static struct memory_disk *disk;
static struct log *hand;
static struct log_opening opening;
static uint64_t last_pos, last_seq;

static void told_durable(void *data, uint64_t pos) { told.durable = pos; }
static void told_full(void *data, bool full) { told.full = full; }
static void told_pruned(void *data, int64_t job) { told.pruned = job; }
static void told_pipeline(void *data, const struct sha *hash, struct bytes text) { told.pipelines++; }
static void told_cell(void *data, int64_t job, uint32_t page, struct bytes body) { told.cells++; }

static void told_job(void *data, int64_t job, struct bytes id, int state, struct bytes fold)
{
    told.jobs++;
    told.state = state;
    snprintf(told.fold, sizeof told.fold, "%.*s", (int)fold.count, fold.at ? fold.at : "");
}

static void told_row(void *data, struct row *row)
{
    if (!told.rows++)
        told.first_row = row->pos;
}

static void open_again(void)
{
    memset(&told, 0, sizeof told);
    opening = (struct log_opening){NULL, told_pipeline, told_job, told_cell, told_row};
    hand = memory_open(disk, 1000, &opening);
    hand->client = (struct log_client){NULL, told_durable, told_full, told_pruned};
    last_pos = last_seq = opening.last_pos;
}

static void open_new(void)
{
    disk = memory_disk_new();
    open_again();
}

static void leave(void)
{
    hand->ops->close(hand);
    memory_disk_free(disk);
}

static void append(enum event_kind kind)
{
    struct row *row = row_new(BYTES("{}"));
    row->pos = ++last_pos;
    row->seq = ++last_seq;
    row->job = 1;
    row->kind = kind;
    row->at_us = (int64_t)row->pos;
    struct log_entry *entry = log_entry_new(row);
    if (kind == EVENT_JOB_CREATED) {
        entry->job_id = mem_text("job 1");
        entry->pipeline_text = mem_text("pipeline");
    }
    hand->ops->append(hand, entry);
}

static void flush_done(void *data, struct log_flush *flush)
{
    told.flushed++;
    log_flush_free(flush);
}

/* As if all rows since `from_seq` were not flushed before. */
static void flush(uint64_t from_seq)
{
    struct log_flush *flush = MEM_NEW(struct log_flush);
    char text[16];
    snprintf(text, sizeof text, "fold %d", (int)last_seq);
    *flush = (struct log_flush){.pos = last_pos, .jobs = mem_new(sizeof *flush->jobs), .count = 1, .done = flush_done};
    flush->jobs[0] = (struct log_job_cache){.job = 1, .fold = {mem_text(text), strlen(text)}, .places_from = from_seq,
                                            .places = mem_new((last_seq - from_seq + 1) * sizeof(uint64_t))};
    for (uint64_t seq = from_seq; seq <= last_seq; seq++)
        flush->jobs[0].places[flush->jobs[0].places_count++] = seq;     /* one job: seq and pos are the same */
    flush->jobs[0].cells = mem_new(sizeof *flush->jobs[0].cells);
    flush->jobs[0].cells[flush->jobs[0].cells_count++] = (struct log_cell_page){0, mem_text("cell"), 4};
    hand->ops->flush(hand, flush);
}

static void read_done(void *data, struct log_read *read)
{
    told.reads++;
    *(size_t *)data = read->rows_count;
    log_read_free(read);
}

static void ask(uint64_t from_seq, uint64_t known_from, uint64_t known_to, size_t *ret_count)
{
    struct log_read *read = MEM_NEW(struct log_read);
    *read = (struct log_read){.job = 1, .from_seq = from_seq, .known_from = known_from, .done = read_done, .data = ret_count,
                              .known = mem_new((known_to + 1) * sizeof(uint64_t))};
    for (uint64_t seq = known_from; seq <= known_to; seq++)
        read->known[read->known_count++] = seq;
    hand->ops->read(hand, read);
}

TEST(memory_makes_rows_durable_when_it_is_told_and_in_order)
{
    open_new();
    append(EVENT_JOB_CREATED);
    append(EVENT_JOB_SEALED);
    append(EVENT_ITEM_DONE);
    CHECK(memory_waiting(hand) == 3 && told.durable == 0 && !memory_row(disk, 1));
    CHECK_INT(memory_sync(hand, 2), 2);
    CHECK(told.durable == 2 && memory_row(disk, 2) && !memory_row(disk, 3));
    CHECK_INT(memory_sync(hand, 9), 1);
    CHECK_INT(told.durable, 3);
    CHECK_INT(memory_sync(hand, 9), 0);
    leave();
}

TEST(memory_loses_at_a_crash_what_was_not_durable)
{
    open_new();
    append(EVENT_JOB_CREATED);
    append(EVENT_JOB_SEALED);
    flush(1);
    append(EVENT_ITEM_DONE);
    CHECK_INT(memory_sync(hand, 1), 1);
    CHECK_INT(told.flushed, 0);           /* it stands behind row 2 */
    memory_sync(hand, 1);
    CHECK_INT(told.flushed, 1);
    flush(3);
    append(EVENT_ITEM_DONE);
    int64_t epoch = opening.epoch;
    memory_crash(hand);
    open_again();
    CHECK(opening.epoch > epoch && opening.last_pos == 2);
    CHECK(told.jobs == 1 && told.state == 1 && told.rows == 0 && told.cells == 1 && told.pipelines == 1);
    CHECK_TEXT(told.fold, "fold 2");
    append(EVENT_JOB_ENDED);
    memory_sync(hand, 1);
    memory_crash(hand);
    open_again();
    CHECK(told.jobs == 1 && told.state == 2 && told.rows == 1 && told.first_row == 3);
    leave();
}

TEST(memory_shows_readers_durable_rows_only)
{
    size_t count = 99;
    open_new();
    append(EVENT_JOB_CREATED);
    append(EVENT_JOB_SEALED);
    flush(1);
    append(EVENT_ITEM_DONE);
    append(EVENT_ITEM_DONE);
    memory_sync(hand, 3);
    ask(1, 3, 4, &count);
    CHECK_INT(told.reads, 0);
    CHECK_INT(memory_pump(hand), 1);
    CHECK_INT(count, 3);
    ask(4, 3, 4, &count);
    memory_pump(hand);
    CHECK_INT(count, 0);
    ask(0, 1, 4, &count);
    memory_pump(hand);
    CHECK_INT(count, 3);
    leave();
}

TEST(memory_in_automatic_mode_waits_for_nothing)
{
    size_t count;
    open_new();
    append(EVENT_JOB_CREATED);
    memory_auto(hand, true);
    CHECK_INT(told.durable, 1);
    append(EVENT_JOB_ENDED);
    flush(1);
    ask(1, 1, 0, &count);
    CHECK(told.durable == 2 && told.flushed == 1 && count == 2);
    memory_full(hand, true);
    append(EVENT_ITEM_DONE);
    CHECK(told.full && told.durable == 2);
    memory_full(hand, false);
    CHECK(!told.full && told.durable == 3);
    leave();
}

TEST(memory_prunes_what_has_ended_and_is_flushed)
{
    open_new();
    memory_auto(hand, true);
    append(EVENT_JOB_CREATED);
    append(EVENT_JOB_ENDED);
    hand->ops->prune(hand, 100, 0);
    CHECK_INT(told.pruned, 0);
    flush(1);
    hand->ops->prune(hand, 2, 0);
    CHECK_INT(told.pruned, 0);
    hand->ops->prune(hand, 100, 0);
    CHECK_INT(told.pruned, 1);
    CHECK(!memory_row(disk, 1) && memory_last_pos(disk) == 2);
    leave();
}
