#include "http/address.h"
#include "base/test.h"

#include <arpa/inet.h>

static struct sockaddr_storage at(const char *text)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
    storage.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    CHECK(inet_pton(storage.ss_family, text, storage.ss_family == AF_INET ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr) == 1);
    return storage;
}

static int enter(struct addresses *addresses, const char *text, struct address **ret)
{
    struct sockaddr_storage from = at(text);
    return address_enter(addresses, &from, ret);
}

TEST(an_address_has_so_many_connections_and_no_more)
{
    struct addresses addresses = {.max = 2};
    struct address *a[3], *b;
    CHECK(!enter(&addresses, "192.0.2.1", &a[0]) && !enter(&addresses, "192.0.2.1", &a[1]) && a[0] == a[1]);
    CHECK(enter(&addresses, "192.0.2.1", &a[2]) == 1 && enter(&addresses, "::ffff:192.0.2.1", &a[2]) == 1);
    CHECK(!enter(&addresses, "192.0.2.2", &b) && b != a[0]);
    address_leave(&addresses, a[0]);
    CHECK(!enter(&addresses, "192.0.2.1", &a[0]));
    address_leave(&addresses, a[0]);
    address_leave(&addresses, a[1]);
    address_leave(&addresses, b);
    addresses_done(&addresses);
}

TEST(an_ipv6_client_is_its_network_and_loopback_is_not_counted)
{
    struct addresses addresses = {.max = 1};
    struct address *a, *b, *none;
    CHECK(!enter(&addresses, "2001:db8::1", &a) && enter(&addresses, "2001:db8::ffff:2", &b) == 1 && !enter(&addresses, "2001:db8:0:1::1", &b));
    for (int i = 0; i < 3; i++)
        CHECK(!enter(&addresses, i ? "127.0.0.1" : "::1", &none) && !none);
    address_leave(&addresses, a);
    address_leave(&addresses, b);
    addresses.loopback = true;
    CHECK(!enter(&addresses, "127.0.0.1", &a) && a && enter(&addresses, "127.0.0.1", &b) == 1);
    address_leave(&addresses, a);
    address_leave(&addresses, none);
    addresses_done(&addresses);
}
