/* Inside the store: a job held in memory, and the store itself. Used by the files of store/ that make up the decider: local.c accepts,
 * outcomes.c takes the words of those at work, jobs.c serves a job's owner, claim.c hands items out, stop.c ends jobs early, tail.c
 * keeps rows for readers, flush.c writes the caches, reopen.c reads them. */
#pragma once
#include "base/heap.h"
#include "base/map.h"
#include "core/codec.h"
#include "store/pool.h"
#include "store/store.h"

/* One items.added event in memory (chunk.c). */
struct chunk {
    struct live *live;
    size_t index;                  /* in job->added */
    struct row *row;               /* NULL = being read */
    uint32_t *places;              /* where its items begin in the row */
    size_t count;
    int64_t left;                  /* items of it that have not ended */
    bool wanted;                   /* read on purpose and not used yet: it stays */
    struct list link;              /* in store.chunks */
};

/* One item read out of its chunk. */
struct fetched {
    struct item_spec spec;         /* views into the two others */
    struct codec_arena arena;
    struct row *row;
};

/* An item that waits: for the end of its back-off (in store.naps) or for its turn (in spot.due or spot.steps). */
struct nap {
    struct heap_node node;         /* key: monotonic time */
    struct list link;              /* in spot.due or spot.steps */
    struct list own;               /* in live.naps */
    struct live *live;
    int64_t item;
    uint32_t attempt;              /* as it was: a nap whose item has moved on is void */
    enum start_why why;
};

/* What an item brings to its leg: the value of the leg before, and what earlier attempts left of this one (carry.c). */
struct carry {
    int64_t item;
    bool known;                    /* pos, prev and remote are as its last word says; else that must be read */
    bool loading;
    uint64_t pos;                  /* of its item.stepped; 0 = it is at its first leg */
    uint64_t prev;                 /* of the leg's newest record.done or record.failed; 0 = none */
    struct row *row;               /* that item.stepped; NULL = not in memory */
    char *remote;                  /* as the last item.waiting of this leg told it, owned; NULL = nothing */
};

/* Where owners stand that have something to do in one room. */
struct line {
    struct owner *owner;
    struct list ready;             /* spots, in turn */
    struct list link;              /* in store.owners of that room while ready is not empty */
    uint64_t served;               /* the number of its last turn there */
};

/* A job in one room. It does not matter there what else the job would do in another, nor how full that one is. */
struct spot {
    struct live *live;
    struct list ready;             /* in the line of its owner there while something may be claimed */
    struct list steps;             /* naps of items that wait for their turn with the next leg: they hold a slot already */
    struct list due;               /* naps that are over, in order */
    struct pool_place places[POOL_PLACES_MAX];
};

struct live {
    struct store *store;
    uint32_t refs;                 /* holders outside the store */
    struct job *job;
    const struct pipeline *pipeline;      /* NULL for ended jobs that were read back */
    struct chunk **chunks;         /* one for each job->added, NULL = not in memory */
    size_t chunks_room, chunks_wanted;
    struct list chunk_line;        /* in store.chunk_line */
    struct map carries;            /* item + 1 → carry */
    struct list naps;              /* all of its naps, waiting or over */
    struct map holds;              /* item + 1 → held: what is at work in this opening */
    struct spot spots[ROOM_COUNT];
    unsigned rooms;                /* where its legs are done: a bit for each */
    int64_t again;                 /* naps in spot.due whose items are to get a slot before any new one does */
    struct pool *pool;             /* its pipeline's */
    struct owner *owner;
    struct heap_node deadline;     /* in store.deadlines, key: monotonic time; jobs that have one, until they end */
    /* what is counted of it elsewhere (usage.c), and how long its client is silent (silence.c) */
    struct store_usage counted;    /* in owner->open */
    int64_t cells;                 /* in store.cells */
    struct heap_node silence;      /* in store.silences, key: monotonic time; open jobs only */
    bool silent;                   /* that time is over, but something is still to be done */
    /* readers */
    struct list watchers;
    uint64_t durable_seq;
    struct list news;              /* in store.news while its watchers are to be told */
    struct row **tail;             /* ring of the newest rows, consecutive seqs */
    size_t tail_first, tail_count, tail_room;
    /* caches */
    uint64_t *fresh;               /* positions of the rows that no durable flush covers: seq fresh_from, … */
    uint64_t fresh_from;
    size_t fresh_count, fresh_room;
    uint64_t flushing;             /* seq up to which a flush is under way; 0 none */
    uint8_t *pages_dirty;          /* one byte a cell page */
    int64_t pages_room;
    bool dirty;
    struct list dirty_link;        /* in store.dirty */
    int reads;                     /* log reads under way */
    const struct store_job *made_of;      /* while its job.created is accepted; else NULL */
    struct key_hold *key;          /* its idempotency key while job.created is not durable; else NULL */
    bool gone;                     /* deleted or pruned: nobody finds it any more */
    struct list leaving;           /* in store.leaving when nobody seems to need it any more */
};

