/* Positions of consecutive seqs as bytes: each is a little-endian base-128 number, the first as it is, the others as the distance
 * from the one before. A job's events lie close together, so most take one or two bytes. */
#pragma once
#include "base/buf.h"

#define PLACE_BYTES_MAX 10                  /* of one position */

/* Appends a position; *last is the one before (0 at the beginning) and becomes this one. pos > *last. */
bool place_add(struct buf *buf, uint64_t *last, uint64_t pos);

/* Takes the next position off the front of *rest; *last as above. False at the end and on bytes that are no positions. */
bool place_next(struct bytes *rest, uint64_t *last);
