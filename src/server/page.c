#include "server/page.h"

#include "base/limits.h"
#include "server/service_own.h"

/* Nothing from elsewhere, no inline script or style, in no frame. */
static const char POLICY[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
                             "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const struct page_file *file_of(struct bytes path)
{
    for (size_t i = 0; i < page_files_count; i++)
        if (bytes_equal(path, bytes_of(page_files[i].path)))
            return &page_files[i];
    return NULL;
}

static void send_file(struct http_request *request, const struct page_file *file)
{
    http_header(request, "Content-Security-Policy", POLICY);
    http_header(request, "Referrer-Policy", "no-referrer");
    http_header(request, "Cache-Control", "no-cache");
    http_header(request, "ETag", file->tag);
    if (bytes_equal(http_head_get(request->head, "If-None-Match"), bytes_of(file->tag)))
        http_answer(request, 304, NULL, (struct bytes){0});
    else
        http_answer(request, 200, file->type, file->content);
}

static void get_asset(struct http_request *request, void *service)
{
    const struct page_file *file = file_of(request->path);
    if (file)
        send_file(request, file);
    else
        http_refuse(request, 404, "There is no such file.");
}

/* Every job has its address; the page finds out by itself whether there is such a job. */
static void get_page(struct http_request *request, void *service)
{
    (void)service;
    send_file(request, file_of(BYTES("/")));
}

static void get_index(struct http_request *request, void *data)
{
    http_header(request, "Vary", "Accept");
    if (http_accepts(request->head, "text/html")) {
        send_file(request, file_of(BYTES("/")));
        return;
    }
    struct buf buf BUF_OWNED;
    buf_init(&buf, LIMIT_BODY_BYTES);
    api_seed_index(data, &buf);
    http_answer_buf(request, 200, "application/json", &buf);
}

static const struct route routes[] = {
    {HTTP_GET, "/", get_index, "The page for browsers, an index of the endpoints for other clients", NULL,
     .gives = "text/html application/json=Index", .open = true},
    {HTTP_GET, "/jobs/{id}", get_page, "The page of one job", NULL, .gives = "text/html", .open = true},
    {HTTP_GET, "/assets/{file}", get_asset, "The parts of the page", NULL, .gives = "text/css", .open = true},
};

void page_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
