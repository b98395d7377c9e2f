#include "server/stream/flow.h"

#include "base/limits.h"

enum { REST_BYTES_MAX = FEED_BYTES_MAX + 4096 };    /* one fill, and the farewell behind it */

static void silent(struct timer *timer)
{
    struct flow *flow = TIMER_OF(timer, struct flow, silence);
    if (http_stream_writable(flow->request) && !flow->rest.count)
        http_stream_write(flow->request, bytes_of(flow->kind->sign));
    timer_start(flow->service->loop, &flow->silence, flow->service->settings.heartbeat_us, silent);
}

static void write_on(struct timer *timer)
{
    flow_pump(TIMER_OF(timer, struct flow, again));
}

static void end(struct flow *flow)
{
    flow->ended = true;
    timer_stop(flow->service->loop, &flow->silence);
    timer_stop(flow->service->loop, &flow->again);
    http_stream_end(flow->request);
}

/* One write of what is given; answers how much that was. */
static size_t put(struct flow *flow, struct bytes bytes)
{
    if (bytes.count > LIMIT_STREAM_WRITE_BYTES)
        bytes.count = LIMIT_STREAM_WRITE_BYTES;
    http_stream_write(flow->request, bytes);
    timer_start(flow->service->loop, &flow->silence, flow->service->settings.heartbeat_us, silent);
    return bytes.count;
}

static void put_rest(struct flow *flow)
{
    buf_eat(&flow->rest, put(flow, buf_bytes(&flow->rest)));
    if (!flow->rest.count)
        buf_done(&flow->rest);
    timer_start(flow->service->loop, &flow->again, 0, write_on);
}

static void put_next(struct flow *flow)
{
    struct buf next BUF_OWNED;
    buf_init(&next, FEED_BYTES_MAX);
    int answer = flow->kind->fill(flow, &next);
    if (next.count) {
        size_t written = put(flow, buf_bytes(&next));
        if (written < next.count)
            buf_add(&flow->rest, next.at + written, next.count - written);
    }
    flow->ending = answer == FEED_END;
    if (flow->rest.count || answer == FEED_MORE)
        timer_start(flow->service->loop, &flow->again, 0, write_on);
    if (flow->kind->pause && !http_stream_writable(flow->request))
        flow->kind->pause(flow);
}

void flow_pump(struct flow *flow)
{
    if (flow->ended)
        return;
    if (!http_stream_writable(flow->request)) {    /* on_drain comes; or the client has gone, or it was a HEAD, and on_close comes */
        if (flow->kind->pause)
            flow->kind->pause(flow);
        return;
    }
    if (flow->rest.count)
        put_rest(flow);
    else if (!flow->ending)
        put_next(flow);
    if (flow->ending && !flow->rest.count)
        end(flow);
}

static void drained_socket(struct http_request *request)
{
    flow_pump(request->user);
}

static void closed(struct http_request *request, enum http_why why)
{
    struct flow *flow = request->user;
    list_leave(&flow->party.link);
    timer_stop(flow->service->loop, &flow->silence);
    timer_stop(flow->service->loop, &flow->again);
    buf_done(&flow->rest);
    flow->ended = true;
    flow->kind->done(flow);
}

static void drain(struct party *party)
{
    struct flow *flow = LIST_OF(party, struct flow, party);
    if (flow->ended || flow->ending)
        return;
    buf_text(&flow->rest, flow->kind->farewell);
    flow->ending = true;
    flow_pump(flow);
}

void flow_begin(struct flow *flow, struct service *service, struct http_request *request, const struct flow_kind *kind)
{
    flow->service = service;
    flow->request = request;
    flow->kind = kind;
    buf_init(&flow->rest, REST_BYTES_MAX);
    request->user = flow;
    request->on_close = closed;
    party_join(service, &flow->party, drain);
    http_header(request, "Cache-Control", "no-cache");
    http_header(request, "X-Accel-Buffering", "no");
    http_stream_start(request, 200, kind->content_type, drained_socket);
    if (kind->first)
        buf_text(&flow->rest, kind->first);
    timer_start(service->loop, &flow->silence, service->settings.heartbeat_us, silent);
    timer_start(service->loop, &flow->again, 0, write_on);
    if (service->draining)
        drain(&flow->party);
}
