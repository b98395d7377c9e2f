#include "store/audit_own.h"

#include "base/limits.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *audit_part_name(enum audit_part part)
{
    static const char *const names[] = {
#define X(part, name) name,
        AUDIT_PARTS(X)
#undef X
    };
    return names[part];
}

int64_t audit_count(const struct audit *audit, enum audit_grade grade)
{
    int64_t count = 0;
    for (int part = 0; part < AUDIT_PARTS_COUNT; part++)
        count += audit->findings[part][grade];
    return count;
}

/* ---- words ---- */

void look_found(struct look *look, enum audit_grade grade, enum audit_part part, const struct subject *subject, uint64_t seq, const char *format, ...)
{
    char text[512], number[24] = "";
    va_list words;
    va_start(words, format);
    vsnprintf(text, sizeof text, format, words);
    va_end(words);
    if (subject && !subject->id)
        snprintf(number, sizeof number, "%" PRId64, subject->job);
    look->audit->findings[part][grade]++;
    if (look->audit->found)
        look->audit->found(look->audit->data, &(struct audit_finding){grade, part, subject && subject->id ? subject->id : number, seq, text});
}

int look_failed(struct look *look)
{
    return problem_set(look->problem, "%s/log.db could not be %s: %s.", look->dir, look->mend ? "made anew" : "read", sqlite3_errmsg(look->db));
}

int look_run(struct look *look, const char *statements)
{
    return sqlite3_exec(look->db, statements, NULL, NULL, NULL) == SQLITE_OK ? 0 : look_failed(look);
}

