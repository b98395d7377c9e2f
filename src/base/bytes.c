#include "base/bytes.h"

#include <strings.h>

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.count == b.count && (!a.count || !memcmp(a.at, b.at, a.count));
}

bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
    return a.count == b.count && (!a.count || !strncasecmp(a.at, b.at, a.count));
}

bool bytes_start(struct bytes view, struct bytes prefix)
{
    return view.count >= prefix.count && bytes_equal((struct bytes){view.at, prefix.count}, prefix);
}

bool bytes_have(struct bytes view, const char *text)
{
    return view.count && memmem(view.at, view.count, text, strlen(text));
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

struct bytes bytes_trim(struct bytes view)
{
    while (view.count && blank(view.at[0]))
        view.at++, view.count--;
    while (view.count && blank(view.at[view.count - 1]))
        view.count--;
    return view;
}

struct bytes bytes_cut(struct bytes *view, char mark)
{
    const char *found = view->count ? memchr(view->at, mark, view->count) : NULL;
    struct bytes head = *view;
    if (!found) {
        *view = (struct bytes){view->count ? view->at + view->count : view->at, 0};     /* NULL + 0 is not C */
        return head;
    }
    head.count = (size_t)(found - view->at);
    view->at = found + 1;
    view->count -= head.count + 1;
    return head;
}

bool bytes_to_u64(struct bytes view, uint64_t *ret)
{
    uint64_t value = 0;
    if (!view.count)
        return false;
    for (size_t i = 0; i < view.count; i++) {
        if (view.at[i] < '0' || view.at[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, (uint64_t)(view.at[i] - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

bool bytes_to_i64(struct bytes view, int64_t *ret)
{
    bool negative = view.count && view.at[0] == '-';
    uint64_t value;
    if (negative)
        view.at++, view.count--;
    if (!bytes_to_u64(view, &value) || value > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = (int64_t)(negative ? 0 - value : value);
    return true;
}
