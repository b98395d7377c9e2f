#include "server/stream/stream.h"

#include "base/limits.h"
#include "base/mem.h"
#include "server/access/quota.h"
#include "server/stream/tip.h"
#include "server/stream/whence.h"

#include <stdlib.h>

enum { SCRATCH_KEEP = 2 * LIMIT_STREAM_WRITE_BYTES };

/* What a stream needs only while it is behind. */
struct catching {
    struct stream *stream;
    struct feed feed;
    struct buf rest;                  /* of a write that was longer than one may be */
};

/* Ten thousand of these may be idle at a time: what an idle one does not need is not in it. */
struct stream {
    struct tip_member member;         /* first: what the tip's loop touches */
    struct http_request *request;
    struct service *service;
    int64_t wrote_us;                 /* the last write: a sign of life is due a while after it */
    struct catching *catching;        /* NULL at the tip, and while it is slow */
    struct live *live;                /* one reference */
    struct party party;
    struct timer timer;               /* soon, or the next sign of life; never started anew by a write */
    enum face face;
    bool started, ending, ended;      /* head sent; ends behind `rest`; ended */
    bool soon;                        /* more to write in the next turn: others have theirs first */
    bool cancel_on_leave;
};

static void pump(struct stream *stream);

/* ---- the clock ---- */

static void on_time(struct timer *timer);

static void set_clock(struct stream *stream)
{
    struct loop *loop = stream->service->loop;
    int64_t due_us = stream->soon ? 0 : stream->wrote_us + stream->service->settings.heartbeat_us - loop_now_us(loop);
    if (!stream->ended && stream->started)
        timer_start(loop, &stream->timer, due_us, on_time);
}

static void soon(struct stream *stream)
{
    if (stream->soon)
        return;
    stream->soon = true;
    set_clock(stream);
}

static void wrote(struct stream *stream)
{
    stream->wrote_us = loop_now_us(stream->service->loop);
}

static void sign_of_life(struct stream *stream)
{
    int64_t now = loop_now_us(stream->service->loop);
    if (now < stream->wrote_us + stream->service->settings.heartbeat_us)
        return;
    stream->wrote_us = now;
    struct buf sign BUF_OWNED;
    buf_init(&sign, 64);
    frame_heartbeat(stream->face, &sign);
    if (http_stream_writable(stream->request))
        http_stream_write(stream->request, buf_bytes(&sign));
}

static void on_time(struct timer *timer)
{
    struct stream *stream = TIMER_OF(timer, struct stream, timer);
    bool more = stream->soon;
    stream->soon = false;
    if (more)
        pump(stream);
    else
        sign_of_life(stream);
    if (!timer_runs(timer))
        set_clock(stream);
}

static void end(struct stream *stream)
{
    stream->ended = true;
    timer_stop(stream->service->loop, &stream->timer);
    http_stream_end(stream->request);
}

/* ---- behind: a feed of its own ---- */

static void news(struct feed *feed)
{
    pump(LIST_OF(feed, struct catching, feed)->stream);
}

static struct feed *catch_up(struct stream *stream)
{
    struct catching *catching = stream->catching = MEM_NEW(struct catching);
    catching->stream = stream;
    buf_init(&catching->rest, FEED_BYTES_MAX);
    feed_open(&catching->feed, &stream->service->world, stream->live, stream->face, news);
    return &catching->feed;
}

/* From now on the stream is its place, nothing else. */
static void caught_up(struct stream *stream)
{
    struct catching *catching = stream->catching;
    if (!catching)
        return;
    feed_close(&catching->feed);
    buf_done(&catching->rest);
    free(catching);
    stream->catching = NULL;
}

/* One write of what is given; what is too long for one waits in `rest`. */
static void put(struct stream *stream, struct bytes bytes)
{
    struct bytes now = bytes;
    if (now.count > LIMIT_STREAM_WRITE_BYTES)
        now.count = LIMIT_STREAM_WRITE_BYTES;
    http_stream_write(stream->request, now);
    if (bytes.count > now.count)
        buf_add(&stream->catching->rest, bytes.at + now.count, bytes.count - now.count);
    wrote(stream);
}

