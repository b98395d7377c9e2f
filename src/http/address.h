/* How many connections each address has open, so that one client cannot take them all. An IPv6 client is its /64, for it has all of that.
 * Loopback is not counted unless it was asked for: proxies live there. Loop thread. */
#pragma once
#include "base/map.h"

#include <sys/socket.h>

struct address {
    uint64_t key;
    int count;
};

struct addresses {
    struct map open;          /* key → struct address */
    int max;                  /* of one address */
    bool loopback;            /* counted too */
};

/* One more connection from there: 0 and *ret_address, which is NULL where nobody counts; 1 = it has as many as it may. */
int address_enter(struct addresses *addresses, const struct sockaddr_storage *from, struct address **ret_address);
void address_leave(struct addresses *addresses, struct address *address);      /* NULL does nothing */
void addresses_done(struct addresses *addresses);
