#include "base/mem.h"

#include "base/sanitized.h"
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef SANITIZED

static size_t resident(void)
{
    unsigned long all = 0, here = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file && fscanf(file, "%lu %lu", &all, &here) == 2);
    fclose(file);
    return here * (size_t)sysconf(_SC_PAGESIZE);
}

/* The last block stays, so that the heap does not become shorter by itself. */
TEST(what_a_burst_took_goes_back_to_the_system)
{
    enum { BLOCKS = 20000, BLOCK_BYTES = 1000, ALL_BYTES = BLOCKS * BLOCK_BYTES };
    static void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        memset(blocks[i] = mem_new(BLOCK_BYTES), 1, BLOCK_BYTES);
    for (int i = 0; i + 1 < BLOCKS; i++)
        free(blocks[i]);
    size_t before = resident(), taken = mem_taken();
    CHECK(taken > BLOCK_BYTES && taken + ALL_BYTES / 2 < before);
    mem_give_back();
    size_t after = resident();
    test_note("%zu bytes before, %zu after", before, after);
    CHECK(after + ALL_BYTES / 2 < before);
    free(blocks[BLOCKS - 1]);
}

#endif
