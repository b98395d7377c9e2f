/* GET /v1/events: the frames of several jobs on one wire, so that a page needs one connection however many jobs it shows. Each job is a
 * strand with a feed of its own; strands with news take turns. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/query.h"
#include "server/access/quota.h"
#include "server/stream/flow.h"
#include "server/stream/stream.h"
#include "server/stream/whence.h"

#include <stdlib.h>

enum { JOB_TEXT_SIZE = 128 };

struct strand {
    struct multi *multi;
    char id[JOB_TEXT_SIZE];
    struct stream_want want;
    struct feed feed;             /* zeroed when there is no such job */
    bool ready;                   /* may have frames */
    bool ended;                   /* gave its last frame, or never had one to give */
};

struct multi {
    struct flow flow;
    struct party party;           /* until the flow begins */
    struct service *service;
    struct http_request *request; /* NULL once its client has gone */
    struct strand *strands;       /* owned */
    int count, turn;
    int looking;                  /* strands whose job is being looked up */
    bool answered;
};

static void multi_free(struct multi *multi)
{
    list_leave(&multi->party.link);
    for (int i = 0; i < multi->count; i++)
        feed_close(&multi->strands[i].feed);
    free(multi->strands);
    free(multi);
}

/* ---- writing ---- */

static bool is_known(const struct strand *strand)
{
    return strand->feed.cursor.live != NULL;
}

static void put_unknown(const struct strand *strand, struct buf *buf)
{
    buf_text(buf, "event: gap\ndata: ");
    json_open(buf, '{');
    json_put_text(buf, "job", strand->id);
    json_put_text(buf, "reason", "unknown");
    json_close(buf, '}');
    buf_text(buf, "\n\n");
}

static void fill_strand(struct strand *strand, struct buf *buf)
{
    struct buf frames BUF_OWNED;
    struct frame_parts frame;
    buf_init(&frames, FEED_BYTES_MAX);
    if (!is_known(strand)) {
        put_unknown(strand, buf);
        strand->ended = true;
        return;
    }
    int answer = service_feed_fill(strand->multi->service, &strand->feed, &frames);
    for (struct bytes rest = buf_bytes(&frames); frame_next(&rest, &frame);)
        frame_of_job(&frame, bytes_of(strand->id), buf);
    strand->ready = answer == FEED_MORE;
    strand->ended = answer == FEED_END;
}

static int fill(struct flow *flow, struct buf *buf)
{
    struct multi *multi = LIST_OF(flow, struct multi, flow);
    int open = 0, ready = 0;
    for (int i = 0; i < multi->count; i++) {
        struct strand *strand = &multi->strands[(multi->turn + i) % multi->count];
        if (!strand->ended && strand->ready && buf->count < LIMIT_STREAM_WRITE_BYTES)
            fill_strand(strand, buf);
        open += !strand->ended;
        ready += !strand->ended && strand->ready;
    }
    multi->turn = (multi->turn + 1) % multi->count;
    if (ready)
        return FEED_MORE;
    return open ? FEED_WAIT : FEED_END;
}

static void pause_all(struct flow *flow)
{
    struct multi *multi = LIST_OF(flow, struct multi, flow);
    for (int i = 0; i < multi->count; i++)
        if (is_known(&multi->strands[i]))
            cursor_rest(&multi->strands[i].feed.cursor);
}

static void flow_done(struct flow *flow)
{
    multi_free(LIST_OF(flow, struct multi, flow));
}

static const struct flow_kind multi_kind = {
    .content_type = "text/event-stream", .fill = fill, .pause = pause_all, .done = flow_done, .first = "retry: 1000\n\n",
    .sign = ": still here\n\n", .farewell = STREAM_FAREWELL,
};

/* ---- before the first byte: every job is looked up, and every place ---- */

static void begin(struct multi *multi)
{
    int known = 0, over = 0;
    for (int i = 0; i < multi->count; i++) {
        struct strand *strand = &multi->strands[i];
        if (is_known(strand) && cursor_settle(&strand->feed.cursor) == CURSOR_WAIT)
            return;
        known += is_known(strand);
        over += !is_known(strand) || cursor_over(&strand->feed.cursor);
        strand->ready = true;
    }
    multi->answered = true;
    if (!known) {
        http_refuse(multi->request, 404, "There is no job \"%s\"%s.", multi->strands[0].id, multi->count > 1 ? ", nor any of the others" : "");
    } else if (over == multi->count) {
        http_answer(multi->request, 204, NULL, (struct bytes){0});
    } else {
        list_leave(&multi->party.link);
        quota_stream_opened(multi->service, multi->request);
        flow_begin(&multi->flow, multi->service, multi->request, &multi_kind);
    }
}

static void news(struct feed *feed)
{
    struct strand *strand = LIST_OF(feed, struct strand, feed);
    struct multi *multi = strand->multi;
    strand->ready = true;
    if (multi->flow.kind)
        flow_pump(&multi->flow);
    else if (!multi->looking && !multi->answered && multi->request)
        begin(multi);
}

