#include "store/sqlite_own.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>
#include <time.h>

enum { FORMAT = 3 };      /* user_version of what this program writes */

/* A program that meets a kind of event it does not know must not go on with the log: so a new kind is a new format, which an older program
 * refuses at its start. New fields of a known kind are none; an older program passes over them. */
_Static_assert(EVENT_KINDS_COUNT == 15, "with a new kind of event FORMAT rises, by a schema that changes nothing but user_version");

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE opening  (epoch INTEGER PRIMARY KEY, at INTEGER NOT NULL, program TEXT NOT NULL) STRICT;"
    "CREATE TABLE mark     (one INTEGER PRIMARY KEY CHECK (one = 1), flushed_pos INTEGER NOT NULL) STRICT;"
    "CREATE TABLE event    (pos INTEGER PRIMARY KEY, job INTEGER NOT NULL, seq INTEGER NOT NULL, epoch INTEGER NOT NULL,"
    "                       at INTEGER NOT NULL, kind INTEGER NOT NULL, item INTEGER, attempt INTEGER, body TEXT NOT NULL) STRICT;"
    "CREATE TABLE pipeline (hash BLOB PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE job      (job INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, pipeline BLOB NOT NULL,"
    "                       state INTEGER NOT NULL, created_at INTEGER NOT NULL, ended_at INTEGER, fold BLOB) STRICT;"
    "CREATE INDEX job_open  ON job (job) WHERE state < 2;"
    "CREATE INDEX job_owner ON job (owner, job);"
    "CREATE TABLE place    (job INTEGER NOT NULL, first_seq INTEGER NOT NULL, count INTEGER NOT NULL, deltas BLOB NOT NULL,"
    "                       PRIMARY KEY (job, first_seq)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE cell     (job INTEGER NOT NULL, page INTEGER NOT NULL, body BLOB NOT NULL,"
    "                       PRIMARY KEY (job, page)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE blob_use (sha BLOB NOT NULL, job INTEGER NOT NULL, PRIMARY KEY (sha, job)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX blob_job  ON blob_use (job);"
    "INSERT INTO mark VALUES (1, 0);"
    "PRAGMA user_version = 1;"
    "COMMIT;";

