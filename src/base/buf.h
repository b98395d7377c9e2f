/* A growing byte buffer with a ceiling. The ceiling is set at init and never passed: beyond it the buffer *fails* and
 * keeps failing, so that a chain of additions is checked once, at its end, by buf_ok(). What is in a failed buffer is
 * a cut-off prefix and must not be used. A zeroed buf is empty with no room at all: init it. */
#pragma once
#include "base/bytes.h"
#include <stdarg.h>

struct buf {
    char *at;        /* owned; NULL until the first byte */
    size_t count;    /* bytes used */
    size_t room;     /* bytes allocated */
    size_t max;      /* the ceiling, bytes */
    bool failed;     /* an addition went beyond the ceiling or memory ran out */
};

#define BUF_OWNED __attribute__((cleanup(buf_done)))

void buf_init(struct buf *buf, size_t max);
void buf_done(struct buf *buf);                           /* frees; the buf is empty again and keeps its ceiling */
void buf_clear(struct buf *buf);                          /* count 0, failed false, memory kept */
bool buf_ok(const struct buf *buf);
struct bytes buf_bytes(const struct buf *buf);            /* borrowed until the next change */
bool buf_reserve(struct buf *buf, size_t more);           /* room for `more` bytes behind count; false = failed */
bool buf_add(struct buf *buf, const void *at, size_t count);
bool buf_put(struct buf *buf, struct bytes view);
bool buf_text(struct buf *buf, const char *text);
bool buf_byte(struct buf *buf, char byte);
bool buf_print(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_eat(struct buf *buf, size_t count);              /* drop `count` bytes from the front */
const char *buf_z(struct buf *buf);                       /* as a C string (NUL put behind, not counted); "" when failed */
char *buf_take(struct buf *buf, size_t *ret_count);       /* give the memory away, NUL behind it; free() it. NULL when failed */
