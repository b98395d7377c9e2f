/* Inside the service: what its rooms share. service.c holds it together and alone knows them all:
 *
 *     intake/   ways in: uploads, bodies of JSON, orders; the /process endpoints
 *     views/    ways to look and to control: documents, items, results, events as lines, several jobs
 *     stream/   open streams and what they stand on: tips, flows, places to begin
 *     access/   keys, sessions, tickets, quotas
 *     ops/      what operators ask: health, metrics, the journal
 *
 * Here at the top: ask.h (queries), lookup.h (jobs by their id), journal.h and note.h (what is said of a request), trace.h, page.h, the
 * shapes of the API. tools/layers.py has the graph. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "readers/feed.h"
#include "http/http.h"
#include "http/router.h"
#include "server/service.h"

/* Something that a request is busy with for a while. When the service drains, every one is told to come to its end. */
struct party {
    struct list link;                     /* in service.parties */
    void (*drain)(struct party *party);
};

/* What the streams did since the service opened, and how they stand now. */
struct stream_numbers {
    int64_t open;             /* now; of one job, of several, as lines, and long polls that wait */
    int64_t behind;           /* of the event streams of one job: not at its tip */
    uint64_t lag_events;      /* now: durable events that the furthest of these has not begun to write yet */
    uint64_t opened;          /* ever */
    uint64_t frames;          /* delivered: handed to the kernel, or begun to be */
    uint64_t slow_closed;     /* ever: the socket took no byte for LIMIT_STREAM_STALL_US */
};

struct tips;

/* turn.c: how many bodies are read at a time, and who is next. */
struct turns {
    struct list taken;                    /* being read */
    struct list ready, others;            /* waiting: their body lies there; it does not yet */
    int taken_count, waiting_count;
    struct timer press;                   /* runs while somebody waits */
};

struct service {
    struct loop *loop;
    struct store *store;
    struct engine *engine;
    struct blobs *blobs;
    struct service_settings settings;     /* with its defaults filled in */
    struct cursor_world world;
    struct router *router;
    struct http_server *http;
    struct list parties;
    struct list intakes;                  /* submitted, not durable yet; api_seed.c */
    struct turns turns;                   /* bodies that are read, and that wait for it */
    struct list orders;                   /* submitted on the job face, not told yet; order.c */
    struct tips *tips;                    /* of all open streams; stream/tip.h */
    struct stream_numbers told;           /* as far as they are counted; ask stream_numbers() */
    int sorts;                            /* answers under way that hold a number for each item; api_results.c */
    struct access *access;                /* access.h */
    struct metrics *metrics;              /* metrics.h */
    struct journal *journal;              /* journal.h */
    struct store_listener listener;       /* ops.c: for both of them */
    struct buf scratch;                   /* where every stream renders its next write */
    bool draining;
    int64_t drain_until_us;
    struct timer drain_timer;
    void (*drained)(void *data);
    void *drained_data;
};

static inline void party_join(struct service *service, struct party *party, void (*drain)(struct party *party))
{
    party->drain = drain;
    list_push(&service->parties, &party->link);
}

/* Whose jobs a caller makes and sees. Lives as long as the service. */
struct bytes service_owner(const struct service *service, const struct http_request *request);
bool service_may_see(const struct service *service, const struct http_request *request, const struct job *job);

/* The disk is full (507), or the log slow (503): no work is taken in. The problem's sentence, if it has one. */
void service_refuse_busy(const struct service *service, struct http_request *request, const struct problem *problem);

/* feed_fill() for an open stream or a long poll: its frames are counted. */
int service_feed_fill(struct service *service, struct feed *feed, struct buf *buf);

struct service_facts service_facts_now(const struct service *service);

/* A request whose client has gone: of a job that was to end with it. */
void service_left(struct service *service, struct live *live, enum http_why why, bool cancel_on_leave);

/* The headers by which a client finds its job again. */
void service_job_headers(struct http_request *request, const struct job *job);

void api_seed_add(struct service *service);
void api_seed_close(struct service *service);
void api_jobs_add(struct service *service);
void api_events_add(struct service *service);
void api_multi_add(struct service *service);
void api_results_add(struct service *service);
void api_items_add(struct service *service);
void api_top_add(struct service *service);
void api_list_add(struct service *service);
void api_intake_add(struct service *service);
void order_close(struct service *service);
void page_add(struct service *service);
void hooks_add(struct service *service);
void api_seed_index(struct service *service, struct buf *buf);
