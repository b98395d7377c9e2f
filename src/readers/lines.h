/* What one item came to: a line of JSON Lines, and the item document. Pure; any thread. */
#pragma once
#include "readers/frame.h"
#include "store/store.h"

/* Append {"index","filename",<result_key>} or {"index","filename","error","error_type"} and a newline; false when this row ends no item.
 * Items that were skipped have no line: they have neither a result nor an error of their own.
 *   result   what the row's blob held, when frame_blob() says so; else empty: a blob that cannot be read gives an error line */
bool lines_render(const struct frame_header *header, const struct row *row, struct bytes result, struct buf *buf);

/* How an item stands, in the words of the counts. */
enum lines_group { LINES_PENDING, LINES_PROCESSING, LINES_COMPLETED, LINES_FAILED, LINES_SKIPPED, LINES_GROUPS };
extern const char *const lines_groups[LINES_GROUPS];
enum lines_group lines_group_of(const struct item *item);

/* Append the item document: {"item","name","key"?,"type"?,"bytes","state","attempt"} and what its last word adds: "result" (or "result_url",
 * "result_bytes", "result_type") and "score"?, or "error", "error_type", "stage"?; "ended_at" when it has ended. */
void lines_item(const struct frame_header *header, const struct store_item *item, struct buf *buf);
