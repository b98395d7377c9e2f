/* The delimiter is CRLF "--" boundary; the first one may lack its CRLF, which is why the matcher starts as if it had seen one.
 *
 *     PREAMBLE -delimiter-> AFTER -CRLF-> HEAD -empty line-> CONTENT -delimiter-> AFTER -"--"-> OVER
 *
 * A CR stands in a delimiter only at its front. So when a match breaks off, nothing inside what was matched can begin another
 * one: it is content, and the byte that broke it is looked at anew. What was matched in an earlier feed is handed out from
 * the delimiter's own text, for it is the same bytes. */
#include "http/multipart.h"

#include "base/mem.h"
#include "base/text.h"
#include "http/query.h"

#include <assert.h>
#include <stdlib.h>

enum state { PREAMBLE, AFTER, AFTER_DASH, AFTER_CR, HEAD, CONTENT, OVER };

struct multipart {
    enum state state;
    char delimiter[4 + MULTIPART_BOUNDARY_SIZE];
    size_t delimiter_count;
    size_t matched;               /* bytes of the delimiter seen at the end of what was fed */
    struct buf head;              /* the headers of the part, CRLFs included */
    unsigned parts, parts_max;
    const struct multipart_calls *calls;
    void *user;
};

struct multipart *multipart_new(const char *boundary, unsigned parts_max, const struct multipart_calls *calls, void *user)
{
    struct multipart *multipart = MEM_NEW(struct multipart);
    size_t count = strlen(boundary);
    assert(count > 0 && count < MULTIPART_BOUNDARY_SIZE);
    memcpy(multipart->delimiter, "\r\n--", 4);
    memcpy(multipart->delimiter + 4, boundary, count);
    multipart->delimiter_count = 4 + count;
    multipart->matched = 2;
    multipart->parts_max = parts_max ? parts_max : LIMIT_MULTIPART_PARTS;
    multipart->calls = calls;
    multipart->user = user;
    buf_init(&multipart->head, LIMIT_MULTIPART_HEAD_BYTES);
    return multipart;
}

void multipart_free(struct multipart *multipart)
{
    if (!multipart)
        return;
    buf_done(&multipart->head);
    free(multipart);
}

/* ---- values with parameters: form-data; name="x"; filename="y" ---- */

static struct bytes skip(struct bytes view, size_t count)
{
    return (struct bytes){view.at + count, view.count - count};
}

/* A quoted string at the front of *rest, without its quotes. A backslash escapes a quote or itself, elsewhere it is data, for
 * browsers do not escape it. False when no quote ends it. */
static bool take_quoted(struct bytes *rest, bool escapes, struct buf *ret)
{
    for (size_t i = 1; i < rest->count; i++) {
        char c = rest->at[i];
        if (c == '"') {
            *rest = skip(*rest, i + 1);
            return true;
        }
        bool escape = escapes && c == '\\' && i + 1 < rest->count && (rest->at[i + 1] == '"' || rest->at[i + 1] == '\\');
        if (escape)
            c = rest->at[++i];
        buf_byte(ret, c);
    }
    return false;
}

/* One value, quoted or plain, up to the next ';'. A name that ends with a backslash looks as if its last quote were escaped:
 * when no quote is left over, backslashes are taken as data. */
static bool take_value(struct bytes *rest, struct buf *ret)
{
    *rest = bytes_trim(*rest);
    if (!rest->count || rest->at[0] != '"') {
        buf_put(ret, bytes_trim(bytes_cut(rest, ';')));
        return true;
    }
    if (!take_quoted(rest, true, ret)) {
        buf_clear(ret);
        if (!take_quoted(rest, false, ret))
            return false;
    }
    *rest = bytes_trim(*rest);
    if (rest->count && rest->at[0] != ';')
        return false;
    if (rest->count)
        *rest = skip(*rest, 1);
    return true;
}

/* The parameter `name` of a header value: 0 = appended to ret, 1 = missing, -1 = the value is malformed. */
static int get_parameter(struct bytes value, const char *name, struct buf *ret)
{
    bytes_cut(&value, ';');
    while (bytes_trim(value).count) {
        bool found = memchr(value.at, '=', value.count) != NULL;
        struct bytes key = bytes_trim(bytes_cut(&value, '='));
        buf_clear(ret);
        if (!found || !take_value(&value, ret) || !buf_ok(ret))
            return -1;
        if (bytes_equal_nocase(key, bytes_of(name)))
            return 0;
    }
    buf_clear(ret);
    return 1;
}

static bool is_boundary(struct bytes boundary)
{
    for (size_t i = 0; i < boundary.count; i++) {
        unsigned char c = (unsigned char)boundary.at[i];
        bool letter = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!letter && (!c || !strchr("'()+_,-./:=? ", c)))
            return false;
    }
    return boundary.count > 0 && boundary.count < MULTIPART_BOUNDARY_SIZE && boundary.at[boundary.count - 1] != ' ';
}

