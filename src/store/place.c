#include "store/place.h"

#include <assert.h>

bool place_add(struct buf *buf, uint64_t *last, uint64_t pos)
{
    assert(pos > *last);
    uint64_t distance = pos - *last;
    for (; distance >= 0x80; distance >>= 7)
        buf_byte(buf, (char)(distance | 0x80));
    *last = pos;
    return buf_byte(buf, (char)distance);
}

bool place_next(struct bytes *rest, uint64_t *last)
{
    uint64_t distance = 0;
    for (size_t i = 0; i < rest->count && i < PLACE_BYTES_MAX; i++) {
        unsigned char byte = (unsigned char)rest->at[i];
        distance |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80)
            continue;
        if (distance == 0 || distance > UINT64_MAX - *last)
            return false;
        *last += distance;
        rest->at += i + 1;
        rest->count -= i + 1;
        return true;
    }
    return false;
}
