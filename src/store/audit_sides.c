/* Tables beside the log. They say what no event says, so what is missing from them cannot be known; what stands in them can be looked over. */
#include "store/audit_own.h"

#include "base/limits.h"
#include "core/pipeline.h"

#include <inttypes.h>
#include <stdio.h>

#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number

/* ---- pipelines ---- */

/* Without a job that needs it, it need not be there: the next job of that pipeline brings it anew. */
static int take_pipeline(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct bytes hash = base_bytes(stmt, 0), text = base_bytes(stmt, 1);
    struct sha right = sha_of(text);
    struct problem problem = {0};
    look->audit->looked[AUDIT_PIPELINES]++;
    struct pipeline *pipeline = pipeline_parse(text, &problem);
    if (!bytes_equal(hash, (struct bytes){(const char *)right.at, SHA_SIZE}) || !pipeline)
        look_found(look, AUDIT_CACHE, AUDIT_PIPELINES, NULL, 0, "the text of a pipeline is damaged%s%s", pipeline ? "" : ": ", problem.text);
    pipeline_free(pipeline);
    return 0;
}

struct text_of {
    struct sha hash;
    bool found;
};

static int compare_text(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct text_of *wanted = data;
    struct bytes text = base_bytes(stmt, 1);
    struct sha right = sha_of(text);
    if (memcmp(right.at, wanted->hash.at, SHA_SIZE))
        return 0;
    wanted->found = true;
    return 0;
}

/* An open job cannot go on without the text it began with. */
int sides_check_pipelines(struct look *look)
{
    size_t at = 0;
    for (struct subject *subject; (subject = map_next(&look->subjects, &at));) {
        struct text_of wanted = {.hash = subject->pipeline};
        if (subject->ended || subject->broken)
            continue;
        if (look_each(look, "SELECT hash, text FROM pipeline", 0, compare_text, &wanted))
            return -1;
        if (!wanted.found)
            walk_break(look, subject, subject->seq, "the text of its pipeline is missing or damaged, and it has not ended");
    }
    return 0;
}

/* ---- keys, cursors, results ---- */

static int take_key(struct look *look, sqlite3_stmt *stmt, void *data)
{
    int64_t job = sqlite3_column_int64(stmt, 1);
    struct subject *subject = look_subject(look, job);
    look->audit->looked[AUDIT_KEYS]++;
    if (!subject)
        look_found(look, AUDIT_CACHE, AUDIT_KEYS, NULL, 0, "a key names a job that is not there");
    else if (sqlite3_column_int64(stmt, 2) != SHA_SIZE)
        look_found(look, AUDIT_CACHE, AUDIT_KEYS, subject, 0, "what its key was given for is damaged");
    else if (sqlite3_column_int(stmt, 0))
        look_found(look, AUDIT_CACHE, AUDIT_KEYS, subject, 0, "its key belongs to another owner");
    return 0;
}

static int take_cursor(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct subject *subject = look_subject(look, sqlite3_column_int64(stmt, 1));
    struct bytes name = base_bytes(stmt, 0);
    uint64_t seq = (uint64_t)sqlite3_column_int64(stmt, 2);
    look->audit->looked[AUDIT_CURSORS]++;
    if (!subject)
        look_found(look, AUDIT_CACHE, AUDIT_CURSORS, NULL, 0, "the cursor of \"%.*s\" is at a job that is not there", BYTES_ARG(name));
    else if (seq > subject->seq)
        look_found(look, AUDIT_CACHE, AUDIT_CURSORS, subject, seq, "the cursor of \"%.*s\" is behind the last event", BYTES_ARG(name));
    return 0;
}

static int take_result(struct look *look, sqlite3_stmt *stmt, void *data)
{
    look_found(look, AUDIT_CACHE, AUDIT_RESULTS, NULL, 0, "%" PRId64 " results are damaged",
               (int64_t)sqlite3_column_int64(stmt, 0));
    return 0;
}

#define RESULT_IS_BAD "length(key)<>32 OR value IS NULL OR NOT json_valid(value) OR " \
                      "bytes<>length(CAST(value AS BLOB))+" TEXT_OF(LIMIT_CACHE_ROW_BYTES)

int sides_look(struct look *look)
{
    if (look_each(look, "SELECT hash, text FROM pipeline", 0, take_pipeline, NULL) || sides_check_pipelines(look))
        return -1;
    if (look_has(look, 2) && look_each(look, "SELECT i.owner<>j.owner, i.job, length(i.print) FROM idem i LEFT JOIN job j ON j.job=i.job", 0, take_key, NULL))
        return -1;
    if (!look_has(look, 3))
        return 0;
    look->audit->looked[AUDIT_RESULTS] = base_number(look->db, "SELECT count(*) FROM cache", 0);
    if (look_each(look, "SELECT count(*) FROM cache WHERE " RESULT_IS_BAD " HAVING count(*)", 0, take_result, NULL))
        return -1;
    return look_each(look, "SELECT name, job, seq FROM reader", 0, take_cursor, NULL);
}

/* ---- mending ---- */

static int drop_cursor(struct look *look, sqlite3_stmt *stmt, void *data)
{
    const struct subject *subject = look_subject(look, sqlite3_column_int64(stmt, 1));
    if (!subject || (uint64_t)sqlite3_column_int64(stmt, 2) <= subject->seq)
        return 0;
    char query[96];
    snprintf(query, sizeof query, "UPDATE reader SET seq=0 WHERE job=%" PRId64 " AND seq>%" PRIu64, subject->job, subject->seq);
    return look_run(look, query);
}

static int drop_pipeline(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct bytes hash = base_bytes(stmt, 0), text = base_bytes(stmt, 1);
    struct sha right = sha_of(text);
    struct pipeline *pipeline = pipeline_parse(text, NULL);
    bool good = pipeline && bytes_equal(hash, (struct bytes){(const char *)right.at, SHA_SIZE});
    pipeline_free(pipeline);
    if (good)
        return 0;
    sqlite3_stmt *gone;
    int rc = sqlite3_prepare_v2(look->db, "DELETE FROM pipeline WHERE hash=?", -1, &gone, NULL);
    sqlite3_bind_blob64(gone, 1, hash.at, hash.count, SQLITE_STATIC);
    rc = rc == SQLITE_OK ? base_run(gone) : rc;
    sqlite3_finalize(gone);
    return rc == SQLITE_OK ? 0 : look_failed(look);
}

int sides_mend(struct look *look)
{
    static const char statements[] =
        "DELETE FROM idem WHERE job NOT IN (SELECT job FROM job) OR length(print)<>32;"
        "UPDATE OR REPLACE idem SET owner=(SELECT owner FROM job WHERE job.job=idem.job) WHERE owner<>(SELECT owner FROM job WHERE job.job=idem.job);"
        "DELETE FROM reader WHERE job NOT IN (SELECT job FROM job);"
        "DELETE FROM cache WHERE " RESULT_IS_BAD ";"
        "CREATE TEMP TABLE old_pipeline AS SELECT hash, text FROM main.pipeline;";
    if (look_run(look, statements) || look_each(look, "SELECT name, job, seq FROM reader", 0, drop_cursor, NULL))
        return -1;
    return look_each(look, "SELECT hash, text FROM temp.old_pipeline", 0, drop_pipeline, NULL);
}
