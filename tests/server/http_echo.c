/* A program around the HTTP server alone, for tests/server/test_http.py and for measuring: routes that echo, count, stream, wait
 * and refuse. Arguments are settings, name=milliseconds or name=number; the first line on stdout is "ready on PORT". */
#include "base/json.h"
#include "base/mem.h"
#include "http/multipart.h"
#include "http/query.h"
#include "http/router.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct loop *loop;
static struct http_server *server;
static struct router *router;
static int closed[HTTP_CLOSING + 1];       /* requests by the way they ended */

static void note_close(struct http_request *request, enum http_why why)
{
    closed[why]++;
    free(request->user);
}

static void get_hello(struct http_request *request, void *data)
{
    http_answer(request, 200, "text/plain", BYTES("hello\n"));
}

static void get_params(struct http_request *request, void *data)
{
    struct buf body;
    buf_init(&body, 65536);
    for (int i = 0; i < request->params_count; i++)
        buf_print(&body, "%.*s\n", BYTES_ARG(request->params[i]));
    http_answer_buf(request, 200, "text/plain", &body);
}

static void answer_echo(struct http_request *request, struct bytes body)
{
    http_answer(request, 200, "application/octet-stream", body);
}

static void post_echo(struct http_request *request, void *data)
{
    request->on_close = note_close;
    http_read_all(request, 1000000, answer_echo);
}

/* ---- counting a body, with and without rests ---- */

struct count {
    int64_t bytes, chunks;
    int64_t rest_us;
    struct timer timer;
    struct http_request *request;
    struct multipart *form;
    int64_t parts;
};

static void count_close(struct http_request *request, enum http_why why)
{
    struct count *count = request->user;
    closed[why]++;
    timer_stop(loop, &count->timer);
    multipart_free(count->form);
    free(count);
}

static void go_on(struct timer *timer)
{
    http_resume(TIMER_OF(timer, struct count, timer)->request);
}

static void count_data(struct http_request *request, struct bytes chunk)
{
    struct count *count = request->user;
    count->bytes += (int64_t)chunk.count;
    count->chunks++;
    if (!count->rest_us)
        return;
    if (timer_runs(&count->timer))
        abort();                           /* a chunk came while paused */
    http_pause(request);
    timer_start(loop, &count->timer, count->rest_us, go_on);
}

static void count_end(struct http_request *request)
{
    struct count *count = request->user;
    struct buf body;
    buf_init(&body, 4096);
    buf_print(&body, "{\"bytes\":%lld,\"parts\":%lld}", (long long)count->bytes, (long long)count->parts);
    http_answer_buf(request, 200, "application/json", &body);
}

static struct count *count_new(struct http_request *request)
{
    struct count *count = MEM_NEW(struct count);
    request->user = count;
    request->on_close = count_close;
    count->request = request;
    query_int(request->query, "rest_us", &count->rest_us);
    return count;
}

static void post_count(struct http_request *request, void *data)
{
    static const struct http_body COUNT = {count_data, count_end};
    count_new(request);
    http_read_body(request, INT64_MAX, &COUNT);
}

static int form_part(void *user, const struct multipart_part *part)
{
    ((struct count *)user)->parts++;
    return 0;
}

static int form_data(void *user, struct bytes data)
{
    ((struct count *)user)->bytes += (int64_t)data.count;
    return 0;
}

static int form_part_end(void *user)
{
    return 0;
}

static void upload_data(struct http_request *request, struct bytes chunk)
{
    struct count *count = request->user;
    struct problem problem = {0};
    if (multipart_feed(count->form, chunk, &problem))
        http_refuse(request, 400, "%s", problem.text);
}

static void upload_end(struct http_request *request)
{
    struct count *count = request->user;
    struct problem problem = {0};
    if (multipart_end(count->form, &problem) < 0)
        http_refuse(request, 400, "%s", problem.text);
    else
        count_end(request);
}

