/* A call path is the chain of callers behind an operation, with the kind of file and the phase of the story. All lives are children of one
 * process, so that addresses in one are those in all. */
#include "power.h"

#include <execinfo.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64, INNER = 2 };      /* inner: way_here() and who calls it in the seam, from here or there */
static _Thread_local size_t outer;         /* frames that are no part of it */

void ways_begin(void)
{
    void *frames[DEPTH_MAX];
    outer = (size_t)backtrace(frames, DEPTH_MAX) - 1;
}

void ways_add(struct ways *ways, uint64_t way)
{
    for (size_t i = 0; i < WAYS_MAX; i++) {
        uint64_t *place = &ways->at[(way + i) % WAYS_MAX];
        if (*place && *place != way)
            continue;
        *place = way;
        return;
    }
    fprintf(stderr, "power: too many call paths\n");
    _Exit(99);
}

bool ways_have(const struct ways *ways, uint64_t way)
{
    for (size_t i = 0; i < WAYS_MAX && ways->at[(way + i) % WAYS_MAX]; i++)
        if (ways->at[(way + i) % WAYS_MAX] == way)
            return true;
    return false;
}

/* Files of the log by their names; all blobs, wherever they lie, are of one kind, and all folders. */
static struct bytes kind_of_file(uint32_t code, const char *name)
{
    bool of_log = !strncmp(name, "log.db", 6) || !strcmp(name, "lock");
    return of_log ? bytes_of(name) : code > FILES_MAX ? BYTES("folder") : BYTES("blob");
}

uint64_t way_here(uint32_t code, const char *name)
{
    void *frames[DEPTH_MAX];
    size_t count = (size_t)backtrace(frames, DEPTH_MAX) - outer - INNER;
    uint64_t way = hash_bytes((struct bytes){(const char *)(frames + INNER), count * sizeof *frames});
    way = hash_mix(way ^ hash_bytes(kind_of_file(code, name))) + (uint64_t)journal->phase;
    return way ? way : 1;
}

void ways_add_all(struct ways *ways, const struct ways *more)
{
    for (size_t i = 0; i < WAYS_MAX; i++)
        if (more->at[i])
            ways_add(ways, more->at[i]);
}

size_t ways_count(const struct ways *ways)
{
    size_t count = 0;
    for (size_t i = 0; i < WAYS_MAX; i++)
        count += ways->at[i] != 0;
    return count;
}