int multipart_boundary(struct bytes content_type, char ret[MULTIPART_BOUNDARY_SIZE], struct problem *problem)
{
    struct buf boundary BUF_OWNED;
    struct bytes rest = content_type;
    buf_init(&boundary, 256);
    if (!bytes_equal_nocase(bytes_trim(bytes_cut(&rest, ';')), BYTES("multipart/form-data")))
        return 1;
    if (get_parameter(content_type, "boundary", &boundary) != 0)
        return problem_set(problem, "Content-Type multipart/form-data names no boundary.");
    if (!is_boundary(buf_bytes(&boundary)))
        return problem_set(problem, "The multipart boundary must be 1 to %d of the characters that RFC 2046 allows.", MULTIPART_BOUNDARY_SIZE - 1);
    memcpy(ret, boundary.at, boundary.count);
    ret[boundary.count] = 0;
    return 0;
}

/* ---- the head of a part ---- */

static int bad_part(const struct multipart *multipart, struct problem *problem, const char *what)
{
    return problem_set(problem, "Part %u of the form %s.", multipart->parts + 1, what);
}

/* The value of header `name`; {NULL, 0} when missing; false when a line is no header or comes twice. */
static bool find_header(struct bytes head, const char *name, struct bytes *ret)
{
    *ret = (struct bytes){NULL, 0};
    while (head.count) {
        struct bytes value = bytes_cut(&head, '\n');
        if (!value.count || value.at[value.count - 1] != '\r')
            return false;
        value.count--;
        if (!memchr(value.at, ':', value.count) || memchr(value.at, '\r', value.count) || value.at[0] == ' ' || value.at[0] == '\t')
            return false;
        if (!bytes_equal_nocase(bytes_cut(&value, ':'), bytes_of(name)))
            continue;
        if (ret->at)
            return false;
        *ret = bytes_trim(value);
    }
    return true;
}

/* RFC 5987: UTF-8''percent-encoded. Anything else is as if it were not there. */
static bool decode_extended(struct bytes raw, struct buf *ret)
{
    struct bytes charset = bytes_cut(&raw, '\'');
    bytes_cut(&raw, '\'');
    return bytes_equal_nocase(charset, BYTES("UTF-8")) && query_decode(raw, false, ret);
}

/* filename* wins over filename when it can be read (RFC 6266), though RFC 7578 would rather not see it. */
static int read_filename(struct bytes disposition, struct buf *clean, struct multipart_part *part)
{
    struct buf raw BUF_OWNED, name BUF_OWNED;
    buf_init(&raw, LIMIT_MULTIPART_HEAD_BYTES);
    buf_init(&name, LIMIT_MULTIPART_HEAD_BYTES);
    int plain = get_parameter(disposition, "filename", &name);
    int extended = get_parameter(disposition, "filename*", &raw);
    if (plain < 0 || extended < 0)
        return -1;
    if (extended == 0) {
        struct buf decoded BUF_OWNED;
        buf_init(&decoded, LIMIT_MULTIPART_HEAD_BYTES);
        if (decode_extended(buf_bytes(&raw), &decoded)) {
            buf_clear(&name);
            buf_put(&name, buf_bytes(&decoded));
            plain = 0;
        }
    }
    part->is_file = plain == 0;
    text_clean(clean, buf_bytes(&name));
    size_t kept = text_cut(buf_bytes(clean), LIMIT_NAME_BYTES);
    part->filename_cut = kept < clean->count;
    part->filename = (struct bytes){clean->at, kept};
    return 0;
}

static int read_name(struct bytes disposition, struct buf *clean)
{
    struct buf raw BUF_OWNED;
    buf_init(&raw, LIMIT_MULTIPART_HEAD_BYTES);
    if (get_parameter(disposition, "name", &raw) != 0)
        return -1;
    text_clean(clean, buf_bytes(&raw));
    return clean->count <= LIMIT_NAME_BYTES ? 0 : -1;
}

static int begin_part(struct multipart *multipart, struct problem *problem)
{
    struct bytes head = buf_bytes(&multipart->head), disposition, rest;
    struct multipart_part part = {.index = multipart->parts};
    struct buf name BUF_OWNED, filename BUF_OWNED;
    buf_init(&name, 3 * LIMIT_MULTIPART_HEAD_BYTES);
    buf_init(&filename, 3 * LIMIT_MULTIPART_HEAD_BYTES);
    if (multipart->parts == multipart->parts_max)
        return problem_set(problem, "The form has more than %u parts.", multipart->parts_max);
    if (!find_header(head, "Content-Type", &part.type) || !find_header(head, "Content-Disposition", &disposition))
        return bad_part(multipart, problem, "has a malformed header");
    rest = disposition;
    if (!bytes_equal_nocase(bytes_trim(bytes_cut(&rest, ';')), BYTES("form-data")))
        return bad_part(multipart, problem, "has no Content-Disposition: form-data");
    if (read_name(disposition, &name) < 0)
        return bad_part(multipart, problem, "has no name, or one of more than 255 bytes");
    if (read_filename(disposition, &filename, &part) < 0)
        return bad_part(multipart, problem, "has a malformed Content-Disposition");
    part.name = buf_bytes(&name);
    int answer = multipart->calls->on_part(multipart->user, &part);
    multipart->parts++;
    buf_done(&multipart->head);
    multipart->state = CONTENT;
    return answer;
}

