/* Memory for the program's own structures. Small, fixed sizes never fail: when the system has no memory left the
 * process says so and ends with status 71, because the log makes a restart lossless and a half-made structure does
 * not. Sizes that a user chooses do not come here: they are capped first (see limits.h) and live in `struct buf`. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

void *mem_new(size_t size);                      /* zeroed; free() it; never NULL */
void *mem_grow(void *old, size_t size);          /* realloc that never fails */
char *mem_text(const char *text);                /* copy of a C string; NULL stays NULL */
char *mem_copy(const void *at, size_t count);    /* copy with a NUL behind it */
_Noreturn void mem_none(void);                   /* says that there is no memory, and ends the process */

/* In the program itself (cli/firm.c) libraries are held to the same: what they ask for, up to LIMIT_FIRM_BYTES, they get. Between mem_firm(true) and mem_firm(false)
 * so are larger blocks, of this thread: for libraries that do not say when they had no memory. Calls may be nested. */
void mem_firm(bool on);
bool mem_is_firm(void);

/* Pages that nothing stands on go back to the system: what a burst took stays with the process otherwise, for as long as one block lies above it. From any
 * thread; others may wait some milliseconds for memory meanwhile. */
void mem_give_back(void);
size_t mem_taken(void);                          /* bytes that are allocated now, by anybody in the process */

void mem_free(void *pointer_to_pointer);         /* frees *p, for the cleanup attribute */

#define MEM_NEW(type) ((type *)mem_new(sizeof(type)))
#define MEM_OWNED __attribute__((cleanup(mem_free)))   /* local pointer freed at the end of its block */
