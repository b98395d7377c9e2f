/* One job's row and caches: held against its fold, or written from it. */
#include "store/audit_own.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "core/snapshot.h"
#include "store/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What the caches of a job are gone through with. */
struct compare {
    struct subject *subject;
    uint64_t next;             /* places: seqs before it were met; cells: the next page */
    bool wrong;                /* said once a table and job */
};

/* ---- comparing ---- */

/* Members that folds of earlier formats do not have. */
static bool may_miss(const char *key)
{
    return !strcmp(key, "open") || !strcmp(key, "fed") || !strcmp(key, "bytes") || !strcmp(key, "trace");
}

/* What opening puts in their place, and writes back: for jobs that began under an earlier format. It matters to open jobs alone, and there were none. */
static bool stands_in(const char *key, struct json_object *stored)
{
    return !strcmp(key, "fed") ? json_get_int(stored, "fed", 0) == json_get_int(stored, "created", -1) : may_miss(key) && json_get_int(stored, key, 0) == 0;
}

static const char *difference(struct json_object *stored, struct json_object *right)
{
    json_object_object_foreach(right, key, value) {
        struct json_object *other = json_get(stored, key);
        if (other ? !json_object_equal(other, value) && !stands_in(key, stored) : !may_miss(key))
            return key;
    }
    json_object_object_foreach(stored, name, member) {
        if (member && !json_get(right, name))
            return name;
    }
    return NULL;
}

static void write_fold(const struct job *job, struct buf *ret)
{
    buf_init(ret, SIZE_MAX / 2);
    snapshot_write(job, ret);
}

static int compare_fold(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct compare *at = data;
    struct bytes stored = base_bytes(stmt, 0);
    struct buf right BUF_OWNED;
    write_fold(at->subject->fold, &right);
    at->next++;
    look->audit->looked[AUDIT_FOLDS] += stored.count > 0;
    if (!stored.count) {
        look_found(look, AUDIT_CACHE, AUDIT_FOLDS, at->subject, 0, "its fold is missing");
        return 0;
    }
    struct json_object *tree JSON_OWNED = json_parse(stored, NULL), *wanted JSON_OWNED = json_parse(buf_bytes(&right), NULL);
    const char *key = json_object_is_type(tree, json_type_object) ? difference(tree, wanted) : "";
    if (key)
        look_found(look, AUDIT_CACHE, AUDIT_FOLDS, at->subject, 0, *key ? "\"%s\" of its fold is not what its events come to" : "its fold is no fold%s", key);
    return 0;
}

static void wrong_place(struct look *look, struct compare *at, const char *what)
{
    if (!at->wrong)
        look_found(look, AUDIT_CACHE, AUDIT_PLACES, at->subject, at->next + 1, "%s", what);
    at->wrong = true;
}

static int compare_places(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct compare *at = data;
    struct bytes rest = base_bytes(stmt, 2);
    uint64_t pos = 0, count = 0;
    look->audit->looked[AUDIT_PLACES]++;
    if ((uint64_t)sqlite3_column_int64(stmt, 0) != at->next + 1)
        wrong_place(look, at, "the page of places that it would stand in is missing");
    while (!at->wrong && place_next(&rest, &pos)) {
        if (at->next >= at->subject->places_count || at->subject->places[at->next] != pos)
            wrong_place(look, at, "its place is another one");
        at->next += !at->wrong;
        count++;
    }
    if (!at->wrong && (rest.count || (int64_t)count != sqlite3_column_int64(stmt, 1)))
        wrong_place(look, at, "the page of places before it is damaged");
    return 0;
}

static bool same_items(struct bytes stored, struct bytes right)
{
    if (stored.count != right.count)
        return false;
    for (size_t at = 0; at < right.count; at += sizeof(struct item)) {
        struct item a, b;
        memcpy(&a, stored.at + at, sizeof a);
        memcpy(&b, right.at + at, sizeof b);
        a.old = b.old = 0;    /* set when opening */
        if (memcmp(&a, &b, sizeof a))
            return false;
    }
    return true;
}

