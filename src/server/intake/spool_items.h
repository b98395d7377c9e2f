/* Inside a spool: bytes in, checked items out. What the pool does with a body; no request and no loop here.
 * Thread: one at a time, usually of the pool; blocks on the disk. */
#pragma once
#include "server/intake/spool.h"

void spool_store_init(struct spool_store *store);
void spool_store_done(struct spool_store *store);

/* The next piece of the body. 0; SPOOL_REFUSED: spool->status and spool->problem say why; < 0: -errno of the disk. */
enum { SPOOL_REFUSED = 1 };
int spool_take(struct spool *spool, struct bytes piece, bool last);

/* The next item of a page of records, cut off its front; false when it is not whole. The views point into the page. */
bool spool_item_next(struct bytes *page, struct item_spec *ret);