static void post_upload(struct http_request *request, void *data)
{
    static const struct http_body UPLOAD = {upload_data, upload_end};
    static const struct multipart_calls CALLS = {form_part, form_data, form_part_end};
    char boundary[MULTIPART_BOUNDARY_SIZE];
    struct problem problem = {0};
    if (multipart_boundary(http_head_get(request->head, "Content-Type"), boundary, &problem)) {
        http_refuse(request, 415, "%s", problem_is(&problem) ? problem.text : "Send multipart/form-data.");
        return;
    }
    struct count *count = count_new(request);
    count->form = multipart_new(boundary, 0, &CALLS, count);
    http_read_body(request, INT64_MAX, &UPLOAD);
}

static void post_refuse(struct http_request *request, void *data)
{
    request->on_close = note_close;
    http_refuse(request, 400, "This is refused before a byte of it is read.");
}

/* ---- answers that come later ---- */

struct later {
    struct timer timer;
    struct http_request *request;
    int64_t left;
};

static void later_close(struct http_request *request, enum http_why why)
{
    struct later *later = request->user;
    timer_stop(loop, &later->timer);
    note_close(request, why);
}

static struct later *later_new(struct http_request *request)
{
    struct later *later = MEM_NEW(struct later);
    later->request = request;
    request->user = later;
    request->on_close = later_close;
    return later;
}

static void answer_later(struct timer *timer)
{
    http_answer(TIMER_OF(timer, struct later, timer)->request, 200, "text/plain", BYTES("later\n"));
}

static void get_later(struct http_request *request, void *data)
{
    int64_t ms = 50;
    query_int(request->query, "ms", &ms);
    timer_start(loop, &later_new(request)->timer, ms * 1000, answer_later);
}

static char pattern[65536];

/* Fill the stream until it holds no more, 64 KiB at a time; each byte says where in the stream it stands. */
static void fill_stream(struct http_request *request)
{
    struct later *later = request->user;
    while (later->left > 0 && http_stream_writable(request)) {
        size_t count = later->left < (int64_t)sizeof pattern ? (size_t)later->left : sizeof pattern;
        if (http_stream_write(request, (struct bytes){pattern, count}) != 0)
            return;
        later->left -= (int64_t)count;
    }
    if (later->left == 0)
        http_stream_end(request);
}

static void get_stream(struct http_request *request, void *data)
{
    struct later *later = later_new(request);
    query_int(request->query, "bytes", &later->left);
    http_stream_start(request, 200, "application/octet-stream", fill_stream);
    fill_stream(request);
}

static void get_large(struct http_request *request, void *data)
{
    struct buf body;
    int64_t count = 0;
    query_int(request->query, "bytes", &count);
    buf_init(&body, LIMIT_HTTP_ANSWER_BYTES);
    for (; count > 0; count -= (int64_t)sizeof pattern)
        buf_add(&body, pattern, count < (int64_t)sizeof pattern ? (size_t)count : sizeof pattern);
    request->on_close = note_close;
    http_answer_buf(request, 200, "application/octet-stream", &body);
}

static void tick(struct timer *timer)
{
    struct later *later = TIMER_OF(timer, struct later, timer);
    static const struct bytes FRAME[] = {{"event: tick\n", 12}, {"data: {}\n\n", 10}};
    http_stream_writev(later->request, FRAME, 2);
    if (--later->left == 0)
        http_stream_end(later->request);
    else
        timer_start(loop, timer, 20000, tick);
}

static void get_sse(struct http_request *request, void *data)
{
    struct later *later = later_new(request);
    query_int(request->query, "ticks", &later->left);
    http_header(request, "X-Job-Id", "a\r\nb");
    http_sse_start(request, NULL);
    if (later->left)
        timer_start(loop, &later->timer, 0, tick);
}

static long rss_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    if (status)
        fclose(status);
    return kib;
}

