#include "power.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "core/codec.h"
#include "core/snapshot.h"

#include <errno.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS_MAX = 20000, HELD_MAX = 256 };

static struct row *rows[ROWS_MAX];             /* by position: what the image holds */
static uint64_t last_pos;
static const struct told_row *known[ROWS_MAX]; /* by position: what the story ever told */
static bool told[ROWS_MAX];                    /* … and had told when the power went */
static struct held { int64_t job; uint64_t last_seq; bool going, may_go; struct job *fold; } held[HELD_MAX];
static size_t held_count;
static bool keys_forgotten;
static char wrong[900];
static char dir_path[PATH_ROOM];

#define WRONG(...) do { if (!wrong[0]) snprintf(wrong, sizeof wrong, __VA_ARGS__); } while (0)

static struct held *held_of(int64_t job)
{
    for (size_t i = 0; i < held_count; i++)
        if (held[i].job == job)
            return &held[i];
    if (held_count == HELD_MAX)
        return NULL;
    held[held_count] = (struct held){.job = job};
    return &held[held_count++];
}

/* ---- what the story said ---- */

static void read_journal(size_t op)
{
    memset(known, 0, sizeof known);
    memset(told, 0, sizeof told);
    keys_forgotten = false;
    for (size_t i = 0; i < journal->ops_count; i++) {
        const struct op *one = &journal->ops[i];
        const struct told_row *row = (const struct told_row *)(journal->bytes + one->data);
        if (one->kind == OP_TOLD && row->pos < ROWS_MAX) {
            known[row->pos] = row;
            told[row->pos] = i < op;
        } else if (one->kind == OP_GOING && i < op) {
            held_of(one->at)->may_go = true;
        } else if (one->kind == OP_PHASE && one->at == PHASE_UPGRADE && i < op) {
            keys_forgotten = true;
        }
    }
}

/* ---- what the disk says ---- */

static struct row *row_from(sqlite3_stmt *stmt)
{
    struct row *row = row_new((struct bytes){(const char *)sqlite3_column_text(stmt, 8), (size_t)sqlite3_column_bytes(stmt, 8)});
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

static void each(sqlite3 *db, const char *query, void (*take)(sqlite3_stmt *stmt))
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, query, -1, &stmt, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        take(stmt);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE)
        WRONG("%s: %s", query, sqlite3_errmsg(db));
    sqlite3_finalize(stmt);
}

static void take_integrity(sqlite3_stmt *stmt)
{
    if (strcmp((const char *)sqlite3_column_text(stmt, 0), "ok"))
        WRONG("integrity_check: %s", (const char *)sqlite3_column_text(stmt, 0));
}

static void take_row(sqlite3_stmt *stmt)
{
    struct row *row = row_from(stmt);
    if (row->pos == 0 || row->pos >= ROWS_MAX || rows[row->pos]) {
        WRONG("position %llu is out of bounds, or twice there", (unsigned long long)row->pos);
        row_unref(row);
        return;
    }
    rows[row->pos] = row;
    last_pos = row->pos > last_pos ? row->pos : last_pos;
}

static void take_going(sqlite3_stmt *stmt)
{
    struct held *one = held_of(sqlite3_column_int64(stmt, 0));
    one->going = true;
    if (!one->may_go)
        WRONG("job %lld is being removed, and nobody said so", (long long)one->job);
}

static void read_disk(void)
{
    char path[PATH_ROOM + 16];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/log.db", dir_path);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK || sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK) {
        WRONG("log.db cannot be opened beside the log: %s", sqlite3_errmsg(db));
    } else {
        each(db, "PRAGMA integrity_check", take_integrity);
        each(db, "SELECT pos, job, seq, epoch, at, kind, item, attempt, body FROM event ORDER BY pos", take_row);
        each(db, "SELECT job FROM job WHERE state=3", take_going);
    }
    sqlite3_close(db);
}

static void forget_rows(void)
{
    for (uint64_t pos = 0; pos <= last_pos; pos++)
        row_unref(rows[pos]);
    memset(rows, 0, (last_pos + 1) * sizeof *rows);
    for (size_t i = 0; i < held_count; i++)
        job_free(held[i].fold);
    last_pos = held_count = 0;
}

/* ---- rows against what was told ---- */

static bool same(const struct row *row, const struct told_row *want)
{
    return row->seq == want->seq && row->job == want->job && row->epoch == want->epoch && row->at_us == want->at_us && row->item == want->item &&
           row->kind == want->kind && (row->item < 0 || row->attempt == want->attempt) && row->body_bytes == want->body_bytes &&
           !memcmp(row->body, want->body, want->body_bytes);
}

static void check_rows(bool same_story)
{
    for (uint64_t pos = 1; pos < ROWS_MAX; pos++) {
        const struct row *row = pos <= last_pos ? rows[pos] : NULL;
        bool may_go = known[pos] && held_of(known[pos]->job)->may_go;
        if (told[pos] && !row && !may_go)
            WRONG("event %llu (job %lld seq %llu %s) had been told and is lost; the log ends at %llu", (unsigned long long)pos,
                  (long long)known[pos]->job, (unsigned long long)known[pos]->seq, event_name((enum event_kind)known[pos]->kind),
                  (unsigned long long)last_pos);
        if (row && known[pos] && same_story && !same(row, known[pos]))
            WRONG("event %llu is another than was accepted: %.200s", (unsigned long long)pos, row->body);
    }
}

