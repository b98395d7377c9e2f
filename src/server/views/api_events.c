/* GET /v1/jobs/{id}/events: the frames of a job in three shapes: an event stream (stream.c), lines of JSON for clients that have no
 * parser for one, and the long poll for those that cannot hold a stream open. The last two are rendered by the same feed and only
 * wrapped anew, so all three say the same bytes. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "server/access/quota.h"
#include "server/ask.h"
#include "server/lookup.h"
#include "server/stream/flow.h"
#include "server/stream/whence.h"

#include <stdio.h>
#include <stdlib.h>

enum shape { SHAPE_STREAM, SHAPE_LINES, SHAPE_POLL };

struct tail {
    struct lookup lookup;
    struct flow flow;                 /* LINES, once its place is known */
    struct party party;               /* until then, and while it polls */
    struct feed feed;
    struct stream_want want;
    enum shape shape;
    int64_t wait_s;
    struct timer deadline;
    bool due;                         /* POLL: answer even without news */
    bool answered;                    /* the request is no longer ours, or has its answer */
};

static struct tail *tail_of(struct lookup *lookup)
{
    return LIST_OF(lookup, struct tail, lookup);
}

static void tail_done(struct lookup *lookup)
{
    struct tail *tail = tail_of(lookup);
    timer_stop(lookup->service->loop, &tail->deadline);
    list_leave(&tail->party.link);
    feed_close(&tail->feed);
    free(tail);
}

/* ---- lines ---- */

static int fill_lines(struct flow *flow, struct buf *buf)
{
    struct tail *tail = LIST_OF(flow, struct tail, flow);
    struct buf frames BUF_OWNED;
    struct frame_parts frame;
    buf_init(&frames, FEED_BYTES_MAX);
    int answer = service_feed_fill(flow->service, &tail->feed, &frames);
    for (struct bytes rest = buf_bytes(&frames); frame_next(&rest, &frame);) {
        frame_as_json(&frame, buf);
        buf_byte(buf, '\n');
    }
    return answer;
}

static void pause_lines(struct flow *flow)
{
    cursor_rest(&LIST_OF(flow, struct tail, flow)->feed.cursor);
}

static void lines_done(struct flow *flow)
{
    lookup_leave(&LIST_OF(flow, struct tail, flow)->lookup);
}

static const struct flow_kind lines_kind = {
    .content_type = "application/x-ndjson", .fill = fill_lines, .pause = pause_lines, .done = lines_done,
    .sign = "{\"event\":\"heartbeat\",\"data\":{}}\n", .farewell = "",
};

static void lines_on(struct tail *tail)
{
    struct lookup *lookup = &tail->lookup;
    if (tail->answered) {
        flow_pump(&tail->flow);
        return;
    }
    if (cursor_settle(&tail->feed.cursor) == CURSOR_WAIT)
        return;
    tail->answered = true;
    if (cursor_over(&tail->feed.cursor)) {
        http_answer(lookup->request, 204, NULL, (struct bytes){0});
        return;
    }
    list_leave(&tail->party.link);
    quota_stream_opened(lookup->service, lookup->request);
    flow_begin(&tail->flow, lookup->service, lookup->request, &lines_kind);
}

/* ---- long poll ---- */

/* What to come back with when no event was given: where this reader stands. */
static void put_place(struct tail *tail, struct buf *buf)
{
    const struct stream_want *want = &tail->want;
    char text[FRAME_ID_SIZE];
    if (want->place == STREAM_RESUME)
        snprintf(text, sizeof text, "%lld-%llu", (long long)want->epoch, (unsigned long long)want->seq);
    else
        snprintf(text, sizeof text, "%llu", (unsigned long long)(tail->feed.cursor.next - 1));
    json_put_text(buf, "next", text);
}

static void answer_poll(struct tail *tail, struct bytes frames)
{
    struct lookup *lookup = &tail->lookup;
    struct buf *buf = &lookup->body;
    struct frame_parts frame;
    struct bytes next = {0};
    json_open(buf, '{');
    json_key(buf, "events");
    json_open(buf, '[');
    while (frame_next(&frames, &frame)) {
        frame_as_json(&frame, buf);
        next = frame.id.count ? frame.id : next;
    }
    json_close(buf, ']');
    if (next.count)
        json_put_bytes(buf, "next", next);
    else
        put_place(tail, buf);
    json_put_flag(buf, "ended", cursor_over(&tail->feed.cursor));
    json_close(buf, '}');
    http_header(lookup->request, "Cache-Control", "no-store");
    http_answer_buf(lookup->request, 200, "application/json", buf);
}

