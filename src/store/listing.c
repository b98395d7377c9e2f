/* Pages of jobs, newest first. The job table gives the durable ones in steps; each is looked at as it is in memory, or as the cache of
 * its fold says. A filter that few jobs pass makes more steps, never longer ones. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"
#include "core/snapshot.h"

#include <assert.h>
#include <stdlib.h>

enum { STEP_JOBS = 64 };           /* looked at in one go: their folds are decoded on the loop, about 20 µs each */

struct listing {
    struct list link;              /* in store.listings */
    struct store *store;
    struct store_list_want want;   /* its texts are owned */
    struct live **lives;           /* one reference each; owned; want.limit + 1 at most */
    size_t count;
    store_list_fn *done;
    void *data;
};

static void listing_free(struct listing *listing)
{
    list_leave(&listing->link);
    free((char *)listing->want.owner.at);
    free((char *)listing->want.pipeline.at);
    free(listing->lives);
    free(listing);
}

static bool fits(const struct listing *listing, const struct job *job)
{
    const struct store_list_want *want = &listing->want;
    if (want->pipeline.count && !bytes_equal(want->pipeline, bytes_of(job->pipeline)))
        return false;
    return want->status < 0 || (int)job->status == want->status;
}

/* The job if it is wanted, held in memory or read back; else NULL. *ret_again as BACK_AGAIN. One that is not wanted stays out of memory. */
static struct live *wanted(const struct listing *listing, const struct log_found *found, bool *ret_again)
{
    struct live *live = store_get_number(listing->store, found->job);
    if (live)
        return !live->gone && fits(listing, live->job) ? live : NULL;
    struct job *job = found->fold ? snapshot_read((struct bytes){found->fold, found->fold_bytes}, NULL) : NULL;
    *ret_again = !found->fold || (job && !job->ended);
    if (job && job->ended && fits(listing, job))
        return live_of_cache(listing->store, job);
    job_free(job);
    return NULL;
}

static void finish(struct listing *listing, int error)
{
    size_t count = 0;
    bool more = listing->count > listing->want.limit;
    for (size_t i = 0; i < listing->count; i++) {    /* some may have been deleted since */
        if (!listing->lives[i]->gone && count < listing->want.limit && !error)
            listing->lives[count++] = listing->lives[i];
        else
            live_unref(listing->lives[i]);
    }
    listing->done(listing->data, listing->lives, count, more && !error, error);
    for (size_t i = 0; i < count; i++)
        live_unref(listing->lives[i]);
    listing_free(listing);
}

static void step(struct listing *listing);

static void page_came(void *data, struct log_find *find)
{
    struct listing *listing = data;
    bool again = false;
    for (size_t i = 0; i < find->found_count && !find->error && listing->count <= listing->want.limit; i++) {
        struct live *live = wanted(listing, &find->found[i], &again);
        if (again)
            break;
        listing->want.before = find->found[i].job;
        if (live)
            listing->lives[listing->count++] = live_ref(live);
    }
    bool over = find->error || (find->end && !again) || !find->found_count || listing->count > listing->want.limit;
    int error = find->error;
    log_find_free(find);
    if (over)
        finish(listing, error);
    else
        step(listing);
}

static void step(struct listing *listing)
{
    struct log_find *find = MEM_NEW(struct log_find);
    find->by = LOG_BY_PAGE;
    find->owner = listing->want.owner.count ? mem_copy(listing->want.owner.at, listing->want.owner.count) : NULL;
    find->before = listing->want.before;
    find->limit = STEP_JOBS;
    find->done = page_came;
    find->data = listing;
    listing->store->log->ops->find(listing->store->log, find);
}

void store_list(struct store *store, const struct store_list_want *want, store_list_fn *done, void *data)
{
    struct listing *listing = MEM_NEW(struct listing);
    assert(want->limit >= 1 && want->limit <= LIMIT_LIST_JOBS);
    *listing = (struct listing){.store = store, .want = *want, .done = done, .data = data};
    listing->want.owner.at = mem_copy(want->owner.at, want->owner.count);
    listing->want.pipeline.at = mem_copy(want->pipeline.at, want->pipeline.count);
    listing->lives = mem_new((want->limit + 1) * sizeof(struct live *));
    list_push(&store->listings, &listing->link);
    step(listing);
}

static void tell_nobody(void *data, struct live **lives, size_t count, bool more, int error)
{
}

void listing_drop(struct store *store, const void *data)
{
    LIST_EACH(link, &store->listings)
        if (LIST_OF(link, struct listing, link)->data == data)
            LIST_OF(link, struct listing, link)->done = tell_nobody;
}

void listing_forget(struct store *store)
{
    while (!list_empty(&store->listings))
        listing_free(LIST_OF(store->listings.next, struct listing, link));
}
