#include "readers/cursor.h"

#include "base/limits.h"
#include "base/mem.h"
#include "os/file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* ---- large results ---- */

enum { FETCH_TRIES = 3, FETCH_AGAIN_US = 200000 };

struct blob_fetch {
    struct cursor *cursor;    /* NULL = nobody waits any more */
    struct loop *loop;
    struct blobs *blobs;
    struct sha sha;
    bool come;
    struct timer again;
    struct buf content;       /* empty when it could not be read */
};

static void fetch_free(struct blob_fetch *fetch)
{
    if (!fetch)
        return;
    timer_stop(fetch->loop, &fetch->again);
    buf_done(&fetch->content);
    free(fetch);
}

static void fetch_drop(struct blob_fetch **fetch)
{
    if (*fetch && !(*fetch)->come && !timer_runs(&(*fetch)->again))
        (*fetch)->cursor = NULL;    /* the pool still has it */
    else
        fetch_free(*fetch);
    *fetch = NULL;
}

/* In the pool. What is there may be found wanting for a moment only, and what a reader is told stays told: so it is tried again. */
static int fetch_work(void *data)
{
    struct blob_fetch *fetch = data;
    int result = -EIO;
    for (int tries = 0; tries < FETCH_TRIES && result < 0 && result != -ENOENT && result != -EFBIG; tries++) {
        buf_clear(&fetch->content);
        result = blob_read(fetch->blobs, &fetch->sha, &fetch->content);
    }
    return result;
}

static void fetch_done(void *data, int result);

static void fetch_again(struct timer *timer)
{
    struct blob_fetch *fetch = TIMER_OF(timer, struct blob_fetch, again);
    loop_pool(fetch->loop, fetch_work, fetch_done, fetch);
}

static void fetch_done(void *data, int result)
{
    struct blob_fetch *fetch = data;
    struct cursor *cursor = fetch->cursor;
    if (cursor && file_scarce(result)) {     /* it is there, and will be read when there is room for that */
        timer_start(fetch->loop, &fetch->again, FETCH_AGAIN_US, fetch_again);
        return;
    }
    fetch->come = true;
    if (result < 0)
        buf_clear(&fetch->content);
    if (!cursor)
        fetch_free(fetch);
    else if (cursor->news)
        cursor->news(cursor);
}

static void fetch_start(struct cursor *cursor, const struct sha *sha)
{
    struct blob_fetch *fetch = cursor->fetch = MEM_NEW(struct blob_fetch);
    fetch->cursor = cursor;
    fetch->loop = cursor->world->loop;
    fetch->blobs = cursor->world->blobs;
    fetch->sha = *sha;
    buf_init(&fetch->content, LIMIT_SEED_RESULT_BYTES);
    loop_pool(cursor->world->loop, fetch_work, fetch_done, fetch);
}

/* ---- rows ---- */

static void drop_rows(struct cursor *cursor)
{
    while (cursor->rows_at < cursor->rows_count)
        row_unref(cursor->rows[cursor->rows_at++]);
    free(cursor->rows);
    cursor->rows = NULL;
    cursor->rows_at = cursor->rows_count = 0;
    fetch_drop(&cursor->fetch);
}

static void drop_given(struct cursor *cursor)
{
    row_unref(cursor->given);
    cursor->given = NULL;
    fetch_drop(&cursor->given_fetch);
}

static void rows_came(void *data, struct row **rows, size_t count, int error)
{
    struct cursor *cursor = data;
    cursor->read = NULL;
    bool inside = cursor->asking;
    cursor->asking = false;
    if (error < 0 || !count || rows[0]->seq != cursor->next) {
        cursor->lost = true;
    } else {
        cursor->rows = mem_new(count * sizeof *cursor->rows);
        for (size_t i = 0; i < count && rows[i]->seq == cursor->next + i; i++)
            cursor->rows[cursor->rows_count++] = row_ref(rows[i]);
    }
    if (!inside && cursor->news)
        cursor->news(cursor);
}