/* Nothing is under way and everything durable was given. */
static bool at_tip(const struct cursor *cursor)
{
    return !cursor->read && cursor->check_epoch < 0 && cursor->next > live_durable_seq(cursor->live);
}

static void poll_on(struct tail *tail)
{
    struct buf frames BUF_OWNED;
    buf_init(&frames, FEED_BYTES_MAX);
    if (tail->answered)
        return;
    int answer = service_feed_fill(tail->lookup.service, &tail->feed, &frames);
    if (!frames.count && answer == FEED_WAIT && !(tail->due && at_tip(&tail->feed.cursor)))
        return;
    tail->answered = true;
    if (!frames.count && answer == FEED_END && !cursor_over(&tail->feed.cursor))
        http_refuse(tail->lookup.request, 410, "The log of job %s can no longer be read.", live_job(tail->lookup.live)->id);
    else
        answer_poll(tail, buf_bytes(&frames));
}

static void poll_due(struct timer *timer)
{
    struct tail *tail = TIMER_OF(timer, struct tail, deadline);
    tail->due = true;
    poll_on(tail);
}

/* ---- life ---- */

static void tail_news(struct feed *feed)
{
    struct tail *tail = LIST_OF(feed, struct tail, feed);
    if (tail->shape == SHAPE_POLL)
        poll_on(tail);
    else
        lines_on(tail);
}

static void tail_drain(struct party *party)
{
    struct tail *tail = LIST_OF(party, struct tail, party);
    if (tail->answered)
        return;
    if (tail->shape == SHAPE_POLL) {
        tail->due = true;
        poll_on(tail);
    } else {
        tail->answered = true;
        http_refuse(tail->lookup.request, 503, "The server is going down; come back to this stream when it is up again.");
    }
}

/* What the request wants; false when it was refused. */
static bool tail_asked(struct tail *tail)
{
    static const char *const faces[] = {"job", "seed"};
    struct http_request *request = tail->lookup.request;
    int face = 0;
    tail->wait_s = -1;
    if (!ask_word(request, "face", faces, 2, &face) || !ask_int(request, "wait", 0, LIMIT_POLL_S, &tail->wait_s) ||
        !whence_ask(request, &tail->want))
        return false;
    tail->want.face = face ? FACE_SEED : FACE_JOB;
    if (tail->wait_s >= 0)
        tail->shape = SHAPE_POLL;
    else if (http_accepts(request->head, "application/x-ndjson"))
        tail->shape = SHAPE_LINES;
    return true;
}

static void tail_found(struct lookup *lookup, struct live *live)
{
    struct tail *tail = tail_of(lookup);
    struct service *service = lookup->service;
    if (!tail_asked(tail))
        return;
    service_job_headers(lookup->request, live_job(live));
    http_header(lookup->request, "Vary", "Accept");
    if (tail->shape == SHAPE_STREAM) {
        stream_begin(service, lookup->request, live, &tail->want);
        lookup_leave(lookup);
        return;
    }
    party_join(service, &tail->party, tail_drain);
    feed_open(&tail->feed, &service->world, live, tail->want.face, tail_news);
    whence_place(&tail->want, &tail->feed.cursor);
    tail->due = tail->shape == SHAPE_POLL && (tail->wait_s == 0 || lookup->request->method == HTTP_HEAD);
    if (tail->shape == SHAPE_POLL && !tail->due) {
        quota_stream_opened(service, lookup->request);
        timer_start(service->loop, &tail->deadline, tail->wait_s * 1000000, poll_due);
    }
    tail_news(&tail->feed);
    if (service->draining)
        tail_drain(&tail->party);
}

static void get_events(struct http_request *request, void *service)
{
    struct tail *tail = MEM_NEW(struct tail);
    list_init(&tail->party.link);
    lookup_job_in(&tail->lookup, request, service, tail_found, tail_done);
}

static const struct route routes[] = {
    {HTTP_GET, "/v1/jobs/{id}/events", get_events, "The events of a job as they come",
     "Last-Event-ID (header, or last_event_id in the query) resumes behind that event; so does after=ID. after=SEQ begins behind that number, "
     "after=end at the tip. face=seed gives the frames of the /process endpoints. 204 when the job has ended and all was read. With Accept: "
     "application/x-ndjson each event is a line {\"id\",\"event\",\"data\"}, a heartbeat the line {\"event\":\"heartbeat\",\"data\":{}}. With "
     "wait=S (0 to 60) the answer is {\"events\":[…],\"next\",\"ended\"}: at once when there is something, else at news or after S seconds; "
     "go on with after=NEXT until ended. `gap` says that history is gone: forget what you had, the log follows from 1.",
     .gives = "text/event-stream=Event application/x-ndjson=Event application/json=EventPage", .query = "face after last_event_id wait"},
};

void api_events_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
