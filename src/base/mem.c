#include "base/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static _Thread_local int firm_depth;

void mem_none(void)
{
    static const char said[] = "rivulet: out of memory\n";
    ssize_t told = write(STDERR_FILENO, said, sizeof said - 1);
    (void)told;
    _Exit(EX_OSERR);
}

void mem_firm(bool on)
{
    firm_depth += on ? 1 : -1;
}

bool mem_is_firm(void)
{
    return firm_depth > 0;
}

static void *check(void *pointer)
{
    if (!pointer)
        mem_none();
    return pointer;
}

void *mem_new(size_t size)
{
    return check(calloc(1, size ? size : 1));
}

void *mem_grow(void *old, size_t size)
{
    return check(realloc(old, size ? size : 1));
}

char *mem_copy(const void *at, size_t count)
{
    char *copy = check(malloc(count + 1));
    if (count)
        memcpy(copy, at, count);
    copy[count] = 0;
    return copy;
}

char *mem_text(const char *text)
{
    return text ? mem_copy(text, strlen(text)) : NULL;
}

void mem_free(void *pointer_to_pointer)
{
    void **pointer = pointer_to_pointer;
    free(*pointer);
    *pointer = NULL;
}

void mem_give_back(void)
{
    malloc_trim(0);
}

size_t mem_taken(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}
