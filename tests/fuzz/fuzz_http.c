/* A connection: heads and bodies one behind the other, as the server reads them. Each head is found alike in one piece and byte by byte, with every view
 * inside its block; a body is framed alike however it is cut, and as a plain reading of RFC 9112 frames it, so that nobody before us can see another end. */
#include "fuzz.h"

#include "http/http_head.h"
#include "http/http_parse.h"

static void check_inside(struct bytes view, struct bytes block, const char *what)
{
    if (view.count)
        fuzz_must(view.at >= block.at && view.at + view.count <= block.at + block.count, what);
}

static void check_head(const struct http_head *head, struct bytes block)
{
    check_inside(head->target, block, "target");
    check_inside(head->query, block, "query");
    check_inside(head->host, block, "host");
    fuzz_must(head->path.count > 0 && (head->path.at[0] == '/' || head->path.at[0] == '*'), "a path begins with a slash");
    fuzz_must(head->fields_count <= LIMIT_HTTP_FIELDS, "fields are bounded");
    fuzz_must(head->length >= -1, "a length is a length");
    fuzz_must(head->host.at || head->minor == 0, "HTTP/1.1 has a host");
    for (int i = 0; i < head->fields_count; i++) {
        check_inside(head->fields[i].name, block, "name");
        check_inside(head->fields[i].value, block, "value");
        fuzz_must(!memchr(head->fields[i].value.at, '\n', head->fields[i].value.count), "no newline in a value");
    }
    http_host_is_loopback(head->host);
    http_accepts(head, "text/html");
}

struct sum {
    uint64_t hash;
    size_t count;
};

static void add(void *user, struct bytes data)
{
    struct sum *sum = user;
    for (size_t i = 0; i < data.count; i++)
        sum->hash = (sum->hash ^ (unsigned char)data.at[i]) * 1099511628211u;
    sum->count += data.count;
}

static int feed(struct bytes head, struct bytes body, size_t step, struct sum *ret, size_t *ret_used)
{
    struct http_parse parse;
    http_parse_init(&parse);
    int answer = http_parse_head(&parse, head);
    *ret_used = 0;
    *ret = (struct sum){0};
    while (!answer && *ret_used < body.count) {
        size_t count = body.count - *ret_used < step ? body.count - *ret_used : step, used;
        answer = http_parse_body(&parse, (struct bytes){body.at + *ret_used, count}, add, ret, &used);
        fuzz_must(used <= count, "no more is used than there was");
        *ret_used += used;
    }
    return answer;
}

/* ---- chunks by the paper: what we accept must be just that ---- */

static bool line_of(struct bytes *rest, struct bytes *ret)
{
    const char *end = memmem(rest->at, rest->count, "\r\n", 2);
    if (!end)
        return false;
    *ret = (struct bytes){rest->at, (size_t)(end - rest->at)};
    *rest = (struct bytes){end + 2, rest->count - ret->count - 2};
    return true;
}

static bool hex_of(struct bytes line, uint64_t *ret, size_t *ret_digits)
{
    *ret = *ret_digits = 0;
    for (size_t i = 0; i < line.count; i++, ++*ret_digits) {
        char c = line.at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            break;
        if (*ret >> 60)
            return false;
        *ret = *ret << 4 | (unsigned)digit;
    }
    return *ret_digits > 0;
}

/* True when `body` begins with a whole chunked body: its content goes to *sum, its length to *ret_used. */
static bool chunks(struct bytes body, struct sum *sum, size_t *ret_used)
{
    struct bytes rest = body, line;
    uint64_t size;
    size_t digits;
    do {
        if (!line_of(&rest, &line) || !hex_of(line, &size, &digits))
            return false;
        struct bytes tail = {line.at + digits, line.count - digits};
        if (tail.count && tail.at[0] != ';' && tail.at[0] != ' ' && tail.at[0] != '\t')      /* an extension, or white space before one */
            return false;
        if (!size)
            break;
        if (size > rest.count)
            return false;
        add(sum, (struct bytes){rest.at, (size_t)size});
        rest = (struct bytes){rest.at + size, rest.count - (size_t)size};
        if (!bytes_start(rest, BYTES("\r\n")))
            return false;
        rest = (struct bytes){rest.at + 2, rest.count - 2};
    } while (true);
    do
        if (!line_of(&rest, &line))
            return false;
    while (line.count);
    *ret_used = body.count - rest.count;
    return true;
}

/* How much of `body` belonged to it; -1 = it was refused, or has not come whole. */
static int64_t check_body(const struct http_head *head, struct bytes block, struct bytes body, size_t step)
{
    struct sum whole, pieces, paper = {0};
    size_t used_whole, used_pieces, used_paper;
    int one = feed(block, body, body.count + 1, &whole, &used_whole);
    int two = feed(block, body, step, &pieces, &used_pieces);
    fuzz_must(one == two, "split or not, the same answer");
    if (one >= 0)
        fuzz_must(whole.hash == pieces.hash && whole.count == pieces.count && used_whole == used_pieces, "split or not, the same body");
    if (one != HTTP_PARSE_END)
        return -1;
    if (head->length >= 0) {
        fuzz_must((int64_t)whole.count == head->length && used_whole == whole.count, "a body has the length that its head says");
    } else {
        fuzz_must(chunks(body, &paper, &used_paper), "what is taken for chunks is chunks by the paper");
        fuzz_must(paper.hash == whole.hash && paper.count == whole.count && used_paper == used_whole, "with the same content and the same end");
    }
    return (int64_t)used_whole;
}

/* How much of `text` a message took; 0 = the connection ends here. */
static size_t message(struct bytes text, size_t step)
{
    static struct http_head head;
    struct problem problem = {0};
    size_t at = 0, step_at = 0;
    int length = http_head_scan(text, &at), stepped = 0;
    for (size_t i = 1; i <= text.count && !stepped; i++)
        stepped = http_head_scan((struct bytes){text.at, i}, &step_at);
    fuzz_must(length == stepped, "split or not, the same end");
    if (length <= 0)
        return 0;
    struct bytes block = {text.at, (size_t)length};
    int status = http_head_read(block, &head, &problem);
    fuzz_check_problem(&problem, status != 0);
    if (status)
        return 0;
    check_head(&head, block);
    if (!head.length)
        return (size_t)length;
    int64_t used = check_body(&head, block, (struct bytes){text.at + length, text.count - (size_t)length}, step);
    return used < 0 || !head.keeps_alive ? 0 : (size_t)length + (size_t)used;
}

FUZZ_TARGET(http)
{
    static struct http_head head;
    struct problem problem = {0};
    http_head_read(input, &head, &problem);          /* whatever it is, it must be survived */
    size_t step = input.count / 3 + 1, used;
    for (int i = 0; i < 20 && input.count && (used = message(input, step)); i++) {
        input = (struct bytes){input.at + used, input.count - used};
        step = step % 7 + 1;
    }
}
