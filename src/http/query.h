/* Percent-encoding and query strings. Pure; any thread. */
#pragma once
#include "base/buf.h"

/* Append `raw` decoded: %XX, and '+' as a space when `plus`. False, with ret as it was, for a bad escape, a NUL, or no room. */
bool query_decode(struct bytes raw, bool plus, struct buf *ret);
/* The first `key` of "a=1&b=2": 0 = its value, decoded, is appended to ret; 1 = missing; -1 = it cannot be decoded. */
int query_get(struct bytes query, const char *key, struct buf *ret);
/* The same into a C string; a value that does not fit into `room` or holds control bytes is -1; missing = 1 and "". */
int query_text(struct bytes query, const char *key, char *ret, size_t room);
/* The same as a number; missing = 1 and ret untouched; no number = -1. */
int query_int(struct bytes query, const char *key, int64_t *ret);
/* Walk all pairs, still encoded: *query is eaten from the front; false at the end. */
bool query_next(struct bytes *query, struct bytes *ret_key, struct bytes *ret_value);
