/* One connection. Bytes are read into the server's scratch and go from there to the parser; only a head in the making, or what came
 * ahead of its time, is kept in `in`. Every change ends in the pump, which does what is due until nothing is, then says what the
 * socket shall be watched for and until when. */
#include "http/http_inside.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_time(struct timer *timer);

static int64_t now_us(const struct conn *conn)
{
    return loop_now_us(conn->server->loop);
}

void conn_later(struct conn *conn)
{
    struct http_server *server = conn->server;
    if (conn->busy || !list_empty(&conn->later))
        return;
    if (list_empty(&server->later) && !timer_runs(&server->later_timer))
        timer_start(server->loop, &server->later_timer, 0, server->later_timer.call);
    list_push(&server->later, &conn->later);
}

void conn_kill(struct conn *conn, enum http_why why)
{
    if (conn->phase == DEAD)
        return;
    conn->phase = DEAD;
    if (conn->exchange && (conn->exchange->why == HTTP_DONE || why == HTTP_CLOSING))
        conn->exchange->why = why;
    watch_close(conn->watch);
    conn->watch = NULL;
    close(conn->fd);
    conn->fd = -1;
    timer_stop(conn->server->loop, &conn->timer);
    conn_later(conn);
}

/* ---- exchanges ---- */

static const struct http_head NO_HEAD = {.path = {"", 0}};

static struct exchange *exchange_new(struct conn *conn)
{
    struct exchange *exchange = MEM_NEW(struct exchange);
    exchange->conn = conn;
    exchange->request.head = &NO_HEAD;
    exchange->request.came_us = now_us(conn);
    buf_init(&exchange->extra, LIMIT_HTTP_HEAD_BYTES);
    conn->exchange = exchange;
    conn->phase = EXCHANGE;
    conn->server->exchanges_count++;
    return exchange;
}

struct incoming *exchange_incoming(struct exchange *exchange)
{
    if (!exchange->incoming) {
        exchange->incoming = MEM_NEW(struct incoming);
        buf_init(&exchange->incoming->held, 2 * LIMIT_HTTP_READ_BYTES);
    }
    return exchange->incoming;
}

void exchange_drop_head(struct exchange *exchange)
{
    free(exchange->head);
    exchange->head = NULL;
    exchange->request.head = &NO_HEAD;
    exchange->request.path = exchange->request.query = (struct bytes){"", 0};
    exchange->request.params_count = 0;
    free(exchange->request.params_room);
    exchange->request.params_room = NULL;
    buf_done(&exchange->extra);
    if (exchange->incoming) {
        buf_done(&exchange->incoming->held);
        buf_done(&exchange->incoming->all);
    }
}

static void exchange_end(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    conn->exchange = NULL;
    conn->server->exchanges_count--;
    if (exchange->request.on_close)
        exchange->request.on_close(&exchange->request, exchange->why);
    const struct http_settings *settings = &conn->server->settings;
    if (settings->on_ended)
        settings->on_ended(&exchange->request, exchange->why, settings->look_data);
    exchange_drop_head(exchange);
    free(exchange->incoming);
    free(exchange);
}

void exchange_refuse(struct exchange *exchange, enum http_why why, int status, const char *sentence)
{
    if (exchange->answer != UNANSWERED)
        return;
    exchange->why = why;
    http_refuse(&exchange->request, status, "%s", sentence);
    exchange->refused = true;
}

static void refuse_head(struct conn *conn, int status, const char *sentence)
{
    struct exchange *exchange = conn->exchange ? conn->exchange : exchange_new(conn);
    conn->close_after = true;
    buf_done(&conn->in);
    exchange_refuse(exchange, HTTP_REFUSED, status, sentence);
}

/* ---- heads ---- */

/* What a sound head still has to pass before a handler sees it: 0 or a status. */
static int check_head(struct conn *conn, const struct http_head *head, struct problem *problem)
{
    struct http_server *server = conn->server;
    struct bytes coding = http_head_get(head, "Content-Encoding");
    bool ours = http_host_is_loopback(head->host) || !head->host.at || bytes_equal_nocase(head->host, bytes_of(server->settings.host));
    if (server->check_host && !ours) {
        problem_set(problem, "This server answers to localhost only, not to \"%.*s\".", (int)(head->host.count < 255 ? head->host.count : 255),
                    head->host.at);
        return 421;
    }
    if (coding.at && !bytes_equal_nocase(coding, BYTES("identity"))) {
        problem_set(problem, "A request body must come without Content-Encoding.");
        return 415;
    }
    if (head->length > server->settings.body_bytes_max) {
        problem_set(problem, "The body has %lld bytes, at most %lld are taken.", (long long)head->length,
                    (long long)server->settings.body_bytes_max);
        return 413;
    }
    return 0;
}

