/* The log without a disk and without threads: for tests and the simulator, which say themselves what is durable and when. It keeps
 * the same promises as the one on disk: rows become durable in order, flushes behind the rows before them, readers see durable
 * rows only, and what was not durable at a crash is gone.
 *
 * What outlives a crash is the memory_disk; a log is one opening of it.
 *
 * Thread: one. Callbacks are called from inside memory_sync and memory_pump (and close), or, in the automatic mode, from inside
 * the log's own calls. */
#pragma once
#include "store/log.h"

struct memory_disk;
struct memory_disk *memory_disk_new(void);
void memory_disk_free(struct memory_disk *disk);      /* no log of it may be open; NULL does nothing */

/* Begins a new epoch, max(last + 1, wall_s), and tells `opening` what is there, as sqlite_open does. One log a disk at a time.
 *   wall_s   seconds since 1970, of whatever clock the caller lives by */
struct log *memory_open(struct memory_disk *disk, int64_t wall_s, struct log_opening *opening);

/* Automatic mode (off at first): everything that is handed over is durable, and every question answered, before the call
 * returns; what had been waiting goes first. A call made from a callback is served behind the one under way. */
void memory_auto(struct log *log, bool on);

size_t memory_waiting(const struct log *log);         /* entries that are not durable */
/* Makes the oldest `count` entries durable (all, if fewer wait; more, so that none is parted from what it is joined to), and the flushes behind them; then calls durable() and the flushes'
 * done(). Nothing while the disk is full. Answers how many became durable. */
size_t memory_sync(struct log *log, size_t count);
/* Answers the reads and finds that wait, and takes the prunes that wait. Answers how many there were. */
size_t memory_pump(struct log *log);
/* The disk takes nothing from now on, or takes rows again; client.full hears it. */
void memory_full(struct log *log, bool full);
/* The power goes: entries and flushes that were not durable are lost, no callback is called any more, and the log is freed (its
 * close() must not be called). The disk can be opened again. */
void memory_crash(struct log *log);

/* For checks: the durable row at a position, borrowed; NULL when there is none. */
const struct row *memory_row(const struct memory_disk *disk, uint64_t pos);
uint64_t memory_last_pos(const struct memory_disk *disk);
/* The job that a durable key names, expired or not; 0 none. */
int64_t memory_key_job(const struct memory_disk *disk, const char *owner, struct bytes key);
