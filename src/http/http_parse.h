/* One small API over the parser library that the system has: llhttp, or http-parser where there is no llhttp. It gets a head that
 * http_head_read has passed, as a second opinion, and then cuts the body out of its framing (length or chunks). What
 * the libraries let pass in chunk framing (bare CR or LF, control bytes) is refused here. Pure. */
#pragma once
#include "base/bytes.h"

struct http_parse {
    _Alignas(8) unsigned char room[192];      /* the library's parser and our state; init before use, nothing to free; may be copied between calls */
};

typedef void http_parse_fn(void *user, struct bytes data);

enum { HTTP_PARSE_END = 1 };      /* the message is complete */

void http_parse_init(struct http_parse *parse);
/* Feed the whole head at once. 0 = a body follows, HTTP_PARSE_END = there is none, < 0 = the library refuses it. */
int http_parse_head(struct http_parse *parse, struct bytes head);
/* Feed bytes of the body: on_data gets its content piece by piece. *ret_used says how many bytes belonged to this message.
 * 0 = more is needed, HTTP_PARSE_END, < 0 = bad framing. */
int http_parse_body(struct http_parse *parse, struct bytes bytes, http_parse_fn *on_data, void *user, size_t *ret_used);
