/* The files that a command line names, as items of a job. Each is looked at, none is read: a file that cannot be had fails as one item and
 * harms no other. */
#pragma once
#include "base/hash.h"
#include "config/settings.h"
#include "core/event.h"
#include "store/blob.h"

struct files {
    struct item_spec *specs;      /* owned, with the texts they view */
    size_t count;
    char **texts;
    size_t texts_count;
};

/* `print` (hashes) takes what tells these files, as they are now, from all others: paths, sizes, times, refusals. A file whose path is no
 * UTF-8, and so cannot stand in the log, is stored as a blob. */
void files_list(struct files *files, char *const *paths, size_t count, const struct settings *settings, struct blobs *blobs,
                struct sha_stream *print);
void files_done(struct files *files);
