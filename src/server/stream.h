/* Streams: an open event stream of one job to one client. A feed pulls frames out of the log when the socket can take them; the stream
 * itself holds nothing but the rest of one large result.
 *
 *     stream_begin ──▶ place is looked up ──▶ 204 when all was seen, else the head ──▶ frames … ──▶ end
 *                                                 sign of life after each silence ┘
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

/* A hint for all streams of a job that want it; they get it when they are at the tip. */
void stream_hint(struct service *service, int64_t job, int64_t item, int percent, struct bytes status);
