#include "os/fetch_test.h"

#include "base/limits.h"

#include <fcntl.h>
#include <sys/stat.h>

TEST(a_call_goes_out_and_its_answer_comes_back)
{
    open_all(&(struct fetch_options){0});
    struct bytes headers[] = {BYTES("X-One: 1"), BYTES("Authorization: Bearer secret"), BYTES("X-Empty:")};
    call((struct fetch_request){.method = "POST", .headers = headers, .headers_count = 3, .body = BYTES("{\"a\":1}")}, "/x?q=a b#there");
    CHECK_INT(got.end, FETCH_ANSWERED);
    CHECK_INT(got.status, 200);
    CHECK_TEXT(got.body, "{\"ok\":true}");
    CHECK_TEXT(got.limit, "3");
    CHECK_TEXT(got.type, "application/json");
    char *request MEM_OWNED = last_request();
    test_note("%s", request);
    CHECK(strstr(request, "POST /x?q=a%20b HTTP/1.1\r\n") || strstr(request, "POST /x?q=a+b HTTP/1.1\r\n"));
    CHECK(strstr(request, "X-One: 1\r\n") && strstr(request, "X-Empty:\r\n") && strstr(request, "Content-Type: application/json\r\n"));
    CHECK(strstr(request, "User-Agent: rivulet/") && !strstr(request, "Expect") && strstr(request, "\r\n\r\n{\"a\":1}"));
    call((struct fetch_request){.method = "PUT"}, "/y");
    call((struct fetch_request){.method = "DELETE"}, "/y");
    free(request);
    request = last_request();
    CHECK(strstr(request, "DELETE /y HTTP/1.1"));
    call((struct fetch_request){.method = "POST", .part_name = "file", .part_file = "in.jsonl", .part_fields = BYTES("{\"purpose\":\"batch\"}"),
                                .body = BYTES("line\n")}, "/files");
    free(request);
    request = last_request();
    CHECK(strstr(request, "name=\"purpose\"") && strstr(request, "filename=\"in.jsonl\"") && strstr(request, "multipart/form-data"));
    close_all();
}

TEST(what_cannot_be_sent_is_refused_with_a_sentence_without_secrets)
{
    static const char *const bad[] = {"", "ftp://a/b", "file:///etc/passwd", "http://user:geheim@127.0.0.1/x", "http://127.0.0.1/\r\nX: geheim",
                                      "no address", "gopher://127.0.0.1/"};
    open_all(&(struct fetch_options){0});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_note("%s", bad[i]);
        call((struct fetch_request){0}, bad[i]);
        CHECK_INT(got.end, FETCH_REFUSED);
        CHECK(got.problem[0] && !strstr(got.problem, "geheim"));
    }
    struct bytes headers[] = {BYTES("A: b\r\nC: d"), BYTES("A\n: b"), BYTES("no colon"), BYTES(": x"), {"A: b\0c", 6}};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        call((struct fetch_request){.headers = &headers[i], .headers_count = 1}, "/x");
        CHECK_INT(got.end, FETCH_REFUSED);
    }
    call((struct fetch_request){.method = "GET /x"}, "/x");
    CHECK_INT(got.end, FETCH_REFUSED);
    CHECK_INT(server.hits, 0);
    close_all();
}

TEST(a_guarded_call_reaches_no_private_address_however_it_is_written)
{
    open_all(&(struct fetch_options){.allow = "10.9.9.9"});
    static const char *const forms[] = {"127.0.0.1", "127.1", "0x7f000001", "2130706433", "017700000001", "localhost", "[::1]", "[::ffff:127.0.0.1]",
                                        "0.0.0.0", "[::]", "localhost."};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char url[128];
        test_note("%s", forms[i]);
        snprintf(url, sizeof url, "http://%s:%d/x?token=geheim", forms[i], server.port);
        call((struct fetch_request){.guarded = true}, url);
        CHECK(got.end == FETCH_REFUSED || (strstr(forms[i], "localhost.") && got.end == FETCH_NETWORK));
        CHECK(!strstr(got.problem, "geheim"));
    }
    CHECK_INT(server.hits, 0);
    call((struct fetch_request){.guarded = false}, "/x");
    CHECK_INT(got.end, FETCH_ANSWERED);
    close_all();
}

TEST(a_guarded_call_ignores_proxies_and_passes_where_it_is_allowed)
{
    char proxy[64];
    open_all(&(struct fetch_options){.allow = "127.0.0.0/8"});
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    call((struct fetch_request){.guarded = true}, "/x");
    CHECK_INT(got.end, FETCH_ANSWERED);
    call((struct fetch_request){0}, "/x");
    CHECK_INT(got.end, FETCH_NETWORK);
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", server.port);
    setenv("http_proxy", proxy, 1);
    call((struct fetch_request){0}, "http://name.invalid/behind");
    unsetenv("http_proxy");
    CHECK_INT(got.end, FETCH_ANSWERED);
    char *request MEM_OWNED = last_request();
    CHECK(strstr(request, "GET http://name.invalid/behind HTTP/1.1"));
    close_all();
}

