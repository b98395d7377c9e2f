#include "readers/feed.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

static void cursor_told(struct cursor *cursor)
{
    struct feed *feed = LIST_OF(cursor, struct feed, cursor);
    feed->news(feed);
}

void feed_open(struct feed *feed, const struct cursor_world *world, struct live *live, enum face face, void (*news)(struct feed *feed))
{
    *feed = (struct feed){.header = frame_header_of(live_job(live)), .news = news};
    cursor_open(&feed->cursor, world, live, face, cursor_told);
}

/* ---- items.skipped on the seed faces ---- */

static void added_drop(struct feed_skip *skip)
{
    codec_done(&skip->added_arena);
    row_unref(skip->added_row);
    skip->added_row = NULL;
}

static void skip_free(struct feed *feed)
{
    struct feed_skip *skip = feed->skip;
    if (!skip)
        return;
    cursor_close(&skip->names);
    added_drop(skip);
    codec_done(&skip->arena);
    row_unref(skip->row);
    free(skip);
    feed->skip = NULL;
}

void feed_close(struct feed *feed)
{
    skip_free(feed);
    cursor_close(&feed->cursor);
}

struct names {                      /* the walking cursor knows its feed by this */
    struct feed_skip skip;
    struct feed *feed;
};

static void names_told(struct cursor *cursor)
{
    struct feed *feed = LIST_OF(cursor, struct names, skip.names)->feed;
    feed->news(feed);
}

static void skip_begin(struct feed *feed, struct row *row)
{
    struct names *names = MEM_NEW(struct names);
    names->feed = feed;
    struct feed_skip *skip = feed->skip = &names->skip;
    skip->row = row_ref(row);
    if (codec_decode(row, &skip->event, &skip->arena, NULL) || !skip->event.skipped.count) {
        skip_free(feed);
        return;
    }
    skip->item = skip->event.skipped.ranges[0].from;
    cursor_open(&skip->names, feed->cursor.world, feed->cursor.live, FACE_JOB, names_told);
}

/* The name of skip->item. 0; CURSOR_WAIT; or another answer of the cursor: it is not to be had. */
static int name_of(struct feed_skip *skip, struct bytes *ret)
{
    for (;;) {
        int64_t at = skip->added_row ? skip->item - skip->added.added.first : -1;
        if (at >= 0 && at < (int64_t)skip->added.added.count) {
            *ret = skip->added.added.items[at].name;
            return 0;
        }
        struct row *row;
        struct bytes none;
        int answer = cursor_next(&skip->names, &row, &none);
        if (answer != CURSOR_ROW)
            return answer;
        if (row->kind != EVENT_ITEMS_ADDED || row->seq > skip->row->seq)
            continue;
        added_drop(skip);
        if (!codec_decode(row, &skip->added, &skip->added_arena, NULL))
            skip->added_row = row_ref(row);
        else
            codec_done(&skip->added_arena);
    }
}

static bool room(const struct buf *buf, size_t start, int frames)
{
    return frames < LIMIT_STREAM_WRITE_FRAMES && buf->count - start < LIMIT_STREAM_WRITE_BYTES;
}

static int skip_fill(struct feed *feed, struct buf *buf, size_t start, int *frames)
{
    struct feed_skip *skip = feed->skip;
    while (room(buf, start, *frames)) {
        struct bytes name = {0};
        if (name_of(skip, &name) == CURSOR_WAIT)
            return FEED_WAIT;
        const struct item_range *range = &skip->event.skipped.ranges[skip->range];
        bool last = skip->range + 1 == skip->event.skipped.count && skip->item == range->to;
        frame_skipped(skip->row, skip->item, name, last, buf);
        ++*frames;
        if (last) {
            skip_free(feed);
            return FEED_MORE;
        }
        skip->item = skip->item < range->to ? skip->item + 1 : skip->event.skipped.ranges[++skip->range].from;
    }
    return FEED_MORE;
}

/* ---- filling ---- */

bool feed_between(const struct feed *feed)
{
    return !feed->skip && feed->cursor.check_epoch < 0 && !feed->cursor.gap;
}

static int fill(struct feed *feed, struct buf *buf, int *ret_frames)
{
    size_t start = buf->count;
    while (room(buf, start, *ret_frames)) {
        if (feed->skip) {
            if (skip_fill(feed, buf, start, ret_frames) == FEED_WAIT)
                return FEED_WAIT;
            continue;
        }
        struct row *row;
        struct bytes result;
        switch (cursor_next(&feed->cursor, &row, &result)) {
        case CURSOR_WAIT: return FEED_WAIT;
        case CURSOR_GAP:
            frame_gap(&feed->header, feed->cursor.face, buf);
            ++*ret_frames;
            break;
        case CURSOR_ROW:
            if (row->kind == EVENT_ITEMS_SKIPPED && feed->cursor.face != FACE_JOB)
                skip_begin(feed, row);
            else
                *ret_frames += frame_render(&feed->header, feed->cursor.face, row, result, buf);
            feed->shown = row->seq;
            break;
        default: return FEED_END;
        }
    }
    return FEED_MORE;
}

int feed_fill(struct feed *feed, struct buf *buf)
{
    int frames = 0;
    int answer = fill(feed, buf, &frames);
    feed->frames += (uint64_t)frames;
    return answer;
}
