/* The head of a request: found, checked and cut into fields before any parser sees it. Strict, because what two parsers
 * read differently is how requests are smuggled: only CRLF ends a line, no line is folded, no space stands before a
 * colon, Host comes once, there is one length and it is plain. Pure; any thread. */
#pragma once
#include "base/bytes.h"
#include "base/limits.h"
#include "base/problem.h"

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_METHODS };

struct http_field {
    struct bytes name, value;      /* as sent; value without spaces around it */
};

struct http_head {
    enum http_method method;
    int minor;                     /* HTTP/1.minor: 0 or 1 */
    struct bytes target;           /* as sent, visible ASCII */
    struct bytes path;             /* of the target, still percent-encoded; starts with '/', or is "*" (OPTIONS) */
    struct bytes query;            /* what stands behind '?', or empty */
    struct bytes host;             /* Host (or the authority of an absolute target, which must be the same); empty in HTTP/1.0 */
    int64_t length;                /* Content-Length; 0 without a body; -1 when chunked */
    bool expects_continue;         /* Expect: 100-continue */
    bool keeps_alive;              /* HTTP/1.1 without Connection: close */
    int fields_count;
    struct http_field fields[LIMIT_HTTP_FIELDS];
};

/* Look for the end of a head in what has come so far. *at remembers how far the last call got: 0 before the first.
 * Answers the head's length including the empty line; 0 = more is needed; -1 = a byte that no head may hold (bare LF or CR,
 * control byte), at *at. Bytes behind the head are not looked at. */
int http_head_scan(struct bytes sofar, size_t *at);

/* Cut a whole head into *ret. Answers 0, or the HTTP status to refuse it with (400, 414, 417, 431, 501, 505) and a problem. The
 * views point into `block`. */
int http_head_read(struct bytes block, struct http_head *ret, struct problem *problem);

/* The value of a field, name in any case; {NULL, 0} when it is missing; the first of several. */
struct bytes http_head_get(const struct http_head *head, const char *name);
const char *http_method_name(enum http_method method);
/* Does Accept prefer `type` ("text/html")? True only if it is named; "star/star" does not count. */
bool http_accepts(const struct http_head *head, const char *type);
/* Is this Host (with or without a port) a name of this machine alone: localhost, 127.x.x.x, [::1]? */
bool http_host_is_loopback(struct bytes host);
