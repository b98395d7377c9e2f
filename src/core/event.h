/* Events: the facts of a job's log. The log is the only truth; everything else in the program is computed from it.
 *
 * An event has two forms. `struct event` is the decoded one: the decider fills it, job_apply() folds it. A *row* is the stored
 * one: the columns and one line of JSON (the body), made by codec_encode() and read back by codec_decode(). Frames on the
 * wire are rendered from a row and its job's header alone, so they replay byte for byte.
 *
 * EVENT_KINDS is the law's table; its order is the number on disk, so new kinds are only added at its end. */
#pragma once
#include "base/bytes.h"
#include "base/hash.h"

/*      kind             name on disk and in papers   scope  */
#define EVENT_KINDS(X) \
    X(JOB_CREATED,       "job.created",               JOB)  \
    X(ITEMS_ADDED,       "items.added",               JOB)  \
    X(JOB_SEALED,        "job.sealed",                JOB)  \
    X(ITEM_STARTED,      "item.started",              ITEM) \
    X(ITEM_STEPPED,      "item.stepped",              ITEM) \
    X(ITEM_WAITING,      "item.waiting",              ITEM) \
    X(ITEM_RETRY,        "item.retry",                ITEM) \
    X(ITEM_DONE,         "item.done",                 ITEM) \
    X(ITEM_FAILED,       "item.failed",               ITEM) \
    X(ITEMS_SKIPPED,     "items.skipped",             JOB)  \
    X(JOB_CANCELLING,    "job.cancelling",            JOB)  \
    X(JOB_ENDED,         "job.ended",                 JOB)  \
    X(RECORD_DONE,       "record.done",               ITEM) \
    X(RECORD_FAILED,     "record.failed",             ITEM)

enum event_kind {
    EVENT_NONE,
#define X(kind, name, scope) EVENT_##kind,
    EVENT_KINDS(X)
#undef X
    EVENT_KINDS_COUNT    /* one more than the last number */
};

const char *event_name(enum event_kind kind);           /* "job.created"; "?" for what is no kind */
bool event_is_item(enum event_kind kind);               /* of ITEM scope: item and attempt columns are set */

enum start_why { WHY_FIRST, WHY_RETRY, WHY_DUE, WHY_RESTART, WHY_COUNT };
const char *start_why_name(enum start_why why);

enum job_status { JOB_PENDING, JOB_RUNNING, JOB_COMPLETED, JOB_ERROR, JOB_CANCELLED, JOB_STATUS_COUNT };
const char *job_status_name(enum job_status status);    /* "pending" … */

/* A job's id may stand in paths and headers: letters, digits, - and _. Another one comes from a damaged disk. */
enum { EVENT_ID_BYTES = 64 };
bool event_is_id(struct bytes id);

enum { EVENT_COUNT_BITS = 40 };        /* no job has 2^40 items: a count beyond comes from a damaged disk */

/* How many items are in each state; the five add up to the total at every event. */
struct counts {
    int64_t pending, processing, completed, failed, skipped;
};

/* One item as it was handed in. Exactly one of blob, path and value says where its input is; a rejected item may have none. */
struct item_spec {
    struct bytes name;          /* as the client named it, UTF-8, ≤ 255 B */
    struct bytes type;          /* media type, may be empty */
    int64_t bytes;              /* size of the input */
    bool has_blob;
    struct sha blob;            /* when has_blob */
    struct bytes path;          /* absolute path of a local file (`run` only) */
    struct bytes value;         /* JSON text */
    struct bytes key;           /* the client's own id, may be empty */
    struct bytes reject_error;  /* not empty: refused at intake; becomes item.failed when its turn comes */
    struct bytes reject_type;   /* "validation" … */
};

struct item_range {
    int64_t from, to;           /* both inclusive */
};

/* The decoded form. All views are borrowed: from the caller when it is being accepted, from the row's body (and a parser's
 * arena) when it is being read. `value`, `stats`, `usage`, `params`, `remote` and `summary` are JSON texts, empty = absent. */
struct event {
    uint64_t pos;               /* 1, 2, 3 … over all jobs, given by the decider */
    int64_t job;                /* the job's number in this store: the position of its job.created */
    uint64_t seq;               /* 1, 2, 3 … in the job */
    int64_t epoch;              /* the opening of the store it was written in */
    int64_t at_us;              /* wall time */
    enum event_kind kind;
    int64_t item;               /* index from 0; -1 for events of JOB scope */
    uint32_t attempt;           /* item events: which start they belong to; 0 = refused at intake */
    struct bytes name;          /* item events: the item's name */
    struct counts counts;       /* item events and job.ended: as of this event; set by the decider after applying */
    union {
        struct {
            struct bytes id, owner, pipeline, params, result_key, retry_of, trace;
            struct sha hash;    /* of the pipeline's text */
            uint32_t in_flight; /* items that may run at once */
            bool ordered;       /* strictly one after another, retries included */
            bool open;          /* items start as they are added, before the seal */
            int64_t deadline_us;        /* after its creation all that has not ended is skipped; 0 = none */
            int64_t top_keep;           /* the best so many by score stand in the fold; 0 = none */
            int64_t stop_count;         /* so many hits are enough: the rest is skipped; 0 = never */
            double max_cost;            /* of usage.cost: beyond it the job fails; 0 = any */
            struct bytes webhook;       /* JSON {"url":…}, or empty */
        } created;
        struct {
            int64_t first;      /* index of items[0] */
            const struct item_spec *items;
            size_t count;       /* ≤ LIMIT_ADDED_ITEMS */
        } added;
        struct { int64_t total; } sealed;
        struct { uint32_t leg; enum start_why why; } started;
        struct { uint32_t leg; struct bytes value, stats, usage; } stepped;
        /* input and prev, here and below: where an item that goes on finds what it has. input: position of the item.stepped whose value the leg
         * starts from (leg > 0, else 0). prev: position of the leg's newest record.done or record.failed; 0 = it has none */
        struct { uint32_t leg; struct bytes remote, usage; uint64_t input; } waiting;
        struct {
            uint32_t leg, tries;
            struct bytes error, error_type;
            int64_t due_at_us;
            uint64_t input, prev;
            struct bytes remote, usage;         /* remote: as the last item.waiting of this leg told it, or empty */
        } retry;
        struct { struct bytes result, stats, usage; bool has_score, hit; double score; } done;
        struct { struct bytes error, error_type, stage, usage; bool fail_job; } failed;    /* fail_job: the whole job ends with it */
        struct { const struct item_range *ranges; size_t count; struct bytes reason; } skipped;
        struct { struct bytes by, reason; } cancelling;
        struct { enum job_status status; struct bytes summary, error; double seconds; } ended;
        struct { uint32_t leg; int64_t record; uint64_t input, prev; struct bytes value, usage; bool has_score, hit; double score; } record_done;
        struct { uint32_t leg; int64_t record; uint64_t input, prev; struct bytes error, error_type, stage, usage; bool dropped; } record_failed;
    };
};