static void put_rest(struct stream *stream)
{
    struct buf *rest = &stream->catching->rest;
    struct bytes now = buf_bytes(rest);
    if (now.count > LIMIT_STREAM_WRITE_BYTES)
        now.count = LIMIT_STREAM_WRITE_BYTES;
    http_stream_write(stream->request, now);
    buf_eat(rest, now.count);
    if (!rest->count)
        buf_done(rest);
    wrote(stream);
    soon(stream);
}

/* Nothing is under way in the feed: can the stream do without it? At the tip, or while its socket is full. */
static void settle(struct stream *stream)
{
    struct feed *feed = &stream->catching->feed;
    if (stream->ending || stream->catching->rest.count || !feed_between(feed))
        return;
    uint64_t place = feed->cursor.next - 1;
    stream->member.place = place;
    bool at_tip = tip_join(stream->service->tips, stream->live, stream->face, place, &stream->member);
    if (at_tip || !http_stream_writable(stream->request))
        caught_up(stream);
}

static void write_frames(struct stream *stream)
{
    struct buf *scratch = &stream->service->scratch;
    struct feed *feed = &stream->catching->feed;
    buf_clear(scratch);
    int answer = service_feed_fill(stream->service, feed, scratch);
    if (scratch->count)
        put(stream, buf_bytes(scratch));
    if (scratch->room > SCRATCH_KEEP)
        buf_done(scratch);
    if (answer == FEED_END)
        stream->ending = true;
    else if (answer == FEED_MORE)
        soon(stream);
    if (answer == FEED_WAIT || !http_stream_writable(stream->request))
        settle(stream);
}

static void pump_behind(struct stream *stream)
{
    if (stream->catching->rest.count)
        put_rest(stream);
    else if (!stream->ending)
        write_frames(stream);
    if (stream->ending && !stream->catching->rest.count)
        end(stream);
}

/* ---- at the tip ---- */

static struct stream *stream_of(struct tip_member *member)
{
    return LIST_OF(member, struct stream, member);
}

static bool tip_gives(struct tip_member *member, struct http_block *block, int frames, int64_t now_us)
{
    struct stream *stream = stream_of(member);
    if (!http_stream_blocks(stream->request, &block, 1))
        return false;
    stream->wrote_us = now_us;
    stream->service->told.frames += (uint64_t)frames;
    return true;
}

static void tip_is_at_its_end(struct tip_member *member)
{
    if (!stream_of(member)->ended)
        end(stream_of(member));
}

static void tip_went(struct tip_member *member)
{
    soon(stream_of(member));
}

const struct tip_client stream_tip_client = {tip_gives, tip_is_at_its_end, tip_went};

/* The blocks that it missed while its socket was full. False when they are no longer there. */
static bool write_missed(struct stream *stream)
{
    struct http_block *blocks[LIMIT_STREAM_WRITE_FRAMES];
    int count = 0;
    while (stream->member.tip && http_stream_writable(stream->request) && (count = tip_missed(&stream->member, blocks)) > 0) {
        stream->service->told.frames += tip_took(&stream->member, http_stream_blocks(stream->request, blocks, count));
        wrote(stream);
    }
    if (tip_has_all(&stream->member) && tip_is_over(&stream->member))
        end(stream);
    return stream->member.tip && count >= 0;
}

/* ---- moving on ---- */

static void drained_socket(struct http_request *request)
{
    pump(request->user);
}

