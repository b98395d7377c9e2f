/* Memory for libraries too: an allocation of up to LIMIT_FIRM_BYTES that the system cannot give ends the process as base/mem.c does (decision 3).
 *
 * Most of the libraries look at what malloc answers, but not everywhere: json-c, say, leaves a field away that it had no memory for, and goes on. A document
 * with a hole in it is worse than a restart, and nobody can check every call of theirs. Larger blocks, which decoders and buffers ask for, may be refused and
 * are looked at by those who ask; mem_firm() says that for a while they may not.
 *
 * This stands before the C library's own, or whatever is preloaded, by its name alone, so it is part of the program and of nothing else. Sanitizers have their
 * own way with memory. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/sanitized.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef SANITIZED

/* Looking a name up asks for no memory when all goes well; where it does ask, it is told that there is none, and manages. */
#define NEXT(name) \
    static __typeof__(name) *next; \
    static __thread int looking __attribute__((tls_model("initial-exec"))); \
    if (!__atomic_load_n(&next, __ATOMIC_ACQUIRE)) { \
        if (looking) \
            return NULL; \
        looking = 1; \
        __atomic_store_n(&next, (__typeof__(name) *)dlsym(RTLD_NEXT, #name), __ATOMIC_RELEASE); \
        looking = 0; \
    }

static void *firm(void *pointer, size_t size)
{
    if (!pointer && (size <= LIMIT_FIRM_BYTES || mem_is_firm()))
        mem_none();
    return pointer;
}

void *malloc(size_t size)
{
    NEXT(malloc)
    return firm(next(size), size);
}

void *calloc(size_t count, size_t size)
{
    NEXT(calloc)
    size_t all;
    bool wild = __builtin_mul_overflow(count, size, &all);
    return firm(next(count, size), wild ? SIZE_MAX : all);
}

void *realloc(void *old, size_t size)
{
    NEXT(realloc)
    void *pointer = next(old, size);
    return size ? firm(pointer, size) : pointer;      /* nothing wanted: it may be freed */
}

#endif
