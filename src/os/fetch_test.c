#include "os/fetch.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/test.h"
#include "os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a server on loopback, one connection after another, one answer each ---- */

enum { REQUEST_BYTES = 256 * 1024 };

static struct {
    int listener, port, held[64], held_count;
    pthread_t thread;
    pthread_mutex_t lock;
    int hits;
    char last[REQUEST_BYTES];
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t read_request(int fd, char *at, size_t room)
{
    size_t count = 0, want = 0;
    for (ssize_t got; count < room - 1 && (!want || count < want) && (got = read(fd, at + count, room - 1 - count)) > 0;) {
        count += got;
        at[count] = 0;
        char *end = strstr(at, "\r\n\r\n"), *length = strstr(at, "Content-Length: ");
        if (end && !want)
            want = (size_t)(end + 4 - at) + (length && length < end ? strtoul(length + 16, NULL, 10) : 0);
    }
    at[count] = 0;
    return count;
}

static void send_text(int fd, const char *text)
{
    for (size_t left = strlen(text); left;) {
        ssize_t sent = send(fd, text, left, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        left -= sent;
    }
}

static void send_many(int fd, const char *head, size_t bytes)
{
    char piece[1001];
    memset(piece, 'x', 1000);
    piece[1000] = 0;
    send_text(fd, head);
    for (size_t at = 0; at < bytes; at += 1000)
        send_text(fd, piece);
}

/* False: the connection is kept open without an answer. */
static bool answer(int fd, const char *path)
{
    char text[512];
    if (!strncmp(path, "/hold", 5))
        return false;
    if (!strncmp(path, "/redirect?", 10)) {
        snprintf(text, sizeof text, "HTTP/1.1 302 Found\r\nLocation: %.*s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                 (int)strcspn(path + 10, " "), path + 10);
        send_text(fd, text);
    } else if (!strncmp(path, "/loop", 5)) {
        send_text(fd, "HTTP/1.1 307 Again\r\nLocation: /loop\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    } else if (!strncmp(path, "/many", 5)) {
        send_many(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 300000);
    } else if (!strncmp(path, "/error", 6)) {
        send_many(fd, "HTTP/1.1 500 Bad\r\nRetry-After: 7\r\nConnection: close\r\n\r\n", 100000);
    } else if (!strncmp(path, "/ms", 3)) {
        send_text(fd, "HTTP/1.1 429 Slow\r\nretry-after-ms: 250\r\nRetry-After: 9\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    } else if (!strncmp(path, "/date", 5)) {
        char date[64];
        time_t at = time(NULL) + 100;
        struct tm parts;
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&at, &parts));
        snprintf(text, sizeof text, "HTTP/1.1 503 Busy\r\nRetry-After: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", date);
        send_text(fd, text);
    } else if (!strncmp(path, "/cut", 4)) {
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nonly this");
    } else {
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-RateLimit-Left: 3\r\nSet-Cookie: a=1\r\nContent-Length: 11\r\n"
                      "Connection: close\r\n\r\n{\"ok\":true}");
    }
    return true;
}

static void *serve(void *unused)
{
    char *request MEM_OWNED = mem_new(REQUEST_BYTES);
    for (int fd; (fd = accept(server.listener, NULL, NULL)) >= 0;) {
        if (!read_request(fd, request, REQUEST_BYTES)) {
            close(fd);
            continue;
        }
        pthread_mutex_lock(&server.lock);
        server.hits++;
        memcpy(server.last, request, REQUEST_BYTES);
        pthread_mutex_unlock(&server.lock);
        char *path = strchr(request, ' ');
        if (path && answer(fd, path + 1))
            close(fd);
        else if (server.held_count < 64)
            server.held[server.held_count++] = fd;
    }
    return NULL;
}

static void open_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    server.hits = server.held_count = 0;
    server.last[0] = 0;
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(!bind(server.listener, (struct sockaddr *)&address, size) && !listen(server.listener, 64));
    getsockname(server.listener, (struct sockaddr *)&address, &size);
    server.port = ntohs(address.sin_port);
    CHECK(!pthread_create(&server.thread, NULL, serve, NULL));
}

static void close_server(void)
{
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listener);
    for (int i = 0; i < server.held_count; i++)
        close(server.held[i]);
}

/* ---- calls ---- */

static struct loop *loop;
static struct fetch *fetch;
static struct {
    int count, status, file;
    enum fetch_end end;
    int64_t bytes, retry_after_us;
    char body[70000], problem[512], limit[16], type[64];
} got;

static void open_all(const struct fetch_options *options)
{
    struct problem problem = {0};
    CHECK_INT(loop_open(&loop, &problem), 0);
    CHECK_INT(fetch_open(loop, options, &fetch, &problem), 0);
    open_server();
}

static void close_all(void)
{
    fetch_close(fetch);
    loop_close(loop);
    close_server();
}

static void on_answer(void *data, struct fetch_answer *answer)
{
    got.count++;
    got.status = answer->status;
    got.end = answer->end;
    got.bytes = answer->bytes;
    got.file = answer->file;
    got.retry_after_us = answer->retry_after_us;
    size_t count = answer->body.count < sizeof got.body - 1 ? answer->body.count : sizeof got.body - 1;
    if (count)
        memcpy(got.body, answer->body.at, count);
    got.body[count] = 0;
    snprintf(got.problem, sizeof got.problem, "%s", answer->problem.text);
    snprintf(got.limit, sizeof got.limit, "%.*s", BYTES_ARG(fetch_header(answer, "x-ratelimit-LEFT")));
    snprintf(got.type, sizeof got.type, "%.*s", BYTES_ARG(answer->type));
    if (data)
        *(int *)data += 1;
}

static void wait_for(int count)
{
    while (got.count < count)
        loop_turn(loop, true);
}