/* The next row of its job, and what the fold takes; a record that takes its item along stands with the item's end. */
static void check_fold(void)
{
    for (uint64_t pos = 1; pos <= last_pos && !wrong[0]; pos++) {
        const struct row *row = rows[pos];
        struct event event;
        struct codec_arena arena CODEC_OWNED = {0};
        struct problem problem = {0};
        struct held *one = row ? held_of(row->job) : NULL;
        if (!row || one->going)
            continue;
        if (row->seq != one->last_seq + 1)
            WRONG("job %lld has seq %llu behind %llu", (long long)row->job, (unsigned long long)row->seq, (unsigned long long)one->last_seq);
        one->last_seq = row->seq;
        if (!one->fold)
            one->fold = job_new();
        if (codec_decode(row, &event, &arena, &problem) || job_apply(one->fold, &event, &problem))
            WRONG("event %llu: %s", (unsigned long long)pos, problem.text);
        bool dead = row->kind == EVENT_RECORD_FAILED && memmem(row->body, row->body_bytes, "dead end", 8);
        const struct row *next = pos < last_pos ? rows[pos + 1] : NULL;
        if (dead && (!next || next->kind != EVENT_ITEM_FAILED || next->job != row->job || next->item != row->item))
            WRONG("event %llu takes its item along, and the item's end is not behind it", (unsigned long long)pos);
    }
}

/* ---- what the opening made of it ---- */

static void check_folds_of_store(void)
{
    size_t at = 0;
    for (struct live *live; (live = store_next_job(machine.store, &at));) {
        const struct job *have = live_job(live), *want = held_of(have->job)->fold;
        struct buf a BUF_OWNED, b BUF_OWNED;
        buf_init(&a, 1 << 24);
        buf_init(&b, 1 << 24);
        if (!want) {
            WRONG("job %lld is open, and has no events", (long long)have->job);
            continue;
        }
        snapshot_write(have, &a);
        snapshot_write(want, &b);
        if (have->ended ? have->seq != want->seq || have->status != want->status : !bytes_equal(buf_bytes(&a), buf_bytes(&b)))
            WRONG("the caches of job %lld are not the fold of its log:\n%.300s\n%.300s", (long long)have->job, buf_z(&a), buf_z(&b));
        for (int64_t n = 0; have->items && want->items && n < have->total; n++) {
            struct item x = have->items[n], y = want->items[n];
            x.old = y.old = false;
            if (memcmp(&x, &y, sizeof x))
                WRONG("item %lld of job %lld is not what its log says", (long long)n, (long long)have->job);
        }
    }
    for (size_t i = 0; i < held_count; i++)
        if (held[i].fold && !held[i].fold->ended && !store_get_number(machine.store, held[i].job))
            WRONG("job %lld is open in the log and unknown to the store", (long long)held[i].job);
}

static void look(void)
{
    read_disk();
    check_rows(true);
    check_fold();
    if (!wrong[0])
        check_folds_of_store();
}

/* ---- through the store's own doors ---- */

static struct { bool done; struct live *live; struct sha print; uint64_t next; int error; } answer;

static void found(void *data, struct live *live)
{
    answer.live = live ? live_ref(live) : NULL;
    answer.done = true;
}

static void key_found(void *data, struct live *live, const struct sha *print)
{
    found(data, live);
}

static void came(void *data, struct row **got, size_t count, int error)
{
    for (size_t i = 0; i < count; i++)
        if (got[i]->seq != answer.next++ || (got[i]->pos <= last_pos && rows[got[i]->pos] && (rows[got[i]->pos]->seq != got[i]->seq ||
            rows[got[i]->pos]->body_bytes != got[i]->body_bytes || memcmp(rows[got[i]->pos]->body, got[i]->body, got[i]->body_bytes))))
            WRONG("a reader gets another row at seq %llu", (unsigned long long)got[i]->seq);
    answer.error = count ? 0 : error ? error : -ENOENT;
    answer.done = true;
}

/* The answer may have come before this is called. */
static void await(const char *what, int64_t job)
{
    if (!machine_until(&answer.done))
        WRONG("%s of job %lld: no answer", what, (long long)job);
}

static void read_job(const struct held *one)
{
    answer.done = false;
    store_find(machine.store, bytes_of(one->fold->id), found, NULL);
    await("finding", one->job);
    struct live *live = answer.done ? answer.live : NULL;
    if (!live && !one->may_go)
        WRONG("job %lld is not found", (long long)one->job);
    answer.next = 1;
    while (live && answer.next <= one->last_seq && !wrong[0]) {
        answer.done = false;
        store_read(machine.store, live, answer.next, came, NULL);
        await("reading", one->job);
        if (answer.error && one->may_go)
            break;
        if (answer.error)
            WRONG("seq %llu of job %lld cannot be read: %d", (unsigned long long)answer.next, (long long)one->job, answer.error);
    }
    live_unref(live);
}

