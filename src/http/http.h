/* The HTTP/1.1 server: connections, requests, answers and streams. One request at a time on a connection; a pipelined one waits
 * until the answer before it is finished. Everything here runs on the loop and never blocks.
 *
 * Life of a request
 *     on_request(request)      the head is there and sound, no byte of the body was read. The handler does ONE of
 *                                http_answer / http_refuse                   at once, body or not
 *                                http_stream_start / http_sse_start
 *                                http_read_body / http_read_all              and answers from on_data, on_end or later
 *                                nothing                                     and answers later (keep the pointer, set on_close)
 *     on_close(request, why)   once, from the loop, never inside a call of yours: the answer is in the kernel's hands, or the
 *                              client has gone, or was too slow. After it the pointer is dead. Whoever keeps the pointer
 *                              beyond the handler's return must set on_close.
 *
 * Calls on a request whose client has gone are harmless until on_close has come. Answering twice is a bug (assert).
 * A client that closes its sending side before it has its answer counts as gone (so that one that left is noticed at once); what
 * was to be done for it goes on or ends as the handler sees fit.
 * After an answer that came before the whole body was read (an early refusal), the rest is read and thrown away for up to
 * LIMIT_HTTP_DISCARD_BYTES or LIMIT_HTTP_DISCARD_US, then the connection is closed: so the client sees the answer and not a reset.
 *
 * The server answers by itself, with problem+json: bad heads 400, 408, 414, 417, 421, 431, 501, 505; bodies 400 (bad chunks), 408 (too slow),
 * 413 (above the server's or the handler's limit), 415 (Content-Encoding); 503 above the cap on connections. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"
#include "os/loop.h"
#include "http/http_head.h"

struct http_server;
struct http_request;

enum http_why {
    HTTP_DONE,        /* answered to the last byte */
    HTTP_GONE,        /* the client closed, or the wire broke */
    HTTP_SLOW,        /* too slow: head, body, or a socket that took no byte for LIMIT_STREAM_STALL_US */
    HTTP_REFUSED,     /* the server itself refused the body: 400, 408, 413 */
    HTTP_CLOSING,     /* http_close */
};

enum { HTTP_FULL = 1, HTTP_CLOSED = 2 };      /* answers of http_stream_write */
enum { HTTP_PARAMS_MAX = 4 };

typedef void http_request_fn(struct http_request *request, void *data);

struct http_request {
    /* Set by the server. The head and all views into it live until the answer or stream begins, then they are gone. */
    const struct http_head *head;
    enum http_method method;          /* HEAD is handled as GET: answer alike, the body is left away for you */
    struct bytes path, query;         /* as in head: percent-encoded; see query.h */
    int64_t body_bytes;               /* declared length; 0 = no body; -1 = chunked, not known */
    /* Set by the router: the {…} of the pattern, in order, decoded. */
    struct bytes params[HTTP_PARAMS_MAX];
    int params_count;
    const void *caller;               /* who asks, set by the router's guard; NULL = nobody in particular */
    char *params_room;                /* where decoded ones lie; the server frees it with the head */
    bool counted, admitted;           /* as a stream, and as one of its caller's quota, by who looks on */
    /* For whoever looks on. */
    void *note;
    int64_t came_us, sent_bytes;      /* when its head was whole, monotonic; all that the socket took so far, heads and framing too */
    /* The handler's own. */
    void *user;
    void (*on_close)(struct http_request *request, enum http_why why);     /* may be NULL */
};

struct http_settings {
    const char *host;              /* a name or address to listen on: "127.0.0.1", "::1", "0.0.0.0", "localhost" */
    int port;                      /* 0 = a free one, see http_port */
    int listening;                 /* a TCP socket that listens already, in place of host and port: the server's own once this answers 0; 0 = none */
    int64_t body_bytes_max;        /* 0 = LIMIT_HTTP_BODY_BYTES */
    int connections_max;           /* 0 = LIMIT_HTTP_CONNECTIONS */
    int address_connections_max;   /* of one address, loopback included; 0 = LIMIT_HTTP_ADDRESS_PERCENT of all, loopback not counted */
    const char *origins;           /* CORS, as in cors.h; NULL = "*" */
    /* Look on, for numbers and logs; each may be NULL. on_begun: an answer begins, the request's head is still there. on_ended: the last
     * word about a request, after on_close; free what hangs on its note. */
    void (*on_begun)(struct http_request *request, int status, void *look_data);
    void (*on_ended)(struct http_request *request, enum http_why why, void *look_data);
    void *look_data;
    bool any_host;                 /* do not check Host; otherwise, when listening on loopback, a Host that is no name of
                                      this machine gets 421 (DNS rebinding) */
    int64_t idle_us, head_us, body_window_us, stall_us, discard_us;     /* 0 = as in limits.h; tests say less */
};

/* The listening socket of these settings by itself, for who gives up the right to open one before http_open: it goes into `listening`. 0, or -errno and a problem. */
int http_listen(const struct http_settings *settings, int *ret_fd, struct problem *problem);
/* Listen. 0, or < 0 and one sentence ("port 8080 on 127.0.0.1 is in use …"). `settings` and its texts are copied.
 * on_request is called with `data` for every request; usually router_request and the router. */
int http_open(struct loop *loop, const struct http_settings *settings, http_request_fn *on_request, void *data,
              struct http_server **ret_server, struct problem *problem);
