/* Results by key, and cursors of readers that go outwards: tables that the log thread writes beside the events, in the same commits.
 *
 * The bytes of all results are counted here, and what goes beyond log.cache_max is removed between commits, first what expires first, as
 * what has expired is when pruning says so. Results that come while far too much is there are not written at all. */
#include "store/sqlite_own.h"

#include "base/limits.h"

/* Cleaning goes so far below the bound that it does not begin anew with the next result. */
static int64_t low_water(const struct sqlite *s)
{
    return s->log.cache_max - s->log.cache_max / 16;
}

static int64_t weight(size_t count)
{
    return (int64_t)count + LIMIT_CACHE_ROW_BYTES;
}

static void count_cache(struct sqlite *s)
{
    if (s->cache.counted)
        return;
    s->cache.bytes = base_number(s->write_db, "SELECT coalesce(sum(bytes), 0) FROM cache", 0);
    s->cache.counted = true;
}

/* What the key's result takes now; 0 when there is none. */
static int64_t bytes_of_key(struct sqlite *s, const struct sha *key)
{
    sqlite3_stmt *stmt = s->write[WRITE_CACHED];
    sqlite3_bind_blob(stmt, 1, key->at, SHA_SIZE, SQLITE_STATIC);
    int64_t bytes = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_reset(stmt);
    return bytes;
}

static int write_value(struct sqlite *s, const struct log_side *side)
{
    sqlite3_stmt *stmt = s->write[WRITE_CACHE];
    struct cache *cache = &s->cache;
    count_cache(s);
    cache->cleaning = cache->cleaning || cache->bytes > s->log.cache_max;
    if (cache->bytes > s->log.cache_max + s->log.cache_max / 4)
        return SQLITE_OK;
    cache->bytes += weight(side->value.count) - bytes_of_key(s, &side->key);
    sqlite3_bind_blob(stmt, 1, side->key.at, SHA_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, side->expires_us);
    sqlite3_bind_int64(stmt, 3, weight(side->value.count));
    sqlite3_bind_text64(stmt, 4, side->value.at, side->value.count, SQLITE_STATIC, SQLITE_UTF8);
    return write_one(s, WRITE_CACHE);
}

static int write_cursor(struct sqlite *s, int statement, const char *reader, int64_t job, uint64_t seq)
{
    sqlite3_stmt *stmt = s->write[statement];
    sqlite3_bind_text(stmt, 1, reader, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, job);
    if (statement != WRITE_READER_GONE)
        sqlite3_bind_int64(stmt, 3, (int64_t)seq);
    return write_one(s, statement);
}

int side_write(struct sqlite *s, const struct log_side *side)
{
    if (side->what == LOG_CACHE_PUT)
        return write_value(s, side);
    return write_cursor(s, side->what == LOG_READER_SET ? WRITE_READER : WRITE_READER_GONE, side->reader, side->job, side->seq);
}

int side_write_readers(struct sqlite *s, const struct log_entry *entry)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; i < entry->readers_count && rc == SQLITE_OK; i++)
        rc = write_cursor(s, WRITE_READER_NEW, entry->readers[i], entry->row->job, 0);
    return rc;
}

int side_remove_readers(struct sqlite *s, int64_t job)
{
    sqlite3_bind_int64(s->write[WRITE_READERS_GONE], 1, job);
    return write_one(s, WRITE_READERS_GONE);
}

bool side_is_awaited(struct sqlite *s, int64_t job, uint64_t last_seq)
{
    sqlite3_stmt *stmt = s->write[WRITE_AWAITED];
    sqlite3_bind_int64(stmt, 1, job);
    sqlite3_bind_int64(stmt, 2, (int64_t)last_seq);
    int rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    return rc != SQLITE_DONE;      /* in doubt it is */
}

/* ---- removal ---- */

void side_clean(struct sqlite *s, int64_t now_us)
{
    s->cache.cleaning = true;
    if (now_us > s->cache.now_us)
        s->cache.now_us = now_us;
}

/* The next results that have to go, at most LIMIT_PRUNE_ROWS. *ret_end: what is left may stay. */
static int take_old(struct sqlite *s, struct sha *ret_keys, size_t *ret_count, int64_t *ret_bytes, bool *ret_end)
{
    sqlite3_stmt *stmt = s->write[WRITE_CACHE_OLD];
    int64_t left = s->cache.bytes;
    int rc;
    sqlite3_bind_int(stmt, 1, LIMIT_PRUNE_ROWS);
    *ret_count = 0;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct bytes key = base_bytes(stmt, 0);
        *ret_end = left <= low_water(s) && sqlite3_column_int64(stmt, 2) > s->cache.now_us;
        if (*ret_end || key.count != SHA_SIZE)
            break;
        memcpy(ret_keys[(*ret_count)++].at, key.at, SHA_SIZE);
        left -= sqlite3_column_int64(stmt, 1);
    }
    sqlite3_reset(stmt);
    *ret_end = *ret_end || *ret_count < LIMIT_PRUNE_ROWS;
    *ret_bytes = s->cache.bytes - left;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

void side_clean_step(struct sqlite *s)
{
    struct sha keys[LIMIT_PRUNE_ROWS];
    size_t count = 0;
    int64_t bytes = 0;
    bool end = false;
    count_cache(s);
    int rc = write_one(s, WRITE_BEGIN);
    if (rc == SQLITE_OK)
        rc = take_old(s, keys, &count, &bytes, &end);
    for (size_t i = 0; i < count && rc == SQLITE_OK; i++) {
        sqlite3_bind_blob(s->write[WRITE_CACHE_GONE], 1, keys[i].at, SHA_SIZE, SQLITE_STATIC);
        rc = write_one(s, WRITE_CACHE_GONE);
    }
    if (write_failed(s, write_commit(s, rc), "removing old results"))
        return;                    /* the next step does the same again */
    s->cache.bytes -= bytes;
    s->cache.cleaning = !end;
}
