/* Keeping a result that is too long for an event: out of a worker's output file into a blob, in the pool. While the disk is full it waits for space, as
 * the log does: what has been worked, or paid, for is not done again. Thread: loop. */
#pragma once
#include "engine/wire.h"
#include "os/loop.h"
#include "store/blob.h"

struct keep;

/* `kept` is called once, on the loop, with the outcome as it is to be told: its value names the blob, which is pinned, or it has become a
 * RETRY (the disk) or a FAIL (no JSON) with its sentence. Views are borrowed during the call.
 *   told        taken over
 *   output_fd   taken over, closed */
typedef void keep_fn(void *data, const struct outcome *outcome);
struct keep *keep_start(struct loop *loop, struct blobs *blobs, int output_fd, struct wire_outcome *told, keep_fn *kept, void *data);
void keep_hurry(struct keep *keep);                   /* before `kept`: nobody needs it so much that it should wait for space; `kept` comes soon */
