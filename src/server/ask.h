/* What a request asks for in its query: one value, checked, or the sentence that says what is wrong with it and what it may be. Each
 * answers false when it has refused the request (400). A value that is not there leaves *ret as it is. Thread: loop. */
#pragma once
#include "http/http.h"

bool ask_int(struct http_request *request, const char *name, int64_t least, int64_t most, int64_t *ret);
bool ask_flag(struct http_request *request, const char *name, bool *ret);              /* 1, 0, true, false; its name alone is true */
/* One of `count` words; *ret is its index. */
bool ask_word(struct http_request *request, const char *name, const char *const *words, int count, int *ret);
/* Refuse: `name` has the value `value` (may be empty: it could not be decoded), but it may only be `what`. Always false. */
bool ask_refuse(struct http_request *request, const char *name, const char *value, const char *what);

/* Add `Link: <…>; rel="next"`: this very request with another `after`. */
void ask_link_next(struct http_request *request, int64_t after);