static void call(struct fetch_request request, const char *path)
{
    char url[512];
    snprintf(url, sizeof url, "%s", path);
    if (path[0] == '/')
        snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server.port, path);
    request.url = bytes_of(url);
    request.method = request.method ? request.method : "GET";
    memset(&got, 0, sizeof got);
    fetch_start(fetch, &request, on_answer, NULL);
    CHECK_INT(got.count, 0);
    wait_for(1);
}

static char *last_request(void)
{
    pthread_mutex_lock(&server.lock);
    char *copy = mem_text(server.last);
    pthread_mutex_unlock(&server.lock);
    return copy;
}

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

/* ---- fixtures ---- */

static void remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(path);
}

/* The text of all files of the folder. */
static char *text_of(const char *path)
{
    struct buf all BUF_OWNED;
    char name[512];
    buf_init(&all, 4 * 1024 * 1024);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        buf_print(&all, "%s\n", entry->d_name);
        if (entry->d_name[0] != '.')
            file_read(name, &all);
    }
    closedir(dir);
    return buf_take(&all, NULL);
}

TEST(what_was_recorded_is_replayed_without_a_network)
{
    char dir[] = "/tmp/fixtures-XXXXXX";
    struct bytes secret = BYTES("Authorization: Bearer geheim");
    struct fetch_request post = {.method = "POST", .body = BYTES("[1]"), .headers = &secret, .headers_count = 1};
    CHECK(mkdtemp(dir));
    open_all(&(struct fetch_options){.fixtures = dir, .record = true});
    int port = server.port;
    call(post, "/x?api_key=geheim&page=2&notify=http://me/geheim");
    call((struct fetch_request){0}, "/ms");
    call((struct fetch_request){0}, "/x");
    call((struct fetch_request){.spool = true, .answer_max = 1000000}, "/many");
    close(got.file);
    close_all();
    char *text MEM_OWNED = text_of(dir);
    CHECK(!strstr(text, "geheim") && !strstr(text, "Cookie"));
    CHECK(strstr(text, "page=2") && strstr(text, "\"body\":{\"ok\":true}") && strstr(text, "X-RateLimit-Left"));

    open_all(&(struct fetch_options){.fixtures = dir});
    close_server();
    open_server();
    server.port = port;                          /* nobody listens there any more: the addresses are those of the recording */
    for (int i = 0; i < 2; i++) {
        call(post, "/x?api_key=other&page=2&notify=http://me/again");
        CHECK_INT(got.status, 200);
        CHECK_TEXT(got.body, "{\"ok\":true}");
        CHECK_TEXT(got.limit, "3");
        CHECK_TEXT(got.type, "application/json");
    }
    call((struct fetch_request){0}, "/ms");
    CHECK_INT(got.status, 429);
    CHECK_INT(got.retry_after_us, 250000);
    call((struct fetch_request){.spool = true, .answer_max = 1000000}, "/many");
    CHECK(got.file >= 0);
    CHECK_INT(lseek(got.file, 0, SEEK_END), 300000);
    close(got.file);
    call((struct fetch_request){.spool = true, .answer_max = 1000}, "/many");
    CHECK_INT(got.end, FETCH_TOO_LARGE);
    post.body = BYTES("[2]");
    call(post, "/x?api_key=other&page=2");
    CHECK_INT(got.end, FETCH_REFUSED);
    CHECK(strstr(got.problem, "no recorded answer") && strstr(got.problem, dir));
    CHECK_INT(server.hits, 0);
    close_all();
    remove_dir(dir);
}

static void write_fixture(const char *dir, const char *name, int number, const char *state)
{
    char path[512], text[256];
    snprintf(path, sizeof path, "%s/%s-%d.json", dir, name, number);
    snprintf(text, sizeof text, "{\"request\":{},\n \"response\": { \"status\": 200,\n \"body\": {\"state\": \"%s\"} }}", state);
    CHECK_INT(file_replace(path, bytes_of(text)), 0);
}

TEST(calls_that_are_the_same_get_the_files_in_order_and_the_last_again)
{
    char dir[] = "/tmp/fixtures-XXXXXX", name[256] = "";
    CHECK(mkdtemp(dir));
    open_all(&(struct fetch_options){.fixtures = dir});
    call((struct fetch_request){0}, "http://collector.invalid/progress");
    CHECK_INT(got.end, FETCH_REFUSED);
    const char *at = strstr(got.problem, "GET_"), *end = at ? strstr(at, "-1.json") : NULL;
    CHECK(end);
    snprintf(name, sizeof name, "%.*s", (int)(end - at), at);
    write_fixture(dir, name, 1, "building");
    write_fixture(dir, name, 2, "ready");
    close_all();
    open_all(&(struct fetch_options){.fixtures = dir});
    static const char *const states[] = {"building", "ready", "ready"};
    for (int i = 0; i < 3; i++) {
        call((struct fetch_request){0}, "http://collector.invalid/progress");
        test_note("%s %s", got.problem, got.body);
        CHECK(strstr(got.body, states[i]));
    }
    close_all();
    remove_dir(dir);
}

TEST(a_folder_of_fixtures_that_is_not_there_is_told_at_once)
{
    struct problem problem = {0};
    CHECK_INT(loop_open(&loop, &problem), 0);
    CHECK(fetch_open(loop, &(struct fetch_options){.fixtures = "/nowhere/at/all"}, &fetch, &problem) < 0);
    CHECK(strstr(problem.text, "/nowhere/at/all"));
    problem = (struct problem){0};
    CHECK(fetch_open(loop, &(struct fetch_options){.allow = "house"}, &fetch, &problem) < 0);
    CHECK(strstr(problem.text, "house"));
    loop_close(loop);
}
