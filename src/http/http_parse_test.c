#include "http/http_parse.h"

#include "base/buf.h"
#include "base/test.h"

static struct buf got;
static struct http_parse parse;

static void gather(void *user, struct bytes data)
{
    buf_put(&got, data);
}

static int take_head(const char *more)
{
    struct buf head BUF_OWNED;
    buf_init(&head, 1024);
    buf_print(&head, "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n", more);
    buf_done(&got);
    buf_init(&got, 4096);
    http_parse_init(&parse);
    return http_parse_head(&parse, buf_bytes(&head));
}

/* Feeds `body` in steps of `step` bytes: the last answer; *ret_used counts what belonged to the message. */
static int take_body(struct bytes body, size_t step, size_t *ret_used)
{
    *ret_used = 0;
    int answer = 0;
    while (!answer && *ret_used < body.count) {
        size_t count = body.count - *ret_used < step ? body.count - *ret_used : step, used;
        answer = http_parse_body(&parse, (struct bytes){body.at + *ret_used, count}, gather, NULL, &used);
        *ret_used += used;
    }
    return answer;
}

TEST(a_body_of_known_length_ends_where_it_says)
{
    size_t used;
    CHECK_INT(take_head("Content-Length: 0\r\n"), HTTP_PARSE_END);
    CHECK_INT(take_head(""), HTTP_PARSE_END);
    CHECK_INT(take_head("Connection: upgrade\r\nUpgrade: h2c\r\n"), HTTP_PARSE_END);
    for (size_t step = 1; step < 20; step++) {
        CHECK_INT(take_head("Content-Length: 5\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"), 0);
        CHECK_INT(take_body(BYTES("helloGET / HTTP/1.1\r\n\r\n"), step, &used), HTTP_PARSE_END);
        CHECK_INT((int)used, 5);
        CHECK_BYTES(buf_bytes(&got), BYTES("hello"));
    }
    buf_done(&got);
}

TEST(chunks_are_joined_at_every_split)
{
    struct bytes body = BYTES("5\r\nhello\r\n1;x=y\r\n \r\nA\r\n0123\r\n6789\r\n0\r\nTrailer: z\r\n\r\nGET /");
    size_t used;
    for (size_t step = 1; step <= body.count; step++) {
        CHECK_INT(take_head("Transfer-Encoding: chunked\r\n"), 0);
        CHECK_INT(take_body(body, step, &used), HTTP_PARSE_END);
        CHECK_INT((int)used, (int)body.count - 5);
        CHECK_BYTES(buf_bytes(&got), BYTES("hello 0123\r\n6789"));
    }
    buf_done(&got);
}

TEST(odd_chunk_framing_is_refused)
{
    static const struct bytes BAD[] = {
        BYTES("5\nhello\r\n0\r\n\r\n"), BYTES("5\rXhello\r\n0\r\n\r\n"), BYTES("5;\nx\r\nhello\r\n0\r\n\r\n"), BYTES("5\r\nhelloXX0\r\n\r\n"),
        BYTES("5\r\nhello\n0\r\n\r\n"), BYTES("-5\r\nhello\r\n0\r\n\r\n"), BYTES("0x5\r\nhello\r\n0\r\n\r\n"), BYTES("\r\n5\r\nhello\r\n0\r\n\r\n"),
        BYTES("5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n"), BYTES("10000000000000005\r\nhello\r\n0\r\n\r\n"), BYTES("5;\0\r\nhello\r\n0\r\n\r\n"),
        BYTES("5\r\nhello\r\n0\r\n\rX"), BYTES("z\r\n"), BYTES("\xff\r\n\r\n"), BYTES("0\xff\r\n\r\n"),
        BYTES("\x80""5\r\nhello\r\n0\r\n\r\n"),
    };
    size_t used;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        for (size_t step = 1; step <= BAD[i].count; step++) {
            CHECK_INT(take_head("Transfer-Encoding: chunked\r\n"), 0);
            test_note("case %zu, step %zu", i, step);
            CHECK_INT(take_body(BAD[i], step, &used), -1);
        }
    buf_done(&got);
}
