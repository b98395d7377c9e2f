#include "http/router.h"

#include "base/mem.h"
#include "http/cors.h"
#include "http/query.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct entry {
    const struct route *route;
    void *data;
};

struct router {
    const char *name, *version;
    struct bytes schemas;
    struct entry *entries;
    size_t count;
    router_guard_fn *guard;
    void *guard_data;
};

/* Where routes that live everywhere are found; the longer first, for it begins with the shorter. */
static const struct bytes PREFIXES[] = {{"/api/v1", 7}, {"/api", 4}};

struct router *router_new(const char *name, const char *version)
{
    struct router *router = MEM_NEW(struct router);
    router->name = name;
    router->version = version;
    return router;
}

void router_free(struct router *router)
{
    if (!router)
        return;
    free(router->entries);
    free(router);
}

void router_guard(struct router *router, router_guard_fn *guard, void *data)
{
    router->guard = guard;
    router->guard_data = data;
}

const char *router_name(const struct router *router)
{
    return router->name;
}

const char *router_version(const struct router *router)
{
    return router->version;
}

void router_set_schemas(struct router *router, struct bytes schemas)
{
    router->schemas = schemas;
}

struct bytes router_schemas(const struct router *router)
{
    return router->schemas;
}

void router_add(struct router *router, const struct route *routes, size_t count, void *data)
{
    router->entries = mem_grow(router->entries, (router->count + count) * sizeof *router->entries);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < router->count; j++) {
            const struct route *other = router->entries[j].route;
            assert(other->method != routes[i].method || strcmp(other->path, routes[i].path) != 0);
        }
        assert(routes[i].path[0] == '/' && routes[i].handle && routes[i].summary);
        router->entries[router->count++] = (struct entry){&routes[i], data};
    }
}

const struct route *router_next(const struct router *router, size_t *at)
{
    return *at < router->count ? router->entries[(*at)++].route : NULL;
}

/* ---- matching ---- */

/* The next segment behind a slash; false at the end, where "/" alone and a last slash count as nothing. */
static bool next_segment(struct bytes *path, struct bytes *ret)
{
    if (!path->count || bytes_equal(*path, BYTES("/")))
        return false;
    bytes_cut(path, '/');
    struct bytes rest = *path;
    *ret = bytes_cut(&rest, '/');
    path->at += ret->count;
    path->count -= ret->count;
    return true;
}

struct match {
    struct bytes params[HTTP_PARAMS_MAX];    /* not yet decoded */
    int count;
};

static bool fits(const char *pattern, struct bytes path, struct match *ret)
{
    struct bytes left = bytes_of(pattern), want, have;
    ret->count = 0;
    while (next_segment(&left, &want)) {
        if (!next_segment(&path, &have))
            return false;
        if (!bytes_start(want, BYTES("{"))) {
            if (!bytes_equal(want, have))
                return false;
            continue;
        }
        assert(ret->count < HTTP_PARAMS_MAX);
        if (!have.count)
            return false;
        ret->params[ret->count++] = have;
    }
    return !next_segment(&path, &have);
}

static bool route_fits(const struct route *route, struct bytes path, struct match *ret)
{
    if (fits(route->path, path, ret))
        return true;
    for (size_t i = 0; route->everywhere && i < sizeof PREFIXES / sizeof *PREFIXES; i++) {
        struct bytes prefix = PREFIXES[i], rest = path;
        if (!bytes_start(path, prefix) || (path.count > prefix.count && path.at[prefix.count] != '/'))
            continue;
        rest.at += prefix.count;
        rest.count -= prefix.count;
        if (fits(route->path, rest, ret))
            return true;
    }
    return false;
}

/* Decoded parameters lie one behind another in memory that goes with the head. */
static bool set_params(struct http_request *request, const struct match *match)
{
    struct buf room BUF_OWNED;
    size_t begins[HTTP_PARAMS_MAX + 1] = {0};
    buf_init(&room, LIMIT_HTTP_TARGET_BYTES);
    for (int i = 0; i < match->count; i++) {
        if (!query_decode(match->params[i], false, &room))
            return false;
        begins[i + 1] = room.count;
    }
    request->params_room = match->count ? buf_take(&room, NULL) : NULL;
    for (int i = 0; i < match->count; i++)
        request->params[i] = (struct bytes){request->params_room + begins[i], begins[i + 1] - begins[i]};
    request->params_count = match->count;
    return true;
}

/* ---- answers of the router itself ---- */

static void add_method(char *allow, size_t room, enum http_method method)
{
    if (strstr(allow, http_method_name(method)))
        return;
    size_t count = strlen(allow);
    snprintf(allow + count, room - count, "%s%s", count ? ", " : "", http_method_name(method));
}

/* The methods of a path as in Allow; "" when the path is unknown. */
static void list_methods(const struct router *router, struct bytes path, char *ret, size_t room)
{
    struct match match;
    ret[0] = 0;
    for (size_t i = 0; i < router->count; i++) {
        const struct route *route = router->entries[i].route;
        if (!route_fits(route, path, &match))
            continue;
        add_method(ret, room, route->method);
        if (route->method == HTTP_GET)
            add_method(ret, room, HTTP_HEAD);
    }
    if (ret[0])
        add_method(ret, room, HTTP_OPTIONS);
}

static void answer_no_route(struct http_request *request, const struct router *router)
{
    char allow[80];
    if (bytes_equal(request->path, BYTES("*"))) {
        cors_preflight(request, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        return;
    }
    list_methods(router, request->path, allow, sizeof allow);
    int shown = (int)(request->path.count < 200 ? request->path.count : 200);
    if (!allow[0]) {
        http_refuse(request, 404, "There is nothing at %.*s.", shown, request->path.at);
    } else if (request->method == HTTP_OPTIONS) {
        cors_preflight(request, allow);
    } else {
        http_header(request, "Allow", allow);
        http_refuse(request, 405, "%.*s takes %s, not %s.", shown, request->path.at, allow, http_method_name(request->method));
    }
}

void router_request(struct http_request *request, void *data)
{
    const struct router *router = data;
    enum http_method method = request->method == HTTP_HEAD ? HTTP_GET : request->method;
    struct match match;
    for (size_t i = 0; i < router->count; i++) {
        const struct entry *entry = &router->entries[i];
        if (entry->route->method != method || !route_fits(entry->route, request->path, &match))
            continue;
        if (!set_params(request, &match))
            http_refuse(request, 400, "The path is not percent-encoded as it should be.");
        else if (!router->guard || router->guard(request, entry->route, router->guard_data))
            entry->route->handle(request, entry->data);
        return;
    }
    answer_no_route(request, router);
}