/* Have a row at hand. 0, CURSOR_WAIT, CURSOR_LOST. */
static int have_row(struct cursor *cursor)
{
    if (cursor->rows_at < cursor->rows_count)
        return 0;
    drop_rows(cursor);
    if (cursor->lost)
        return CURSOR_LOST;
    if (cursor->read || cursor->next > live_durable_seq(cursor->live))
        return CURSOR_WAIT;
    struct row *rows[LIMIT_STREAM_WRITE_FRAMES];
    int count = store_rows(cursor->live, cursor->next, rows, LIMIT_STREAM_WRITE_FRAMES);
    if (count > 0) {
        cursor->rows = (struct row **)mem_copy((const char *)rows, (size_t)count * sizeof *rows);
        cursor->rows_count = count;
        return 0;
    }
    if (count == 0)
        return CURSOR_WAIT;
    cursor->asking = true;
    struct store_read *read = store_read(cursor->world->store, cursor->live, cursor->next, rows_came, cursor);
    if (cursor->asking) {    /* not answered inside the call */
        cursor->asking = false;
        cursor->read = read;
        return CURSOR_WAIT;
    }
    return cursor->lost ? CURSOR_LOST : 0;
}

static void take_row(struct cursor *cursor)
{
    drop_given(cursor);
    cursor->given = cursor->rows[cursor->rows_at++];
    cursor->given_fetch = cursor->fetch;
    cursor->fetch = NULL;
    cursor->next++;
}

static void told(struct watcher *watcher)
{
    struct cursor *cursor = LIST_OF(watcher, struct cursor, watcher);
    if (cursor->news)
        cursor->news(cursor);
}

void cursor_open(struct cursor *cursor, const struct cursor_world *world, struct live *live, enum face face,
                 void (*news)(struct cursor *cursor))
{
    *cursor = (struct cursor){.world = world, .live = live_ref(live), .face = face, .news = news, .next = 1, .check_epoch = -1};
    cursor->watcher.news = told;
    store_watch(live, &cursor->watcher);
}

void cursor_close(struct cursor *cursor)
{
    if (!cursor->live)
        return;
    store_read_drop(cursor->read);
    cursor->read = NULL;
    drop_rows(cursor);
    drop_given(cursor);
    store_unwatch(&cursor->watcher);
    live_unref(cursor->live);
    cursor->live = NULL;
}

void cursor_after(struct cursor *cursor, uint64_t seq)
{
    cursor->next = seq < UINT64_MAX ? seq + 1 : seq;
}

void cursor_tip(struct cursor *cursor)
{
    cursor->next = live_durable_seq(cursor->live) + 1;
}

void cursor_resume(struct cursor *cursor, int64_t epoch, uint64_t seq)
{
    cursor->next = seq;
    cursor->check_epoch = epoch;
}

void cursor_gap(struct cursor *cursor)
{
    drop_rows(cursor);
    cursor->check_epoch = -1;
    cursor->gap = true;
    cursor->next = 1;
}

int cursor_settle(struct cursor *cursor)
{
    if (cursor->check_epoch < 0)
        return cursor->lost ? CURSOR_LOST : 0;
    if (cursor->next > live_durable_seq(cursor->live)) {    /* an id is sent only when it is durable: this log has lost it */
        cursor_gap(cursor);
        return 0;
    }
    int answer = have_row(cursor);
    if (answer)
        return answer;
    if (cursor->rows[cursor->rows_at]->epoch == cursor->check_epoch) {
        take_row(cursor);
        cursor->check_epoch = -1;
    } else {
        cursor_gap(cursor);
    }
    return 0;
}

bool cursor_over(const struct cursor *cursor)
{
    const struct job *job = live_job(cursor->live);
    return job->ended && !cursor->gap && cursor->check_epoch < 0 && cursor->rows_at == cursor->rows_count && cursor->next > job->seq &&
           live_durable_seq(cursor->live) >= job->seq;
}

int cursor_next(struct cursor *cursor, struct row **ret_row, struct bytes *ret_result)
{
    int answer = cursor_settle(cursor);
    if (answer)
        return answer;
    drop_given(cursor);
    if (cursor->gap) {
        cursor->gap = false;
        return CURSOR_GAP;
    }
    if (cursor_over(cursor))
        return CURSOR_END;
    answer = have_row(cursor);
    if (answer)
        return answer;
    struct sha sha;
    if (!cursor->fetch && frame_blob(cursor->face, cursor->rows[cursor->rows_at], &sha) && cursor->world->blobs)
        fetch_start(cursor, &sha);
    if (cursor->fetch && !cursor->fetch->come)
        return CURSOR_WAIT;
    take_row(cursor);
    *ret_row = cursor->given;
    *ret_result = cursor->given_fetch ? buf_bytes(&cursor->given_fetch->content) : (struct bytes){0};
    return CURSOR_ROW;
}

void cursor_rest(struct cursor *cursor)
{
    if (!cursor->fetch)
        drop_rows(cursor);
}
