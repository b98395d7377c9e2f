/* Spools: items that come as JSON, read as they come: checked, hashed and put into a file without a name, so that memory stays flat
 * whatever is sent. A body that is wrong anywhere is refused as a whole; nothing was made of it yet.
 *
 *     http ──chunk──▶ filling ──(full)──▶ flying: the pool cuts, checks and hashes ──▶ records ──spool_read──▶ item_spec …
 *
 * Two forms:
 *   JSON Lines    a line an item; empty lines are skipped
 *   a document    {"items": […], "params": {…}, "pipeline": "name", "webhook": {…}}, at most LIMIT_JSON_BODY_BYTES
 * An item is any JSON value but null, of at most MAX_FILE_SIZE_MB and LIMIT_VALUE_DEPTH levels. An object with a member "value" and no
 * others but "name", "key" and "type" (texts) stands for that value, named so. Values over LIMIT_VALUE_BYTES become blobs.
 *
 * Thread: loop; the work is done in the loop's pool. */
#pragma once
#include "server/intake/turn.h"

struct spool_rules {
    bool lines;               /* JSON Lines; else a document */
    bool single;              /* a document that is no object with "items" is one item itself */
    bool none;                /* an empty body is fine: no items */
};

/* A place for bytes: in memory while they are few, then in a file without a name. */
struct spool_store {
    struct buf near;
    int fd;                        /* -1 = all are near */
    int64_t count;
};

struct spool {
    int64_t count;                 /* items */
    int64_t bytes;                 /* of their values */
    struct sha sha;                /* of the body */
    char *params;                  /* owned JSON text; NULL = not said */
    char *pipeline;                /* owned; NULL = not said */
    char *webhook;                 /* owned JSON object; NULL = not said */
    bool used;                     /* a job names its blobs: set by who submitted them. Else they are thrown away with the spool */
    void *data;                    /* whoever began it knows */
    /* the rest is spool.c's own */
    struct party party;
    struct turn turn;
    struct service *service;       /* may be gone before the pool is done with a closed spool */
    struct blobs *blobs;
    struct loop *loop;
    struct http_request *request;
    const struct spool_rules *rules;
    char *scratch;                 /* folder for files without a name */
    int64_t value_bytes_max;
    void (*done)(struct spool *spool, struct http_request *request);
    void (*dropped)(void *data);
    struct buf filling, flying;
    bool in_pool, paused, over, last, refused, closed;
    /* the pool's */
    struct sha_stream *hash;
    struct spool_store rest;       /* of a line, or of the document, whose end has not come */
    struct spool_store records;    /* the items, checked */
    int64_t lines_count;
    struct sha *pins;              /* blobs, pinned for the spool */
    size_t pins_count;
    int status;                    /* of a refusal, with `problem` */
    struct problem problem;
    /* reading */
    struct buf page;               /* records from read_at on */
    size_t page_at;
    int64_t read_at;
    char (*names)[32];             /* of items without one */
    struct item_spec *specs;
    size_t want;
    int64_t first;
    void (*got)(void *data, const struct item_spec *items, size_t count, int error);
    void *got_data;
};

/* As upload_begin: `done` once, when the whole body was found good: the spool is the callee's then, and the request's on_close too. Not
 * called when the request was refused, or cut off: then nothing is left, and `dropped` gets `data`. */
void spool_begin(struct service *service, struct http_request *request, const struct spool_rules *rules, void *data,
                 void (*done)(struct spool *spool, struct http_request *request), void (*dropped)(void *data));
/* Lets the pins go. Not while a read is under way, unless the loop ends. */
void spool_free(struct spool *spool);

/* The next items, at most SPOOL_READ, in order: `got` once, at once or later, from the loop. count 0: there are no more; error < 0: the file
 * could not be read. `first` is the index of the first of them in the job; those without a name are called after it. The views are
 * good until the next call. */
enum { SPOOL_READ = 2048 };
void spool_read(struct spool *spool, int64_t first, void (*got)(void *data, const struct item_spec *items, size_t count, int error),
                void *data);
