#include "store/outbox.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

/* What one delivery brings. */
struct load {
    uint64_t durable;                          /* 0: nothing new */
    struct log_flush *flushes, **flushes_end;
    struct log_read *reads, **reads_end;
    struct log_find *finds, **finds_end;
    struct log_cached *cached, **cached_end;
    int64_t *pruned;                           /* owned */
    size_t pruned_count;
    bool full_new, full;
};

struct outbox {
    struct log_door door;
    struct log *log;                           /* NULL when closed */
    pthread_mutex_t mutex;                     /* over load, posted and refs */
    struct load load;
    bool posted;                               /* a message is under way and holds a reference */
    int refs;                                  /* the log's and the message's */
};

static void load_init(struct load *load)
{
    *load = (struct load){0};
    load->flushes_end = &load->flushes;
    load->reads_end = &load->reads;
    load->finds_end = &load->finds;
    load->cached_end = &load->cached;
}

struct outbox *outbox_new(struct log_door door, struct log *log)
{
    struct outbox *box = MEM_NEW(struct outbox);
    box->door = door;
    box->log = log;
    box->refs = 1;
    pthread_mutex_init(&box->mutex, NULL);
    load_init(&box->load);
    return box;
}

static void drop(struct outbox *box)
{
    pthread_mutex_lock(&box->mutex);
    bool last = --box->refs == 0;
    pthread_mutex_unlock(&box->mutex);
    if (!last)
        return;
    pthread_mutex_destroy(&box->mutex);
    free(box);
}

static void call_done(struct load *load)
{
    for (struct log_flush *flush = load->flushes, *next; flush; flush = next) {
        next = flush->next;
        flush->done(flush->data, flush);
    }
    for (struct log_read *read = load->reads, *next; read; read = next) {
        next = read->next;
        read->done(read->data, read);
    }
    for (struct log_find *find = load->finds, *next; find; find = next) {
        next = find->next;
        find->done(find->data, find);
    }
    for (struct log_cached *cached = load->cached, *next; cached; cached = next) {
        next = cached->next;
        cached->done(cached->data, cached);
    }
}

/* Thread: loop. */
static void deliver(struct outbox *box)
{
    struct load load;
    pthread_mutex_lock(&box->mutex);
    load = box->load;
    load_init(&box->load);
    pthread_mutex_unlock(&box->mutex);
    const struct log_client *client = &box->log->client;
    if (load.durable && client->durable)
        client->durable(client->data, load.durable);
    call_done(&load);
    for (size_t i = 0; i < load.pruned_count && client->pruned; i++)
        client->pruned(client->data, load.pruned[i]);
    free(load.pruned);
    if (load.full_new && client->full)
        client->full(client->data, load.full);
}

static void arrive(void *data)
{
    struct outbox *box = data;
    pthread_mutex_lock(&box->mutex);
    box->posted = false;
    pthread_mutex_unlock(&box->mutex);
    if (box->log)
        deliver(box);
    drop(box);
}

void outbox_close(struct outbox *box)
{
    deliver(box);
    box->log = NULL;
    drop(box);
}

/* Called with the mutex held, which it lets go. */
static void send_and_unlock(struct outbox *box)
{
    bool post = !box->posted;
    box->posted = true;
    box->refs += post;
    pthread_mutex_unlock(&box->mutex);
    if (post)
        box->door.post(box->door.loop, arrive, box);
}

void outbox_add_commit(struct outbox *box, uint64_t pos, struct log_flush *flushes)
{
    pthread_mutex_lock(&box->mutex);
    if (pos)
        box->load.durable = pos;
    *box->load.flushes_end = flushes;
    while (*box->load.flushes_end)
        box->load.flushes_end = &(*box->load.flushes_end)->next;
    send_and_unlock(box);
}

void outbox_add_read(struct outbox *box, struct log_read *read)
{
    pthread_mutex_lock(&box->mutex);
    read->next = NULL;
    *box->load.reads_end = read;
    box->load.reads_end = &read->next;
    send_and_unlock(box);
}

void outbox_add_find(struct outbox *box, struct log_find *find)
{
    pthread_mutex_lock(&box->mutex);
    find->next = NULL;
    *box->load.finds_end = find;
    box->load.finds_end = &find->next;
    send_and_unlock(box);
}

void outbox_add_cached(struct outbox *box, struct log_cached *cached)
{
    pthread_mutex_lock(&box->mutex);
    cached->next = NULL;
    *box->load.cached_end = cached;
    box->load.cached_end = &cached->next;
    send_and_unlock(box);
}

void outbox_add_pruned(struct outbox *box, int64_t job)
{
    pthread_mutex_lock(&box->mutex);
    struct load *load = &box->load;
    load->pruned = mem_grow(load->pruned, (load->pruned_count + 1) * sizeof *load->pruned);
    load->pruned[load->pruned_count++] = job;
    send_and_unlock(box);
}

void outbox_add_full(struct outbox *box, bool full)
{
    pthread_mutex_lock(&box->mutex);
    box->load.full_new = true;
    box->load.full = full;
    send_and_unlock(box);
}
