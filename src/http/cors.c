#include "http/cors.h"

#include "http/http.h"

bool cors_listed(const char *origins, struct bytes origin)
{
    struct bytes list = bytes_of(origins);
    bool found = false;
    while (list.count)
        found |= bytes_equal(bytes_trim(bytes_cut(&list, ',')), origin);
    return found && origin.count && !bytes_equal(origin, BYTES("*"));
}

void cors_put(struct buf *head, const char *origins, struct bytes origin)
{
    if (!*origins)
        return;
    bool all = !strcmp(origins, "*"), listed = !all && cors_listed(origins, origin);
    if (!all)
        buf_text(head, "Vary: Origin\r\n");
    if (!all && !listed)
        return;
    if (all)
        buf_text(head, "Access-Control-Allow-Origin: *\r\n");
    else
        buf_print(head, "Access-Control-Allow-Origin: %.*s\r\nAccess-Control-Allow-Credentials: true\r\n", BYTES_ARG(origin));
    buf_text(head, "Access-Control-Expose-Headers: X-Job-Id, Location, Link, ETag, Retry-After, WWW-Authenticate, Idempotent-Replay, "
                   "Preference-Applied\r\n");
}

/* "https://host" or "http://host:port", and nothing behind it. */
static bool is_origin(struct bytes text)
{
    struct bytes rest = text, scheme = bytes_cut(&rest, ':');
    bool web = bytes_equal(scheme, BYTES("http")) || bytes_equal(scheme, BYTES("https"));
    if (!web || !bytes_start(rest, BYTES("//")) || rest.count < 3)
        return false;
    for (size_t i = 2; i < rest.count; i++)
        if (strchr("/?#@* \t\"\\", rest.at[i]) || rest.at[i] < 0x21 || rest.at[i] > 0x7e)
            return false;
    return true;
}

int cors_check(const char *origins, struct problem *problem)
{
    struct bytes list = bytes_of(origins);
    while (list.count) {
        struct bytes one = bytes_trim(bytes_cut(&list, ','));
        if (one.count && !is_origin(one))
            return problem_set(problem, "\"%.*s\" is no origin: RIVULET_CORS_ORIGINS takes https://host or http://host:port, separated by commas",
                               (int)(one.count < 200 ? one.count : 200), one.at);
    }
    return 0;
}

void cors_preflight(struct http_request *request, const char *allow)
{
    http_header(request, "Allow", allow);
    http_header(request, "Access-Control-Allow-Methods", allow);
    http_header(request, "Access-Control-Allow-Headers", "Accept, Authorization, Cache-Control, Content-Type, Idempotency-Key, "
                "If-None-Match, Last-Event-ID, Prefer, Traceparent, X-Requested-With");
    http_header(request, "Access-Control-Max-Age", "86400");
    http_answer(request, 204, NULL, (struct bytes){NULL, 0});
}