static void get_stats(struct http_request *request, void *data)
{
    struct buf body;
    buf_init(&body, 4096);
    buf_print(&body, "{\"done\":%d,\"gone\":%d,\"slow\":%d,\"refused\":%d,\"connections\":%d,\"open\":%d,\"rss_kib\":%ld}", closed[HTTP_DONE],
              closed[HTTP_GONE], closed[HTTP_SLOW], closed[HTTP_REFUSED], http_connections(server), http_requests_open(server), rss_kib());
    http_answer_buf(request, 200, "application/json", &body);
}

static void post_drain(struct http_request *request, void *data)
{
    http_drain(server);
    http_answer(request, 200, "text/plain", BYTES("draining\n"));
}

static const struct route ROUTES[] = {
    {HTTP_GET, "/hello", get_hello, "Says hello", "Nothing <more>.", true},
    {HTTP_GET, "/", get_hello, "Says hello", NULL, true},
    {HTTP_GET, "/params/{id}/x/{n}", get_params, "Echoes its parameters"},
    {HTTP_POST, "/echo", post_echo, "Echoes its body", NULL, false, "application/json", "application/octet-stream"},
    {HTTP_POST, "/count", post_count, "Counts its body", NULL, false, NULL, NULL, "rest_us"},
    {HTTP_POST, "/upload", post_upload, "Counts a form", NULL, false, "files"},
    {HTTP_POST, "/refuse", post_refuse, "Refuses"},
    {HTTP_GET, "/later", get_later, "Answers later", NULL, false, NULL, NULL, "ms"},
    {HTTP_GET, "/stream", get_stream, "Streams bytes", NULL, false, NULL, NULL, "bytes"},
    {HTTP_GET, "/large", get_large, "One large answer", NULL, false, NULL, NULL, "bytes"},
    {HTTP_GET, "/sse", get_sse, "An event stream", NULL, false, NULL, "text/event-stream", "ticks"},
    {HTTP_GET, "/stats", get_stats, "Counts"},
    {HTTP_POST, "/drain", post_drain, "Stops listening"},
};

static void stop(void *data, int number)
{
    loop_stop(loop);
}

static void set(struct http_settings *settings, struct bytes argument)
{
    int64_t value = 0;
    struct bytes name = bytes_cut(&argument, '=');
    if (!bytes_to_i64(argument, &value))
        exit(2);
    struct { const char *name; int64_t *at; } times[] = {
        {"idle", &settings->idle_us}, {"head", &settings->head_us}, {"window", &settings->body_window_us},
        {"stall", &settings->stall_us}, {"discard", &settings->discard_us},
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (bytes_equal(name, bytes_of(times[i].name)))
            *times[i].at = value * 1000;
    if (bytes_equal(name, BYTES("port")))
        settings->port = (int)value;
    if (bytes_equal(name, BYTES("connections")))
        settings->connections_max = (int)value;
    if (bytes_equal(name, BYTES("address")))
        settings->address_connections_max = (int)value;
    if (bytes_equal(name, BYTES("body")))
        settings->body_bytes_max = value;
}

int main(int argc, char **argv)
{
    struct problem problem = {0};
    struct http_settings settings = {.host = "127.0.0.1"};
    for (int i = 1; i < argc; i++)
        set(&settings, bytes_of(argv[i]));
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (char)(i * 31 + i / 256);
    router = router_new("Echo", "1");
    router_add(router, ROUTES, sizeof ROUTES / sizeof *ROUTES, NULL);
    router_add_docs(router);
    if (loop_open(&loop, &problem) < 0 || http_open(loop, &settings, router_request, router, &server, &problem) < 0) {
        fprintf(stderr, "%s\n", problem.text);
        return 2;
    }
    loop_on_signal(loop, SIGTERM, stop, NULL);
    printf("ready on %d\n", http_port(server));
    fflush(stdout);
    loop_run(loop);
    http_close(server);
    loop_close(loop);
    router_free(router);
    return 0;
}