static int compare_cell(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct compare *at = data;
    int64_t page = sqlite3_column_int64(stmt, 0);
    look->audit->looked[AUDIT_CELLS]++;
    if (at->wrong)
        return 0;
    at->wrong = page != (int64_t)at->next;
    if (at->wrong)
        look_found(look, AUDIT_CACHE, AUDIT_CELLS, at->subject, 0, "page %" PRIu64 " of its items is missing", at->next);
    else if (page >= snapshot_pages(at->subject->fold))
        look_found(look, AUDIT_CACHE, AUDIT_CELLS, at->subject, 0, "page %" PRId64 " of its items is one too many", page);
    else if (!same_items(base_bytes(stmt, 1), snapshot_cell(at->subject->fold, page)))
        look_found(look, AUDIT_CACHE, AUDIT_CELLS, at->subject, 0, "page %" PRId64 " of its items is not what its events come to", page);
    at->next++;
    return 0;
}

static int compare_all(struct look *look, struct subject *subject)
{
    struct compare fold = {subject}, places = {subject}, cells = {subject};
    if (look_each(look, "SELECT fold FROM job WHERE job=?", subject->job, compare_fold, &fold) ||
        look_each(look, "SELECT first_seq, count, deltas FROM place WHERE job=? ORDER BY first_seq", subject->job, compare_places, &places) ||
        look_each(look, "SELECT page, body FROM cell WHERE job=? ORDER BY page", subject->job, compare_cell, &cells))
        return -1;
    if (!places.wrong && places.next < subject->places_count)
        wrong_place(look, &places, "its place is missing");
    if (!cells.wrong && (int64_t)cells.next < snapshot_pages(subject->fold))
        look_found(look, AUDIT_CACHE, AUDIT_CELLS, subject, 0, "page %" PRIu64 " of its items is missing", cells.next);
    return 0;
}

/* ---- writing ---- */

static int write_with(struct look *look, const char *query, int64_t job, int64_t first, int64_t second, struct bytes content)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(look->db, query, -1, &stmt, NULL) != SQLITE_OK)
        return look_failed(look);
    sqlite3_bind_int64(stmt, 1, job);
    sqlite3_bind_int64(stmt, 2, first);
    sqlite3_bind_blob64(stmt, 3, content.at, content.count, SQLITE_STATIC);
    if (second >= 0)
        sqlite3_bind_int64(stmt, 4, second);
    int rc = base_run(stmt);
    sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? 0 : look_failed(look);
}

static int write_places(struct look *look, const struct subject *subject)
{
    struct buf deltas BUF_OWNED;
    int result = 0;
    buf_init(&deltas, LIMIT_PLACE_SEQS * PLACE_BYTES_MAX);
    for (size_t first = 0, end; result == 0 && first < subject->places_count; first = end) {
        uint64_t last = 0;
        buf_clear(&deltas);
        end = first + LIMIT_PLACE_SEQS < subject->places_count ? first + LIMIT_PLACE_SEQS : subject->places_count;
        for (size_t i = first; i < end; i++)
            place_add(&deltas, &last, subject->places[i]);
        result = write_with(look, "INSERT INTO place (job, first_seq, deltas, count) VALUES (?,?,?,?)", subject->job, (int64_t)first + 1,
                            (int64_t)(end - first), buf_bytes(&deltas));
        look->audit->looked[AUDIT_PLACES]++;
    }
    return result;
}

static int write_cells(struct look *look, const struct subject *subject)
{
    int result = 0;
    for (int64_t page = 0; result == 0 && page < snapshot_pages(subject->fold); page++) {
        result = write_with(look, "INSERT INTO cell (job, page, body) VALUES (?,?,?)", subject->job, page, -1, snapshot_cell(subject->fold, page));
        look->audit->looked[AUDIT_CELLS]++;
    }
    return result;
}

int caches_settle(struct look *look, struct subject *subject)
{
    subject->settled = true;
    if (look->mend)
        return write_places(look, subject) || write_cells(look, subject) ? -1 : 0;
    return compare_all(look, subject);
}

/* ---- the row ---- */

static int state_of(const struct job *job)
{
    return job->ended ? 2 : job->sealed ? 1 : 0;
}

