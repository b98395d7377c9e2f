#include "os/fetch_guard.h"

#include "base/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static bool allows(const struct guard *guard, const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *four = (void *)&address;
    struct sockaddr_in6 *six = (void *)&address;
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
        address.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
        address.ss_family = AF_INET6;
    else
        CHECK(!"an address");
    return guard_allows(guard, (struct sockaddr *)&address);
}

TEST(the_guard_lets_public_addresses_pass_and_no_others)
{
    static const char *const open[] = {
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1", "169.253.255.255",
        "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.0.1", "198.17.0.1", "198.20.0.1", "223.255.255.255",
        "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"};
    static const char *const closed[] = {
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
        "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "2002:7f00:1::", "2002:c0a8:101::1", "2001::1", "2001:db8::1", "3fff::1", "100::1", "fc00::1", "fd12:3456::1", "fe80::1",
        "fec0::1", "ff02::1", "4000::1", "5f00::1"};
    struct guard guard;
    CHECK_INT(guard_parse(NULL, &guard, NULL), 0);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        test_note("%s", open[i]);
        CHECK(allows(&guard, open[i]));
    }
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        test_note("%s", closed[i]);
        CHECK(!allows(&guard, closed[i]));
    }
    struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/run/x"};
    CHECK(!guard_allows(&guard, (struct sockaddr *)&local));
}

TEST(the_guard_lets_pass_what_is_listed)
{
    struct guard guard;
    CHECK_INT(guard_parse("127.0.0.0/8, 10.1.2.3,fd00::/9,::1", &guard, NULL), 0);
    CHECK(allows(&guard, "127.9.9.9") && allows(&guard, "10.1.2.3") && allows(&guard, "fd7f::1") && allows(&guard, "::1"));
    CHECK(allows(&guard, "::ffff:127.0.0.1"));
    CHECK(!allows(&guard, "10.1.2.4") && !allows(&guard, "fd80::1") && !allows(&guard, "::2") && !allows(&guard, "169.254.169.254"));
}

TEST(a_bad_list_of_networks_is_one_sentence)
{
    static const char *const bad[] = {"localhost", "10.0.0.0/33", "::1/129", "10.0.0.0/x", "10.0.0", "10.0.0.0/8;::1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct problem problem = {0};
        struct guard guard;
        test_note("%s", bad[i]);
        CHECK(guard_parse(bad[i], &guard, &problem) < 0);
        CHECK(strstr(problem.text, "RIVULET_NET_ALLOW"));
    }
}
