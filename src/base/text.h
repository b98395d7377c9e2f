/* Text is UTF-8. These know its shape (RFC 3629: no overlongs, no surrogates, nothing above U+10FFFF). */
#pragma once
#include "base/buf.h"

bool text_is_utf8(struct bytes view);
/* The largest count <= max at which `view` can be cut without splitting a character. */
size_t text_cut(struct bytes view, size_t max);
/* Append `view` with every byte that is not part of valid UTF-8, and every control character, replaced by U+FFFD. */
bool text_clean(struct buf *buf, struct bytes view);
/* One character from the front: its code point, or -1 for a byte that is not UTF-8 (then *ret_count is 1). count > 0. */
int32_t text_decode(struct bytes view, size_t *ret_count);
bool text_encode(struct buf *buf, uint32_t code_point);
/* Wall time as RFC 3339 with milliseconds, UTC: "2026-11-21T09:30:00.123Z". */
#define TEXT_TIME_SIZE 32
void text_time(int64_t wall_us, char ret[TEXT_TIME_SIZE]);