/* ---- the stream ---- */

static int emit(struct multipart *multipart, const char *at, size_t count)
{
    if (!count || multipart->state != CONTENT)
        return 0;
    return multipart->calls->on_data(multipart->user, (struct bytes){at, count});
}

/* A whole delimiter ends at `at`: content goes up to where it began, in this feed or (`carried` bytes of it) in an earlier one. */
static int end_content(struct multipart *multipart, const char *from, const char *at, size_t carried)
{
    size_t delimiter_here = multipart->delimiter_count - carried;
    int answer = emit(multipart, from, (size_t)(at - from) - delimiter_here);
    if (!answer && multipart->state == CONTENT)
        answer = multipart->calls->on_part_end(multipart->user);
    multipart->state = AFTER;
    return answer;
}

/* Content or preamble, handed out in runs as long as they come. */
static int feed_content(struct multipart *multipart, struct bytes *rest)
{
    const char *from = rest->at, *at = from, *end = from + rest->count;
    size_t carried = multipart->matched;
    while (at < end) {
        if (multipart->matched == 0 && !(at = memchr(at, '\r', (size_t)(end - at)))) {
            at = end;
            break;
        }
        if (*at == multipart->delimiter[multipart->matched]) {
            at++;
            if (++multipart->matched < multipart->delimiter_count)
                continue;
            *rest = (struct bytes){at, (size_t)(end - at)};
            return end_content(multipart, from, at, carried);
        }
        int answer = emit(multipart, multipart->delimiter, carried);
        if (answer)
            return answer;
        carried = multipart->matched = 0;
    }
    *rest = (struct bytes){end, 0};
    size_t held_back = multipart->matched - carried;
    return emit(multipart, from, (size_t)(at - from) - held_back);
}

/* One byte behind a delimiter: "--" ends the form, blanks and CRLF begin a part. */
static int feed_after(struct multipart *multipart, char byte, struct problem *problem)
{
    switch (multipart->state) {
    case AFTER:
        if (byte == ' ' || byte == '\t')
            return 0;
        if (byte == '-' || byte == '\r') {
            multipart->state = byte == '-' ? AFTER_DASH : AFTER_CR;
            return 0;
        }
        break;
    case AFTER_DASH:
        if (byte == '-') {
            multipart->state = OVER;
            return 0;
        }
        break;
    default:
        if (byte == '\n') {
            multipart->state = HEAD;
            multipart->matched = 0;
            buf_clear(&multipart->head);
            return 0;
        }
    }
    return problem_set(problem, "A boundary line of the form does not end as it should (after part %u).", multipart->parts);
}

/* The head of a part, line by line into the buffer, until an empty line. */
static int feed_head(struct multipart *multipart, struct bytes *rest, struct problem *problem)
{
    struct buf *head = &multipart->head;
    while (rest->count) {
        const char *newline = memchr(rest->at, '\n', rest->count);
        size_t count = newline ? (size_t)(newline - rest->at) + 1 : rest->count;
        if (!buf_add(head, rest->at, count))
            return problem_set(problem, "The headers of part %u of the form have more than %d bytes.", multipart->parts + 1,
                               LIMIT_MULTIPART_HEAD_BYTES);
        *rest = skip(*rest, count);
        if (!newline)
            return 0;
        bool empty = head->count >= 2 && head->at[head->count - 2] == '\r' && (head->count == 2 || head->at[head->count - 3] == '\n');
        if (empty) {
            head->count -= 2;
            return begin_part(multipart, problem);
        }
    }
    return 0;
}

int multipart_feed(struct multipart *multipart, struct bytes bytes, struct problem *problem)
{
    int answer = 0;
    while (!answer && bytes.count && multipart->state != OVER) {
        if (multipart->state == PREAMBLE || multipart->state == CONTENT) {
            answer = feed_content(multipart, &bytes);
        } else if (multipart->state == HEAD) {
            answer = feed_head(multipart, &bytes, problem);
        } else {
            answer = feed_after(multipart, bytes.at[0], problem);
            bytes = skip(bytes, 1);
        }
    }
    return answer;
}

int multipart_end(struct multipart *multipart, struct problem *problem)
{
    if (multipart->state == OVER)
        return 0;
    if (multipart->state == PREAMBLE)
        return problem_set(problem, "The upload was cut off: the form's first boundary never came.");
    return problem_set(problem, "The upload was cut off: the closing boundary of the form never came (after part %u).", multipart->parts);
}