/* The head and its block lie in one piece of memory, so that they go together. */
static int read_head(struct exchange *exchange, struct bytes block, struct problem *problem)
{
    struct conn *conn = exchange->conn;
    char *copy;
    exchange->head = mem_new(sizeof *exchange->head + block.count);
    copy = (char *)(exchange->head + 1);
    memcpy(copy, block.at, block.count);
    struct http_head *head = exchange->head;
    int status = http_head_read((struct bytes){copy, block.count}, head, problem);
    if (status)
        return status;
    struct http_parse parse;
    http_parse_init(&parse);
    int parsed = http_parse_head(&parse, (struct bytes){copy, block.count});
    if (parsed < 0 || (parsed == HTTP_PARSE_END) != (head->length == 0)) {
        problem_set(problem, "The head of the request is malformed.");
        return 400;
    }
    exchange->body_over = parsed == HTTP_PARSE_END;
    if (!exchange->body_over)
        exchange_incoming(exchange)->parse = parse;
    exchange->body_max = conn->server->settings.body_bytes_max;
    exchange->expects_continue = head->expects_continue;
    exchange->head_only = head->method == HTTP_HEAD;
    exchange->minor_0 = head->minor == 0;
    exchange->request.head = head;
    exchange->request.method = head->method;
    exchange->request.path = head->path;
    exchange->request.query = head->query;
    exchange->request.body_bytes = head->length;
    conn->close_after = !head->keeps_alive;
    return check_head(conn, head, problem);
}

static void begin_exchange(struct conn *conn, size_t count)
{
    struct http_server *server = conn->server;
    struct exchange *exchange = exchange_new(conn);
    struct problem problem = {0};
    int status = read_head(exchange, (struct bytes){conn->in.at, count}, &problem);
    conn->scanned = 0;
    conn->skipped_line = false;
    if (status) {
        refuse_head(conn, status, problem.text);
        return;
    }
    buf_eat(&conn->in, count);
    if (!conn->in.count)
        buf_done(&conn->in);
    server->on_request(&exchange->request, server->data);
}

/* True when something was done with what is in `in`. */
static bool try_head(struct conn *conn)
{
    struct bytes in = buf_bytes(&conn->in);
    if (!conn->skipped_line && bytes_start(in, BYTES("\r\n"))) {
        conn->skipped_line = true;
        buf_eat(&conn->in, 2);
        conn->scanned = 0;
        return true;
    }
    if (!in.count)
        return false;
    int count = http_head_scan(in, &conn->scanned);
    if (count < 0)
        refuse_head(conn, 400, "The head of the request holds a byte that no head may hold; lines end with CRLF.");
    else if (count > LIMIT_HTTP_HEAD_BYTES || (!count && in.count > LIMIT_HTTP_HEAD_BYTES))
        refuse_head(conn, 431, "The head of the request has more than 16384 bytes.");
    else if (count)
        begin_exchange(conn, (size_t)count);
    else
        return false;
    return true;
}

/* ---- the pump ---- */

static void free_conn(struct conn *conn)
{
    struct http_server *server = conn->server;
    list_leave(&conn->later);
    if (conn->exchange)
        exchange_end(conn);
    list_leave(&conn->later);
    list_leave(&conn->link);
    server->conns_count--;
    buf_done(&conn->in);
    conn_drop_waiting(conn);
    address_leave(&server->addresses, conn->address);
    free(conn);
}

/* The answer is in the kernel's hands: on to the next request, or say goodbye so that the client reads it before a reset. */
static void finish_exchange(struct conn *conn)
{
    exchange_end(conn);
    conn->since_us = now_us(conn);
    conn->used = true;
    if (conn->phase == DEAD)
        return;
    if (!conn->close_after && !(conn->server->draining && !conn->in.count)) {
        conn->phase = HEADING;
        return;
    }
    buf_done(&conn->in);
    conn->phase = LINGER;
    if (conn->eof || shutdown(conn->fd, SHUT_WR) < 0)
        conn_kill(conn, HTTP_DONE);
}

