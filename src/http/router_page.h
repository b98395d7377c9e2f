/* The page about the routes for people: GET /docs. Everything on it stands in the document itself, its style at /assets/docs.css, so that it can be read
 * without a network. Loop thread. */
#pragma once
#include "http/router.h"

/* A handler; data: the router. */
void router_page(struct http_request *request, void *router);
/* The name of the group that a route belongs to. */
const char *router_tag(const struct route *route);