struct owner {
    char *name;
    struct line lines[ROOM_COUNT];
    struct store_usage open;       /* of its jobs that have not ended */
};

struct pending {                   /* an accepted event that is not durable yet */
    struct live *live;
    uint64_t pos, seq;
    size_t bytes;
};
enum { PENDING_KEPT = 4096 };      /* places for them that stay when a burst is over */

struct store {
    struct store_world world;
    struct store_client client;
    struct list listeners;         /* store_on_durable */
    struct log *log;
    struct log_opening opening;
    struct problem broken;         /* what opening found */
    uint64_t pos, durable;
    int64_t last_at_us;
    bool disk_full;
    struct map jobs, ids, pipelines, owner_names;     /* number → live; id → live; hash (8 bytes) → pipeline; name → owner */
    struct list owners[ROOM_COUNT];       /* lines with something ready, in turn: by line.served */
    uint64_t turns;
    struct heap naps;
    struct list chunks;            /* in memory, the longest unused first */
    size_t chunk_bytes;            /* of these */
    size_t chunks_wanted;          /* of these */
    struct list chunk_line;        /* jobs that wait until another chunk may be wanted */
    struct resources resources;
    struct map pipeline_pools, resource_pools;     /* name → pool */
    struct heap silences;          /* open jobs, by when their client has been silent for too long */
    struct heap deadlines;         /* open jobs that have one */
    int64_t cells;                 /* items of all jobs that have not ended: 16 bytes each */
    struct list waits;             /* store_wait, by pos */
    struct list news;
    bool telling;                  /* tail_news() is under way */
    struct list leaving;           /* lives to be freed at the next tick, so that borrowed pointers stay good until then */
    struct pending *pending;       /* ring */
    size_t pending_first, pending_count, pending_room;
    size_t queued_bytes;           /* of accepted rows that are not durable */
    struct log_entry *unit, **unit_end;   /* accepted, and held back for the event that they are joined to */
    struct tail_mark {             /* ring over all jobs, oldest row first: who is evicted next */
        int64_t job;
        uint64_t seq;
    } *tail;
    size_t tail_first, tail_count, tail_room;
    size_t tail_bytes;             /* of the rows in all live.tail */
    struct list dirty;
    uint64_t flushed_pos;          /* last flush handed to the log */
    int64_t flushed_at_us;
    bool flush_running;
    bool closing;                  /* the last flush was handed over; nothing more is asked of the log */
    struct list reads, searches;   /* store_read and store_find under way */
    struct map keys, asks;         /* owner NUL key → key_hold; → key_ask */
    struct cache *cache;           /* of results */
    struct reader_row *reader_rows;       /* what the opening told of outward readers; owned */
    size_t reader_rows_count;
    struct list key_asks, listings, item_asks, record_asks, at_asks, removals;     /* under way */
    struct store_numbers numbers;
};

/* live.c, local.c, jobs.c */
struct live *live_new(struct store *store, struct job *job, const struct pipeline *pipeline);
void live_register(struct live *live);
void live_free(struct live *live);
void live_consider(struct live *live);            /* note an ended one that nobody needs any more … */
void live_reap(struct store *store);              /* … and free those that still nobody needs */
int64_t log_wall(const struct store *store);      /* wall time as the log tells it: where the clock was set back it stands still */
void accept_event(struct store *store, struct live *live, struct event *event, const struct sha *blobs, size_t blobs_count);
/* The same, but it goes to the log with the event that is accepted next, which must come in the same breath: no power cut parts them. */
void accept_joined(struct store *store, struct live *live, struct event *event, const struct sha *blobs, size_t blobs_count);
void accept_end(struct store *store, struct live *live, struct bytes error);        /* no item of it may be unfinished */
void accept_end_if_over(struct store *store, struct live *live, struct bytes error);
void accept_skip(struct store *store, struct live *live, struct bytes reason);      /* all items that have not ended */

/* stop.c: jobs that end before all is done */
/* What its fold says now: over, hits enough, too dear, or failing since a stop was cut off by the end of the program. Ends it then. */
void stop_if_due(struct store *store, struct live *live);
void stop_set_deadline(struct live *live);        /* once: when it begins, or behind the opening */
void stop_drop_deadline(struct live *live);
int64_t stop_tick(struct store *store, int64_t now);           /* stops those that are due; answers when to call again */

/* claim.c */
void claim_refresh(struct live *live);            /* put it among the ready ones of each room, or take it out, as its state says */
bool claim_stands(const struct live *live);       /* among those of any room */
void claim_nap(struct live *live, int64_t item, int64_t delay_us, enum start_why why);
void claim_step(struct live *live, int64_t item);      /* it waits for the resources of its next leg */
/* A held item's claim; all that is needed is in memory. `fetched` may be NULL for a leg after the first. */
void claim_fill(struct live *live, const struct held *held, uint32_t attempt, const struct fetched *fetched, struct claim *ret);
struct held *held_get(struct live *live, int64_t item);
void held_drop(struct live *live, int64_t item);       /* with what it has; harmless when there is none */
void live_drop_work(struct live *live);           /* an ended job: naps, carries and chunks go */

