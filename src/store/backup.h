/* A copy of a data directory, made while a server works in it or while none does: a data directory again, which can be started as it is.
 *
 * The log is copied from one snapshot of the database, by a connection of its own that writers do not wait for. Files are written before the
 * events that name them and removed after them, so they are copied twice: those of the moment before the snapshot is taken, then what the snapshot
 * names beside them. A file of the snapshot that is gone by then was forgotten with its job meanwhile: then the log is copied again.
 *
 * It all comes to be under another name beside `to` (TO.part-…) and is durable before it is given its own: `to` is there whole or not at all.
 *
 * Thread: any; blocks. For tools: nothing of the program runs beside it in this process. */
#pragma once
#include "base/problem.h"

#include <stdint.h>

struct backup {
    uint64_t pos;          /* of the last event in it */
    int64_t jobs;
    int64_t blobs, bytes;  /* files, and the bytes of log and files together */
    int64_t lost;          /* files that the log names and the directory does not have: it was damaged before */
};

/* `to` must not be there, or be an empty directory. 0, or -1 and a problem; then nothing is left of it. */
int backup_make(const char *dir, const char *to, struct backup *ret, struct problem *problem);