/* From format 1 to 2: idempotency keys. */
static const char keys_schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE idem     (owner TEXT NOT NULL, key TEXT NOT NULL, job INTEGER NOT NULL, print BLOB NOT NULL,"
    "                       expires_at INTEGER NOT NULL, PRIMARY KEY (owner, key)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX idem_job  ON idem (job);"
    "PRAGMA user_version = 2;"
    "COMMIT;";

/* From format 2 to 3: results by key, and how far readers that go outwards have come. */
static const char sides_schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE reader   (name TEXT NOT NULL, job INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (name, job)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX reader_job ON reader (job);"
    "CREATE TABLE cache    (key BLOB PRIMARY KEY, expires_at INTEGER NOT NULL, bytes INTEGER NOT NULL, value TEXT, sha BLOB)"
    "                       STRICT, WITHOUT ROWID;"
    "CREATE INDEX cache_expiry ON cache (expires_at, bytes);"
    "PRAGMA user_version = 3;"
    "COMMIT;";

/* What brings a log of each format up to the next one. */
static const char *const schemas[FORMAT] = {schema, keys_schema, sides_schema};

int base_format(void)
{
    return FORMAT;
}

int64_t base_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

int64_t base_wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

int base_problem(struct sqlite *s, struct problem *problem, const char *what)
{
    return problem_set(problem, "%s/log.db %s: %s.", s->dir, what, s->write_db ? sqlite3_errmsg(s->write_db) : "no memory");
}

int base_run(sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

struct bytes base_bytes(sqlite3_stmt *stmt, int column)
{
    const char *at = sqlite3_column_blob(stmt, column);
    return (struct bytes){at, (size_t)sqlite3_column_bytes(stmt, column)};
}

struct row *base_row(sqlite3_stmt *stmt)
{
    struct row *row = row_new(base_bytes(stmt, 8));
    row->pos = (uint64_t)sqlite3_column_int64(stmt, 0);
    row->job = sqlite3_column_int64(stmt, 1);
    row->seq = (uint64_t)sqlite3_column_int64(stmt, 2);
    row->epoch = sqlite3_column_int64(stmt, 3);
    row->at_us = sqlite3_column_int64(stmt, 4);
    row->kind = (enum event_kind)sqlite3_column_int(stmt, 5);
    row->item = sqlite3_column_type(stmt, 6) == SQLITE_NULL ? -1 : sqlite3_column_int64(stmt, 6);
    row->attempt = (uint32_t)sqlite3_column_int64(stmt, 7);
    return row;
}

int64_t base_number(sqlite3 *db, const char *query, int64_t missing)
{
    sqlite3_stmt *stmt;
    int64_t number = missing;
    if (sqlite3_prepare_v2(db, query, -1, &stmt, NULL) != SQLITE_OK)
        return missing;
    if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
        number = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return number;
}

static int connect(struct sqlite *s, int flags, sqlite3 **ret)
{
    char *path = sqlite3_mprintf("%s/log.db", s->dir);
    int rc = path ? sqlite3_open_v2(path, ret, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL) : SQLITE_NOMEM;
    sqlite3_free(path);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_extended_result_codes(*ret, 1);
    sqlite3_busy_timeout(*ret, BUSY_MS);
    return SQLITE_OK;
}

static int prepare(sqlite3 *db, const char *const *texts, size_t count, sqlite3_stmt **ret)
{
    for (size_t i = 0; i < count; i++) {
        int rc = sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &ret[i], NULL);
        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

static int make_or_check_schema(struct sqlite *s, struct problem *problem)
{
    sqlite3 *db = s->write_db;
    int64_t format = base_number(db, "PRAGMA user_version", -1);
    if (format < 0)
        return base_problem(s, problem, "is not a log that this program can read");
    if (format > FORMAT)
        return problem_set(problem, "%s/log.db has format %lld, and this program knows formats up to %d: start the newer version that "
                           "wrote it, or name another data directory.", s->dir, (long long)format, FORMAT);
    if (format == FORMAT)
        return 0;
    if (format == 0 && base_number(db, "SELECT count(*) FROM sqlite_schema", 1))
        return problem_set(problem, "%s/log.db is a database of another program: name another data directory.", s->dir);
    for (; format < FORMAT; format++)
        if (sqlite3_exec(db, schemas[format], NULL, NULL, NULL) != SQLITE_OK)
            return base_problem(s, problem, "could not be set up");
    return 0;
}

int base_open(struct sqlite *s, struct problem *problem)
{
    static const char *const texts[] = {
#define X(name, text) text,
        WRITE_STATEMENTS(X)
#undef X
    };
    static const char pragmas[] = "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                  "PRAGMA journal_size_limit=67108864;";
    if (connect(s, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &s->write_db) != SQLITE_OK)
        return base_problem(s, problem, "could not be opened");
    if (sqlite3_exec(s->write_db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        return base_problem(s, problem, "could not be opened as a log");
    if (make_or_check_schema(s, problem) < 0)
        return -1;
    if (prepare(s->write_db, texts, WRITE_COUNT, s->write) != SQLITE_OK)
        return base_problem(s, problem, "lacks a part of the schema");
    sqlite3_wal_hook(s->write_db, write_after_commit, s);
    return 0;
}

int base_open_reader(struct sqlite *s, struct problem *problem)
{
    static const char *const texts[] = {
#define X(name, text) text,
        READ_STATEMENTS(X)
#undef X
    };
    if (connect(s, SQLITE_OPEN_READONLY, &s->read_db) != SQLITE_OK || prepare(s->read_db, texts, READ_COUNT, s->read) != SQLITE_OK)
        return problem_set(problem, "%s/log.db could not be opened for reading: %s.", s->dir,
                           s->read_db ? sqlite3_errmsg(s->read_db) : "no memory");
    return 0;
}

void base_close(struct sqlite *s)
{
    for (size_t i = 0; i < READ_COUNT; i++)
        sqlite3_finalize(s->read[i]);
    for (size_t i = 0; i < WRITE_COUNT; i++)
        sqlite3_finalize(s->write[i]);
    sqlite3_close(s->read_db);
    /* Closing the last connection takes the WAL into the database and removes it; if that fails, the next opening does it. */
    sqlite3_close(s->write_db);
}
