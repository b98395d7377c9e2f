/* A head, then its body: found alike in one piece and byte by byte; every view inside the block; a body framed alike in one piece and
 * in two. */
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

static void check_body(struct bytes head, struct bytes body)
{
    struct sum whole, pieces;
    size_t used_whole, used_pieces;
    int one = feed(head, body, body.count + 1, &whole, &used_whole);
    int two = feed(head, body, body.count / 3 + 1, &pieces, &used_pieces);
    fuzz_must(one == two, "split or not, the same answer");
    if (one >= 0)
        fuzz_must(whole.hash == pieces.hash && whole.count == pieces.count && used_whole == used_pieces, "split or not, the same body");
}

FUZZ_TARGET(http)
{
    const uint8_t *data = (const uint8_t *)input.at;
    size_t count = input.count;
    static struct http_head head;
    struct bytes text = {(const char *)data, count};
    struct problem problem = {0};
    size_t at = 0, step_at = 0;
    int length = http_head_scan(text, &at), stepped = 0;
    for (size_t i = 1; i <= count && !stepped; i++)
        stepped = http_head_scan((struct bytes){text.at, i}, &step_at);
    fuzz_must(length == stepped, "split or not, the same end");
    http_head_read(text, &head, &problem);          /* whatever it is, it must be survived */
    if (length <= 0)
        return;
    struct bytes block = {text.at, (size_t)length};
    problem = (struct problem){0};
    int status = http_head_read(block, &head, &problem);
    fuzz_must((status == 0) == !problem_is(&problem), "a refusal has a sentence");
    if (status)
        return;
    check_head(&head, block);
    if (head.length)
        check_body(block, (struct bytes){text.at + length, count - (size_t)length});
}
