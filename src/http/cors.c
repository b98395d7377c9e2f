#include "http/cors.h"

#include "http/http.h"

void cors_put(struct buf *head, const char *allow_origin)
{
    if (!*allow_origin)
        return;
    buf_print(head, "Access-Control-Allow-Origin: %s\r\n", allow_origin);
    if (strcmp(allow_origin, "*") != 0)
        buf_text(head, "Vary: Origin\r\n");
    buf_text(head, "Access-Control-Expose-Headers: X-Job-Id, Location, Link, ETag, Retry-After\r\n");
}

void cors_preflight(struct http_request *request, const char *allow)
{
    http_header(request, "Allow", allow);
    http_header(request, "Access-Control-Allow-Methods", allow);
    http_header(request, "Access-Control-Allow-Headers", "Accept, Authorization, Cache-Control, Content-Type, Idempotency-Key, "
                "If-None-Match, Last-Event-ID, Prefer, X-Requested-With");
    http_header(request, "Access-Control-Max-Age", "86400");
    http_answer(request, 204, NULL, (struct bytes){NULL, 0});
}
