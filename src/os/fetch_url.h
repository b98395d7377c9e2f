/* Addresses of calls that go out: checked before anything is sent, and named in sentences without what may be secret.
 *
 * Thread: any. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

/* http or https, a host, no user name or password, no control characters; what is not ASCII and spaces are escaped. `ret` gets
 * the address as it is sent, without its fragment. 0, or -1 and a problem that names the host only. */
int fetch_url_check(struct bytes url, struct buf *ret, struct problem *problem);

/* "host" or "host:port" of an address, for sentences; "?" when it has none. */
void fetch_url_host(const char *url, struct buf *ret);

/* "scheme://host/path?query" with the values of query fields that look like secrets, or like the address to call back, made "-". */
void fetch_url_mask(const char *url, struct buf *ret);
