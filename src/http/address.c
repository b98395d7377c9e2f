#include "http/address.h"

#include "base/hash.h"
#include "base/mem.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>

/* False for what has no address, and for loopback. */
static bool key_of(const struct sockaddr_storage *from, bool loopback, uint64_t *ret)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
    uint32_t four = 0;
    bool mapped = from->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    if (from->ss_family == AF_INET)
        four = ntohl(v4->sin_addr.s_addr);
    else if (mapped)
        memcpy(&four, v6->sin6_addr.s6_addr + 12, sizeof four), four = ntohl(four);
    else if (from->ss_family != AF_INET6 || (IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) && !loopback))
        return false;
    bool is_four = from->ss_family == AF_INET || mapped;
    *ret = is_four ? hash_mix(four) : hash_bytes((struct bytes){(const char *)v6->sin6_addr.s6_addr, 8});
    return !is_four || loopback || four >> 24 != 127;
}

int address_enter(struct addresses *addresses, const struct sockaddr_storage *from, struct address **ret_address)
{
    uint64_t key;
    *ret_address = NULL;
    if (!key_of(from, addresses->loopback, &key))
        return 0;
    struct address *address = map_get(&addresses->open, key);
    if (address && address->count >= addresses->max)
        return 1;
    if (!address) {
        address = MEM_NEW(struct address);
        address->key = key;
        map_set(&addresses->open, key, address);
    }
    address->count++;
    *ret_address = address;
    return 0;
}

void address_leave(struct addresses *addresses, struct address *address)
{
    if (address && --address->count == 0)
        free(map_take(&addresses->open, address->key));
}

void addresses_done(struct addresses *addresses)
{
    assert(!addresses->open.count);
    map_done(&addresses->open);
}
