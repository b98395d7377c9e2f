/* Whence: where in a job's log a reader wants to begin, as clients write it:
 *
 *     ""  from 1      "end"  at the tip      "17"  behind event 17, unchecked      "1763716800-17"  behind that very event, or a gap
 *
 * Pure but for the cursor that it places. */
#pragma once
#include "server/stream/stream.h"

/* False when it is none of these. */
bool whence_parse(struct bytes text, struct stream_want *ret);
/* The Last-Event-ID of a client that comes back: what is no id is a gap. */
void whence_last(struct bytes id, struct stream_want *ret);
/* Last-Event-ID (header, else in the query), else `after`; false when it has refused the request. */
bool whence_ask(struct http_request *request, struct stream_want *ret);
/* Place a cursor that was just opened. */
void whence_place(const struct stream_want *want, struct cursor *cursor);

#define WHENCE_WORDS "the number of an event, the id of an event, or \"end\""
