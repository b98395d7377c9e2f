/* Addresses that users give, and where a guarded call may go. What the check lets through is http or https with a host and without a password, for curl and
 * for an independent reading alike; where its host is an address, what the guard allows lies in none of the ranges that are closed to strangers, read here by
 * numbers. The first byte says which. */
#include "fuzz.h"

#include "base/limits.h"
#include "os/fetch.h"
#include "os/fetch_guard.h"
#include "os/fetch_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

/* By the numbers of the registries: IPv4 as one number. */
static bool closed4(uint32_t at)
{
    unsigned a = at >> 24, b = at >> 16 & 255, c = at >> 8 & 255;
    return a == 0 || a == 10 || a == 127 || (a == 100 && b >= 64 && b < 128) || (a == 169 && b == 254) || (a == 172 && b >= 16 && b < 32) ||
           (a == 192 && b == 168) || (a == 192 && b == 0 && (c == 0 || c == 2)) || (a == 192 && b == 88 && c == 99) || (a == 198 && (b == 18 || b == 19)) ||
           (a == 198 && b == 51 && c == 100) || (a == 203 && b == 0 && c == 113) || a >= 224;
}

static uint32_t four(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* IPv6, with an IPv4 address wherever one may be carried: mapped, compatible, NAT64, 6to4, Teredo, ISATAP. */
static bool closed6(const unsigned char *at)
{
    static const unsigned char zero[16];
    bool front = !memcmp(at, zero, 10);
    if (front && ((at[10] == 0xff && at[11] == 0xff) || (!at[10] && !at[11])))
        return !at[10] || closed4(four(at + 12));
    if (at[0] == 0 && at[1] == 0x64 && at[2] == 0xff && at[3] == 0x9b)
        return memcmp(at + 4, zero, 8) || closed4(four(at + 12));
    if ((at[0] & 0xe0) != 0x20)                       /* fc00::/7, fe80::/10, ff00::/8 and all that is not given out */
        return true;
    if (at[0] == 0x20 && at[1] == 0x02)
        return closed4(four(at + 2));
    if (at[0] == 0x20 && at[1] == 0x01 && (at[2] < 2 || (at[2] == 0x0d && at[3] == 0xb8)))
        return true;
    return at[0] == 0x3f && at[1] == 0xff && at[2] < 0x10;
}

static bool closed(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return closed4(ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr));
    return closed6(((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr);
}

static void check_address(const struct guard *guard, const struct sockaddr *address)
{
    if (guard_allows(guard, address))
        fuzz_must(!closed(address), "what the guard allows is open to the world");
    else if (address->sa_family == AF_INET)
        fuzz_must(closed(address), "what is open is allowed");
}

static void check_bytes(struct bytes input)
{
    static const unsigned char carriers[][12] = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, {0}, {0, 0x64, 0xff, 0x9b}, {0x20, 0x02}, {0x20, 0x01}, {0xfe, 0x80}, {0x26, 0x06}};
    struct guard none = {0};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in address = {.sin_family = AF_INET};
    for (size_t i = 0; i < sizeof carriers / sizeof *carriers; i++) {
        memcpy(&six.sin6_addr, carriers[i], 12);
        for (size_t k = 0; k < 16 && k < input.count; k++)
            if (k >= 12 || !carriers[i][k])
                six.sin6_addr.s6_addr[k] ^= (unsigned char)input.at[k];
        check_address(&none, (struct sockaddr *)&six);
    }
    memcpy(&address.sin_addr, input.at ? input.at : "", input.count < 4 ? input.count : 4);
    check_address(&none, (struct sockaddr *)&address);
}

/* What a list opens is no more than it says. */
static void check_list(struct bytes input)
{
    struct guard guard;
    struct problem problem = {0};
    char text[300];
    size_t count = input.count < sizeof text - 1 ? input.count : sizeof text - 1;
    memcpy(text, input.at ? input.at : "", count);
    text[count] = 0;
    int failed = guard_parse(text, &guard, &problem);
    fuzz_check_problem(&problem, failed != 0);
    for (size_t i = 0; !failed && i < guard.count; i++)
        fuzz_must(guard.nets[i].bits >= 0 && guard.nets[i].bits <= 128, "a network has its bits");
    struct sockaddr_in metadata = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xa9fea9fe)};
    if (!failed && !strstr(text, "/") && !strstr(text, "169.254.169.254") && !strstr(text, ":"))
        fuzz_must(!guard_allows(&guard, (struct sockaddr *)&metadata), "an address that is not listed stays closed");
}

