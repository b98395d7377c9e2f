#include "http/http_head.h"

#include "base/test.h"

#include <stdlib.h>

static struct http_head head;
static struct problem problem;

/* Scan and read in one, as a connection does: 0 or a status; 1 = the head is not complete. */
static int take(struct bytes text)
{
    size_t at = 0;
    problem = (struct problem){0};
    int count = http_head_scan(text, &at);
    if (count < 0)
        return 400;
    if (count == 0)
        return 1;
    return http_head_read((struct bytes){text.at, (size_t)count}, &head, &problem);
}

#define TAKE(literal) take(BYTES(literal))

TEST(a_sound_head_is_cut_into_its_fields)
{
    CHECK_INT(TAKE("POST /v1/jobs?pipeline=a&b HTTP/1.1\r\nHost: localhost:80\r\nContent-Length: 12\r\nX-Empty:\r\n"
                   "accept:  text/html , a/b;q=1\t\r\nExpect: 100-Continue\r\n\r\nbody"), 0);
    CHECK_INT(head.method, HTTP_POST);
    CHECK_BYTES(head.path, BYTES("/v1/jobs"));
    CHECK_BYTES(head.query, BYTES("pipeline=a&b"));
    CHECK_BYTES(head.host, BYTES("localhost:80"));
    CHECK_INT(head.length, 12);
    CHECK(head.expects_continue && head.keeps_alive);
    CHECK_BYTES(http_head_get(&head, "ACCEPT"), BYTES("text/html , a/b;q=1"));
    CHECK(http_accepts(&head, "A/B") && http_accepts(&head, "text/html") && !http_accepts(&head, "text/plain"));
    CHECK(http_head_get(&head, "x-empty").at && !http_head_get(&head, "x-empty").count);
    CHECK(!http_head_get(&head, "x-missing").at);
}

TEST(a_head_is_found_whatever_pieces_it_comes_in)
{
    struct bytes text = BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\nrest");
    size_t at = 0;
    for (size_t count = 1; count < text.count - 4; count++)
        CHECK_INT(http_head_scan((struct bytes){text.at, count}, &at), 0);
    CHECK_INT(http_head_scan((struct bytes){text.at, text.count}, &at), (int)text.count - 4);
}

TEST(versions_and_keep_alive)
{
    CHECK_INT(TAKE("GET / HTTP/1.0\r\n\r\n"), 0);
    CHECK(!head.keeps_alive && head.minor == 0);
    CHECK_INT(TAKE("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n"), 0);
    CHECK(!head.keeps_alive);
    CHECK_INT(TAKE("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
    CHECK_INT(TAKE("GET /\r\n\r\n"), 400);
    CHECK_INT(TAKE("BREW / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    CHECK_INT(TAKE("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    CHECK_INT(TAKE("GE(T / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    CHECK_INT(TAKE("\x16\x03\x01\x02"), 400);
}

TEST(targets)
{
    CHECK_INT(TAKE("GET http://a:1/x?y HTTP/1.1\r\nHost: A:1\r\n\r\n"), 0);
    CHECK_BYTES(head.path, BYTES("/x"));
    CHECK_INT(TAKE("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    CHECK_BYTES(head.path, BYTES("/"));
    CHECK_INT(TAKE("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    CHECK_INT(TAKE("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    CHECK_INT(TAKE("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    CHECK_BYTES(head.path, BYTES("*"));
    CHECK_INT(TAKE("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    CHECK_INT(TAKE("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    CHECK_INT(TAKE("GET /\xe6\x98\x93 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    CHECK_INT(TAKE("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    CHECK_INT(TAKE("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), 400);
    CHECK_INT(TAKE("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    CHECK_INT(TAKE("GET http://a/b HTTP/1.0\r\n\r\n"), 0);
    CHECK_BYTES(head.host, BYTES("a"));
    CHECK_INT(TAKE("GET http://a@b/ HTTP/1.0\r\n\r\n"), 400);
    CHECK(strstr(problem.text, "does not name a host"));
    char *long_one = calloc(1, LIMIT_HTTP_TARGET_BYTES + 100);
    int count = snprintf(long_one, LIMIT_HTTP_TARGET_BYTES + 100, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", LIMIT_HTTP_TARGET_BYTES, 0);
    CHECK_INT(take((struct bytes){long_one, (size_t)count}), 414);
    free(long_one);
}

TEST(what_two_readers_could_read_differently_is_refused)
{
    static const struct bytes BAD[] = {
        BYTES("GET / HTTP/1.1\nHost: a\n\n"), BYTES("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"), BYTES("GET / HTTP/1.1\rHost: a\r\n\r\n"),
        BYTES("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"), BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n"),
        BYTES("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), BYTES("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"), BYTES("GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n"),
        BYTES("GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n"), BYTES("GET / HTTP/1.1\r\n\r\n"), BYTES("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"),
        BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"), BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[0m\r\n\r\n"), BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"),
        BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"), BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
        BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"), BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n"),
        BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"), BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n"),
        BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"), BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"),
        BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \vchunked\r\n\r\n"),
        BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), BYTES("\r\nGET / HTTP/1.1\r\n\r\n"),
        BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n"),
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        test_note("case %zu: %.*s", i, BYTES_ARG(BAD[i]));
        CHECK_INT(take(BAD[i]), 400);
    }
    CHECK_INT(TAKE("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"), 0);
    CHECK_INT(head.length, -1);
    CHECK_INT(TAKE("POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n"), 417);
}

TEST(nobody_who_sends_no_body_or_speaks_1_0_waits_for_a_100)
{
    CHECK_INT(TAKE("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n"), 0);
    CHECK(!head.expects_continue);
    CHECK_INT(TAKE("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"), 0);
    CHECK(!head.expects_continue);
    CHECK_INT(TAKE("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n"), 0);
}

TEST(too_many_fields_are_431)
{
    char text[4096] = "GET / HTTP/1.1\r\nHost: a\r\n";
    size_t count = strlen(text);
    for (int i = 1; i < LIMIT_HTTP_FIELDS; i++)
        count += (size_t)snprintf(text + count, sizeof text - count, "X-%d: y\r\n", i);
    memcpy(text + count, "\r\n", 2);
    CHECK_INT(take((struct bytes){text, count + 2}), 0);
    memcpy(text + count, "Y: z\r\n\r\n", 8);
    CHECK_INT(take((struct bytes){text, count + 8}), 431);
}

TEST(names_of_this_machine)
{
    static const char *const YES[] = {"localhost", "LocalHost:8080", "127.0.0.1", "127.1.2.3:1", "[::1]", "[::1]:80"};
    static const char *const NO[] = {"", "example.com", "localhost.evil.com", "127.0.0.1.evil.com", "127.0.0.1.", "127.1", "10.0.0.1",
                                     "[::1]x", "[::2]", "127.0.0.256", "0.0.0.0", "evil@localhost"};
    for (size_t i = 0; i < sizeof YES / sizeof *YES; i++)
        CHECK(http_host_is_loopback(bytes_of(YES[i])));
    for (size_t i = 0; i < sizeof NO / sizeof *NO; i++)
        CHECK(!http_host_is_loopback(bytes_of(NO[i])));
}

TEST(methods_have_names_and_a_head_has_a_request_line)
{
    CHECK_TEXT(http_method_name(HTTP_POST), "POST");
    CHECK_INT(TAKE("\r\n\r\n"), 400);
    CHECK(problem_is(&problem));
    problem = (struct problem){0};
    CHECK_INT(http_head_read(BYTES("GET / HTTP/1.1"), &head, &problem), 400);
    CHECK(strstr(problem.text, "no request line"));
}