TEST(redirects_are_followed_checked_and_counted)
{
    char path[256];
    struct bytes secret = BYTES("X-Api-Key: geheim");
    open_all(&(struct fetch_options){.allow = "127.0.0.1"});
    call((struct fetch_request){.guarded = true, .redirects = true}, "/redirect?/end");
    CHECK_INT(got.status, 200);
    call((struct fetch_request){0}, "/redirect?/end");
    CHECK_INT(got.status, 302);
    call((struct fetch_request){.redirects = true}, "/loop");
    CHECK_INT(got.end, FETCH_REFUSED);
    CHECK(strstr(got.problem, "5 times"));
    snprintf(path, sizeof path, "/redirect?http://127.0.0.2:%d/metadata", server.port);
    int hits = server.hits;
    call((struct fetch_request){.guarded = true, .redirects = true}, path);
    CHECK_INT(got.end, FETCH_REFUSED);
    CHECK_INT(server.hits, hits + 1);
    call((struct fetch_request){.redirects = true}, "/redirect?file:///etc/passwd");
    CHECK_INT(got.end, FETCH_REFUSED);
    call((struct fetch_request){.redirects = true}, "/redirect?http://a:b@127.0.0.1/");
    CHECK_INT(got.end, FETCH_REFUSED);
    snprintf(path, sizeof path, "/redirect?http://localhost:%d/other", server.port);
    call((struct fetch_request){.method = "POST", .body = BYTES("x"), .redirects = true, .headers = &secret, .headers_count = 1}, path);
    CHECK_INT(got.status, 200);
    char *request MEM_OWNED = last_request();
    test_note("%s", request);
    CHECK(strstr(request, "GET /other") && !strstr(request, "geheim") && !strstr(request, "X-Api-Key"));
    call((struct fetch_request){.redirects = true, .headers = &secret, .headers_count = 1}, "/redirect?/same");
    free(request);
    request = last_request();
    CHECK(strstr(request, "GET /same") && strstr(request, "geheim"));
    close_all();
}

TEST(an_answer_that_is_too_large_ends_the_call)
{
    open_all(&(struct fetch_options){0});
    call((struct fetch_request){.answer_max = 1000}, "/many");
    CHECK_INT(got.end, FETCH_TOO_LARGE);
    CHECK(strstr(got.problem, "1000 bytes"));
    call((struct fetch_request){.answer_max = 299999, .spool = true}, "/many");
    CHECK_INT(got.end, FETCH_TOO_LARGE);
    CHECK_INT(got.file, -1);
    call((struct fetch_request){.answer_max = 300000}, "/many");
    CHECK_INT(got.end, FETCH_ANSWERED);
    CHECK_INT(got.bytes, 300000);
    call((struct fetch_request){.answer_max = 1000}, "/error");
    CHECK_INT(got.end, FETCH_ANSWERED);
    CHECK_INT(got.status, 500);
    CHECK_INT(got.bytes, LIMIT_FETCH_ERROR_BYTES);
    CHECK_INT(got.retry_after_us, 7000000);
    close_all();
}

TEST(a_spooled_answer_is_a_file_without_a_name)
{
    struct stat stat;
    open_all(&(struct fetch_options){.spool_dir = "/tmp"});
    call((struct fetch_request){.answer_max = 1000000, .spool = true}, "/many");
    CHECK_INT(got.end, FETCH_ANSWERED);
    CHECK(got.file >= 0 && !got.body[0]);
    CHECK(!fstat(got.file, &stat) && stat.st_nlink == 0);
    CHECK_INT(stat.st_size, 300000);
    CHECK_INT(lseek(got.file, 0, SEEK_CUR), 0);
    CHECK(fcntl(got.file, F_GETFD) & FD_CLOEXEC);
    close(got.file);
    call((struct fetch_request){.spool = true}, "/ms");
    CHECK_INT(got.file, -1);
    close_all();
}

TEST(an_answer_without_a_body_needs_no_disk)
{
    open_all(&(struct fetch_options){.spool_dir = "/nowhere/at/all"});
    call((struct fetch_request){.spool = true}, "/empty");
    test_note("%s", got.problem);
    CHECK_INT(got.end, FETCH_ANSWERED);
    CHECK_INT(got.bytes, 0);
    CHECK(got.file >= 0);
    CHECK_INT(lseek(got.file, 0, SEEK_END), 0);
    CHECK(fcntl(got.file, F_GETFD) & FD_CLOEXEC);
    close(got.file);
    call((struct fetch_request){.spool = true}, "/x");
    CHECK_INT(got.end, FETCH_NETWORK);
    CHECK(strstr(got.problem, "cannot be kept in /nowhere/at/all: No such file or directory"));
    close_all();
}

