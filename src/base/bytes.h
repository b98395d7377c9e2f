/* A borrowed view of bytes: not owned, not NUL-terminated. Whoever hands one out says how long it stays valid. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const char *at;
    size_t count;
};

#define BYTES(literal) ((struct bytes){(literal), sizeof(literal) - 1})
#define BYTES_ARG(view) (int)(view).count, (view).at     /* for "%.*s" */

static inline struct bytes bytes_of(const char *text)
{
    return (struct bytes){text, text ? strlen(text) : 0};
}

bool bytes_equal(struct bytes a, struct bytes b);
bool bytes_equal_nocase(struct bytes a, struct bytes b);         /* ASCII letters only */
bool bytes_start(struct bytes view, struct bytes prefix);
bool bytes_have(struct bytes view, const char *text);            /* somewhere in it; `text` is not empty */
struct bytes bytes_trim(struct bytes view);                      /* without spaces and tabs at both ends */
/* Cut at the first `mark`: answers what stands before it and leaves the rest in *view; without a mark, all of it. */
struct bytes bytes_cut(struct bytes *view, char mark);
bool bytes_to_u64(struct bytes view, uint64_t *ret);             /* decimal digits only; false on anything else or overflow */
bool bytes_to_i64(struct bytes view, int64_t *ret);              /* the same with an optional leading minus */