/* One step of an exchange; false when nothing is due. */
static bool step(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    bool pending = conn_pending(conn);
    if (exchange->answer == ANSWERED || exchange->answer == ENDED) {
        if (!pending)
            finish_exchange(conn);
        return !pending;
    }
    if (exchange->answer == STREAMING) {
        bool due = exchange->drain_due && !pending;
        exchange->drain_due = exchange->drain_due && pending;
        if (due && exchange->on_drain)
            exchange->on_drain(&exchange->request);
        return due;
    }
    if (!exchange_wants_body(exchange))
        return false;
    if (exchange->incoming && exchange->incoming->held.count) {
        exchange_give_held(exchange);
    } else if (!exchange->body_over && conn->in.count) {
        struct bytes rest = buf_bytes(&conn->in);
        conn_feed_body(conn, &rest);
        buf_eat(&conn->in, conn->in.count - rest.count);
    } else if (exchange->body_over && !exchange->end_told) {
        exchange->end_told = true;
        exchange->body->on_end(&exchange->request);
    } else {
        return false;
    }
    return true;
}

static int wanted(const struct conn *conn)
{
    const struct exchange *exchange = conn->exchange;
    int write = conn_pending(conn) ? LOOP_WRITE : 0;
    if (conn->eof)
        return write;
    if (conn->phase != EXCHANGE)
        return write | LOOP_READ;
    if (exchange->body_over)
        return write | (conn->in.count < LIMIT_HTTP_HEAD_BYTES ? LOOP_READ : LOOP_HANGUP);
    if (exchange_discards(exchange))
        return write | (conn->discarded < LIMIT_HTTP_DISCARD_BYTES ? LOOP_READ : 0);
    return write | (exchange_wants_body(exchange) ? LOOP_READ : 0);
}

/* When something has to have happened; INT64_MAX = nothing is awaited from the client. */
static int64_t deadline_of(const struct conn *conn)
{
    const struct http_settings *settings = &conn->server->settings;
    if (conn_pending(conn))
        return conn->since_us + settings->stall_us;
    if (conn->phase == LINGER)
        return conn->since_us + settings->discard_us;
    if (conn->phase == HEADING)
        return conn->since_us + (conn->used && !conn->in.count ? settings->idle_us : settings->head_us);
    if (!conn->exchange->body_over && exchange_wants_body(conn->exchange))
        return conn->window_us + settings->body_window_us;
    return INT64_MAX;
}

/* The timer is set anew only when it would ring too late; ringing early it sets itself. Most requests touch no timer so. */
static void set_clock(struct conn *conn)
{
    int64_t deadline = deadline_of(conn);
    if (deadline == INT64_MAX || (timer_runs(&conn->timer) && conn->timer.node.key <= deadline))
        return;
    timer_start(conn->server->loop, &conn->timer, deadline - now_us(conn), on_time);
}

void conn_pump(struct conn *conn)
{
    list_leave(&conn->later);
    conn->busy = true;
    bool again = true;
    while (again)
        again = conn->phase == EXCHANGE ? step(conn) : conn->phase == HEADING ? try_head(conn) : false;
    conn->busy = false;
    if (conn->phase == DEAD) {
        free_conn(conn);
        return;
    }
    if (!conn->in.count)
        buf_done(&conn->in);
    watch_want(conn->watch, wanted(conn));
    set_clock(conn);
}

/* ---- what the socket and the clock say ---- */

static void meet_eof(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    bool answer_is_on_its_way = exchange && (exchange->answer == ANSWERED || exchange->answer == ENDED);
    if (answer_is_on_its_way)
        conn->eof = conn->close_after = true;
    else
        conn_kill(conn, HTTP_GONE);
}

static void keep_ahead(struct conn *conn, struct bytes bytes)
{
    if (conn->phase == HEADING && !conn->in.count)
        conn->since_us = now_us(conn);
    buf_put(&conn->in, bytes);
    assert(buf_ok(&conn->in));
}

static void take(struct conn *conn, struct bytes bytes)
{
    struct exchange *exchange = conn->exchange;
    if (conn->phase == LINGER || (exchange && exchange_discards(exchange))) {
        conn->discarded += (int64_t)bytes.count;
        if (conn->phase == LINGER && conn->discarded > LIMIT_HTTP_DISCARD_BYTES)
            conn_kill(conn, HTTP_DONE);
        return;
    }
    if (exchange && !exchange->body_over)
        conn_feed_body(conn, &bytes);
    if (bytes.count && conn->phase != DEAD && !(exchange && exchange_discards(exchange)))
        keep_ahead(conn, bytes);
}

