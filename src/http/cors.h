/* CORS headers (the Fetch standard): which pages may read our answers. `origins`: "*" = every page (and no credentials), "" = none but our
 * own, else the allow-list: origins separated by commas, compared to the letter. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

struct http_request;

/* Lines for every answer to a request with this Origin (may be empty). */
void cors_put(struct buf *head, const char *origins, struct bytes origin);
bool cors_listed(const char *origins, struct bytes origin);     /* by its name: never by "*" */
/* Is this an allow-list? 0, or -1 and a problem that names what is no origin. */
int cors_check(const char *origins, struct problem *problem);
/* Answer a preflight: 204 with what is allowed on this path. `allow`: its methods, as in the Allow header. */
void cors_preflight(struct http_request *request, const char *allow);
