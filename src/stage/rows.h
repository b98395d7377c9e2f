/* A file as records: JSON, JSON Lines or CSV becomes a JSON array. Pure. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

enum rows_format { ROWS_ANY /* by its first characters */, ROWS_JSON, ROWS_JSONL, ROWS_CSV };

/* Append the records of `file` as one JSON array in one line.
 *   JSON    an array; or an object, that is one record, or holds them as "data", "results", "profiles" or "items"; with `whole` the text as it is
 *   JSONL   a line that is no JSON becomes {"error":sentence,"line":n}: it is never silently lost
 *   CSV     objects of texts, by the names in the first row
 * 0; ROWS_CUT and a problem: the file ends in the midst of a record; -1 and a problem: it cannot be read, or is longer than `ret` has room. */
enum { ROWS_CUT = 1 };
int rows_read(struct bytes file, enum rows_format format, bool whole, struct buf *ret, struct problem *problem);
