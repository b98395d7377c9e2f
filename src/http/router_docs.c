/* What is told about the routes: the OpenAPI document, and a page for people (router_page.c), both drawn from the table. */
#include "http/router_page.h"

#include "base/json.h"

#include <ctype.h>
#include <stdio.h>

/* BYTES() in a constant of file scope. */
#define VIEW(literal) {(literal), sizeof(literal) - 1}

enum { DOCUMENT_BYTES_MAX = 1024 * 1024 };

static const char *const PREFIXES[] = {"", "/api", "/api/v1"};

static void put_lower(struct buf *ret, const char *text)
{
    for (; *text; text++)
        buf_byte(ret, (char)tolower((unsigned char)*text));
}

/* "post_v1_jobs_id": unique as (method, path) is. */
static void put_operation(struct buf *ret, const struct route *route, const char *prefix)
{
    struct buf id BUF_OWNED;
    buf_init(&id, 1024);
    put_lower(&id, http_method_name(route->method));
    for (const char *part = prefix; *part; part++)
        buf_byte(&id, isalnum((unsigned char)*part) ? *part : '_');
    for (const char *part = route->path; *part; part++)
        if (*part != '{' && *part != '}')
            buf_byte(&id, isalnum((unsigned char)*part) ? *part : '_');
    json_put_bytes(ret, "operationId", buf_bytes(&id));
}

static void put_parameter(struct buf *ret, struct bytes name, const char *in)
{
    json_open(ret, '{');
    json_put_bytes(ret, "name", name);
    json_put_text(ret, "in", in);
    json_put_flag(ret, "required", in[0] == 'p');
    json_put_raw(ret, "schema", BYTES("{\"type\":\"string\"}"));
    json_close(ret, '}');
}

static void put_parameters(struct buf *ret, const struct route *route)
{
    json_key(ret, "parameters");
    json_open(ret, '[');
    for (const char *at = route->path; (at = strchr(at, '{')); at++)
        put_parameter(ret, (struct bytes){at + 1, strcspn(at + 1, "}")}, "path");
    struct bytes query = bytes_of(route->query ? route->query : "");
    while (query.count) {
        struct bytes name = bytes_cut(&query, ' ');
        if (name.count)
            put_parameter(ret, name, "query");
    }
    json_close(ret, ']');
}

/* A form with files in one field. */
static void put_form(struct buf *ret, struct bytes field)
{
    bool many = field.at[field.count - 1] == 's';
    buf_text(ret, "{\"schema\":{\"type\":\"object\",\"properties\":{");
    json_key_bytes(ret, field);
    json_raw(ret, many ? BYTES("{\"type\":\"array\",\"items\":{\"type\":\"string\",\"format\":\"binary\"}}")
                       : BYTES("{\"type\":\"string\",\"format\":\"binary\"}"));
    buf_text(ret, "}}}");
}

static bool is_form(struct bytes word)
{
    return word.count && !memchr(word.at, '/', word.count);
}

static void put_body(struct buf *ret, const struct route *route)
{
    if (!route->takes)
        return;
    json_key(ret, "requestBody");
    json_open(ret, '{');
    json_key(ret, "content");
    json_open(ret, '{');
    for (struct bytes rest = bytes_of(route->takes); rest.count;) {
        struct bytes word = bytes_cut(&rest, ' ');
        json_key_bytes(ret, is_form(word) ? BYTES("multipart/form-data") : word);
        if (is_form(word))
            put_form(ret, word);
        else
            json_raw(ret, BYTES("{\"schema\":{}}"));
    }
    json_close(ret, '}');
    json_close(ret, '}');
}

/* {"schema":{"$ref":…}}; text that is no JSON has no shape. */
static void put_shape(struct buf *ret, struct bytes schema)
{
    json_open(ret, '{');
    json_key(ret, "schema");
    json_open(ret, '{');
    if (schema.count) {
        struct buf name BUF_OWNED;
        buf_init(&name, 256);
        buf_text(&name, "#/components/schemas/");
        buf_put(&name, schema);
        json_put_bytes(ret, "$ref", buf_bytes(&name));
    } else {
        json_put_text(ret, "type", "string");
    }
    json_close(ret, '}');
    json_close(ret, '}');
}

static void put_good(struct buf *ret, const struct route *route)
{
    json_open(ret, '{');
    json_put_text(ret, "description", route->summary);
    if (route->status != 204) {
        json_key(ret, "content");
        json_open(ret, '{');
        for (struct bytes rest = bytes_of(route->gives ? route->gives : "application/json"); rest.count;) {
            struct bytes schema = bytes_cut(&rest, ' '), type = bytes_cut(&schema, '=');
            json_key_bytes(ret, type);
            put_shape(ret, schema.count ? schema : bytes_of(route->schema));
        }
        json_close(ret, '}');
    }
    json_close(ret, '}');
}

static void put_responses(struct buf *ret, const struct route *route)
{
    char status[16];
    snprintf(status, sizeof status, "%d", route->status ? route->status : 200);
    json_key(ret, "responses");
    json_open(ret, '{');
    json_key(ret, status);
    put_good(ret, route);
    json_put_raw(ret, "4XX", BYTES("{\"$ref\":\"#/components/responses/Problem\"}"));
    json_put_raw(ret, "default", BYTES("{\"$ref\":\"#/components/responses/Problem\"}"));
    json_close(ret, '}');
}

