/* What is open at this moment, of every owner and in all: counted by the difference that each event makes, never by a walk. */
#include "store/live.h"

#include "base/mem.h"

struct owner *owner_of(struct store *store, struct bytes name)
{
    struct owner *owner = map_get_text(&store->owner_names, name);
    if (owner)
        return owner;
    owner = MEM_NEW(struct owner);
    owner->name = mem_copy(name.at, name.count);
    for (int room = 0; room < ROOM_COUNT; room++) {
        owner->lines[room].owner = owner;
        list_init(&owner->lines[room].ready);
        list_init(&owner->lines[room].link);
    }
    map_set_text(&store->owner_names, (struct bytes){owner->name, name.count}, owner);
    return owner;
}

void usage_note(struct live *live)
{
    const struct job *job = live->job;
    struct store_usage now = {0}, before = live->counted;
    int64_t cells = job->ended ? 0 : job->total;
    if (!job->ended)
        now = (struct store_usage){1, job->counts.pending + job->counts.processing, job->bytes};
    if (!live->owner)
        live->owner = owner_of(live->store, bytes_of(job->owner));
    struct store_usage *open = &live->owner->open;
    open->jobs += now.jobs - before.jobs;
#ifdef BUG_USAGE_DRIFTS
    if (job->cancelling)
        now.items = before.items;
#endif
    open->items += now.items - before.items;
    open->bytes += now.bytes - before.bytes;
    live->counted = now;
    live->store->cells += cells - live->cells;
    live->cells = cells;
}

struct store_usage store_usage(struct store *store, struct bytes owner)
{
    const struct owner *known = map_get_text(&store->owner_names, owner);
    return known ? known->open : (struct store_usage){0};
}

int64_t store_items_held(const struct store *store)
{
    return store->cells;
}