/* RFC 3986 by hand: scheme, authority, the rest. */
static void check_checked(struct bytes url)
{
    fuzz_must(url.count <= 3 * LIMIT_FETCH_URL_BYTES, "an address is bounded");
    fuzz_must(bytes_start(url, BYTES("http://")) || bytes_start(url, BYTES("https://")), "a scheme is http or https");
    size_t from = url.at[4] == 's' ? 8 : 7, end = from;
    while (end < url.count && !strchr("/?#", url.at[end]))
        end++;
    struct bytes authority = {url.at + from, end - from};
    fuzz_must(authority.count > 0, "there is a host");
    fuzz_must(!memchr(authority.at, '@', authority.count), "and no user in front of it");
    for (size_t i = 0; i < url.count; i++) {
        unsigned char c = (unsigned char)url.at[i];
        fuzz_must(c > ' ' && c != 0x7f, "an address has neither spaces nor control characters");
        fuzz_must(c != '#', "nor a fragment");
    }
}

/* Whoever reads the checked address again goes where the first one went. */
static void check_host(struct bytes url)
{
    char text[3 * LIMIT_FETCH_URL_BYTES + 1];
    struct buf host BUF_OWNED, mask BUF_OWNED, again BUF_OWNED, third BUF_OWNED;
    struct problem problem = {0};
    memcpy(text, url.at, url.count);
    text[url.count] = 0;
    buf_init(&host, 1 << 16);
    buf_init(&mask, 1 << 17);
    buf_init(&again, 1 << 17);
    buf_init(&third, 1 << 17);
    fetch_url_host(text, &host);
    fetch_url_mask(text, &mask);
    fuzz_must(host.count > 0 && !bytes_equal(buf_bytes(&host), BYTES("?")), "a checked address has a host to tell of");
    fuzz_must(mask.count > 0, "and can be told without its secrets");
    /* A number that was escaped is written as an address the second time. */
    if (url.count <= LIMIT_FETCH_URL_BYTES && !fetch_url_check(url, &again, &problem) && again.count <= LIMIT_FETCH_URL_BYTES) {
        check_checked(buf_bytes(&again));
        fuzz_must(!fetch_url_check(buf_bytes(&again), &third, &problem) && bytes_equal(buf_bytes(&third), buf_bytes(&again)), "checked again it is the same");
    }
    fuzz_must(!problem_is(&problem), "what was checked is good");
    fuzz_must(url.count > LIMIT_FETCH_URL_BYTES || fetch_same_origin(url, url), "it has its own origin");
}

static void check_url(struct bytes input)
{
    struct buf url BUF_OWNED;
    struct problem problem = {0};
    buf_init(&url, 4 * LIMIT_FETCH_URL_BYTES);
    int failed = fetch_url_check(input, &url, &problem);
    fuzz_check_problem(&problem, failed != 0);
    if (failed)
        return;
    check_checked(buf_bytes(&url));
    check_host(buf_bytes(&url));
    struct buf secret BUF_OWNED, mask BUF_OWNED;
    buf_init(&secret, 1 << 17);
    buf_init(&mask, 1 << 17);
    if (memchr(url.at, '?', url.count))
        return;
    buf_print(&secret, "%s?a=1&api_key=S3CRET&b=2", buf_z(&url));
    fetch_url_mask(buf_z(&secret), &mask);
    fuzz_must(!memmem(mask.at, mask.count, "S3CRET", 6) || memmem(url.at, url.count, "S3CRET", 6), "a secret in a query is not told");
}

FUZZ_TARGET(url)
{
    switch (fuzz_byte(&input) % 4) {
    case 0: check_bytes(input); break;
    case 1: check_list(input); break;
    default: check_url(input);
    }
}
