/* Routes: tables of {method, path, handler, help}. Everything that lists routes is made from them: GET /openapi.json, /docs,
 * /redoc, `Allow`, the index at /. A path is made of segments; `{name}` takes one whole segment (decoded, not empty) into
 * request->params. HEAD goes to the GET handler; OPTIONS is answered for every known path (CORS preflight); an unknown path
 * is 404, a wrong method 405 with Allow, both problem+json. A slash at the end
 * of a path is no difference. Loop thread. */
#pragma once
#include "http/http.h"

struct route {
    enum http_method method;
    const char *path;              /* "/v1/jobs/{id}/events" */
    http_request_fn *handle;       /* gets the `data` of router_add */
    const char *summary;           /* one line, for people and for OpenAPI */
    const char *help;              /* more lines, or NULL */
    bool everywhere;               /* lives under /api and /api/v1 too; all three answer alike */
    const char *takes;             /* content types, separated by spaces; a word without a slash is the file field of a form: "files" */
    const char *gives;             /* content types of the good answer, each with its shape if it has another: "text/event-stream
                                      application/json=EventPage"; NULL = application/json */
    const char *query;             /* names of query parameters, separated by spaces, or NULL */
    const char *schema;            /* name of the good answer's shape in the OpenAPI document ("Job"), or NULL */
    int status;                    /* of the good answer; 0 = 200 */
    bool open;                     /* the guard lets everybody in, with or without a key */
};

struct router;

/* Asked before each handler, with the route that was found and its parameters set. False: it has answered, and the handler is not called. */
typedef bool router_guard_fn(struct http_request *request, const struct route *route, void *data);

/* name, version: for the documents; static texts. Free after http_close. */
struct router *router_new(const char *name, const char *version);
void router_free(struct router *router);
const char *router_name(const struct router *router);
const char *router_version(const struct router *router);
/* Add a table (static; borrowed). Later tables do not override earlier ones: the same method and path twice is a bug. */
void router_add(struct router *router, const struct route *routes, size_t count, void *data);
void router_guard(struct router *router, router_guard_fn *guard, void *data);      /* one; NULL = none */
/* A JSON object of the shapes that `schema` and `gives` name, static; Problem is one of them. For the OpenAPI document. */
void router_set_schemas(struct router *router, struct bytes schemas);
struct bytes router_schemas(const struct router *router);
void router_add_docs(struct router *router);               /* /openapi.json, /docs, /redoc */
/* Give this to http_open as on_request, with the router as data. */
void router_request(struct http_request *request, void *router);
/* Walk all routes in the order they were added; NULL at the end. Start with *at = 0. */
const struct route *router_next(const struct router *router, size_t *at);
