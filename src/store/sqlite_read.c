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

/* ---- jobs ---- */

static char *copy(struct bytes text)
{
    return text.at ? mem_copy(text.at, text.count) : mem_text("");
}

/* From the columns job, id, owner, fold. Answers its bytes. */
static size_t add_found(struct log_find *find, sqlite3_stmt *stmt)
{
    struct log_found *found = log_find_add(find);
    struct bytes fold = base_bytes(stmt, 3);
    found->job = sqlite3_column_int64(stmt, 0);
    found->id = copy(base_bytes(stmt, 1));
    found->owner = copy(base_bytes(stmt, 2));
    found->fold = fold.at ? mem_copy(fold.at, fold.count) : NULL;
    found->fold_bytes = fold.count;
    return fold.count;
}

static sqlite3_stmt *ask_page(struct sqlite *s, const struct log_find *find)
{
    sqlite3_stmt *stmt = s->read[find->owner ? READ_OWNER_PAGE : READ_PAGE];
    sqlite3_bind_int64(stmt, 1, find->before);
    sqlite3_bind_int64(stmt, 2, (int64_t)find->limit);
    if (find->owner)
        sqlite3_bind_text(stmt, 3, find->owner, -1, SQLITE_STATIC);
    return stmt;
}

static sqlite3_stmt *ask_key(struct sqlite *s, const struct log_find *find)
{
    sqlite3_stmt *stmt = s->read[READ_FIND_KEY];
    sqlite3_bind_text(stmt, 1, find->owner, -1, SQLITE_STATIC);
    sqlite3_bind_text64(stmt, 2, find->key, find->key_bytes, SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_int64(stmt, 3, find->now_us);
    return stmt;
}

static sqlite3_stmt *ask_find(struct sqlite *s, const struct log_find *find)
{
    if (find->by == LOG_BY_PAGE)
        return ask_page(s, find);
    if (find->by == LOG_BY_KEY)
        return ask_key(s, find);
    sqlite3_stmt *stmt = s->read[find->by == LOG_BY_ID ? READ_FIND : READ_FIND_NUMBER];
    if (find->by == LOG_BY_ID)
        sqlite3_bind_text(stmt, 1, find->id, -1, SQLITE_STATIC);
    else
        sqlite3_bind_int64(stmt, 1, find->before);
    return stmt;
}

static int find_jobs(struct sqlite *s, struct log_find *find)
{
    sqlite3_stmt *stmt = ask_find(s, find);
    size_t bytes = 0;
    int rc = SQLITE_ROW;
    while (bytes <= LIMIT_READ_BYTES && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        bytes += add_found(find, stmt);
        struct bytes print = find->by == LOG_BY_KEY ? base_bytes(stmt, 4) : (struct bytes){0};
        if (print.count == SHA_SIZE)
            memcpy(find->print.at, print.at, SHA_SIZE);
    }
    sqlite3_reset(stmt);
    find->end = rc == SQLITE_DONE && find->found_count < find->limit;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int find_cells(struct sqlite *s, struct log_find *find)
{
    sqlite3_stmt *stmt = s->read[READ_CELL];
    int rc = SQLITE_DONE;
    find->cells = mem_new(find->pages_count * sizeof *find->cells);
    for (size_t i = 0; i < find->pages_count && (rc == SQLITE_ROW || rc == SQLITE_DONE); i++) {
        sqlite3_bind_int64(stmt, 1, find->before);
        sqlite3_bind_int64(stmt, 2, find->pages[i]);
        rc = sqlite3_step(stmt);
        struct bytes body = rc == SQLITE_ROW ? base_bytes(stmt, 0) : (struct bytes){0};
        if (body.at)
            find->cells[find->cells_count++] = (struct log_cell_page){find->pages[i], mem_copy(body.at, body.count), body.count};
        sqlite3_reset(stmt);
    }
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void answer_find(struct sqlite *s, struct log_find *find)
{
    int rc = base_run(s->read[READ_BEGIN]);
    if (rc == SQLITE_OK)
        rc = find_jobs(s, find);
    if (rc == SQLITE_OK && find->pages_count)
        rc = find_cells(s, find);
    base_run(s->read[READ_COMMIT]);
    if (rc != SQLITE_OK)
        find->error = -EIO;
    outbox_add_find(s->outbox, find);
}

static int find_value(struct sqlite *s, const struct log_cached *cached, size_t at)
{
    sqlite3_stmt *stmt = s->read[READ_CACHED];
    sqlite3_bind_blob(stmt, 1, cached->keys[at].at, SHA_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, cached->now_us);
    int rc = sqlite3_step(stmt);
    struct bytes value = rc == SQLITE_ROW ? base_bytes(stmt, 0) : (struct bytes){0};
    if (value.at)
        cached->values[at] = (struct log_value){{mem_copy(value.at, value.count), value.count}, sqlite3_column_int64(stmt, 1)};
    sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void answer_cached(struct sqlite *s, struct log_cached *cached)
{
    cached->values = mem_new(cached->count * sizeof *cached->values);
    int rc = base_run(s->read[READ_BEGIN]);
    for (size_t i = 0; i < cached->count && rc == SQLITE_OK; i++)
        rc = find_value(s, cached, i);
    base_run(s->read[READ_COMMIT]);
    if (rc != SQLITE_OK)
        cached->error = -EIO;
    outbox_add_cached(s->outbox, cached);
}

/* Takes the next question; false at the end. Questions that are left at the close are answered with nothing. */
static bool next_question(struct sqlite *s, struct log_read **ret_read, struct log_find **ret_find, struct log_cached **ret_cached)
{
    pthread_mutex_lock(&s->read_mutex);
    while (!s->reads && !s->finds && !s->cached && !s->read_closing)
        pthread_cond_wait(&s->read_cond, &s->read_mutex);
    struct log_find *find = *ret_find = s->finds;
    if (find && !(s->finds = find->next))
        s->finds_end = &s->finds;
    struct log_read *read = *ret_read = s->reads;
    if (read && !(s->reads = read->next))
        s->reads_end = &s->reads;
    struct log_cached *cached = *ret_cached = s->cached;
    if (cached && !(s->cached = cached->next))
        s->cached_end = &s->cached;
    bool closing = s->read_closing;
    pthread_mutex_unlock(&s->read_mutex);
    if (!closing)
        return true;
    if (read) {
        read->error = -ECANCELED;
        outbox_add_read(s->outbox, read);
    }
    if (find) {
        find->error = -ECANCELED;
        outbox_add_find(s->outbox, find);
    }
    if (cached) {
        cached->error = -ECANCELED;
        outbox_add_cached(s->outbox, cached);
    }
    *ret_read = NULL;
    *ret_find = NULL;
    *ret_cached = NULL;
    return read || find || cached;
}

void *read_thread(void *data)
{
    struct sqlite *s = data;
    struct log_read *read;
    struct log_find *find;
    struct log_cached *cached;
    while (next_question(s, &read, &find, &cached)) {
        if (cached)
            answer_cached(s, cached);
        if (find)
            answer_find(s, find);
        if (read)
            answer_read(s, read);
    }
    return NULL;
}
