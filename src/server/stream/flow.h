/* A flow: an answer that goes on. Whoever has something to tell owns a flow and is asked for it when the socket can take it; the flow
 * minds the rest: one write in flight, a sign of life after silence, a last word when the server goes down, the end.
 *
 *     flow_begin ──▶ fill … ──FEED_WAIT──▶ (flow_pump when there is news) ──▶ fill … ──FEED_END──▶ end ──▶ done
 *
 * A struct of the owner's begins with it, zeroed. Thread: loop. */
#pragma once
#include "readers/feed.h"
#include "server/service_own.h"

struct flow;

struct flow_kind {
    const char *content_type;
    /* Append whole pieces to `buf`, which has room for FEED_BYTES_MAX: no further one once LIMIT_STREAM_WRITE_BYTES are passed.
     * FEED_MORE, FEED_WAIT (flow_pump will be called) or FEED_END. */
    int (*fill)(struct flow *flow, struct buf *buf);
    void (*pause)(struct flow *flow);      /* the socket is full: let go of what can be had again; may be NULL */
    const char *first;                     /* goes out before all else, or NULL */
    const char *sign;                      /* of life, after a silence */
    const char *farewell;                  /* when the server goes down before the end */
    void (*done)(struct flow *flow);       /* the request has closed: free all, the flow's own memory too */
};

struct flow {
    struct party party;
    struct service *service;
    struct http_request *request;
    const struct flow_kind *kind;
    struct timer silence;                  /* since the last write */
    struct timer again;                    /* more to write in the next turn: others have theirs first */
    struct buf rest;                       /* of a write that was longer than one may be */
    bool ending, ended;                    /* ends behind `rest`; ended */
};

/* Takes the request over (user and on_close) and sends the head. Headers may have been added before. */
void flow_begin(struct flow *flow, struct service *service, struct http_request *request, const struct flow_kind *kind);
/* There may be more to write. Harmless at any time between begin and done, but not from inside `fill`. */
void flow_pump(struct flow *flow);