static void find_key(const struct row *created, const struct held *one)
{
    struct bytes key = json_span(row_body(created), "trace");
    if (key.count < 6 || keys_forgotten)
        return;
    answer.done = false;
    store_find_key(machine.store, BYTES("ann"), (struct bytes){key.at + 1, key.count - 2}, key_found, NULL);
    await("the key", one->job);
    if (answer.done && !one->may_go && one->fold->sealed && (!answer.live || live_job(answer.live)->job != one->job))
        WRONG("the key of job %lld names %s", (long long)one->job, answer.live ? "another" : "nothing");
    if (answer.done)
        live_unref(answer.live);
}

static void check_blob(const struct row *row, struct bytes hex)
{
    struct sha sha, have;
    char piece[16384];
    if (!sha_from_hex(hex, &sha))
        return;
    int fd = blob_open(machine.blobs, &sha);
    struct sha_stream *stream = sha_new();
    for (ssize_t got; fd >= 0 && (got = read(fd, piece, sizeof piece)) > 0;)
        sha_add(stream, (struct bytes){piece, (size_t)got});
    have = sha_end(stream);
    if (fd < 0 || memcmp(&have, &sha, sizeof sha))
        WRONG("event %llu names the file %.*s, which is %s", (unsigned long long)row->pos, BYTES_ARG(hex), fd < 0 ? "not there" : "not whole");
    if (fd >= 0)
        close(fd);
}

static void check_blobs(void)
{
    for (uint64_t pos = 1; pos <= last_pos; pos++) {
        const struct row *row = rows[pos];
        if (!row || held_of(row->job)->may_go)
            continue;
        static const char mark[] = "\"blob\":\"";
        const char *at = row->body, *end = row->body + row->body_bytes;
        while ((at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1)) && end - at > 80) {
            at += sizeof mark - 1;
            check_blob(row, (struct bytes){at, 64});
        }
    }
}

/* ---- and on it goes ---- */

static void go_on(void)
{
    struct problem problem = {0};
    struct pipeline *pipeline = pipeline_parse(bytes_of(story_pipeline), NULL);
    struct item_spec items[2] = {{.name = BYTES("new"), .value = BYTES("1")}, {.name = BYTES("new"), .value = BYTES("2")}};
    struct live *live = store_create(machine.store, &(struct store_job){.owner = BYTES("bob"), .pipeline = pipeline, .in_flight = 2});
    struct claim claim;
    if (!live || store_add(machine.store, live, items, 2, &problem))
        WRONG("nothing can be added: %s", problem.text);
    else
        store_seal(machine.store, live);
    for (int i = 0; i < 3 && store_claim(machine.store, &claim) == STORE_CLAIMED; i++) {
        struct token token = claim.token;
        claim_done(&claim);
        store_finish(machine.store, token, &(struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("no")}, NULL);
    }
    machine_settle();
    pipeline_free(pipeline);
}

static void look_again(void)
{
    read_disk();
    check_rows(false);
    check_fold();
    if (!wrong[0])
        check_folds_of_store();
}

static void visit(void)
{
    for (size_t i = 0, count = held_count; i < count && !wrong[0]; i++)
        if (held[i].fold)
            read_job(&held[i]);
    for (uint64_t pos = 1; pos <= last_pos && !wrong[0]; pos++)
        if (rows[pos] && rows[pos]->kind == EVENT_JOB_CREATED && held_of(rows[pos]->job)->fold)
            find_key(rows[pos], held_of(rows[pos]->job));
    check_blobs();
}

static void mark_may_go(size_t op)
{
    for (size_t i = 0; i < op; i++)
        if (journal->ops[i].kind == OP_GOING)
            held_of(journal->ops[i].at)->may_go = true;
}

static size_t checked_op;
static void look_behind(void)
{
    mark_may_go(checked_op);
    look_again();
}

int check_image(const char *dir, size_t op, char *ret_wrong, size_t room)
{
    wrong[0] = 0;
    checked_op = op;
    snprintf(dir_path, sizeof dir_path, "%s", dir);
    read_journal(op);
    if (machine_open(dir, look))
        WRONG("it is not opened: %s", machine.problem);
    else if (!wrong[0])
        visit();
    if (!wrong[0])
        go_on();
    uint64_t pos = machine.store && !wrong[0] ? store_pos(machine.store) : 0;
    if (pos || machine.log)
        machine_close();
    forget_rows();
    if (!wrong[0] && machine_open(dir, look_behind))
        WRONG("it is not opened a second time: %s", machine.problem);
    if (!wrong[0] && store_opening(machine.store)->last_pos != pos)
        WRONG("%llu events were durable, and the next opening finds %llu", (unsigned long long)pos,
              (unsigned long long)store_opening(machine.store)->last_pos);
    if (machine.log)
        machine_close();
    forget_rows();
    snprintf(ret_wrong, room, "%s", wrong);
    return wrong[0] ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *walk)
{
    return remove(path);
}

void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
