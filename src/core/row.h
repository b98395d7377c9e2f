/* A stored event: the columns and the body, immutable once made and shared by counting. The log writes it, the tail ring and
 * every reader hold it. Threads: the count is atomic, the rest never changes. */
#pragma once
#include "core/event.h"

#include <stdatomic.h>

struct row {
    _Atomic uint32_t refs;
    uint64_t pos;
    int64_t job;
    uint64_t seq;
    int64_t epoch;
    int64_t at_us;
    enum event_kind kind;
    int64_t item;              /* -1: none */
    uint32_t attempt;          /* 0: none, or refused at intake */
    size_t body_bytes;
    char body[];               /* one line of valid UTF-8 JSON, NUL behind it */
};

struct row *row_new(struct bytes body);      /* refs 1, columns zero but item -1 */
struct row *row_ref(struct row *row);
void row_unref(struct row *row);             /* NULL does nothing */
static inline struct bytes row_body(const struct row *row)
{
    return (struct bytes){row->body, row->body_bytes};
}
