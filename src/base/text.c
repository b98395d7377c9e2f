#include "base/text.h"

#include <stdio.h>
#include <time.h>

int32_t text_decode(struct bytes view, size_t *ret_count)
{
    const unsigned char *at = (const unsigned char *)view.at;
    *ret_count = 1;
    if (at[0] < 0x80)
        return at[0];
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || view.count < length)
        return -1;
    int32_t code = at[0] & (0xff >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return -1;
        code = code << 6 | (at[i] & 0x3f);
    }
    static const int32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < smallest[length] || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff)
        return -1;
    *ret_count = length;
    return code;
}

bool text_is_utf8(struct bytes view)
{
    while (view.count) {
        size_t count = 1;
        if ((signed char)view.at[0] < 0 && text_decode(view, &count) < 0)
            return false;
        view.at += count;
        view.count -= count;
    }
    return true;
}

size_t text_cut(struct bytes view, size_t max)
{
    if (view.count <= max)
        max = view.count;
    /* Step back over a character that does not end within the first max bytes. */
    size_t start = max;
    while (start && max - start < 4 && ((unsigned char)view.at[start - 1] & 0xc0) == 0x80)
        start--;
    if (!start || (unsigned char)view.at[start - 1] < 0xc0)
        return max;
    size_t count;
    struct bytes last = {view.at + start - 1, max - (start - 1)};
    return text_decode(last, &count) >= 0 ? max : start - 1;
}

bool text_clean(struct buf *buf, struct bytes view)
{
    while (view.count) {
        size_t count;
        int32_t code = text_decode(view, &count);
        if (code < ' ' || code == 0x7f)
            buf_text(buf, "\xef\xbf\xbd");
        else
            buf_add(buf, view.at, count);
        view.at += count;
        view.count -= count;
    }
    return buf_ok(buf);
}

bool text_encode(struct buf *buf, uint32_t code)
{
    if (code < 0x80)
        return buf_byte(buf, (char)code);
    char out[4];
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)((0xf00 >> length & 0xff) | code);
    return buf_add(buf, out, length);
}

void text_time(int64_t wall_us, char ret[TEXT_TIME_SIZE])
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    char day[24];
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(ret, TEXT_TIME_SIZE, "%s.%03dZ", day, (int)(wall_us / 1000 % 1000));
}