/* records.c */
void records_drop(struct store *store, const void *data);      /* for store_drop_asks(), as the others */
void records_forget(struct store *store);

/* at.c */
void at_drop(struct store *store, const void *data);           /* for store_drop_asks(), as the others */
void at_forget(struct store *store);

/* carry.c */
struct carry *carry_get(struct live *live, int64_t item);      /* NULL = it brings nothing, or nothing is known yet */
void carry_note(struct live *live, const struct event *event, struct row *row);      /* after every event of an item, new or read back */
void carry_rename(struct carry *carry, struct bytes remote);   /* the remote side has another name now; no event tells it */
bool carry_ready(struct live *live, int64_t item);             /* false: it is being read, and claim_refresh() follows */
void carry_drop(struct live *live, int64_t item);
void carry_drop_all(struct live *live);

/* usage.c */
struct owner *owner_of(struct store *store, struct bytes name);     /* made when there is none */
void usage_note(struct live *live);               /* after every event, and once behind the opening */

/* silence.c */
void silence_note(struct live *live, enum event_kind kind);    /* after every event */
void silence_settle(struct live *live);           /* behind the opening: what is left of the time */
void silence_over(struct live *live);             /* nobody listens any more */
int64_t silence_tick(struct store *store, int64_t now);        /* end those that are due; answers when to call again */

/* chunk.c */
void chunk_keep(struct live *live, struct row *row);           /* a new items.added, if there is room */
void chunk_ended(struct live *live, int64_t item);             /* one item has ended */
void chunk_drop(struct live *live);                            /* all of a job */
void chunk_rest(struct live *live);                            /* it starts nothing now: what was read for it may go */
void chunk_pass(struct store *store);                          /* if more may be read, it is the turn of the next in line */
bool chunk_fetch(struct live *live, int64_t item, struct fetched *ret);    /* false: it is or will be read, and claim_refresh() follows */
void fetched_done(struct fetched *fetched);                    /* harmless when zeroed */

/* tail.c */
struct row *tail_find(const struct live *live, uint64_t pos);  /* borrowed; NULL = not in memory */
void tail_add(struct store *store, struct live *live, struct row *row);      /* takes a reference of its own */
void tail_drop(struct live *live);
void tail_durable(struct store *store, uint64_t pos);
void tail_news(struct store *store);              /* tell the watchers of the lives in store.news */

/* flush.c */
/* An event was accepted at `pos` (0 = it was marked already) and changed items from … to (none when to < from). */
void flush_mark(struct live *live, uint64_t pos, int64_t from, int64_t to);
void flush_if_due(struct store *store);

/* reopen.c */
void reopen_prepare(struct store *store);         /* fill store->opening with the callbacks */

/* keys.c */
void key_hold(struct live *live, const struct store_job *job);        /* before its job.created is accepted */
void key_enter(const struct live *live, struct log_entry *entry);     /* into the entry of job.created */
void key_drop(struct live *live);                                     /* it is durable, or forgotten; harmless without one */
void key_forget(struct store *store);
void key_ask_drop(struct store *store, const void *data);             /* for store_drop_asks(), as the others */

/* cache.c */
struct cache *cache_new(void);
void cache_drop(struct store *store, const void *data);
void cache_free(struct cache *cache);

/* reader_rows.c */
void reader_told(void *data, const char *name, int64_t job, uint64_t seq);       /* by the opening */
void reader_enter(struct log_entry *entry, const struct store_job *job);         /* into the entry of job.created */
void reader_forget(struct store *store);

/* listing.c, items.c, removal.c */
void listing_forget(struct store *store);
void listing_drop(struct store *store, const void *data);
void items_forget(struct store *store);
void items_drop(struct store *store, const void *data);
void removal_go_on(struct store *store);          /* after a flush */
void removal_forget(struct store *store);

/* read.c */
/* The job that the log found, from memory or from the cache of its fold. BACK_AGAIN: the cache is from before the job's end, or there
 * was none yet, and the job has left memory since: ask the log again. */
enum { BACK_DONE, BACK_AGAIN };
int live_read_back(struct store *store, const struct log_found *found, struct live **ret);    /* *ret NULL: it was deleted */
struct live *live_of_cache(struct store *store, struct job *job);     /* takes over the job, which has ended */
void store_read_forget(struct store *store);      /* the store goes: nobody is answered any more */
/* Rows that the decider cannot go on without: `done` is called with at least one, or the process ends (status 70). A job that has ended
 * meanwhile goes on without them: then `done` may not be called. */
void read_positions(struct live *live, const uint64_t *positions, size_t count, store_rows_fn *done, void *data);
