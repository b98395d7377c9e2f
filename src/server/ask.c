#include "server/ask.h"

#include "base/limits.h"
#include "http/query.h"

#include <stdio.h>

enum { VALUE_SIZE = 64, WHAT_SIZE = 160 };

bool ask_refuse(struct http_request *request, const char *name, const char *value, const char *what)
{
    if (value[0])
        http_refuse(request, 400, "%s is \"%s\", but it may only be %s.", name, value, what);
    else
        http_refuse(request, 400, "%s has a value that cannot be read; it may only be %s.", name, what);
    return false;
}

bool ask_int(struct http_request *request, const char *name, int64_t least, int64_t most, int64_t *ret)
{
    char text[VALUE_SIZE], what[WHAT_SIZE];
    int64_t value;
    int answer = query_text(request->query, name, text, sizeof text);
    if (answer > 0)
        return true;
    if (!answer && bytes_to_i64(bytes_of(text), &value) && value >= least && value <= most) {
        *ret = value;
        return true;
    }
    if (most == INT64_MAX)
        snprintf(what, sizeof what, "a number from %lld on", (long long)least);
    else
        snprintf(what, sizeof what, "a number from %lld to %lld", (long long)least, (long long)most);
    return ask_refuse(request, name, text, what);
}

bool ask_flag(struct http_request *request, const char *name, bool *ret)
{
    static const char *const words[] = {"0", "1", "false", "true"};
    char text[2];
    int at = *ret;
    if (!query_text(request->query, name, text, sizeof text) && !text[0]) {
        *ret = true;
        return true;
    }
    if (!ask_word(request, name, words, 4, &at))
        return false;
    *ret = at % 2;
    return true;
}

bool ask_word(struct http_request *request, const char *name, const char *const *words, int count, int *ret)
{
    char text[VALUE_SIZE];
    struct buf what BUF_OWNED;
    buf_init(&what, WHAT_SIZE);
    int answer = query_text(request->query, name, text, sizeof text);
    if (answer > 0)
        return true;
    for (int i = 0; !answer && i < count; i++) {
        if (!strcmp(text, words[i])) {
            *ret = i;
            return true;
        }
    }
    for (int i = 0; i < count; i++)
        buf_print(&what, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", words[i]);
    return ask_refuse(request, name, text, buf_z(&what));
}

void ask_link_next(struct http_request *request, int64_t after)
{
    struct buf link BUF_OWNED;
    struct bytes query = request->query, name, value;
    buf_init(&link, LIMIT_HTTP_TARGET_BYTES + 64);
    buf_byte(&link, '<');
    buf_put(&link, request->path);
    char mark = '?';
    while (query_next(&query, &name, &value)) {
        if (bytes_equal(name, BYTES("after")))
            continue;
        buf_print(&link, "%c%.*s=%.*s", mark, BYTES_ARG(name), BYTES_ARG(value));
        mark = '&';
    }
    buf_print(&link, "%cafter=%lld>; rel=\"next\"", mark, (long long)after);
    if (buf_ok(&link))
        http_header(request, "Link", buf_z(&link));
}
