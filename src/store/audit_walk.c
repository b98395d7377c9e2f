/* Events in order, through the fold that everything goes through. */
#include "store/audit_own.h"

#include "base/mem.h"
#include "core/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int take_row_of_job(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct subject *subject = data;
    struct bytes id = base_bytes(stmt, 0);
    subject->id = mem_copy(id.at, id.count);
    subject->state = sqlite3_column_int(stmt, 1);
    subject->has_row = true;
    subject->going = subject->state == 3;
    return 0;
}

/* While caches are made anew the rows stand beside (caches_clear). */
static struct subject *new_subject(struct look *look, int64_t job)
{
    struct subject *subject = MEM_NEW(struct subject);
    subject->job = job;
    map_set(&look->subjects, (uint64_t)job, subject);
    const char *query = look->mend ? "SELECT id, state FROM temp.old_job WHERE job=?" : "SELECT id, state FROM job WHERE job=?";
    look_each(look, query, job, take_row_of_job, subject);
    return subject;
}

static void let_go(struct subject *subject)
{
    job_free(subject->fold);
    subject->fold = NULL;
}

void walk_done(struct look *look)
{
    size_t at = 0;
    for (struct subject *subject; (subject = map_next(&look->subjects, &at));) {
        let_go(subject);
        free(subject->places);
        free(subject->id);
        free(subject);
    }
    map_done(&look->subjects);
}

void walk_break(struct look *look, struct subject *subject, uint64_t seq, const char *why)
{
    subject->broken = true;
    look->audit->broken += !subject->going;
    if (!subject->going)
        look_found(look, AUDIT_LOST, AUDIT_EVENTS, subject, seq, "%s", why);
}

bool walk_removes(const struct look *look, const struct subject *subject)
{
    if (subject->going)
        return subject->broken || subject->ended;
    return subject->broken && look->drop;
}

static void push_place(struct subject *subject, uint64_t pos)
{
    if (subject->places_count == subject->places_room) {
        subject->places_room = subject->places_room ? subject->places_room * 2 : 8;
        subject->places = mem_grow(subject->places, subject->places_room * sizeof *subject->places);
    }
    subject->places[subject->places_count++] = pos;
}

static bool same(struct counts a, struct counts b)
{
    return a.pending == b.pending && a.processing == b.processing && a.completed == b.completed && a.failed == b.failed && a.skipped == b.skipped;
}

static void check_counts(struct look *look, struct subject *subject, const struct event *event)
{
    if ((event_is_item(event->kind) || event->kind == EVENT_JOB_ENDED) && !same(event->counts, subject->fold->counts))
        look_found(look, AUDIT_LOST, AUDIT_EVENTS, subject, event->seq, "its counts are not what the events up to it come to");
}

/* Folds one row in; what hinders it breaks the job. */
static int fold(struct look *look, struct subject *subject, const struct row *row)
{
    struct event event;
    struct codec_arena arena CODEC_OWNED = {0};
    struct problem why = {0};
    if (codec_decode(row, &event, &arena, &why) || job_apply(subject->fold, &event, &why)) {
        walk_break(look, subject, row->seq, why.text);
        return 0;
    }
    check_counts(look, subject, &event);
    if (event.kind == EVENT_JOB_CREATED) {
        subject->pipeline = event.created.hash;
        if (!subject->id)
            subject->id = mem_text(subject->fold->id);
    }
    subject->ended = subject->fold->ended;
    return files_note(look, &event);
}

static int settle_ended(struct look *look, struct subject *subject)
{
    if (!subject->ended || subject->settled || subject->broken || walk_removes(look, subject))
        return 0;
    int result = caches_settle(look, subject);
    if (result == 0)
        result = caches_settle_row(look, subject);
    let_go(subject);
    return result;
}

/* The caches are the fold up to here. */
static int reach_flush(struct look *look)
{
    size_t at = 0;
    int result = 0;
    look->behind_flush = true;
    for (struct subject *subject; result == 0 && (subject = map_next(&look->subjects, &at));)
        if (!subject->broken && !subject->settled && !subject->going)
            result = caches_settle(look, subject);
    return result;
}

static void check_position(struct look *look, struct subject *subject, const struct row *row)
{
    if (look->behind_flush && row->pos != look->pos + 1)
        look_found(look, AUDIT_LOST, AUDIT_EVENTS, NULL, 0, "the event at position %" PRIu64 " is missing, and a server does not start without it", look->pos + 1);
    if (row->epoch < look->epoch)
        look_found(look, AUDIT_LOST, AUDIT_EVENTS, subject, row->seq, "it was written in an earlier opening than the events before it");
    look->epoch = row->epoch > look->epoch ? row->epoch : look->epoch;
}

static int take(struct look *look, const struct row *row)
{
    struct subject *subject = look_subject(look, row->job);
    char why[96];
    if (!subject) {
        subject = new_subject(look, row->job);
        subject->fold = job_new();
    }
    check_position(look, subject, row);
    look->pos = row->pos;
    look->audit->looked[AUDIT_EVENTS]++;
    push_place(subject, row->pos);
    if (!subject->broken && row->seq != subject->seq + 1) {
        snprintf(why, sizeof why, row->seq > subject->seq ? "it is missing, %" PRIu64 " follows" : "%" PRIu64 " stands in its place", row->seq);
        walk_break(look, subject, subject->seq + 1, why);
    }
    subject->seq = row->seq;
    if (subject->broken)
        return 0;
    int result = fold(look, subject, row);
    if (result == 0 && (look->mend || row->pos <= look->flushed))
        result = settle_ended(look, subject);
    return result;
}

static int take_row(struct look *look, sqlite3_stmt *stmt, void *data)
{
    struct row *row = base_row(stmt);
    int result = 0;
    if (!look->mend && !look->behind_flush && row->pos > look->flushed) {
        look->pos = look->pos > look->flushed ? look->pos : look->flushed;    /* what was removed leaves gaps before it, and may have been the last */
        result = reach_flush(look);
    }
    if (result == 0)
        result = take(look, row);
    row_unref(row);
    return result;
}

/* What the end of the log leaves to look at, or to write. */
static int settle_rest(struct look *look)
{
    size_t at = 0;
    int result = look->mend || look->behind_flush ? 0 : reach_flush(look);
    for (struct subject *subject; result == 0 && (subject = map_next(&look->subjects, &at));) {
        if (subject->broken || walk_removes(look, subject))
            continue;
        if (look->mend && !subject->settled)
            result = caches_settle(look, subject);
        if (result == 0 && subject->fold)
            result = caches_settle_row(look, subject);
    }
    return result;
}

int walk_events(struct look *look)
{
    if (look_each(look, "SELECT pos, job, seq, epoch, at, kind, item, attempt, body FROM event ORDER BY pos", 0, take_row, NULL))
        return -1;
    return settle_rest(look);
}

static int take_lonely(struct look *look, sqlite3_stmt *stmt, void *data)
{
    int64_t job = sqlite3_column_int64(stmt, 0);
    look->audit->looked[AUDIT_JOBS]++;
    if (look_subject(look, job))
        return 0;
    struct subject *subject = new_subject(look, job);
    if (!subject->going)
        walk_break(look, subject, 1, "it has a row, and no event at all is there");
    return 0;
}

int walk_rows_without_events(struct look *look)
{
    return look_each(look, look->mend ? "SELECT job FROM temp.old_job" : "SELECT job FROM job", 0, take_lonely, NULL);
}
