#include "server/stream.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

enum { SCRATCH_KEEP = 2 * LIMIT_STREAM_WRITE_BYTES };

struct audience {
    int64_t job;
    struct list streams;
};

struct stream {
    struct party party;
    struct service *service;
    struct http_request *request;
    struct feed feed;
    struct timer silence;             /* since the last write */
    struct timer again;               /* more to write in the next turn: others have theirs first */
    struct buf rest;                  /* of a write that was longer than one may be */
    bool started, ending, ended;      /* head sent; ends behind `rest`; ended */
    bool cancel_on_leave;
    struct audience *audience;        /* NULL = wants no hints */
    struct list listening;            /* in audience->streams */
};

/* ---- hints ---- */

static void audience_join(struct stream *stream)
{
    struct service *service = stream->service;
    int64_t job = live_job(stream->feed.cursor.live)->job;
    struct audience *audience = map_get(&service->audiences, (uint64_t)job);
    if (!audience) {
        audience = MEM_NEW(struct audience);
        audience->job = job;
        list_init(&audience->streams);
        map_set(&service->audiences, (uint64_t)job, audience);
    }
    list_push(&audience->streams, &stream->listening);
    stream->audience = audience;
}

static void audience_leave(struct stream *stream)
{
    struct audience *audience = stream->audience;
    if (!audience)
        return;
    list_leave(&stream->listening);
    stream->audience = NULL;
    if (list_empty(&audience->streams))
        free(map_take(&stream->service->audiences, (uint64_t)audience->job));
}

/* ---- writing ---- */

static void pump(struct stream *stream);

static void silent(struct timer *timer)
{
    struct stream *stream = TIMER_OF(timer, struct stream, silence);
    struct buf sign BUF_OWNED;
    buf_init(&sign, 64);
    if (http_stream_writable(stream->request)) {
        frame_heartbeat(stream->feed.cursor.face, &sign);
        http_stream_write(stream->request, buf_bytes(&sign));
    }
    timer_start(stream->service->loop, &stream->silence, stream->service->settings.heartbeat_us, silent);
}

static void write_on(struct timer *timer)
{
    pump(TIMER_OF(timer, struct stream, again));
}

static void end(struct stream *stream)
{
    stream->ended = true;
    timer_stop(stream->service->loop, &stream->silence);
    timer_stop(stream->service->loop, &stream->again);
    http_stream_end(stream->request);
}

/* One write of what is given; what is too long for one waits in `rest`. */
static void put(struct stream *stream, struct bytes bytes)
{
    struct bytes now = bytes;
    if (now.count > LIMIT_STREAM_WRITE_BYTES)
        now.count = LIMIT_STREAM_WRITE_BYTES;
    http_stream_write(stream->request, now);
    if (bytes.count > now.count)
        buf_add(&stream->rest, bytes.at + now.count, bytes.count - now.count);
    timer_start(stream->service->loop, &stream->silence, stream->service->settings.heartbeat_us, silent);
}

static void put_rest(struct stream *stream)
{
    struct bytes now = buf_bytes(&stream->rest);
    if (now.count > LIMIT_STREAM_WRITE_BYTES)
        now.count = LIMIT_STREAM_WRITE_BYTES;
    http_stream_write(stream->request, now);
    buf_eat(&stream->rest, now.count);
    if (!stream->rest.count)
        buf_done(&stream->rest);
    timer_start(stream->service->loop, &stream->silence, stream->service->settings.heartbeat_us, silent);
}

static void write_frames(struct stream *stream)
{
    struct buf *scratch = &stream->service->scratch;
    buf_clear(scratch);
    int answer = feed_fill(&stream->feed, scratch);
    if (scratch->count)
        put(stream, buf_bytes(scratch));
    if (scratch->room > SCRATCH_KEEP)
        buf_done(scratch);
    if (answer == FEED_END)
        stream->ending = true;
    else if (answer == FEED_MORE)
        timer_start(stream->service->loop, &stream->again, 0, write_on);
    if (!http_stream_writable(stream->request))
        cursor_rest(&stream->feed.cursor);
}

static void drained_socket(struct http_request *request)
{
    pump(request->user);
}

