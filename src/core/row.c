#include "core/row.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct row *row_new(struct bytes body)
{
    struct row *row = mem_new(sizeof *row + body.count + 1);
    row->refs = 1;
    row->item = -1;
    row->body_bytes = body.count;
    if (body.count)
        memcpy(row->body, body.at, body.count);
    return row;
}

struct row *row_ref(struct row *row)
{
    atomic_fetch_add_explicit(&row->refs, 1, memory_order_relaxed);
    return row;
}

void row_unref(struct row *row)
{
    if (row && atomic_fetch_sub_explicit(&row->refs, 1, memory_order_acq_rel) == 1)
        free(row);
}
