/* Bodies in: from the parser to the handler, who may pause, and within limits that are known before a byte is read. */
#include "http/http_inside.h"

#include "base/limits.h"

#include <assert.h>
#include <stdio.h>
#include <sys/ioctl.h>

bool exchange_wants_body(const struct exchange *exchange)
{
    return exchange->body && !exchange->paused && exchange->answer == UNANSWERED;
}

bool exchange_discards(const struct exchange *exchange)
{
    return !exchange->body_over && exchange->answer != UNANSWERED;
}

static void on_piece(void *user, struct bytes data)
{
    struct exchange *exchange = user;
    if (exchange->answer != UNANSWERED)
        return;
    exchange->body_count += (int64_t)data.count;
    if (exchange->body_count > exchange->body_max) {
        char sentence[128];
        snprintf(sentence, sizeof sentence, "The body is longer than %lld bytes.", (long long)exchange->body_max);
        exchange_refuse(exchange, HTTP_REFUSED, 413, sentence);
    } else if (exchange->paused) {
        buf_put(&exchange->incoming->held, data);
        assert(buf_ok(&exchange->incoming->held));
    } else {
        exchange->body->on_data(&exchange->request, data);
    }
}

void conn_feed_body(struct conn *conn, struct bytes *bytes)
{
    struct exchange *exchange = conn->exchange;
    size_t used;
    int answer = http_parse_body(&exchange->incoming->parse, *bytes, on_piece, exchange, &used);
    if (answer < 0) {
        exchange_refuse(exchange, HTTP_REFUSED, 400, "The chunks of the body are malformed.");
        used = bytes->count;
    }
    if (answer == HTTP_PARSE_END) {
        exchange->body_over = true;
        if (exchange->answer != UNANSWERED)      /* answered by the last piece, after begin() had to fear for the rest */
            conn->close_after = true;
    }
    bytes->at += used;
    bytes->count -= used;
}

void exchange_give_held(struct exchange *exchange)
{
    struct buf held = exchange->incoming->held;
    buf_init(&exchange->incoming->held, held.max);
    exchange->body->on_data(&exchange->request, buf_bytes(&held));
    buf_done(&held);
}

int http_read_body(struct http_request *request, int64_t bytes_max, const struct http_body *body)
{
    struct exchange *exchange = exchange_of(request);
    struct conn *conn = exchange->conn;
    if (exchange->answer != UNANSWERED || conn->phase == DEAD)
        return HTTP_CLOSED;
    assert(!exchange->body);
    if (bytes_max < exchange->body_max)
        exchange->body_max = bytes_max;
    if (request->body_bytes > exchange->body_max) {
        char sentence[128];
        snprintf(sentence, sizeof sentence, "The body has %lld bytes, at most %lld are taken.", (long long)request->body_bytes,
                 (long long)exchange->body_max);
        exchange_refuse(exchange, HTTP_REFUSED, 413, sentence);
        return HTTP_CLOSED;
    }
    exchange->body = body;
    conn->window_us = loop_now_us(conn->server->loop);
    conn->window_count = exchange->body_count;
    struct iovec part = {(char *)"HTTP/1.1 100 Continue\r\n\r\n", 25};
    if (exchange->expects_continue && !conn->in.count && !exchange->body_over)
        conn_send(conn, &part, 1);
    conn_later(conn);
    return 0;
}

int64_t http_body_at_hand(const struct http_request *request)
{
    const struct conn *conn = exchange_of(request)->conn;
    int in_socket = 0;
    if (conn->phase == DEAD || ioctl(conn->fd, FIONREAD, &in_socket))
        in_socket = 0;
    return (int64_t)conn->in.count + in_socket;
}

bool http_body_slow(const struct http_request *request, int64_t us)
{
    const struct exchange *exchange = exchange_of(request);
    const struct conn *conn = exchange->conn;
    int64_t passed_us = loop_now_us(conn->server->loop) - conn->window_us;
    if (conn->phase != EXCHANGE || exchange->body_over || !exchange_wants_body(exchange) || passed_us < us)
        return false;
    return exchange->body_count - conn->window_count < LIMIT_HTTP_BODY_WINDOW_BYTES * passed_us / LIMIT_HTTP_BODY_WINDOW_US;
}

static void gather(struct http_request *request, struct bytes chunk)
{
    struct exchange *exchange = exchange_of(request);
    if (!buf_put(&exchange->incoming->all, chunk))
        exchange_refuse(exchange, HTTP_REFUSED, 413, "There is no memory for a body of this size.");
}

static void gathered(struct http_request *request)
{
    struct exchange *exchange = exchange_of(request);
    exchange->incoming->all_done(request, buf_bytes(&exchange->incoming->all));
}

int http_read_all(struct http_request *request, int64_t bytes_max, void (*done)(struct http_request *request, struct bytes body))
{
    static const struct http_body GATHER = {gather, gathered};
    struct incoming *incoming = exchange_incoming(exchange_of(request));
    buf_init(&incoming->all, (size_t)bytes_max);
    incoming->all_done = done;
    return http_read_body(request, bytes_max, &GATHER);
}

void http_pause(struct http_request *request)
{
    struct exchange *exchange = exchange_of(request);
    exchange->paused = true;
    conn_later(exchange->conn);
}

void http_resume(struct http_request *request)
{
    struct exchange *exchange = exchange_of(request);
    struct conn *conn = exchange->conn;
    exchange->paused = false;
    conn->window_us = loop_now_us(conn->server->loop);
    conn->window_count = exchange->body_count;
    conn_later(conn);
}
