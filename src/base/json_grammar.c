#include "base/json_grammar.h"

#include "base/text.h"

#include <string.h>

struct scan {
    struct bytes text;
    size_t at;            /* the next byte */
    unsigned depth;       /* containers that are open */
    unsigned depth_max;
    bool deep;            /* gave up because of depth */
};

static bool value(struct scan *scan);

/* The next byte, or 0 at the end; a NUL is no part of JSON outside strings and is refused inside. */
static char peek(const struct scan *scan)
{
    return scan->at < scan->text.count ? scan->text.at[scan->at] : 0;
}

static bool take(struct scan *scan, char c)
{
    if (peek(scan) != c || !c)
        return false;
    scan->at++;
    return true;
}

static void space(struct scan *scan)
{
    while (take(scan, ' ') || take(scan, '\n') || take(scan, '\r') || take(scan, '\t'))
        ;
}

static bool digits(struct scan *scan)
{
    size_t start = scan->at;
    while (peek(scan) >= '0' && peek(scan) <= '9')
        scan->at++;
    return scan->at > start;
}

static bool number(struct scan *scan)
{
    take(scan, '-');
    if (!take(scan, '0') && !digits(scan))
        return false;
    if (take(scan, '.') && !digits(scan))
        return false;
    if (take(scan, 'e') || take(scan, 'E')) {
        if (!take(scan, '+'))
            take(scan, '-');
        return digits(scan);
    }
    return true;
}

static bool escape(struct scan *scan)
{
    char c = peek(scan);
    if (!c || !strchr("\"\\/bfnrtu", c))
        return false;
    scan->at++;
    for (int i = 0; c == 'u' && i < 4; i++, scan->at++)
        if (!peek(scan) || !strchr("0123456789abcdefABCDEF", peek(scan)))
            return false;
    return true;
}

static bool string(struct scan *scan)
{
    if (!take(scan, '"'))
        return false;
    while (!take(scan, '"')) {
        size_t count = 1;
        unsigned char c = (unsigned char)peek(scan);
        if (c < ' ')
            return false;
        if (c >= 0x80 && text_decode((struct bytes){scan->text.at + scan->at, scan->text.count - scan->at}, &count) < 0)
            return false;
        scan->at += count;
        if (c == '\\' && !escape(scan))
            return false;
    }
    return true;
}

static bool word(struct scan *scan, const char *letters)
{
    for (; *letters; letters++)
        if (!take(scan, *letters))
            return false;
    return true;
}

static bool member(struct scan *scan, bool named)
{
    if (named) {
        space(scan);
        if (!string(scan))
            return false;
        space(scan);
        if (!take(scan, ':'))
            return false;
    }
    return value(scan);
}

/* What stands between the brackets, the closing one included. */
static bool members(struct scan *scan, char close)
{
    space(scan);
    if (take(scan, close))
        return true;
    do {
        if (!member(scan, close == '}'))
            return false;
    } while (take(scan, ','));
    return take(scan, close);
}

static bool container(struct scan *scan, char close)
{
    if (scan->depth == scan->depth_max) {
        scan->deep = true;
        return false;
    }
    scan->at++;
    scan->depth++;
    bool good = members(scan, close);
    scan->depth--;
    return good;
}

static bool value(struct scan *scan)
{
    bool good;
    space(scan);
    switch (peek(scan)) {
    case '{': good = container(scan, '}'); break;
    case '[': good = container(scan, ']'); break;
    case '"': good = string(scan); break;
    case 't': good = word(scan, "true"); break;
    case 'f': good = word(scan, "false"); break;
    case 'n': good = word(scan, "null"); break;
    default: good = number(scan);
    }
    if (good)
        space(scan);
    return good;
}

enum json_grammar json_grammar(struct bytes text, unsigned depth_max, size_t *ret_at)
{
    struct scan scan = {.text = text, .depth_max = depth_max};
    bool good = value(&scan) && scan.at == text.count;
    *ret_at = scan.at;
    return good ? JSON_GRAMMAR_GOOD : scan.deep ? JSON_GRAMMAR_DEEP : JSON_GRAMMAR_WRONG;
}
