/* multipart/form-data (RFC 7578), read as it streams by: bytes in, parts out, split at any byte. Pure: no I/O, no thread of its
 * own, memory bounded by the head of one part (LIMIT_MULTIPART_HEAD_BYTES); the content of parts is never held.
 *
 *     on_part … on_data * … on_part_end, for each part in turn
 *
 * A name is data: it may hold separators, quotes, anything; never use it as a path. */
#pragma once
#include "base/buf.h"
#include "base/limits.h"
#include "base/problem.h"

struct multipart_part {
    struct bytes name;          /* the field's; valid UTF-8, control characters replaced; borrowed for the call */
    struct bytes filename;      /* the same, at most LIMIT_NAME_BYTES; empty when there is none */
    struct bytes type;          /* Content-Type as sent, or empty */
    bool is_file;               /* a filename was given, be it empty */
    bool filename_cut;          /* it was longer and was cut at a character */
    unsigned index;             /* 0, 1, 2 … over all parts */
};

/* Each answers 0 to go on; anything else stops the reading at once and comes out of multipart_feed. */
struct multipart_calls {
    int (*on_part)(void *user, const struct multipart_part *part);
    int (*on_data)(void *user, struct bytes data);       /* count > 0; a view into what was fed, borrowed for the call */
    int (*on_part_end)(void *user);
};

struct multipart;

#define MULTIPART_BOUNDARY_SIZE 71       /* 70 characters at most (RFC 2046), and the NUL */
/* The boundary out of a Content-Type value. 0; 1 = it is not multipart/form-data at all; -1 and a problem = no sound boundary. */
int multipart_boundary(struct bytes content_type, char ret[MULTIPART_BOUNDARY_SIZE], struct problem *problem);

/* parts_max 0 = LIMIT_MULTIPART_PARTS. `calls` is borrowed for the whole life. Never NULL. */
struct multipart *multipart_new(const char *boundary, unsigned parts_max, const struct multipart_calls *calls, void *user);
void multipart_free(struct multipart *multipart);         /* at any time, not inside a callback; NULL is fine */

/* Feed the next bytes. 0; what a callback answered; or -1 and a problem: a sentence about what is wrong with the form. After
 * anything but 0 do not feed again. What follows the closing boundary is ignored. */
int multipart_feed(struct multipart *multipart, struct bytes bytes, struct problem *problem);
/* No more bytes come. 0, or -1 and "the upload was cut off …" when the closing boundary has not been seen. */
int multipart_end(struct multipart *multipart, struct problem *problem);
