#include "server/intake/spool.h"

#include "base/limits.h"
#include "base/mem.h"
#include "server/intake/spool_items.h"
#include "server/intake/upload.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    FILL_BYTES = 128 * 1024,                              /* gathered before the pool is asked, and before the client has to wait */
    FILL_BYTES_MAX = FILL_BYTES + 2 * LIMIT_HTTP_READ_BYTES,
    PAGE_BYTES = 256 * 1024,                              /* read back at once */
};

/* ---- the end ---- */

void spool_free(struct spool *spool)
{
    if (!spool)
        return;
    for (size_t i = 0; i < spool->pins_count; i++) {
        if (spool->used)
            blob_unpin(spool->blobs, &spool->pins[i]);
        else
            blob_abandon(spool->blobs, &spool->pins[i]);
    }
    free(spool->pins);
    free(spool->params);
    free(spool->pipeline);
    free(spool->webhook);
    free(spool->scratch);
    free(spool->names);
    free(spool->specs);
    if (spool->hash)
        sha_drop(spool->hash);
    spool_store_done(&spool->rest);
    spool_store_done(&spool->records);
    buf_done(&spool->filling);
    buf_done(&spool->flying);
    buf_done(&spool->page);
    free(spool);
}

/* The request has been answered, or its client has gone. The pool may still hold the spool. */
static void closed(struct http_request *request, enum http_why why)
{
    struct spool *spool = request->user;
    list_leave(&spool->party.link);
    turn_leave(&spool->turn);
    spool->request = NULL;
    spool->closed = true;
    if (spool->dropped)
        spool->dropped(spool->data);
    if (!spool->in_pool)
        spool_free(spool);
}

#define REFUSE(spool, status, ...) ((spool)->refused = true, http_refuse((spool)->request, status, __VA_ARGS__))

static void refuse_disk(struct spool *spool, int error)
{
    if (error == -ENOSPC || error == -EDQUOT || error == -EFBIG)
        REFUSE(spool, 507, "The server's disk is full; nothing of this body was kept.");
    else
        REFUSE(spool, 500, "The body could not be written: %s.", strerror(-error));
}

static void finish(struct spool *spool)
{
    struct http_request *request = spool->request;
    spool->sha = sha_end(spool->hash);
    spool->hash = NULL;
    buf_done(&spool->filling);    /* who has the spool now may have to wait, with many others */
    buf_done(&spool->flying);
    list_leave(&spool->party.link);
    turn_leave(&spool->turn);
    request->user = NULL;
    request->on_close = NULL;
    spool->request = NULL;
    spool->done(spool, request);
}

/* ---- turns of the two buffers ---- */

/* In the pool: touches what is the pool's, and the flying buffer. */
static int fly(void *data)
{
    struct spool *spool = data;
    struct bytes piece = buf_bytes(&spool->flying);
    sha_add(spool->hash, piece);
    return spool_take(spool, piece, spool->last);
}

static void flown(void *data, int result);

static void go_on(struct spool *spool)
{
    if (spool->refused || spool->in_pool)
        return;
    if (spool->last) {
        finish(spool);
    } else if (spool->over || spool->filling.count >= FILL_BYTES) {
        struct buf full = spool->filling;
        spool->filling = spool->flying;
        spool->flying = full;
        spool->last = spool->over;
        spool->in_pool = true;
        loop_pool(spool->loop, fly, flown, spool);
        if (spool->paused)
            http_resume(spool->request);
        spool->paused = false;
    }
}

static void flown(void *data, int result)
{
    struct spool *spool = data;
    spool->in_pool = false;
    buf_clear(&spool->flying);
    if (spool->closed)
        spool_free(spool);
    else if (spool->refused)
        return;
    else if (result > 0)
        REFUSE(spool, spool->status, "%s", spool->problem.text);
    else if (result < 0)
        refuse_disk(spool, result);
    else
        go_on(spool);
}

/* ---- the body ---- */

static void data_came(struct http_request *request, struct bytes chunk)
{
    struct spool *spool = request->user;
    if (spool->refused)
        return;
    if (!buf_put(&spool->filling, chunk)) {
        REFUSE(spool, 500, "There is no memory for this body.");
        return;
    }
    go_on(spool);
    if (spool->filling.count >= FILL_BYTES && !spool->paused) {
        spool->paused = true;
        http_pause(request);
    }
}

static void data_ended(struct http_request *request)
{
    struct spool *spool = request->user;
    spool->over = true;
    go_on(spool);
}

