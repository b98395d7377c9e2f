/* The fold as bytes: the caches that make opening quick. They are never the truth: they say what the fold was at a position,
 * and the events beyond it are applied on top. Lost or old caches cost time, nothing else.
 *
 * The fold of a job is a line of JSON without its items. Its items stand in cells: pages of 512 items × 16 bytes, as `struct
 * item` is in memory (little-endian). */
#pragma once
#include "core/job.h"
#include "base/buf.h"
#include "base/problem.h"

enum { SNAPSHOT_PAGE_ITEMS = 512 };

void snapshot_write(const struct job *job, struct buf *buf);

/* The job again, its items all zero until snapshot_read_cell() has filled them. NULL and a problem when damaged. */
struct job *snapshot_read(struct bytes fold, struct problem *problem);

int64_t snapshot_pages(const struct job *job);
struct bytes snapshot_cell(const struct job *job, int64_t page);      /* borrowed until the job changes */
int snapshot_read_cell(struct job *job, int64_t page, struct bytes body, struct problem *problem);

/* After all cells and all events beyond them: what ran in an earlier opening is marked old (due at once), and what follows
 * from the items is computed again (next, holding). */
void snapshot_settle(struct job *job);
