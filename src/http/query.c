#include "http/query.h"

#include <stdlib.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int decode_byte(struct bytes raw, size_t *at, bool plus)
{
    char c = raw.at[(*at)++];
    if (c == '+' && plus)
        return ' ';
    if (c != '%')
        return (unsigned char)c;
    if (raw.count - *at < 2)
        return -1;
    int high = hex(raw.at[*at]), low = hex(raw.at[*at + 1]);
    *at += 2;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool query_decode(struct bytes raw, bool plus, struct buf *ret)
{
    size_t before = ret->count;
    for (size_t i = 0; i < raw.count;) {
        int byte = decode_byte(raw, &i, plus);
        if (byte <= 0 || !buf_byte(ret, (char)byte)) {
            ret->count = before;
            return false;
        }
    }
    return true;
}

bool query_next(struct bytes *query, struct bytes *ret_key, struct bytes *ret_value)
{
    while (query->count) {
        struct bytes pair = bytes_cut(query, '&');
        if (!pair.count)
            continue;
        *ret_key = bytes_cut(&pair, '=');
        *ret_value = pair;
        return true;
    }
    return false;
}

/* Keys are compared decoded, for some clients escape the brackets and dashes in them. */
static bool key_is(struct bytes raw, const char *key)
{
    size_t count = strlen(key), at = 0;
    for (size_t i = 0; i < count; i++)
        if (at >= raw.count || decode_byte(raw, &at, true) != (unsigned char)key[i])
            return false;
    return at == raw.count;
}

int query_get(struct bytes query, const char *key, struct buf *ret)
{
    struct bytes name, value;
    while (query_next(&query, &name, &value))
        if (key_is(name, key))
            return query_decode(value, true, ret) ? 0 : -1;
    return 1;
}

static bool is_plain(struct bytes value)
{
    for (size_t i = 0; i < value.count; i++)
        if ((unsigned char)value.at[i] < 0x20 || value.at[i] == 0x7f)
            return false;
    return true;
}

int query_text(struct bytes query, const char *key, char *ret, size_t room)
{
    struct buf value BUF_OWNED;
    buf_init(&value, room - 1);
    ret[0] = 0;
    int answer = query_get(query, key, &value);
    if (answer)
        return answer;
    if (!is_plain(buf_bytes(&value)))
        return -1;
    if (value.count)
        memcpy(ret, value.at, value.count);
    ret[value.count] = 0;
    return 0;
}

int query_int(struct bytes query, const char *key, int64_t *ret)
{
    char text[32];
    int answer = query_text(query, key, text, sizeof text);
    if (answer)
        return answer;
    return bytes_to_i64(bytes_of(text), ret) ? 0 : -1;
}
