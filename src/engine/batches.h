/* Batches: what was handed in, made the items of a job as the pipeline's "input" and "batch" say. Each input is taken apart ("items"), told from others
 * ("key": duplicates are left out) and put with others of its group ("by"), `size` at a time: such an item's value is the array of them and its key the
 * group. The programs are asked of a worker; an input that they fail on becomes an item that is refused, and harms no other.
 *
 * Where the first stage keeps rows in the cache, batches of inputs that are all there come first, so that what is known is told before anything
 * remote is called; for that the others are held back until the flush, at most LIMIT_BATCHES_BYTES of them.
 *
 *     feed (inputs) ──asks──▶ told apart ──▶ groups ──(full)──▶ got (items)        feed … feed, flush … until it gives none
 *
 * Thread: loop; reading and storing of what is large is done in the pool. */
#pragma once
#include "engine/ask.h"
#include "os/loop.h"
#include "store/blob.h"
#include "store/store.h"

struct batches;

struct batches_world {
    struct loop *loop;
    struct store *store;
    struct blobs *blobs;
    struct asker *asker;
};

/* Whether inputs are anything else than items. */
bool batches_wanted(const struct pipeline *pipeline);

/* params: JSON object, or empty; first: index of the job's next item, for names. */
struct batches *batches_new(const struct batches_world *world, const struct pipeline *pipeline, struct bytes params, int64_t first);
/* Also in the midst of a feed: then nobody is told. What the items name must be durable, or have been given up. NULL does nothing. */
void batches_free(struct batches *batches);

/* `got` once, later, from the loop: the items that are whole now, possibly none; views are good until the next call. A problem: no worker could be asked,
 * or the disk took nothing; the batches can only be freed then. One call at a time. Inputs are borrowed until `got`. */
typedef void batches_fn(void *data, const struct item_spec *items, size_t count, const struct problem *problem);
void batches_feed(struct batches *batches, const struct item_spec *inputs, size_t count, batches_fn *got, void *data);
/* No more inputs: what is left, a few thousand items at a time; none = that was all. */
void batches_flush(struct batches *batches, batches_fn *got, void *data);
