/* What the files of the HTTP server share, and nobody else sees.
 *
 *     http_server.c   listening, accepting, draining
 *     http.c          one connection: bytes in, heads, and the pump that moves it on
 *     http_body.c     bodies in
 *     http_answer.c   bytes out: answers and streams
 *
 *               head whole            answer begun        last byte in the kernel
 *     HEADING ------------> EXCHANGE ------------------------------------------> HEADING   (keep-alive)
 *        ^                                                           |---------> LINGER -> DEAD
 *        new connection
 *
 * Handlers are called from the pump only. A call of theirs that changes something asks for the pump (conn_later); inside the pump
 * that is nothing, for it goes round until nothing is left to do. */
#pragma once
#include "base/list.h"
#include "http/address.h"
#include "http/http.h"
#include "http/http_parse.h"

#include <sys/uio.h>

#define HTTP_RETRY_S "5"              /* Retry-After of answers that say nothing else */

enum phase { HEADING, EXCHANGE, LINGER, DEAD };
enum answer { UNANSWERED, ANSWERED, STREAMING, ENDED };

struct http_server {
    struct loop *loop;
    struct http_settings settings;     /* with its defaults filled in; texts owned */
    http_request_fn *on_request;
    void *data;
    int fd;                            /* listening; -1 when draining */
    struct watch *watch;
    int port;
    bool check_host, draining;
    struct timer accept_again;         /* runs while accepting rests, because there were no descriptors */
    struct list conns;
    struct addresses addresses;
    int conns_count, exchanges_count;
    struct list later;                 /* connections whose pump is due */
    struct timer later_timer;
    char date[32];                     /* the Date header of second date_at */
    int64_t date_at;
    char scratch[LIMIT_HTTP_READ_BYTES];   /* every read goes here first: an idle connection holds no buffer */
};

struct http_block {
    unsigned refs, head;               /* `head` bytes of chunk size in front, CRLF behind the content */
    size_t count;                      /* of everything */
    char at[];
};

/* What waits for the socket, in this order. */
struct waiting {
    struct http_block *block;          /* one reference, or NULL */
    struct buf out, body;
    size_t block_at, out_at, body_at;
};

/* What only a request with a body needs. */
struct incoming {
    struct http_parse parse;
    struct buf held;                   /* body bytes that came while paused */
    struct buf all;                    /* http_read_all */
    void (*all_done)(struct http_request *request, struct bytes body);
};

struct exchange;

struct conn {
    struct list link, later;
    struct http_server *server;
    int fd;
    struct address *address;           /* where it is counted; NULL = nowhere */
    struct watch *watch;
    enum phase phase;
    bool busy;                         /* the pump is running */
    bool close_after;                  /* no further request on this connection */
    bool eof;                          /* the client has sent all it will */
    bool used;                         /* a request was answered: from now on the idle time holds */
    bool skipped_line;                 /* the one empty line allowed before a request was there */
    struct timer timer;
    int64_t since_us;                  /* idle since, head begun at, last byte taken by the socket, linger begun: by phase */
    int64_t window_us, window_count;   /* body rate: the window's begin, and body bytes then */
    int64_t discarded;                 /* bytes thrown away after an early answer */
    struct buf in;                     /* a head in the making, or bytes behind the present message */
    size_t scanned;                    /* of `in`, by http_head_scan */
    struct waiting *waiting;           /* bytes that the socket did not take; NULL most of the time */
    struct exchange *exchange;         /* in phase EXCHANGE */
};

struct exchange {
    struct http_request request;       /* first: what handlers see */
    struct conn *conn;
    struct http_head *head;            /* with its block behind it; freed when the answer begins */
    struct incoming *incoming;         /* owned; NULL where no body comes */
    int64_t body_max, body_count;
    const struct http_body *body;      /* the handler reads */
    bool paused, body_over, end_told, expects_continue, head_only, chunked, minor_0;
    struct buf extra;                  /* header lines of http_header */
    enum answer answer;
    bool refused;                      /* the server has answered by itself: what the handler still calls is nothing */
    enum http_why why;                 /* what on_close will be told when the answer is out */
    void (*on_drain)(struct http_request *request);
    bool drain_due;
    bool says_when;                    /* the handler has added a Retry-After of its own */
};

static inline struct exchange *exchange_of(const struct http_request *request)
{
    return (struct exchange *)request;
}

/* 0, or -errno: it cannot be watched, and both are still the caller's. */
int conn_new(struct http_server *server, int fd, struct address *address);
void conn_later(struct conn *conn);                        /* pump it soon; nothing when it is being pumped */
void conn_pump(struct conn *conn);                         /* the connection may be gone afterwards */
void conn_kill(struct conn *conn, enum http_why why);      /* close now; on_close and free come from the pump */
static inline bool conn_pending(const struct conn *conn)   /* bytes wait for the socket */
{
    return conn->waiting != NULL;
}
void conn_drop_waiting(struct conn *conn);
void conn_send(struct conn *conn, const struct iovec *parts, int count);    /* now as far as it goes, the rest waits */
void conn_flush(struct conn *conn);
void conn_feed_body(struct conn *conn, struct bytes *bytes);    /* what is behind the body's end is left in *bytes */
struct incoming *exchange_incoming(struct exchange *exchange);
void exchange_drop_head(struct exchange *exchange);        /* the views of the request end here */
/* The server's own refusal, nothing once there is an answer. The handler hears of it by on_close. */
void exchange_refuse(struct exchange *exchange, enum http_why why, int status, const char *sentence);
bool exchange_wants_body(const struct exchange *exchange); /* the handler would have more now */
bool exchange_discards(const struct exchange *exchange);   /* the rest of the body is thrown away */
void exchange_give_held(struct exchange *exchange);        /* what came while it was paused */
