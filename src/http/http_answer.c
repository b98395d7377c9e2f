/* Bytes out. What the socket takes at once is never copied: sendmsg from the caller's memory, and only the rest waits in `out`. */
#include "http/http_inside.h"

#include "base/mem.h"
#include "http/cors.h"
#include "http/problem_json.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { HEADER_BYTES_MAX = 32 * 1024, PARTS_MAX = LIMIT_STREAM_WRITE_FRAMES + 2 };

/* ---- what the socket does not take at once ---- */

static struct waiting *waiting_of(struct conn *conn)
{
    if (!conn->waiting) {
        conn->waiting = MEM_NEW(struct waiting);
        buf_init(&conn->waiting->out, LIMIT_HTTP_ANSWER_BYTES);
        conn->since_us = loop_now_us(conn->server->loop);
    }
    return conn->waiting;
}

void conn_drop_waiting(struct conn *conn)
{
    struct waiting *waiting = conn->waiting;
    if (!waiting)
        return;
    http_block_unref(waiting->block);
    buf_done(&waiting->out);
    buf_done(&waiting->body);
    free(waiting);
    conn->waiting = NULL;
}

/* Bytes that the socket took, or -1 when the connection is dead now. */
static ssize_t taken(struct conn *conn, ssize_t sent)
{
    if (sent >= 0 && conn->exchange)
        conn->exchange->request.sent_bytes += sent;
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS)
        return 0;
    conn_kill(conn, HTTP_GONE);
    return -1;
}