int look_each(struct look *look, const char *query, int64_t bound, int (*row)(struct look *look, sqlite3_stmt *stmt, void *data), void *data)
{
    sqlite3_stmt *stmt;
    int rc, result = 0;
    if (sqlite3_prepare_v2(look->db, query, -1, &stmt, NULL) != SQLITE_OK)
        return look_failed(look);
    if (sqlite3_bind_parameter_count(stmt))
        sqlite3_bind_int64(stmt, 1, bound);
    while (result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        result = row(look, stmt, data);
    if (result == 0 && rc != SQLITE_DONE)
        result = look_failed(look);
    sqlite3_finalize(stmt);
    return result;
}

bool look_has(struct look *look, int64_t format)
{
    return look->format >= format;
}

struct subject *look_subject(struct look *look, int64_t job)
{
    return map_get(&look->subjects, (uint64_t)job);
}

/* ---- the database by itself ---- */

static int take_sentence(struct look *look, sqlite3_stmt *stmt, void *data)
{
    const char *text = (const char *)sqlite3_column_text(stmt, 0);
    if (!text || !strcmp(text, "ok"))
        return 0;
    bool index = strstr(text, "missing from index") || strstr(text, "entries in index");
    char line[256];
    snprintf(line, sizeof line, "%s", text);
    for (char *c = line; (c = strchr(c, '\n'));)
        *c = ';';
    look_found(look, index ? AUDIT_CACHE : AUDIT_LOST, AUDIT_DATABASE, NULL, 0, "SQLite says: %s", line);
    return 0;
}

static int take_opening(struct look *look, sqlite3_stmt *stmt, void *data)
{
    look_found(look, AUDIT_CACHE, AUDIT_OPENINGS, NULL, 0, "opening %" PRId64 " is missing, and events were written in it",
               (int64_t)sqlite3_column_int64(stmt, 0));
    return 0;
}

static int check_base(struct look *look)
{
    sqlite3 *db = look->db;
    look->audit->looked[AUDIT_DATABASE] = base_number(db, "PRAGMA page_count", 0);
    look->audit->looked[AUDIT_OPENINGS] = base_number(db, "SELECT count(*) FROM opening", 0);
    look->flushed = (uint64_t)base_number(db, "SELECT flushed_pos FROM mark", 0);
    int result = look_each(look, "PRAGMA integrity_check(100)", 0, take_sentence, NULL);
    if (look->audit->findings[AUDIT_DATABASE][AUDIT_LOST]) {    /* then it may fail in the midst of it too */
        *look->problem = (struct problem){0};
        return 0;
    }
    if (result < 0)
        return -1;
    if (base_number(db, "SELECT count(*) FROM mark", 0) != 1)
        look_found(look, AUDIT_CACHE, AUDIT_FOLDS, NULL, 0, "nothing says how far the caches reach");
    return look_each(look, "SELECT DISTINCT epoch FROM event WHERE epoch NOT IN (SELECT epoch FROM opening)", 0, take_opening, NULL);
}

static int check_format(struct look *look)
{
    look->format = look->audit->format = base_number(look->db, "PRAGMA user_version", -1);
    if (look->format < 0)
        return look_failed(look);
    if (look->format > base_format())
        return problem_set(look->problem, "%s/log.db has format %lld, and this program knows formats up to %d: use the newer version that wrote it.",
                           look->dir, (long long)look->format, base_format());
    if (look->format == 0)
        return problem_set(look->problem, "%s/log.db is no log.", look->dir);
    return 0;
}

/* ---- looking ---- */

static int look_at_all(struct look *look)
{
    if (check_base(look))
        return -1;
    if (look->audit->findings[AUDIT_DATABASE][AUDIT_LOST])    /* what it holds cannot be trusted to be read */
        return 0;
    if (files_begin(look) || walk_events(look) || walk_rows_without_events(look) || sides_look(look))
        return -1;
    return files_settle_uses(look) || files_look(look) ? -1 : 0;
}

int audit_look(const char *dir, struct audit *audit, struct problem *problem)
{
    struct look look = {.dir = dir, .audit = audit, .problem = problem};
    char *path = sqlite3_mprintf("%s/log.db", dir);
    int rc = sqlite3_open_v2(path, &look.db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    int result = rc == SQLITE_OK ? 0 : problem_set(problem, "%s could not be opened: %s.", path, sqlite3_errmsg(look.db));
    sqlite3_free(path);
    sqlite3_busy_timeout(look.db, BUSY_MS);
    if (result == 0)
        result = check_format(&look);
    if (result == 0)
        result = look_run(&look, "BEGIN");
    if (result == 0)
        result = look_at_all(&look);
    sqlite3_finalize(look.use);
    walk_done(&look);
    sqlite3_close(look.db);
    return result;
}

/* ---- making anew ---- */

static int remove_jobs(struct look *look)
{
    size_t at = 0;
    int result = 0;
    for (struct subject *subject; result == 0 && (subject = map_next(&look->subjects, &at));)
        if (walk_removes(look, subject)) {
            look->audit->dropped += !subject->going;
            result = caches_remove(look, subject);
        }
    return result;
}

static int write_mark(struct look *look)
{
    char query[96];
    snprintf(query, sizeof query, "DELETE FROM mark; INSERT INTO mark VALUES (1, %llu)", (unsigned long long)look->pos);
    return look_run(look, query);
}

static int mend_all(struct look *look)
{
    static const char openings[] = "INSERT INTO opening SELECT epoch, min(at), 'rivulet' FROM event WHERE epoch NOT IN (SELECT epoch FROM opening) GROUP BY epoch";
    if (check_base(look))
        return -1;
    if (look->audit->findings[AUDIT_DATABASE][AUDIT_LOST])
        return problem_set(look->problem, "%s/log.db is damaged in itself, and a rebuild would read from what cannot be trusted: put a backup in its place.",
                           look->dir);
    if (files_begin(look) || look_run(look, "REINDEX") || look_run(look, openings) || caches_clear(look) || walk_events(look) ||
        walk_rows_without_events(look) || sides_check_pipelines(look))
        return -1;
    if (look->audit->broken && !look->drop)
        return problem_set(look->problem, "Nothing was changed in %s: %lld job%s cannot be mended; put a backup in its place, or let --drop forget %s.", look->dir,
                           (long long)look->audit->broken, look->audit->broken == 1 ? "" : "s", look->audit->broken == 1 ? "it" : "them");
    return remove_jobs(look) || sides_mend(look) || files_settle_uses(look) || write_mark(look) ? -1 : 0;
}

/* The log's own connection, which knows the formats. */
static int open_to_write(struct sqlite *s, struct look *look)
{
    char *path = sqlite3_mprintf("%s/log.db", look->dir), *lock = sqlite3_mprintf("%s/lock", look->dir);
    int result = access(path, F_OK) ? problem_set(look->problem, "%s is not there.", path) : 0;
    if (result == 0 && (s->lock_fd = file_lock(lock, LIMIT_LOCK_US)) < 0)
        result = problem_set(look->problem, s->lock_fd == -EBUSY ? "The data directory %s is in use by a server: stop it first." : "%s/lock could not be taken.",
                             look->dir);
    sqlite3_free(path);
    sqlite3_free(lock);
    if (result == 0)
        result = base_open(s, look->problem);
    look->db = s->write_db;
    if (result == 0) {
        sqlite3_wal_hook(s->write_db, NULL, NULL);
        result = check_format(look);
    }
    return result;
}

int audit_rebuild(const char *dir, bool drop, struct audit *audit, struct problem *problem)
{
    struct sqlite s = {.dir = (char *)dir, .lock_fd = -1};
    struct look look = {.dir = dir, .audit = audit, .problem = problem, .mend = true, .drop = drop};
    int result = open_to_write(&s, &look);
    if (result == 0)
        result = look_run(&look, "BEGIN IMMEDIATE");
    if (result == 0)
        result = mend_all(&look);
    sqlite3_finalize(look.use);
    if (s.write_db && !sqlite3_get_autocommit(s.write_db) && look_run(&look, result == 0 ? "COMMIT" : "ROLLBACK"))
        result = -1;
    walk_done(&look);
    base_close(&s);
    if (s.lock_fd >= 0)
        close(s.lock_fd);
    return result;
}
