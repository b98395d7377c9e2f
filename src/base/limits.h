/* Every limit of the program in one place, with its unit and its reason. Nothing here is a wish: each is enforced where it is named,
 * and what goes beyond it gets a clear sentence or a slower path, never more memory.
 * One entry, one line of reason. Sorted by the room that enforces it. */
#pragma once

/* The store. */
#define LIMIT_READ_ROWS 256                        /* rows in one answer of the log; longer read transactions would stop the WAL from being reset */
#define LIMIT_READ_BYTES (256 * 1024)              /* bytes of event bodies in one such answer, for the same reason; at least one row is given */
#define LIMIT_COMMIT_EVENTS 1024                   /* events in one commit: bounds the time until the first of them is durable */
#define LIMIT_COMMIT_BYTES (4 * 1024 * 1024)       /* bytes of event bodies in one commit, for the same reason; at least one event goes */
#define LIMIT_QUEUED_EVENTS 8192                   /* events waiting for the disk; beyond it intake stops reading and nothing is claimed */
#define LIMIT_QUEUED_BYTES (16 * 1024 * 1024)      /* bytes of events waiting for the disk, for the same reason */
#define LIMIT_TAIL_BYTES (8 * 1024 * 1024)         /* bytes of the newest rows kept in memory for readers at the tip; older ones are read from disk */
#define LIMIT_FLUSH_EVENTS 16384                   /* events between two flushes of the caches: bounds what the next start has to apply */
#define LIMIT_FREE_DISK_BYTES (256LL * 1024 * 1024)/* free bytes on the data disk below which no new job is taken, so that running ones can end */

/* Events. */
#define LIMIT_BODY_BYTES (64 * 1024)               /* bytes of an event's body, an inline value or an inline result; a longer value is a blob */
#define LIMIT_ADDED_ITEMS 256                      /* items in one items.added event; the rest goes to the next event */
#define LIMIT_ADDED_BYTES (64 * 1024)              /* bytes of one items.added event, as any body */
#define LIMIT_SEED_RESULT_BYTES (1024 * 1024)      /* bytes of a result that the plain face sends inline; a longer one fails its item */
#define LIMIT_NAME_BYTES 255                       /* bytes of a file name in UTF-8; a longer one is cut and marked */
#define LIMIT_INTERRUPTS 5                         /* restarts an item may be interrupted by; one more fails it, so that it cannot kill for ever */
#define LIMIT_STATS 16                             /* named numbers in one outcome's stats: bounds the fold of a job */

/* Workers. */
#define LIMIT_FRAME_BYTES (128 * 1024)             /* bytes of one message to or from a worker; a socket pair takes 208 KiB by default */
