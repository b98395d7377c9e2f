/* Orders: what was sent to the job face, from its whole body until the job that it makes, adds to or seals is durable and told.
 *
 *     upload | spool ──▶ key looked up ──▶ created ──▶ items, piece by piece ──▶ sealed ──▶ durable ──▶ told: document, stream …
 *                            │ it names a job: told that one, once its own order has come to the end
 *
 * Pieces go to the log one a turn, each when the one before is durable: a million items neither hold the loop nor fill the queue. Orders
 * for one job follow one another. A client that leaves before its job exists leaves nothing behind; later its order is carried out
 * all the same. Thread: loop. */
#pragma once
#include "config/shelf.h"
#include "server/intake/spool.h"
#include "server/intake/upload.h"

struct order_want {
    const struct shelf_entry *entry;      /* what the new job is made of; NULL = its document says it */
    struct live *live;                    /* add to this one, or seal it: one reference; NULL = a new job */
    int64_t first;                        /* add: the index it must begin at; -1 = any */
    bool seal;                            /* seal it */
    bool open, ordered;
    bool takes_any;                       /* any file and value; else images, and decklists as text where those are taken */
    uint32_t in_flight;
    bool stream;                          /* answer with the stream */
    int64_t wait_us;                      /* `Prefer: wait` */
    bool cancel_on_leave;
    char key[LIMIT_KEY_BYTES + 1];        /* Idempotency-Key; "" = none */
};
void order_want_free(struct order_want *want);

/* Carry it out: takes over everything, the request's user and on_close too. One of upload and spool, or neither: no items. */
void order_place(struct service *service, struct http_request *request, struct order_want *want, struct upload *upload, struct spool *spool);
