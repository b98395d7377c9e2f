/* The shelf: the pipelines that a program offers, by name. Files come first, then what is built in: `decklists` where there is a card
 * catalogue, and `noop`; a file's name hides a built-in one.
 *
 * Thread: start only; afterwards read-only. */
#pragma once
#include "core/pipeline.h"

enum { SHELF_MAX = 64 };               /* pipelines: workers load what all of them need */

struct shelf_entry {
    struct pipeline *pipeline;         /* owned */
    bool images;                       /* its items are images, or decklists as text where those are taken; else any file, any JSON value */
};

struct shelf {
    struct shelf_entry entries[SHELF_MAX];
    size_t count;                      /* the first is what the /process endpoints and `run` use */
};

/* Everything that is offered. `files`: paths of pipeline files with ':' between them, or NULL. 0, or -1 and a problem (a file that cannot
 * be read, two of one name); shelf_done() in both cases. */
int shelf_fill(struct shelf *shelf, const char *files, bool catalogue, struct problem *problem);
/* Only what one command needs: of the files the one of that name, else the first; without files the built-in one of that name. */
int shelf_fill_one(struct shelf *shelf, struct bytes name, const char *files, struct problem *problem);
void shelf_done(struct shelf *shelf);                                        /* harmless when zeroed */

const struct shelf_entry *shelf_find(const struct shelf *shelf, struct bytes name);      /* NULL = there is none of that name */
/* "decklists, noop" for sentences. */
struct buf;
void shelf_names(const struct shelf *shelf, struct buf *ret);