/* Columns: id, owner, pipeline, state, created_at, ended_at. */
static int compare_row(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct compare *at = data;
    const struct job *job = at->subject->fold;
    struct bytes hash = base_bytes(stmt, 2);
    int state = sqlite3_column_int(stmt, 3);
    const char *what = NULL;
    at->next++;
    look->audit->looked[AUDIT_JOBS]++;
    if (!bytes_equal(base_bytes(stmt, 0), bytes_of(job->id)))
        what = "id";
    else if (!bytes_equal(base_bytes(stmt, 1), bytes_of(job->owner)))
        what = "owner";
    else if (!bytes_equal(hash, (struct bytes){(const char *)job->hash.at, SHA_SIZE}))
        what = "pipeline";
    else if (state != state_of(job) && !(state == 3 && job->ended))
        what = "state";
    else if (sqlite3_column_int64(stmt, 4) != job->created_us)
        what = "created_at";
    else if (job->ended ? sqlite3_column_int64(stmt, 5) != job->ended_us : sqlite3_column_type(stmt, 5) != SQLITE_NULL)
        what = "ended_at";
    if (what)
        look_found(look, AUDIT_CACHE, AUDIT_JOBS, at->subject, 0, "\"%s\" in its row is not what its events say", what);
    return 0;
}

static void bind_text(sqlite3_stmt *stmt, int place, const char *text)
{
    sqlite3_bind_text(stmt, place, text, -1, SQLITE_STATIC);
}

static int write_row(struct look *look, const struct job *job)
{
    sqlite3_stmt *stmt;
    struct buf fold BUF_OWNED;
    write_fold(job, &fold);
    if (sqlite3_prepare_v2(look->db, "INSERT INTO job VALUES (?,?,?,?,?,?,?,?)", -1, &stmt, NULL) != SQLITE_OK)
        return look_failed(look);
    sqlite3_bind_int64(stmt, 1, job->job);
    bind_text(stmt, 2, job->id);
    bind_text(stmt, 3, job->owner);
    sqlite3_bind_blob(stmt, 4, job->hash.at, SHA_SIZE, SQLITE_STATIC);
    sqlite3_bind_int(stmt, 5, state_of(job));
    sqlite3_bind_int64(stmt, 6, job->created_us);
    if (job->ended)
        sqlite3_bind_int64(stmt, 7, job->ended_us);
    sqlite3_bind_blob64(stmt, 8, fold.at, fold.count, SQLITE_STATIC);
    int rc = base_run(stmt);
    sqlite3_finalize(stmt);
    look->audit->looked[AUDIT_JOBS]++;
    look->audit->looked[AUDIT_FOLDS]++;
    return rc == SQLITE_OK ? 0 : look_failed(look);
}

int caches_settle_row(struct look *look, struct subject *subject)
{
    struct compare at = {subject};
    if (look->mend)
        return write_row(look, subject->fold);
    if (look_each(look, "SELECT id, owner, pipeline, state, created_at, ended_at FROM job WHERE job=?", subject->job, compare_row, &at))
        return -1;
    if (!at.next)
        look_found(look, AUDIT_CACHE, AUDIT_JOBS, subject, 0, "its row is missing");
    return 0;
}

/* ---- before and after ---- */

/* Rows of jobs are kept beside: they alone say what is being removed. */
int caches_clear(struct look *look)
{
    return look_run(look, "CREATE TEMP TABLE old_job AS SELECT job, id, state FROM main.job;"
                          "CREATE UNIQUE INDEX temp.old_job_by_number ON old_job (job);"
                          "DELETE FROM job; DELETE FROM place; DELETE FROM cell");
}

int caches_remove(struct look *look, struct subject *subject)
{
    sqlite3_stmt *stmt;
    char query[160];
    int rc = sqlite3_prepare_v2(look->db, "DELETE FROM event WHERE pos=?", -1, &stmt, NULL);
    for (size_t i = 0; i < subject->places_count && rc == SQLITE_OK; i++) {
        sqlite3_bind_int64(stmt, 1, (int64_t)subject->places[i]);
        rc = base_run(stmt);
    }
    sqlite3_finalize(stmt);
    snprintf(query, sizeof query, "DELETE FROM job WHERE job=%" PRId64 "; DELETE FROM place WHERE job=%" PRId64 "; DELETE FROM cell WHERE job=%" PRId64,
             subject->job, subject->job, subject->job);
    return rc == SQLITE_OK ? look_run(look, query) : look_failed(look);
}
