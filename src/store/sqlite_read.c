#include "store/sqlite_own.h"

#include "base/limits.h"
#include "base/mem.h"
#include "store/place.h"

#include <errno.h>
#include <stdlib.h>

/* An answer that is being gathered. */
struct answer {
    struct sqlite *s;
    struct log_read *read;
    size_t bytes;                  /* of the bodies so far */
    uint64_t seq;                  /* by seq: the next one wanted */
    bool full;                     /* the limit is reached, or nothing follows */
    int rc;                        /* SQLITE_OK, or why it could not be read */
};

/* Adds the row at a position. A missing one ends an answer by seq: it is not durable yet, or its job is being removed. */
static void add_row(struct answer *answer, uint64_t pos)
{
    struct log_read *read = answer->read;
    sqlite3_stmt *stmt = answer->s->read[READ_EVENT];
    sqlite3_bind_int64(stmt, 1, (int64_t)pos);
    int rc = sqlite3_step(stmt);
    size_t bytes = rc == SQLITE_ROW ? (size_t)sqlite3_column_bytes(stmt, 8) : 0;
    if (rc == SQLITE_ROW && read->rows_count && answer->bytes + bytes > LIMIT_READ_BYTES) {
        answer->full = true;
    } else if (rc == SQLITE_ROW) {
        struct row *row = base_row(stmt);
        read->rows[read->rows_count++] = row;
        answer->bytes += bytes;
        answer->full = read->rows_count == LIMIT_READ_ROWS;
        if (read->from_seq && (row->job != read->job || row->seq != answer->seq++))
            answer->rc = SQLITE_CORRUPT;
    } else if (rc == SQLITE_DONE) {
        answer->full = read->from_seq != 0;
    } else {
        answer->rc = rc;
    }
    sqlite3_reset(stmt);
}

static bool more(const struct answer *answer)
{
    return !answer->full && answer->rc == SQLITE_OK;
}

/* The part of the answer that one row of the place cache knows about. The deltas stay valid: other statements are stepped only. */
static void add_page(struct answer *answer)
{
    sqlite3_stmt *stmt = answer->s->read[READ_PLACE];
    sqlite3_bind_int64(stmt, 1, answer->read->job);
    sqlite3_bind_int64(stmt, 2, (int64_t)answer->seq);
    int rc = sqlite3_step(stmt);
    uint64_t seq = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(stmt, 0) : 0, pos = 0, wanted = answer->seq;
    struct bytes rest = rc == SQLITE_ROW ? base_bytes(stmt, 2) : (struct bytes){0};
    answer->rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
    for (; more(answer) && place_next(&rest, &pos); seq++)
        if (seq >= wanted)
            add_row(answer, pos);
    if (answer->seq == wanted)
        answer->full = true;       /* the cache does not reach so far */
    sqlite3_reset(stmt);
}

static void by_seq(struct answer *answer)
{
    const struct log_read *read = answer->read;
    answer->seq = read->from_seq;
    while (more(answer) && (!read->known_count || answer->seq < read->known_from))
        add_page(answer);
    /* A page written since the question was asked may have led beyond known_from: go on behind it. */
    while (more(answer) && answer->seq - read->known_from < read->known_count)
        add_row(answer, read->known[answer->seq - read->known_from]);
}

static void answer_read(struct sqlite *s, struct log_read *read)
{
    struct answer answer = {.s = s, .read = read};
    read->rows = mem_new(LIMIT_READ_ROWS * sizeof *read->rows);
    answer.rc = base_run(s->read[READ_BEGIN]);
    if (read->from_seq)
        by_seq(&answer);
    for (size_t i = 0; !read->from_seq && i < read->known_count && more(&answer); i++)
        add_row(&answer, read->known[i]);
    base_run(s->read[READ_COMMIT]);
    if (answer.rc != SQLITE_OK) {
        read->error = -EIO;
        while (read->rows_count)
            row_unref(read->rows[--read->rows_count]);
    }
    outbox_add_read(s->outbox, read);
}

/* The position of the job's first row, 0 when the place cache does not know it. */
static uint64_t first_pos(struct sqlite *s, int64_t job)
{
    sqlite3_stmt *stmt = s->read[READ_PLACE];
    uint64_t pos = 0;
    sqlite3_bind_int64(stmt, 1, job);
    sqlite3_bind_int64(stmt, 2, 1);
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        struct bytes deltas = base_bytes(stmt, 2);
        place_next(&deltas, &pos);
    }
    sqlite3_reset(stmt);
    return pos;
}

static void answer_find(struct sqlite *s, struct log_find *find)
{
    sqlite3_stmt *stmt = s->read[READ_FIND];
    base_run(s->read[READ_BEGIN]);
    sqlite3_bind_text(stmt, 1, find->id, -1, SQLITE_STATIC);
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        struct bytes owner = base_bytes(stmt, 1), fold = base_bytes(stmt, 2);
        find->found = true;
        find->job = sqlite3_column_int64(stmt, 0);
        find->owner = mem_copy(owner.at, owner.count);
        find->fold = fold.at ? mem_copy(fold.at, fold.count) : NULL;
        find->fold_bytes = fold.count;
    }
    sqlite3_reset(stmt);
    if (find->found)
        find->created_pos = first_pos(s, find->job);
    base_run(s->read[READ_COMMIT]);
    outbox_add_find(s->outbox, find);
}

/* Takes the next question; false at the end. Questions that are left at the close are answered with nothing. */
static bool next_question(struct sqlite *s, struct log_read **ret_read, struct log_find **ret_find)
{
    pthread_mutex_lock(&s->read_mutex);
    while (!s->reads && !s->finds && !s->read_closing)
        pthread_cond_wait(&s->read_cond, &s->read_mutex);
    struct log_find *find = *ret_find = s->finds;
    if (find && !(s->finds = find->next))
        s->finds_end = &s->finds;
    struct log_read *read = *ret_read = s->reads;
    if (read && !(s->reads = read->next))
        s->reads_end = &s->reads;
    bool closing = s->read_closing;
    pthread_mutex_unlock(&s->read_mutex);
    if (!closing)
        return true;
    if (read) {
        read->error = -ECANCELED;
        outbox_add_read(s->outbox, read);
    }
    if (find)
        outbox_add_find(s->outbox, find);
    *ret_read = NULL;
    *ret_find = NULL;
    return read || find;
}

void *read_thread(void *data)
{
    struct sqlite *s = data;
    struct log_read *read;
    struct log_find *find;
    while (next_question(s, &read, &find)) {
        if (find)
            answer_find(s, find);
        if (read)
            answer_read(s, read);
    }
    return NULL;
}
