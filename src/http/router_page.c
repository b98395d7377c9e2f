#include "http/router_page.h"

#include "base/json.h"

#include <ctype.h>

enum { PAGE_BYTES_MAX = 1024 * 1024, DEPTH_MAX = 8 };

static const struct {
    const char *tag, *title;
} GROUPS[] = {
    {"jobs", "Jobs"}, {"process", "Files in, results out"}, {"server", "The server"},
};
enum { GROUPS_COUNT = sizeof GROUPS / sizeof *GROUPS };

const char *router_tag(const struct route *route)
{
    return bytes_start(bytes_of(route->path), BYTES("/v1/")) ? "jobs" : route->everywhere ? "process" : "server";
}

static void put_html(struct buf *ret, struct bytes text)
{
    for (size_t i = 0; i < text.count; i++)
        switch (text.at[i]) {
        case '<': buf_text(ret, "&lt;"); break;
        case '>': buf_text(ret, "&gt;"); break;
        case '&': buf_text(ret, "&amp;"); break;
        case '"': buf_text(ret, "&quot;"); break;
        default: buf_byte(ret, text.at[i]);
        }
}

static void put_word(struct buf *ret, const char *before, struct bytes text, const char *after)
{
    buf_text(ret, before);
    put_html(ret, text);
    buf_text(ret, after);
}

/* Sentences, with code between backticks. */
static void put_prose(struct buf *ret, struct bytes text)
{
    for (bool code = false; text.count; code = !code) {
        struct bytes part = bytes_cut(&text, '`');
        put_word(ret, code ? "<code>" : "", part, code ? "</code>" : "");
    }
}

/* "post-v1-jobs-id": where the route stands on the page. */
static void put_anchor(struct buf *ret, const struct route *route)
{
    bool dash = true;
    for (const char *part = http_method_name(route->method); *part; part++)
        buf_byte(ret, (char)tolower((unsigned char)*part));
    for (const char *part = route->path; *part; part++)
        if (isalnum((unsigned char)*part)) {
            if (dash)
                buf_byte(ret, '-');
            buf_byte(ret, *part);
            dash = false;
        } else {
            dash = true;
        }
}

static void put_name(struct buf *ret, const struct route *route)
{
    buf_print(ret, "<code><b>%s</b> ", http_method_name(route->method));
    put_word(ret, "", bytes_of(route->path), "</code>");
}

static void put_shape_link(struct buf *ret, struct bytes name)
{
    put_word(ret, "<a href=\"#shape-", name, "\">");
    put_word(ret, "", name, "</a>");
}

/* ---- routes ---- */

static void put_gives(struct buf *ret, const struct route *route)
{
    buf_print(ret, "<dt>Gives</dt><dd>%d", route->status ? route->status : 200);
    struct bytes rest = bytes_of(route->status == 204 ? "" : route->gives ? route->gives : "application/json");
    while (rest.count) {
        struct bytes shape = bytes_cut(&rest, ' '), type = bytes_cut(&shape, '=');
        put_word(ret, ", <code>", type, "</code>");
        if (!shape.count)
            shape = bytes_of(route->schema ? route->schema : "");
        if (shape.count) {
            buf_byte(ret, ' ');
            put_shape_link(ret, shape);
        }
    }
    buf_text(ret, "</dd>");
}

static void put_takes(struct buf *ret, const struct route *route)
{
    struct bytes rest = bytes_of(route->takes);
    buf_text(ret, "<dt>Takes</dt><dd>");
    for (const char *between = ""; rest.count; between = ", ") {
        struct bytes word = bytes_cut(&rest, ' ');
        buf_text(ret, between);
        if (memchr(word.at, '/', word.count))
            put_word(ret, "<code>", word, "</code>");
        else
            put_word(ret, "<code>multipart/form-data</code>, field <code>", word, "</code>");
    }
    buf_text(ret, "</dd>");
}

static void put_route(struct buf *ret, const struct route *route)
{
    buf_text(ret, "<section id=\"");
    put_anchor(ret, route);
    buf_text(ret, "\"><h3>");
    put_name(ret, route);
    put_word(ret, "</h3><p>", bytes_of(route->summary), ".</p>");
    buf_text(ret, "<p>");
    put_prose(ret, bytes_of(route->help ? route->help : ""));
    buf_text(ret, "</p>");
    buf_text(ret, "<dl>");
    if (route->query)
        put_word(ret, "<dt>Query</dt><dd><code>", bytes_of(route->query), "</code></dd>");
    if (route->takes)
        put_takes(ret, route);
    put_gives(ret, route);
    if (route->everywhere)
        buf_text(ret, "<dt>Also</dt><dd>under <code>/api</code> and <code>/api/v1</code></dd>");
    buf_text(ret, "</dl></section>\n");
}

static void put_routes(struct buf *ret, const struct router *router, const char *tag, bool whole)
{
    size_t at = 0;
    for (const struct route *route; (route = router_next(router, &at));) {
        if (strcmp(router_tag(route), tag) != 0)
            continue;
        if (whole) {
            put_route(ret, route);
            continue;
        }
        buf_text(ret, "<li><a href=\"#");
        put_anchor(ret, route);
        buf_text(ret, "\">");
        put_name(ret, route);
        buf_text(ret, "</a></li>");
    }
}

/* ---- shapes ---- */

static void put_type(struct buf *ret, struct json_object *shape, int depth);