int http_port(const struct http_server *server);                 /* the port in use */
int http_connections(const struct http_server *server);          /* open now */
int http_requests_open(const struct http_server *server);        /* requests not yet closed, streams included */
/* Stop listening; idle connections are closed now, the others after their present answer. Streams are the caller's to end. */
void http_drain(struct http_server *server);
/* Close everything; on_close(HTTP_CLOSING) is called for every open request, inside this call. Not from inside a request's
 * callback: post it or use a timer. NULL does nothing. */
void http_close(struct http_server *server);

/* ---- reading a body ---- */

struct http_body {
    void (*on_data)(struct http_request *request, struct bytes chunk);   /* 1 … LIMIT_HTTP_READ_BYTES; borrowed for the call */
    void (*on_end)(struct http_request *request);                        /* the whole body has come */
};

/* Read the body: sends "100 Continue" if the client waits for it. At most `bytes_max`; more, declared or counted, is refused
 * with 413 by the server. `body` is static or lives until on_close. The calls come from the loop, never inside this call.
 * A body that breaks off gives on_close(HTTP_GONE) and no on_end. Answers 0, or HTTP_CLOSED when it was refused already. */
int http_read_body(struct http_request *request, int64_t bytes_max, const struct http_body *body);
/* The same for small bodies: gathers the whole and calls `done` once. The view lives until the answer begins. */
int http_read_all(struct http_request *request, int64_t bytes_max, void (*done)(struct http_request *request, struct bytes body));
/* Bytes of the body that lie there and were not given to the handler; it need not read yet. Asks the socket. */
int64_t http_body_at_hand(const struct http_request *request);
/* The handler reads, and in the present window of at least `us` the body came more slowly than LIMIT_HTTP_BODY_WINDOW_* asks for. */
bool http_body_slow(const struct http_request *request, int64_t us);
/* No on_data and no on_end between pause and resume; the client is slowed down by TCP. May be called from on_data. What was
 * read already (at most LIMIT_HTTP_READ_BYTES) is held back. While paused a vanished client is not noticed. */
void http_pause(struct http_request *request);
void http_resume(struct http_request *request);

/* ---- answers ---- */

/* Add a header to the coming answer. Control bytes in the value, which could break the head, become '_'. A 429 or 503 without a
 * Retry-After gets one of a few seconds. */
void http_header(struct http_request *request, const char *name, const char *value);
/* The whole answer, at most LIMIT_HTTP_ANSWER_BYTES. Content-Length, Date, Connection and CORS headers are added. content_type NULL =
 * no body (204, 304 …). The body is copied as far as the socket does not take it at once. */
void http_answer(struct http_request *request, int status, const char *content_type, struct bytes body);
/* The same, taking the buffer's memory over: *body is empty afterwards. A failed buffer gives a 500. */
void http_answer_buf(struct http_request *request, int status, const char *content_type, struct buf *body);
/* problem+json (RFC 9457) with this sentence as `detail`. Allowed at any time before an answer, also from on_data. */
void http_refuse(struct http_request *request, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- streams ---- */

/* Begin an answer of unknown length (chunked; HTTP/1.0: until close). The head goes out at once. Reads go on, so that a client
 * that leaves is noticed at once (on_close HTTP_GONE). on_drain: called from the loop when all bytes of a write that did not
 * fit into the socket have gone: write on. May be NULL. */
void http_stream_start(struct http_request *request, int status, const char *content_type,
                       void (*on_drain)(struct http_request *request));
/* The same with status 200 and the headers of an event stream: Content-Type: text/event-stream, Cache-Control: no-cache,
 * X-Accel-Buffering: no, Connection: keep-alive. */
void http_sse_start(struct http_request *request, void (*on_drain)(struct http_request *request));
/* May a write be made now? False while an earlier one is under way (on_drain will come), or the client is gone. */
bool http_stream_writable(const struct http_request *request);
/* Write: all or nothing. 0 = taken, at most LIMIT_STREAM_WRITE_BYTES at once (assert); HTTP_FULL = an earlier write is under way,
 * nothing taken, wait for on_drain; HTTP_CLOSED = nobody is there (or it was a HEAD). Bytes that the socket takes at once are
 * not copied. The views are borrowed for the call. */
int http_stream_write(struct http_request *request, struct bytes bytes);
int http_stream_writev(struct http_request *request, const struct bytes *parts, int count);   /* ≤ LIMIT_STREAM_WRITE_FRAMES parts */

/* Bytes that go to many streams: made once, counted, never changed, framed as a chunk already. Delivering one is a system call from
 * memory that all streams share; a socket that takes a part of it keeps a reference and no copy. Loop thread. */
struct http_block;
struct http_block *http_block_new(struct bytes content);         /* one reference; copies; not empty */
struct http_block *http_block_ref(struct http_block *block);
void http_block_unref(struct http_block *block);                 /* NULL does nothing */
size_t http_block_bytes(const struct http_block *block);         /* of memory */
/* Write blocks, one behind the other, at most LIMIT_STREAM_WRITE_FRAMES. The answer: how many were begun. The last of them may still be
 * under way (on_drain will come); those behind it were not begun, and are the caller's to write later. 0 also when nothing may be written now. */
int http_stream_blocks(struct http_request *request, struct http_block *const *blocks, int count);

/* The end: what is pending still goes out, then on_close(HTTP_DONE). No write after it. */
void http_stream_end(struct http_request *request);

#define HTTP_PEER_SIZE 64
void http_peer(const struct http_request *request, char ret[HTTP_PEER_SIZE]);     /* "127.0.0.1:51234", "" when gone */