static void looked(void *data, struct live *live)
{
    struct strand *strand = data;
    struct multi *multi = strand->multi;
    multi->looking--;
    if (multi->request && live && service_may_see(multi->service, multi->request, live_job(live))) {
        feed_open(&strand->feed, &multi->service->world, live, FACE_JOB, news);
        whence_place(&strand->want, &strand->feed.cursor);
    }
    if (multi->looking)
        return;
    if (!multi->request)
        multi_free(multi);
    else if (!multi->answered)
        begin(multi);
}

static void closed(struct http_request *request, enum http_why why)
{
    struct multi *multi = request->user;
    multi->request = NULL;
    if (!multi->looking)
        multi_free(multi);
}

static void drain(struct party *party)
{
    struct multi *multi = LIST_OF(party, struct multi, party);
    if (multi->answered)
        return;
    multi->answered = true;
    stream_turn_back(multi->request);
}

/* ---- the question ---- */

/* One `job=ID@CURSOR`. False when the request was refused. */
static bool add_strand(struct multi *multi, struct http_request *request, struct bytes value)
{
    multi->strands = mem_grow(multi->strands, (size_t)(multi->count + 1) * sizeof *multi->strands);
    struct strand *strand = &multi->strands[multi->count];
    *strand = (struct strand){.multi = multi};
    struct bytes rest = value, id = bytes_cut(&rest, '@'), last = http_head_get(request->head, "Last-Event-ID");
    if (!id.count || id.count >= JOB_TEXT_SIZE) {
        http_refuse(request, 400, "job must be the id of a job, or ID@CURSOR with " WHENCE_WORDS ".");
        return false;
    }
    memcpy(strand->id, id.at, id.count);
    for (int i = 0; i < multi->count; i++) {
        if (!strcmp(multi->strands[i].id, strand->id)) {
            http_refuse(request, 400, "job %s is named twice; each job may be named once.", strand->id);
            return false;
        }
    }
    if (!whence_parse(rest, &strand->want)) {
        http_refuse(request, 400, "job has the cursor \"%.*s\", but it may only be " WHENCE_WORDS ".",
                    (int)(rest.count < FRAME_ID_SIZE ? rest.count : FRAME_ID_SIZE), rest.at);
        return false;
    }
    struct bytes named = bytes_cut(&last, '@');
    if (bytes_equal(named, id) && last.count)
        whence_last(last, &strand->want);
    multi->count++;
    return true;
}

static bool take_question(struct multi *multi, struct http_request *request)
{
    struct bytes query = request->query, name, value;
    while (query_next(&query, &name, &value)) {
        struct buf text BUF_OWNED;
        buf_init(&text, JOB_TEXT_SIZE + FRAME_ID_SIZE);
        if (!bytes_equal(name, BYTES("job")))
            continue;
        if (multi->count == LIMIT_MULTI_JOBS) {
            http_refuse(request, 400, "job is given more than %d times; one connection takes at most %d jobs.", LIMIT_MULTI_JOBS, LIMIT_MULTI_JOBS);
            return false;
        }
        query_decode(value, true, &text);
        if (!add_strand(multi, request, buf_bytes(&text)))
            return false;
    }
    if (!multi->count)
        http_refuse(request, 400, "job is missing; name at least one as job=ID or job=ID@CURSOR.");
    return multi->count > 0;
}

static void get_events(struct http_request *request, void *service)
{
    struct multi *multi = MEM_NEW(struct multi);
    multi->service = service;
    list_init(&multi->party.link);
    if (!take_question(multi, request)) {
        multi_free(multi);
        return;
    }
    multi->request = request;
    request->user = multi;
    request->on_close = closed;
    party_join(service, &multi->party, drain);
    if (multi->service->draining) {
        drain(&multi->party);
        return;
    }
    /* The last answer of all may come inside the last call, so `multi` is not touched behind it. */
    int count = multi->looking = multi->count;
    struct strand *strands = multi->strands;
    for (int i = 0; i < count; i++)
        store_find(multi->service->store, bytes_of(strands[i].id), looked, &strands[i]);
}

static const struct route routes[] = {
    {HTTP_GET, "/v1/events", get_events, "The events of several jobs on one connection",
     "job=ID or job=ID@CURSOR, up to 64 times; the cursor is the id of an event, its number, or end. The frames are those of /v1/jobs/{id}/events, "
     "their id is JOB@ID; each job ends with `complete` or `cancelled`, the stream when all have ended. A job that is not there (or not yours) is told "
     "by a `gap` with reason `unknown`, and 404 when there is none at all. 204 when all have ended and all was read. A browser that reconnects names "
     "one event only: ask anew with the cursors you hold.",
     .gives = "text/event-stream", .query = "job", .schema = "Event"},
};

void api_multi_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
