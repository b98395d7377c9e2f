/* Which stored files the events name, and whether they are what their names say. */
#include "store/audit_own.h"

#include "base/json.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

/* ---- what events name ---- */

int files_begin(struct look *look)
{
    static const char table[] = "CREATE TEMP TABLE used (sha BLOB NOT NULL, job INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (sha, job)) WITHOUT ROWID";
    if (look_run(look, table))
        return -1;
    return sqlite3_prepare_v2(look->db, "INSERT OR IGNORE INTO temp.used VALUES (?,?,?)", -1, &look->use, NULL) == SQLITE_OK ? 0 : look_failed(look);
}

static int use(struct look *look, const struct event *event, const struct sha *sha)
{
    sqlite3_bind_blob(look->use, 1, sha->at, SHA_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(look->use, 2, event->job);
    sqlite3_bind_int64(look->use, 3, (int64_t)event->seq);
    return base_run(look->use) == SQLITE_OK ? 0 : look_failed(look);
}

/* A value that stands for a file: {"blob":"…","bytes":…}; no other value looks so (outcomes.c refuses it). */
static int use_of_value(struct look *look, const struct event *event, struct bytes value)
{
    struct sha sha;
    if (!bytes_start(value, BYTES("{\"blob\":\"")) || !json_span(value, "bytes").count)
        return 0;
    struct bytes hex = json_span(value, "blob");
    if (hex.count != SHA_HEX_SIZE + 1 || !sha_from_hex((struct bytes){hex.at + 1, hex.count - 2}, &sha))
        return 0;
    return use(look, event, &sha);
}

int files_note(struct look *look, const struct event *event)
{
    int result = 0;
    switch (event->kind) {
    case EVENT_ITEMS_ADDED:
        for (size_t i = 0; i < event->added.count && result == 0; i++)
            if (event->added.items[i].has_blob)
                result = use(look, event, &event->added.items[i].blob);
        return result;
    case EVENT_ITEM_STEPPED: return use_of_value(look, event, event->stepped.value);
    case EVENT_ITEM_DONE: return use_of_value(look, event, event->done.result);
    case EVENT_RECORD_DONE: return use_of_value(look, event, event->record_done.value);
    default: return 0;
    }
}

/* ---- the table of uses ---- */

static int take_missing(struct look *look, sqlite3_stmt *stmt, void *data)
{
    look_found(look, AUDIT_CACHE, AUDIT_USES, look_subject(look, sqlite3_column_int64(stmt, 0)), (uint64_t)sqlite3_column_int64(stmt, 1),
               "that it uses file %.12s… is not noted", sqlite3_column_text(stmt, 2));
    return 0;
}

static int take_extra(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct subject *subject = look_subject(look, sqlite3_column_int64(stmt, 0));
    if (!subject || (!subject->broken && !subject->going))    /* of those it is not known what they used */
        look_found(look, AUDIT_CACHE, AUDIT_USES, subject, 0, "a use of file %.12s… is noted that no event speaks of", sqlite3_column_text(stmt, 1));
    return 0;
}

int files_settle_uses(struct look *look)
{
    static const char missing[] = "SELECT u.job, u.seq, lower(hex(u.sha)) FROM temp.used u LEFT JOIN blob_use b ON b.sha=u.sha AND b.job=u.job WHERE b.sha IS NULL";
    static const char extra[] = "SELECT b.job, lower(hex(b.sha)) FROM blob_use b LEFT JOIN temp.used u ON u.sha=b.sha AND u.job=b.job WHERE u.sha IS NULL AND b.job>0";
    static const char anew[] = "DELETE FROM blob_use WHERE job>0;"
                               "INSERT INTO blob_use SELECT sha, job FROM temp.used WHERE job IN (SELECT job FROM job)";
    look->audit->looked[AUDIT_USES] = base_number(look->db, "SELECT count(*) FROM blob_use", 0);
    if (look->mend)
        return look_run(look, anew);
    return look_each(look, missing, 0, take_missing, NULL) || look_each(look, extra, 0, take_extra, NULL) ? -1 : 0;
}

/* ---- the files ---- */

/* 0, 1 = other bytes than its name says, or -errno. */
static int verify(int blobs, const char *name, const struct sha *sha, char *piece)
{
    int fd = openat(blobs, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t count;
    if (fd < 0)
        return -errno;
    struct sha_stream *stream = sha_new();
    while ((count = read(fd, piece, PIECE)) > 0)
        sha_add(stream, (struct bytes){piece, (size_t)count});
    int error = count < 0 ? -errno : 0;
    struct sha found = sha_end(stream);
    close(fd);
    return error ? error : memcmp(found.at, sha->at, SHA_SIZE) != 0;
}

/* A server that works there may have forgotten the file with its job since the snapshot was taken. */
static bool still_used(struct look *look, const struct sha *sha)
{
    sqlite3 *now = NULL;
    sqlite3_stmt *stmt;
    char *path = sqlite3_mprintf("%s/log.db", look->dir);
    bool used = true;
    if (sqlite3_open_v2(path, &now, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(now, "SELECT 1 FROM blob_use WHERE sha=? LIMIT 1", -1, &stmt, NULL) == SQLITE_OK) {
        sqlite3_bind_blob(stmt, 1, sha->at, SHA_SIZE, SQLITE_STATIC);
        used = sqlite3_step(stmt) != SQLITE_DONE;
        sqlite3_finalize(stmt);
    }
    sqlite3_close(now);
    sqlite3_free(path);
    return used;
}

struct files {
    int blobs;                 /* descriptor */
    char *piece;
};

static int take_used(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct files *files = data;
    struct sha sha;
    char hex[SHA_HEX_SIZE], name[SHA_HEX_SIZE + 3];
    struct subject *subject = look_subject(look, sqlite3_column_int64(stmt, 1));
    uint64_t seq = (uint64_t)sqlite3_column_int64(stmt, 2);
    memcpy(sha.at, base_bytes(stmt, 0).at, SHA_SIZE);
    sha_hex(&sha, hex);
    snprintf(name, sizeof name, "%.2s/%s", hex, hex);
    if (subject && subject->going)
        return 0;
    int result = verify(files->blobs, name, &sha, files->piece);
    look->audit->looked[AUDIT_FILES]++;
    if (result == -ENOENT && !still_used(look, &sha))
        return 0;
    if (result == -ENOENT)
        look_found(look, AUDIT_LOST, AUDIT_FILES, subject, seq, "blobs/%s is missing", name);
    else if (result < 0)
        look_found(look, AUDIT_LOST, AUDIT_FILES, subject, seq, "blobs/%s cannot be read: %s", name, strerror(-result));
    else if (result > 0)
        look_found(look, AUDIT_LOST, AUDIT_FILES, subject, seq, "blobs/%s does not hold what its name says", name);
    return 0;
}

static bool is_named(struct look *look, sqlite3_stmt *stmt, const char *file)
{
    struct sha sha;
    if (!sha_from_hex(bytes_of(file), &sha))
        return false;
    sqlite3_bind_blob(stmt, 1, sha.at, SHA_SIZE, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    return rc == SQLITE_ROW;
}

/* Files in one of the folders that nothing names. */
static int64_t count_unused(struct look *look, int blobs, unsigned folder, sqlite3_stmt *stmt)
{
    char name[3];
    int64_t count = 0;
    snprintf(name, sizeof name, "%02x", folder & 255);
    int fd = openat(blobs, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *entry; list && (entry = readdir(list));)
        count += entry->d_name[0] != '.' && !is_named(look, stmt, entry->d_name);
    if (list)
        closedir(list);
    return count;
}

static int look_for_unused(struct look *look, int blobs)
{
    sqlite3_stmt *stmt;
    int64_t count = 0;
    if (sqlite3_prepare_v2(look->db, "SELECT 1 FROM temp.used WHERE sha=?1 UNION ALL SELECT 1 FROM blob_use WHERE sha=?1 LIMIT 1", -1, &stmt, NULL) != SQLITE_OK)
        return look_failed(look);
    for (unsigned folder = 0; folder < 256; folder++)
        count += count_unused(look, blobs, folder, stmt);
    sqlite3_finalize(stmt);
    if (count)
        look_found(look, AUDIT_NOTE, AUDIT_FILES, NULL, 0, "%" PRId64 " stored files are used by nothing; a server removes them", count);
    return 0;
}

int files_look(struct look *look)
{
    char *path = sqlite3_mprintf("%s/blobs", look->dir), *piece MEM_OWNED = mem_new(PIECE);
    struct files files = {open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), piece};
    sqlite3_free(path);
    int result = look_each(look, "SELECT sha, job, seq FROM temp.used GROUP BY sha ORDER BY sha", 0, take_used, &files);
    if (result == 0 && files.blobs >= 0)
        result = look_for_unused(look, files.blobs);
    if (files.blobs >= 0)
        close(files.blobs);
    return result;
}
