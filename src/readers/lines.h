/* Results as JSON Lines: one line for each item that has ended, in the order of the log. */
#pragma once
#include "readers/frame.h"

/* Append {"index","filename",<result_key>} or {"index","filename","error","error_type"} and a newline; false when this row ends no item.
 * Items that were skipped have no line: they have neither a result nor an error of their own.
 *   result   what the row's blob held, when frame_blob() says so; else empty: a blob that cannot be read gives an error line */
bool lines_render(const struct frame_header *header, const struct row *row, struct bytes result, struct buf *buf);