TEST(how_long_to_wait_is_told_in_three_forms)
{
    open_all(&(struct fetch_options){0});
    call((struct fetch_request){0}, "/ms");
    CHECK_INT(got.retry_after_us, 250000);
    call((struct fetch_request){0}, "/date");
    CHECK(got.retry_after_us > 90000000 && got.retry_after_us <= 100000000);
    call((struct fetch_request){0}, "/x");
    CHECK_INT(got.retry_after_us, 0);
    close_all();
}

TEST(what_goes_wrong_on_the_wire_is_told_apart)
{
    char url[64];
    open_all(&(struct fetch_options){0});
    call((struct fetch_request){.timeout_us = 100000}, "/hold?key=geheim");
    CHECK_INT(got.end, FETCH_TIMEOUT);
    CHECK(strstr(got.problem, "127.0.0.1") && strstr(got.problem, "0.1 s") && !strstr(got.problem, "geheim"));
    call((struct fetch_request){0}, "/cut");
    CHECK_INT(got.end, FETCH_NETWORK);
    snprintf(url, sizeof url, "http://127.0.0.1:1/?key=geheim");
    call((struct fetch_request){0}, url);
    CHECK_INT(got.end, FETCH_NETWORK);
    CHECK(strstr(got.problem, "127.0.0.1:1") && !strstr(got.problem, "geheim"));
    close_all();
}

TEST(a_dropped_call_is_never_answered)
{
    int answers = 0;
    char url[64];
    open_all(&(struct fetch_options){0});
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hold", server.port);
    struct fetch_request request = {.method = "GET", .url = bytes_of(url)};
    for (int i = 0; i < 20; i++) {
        struct fetch_call *one = fetch_start(fetch, &request, on_answer, &answers);
        if (i % 2)
            call((struct fetch_request){0}, "/x");
        fetch_drop(one);
    }
    struct fetch_request quick = request;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/x", server.port);
    for (int i = 0; i < 50; i++) {
        struct fetch_call *one = fetch_start(fetch, &quick, on_answer, &answers);
        usleep(i * 20);                          /* at any moment of its life */
        fetch_drop(one);
    }
    call((struct fetch_request){0}, "/x");
    CHECK_INT(answers, 0);
    fetch_start(fetch, &request, on_answer, &answers);      /* and one under way when it is closed */
    close_all();
    CHECK_INT(answers, 0);
}

TEST_SLOW(more_calls_than_go_at_once_wait_in_line)
{
    int answers = 0;
    char url[64];
    enum { CALLS = LIMIT_FETCH_CALLS + 300 };
    open_all(&(struct fetch_options){0});
    snprintf(url, sizeof url, "http://127.0.0.1:%d/x", server.port);
    struct fetch_request request = {.method = "GET", .url = bytes_of(url)};
    memset(&got, 0, sizeof got);
    for (int i = 0; i < CALLS; i++)
        fetch_start(fetch, &request, on_answer, &answers);
    wait_for(CALLS);
    CHECK_INT(answers, CALLS);
    CHECK_INT(server.hits, CALLS);
    close_all();
}

TEST(a_host_that_never_answers_leaves_places_to_others)
{
    int answers = 0, silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    char url[64];
    CHECK(!bind(silent, (struct sockaddr *)&at, sizeof at) && !listen(silent, 1) && !getsockname(silent, (struct sockaddr *)&at, &size));
    open_all(&(struct fetch_options){0});
    memset(&got, 0, sizeof got);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/x", ntohs(at.sin_port));
    for (int i = 0; i < LIMIT_FETCH_CALLS + 50; i++)
        fetch_start(fetch, &(struct fetch_request){.method = "GET", .url = bytes_of(url)}, on_answer, &answers);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/x", server.port);
    fetch_start(fetch, &(struct fetch_request){.method = "GET", .url = bytes_of(url)}, on_answer, &answers);
    wait_for(1);
    CHECK_INT(answers, 1);
    CHECK_INT(got.status, 200);
    close_all();
    close(silent);
}

TEST(the_same_origin_is_scheme_host_and_port)
{
    CHECK(fetch_same_origin(BYTES("https://A.example/x"), BYTES("https://a.example:443/y?z")));
    CHECK(!fetch_same_origin(BYTES("http://a.example/"), BYTES("https://a.example/")));
    CHECK(!fetch_same_origin(BYTES("http://a.example/"), BYTES("http://a.example:81/")));
    CHECK(!fetch_same_origin(BYTES("http://a.example/"), BYTES("http://b.example/")));
    CHECK(!fetch_same_origin(BYTES("a"), BYTES("a")));
}
