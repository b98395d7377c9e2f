/* Inside orders: what their two files share. order.c leads an order from its request to its answer, order_pour.c brings its items into the job. */
#pragma once
#include "engine/batches.h"
#include "engine/terms.h"
#include "server/intake/order.h"

struct order {
    struct list link;                 /* in service.orders */
    struct party party;
    struct service *service;
    struct http_request *request;     /* NULL once its client has gone */
    enum http_why why;
    struct order_want *want;
    struct upload *upload;
    struct spool *spool;
    struct sha print;
    char *params;                     /* JSON, or NULL */
    struct terms terms;               /* of the job that it makes */
    struct live *live;                /* one reference: the job, once it is there */
    bool mine;                        /* this order made it */
    bool replay;                      /* another order with this key made it */
    bool pouring;                     /* its items are on their way into the job */
    bool busy;                        /* somebody will call back: the key's look-up, or a read of the spool */
    bool dead;                        /* to be freed when it does */
    int64_t first, at;                /* index of its first item in the job; inputs taken so far */
    int64_t made;                     /* items poured into the job: what the inputs came to */
    struct batches *batches;          /* makes items of inputs; NULL = they are items already */
    size_t feeding;                   /* inputs that it has */
    struct item_spec *files;          /* those of the upload that were taken last; owned */
    bool flushed;                     /* … and it has nothing more */
    bool finished;                    /* it waits for the disk alone */
    const struct item_spec *held;     /* read, and not taken: the disk was busy */
    size_t held_count;
    struct store_wait wait;
    struct list followers, follow;    /* orders that wait for this one to come to its end; a link in such a list */
};

/* order.c */
int64_t order_inputs(const struct order *order);          /* what was sent */
void order_fail(struct order *order, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));      /* with this sentence; it is gone */
void order_fail_down(struct order *order);                /* the server is going down */
/* The queue to the disk is full: `call` when what is in it is durable. */
void order_wait_for_disk(struct order *order, const struct problem *problem, void (*call)(struct store_wait *wait));
void order_finish(struct order *order);                   /* all that it wanted is accepted */
void order_free(struct order *order);

/* order_pour.c */
void order_pour(struct order *order);                     /* what is left of its items, then the seal */
