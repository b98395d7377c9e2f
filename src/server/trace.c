#include "server/trace.h"

#include <ctype.h>

static bool is_hex(struct bytes text, size_t count)
{
    bool zeros = true;
    for (size_t i = 0; i < text.count; i++) {
        if (!isdigit((unsigned char)text.at[i]) && !(text.at[i] >= 'a' && text.at[i] <= 'f'))
            return false;
        zeros &= text.at[i] == '0';
    }
    return text.count == count && (!zeros || count == 2);
}

struct bytes trace_of(const struct http_request *request)
{
    enum { TRACE_BYTES = 55 };
    struct bytes value = http_head_get(request->head, "traceparent"), rest = value, none = {0};
    struct bytes version = bytes_cut(&rest, '-'), trace = bytes_cut(&rest, '-'), parent = bytes_cut(&rest, '-'), flags = bytes_cut(&rest, '-');
    bool good = is_hex(version, 2) && !bytes_equal(version, BYTES("ff")) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    if (!good || (value.count != TRACE_BYTES && bytes_equal(version, BYTES("00"))))
        return none;
    return (struct bytes){value.at, TRACE_BYTES};
}