static void put_several(struct buf *ret, struct json_object *shapes, const char *between, int depth)
{
    for (size_t i = 0; i < json_object_array_length(shapes); i++) {
        buf_text(ret, i ? between : "");
        put_type(ret, json_object_array_get_idx(shapes, i), depth + 1);
    }
}

/* One of a list of types or of values. */
static void put_words(struct buf *ret, struct json_object *words)
{
    if (!json_object_is_type(words, json_type_array)) {
        put_html(ret, bytes_of(json_object_get_string(words)));
        return;
    }
    for (size_t i = 0; i < json_object_array_length(words); i++)
        put_word(ret, i ? ", " : "", bytes_of(json_object_get_string(json_object_array_get_idx(words, i))), "");
}

/* What may stand in its place, in a few words. */
static void put_type(struct buf *ret, struct json_object *shape, int depth)
{
    static const char *const LISTS[][2] = {{"anyOf", " or "}, {"oneOf", " or "}, {"allOf", " with "}};
    struct bytes ref = json_get_bytes(shape, "$ref");
    const char *slash = ref.count ? strrchr(ref.at, '/') : NULL;
    struct json_object *part;
    if (depth > DEPTH_MAX)
        return;
    if (slash)
        put_shape_link(ret, bytes_of(slash + 1));
    else if ((part = json_get(shape, "enum")) || (part = json_get(shape, "const")))
        put_words(ret, part);
    else if ((part = json_get(shape, "items"))) {
        buf_text(ret, "list of ");
        put_type(ret, part, depth + 1);
    } else if ((part = json_get(shape, "type")))
        put_words(ret, part);
    for (size_t i = 0; i < sizeof LISTS / sizeof *LISTS; i++)
        if ((part = json_get(shape, LISTS[i][0])) && !json_get(shape, "type"))
            put_several(ret, part, LISTS[i][1], depth);
}

static void put_members(struct buf *ret, struct json_object *shape)
{
    struct json_object *members = json_get(shape, "properties");
    if (!members || !json_object_object_length(members))
        return;
    buf_text(ret, "<dl>");
    json_object_object_foreach(members, name, member) {
        put_word(ret, "<dt><code>", bytes_of(name), "</code></dt><dd>");
        put_type(ret, member, 0);
        buf_text(ret, ". ");
        put_prose(ret, json_get_bytes(member, "description"));
        buf_text(ret, "</dd>");
    }
    buf_text(ret, "</dl>");
}

static void put_shape(struct buf *ret, const char *name, struct json_object *shape)
{
    struct json_object *parts = json_get(shape, "allOf");
    put_word(ret, "<section id=\"shape-", bytes_of(name), "\"><h3><code>");
    put_word(ret, "", bytes_of(name), "</code> <small>");
    put_type(ret, shape, 0);
    buf_text(ret, "</small></h3><p>");
    put_prose(ret, json_get_bytes(shape, "description"));
    buf_text(ret, "</p>");
    put_members(ret, shape);
    for (size_t i = 0; parts && i < json_object_array_length(parts); i++)
        put_members(ret, json_object_array_get_idx(parts, i));
    buf_text(ret, "</section>\n");
}

static void put_shapes(struct buf *ret, const struct router *router)
{
    struct bytes text = router_schemas(router);
    struct json_object *shapes JSON_OWNED = text.count ? json_parse(text, NULL) : NULL;
    if (!shapes)
        return;
    buf_text(ret, "<h2 id=\"shapes\">Shapes of answers and events</h2>\n");
    json_object_object_foreach(shapes, name, shape)
        put_shape(ret, name, shape);
}

/* ---- the page ---- */

static void put_head(struct buf *ret, const struct router *router)
{
    buf_text(ret, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
                  "<meta name=\"color-scheme\" content=\"light dark\"><link rel=\"stylesheet\" href=\"/assets/docs.css\">");
    put_word(ret, "<title>", bytes_of(router_name(router)), " API</title></head><body>\n");
    put_word(ret, "<h1>", bytes_of(router_name(router)), " API ");
    put_word(ret, "<small>", bytes_of(router_version(router)), "</small></h1><p>The same for programs: <a href=\"/openapi.json\">/openapi.json</a>. ");
    buf_text(ret, "Every 4xx and 5xx has a body of <code>application/problem+json</code>, a <a href=\"#shape-Problem\">Problem</a>.</p>\n<nav>");
    for (int i = 0; i < GROUPS_COUNT; i++) {
        buf_print(ret, "<h2><a href=\"#%s\">%s</a></h2><ul>", GROUPS[i].tag, GROUPS[i].title);
        put_routes(ret, router, GROUPS[i].tag, false);
        buf_text(ret, "</ul>");
    }
    buf_text(ret, "<h2><a href=\"#shapes\">Shapes of answers and events</a></h2></nav>\n<main>\n");
}

void router_page(struct http_request *request, void *router)
{
    struct buf page;
    buf_init(&page, PAGE_BYTES_MAX);
    put_head(&page, router);
    for (int i = 0; i < GROUPS_COUNT; i++) {
        buf_print(&page, "<h2 id=\"%s\">%s</h2>\n", GROUPS[i].tag, GROUPS[i].title);
        put_routes(&page, router, GROUPS[i].tag, true);
    }
    put_shapes(&page, router);
    buf_text(&page, "</main></body></html>\n");
    http_header(request, "Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    http_answer_buf(request, 200, "text/html; charset=utf-8", &page);
}
