/* Which addresses a guarded call may connect to: public ones, and those that the person who runs the program has listed. The check
 * looks at the very address that is given to connect(), so neither a name that resolves differently the second time nor a
 * redirect nor an odd way to write an address wins anything.
 *
 * Thread: guard_parse at start; guard_allows on any thread afterwards. */
#pragma once
#include "base/bytes.h"
#include "base/problem.h"

#include <sys/socket.h>

enum { GUARD_NETS_MAX = 32 };

struct guard_net {
    unsigned char at[16];         /* IPv4 as ::ffff:a.b.c.d */
    int bits;                     /* of 128 */
};

struct guard {
    struct guard_net nets[GUARD_NETS_MAX];
    size_t count;
};

/* "127.0.0.0/8,10.1.2.3,::1/128"; NULL or empty = nothing more. 0, or -1 and a problem. */
int guard_parse(const char *text, struct guard *ret, struct problem *problem);

/* Whether the address is public or listed. Other families than IPv4 and IPv6 never are. */
bool guard_allows(const struct guard *guard, const struct sockaddr *address);
