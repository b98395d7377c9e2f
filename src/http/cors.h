/* CORS headers (the Fetch standard): which pages may read our answers. One origin, or "*" while there are no keys. */
#pragma once
#include "base/buf.h"

struct http_request;

/* Lines for every answer. allow_origin: "*", one origin, or "" for no CORS at all. */
void cors_put(struct buf *head, const char *allow_origin);
/* Answer a preflight: 204 with what is allowed on this path. `allow`: its methods, as in the Allow header. */
void cors_preflight(struct http_request *request, const char *allow);
