/* Firestore over REST: documents encoded as it wants them, commits and reads, and what their failures mean.
 *
 * FIRESTORE_EMULATOR_HOST=HOST:PORT in the environment sends everything there, without credentials.
 *
 * Thread: loop. */
#pragma once
#include "base/buf.h"
#include "base/json.h"
#include "readers/google_auth.h"

/* ---- documents ---- */

enum { FIRESTORE_COMMIT_WRITES = 500, FIRESTORE_COMMIT_BYTES = 8 * 1024 * 1024, FIRESTORE_DEPTH = 20 };

/* One document on its way: fields that are written; those that are not named stay as they are. */
struct firestore_doc {
    struct buf fields;        /* members of the map `fields` */
    struct buf mask;          /* members of the array `fieldPaths` */
    struct buf transforms;    /* members of the array `updateTransforms` */
    int64_t size;             /* as Firestore counts it, without the name */
};
void firestore_doc_init(struct firestore_doc *doc, size_t max);
void firestore_doc_done(struct firestore_doc *doc);
bool firestore_doc_ok(const struct firestore_doc *doc);        /* false: its text went beyond `max` */
/* Names of fields here are plain words of letters, digits and underscores. */
void firestore_put_bytes(struct firestore_doc *doc, const char *name, struct bytes text);
void firestore_put_int(struct firestore_doc *doc, const char *name, int64_t value);
void firestore_put_real(struct firestore_doc *doc, const char *name, double value);
void firestore_put_flag(struct firestore_doc *doc, const char *name, bool value);
void firestore_put_time(struct firestore_doc *doc, const char *name, int64_t wall_us);
void firestore_put_null(struct firestore_doc *doc, const char *name);
/* Any JSON (NULL = null). An array right inside an array becomes {"values": […]}; what is nested deeper than Firestore takes becomes its text;
 * a member without a name, or with one that Firestore keeps for itself, gets another. */
void firestore_put_json(struct firestore_doc *doc, const char *name, struct json_object *value);
/* Takes back what was put since the mark, also when it was too long. */
struct firestore_mark { size_t fields, mask; int64_t size; };
struct firestore_mark firestore_mark(const struct firestore_doc *doc);
void firestore_rewind(struct firestore_doc *doc, struct firestore_mark mark);
/* Elements `from` … `to` - 1 of an array. */
void firestore_put_slice(struct firestore_doc *doc, const char *name, struct json_object *array, size_t from, size_t to);
/* Numbers that are put into an array unless they are in it. */
void firestore_put_missing(struct firestore_doc *doc, const char *name, const int64_t *values, size_t count);
int64_t firestore_size(struct json_object *value);                     /* as Firestore counts it, of a value by itself */

/* Which state the document must be in, else nothing of the commit is done. */
enum firestore_when { FIRESTORE_ALWAYS, FIRESTORE_MISSING, FIRESTORE_AT };
/* Appends the write to an array of writes. update_time: with FIRESTORE_AT. */
void firestore_put_write(struct buf *writes, const struct firestore_doc *doc, struct bytes name, enum firestore_when when,
                         struct bytes update_time);

/* Whether "a/b/c/d" can be the path of a document. */
bool firestore_path_ok(struct bytes path);

/* ---- calls ---- */

struct firestore;
struct firestore_options {
    const char *project;          /* NULL = that of the credentials, or GOOGLE_CLOUD_PROJECT */
    const char *database;         /* NULL = "(default)" */
    const char *credentials;      /* path, see google_auth.h */
};
int firestore_open(struct loop *loop, struct fetch *fetch, const struct firestore_options *options, struct firestore **ret,
                   struct problem *problem);
void firestore_close(struct firestore *firestore);
/* "projects/P/databases/D/documents/PATH" */
void firestore_name(const struct firestore *firestore, struct bytes path, struct buf *ret);

enum firestore_end {
    FIRESTORE_DONE,
    FIRESTORE_CONFLICT,           /* the precondition does not hold: read the document and decide */
    FIRESTORE_NONE,               /* there is no such document */
    FIRESTORE_RETRY,              /* try again later; a commit may have been done all the same */
    FIRESTORE_REFUSED,            /* trying again cannot help */
};
struct firestore_answer {
    enum firestore_end end;
    struct json_object *body;     /* DONE; borrowed during the call */
    int64_t retry_after_us;       /* 0 = not said */
    struct problem problem;
};
typedef void firestore_fn(void *data, const struct firestore_answer *answer);
struct firestore_call;
/* writes: the members of the array, as firestore_put_write made them. Never answers inside these. */
struct firestore_call *firestore_commit(struct firestore *firestore, struct bytes writes, firestore_fn *done, void *data);
/* The fields named in `fields` (plain names, a comma between) of a document. */
struct firestore_call *firestore_get(struct firestore *firestore, struct bytes path, const char *fields, firestore_fn *done, void *data);
void firestore_drop(struct firestore_call *call);     /* not after `done`; NULL does nothing */

/* A document's number or text as get answered it. */
int64_t firestore_int(struct json_object *document, const char *name, int64_t fallback);
