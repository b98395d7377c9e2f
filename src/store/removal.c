/* Deleting a job before its time. It is hidden in memory at once, and on disk by one update behind the flush that covers it: pruning
 * counts on that, because it finds a job's rows by the place cache and may leave no hole behind flushed_pos. */
#include "store/live.h"

#include "base/mem.h"

#include <stdlib.h>

struct removal {
    struct list link;              /* in store.removals */
    struct live *live;             /* one reference: while it is held, a look at the disk cannot bring it back */
    void (*done)(void *data);
    void *data;
    bool handed;                   /* the log has it */
};

static void removed(void *data, struct log_flush *flush)
{
    struct removal *removal = data;
    struct live *live = removal->live;
    list_leave(&removal->link);
    tail_drop(live);               /* readers that are behind find out on the disk that there is nothing more */
    if (removal->done)
        removal->done(removal->data);
    free(removal);
    live_unref(live);
    log_flush_free(flush);
}

static void hand_over(struct store *store, struct removal *removal)
{
    struct log_flush *flush = MEM_NEW(struct log_flush);
    flush->pos = store->pos;
    flush->removed_job = removal->live->job->job;
    flush->done = removed;
    flush->data = removal;
    removal->handed = true;
    store->log->ops->flush(store->log, flush);
}

/* Called again after each flush: one that runs now may be from before the job's end. */
void removal_go_on(struct store *store)
{
    bool again = !store->closing;
    while (again) {                /* from the beginning each time: a log that answers at once changes the list */
        again = false;
        LIST_EACH(link, &store->removals) {
            struct removal *removal = LIST_OF(link, struct removal, link);
            if (removal->handed)
                continue;
            again = !removal->live->dirty || !(store->flush_running || store->disk_full);
            if (!removal->live->dirty)
                hand_over(store, removal);
            else if (again)
                store_flush(store);
            break;
        }
    }
}

int store_delete(struct store *store, struct live *live, void (*done)(void *data), void *data)
{
    if (!live->job->ended)
        return 1;
    live->gone = true;
    struct removal *removal = MEM_NEW(struct removal);
    *removal = (struct removal){.live = live_ref(live), .done = done, .data = data};
    list_push(&store->removals, &removal->link);
    removal_go_on(store);
    return 0;
}

void removal_forget(struct store *store)
{
    for (struct list *link; (link = list_pop(&store->removals));)
        free(LIST_OF(link, struct removal, link));
}
