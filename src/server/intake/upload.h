/* Uploads: the files of a multipart form, written to blobs as they come. Memory is bounded whatever is sent: bytes gather in one buffer
 * while the pool writes the one before; when both are full the client is made to wait.
 *
 *     http ──chunk──▶ multipart ──▶ filling ──(full)──▶ flying: pool writes, hashes, syncs ──▶ files[n].sha, pinned
 *
 * A file that is too large, or no image, is counted and thrown away, and says so in its `error`: the others go on. What is wrong with
 * the whole form (no file, too many files, a broken form) is refused here.
 *
 * Thread: loop; the writing is done in the loop's pool. */
#pragma once
#include "server/intake/turn.h"

struct upload_rules {
    const char *field;        /* name of the form's field: "file", "files" */
    const char *other;        /* another name that is as good, or NULL */
    bool one;                 /* exactly one file, and what is wrong with it refuses the request (400) */
    bool any;                 /* files of any type, empty ones too; else images, and decklists as text where those are taken */
    bool many;                /* as many as LIMIT_MULTIPART_PARTS; else MAX_BATCH_SIZE */
    bool none;                /* a form without a file is fine */
    bool params;              /* a field "params" is taken too */
};

struct upload_file {
    char *name, *type;        /* owned; name is never empty */
    int64_t bytes;            /* as sent */
    struct sha sha;           /* when stored */
    bool stored;              /* it is a blob, pinned for the upload */
    char *error;              /* not NULL: refused, a sentence; not stored then */
    /* while it comes */
    char start[16];           /* the first bytes, by which images are known */
    size_t start_count;
    bool sniff, too_large;
};

struct upload {
    struct upload_file **files;    /* owned */
    int count;
    struct buf params;             /* what came in the field "params", ≤ LIMIT_PARAMS_BYTES */
    void *data;                    /* whoever began it knows */
    bool used;                     /* a job names its files: set by who submitted them. Else they are thrown away with the upload */
    /* the rest is upload.c's own */
    struct party party;
    struct turn turn;
    struct service *service;       /* may be gone before the pool is done with a closed upload … */
    struct blobs *blobs;           /* … these may not */
    struct http_request *request;
    const struct upload_rules *rules;
    void (*done)(struct upload *upload, struct http_request *request);
    void (*dropped)(void *data);
    struct multipart *multipart;
    bool in_params;                /* the part that comes now is "params" */
    struct upload_file *current;   /* the part that comes now; NULL = it is thrown away */
    bool writing;                  /* its bytes go to a blob */
    int received;                  /* files in the form, the surplus ones too */
    struct upload_batch *filling, *flying;
    struct blob_writer *writer;    /* the pool's */
    bool in_pool, paused, over, refused, closed;
    int error;                     /* of the disk: -errno */
};

/* Read the form. `done` is called once, from the loop, when every file is on the disk: the upload is the callee's then, and the request's
 * on_close too. It is not called when the request was refused, or cut off: then nothing is left, and `dropped` (may be NULL) gets `data`. */
void upload_begin(struct service *service, struct http_request *request, const struct upload_rules *rules, void *data,
                  void (*done)(struct upload *upload, struct http_request *request), void (*dropped)(void *data));
/* What can be said of any body before a byte of it was read: true = refused. */
bool upload_refused(struct service *service, struct http_request *request);
/* A file as the item that it becomes; its views are the upload's. */
struct item_spec upload_item(const struct upload_file *file);
int64_t upload_bytes(const struct upload *upload);      /* of all files */
/* Lets the pins go. */
void upload_free(struct upload *upload);
