/* What items bring to their legs: the value that the leg before has made, the remote side's name, the newest of the leg's records. It follows
 * from an item's words (item.stepped, item.waiting, item.retry, record.*), each of which tells all of it: so the last one is enough behind
 * a restart. It is read when its item is due, and kept in memory until the item has ended. */
#include "store/live.h"

#include "base/mem.h"

#include <stdlib.h>

struct carry *carry_get(struct live *live, int64_t item)
{
    return map_get(&live->carries, (uint64_t)item + 1);
}

static struct carry *carry_of(struct live *live, int64_t item)
{
    struct carry *carry = carry_get(live, item);
    if (carry)
        return carry;
    carry = MEM_NEW(struct carry);
    carry->item = item;
    map_set(&live->carries, (uint64_t)item + 1, carry);
    return carry;
}

static void carry_free(struct carry *carry)
{
    row_unref(carry->row);
    free(carry->remote);
    free(carry);
}

void carry_drop(struct live *live, int64_t item)
{
    struct carry *carry = map_take(&live->carries, (uint64_t)item + 1);
    if (carry)
        carry_free(carry);
}

void carry_drop_all(struct live *live)
{
    size_t at = 0;
    for (struct carry *carry; (carry = map_next(&live->carries, &at));)
        carry_free(carry);
    map_done(&live->carries);
}

static void set(struct live *live, const struct event *event, uint64_t pos, uint64_t prev, struct bytes remote, struct row *row)
{
    struct carry *carry = carry_of(live, event->item);
    char *own = remote.count ? mem_copy(remote.at, remote.count) : NULL;    /* it may be a view of the old one */
    if (row)
        row_ref(row);
    else if (carry->row && carry->pos == pos)
        row = row_ref(carry->row);
    row_unref(carry->row);
    free(carry->remote);
    carry->row = row;
    carry->pos = pos;
    carry->prev = prev;
    carry->remote = own;
    carry->known = true;
}

void carry_note(struct live *live, const struct event *event, struct row *row)
{
    const struct bytes none = {0};
    switch (event->kind) {
    case EVENT_ITEM_STEPPED: set(live, event, event->pos, 0, none, row); break;
    case EVENT_ITEM_WAITING: set(live, event, event->waiting.input, 0, event->waiting.remote, NULL); break;
    case EVENT_ITEM_RETRY: set(live, event, event->retry.input, event->retry.prev, event->retry.remote, NULL); break;
    case EVENT_RECORD_DONE: set(live, event, event->record_done.input, event->pos, none, NULL); break;
    case EVENT_RECORD_FAILED: set(live, event, event->record_failed.input, event->pos, none, NULL); break;
    case EVENT_ITEM_DONE:
    case EVENT_ITEM_FAILED: carry_drop(live, event->item); break;
    default: break;
    }
}

void carry_rename(struct carry *carry, struct bytes remote)
{
    char *own = mem_copy(remote.at, remote.count);
    free(carry->remote);
    carry->remote = own;
}

/* The row is the item's last word, or the item.stepped that it names. */
static void came(void *data, struct row **rows, size_t count, int error)
{
    struct live *live = data;
    struct event event;
    struct codec_arena arena CODEC_OWNED = {0};
    struct carry *carry = live->job->ended ? NULL : carry_get(live, rows[0]->item);
    if (!carry)
        return;
    carry->loading = false;
    if (carry->known && carry->pos == rows[0]->pos && rows[0]->kind == EVENT_ITEM_STEPPED && !carry->row)
        carry->row = row_ref(rows[0]);
    else if (!carry->known && !codec_decode(rows[0], &event, &arena, NULL))
        carry_note(live, &event, rows[0]);
    claim_refresh(live);
}

bool carry_ready(struct live *live, int64_t item)
{
    struct carry *carry = carry_get(live, item);
    if (!carry && live->job->items[item].pos == job_added_of(live->job, item)->pos)
        return true;    /* it has said nothing yet */
    if (!carry)
        carry = carry_of(live, item);
    if (carry->known && (!carry->pos || carry->row))
        return true;
    if (!carry->loading) {
        uint64_t at = carry->known ? carry->pos : live->job->items[item].pos;
        carry->loading = true;
        read_positions(live, &at, 1, came, live);
    }
    return false;
}
