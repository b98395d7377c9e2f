/* What the threads of a log have to say to the loop, gathered: however much there is, one message is under way, and the loop
 * takes everything at once. Order within a delivery: durable, flushes, reads, finds, cached, pruned, full.
 *
 * Threads: the outbox_add_* from any; the callbacks are called on the loop. */
#pragma once
#include "store/sqlite.h"

struct outbox;

struct outbox *outbox_new(struct log_door door, struct log *log);     /* tells log->client */
/* Loop: calls what is still due, then nothing ever again. Frees; a message under way finds nobody home. */
void outbox_close(struct outbox *box);

void outbox_add_commit(struct outbox *box, uint64_t pos, struct log_flush *flushes);    /* pos 0: no rows; takes over the list */
void outbox_add_read(struct outbox *box, struct log_read *read);
void outbox_add_find(struct outbox *box, struct log_find *find);
void outbox_add_cached(struct outbox *box, struct log_cached *cached);
void outbox_add_pruned(struct outbox *box, int64_t job);
void outbox_add_full(struct outbox *box, bool full);