static const struct http_body body = {data_came, data_ended};

static void go(struct turn *turn)
{
    struct spool *spool = LIST_OF(turn, struct spool, turn);
    http_read_body(spool->request, spool->service->settings.max_body_bytes, &body);
}

static void late(struct turn *turn)
{
    struct spool *spool = LIST_OF(turn, struct spool, turn);
    if (spool->refused)
        return;
    spool->refused = true;
    turn_refuse(turn);
}

static void drain(struct party *party)
{
    struct spool *spool = LIST_OF(party, struct spool, party);
    if (!spool->refused)
        REFUSE(spool, 503, "The server is going down; nothing of this body was kept.");
}

void spool_begin(struct service *service, struct http_request *request, const struct spool_rules *rules, void *data,
                 void (*done)(struct spool *spool, struct http_request *request), void (*dropped)(void *data))
{
    if (upload_refused(service, request)) {
        if (dropped)
            dropped(data);
        return;
    }
    struct spool *spool = MEM_NEW(struct spool);
    spool->service = service;
    spool->blobs = service->blobs;
    spool->loop = service->loop;
    spool->scratch = mem_text(service->settings.scratch);
    spool->value_bytes_max = service->settings.max_file_bytes;
    spool->request = request;
    spool->rules = rules;
    spool->data = data;
    spool->done = done;
    spool->dropped = dropped;
    spool->hash = sha_new();
    buf_init(&spool->filling, FILL_BYTES_MAX);
    buf_init(&spool->flying, FILL_BYTES_MAX);
    buf_init(&spool->page, PAGE_BYTES);
    spool_store_init(&spool->rest);
    spool_store_init(&spool->records);
    request->user = spool;
    request->on_close = closed;
    party_join(service, &spool->party, drain);
    turn_take(&spool->turn, service, request, go, late);
}

/* ---- reading the items back ---- */

static void give(struct spool *spool)
{
    size_t count = 0;
    struct bytes rest = buf_bytes(&spool->page);
    rest.at += spool->page_at;
    rest.count -= spool->page_at;
    while (count < SPOOL_READ && spool_item_next(&rest, &spool->specs[count])) {
        struct item_spec *spec = &spool->specs[count];
        if (!spec->name.count) {
            struct buf name BUF_OWNED;
            buf_init(&name, sizeof *spool->names);
            buf_print(&name, "item_%lld", (long long)(spool->first + (int64_t)count));
            memcpy(spool->names[count], name.at, name.count);
            spec->name = (struct bytes){spool->names[count], name.count};
        }
        count++;
    }
    spool->page_at = spool->page.count - rest.count;
    spool->got(spool->got_data, spool->specs, count, 0);
}

/* In the pool: what is left of the page, and behind it as much as there is room for. */
static int read_page(void *data)
{
    struct spool *spool = data;
    buf_eat(&spool->page, spool->page_at);
    spool->page_at = 0;
    buf_reserve(&spool->page, PAGE_BYTES - spool->page.count);
    while (spool->page.count < PAGE_BYTES) {
        ssize_t got = pread(spool->records.fd, spool->page.at + spool->page.count, PAGE_BYTES - spool->page.count, spool->read_at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (!got)
            break;
        spool->page.count += (size_t)got;
        spool->read_at += got;
    }
    return 0;
}

static void page_came(void *data, int result)
{
    struct spool *spool = data;
    if (result < 0)
        spool->got(spool->got_data, NULL, 0, result);
    else
        give(spool);
}

void spool_read(struct spool *spool, int64_t first, void (*got)(void *data, const struct item_spec *items, size_t count, int error),
                void *data)
{
    struct bytes rest = buf_bytes(&spool->page);
    struct item_spec spec;
    spool->first = first;
    spool->got = got;
    spool->got_data = data;
    if (!spool->specs) {
        spool->specs = mem_new(SPOOL_READ * sizeof *spool->specs);
        spool->names = mem_new(SPOOL_READ * sizeof *spool->names);
        if (spool->records.fd < 0) {      /* all is at hand */
            buf_done(&spool->page);
            spool->page = spool->records.near;
            buf_init(&spool->records.near, 0);
        }
    }
    rest = buf_bytes(&spool->page);
    rest.at += spool->page_at;
    rest.count -= spool->page_at;
    if (spool->records.fd < 0 || spool_item_next(&rest, &spec))
        give(spool);
    else
        loop_pool(spool->loop, read_page, page_came, spool);
}