static void put_route(struct buf *ret, const struct route *route, const char *prefix)
{
    struct buf method BUF_OWNED;
    buf_init(&method, 16);
    put_lower(&method, http_method_name(route->method));
    json_key(ret, buf_z(&method));
    json_open(ret, '{');
    json_put_text(ret, "summary", route->summary);
    if (route->help) {
        json_put_text(ret, "description", route->help);
    }
    put_operation(ret, route, prefix);
    json_key(ret, "tags");
    json_open(ret, '[');
    json_text(ret, router_tag(route));
    json_close(ret, ']');
    if (route->open)
        json_put_raw(ret, "security", BYTES("[]"));
    put_parameters(ret, route);
    put_body(ret, route);
    put_responses(ret, route);
    json_close(ret, '}');
}

static bool is_first_of_its_path(const struct router *router, const struct route *route)
{
    size_t at = 0;
    for (const struct route *other; (other = router_next(router, &at));)
        if (strcmp(other->path, route->path) == 0)
            return other == route;
    return true;
}

/* All methods of one path; with a prefix only those that live there too. */
static void put_path(struct buf *ret, const struct router *router, const char *path, const char *prefix)
{
    struct buf full BUF_OWNED;
    buf_init(&full, 1024);
    bool bare = *prefix && strcmp(path, "/") == 0;
    buf_print(&full, "%s%s", prefix, bare ? "" : path);
    json_key(ret, buf_z(&full));
    json_open(ret, '{');
    size_t at = 0;
    for (const struct route *route; (route = router_next(router, &at));)
        if (strcmp(route->path, path) == 0 && (!*prefix || route->everywhere))
            put_route(ret, route, prefix);
    json_close(ret, '}');
}

static bool lives_under(const struct router *router, const char *path)
{
    size_t at = 0;
    for (const struct route *route; (route = router_next(router, &at));)
        if (strcmp(route->path, path) == 0 && route->everywhere)
            return true;
    return false;
}

static const struct bytes TAGS = VIEW(
    "[{\"name\":\"jobs\",\"description\":\"The native API: jobs, items, events.\"},"
    "{\"name\":\"process\",\"description\":\"One request, one batch; also under /api and /api/v1.\"},"
    "{\"name\":\"server\",\"description\":\"The page and what operators ask.\"}]");
static const struct bytes SECURITY = VIEW("[{\"key\":[]},{\"session\":[]},{\"ticket\":[]},{}]");
static const struct bytes SCHEMES = VIEW(
    "{\"key\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"A key of the server's keys file. A server without keys asks for none.\"},"
    "\"session\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"rivulet_session\",\"description\":\"Begun by POST /v1/session.\"},"
    "\"ticket\":{\"type\":\"apiKey\",\"in\":\"query\",\"name\":\"ticket\",\"description\":\"Opens one event stream, once.\"}}");
static const struct bytes RESPONSES = VIEW(
    "{\"Problem\":{\"description\":\"Refused; detail says why\",\"content\":{\"application/problem+json\":{\"schema\":"
    "{\"$ref\":\"#/components/schemas/Problem\"}}}}}");

static void put_components(struct buf *ret, const struct router *router)
{
    json_key(ret, "components");
    json_open(ret, '{');
    json_put_raw(ret, "schemas", router_schemas(router).count ? router_schemas(router) : BYTES("{}"));
    json_put_raw(ret, "responses", RESPONSES);
    json_put_raw(ret, "securitySchemes", SCHEMES);
    json_close(ret, '}');
}

static void router_openapi(const struct router *router, struct buf *ret)
{
    const char *name = router_name(router), *version = router_version(router);
    json_open(ret, '{');
    json_put_text(ret, "openapi", "3.1.0");
    json_key(ret, "info");
    json_open(ret, '{');
    json_put_text(ret, "title", name);
    json_put_text(ret, "version", version);
    json_put_text(ret, "description", "A batch in, each result out the moment it is ready.");
    json_close(ret, '}');
    json_put_raw(ret, "servers", BYTES("[{\"url\":\"/\"}]"));
    json_put_raw(ret, "tags", TAGS);
    json_put_raw(ret, "security", SECURITY);
    json_key(ret, "paths");
    json_open(ret, '{');
    size_t at = 0;
    for (const struct route *route; (route = router_next(router, &at));)
        for (size_t i = 0; is_first_of_its_path(router, route) && i < 3; i++)
            if (i == 0 || lives_under(router, route->path))
                put_path(ret, router, route->path, PREFIXES[i]);
    json_close(ret, '}');
    put_components(ret, router);
    json_close(ret, '}');
}

static void answer_openapi(struct http_request *request, void *router)
{
    struct buf document;
    buf_init(&document, DOCUMENT_BYTES_MAX);
    router_openapi(router, &document);
    http_answer_buf(request, 200, "application/json", &document);
}

static const struct route ROUTES[] = {
    {HTTP_GET, "/openapi.json", answer_openapi, "This API as an OpenAPI 3.1 document", NULL, true, .open = true},
    {HTTP_GET, "/docs", router_page, "This API for people", NULL, true, NULL, "text/html", .open = true},
    {HTTP_GET, "/redoc", router_page, "The same page under its other name", NULL, true, NULL, "text/html", .open = true},
};

void router_add_docs(struct router *router)
{
    router_add(router, ROUTES, sizeof ROUTES / sizeof *ROUTES, router);
}