static ssize_t send_parts(struct conn *conn, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
    return taken(conn, sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static void keep_rest(struct conn *conn, const struct iovec *parts, int count, size_t sent)
{
    for (int i = 0; i < count; i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        sent -= skip;
        if (skip < parts[i].iov_len && !buf_add(&waiting_of(conn)->out, (char *)parts[i].iov_base + skip, parts[i].iov_len - skip)) {
            conn_kill(conn, HTTP_GONE);
            return;
        }
    }
}

void conn_send(struct conn *conn, const struct iovec *parts, int count)
{
    if (conn->phase == DEAD)
        return;
    ssize_t sent = conn_pending(conn) ? 0 : send_parts(conn, parts, count);
    if (sent >= 0)
        keep_rest(conn, parts, count, (size_t)sent);
}

/* How much of `sent` belongs to a part that had so much left. */
static size_t share(size_t *sent, size_t left)
{
    size_t of_it = *sent < left ? *sent : left;
    *sent -= of_it;
    return of_it;
}

void conn_flush(struct conn *conn)
{
    struct waiting *waiting = conn->waiting;
    struct http_block *block = waiting->block;
    struct iovec parts[3] = {{block ? block->at + waiting->block_at : NULL, block ? block->count - waiting->block_at : 0},
                             {waiting->out.at + waiting->out_at, waiting->out.count - waiting->out_at},
                             {waiting->body.at + waiting->body_at, waiting->body.count - waiting->body_at}};
    ssize_t sent = send_parts(conn, parts, 3);
    if (sent <= 0)
        return;
    conn->since_us = loop_now_us(conn->server->loop);
    size_t rest = (size_t)sent;
    waiting->block_at += share(&rest, parts[0].iov_len);
    waiting->out_at += share(&rest, parts[1].iov_len);
    waiting->body_at += share(&rest, parts[2].iov_len);
    if ((size_t)sent == parts[0].iov_len + parts[1].iov_len + parts[2].iov_len)
        conn_drop_waiting(conn);
}

/* ---- heads of answers ---- */

void http_header(struct http_request *request, const char *name, const char *value)
{
    struct exchange *exchange = exchange_of(request);
    if (exchange->refused)
        return;
    assert(exchange->answer == UNANSWERED);
    exchange->says_when |= !strcmp(name, "Retry-After");
    buf_text(&exchange->extra, name);
    buf_text(&exchange->extra, ": ");
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        buf_byte(&exchange->extra, c < 0x20 || c == 0x7f ? '_' : (char)c);
    }
    buf_text(&exchange->extra, "\r\n");
    assert(buf_ok(&exchange->extra));
}

static const char *date_of(struct http_server *server)
{
    time_t now = (time_t)(loop_wall_us(server->loop) / 1000000);
    if (now != server->date_at) {
        struct tm parts;
        gmtime_r(&now, &parts);
        strftime(server->date, sizeof server->date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        server->date_at = now;
    }
    return server->date;
}

static void put_head(struct exchange *exchange, struct buf *head, int status, const char *content_type)
{
    struct http_server *server = exchange->conn->server;
    buf_print(head, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, problem_title(status), date_of(server));
    if (content_type)
        buf_print(head, "Content-Type: %s\r\nX-Content-Type-Options: nosniff\r\n", content_type);
    if ((status == 503 || status == 429) && !exchange->says_when)
        buf_text(head, "Retry-After: " HTTP_RETRY_S "\r\n");
    if (server->settings.on_begun)
        server->settings.on_begun(&exchange->request, status, server->settings.look_data);
    cors_put(head, server->settings.origins, http_head_get(exchange->request.head, "Origin"));
    buf_put(head, buf_bytes(&exchange->extra));
}

/* Whether the client sends more on this connection is decided here: after an early answer nobody knows where its body ends.
 * False when the server has answered by itself in the meantime. */
static bool begin(struct exchange *exchange, enum answer answer)
{
    struct conn *conn = exchange->conn;
    if (exchange->refused)
        return false;
    assert(exchange->answer == UNANSWERED);
    exchange->answer = answer;
    if (!exchange->body_over || conn->server->draining)
        conn->close_after = true;
    return true;
}

static bool has_no_body(int status)
{
    return status == 204 || status == 304 || status < 200;
}

static void put_whole_head(struct exchange *exchange, struct buf *head, int status, const char *content_type, size_t count)
{
    put_head(exchange, head, status, content_type);
    if (!has_no_body(status))
        buf_print(head, "Content-Length: %zu\r\n", count);
    buf_text(head, exchange->conn->close_after ? "Connection: close\r\n\r\n" : "\r\n");
    assert(buf_ok(head));
}

void http_answer(struct http_request *request, int status, const char *content_type, struct bytes body)
{
    struct exchange *exchange = exchange_of(request);
    struct buf head BUF_OWNED;
    buf_init(&head, HEADER_BYTES_MAX);
    if (!begin(exchange, ANSWERED))
        return;
    put_whole_head(exchange, &head, status, content_type, body.count);
    bool bare = exchange->head_only || has_no_body(status);
    struct iovec parts[2] = {{head.at, head.count}, {(char *)body.at, body.count}};
    conn_send(exchange->conn, parts, bare || !body.count ? 1 : 2);
    exchange_drop_head(exchange);
    conn_later(exchange->conn);
}

/* The part of the body that the socket does not take at once stays where it is: the buffer moves into the connection. */
static void send_buf(struct exchange *exchange, int status, const char *content_type, struct buf *body)
{
    struct conn *conn = exchange->conn;
    struct buf head BUF_OWNED;
    buf_init(&head, HEADER_BYTES_MAX);
    put_whole_head(exchange, &head, status, content_type, body->count);
    bool bare = exchange->head_only || has_no_body(status);
    struct iovec parts[2] = {{head.at, head.count}, {body->at, body->count}};
    ssize_t sent = conn->phase == DEAD ? -1 : send_parts(conn, parts, bare ? 1 : 2);
    if (sent < 0)
        return;
    keep_rest(conn, parts, 1, (size_t)sent);
    size_t of_body = (size_t)sent > head.count ? (size_t)sent - head.count : 0;
    if (bare || of_body == body->count)
        return;
    struct waiting *waiting = waiting_of(conn);
    waiting->body = *body;
    waiting->body_at = of_body;
    *body = (struct buf){.max = body->max};
}

void http_answer_buf(struct http_request *request, int status, const char *content_type, struct buf *body)
{
    struct exchange *exchange = exchange_of(request);
    if (!buf_ok(body)) {
        buf_done(body);
        http_refuse(request, 500, "The answer is longer than %d bytes.", LIMIT_HTTP_ANSWER_BYTES);
        return;
    }
    if (begin(exchange, ANSWERED))
        send_buf(exchange, status, content_type, body);
    buf_done(body);
    exchange_drop_head(exchange);
    conn_later(exchange->conn);
}

void http_refuse(struct http_request *request, int status, const char *format, ...)
{
    struct problem detail = {0};
    struct buf body BUF_OWNED;
    va_list args;
    va_start(args, format);
    vsnprintf(detail.text, sizeof detail.text, format, args);
    va_end(args);
    buf_init(&body, HEADER_BYTES_MAX);
    problem_json(&body, status, bytes_of(detail.text), request->path);
    http_answer(request, status, PROBLEM_JSON_TYPE, buf_bytes(&body));
}

/* ---- streams ---- */

void http_stream_start(struct http_request *request, int status, const char *content_type,
                       void (*on_drain)(struct http_request *request))
{
    struct exchange *exchange = exchange_of(request);
    struct conn *conn = exchange->conn;
    struct buf head BUF_OWNED;
    buf_init(&head, HEADER_BYTES_MAX);
    if (!begin(exchange, exchange->head_only ? ENDED : STREAMING))
        return;
    exchange->chunked = !exchange->minor_0;
    put_head(exchange, &head, status, content_type);
    if (exchange->chunked)
        buf_text(&head, "Transfer-Encoding: chunked\r\n");
    else
        conn->close_after = true;
    buf_text(&head, conn->close_after ? "Connection: close\r\n\r\n" : "Connection: keep-alive\r\n\r\n");
    assert(buf_ok(&head));
    struct iovec part = {head.at, head.count};
    conn_send(conn, &part, 1);
    exchange->on_drain = on_drain;
    exchange->drain_due = conn_pending(conn);
    exchange_drop_head(exchange);
    conn_later(conn);
}

void http_sse_start(struct http_request *request, void (*on_drain)(struct http_request *request))
{
    http_header(request, "Cache-Control", "no-cache");
    http_header(request, "X-Accel-Buffering", "no");
    http_stream_start(request, 200, "text/event-stream", on_drain);
}

bool http_stream_writable(const struct http_request *request)
{
    const struct exchange *exchange = exchange_of(request);
    return exchange->answer == STREAMING && exchange->conn->phase != DEAD && !conn_pending(exchange->conn);
}

static size_t total_of(const struct bytes *parts, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].count;
    return total;
}

int http_stream_writev(struct http_request *request, const struct bytes *parts, int count)
{
    struct exchange *exchange = exchange_of(request);
    struct conn *conn = exchange->conn;
    size_t total = total_of(parts, count);
    assert(total <= LIMIT_STREAM_WRITE_BYTES && count <= LIMIT_STREAM_WRITE_FRAMES);
    if (exchange->answer != STREAMING || conn->phase == DEAD)
        return HTTP_CLOSED;
    if (conn_pending(conn))
        return HTTP_FULL;
    if (!total)
        return 0;
    struct iovec all[PARTS_MAX];
    char size[24];
    int used = 0;
    if (exchange->chunked)
        all[used++] = (struct iovec){size, (size_t)snprintf(size, sizeof size, "%zx\r\n", total)};
    for (int i = 0; i < count; i++)
        all[used++] = (struct iovec){(char *)parts[i].at, parts[i].count};
    if (exchange->chunked)
        all[used++] = (struct iovec){(char *)"\r\n", 2};
    conn_send(conn, all, used);
    exchange->drain_due = conn_pending(conn);
    if (exchange->drain_due || conn->phase == DEAD)
        conn_later(conn);
    return conn->phase == DEAD ? HTTP_CLOSED : 0;
}

int http_stream_write(struct http_request *request, struct bytes bytes)
{
    return http_stream_writev(request, &bytes, 1);
}

/* ---- blocks ---- */

struct http_block *http_block_new(struct bytes content)
{
    char size[24];
    int head = snprintf(size, sizeof size, "%zx\r\n", content.count);
    assert(content.count && head > 0);
    size_t count = (size_t)head + content.count + 2;
    struct http_block *block = mem_new(sizeof *block + count);
    *block = (struct http_block){.refs = 1, .head = (unsigned)head, .count = count};
    memcpy(block->at, size, (size_t)head);
    memcpy(block->at + head, content.at, content.count);
    memcpy(block->at + count - 2, "\r\n", 2);
    return block;
}

struct http_block *http_block_ref(struct http_block *block)
{
    block->refs++;
    return block;
}

void http_block_unref(struct http_block *block)
{
    if (block && --block->refs == 0)
        free(block);
}

size_t http_block_bytes(const struct http_block *block)
{
    return sizeof *block + block->count;
}

/* What of a block goes over this wire: without chunks its content alone. */
static struct iovec part_of(const struct exchange *exchange, const struct http_block *block)
{
    size_t skip = exchange->chunked ? 0 : block->head, tail = exchange->chunked ? 0 : 2;
    return (struct iovec){(char *)block->at + skip, block->count - skip - tail};
}

/* The socket took `sent` bytes, fewer than all. Answers how many blocks were begun; the last of these waits with its rest. */
static int keep_block(struct exchange *exchange, struct http_block *const *blocks, const struct iovec *parts, size_t sent)
{
    struct conn *conn = exchange->conn;
    int at = 0;
    while (sent > 0 && sent >= parts[at].iov_len)
        sent -= parts[at++].iov_len;
    exchange->drain_due = true;
    conn_later(conn);
    struct waiting *waiting = waiting_of(conn);
    if (exchange->chunked) {
        waiting->block = http_block_ref(blocks[at]);
        waiting->block_at = sent;
    } else {
        buf_add(&waiting->out, (char *)parts[at].iov_base + sent, parts[at].iov_len - sent);
    }
    return at + 1;
}

int http_stream_blocks(struct http_request *request, struct http_block *const *blocks, int count)
{
    struct exchange *exchange = exchange_of(request);
    struct conn *conn = exchange->conn;
    struct iovec parts[LIMIT_STREAM_WRITE_FRAMES];
    size_t total = 0;
    assert(count > 0 && count <= LIMIT_STREAM_WRITE_FRAMES);
    if (exchange->answer != STREAMING || conn->phase == DEAD || conn_pending(conn))
        return 0;
    for (int i = 0; i < count; i++) {
        parts[i] = part_of(exchange, blocks[i]);
        total += parts[i].iov_len;
    }
    ssize_t sent = count == 1 ? taken(conn, send(conn->fd, parts->iov_base, total, MSG_NOSIGNAL | MSG_DONTWAIT))
                              : send_parts(conn, parts, count);
    if (sent < 0)
        return 0;
    return (size_t)sent == total ? count : keep_block(exchange, blocks, parts, (size_t)sent);
}

void http_stream_end(struct http_request *request)
{
    struct exchange *exchange = exchange_of(request);
    if (exchange->answer != STREAMING)
        return;
    exchange->answer = ENDED;
    struct iovec part = {(char *)"0\r\n\r\n", 5};
    if (exchange->chunked)
        conn_send(exchange->conn, &part, 1);
    conn_later(exchange->conn);
}