/* The place is known: answer. */
static void start(struct stream *stream)
{
    struct http_request *request = stream->request;
    stream->started = true;
    if (cursor_over(&stream->catching->feed.cursor)) {
        stream->ended = true;
        http_answer(request, 204, NULL, (struct bytes){0});
        return;
    }
    http_sse_start(request, drained_socket);
    struct buf first BUF_OWNED;
    buf_init(&first, 64);
    frame_retry(stream->face, &first);
    if (first.count)
        http_stream_write(request, buf_bytes(&first));
    wrote(stream);
    set_clock(stream);
}

static void pump(struct stream *stream)
{
    if (stream->ended)
        return;
    if (!stream->started) {
        if (cursor_settle(&stream->catching->feed.cursor) == CURSOR_WAIT)
            return;
        start(stream);
        if (stream->ended)
            return;
    }
    if (!http_stream_writable(stream->request))
        return;    /* on_drain comes; or the client has gone, or it was a HEAD, and on_close comes */
    if (!stream->catching && !write_missed(stream)) {
        tip_leave(&stream->member);
        cursor_after(&catch_up(stream)->cursor, stream->member.place);
    }
    if (stream->catching && !stream->ended)
        pump_behind(stream);
}

void stream_hint(struct service *service, int64_t job, int64_t item, int percent, struct bytes status)
{
    static const enum face faces[] = {FACE_STAGED, FACE_JOB};    /* the batch's seed face shows none */
    for (size_t i = 0; i < sizeof faces / sizeof *faces; i++)
        tip_hint(service->tips, job, faces[i], item, percent, status, loop_wall_us(service->loop));
}

/* ---- life ---- */

static void closed(struct http_request *request, enum http_why why)
{
    struct stream *stream = request->user;
    struct service *service = stream->service;
    list_leave(&stream->party.link);
    timer_stop(service->loop, &stream->timer);
    service_left(service, stream->live, why, stream->cancel_on_leave);
    tip_leave(&stream->member);
    caught_up(stream);
    live_unref(stream->live);
    free(stream);
}

static void drain(struct party *party)
{
    struct stream *stream = LIST_OF(party, struct stream, party);
    if (stream->ended)
        return;
    if (!stream->started) {
        stream->started = stream->ended = true;
        if (stream->face == FACE_JOB)
            stream_turn_back(stream->request);
        else
            http_refuse(stream->request, 503, "The server is going down; come back to this stream when it is up again.");
        return;
    }
    bool between = !stream->catching || !stream->catching->rest.count;
    if (stream->face == FACE_JOB && between)
        http_stream_write(stream->request, BYTES(STREAM_FAREWELL));
    end(stream);
}

void stream_turn_back(struct http_request *request)
{
    http_sse_start(request, NULL);
    http_stream_write(request, BYTES(STREAM_FAREWELL));
    http_stream_end(request);
}

void stream_begin(struct service *service, struct http_request *request, struct live *live, const struct stream_want *want)
{
    struct stream *stream = MEM_NEW(struct stream);
    stream->service = service;
    stream->request = request;
    quota_stream_opened(service, request);
    stream->live = live_ref(live);
    stream->face = want->face;
    stream->cancel_on_leave = want->cancel_on_leave;
    whence_place(want, &catch_up(stream)->cursor);
    request->user = stream;
    request->on_close = closed;
    party_join(service, &stream->party, drain);
    pump(stream);
    if (service->draining)
        drain(&stream->party);
}

/* ---- numbers ---- */

struct stream_numbers stream_numbers(const struct service *service)
{
    struct stream_numbers numbers = service->told;
    numbers.behind = 0;
    LIST_EACH(link, &service->parties) {
        const struct stream *stream = LIST_OF(link, struct stream, party.link);
        if (stream->party.drain != drain || tip_has_all(&stream->member))
            continue;
        uint64_t place = stream->catching ? stream->catching->feed.cursor.next - 1 : stream->member.place;
        uint64_t durable = live_durable_seq(stream->live);
        uint64_t lag = durable > place ? durable - place : 0;
        numbers.behind++;
        numbers.lag_events = lag > numbers.lag_events ? lag : numbers.lag_events;
    }
    return numbers;
}
