#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { SMALLEST = 64 };

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_done(struct buf *buf)
{
    free(buf->at);
    *buf = (struct buf){.max = buf->max};
}

void buf_clear(struct buf *buf)
{
    buf->count = 0;
    buf->failed = false;
}

bool buf_ok(const struct buf *buf)
{
    return !buf->failed;
}

struct bytes buf_bytes(const struct buf *buf)
{
    return (struct bytes){buf->at, buf->count};
}

static bool fail(struct buf *buf)
{
    buf->failed = true;
    return false;
}

/* One byte more than asked for is always there, so that buf_z() and buf_take() can end the text without growing. */
bool buf_reserve(struct buf *buf, size_t more)
{
    if (buf->failed || more > buf->max - buf->count)
        return fail(buf);
    size_t need = buf->count + more + 1;
    if (need <= buf->room)
        return true;
    size_t room = buf->room ? buf->room : SMALLEST;
    while (room < need)
        room = room > SIZE_MAX / 2 ? need : room * 2;
    if (room > buf->max + 1)
        room = buf->max + 1;
    char *at = realloc(buf->at, room);
    if (!at)
        return fail(buf);
    buf->at = at;
    buf->room = room;
    return true;
}

bool buf_add(struct buf *buf, const void *at, size_t count)
{
    if (!buf_reserve(buf, count))
        return false;
    if (count)
        memcpy(buf->at + buf->count, at, count);
    buf->count += count;
    return true;
}

bool buf_put(struct buf *buf, struct bytes view)
{
    return buf_add(buf, view.at, view.count);
}

bool buf_text(struct buf *buf, const char *text)
{
    return buf_add(buf, text, strlen(text));
}

bool buf_byte(struct buf *buf, char byte)
{
    if (!buf_reserve(buf, 1))
        return false;
    buf->at[buf->count++] = byte;
    return true;
}

bool buf_print(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need < 0 || !buf_reserve(buf, (size_t)need))
        return fail(buf);
    va_start(args, format);
    vsnprintf(buf->at + buf->count, (size_t)need + 1, format, args);
    va_end(args);
    buf->count += (size_t)need;
    return true;
}

void buf_eat(struct buf *buf, size_t count)
{
    assert(count <= buf->count);
    buf->count -= count;
    if (buf->count && count)
        memmove(buf->at, buf->at + count, buf->count);
}

const char *buf_z(struct buf *buf)
{
    if (buf->failed || !buf_reserve(buf, 0))
        return "";
    buf->at[buf->count] = 0;
    return buf->at;
}

char *buf_take(struct buf *buf, size_t *ret_count)
{
    if (buf->failed || !buf_reserve(buf, 0))
        return NULL;
    char *at = buf->at;
    at[buf->count] = 0;
    if (ret_count)
        *ret_count = buf->count;
    *buf = (struct buf){.max = buf->max};
    return at;
}
