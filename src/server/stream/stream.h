/* Streams: an open event stream of one job to one client. It is in one of three states, and holds no queue in any:
 *
 *     behind      a feed of its own pulls frames out of the log, up to 64 in a write, whenever the socket can take them
 *     at the tip  it stands with all others that have everything; what comes next is rendered once for them all (tip.h)
 *     slow        its socket is full: it is a number, the place where it goes on
 *
 *     stream_begin ──▶ place is looked up ──▶ 204 when all was seen, else the head ──▶ behind ⇄ at the tip ⇄ slow ──▶ end
 *                                                            sign of life after each silence ┘
 *
 * A client whose socket takes no byte for LIMIT_STREAM_STALL_US is closed, and may come back with Last-Event-ID.
 *
 * Thread: loop. */
#pragma once
#include "readers/feed.h"
#include "server/service_own.h"

enum stream_place { STREAM_START, STREAM_AFTER, STREAM_TIP, STREAM_RESUME, STREAM_GAP };

struct stream_want {
    enum face face;
    enum stream_place place;
    int64_t epoch;            /* RESUME */
    uint64_t seq;             /* RESUME, AFTER */
    bool cancel_on_leave;     /* the job ends when this client leaves */
};

/* Takes the request over: its user and on_close are the stream's. Headers may have been added before. */
void stream_begin(struct service *service, struct http_request *request, struct live *live, const struct stream_want *want);

/* What the job face and the streams of several jobs end with when the server goes down. */
#define STREAM_FAREWELL ": the server is going down, come back\nretry: 1000\n\n"
/* The same for one that has not begun. Not a 503: a browser's EventSource comes back after an answer of 200, and after any other status
 * never again (WHATWG HTML, "server-sent events", the processing model). */
void stream_turn_back(struct http_request *request);

/* A hint for all streams of a job that want it; they get it when they are at the tip. */
void stream_hint(struct service *service, int64_t job, int64_t item, int percent, struct bytes status);
extern const struct tip_client stream_tip_client;     /* for tips_init */

struct stream_numbers stream_numbers(const struct service *service);     /* service_own.h has the struct */