/* The place is known: answer. */
static void start(struct stream *stream)
{
    struct http_request *request = stream->request;
    stream->started = true;
    if (cursor_over(&stream->feed.cursor)) {
        stream->ended = true;
        http_answer(request, 204, NULL, (struct bytes){0});
        return;
    }
    http_sse_start(request, drained_socket);
    struct buf first BUF_OWNED;
    buf_init(&first, 64);
    frame_retry(stream->feed.cursor.face, &first);
    if (first.count)
        http_stream_write(request, buf_bytes(&first));
    if (stream->feed.cursor.face != FACE_SEED)
        audience_join(stream);
    timer_start(stream->service->loop, &stream->silence, stream->service->settings.heartbeat_us, silent);
}

static void pump(struct stream *stream)
{
    if (stream->ended)
        return;
    if (!stream->started) {
        if (cursor_settle(&stream->feed.cursor) == CURSOR_WAIT)
            return;
        start(stream);
        if (stream->ended)
            return;
    }
    if (!http_stream_writable(stream->request))
        return;    /* on_drain comes; or the client has gone, or it was a HEAD, and on_close comes */
    if (stream->rest.count) {
        put_rest(stream);
        timer_start(stream->service->loop, &stream->again, 0, write_on);
    } else if (!stream->ending) {
        write_frames(stream);
    }
    if (stream->ending && !stream->rest.count)
        end(stream);
}

void stream_hint(struct service *service, int64_t job, int64_t item, int percent, struct bytes status)
{
    struct audience *audience = map_get(&service->audiences, (uint64_t)job);
    if (!audience)
        return;
    LIST_EACH(link, &audience->streams) {
        struct stream *stream = LIST_OF(link, struct stream, listening);
        struct feed *feed = &stream->feed;
        bool at_tip = feed->shown == live_durable_seq(feed->cursor.live) && !stream->rest.count;
        if (stream->ended || !at_tip || !http_stream_writable(stream->request))
            continue;
        struct buf frame BUF_OWNED;
        buf_init(&frame, LIMIT_ERROR_BYTES);
        frame_hint(&feed->header, feed->cursor.face, item, percent, status, loop_wall_us(service->loop), &frame);
        if (buf_ok(&frame) && frame.count)
            put(stream, buf_bytes(&frame));
    }
}

/* ---- life ---- */

static void news(struct feed *feed)
{
    pump(LIST_OF(feed, struct stream, feed));
}

static void closed(struct http_request *request, enum http_why why)
{
    struct stream *stream = request->user;
    struct service *service = stream->service;
    list_leave(&stream->party.link);
    audience_leave(stream);
    timer_stop(service->loop, &stream->silence);
    timer_stop(service->loop, &stream->again);
    service_left(service, stream->feed.cursor.live, why, stream->cancel_on_leave);
    feed_close(&stream->feed);
    buf_done(&stream->rest);
    free(stream);
}

static void drain(struct party *party)
{
    struct stream *stream = LIST_OF(party, struct stream, party);
    if (stream->ended)
        return;
    if (!stream->started) {
        stream->started = stream->ended = true;
        http_refuse(stream->request, 503, "The server is going down; come back to this stream when it is up again.");
        return;
    }
    if (stream->feed.cursor.face == FACE_JOB && !stream->rest.count)
        http_stream_write(stream->request, BYTES(": the server is going down, come back\nretry: 1000\n\n"));
    end(stream);
}

void stream_begin(struct service *service, struct http_request *request, struct live *live, const struct stream_want *want)
{
    struct stream *stream = MEM_NEW(struct stream);
    stream->service = service;
    stream->request = request;
    stream->cancel_on_leave = want->cancel_on_leave;
    buf_init(&stream->rest, FEED_BYTES_MAX);
    feed_open(&stream->feed, &service->world, live, want->face, news);
    switch (want->place) {
    case STREAM_START: break;
    case STREAM_AFTER: cursor_after(&stream->feed.cursor, want->seq); break;
    case STREAM_TIP: cursor_tip(&stream->feed.cursor); break;
    case STREAM_RESUME: cursor_resume(&stream->feed.cursor, want->epoch, want->seq); break;
    case STREAM_GAP: cursor_gap(&stream->feed.cursor); break;
    }
    request->user = stream;
    request->on_close = closed;
    party_join(service, &stream->party, drain);
    pump(stream);
    if (service->draining)
        drain(&stream->party);
}