/* How much to read: a body by the scratch, heads and what comes ahead only as far as it may be kept. */
static size_t read_size(const struct conn *conn)
{
    bool kept = conn->phase == HEADING || (conn->phase == EXCHANGE && conn->exchange->body_over);
    return kept ? LIMIT_HTTP_HEAD_BYTES + 1 - (conn->in.count < LIMIT_HTTP_HEAD_BYTES ? conn->in.count : LIMIT_HTTP_HEAD_BYTES)
                : LIMIT_HTTP_READ_BYTES;
}

/* True when there may be more to read. */
static bool read_once(struct conn *conn)
{
    char *scratch = conn->server->scratch;
    size_t size = read_size(conn);
    ssize_t count = recv(conn->fd, scratch, size, MSG_DONTWAIT);
    if (count > 0) {
        conn->busy = true;        /* handlers may be called: no pump beneath them */
        take(conn, (struct bytes){scratch, (size_t)count});
        conn->busy = false;
        return (size_t)count == size;
    }
    if (count == 0)
        meet_eof(conn);
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        conn_kill(conn, HTTP_GONE);
    return false;
}

static void on_events(void *data, int events)
{
    struct conn *conn = data;
    conn->busy = true;
    if (events & LOOP_WRITE && conn_pending(conn))
        conn_flush(conn);
    if (events & LOOP_HANGUP && conn->phase != DEAD)
        meet_eof(conn);
    conn->busy = false;
    if (!(events & LOOP_READ)) {
        conn_pump(conn);
        return;
    }
    for (int i = 0; i < LIMIT_HTTP_READS; i++) {
        bool more = conn->phase != DEAD && wanted(conn) & LOOP_READ && read_once(conn);
        struct exchange *exchange = conn->exchange;
        if (!more || conn->phase == DEAD || !exchange || exchange->body_over || !exchange_wants_body(exchange))
            break;
    }
    conn_pump(conn);
}

static void slow_body(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    int64_t window_us = conn->server->settings.body_window_us;
    int64_t least = LIMIT_HTTP_BODY_WINDOW_BYTES * window_us / LIMIT_HTTP_BODY_WINDOW_US;
    if (exchange->body_count - conn->window_count >= least) {
        conn->window_us = now_us(conn);
        conn->window_count = exchange->body_count;
        return;
    }
    exchange_refuse(exchange, HTTP_SLOW, 408, "The body came too slowly: at least 1 KiB a second is expected.");
}

static void on_time(struct timer *timer)
{
    struct conn *conn = TIMER_OF(timer, struct conn, timer);
    if (deadline_of(conn) > now_us(conn))
        set_clock(conn);
    else if (conn_pending(conn))
        conn_kill(conn, HTTP_SLOW);
    else if (conn->phase == HEADING && conn->in.count)
        refuse_head(conn, 408, "The head of the request did not come in time.");
    else if (conn->phase == EXCHANGE)
        slow_body(conn);
    else
        conn_kill(conn, HTTP_SLOW);
    conn_later(conn);
}

int conn_new(struct http_server *server, int fd, struct address *address)
{
    struct conn *conn = MEM_NEW(struct conn);
    *conn = (struct conn){.server = server, .fd = fd, .address = address, .phase = HEADING};
    list_init(&conn->later);
    int failed = watch_open(server->loop, fd, on_events, conn, &conn->watch);
    if (failed) {
        free(conn);
        return failed;
    }
    list_push(&server->conns, &conn->link);
    server->conns_count++;
    conn->since_us = now_us(conn);
    buf_init(&conn->in, 2 * LIMIT_HTTP_HEAD_BYTES + LIMIT_HTTP_READ_BYTES);
    conn_pump(conn);
    return 0;
}

void http_peer(const struct http_request *request, char ret[HTTP_PEER_SIZE])
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char host[48], port[8];
    ret[0] = 0;
    if (getpeername(exchange_of(request)->conn->fd, (struct sockaddr *)&address, &size) < 0 ||
        getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    snprintf(ret, HTTP_PEER_SIZE, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}
