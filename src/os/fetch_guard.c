#include "os/fetch_guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

/* Every address is looked at as 16 bytes; IPv4 stands below ::ffff:0:0/96. */
static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static const struct { const char *net; int bits; } closed4[] = {
    {"0.0.0.0", 8},           /* this network; connects to the machine itself */
    {"10.0.0.0", 8},          /* private */
    {"100.64.0.0", 10},       /* carrier-grade NAT */
    {"127.0.0.0", 8},         /* loopback */
    {"169.254.0.0", 16},      /* link-local, metadata services */
    {"172.16.0.0", 12},       /* private */
    {"192.0.0.0", 24},        /* protocol assignments */
    {"192.0.2.0", 24},        /* documentation */
    {"192.88.99.0", 24},      /* 6to4 relays */
    {"192.168.0.0", 16},      /* private */
    {"198.18.0.0", 15},       /* benchmarks */
    {"198.51.100.0", 24},     /* documentation */
    {"203.0.113.0", 24},      /* documentation */
    {"224.0.0.0", 4},         /* multicast */
    {"240.0.0.0", 4},         /* reserved, broadcast */
};

static bool in_net(const unsigned char at[16], const unsigned char net[16], int bits)
{
    int whole = bits / 8, rest = bits % 8;
    if (memcmp(at, net, whole))
        return false;
    unsigned char mask = (unsigned char)(0xff << (8 - rest));
    return !rest || (at[whole] & mask) == (net[whole] & mask);
}

static void map4(const void *four, unsigned char ret[16])
{
    memcpy(ret, mapped, sizeof mapped);
    memcpy(ret + 12, four, 4);
}

static bool is_public4(const unsigned char at[16])
{
    for (size_t i = 0; i < sizeof closed4 / sizeof *closed4; i++) {
        unsigned char four[4], net[16];
        inet_pton(AF_INET, closed4[i].net, four);
        map4(four, net);
        if (in_net(at, net, 96 + closed4[i].bits))
            return false;
    }
    return true;
}

static bool in_text(const unsigned char at[16], const char *text, int bits)
{
    unsigned char net[16];
    inet_pton(AF_INET6, text, net);
    return in_net(at, net, bits);
}

/* IPv6 is closed but for 2000::/3, and in that but for what carries an IPv4 address or is not routed. */
static bool is_public6(const unsigned char at[16])
{
    unsigned char inner[16];
    if (in_text(at, "64:ff9b::", 96)) {         /* NAT64: the last four bytes are where it ends */
        map4(at + 12, inner);
        return is_public4(inner);
    }
    if (in_text(at, "2002::", 16)) {            /* 6to4: so are the third to sixth */
        map4(at + 2, inner);
        return is_public4(inner);
    }
    return in_text(at, "2000::", 3) && !in_text(at, "2001::", 23) && !in_text(at, "2001:db8::", 32) && !in_text(at, "3fff::", 20);
}

bool guard_allows(const struct guard *guard, const struct sockaddr *address)
{
    unsigned char at[16];
    if (address->sa_family == AF_INET)
        map4(&((const struct sockaddr_in *)address)->sin_addr, at);
    else if (address->sa_family == AF_INET6)
        memcpy(at, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
    else
        return false;
    for (size_t i = 0; i < guard->count; i++)
        if (in_net(at, guard->nets[i].at, guard->nets[i].bits))
            return true;
    return memcmp(at, mapped, sizeof mapped) ? is_public6(at) : is_public4(at);
}

static bool parse_net(struct bytes text, struct guard_net *ret)
{
    struct bytes host = bytes_cut(&text, '/');
    uint64_t bits = 0;
    char name[64];
    unsigned char four[4];
    snprintf(name, sizeof name, "%.*s", BYTES_ARG(host));
    if (text.at && text.count && !bytes_to_u64(text, &bits))
        return false;
    if (inet_pton(AF_INET, name, four) == 1) {
        if (bits > 32)
            return false;
        map4(four, ret->at);
        ret->bits = 96 + (text.count ? (int)bits : 32);
        return true;
    }
    ret->bits = text.count ? (int)bits : 128;
    return bits <= 128 && inet_pton(AF_INET6, name, ret->at) == 1;
}

int guard_parse(const char *text, struct guard *ret, struct problem *problem)
{
    struct bytes rest = bytes_of(text ? text : "");
    *ret = (struct guard){0};
    while (rest.count) {
        struct bytes one = bytes_trim(bytes_cut(&rest, ','));
        if (!one.count)
            continue;
        if (ret->count == GUARD_NETS_MAX)
            return problem_set(problem, "RIVULET_NET_ALLOW lists more than %d networks", GUARD_NETS_MAX);
        if (!parse_net(one, &ret->nets[ret->count++]))
            return problem_set(problem, "RIVULET_NET_ALLOW has \"%.*s\" in it: it must be an address or a network such as 10.1.0.0/16",
                               (int)(one.count < 60 ? one.count : 60), one.at);
    }
    return 0;
}
