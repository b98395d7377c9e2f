/* Reading what is no longer in memory: rows through the log's read thread, jobs by their id. */
#include "store/live.h"

#include "base/limits.h"
#include "base/mem.h"
#include "core/snapshot.h"

#include <stdio.h>
#include <stdlib.h>

struct store_read {
    struct list link;              /* in store.reads */
    struct live *live;             /* counted in live.reads */
    store_rows_fn *done;           /* NULL = dropped */
    void *data;
    bool must;                     /* the decider cannot go on without an answer */
    bool *gone;                    /* set when it is answered before store_read() returns */
};

static void answered(void *data, struct log_read *answer)
{
    struct store_read *read = data;
    struct live *live = read->live;
    list_leave(&read->link);
    bool needless = live->store->closing || live->job->ended;    /* an ended job may have been deleted since */
    if (read->must && !answer->rows_count && !needless) {
        fprintf(stderr, "rivulet: the log does not give back an event of job %s that it has taken\n", live->job->id);
        _Exit(70);
    }
    if (read->done && (answer->rows_count || !read->must))
        read->done(read->data, answer->rows, answer->rows_count, answer->error);
    if (read->gone)
        *read->gone = true;
    live->reads--;
    live_consider(live);
    log_read_free(answer);
    free(read);
}

/* NULL when it was answered at once. */
static struct store_read *ask(struct live *live, struct log_read *question, bool must, store_rows_fn *done, void *data)
{
    struct store *store = live->store;
    struct store_read *read = MEM_NEW(struct store_read);
    bool gone = false;
    read->live = live;
    read->done = done;
    read->data = data;
    read->must = must;
    read->gone = &gone;
    list_push(&store->reads, &read->link);
    live->reads++;
    question->job = live->job->job;
    question->done = answered;
    question->data = read;
    store->log->ops->read(store->log, question);
    if (gone)
        return NULL;
    read->gone = NULL;
    return read;
}

static void set_known(struct log_read *question, const uint64_t *positions, size_t count)
{
    if (count > LIMIT_READ_ROWS)
        count = LIMIT_READ_ROWS;
    question->known = (uint64_t *)mem_copy(positions, count * sizeof *positions);
    question->known_count = count;
}

struct store_read *store_read(struct store *store, struct live *live, uint64_t from_seq, store_rows_fn *done, void *data)
{
    struct log_read *question = MEM_NEW(struct log_read);
    question->from_seq = from_seq;
    question->known_from = from_seq > live->fresh_from ? from_seq : live->fresh_from;
    size_t skipped = (size_t)(question->known_from - live->fresh_from);
    if (skipped > live->fresh_count)
        skipped = live->fresh_count;
    set_known(question, live->fresh + skipped, live->fresh_count - skipped);
    return ask(live, question, false, done, data);
}

void read_positions(struct live *live, const uint64_t *positions, size_t count, store_rows_fn *done, void *data)
{
    struct log_read *question = MEM_NEW(struct log_read);
    set_known(question, positions, count);
    ask(live, question, true, done, data);
}

void store_read_drop(struct store_read *read)
{
    if (read)
        read->done = NULL;
}

/* ---- jobs by id ---- */

struct search {
    struct list link;              /* in store.searches */
    struct store *store;
    int64_t number;                /* of the job; 0 = by its id */
    store_found_fn *done;
    void *data;
};

struct live *live_of_cache(struct store *store, struct job *job)
{
    struct live *live = live_new(store, job, NULL);
    live->durable_seq = job->seq;
    live->fresh_from = job->seq + 1;
    live_register(live);
    return live;
}

int live_read_back(struct store *store, const struct log_found *found, struct live **ret)
{
    struct live *live = store_get_number(store, found->job);
    if (!live && !found->fold)
        return BACK_AGAIN;
    struct job *job = live ? NULL : snapshot_read((struct bytes){found->fold, found->fold_bytes}, NULL);
    if (job && !job->ended) {
        job_free(job);
        return BACK_AGAIN;
    }
    if (job)
        live = live_of_cache(store, job);
    *ret = live && !live->gone ? live : NULL;
    return BACK_DONE;
}

static void look(struct search *search, const char *id);

static void found(void *data, struct log_find *find)
{
    struct search *search = data;
    struct live *live = NULL;
    if (find->found_count && !find->error && live_read_back(search->store, &find->found[0], &live) == BACK_AGAIN) {
        look(search, find->id);
        log_find_free(find);
        return;
    }
    list_leave(&search->link);
    if (live)
        live->refs++;
    search->done(search->data, live);
    live_unref(live);
    log_find_free(find);
    free(search);
}

static void look(struct search *search, const char *id)
{
    struct log_find *find = MEM_NEW(struct log_find);
    find->by = search->number ? LOG_BY_NUMBER : LOG_BY_ID;
    find->before = search->number;
    find->id = mem_text(id);
    find->done = found;
    find->data = search;
    search->store->log->ops->find(search->store->log, find);
}

void store_find(struct store *store, struct bytes id, store_found_fn *done, void *data)
{
    struct live *live = map_get_text(&store->ids, id);
    if (live || id.count != 32) {
        done(data, live && !live->gone ? live : NULL);
        return;
    }
    struct search *search = MEM_NEW(struct search);
    *search = (struct search){.store = store, .done = done, .data = data};
    list_push(&store->searches, &search->link);
    char *text MEM_OWNED = mem_copy(id.at, id.count);
    look(search, text);
}

void store_find_number(struct store *store, int64_t job, store_found_fn *done, void *data)
{
    struct live *live = store_get_number(store, job);
    if (live) {
        done(data, live->gone ? NULL : live);
        return;
    }
    struct search *search = MEM_NEW(struct search);
    *search = (struct search){.store = store, .number = job, .done = done, .data = data};
    list_push(&store->searches, &search->link);
    look(search, NULL);
}

static void tell_nobody(void *data, struct live *live)
{
}

void store_drop_asks(struct store *store, const void *data)
{
    LIST_EACH(link, &store->searches)
        if (LIST_OF(link, struct search, link)->data == data)
            LIST_OF(link, struct search, link)->done = tell_nobody;
    key_ask_drop(store, data);
    listing_drop(store, data);
    items_drop(store, data);
    cache_drop(store, data);
    records_drop(store, data);
    at_drop(store, data);
}

/* The log is closed or gone: it answers nobody any more. */
void store_read_forget(struct store *store)
{
    for (struct list *link; (link = list_pop(&store->reads));)
        free(LIST_OF(link, struct store_read, link));
    for (struct list *link; (link = list_pop(&store->searches));)
        free(LIST_OF(link, struct search, link));
    key_forget(store);
    listing_forget(store);
    items_forget(store);
    records_forget(store);
    at_forget(store);
    removal_forget(store);
}
