#include "server/service_own.h"

#include "base/limits.h"
#include "trip/trips.h"

/* ---- POST /v1/hooks/{token} ---- */

/* What a hook says is never believed, so it is not looked at. Who has no key of ours learns nothing from the answers but what it knew. */
static void answer(struct http_request *request, bool known)
{
    http_header(request, "Cache-Control", "no-store");
    http_answer(request, known ? 202 : 404, "application/json", known ? BYTES("{\"accepted\":true}") : BYTES("{\"accepted\":false}"));
}

static void dropped(struct http_request *request, struct bytes body)
{
    answer(request, request->user != NULL);
}

static void hook(struct http_request *request, void *data)
{
    struct service *service = data;
    struct crew *trips = service->settings.trips;
    bool known = trips && trips_wake(trips, request->params[0]) == 0;
    request->user = known ? service : NULL;
    if (request->body_bytes < 0 || request->body_bytes > LIMIT_HOOK_BYTES)
        answer(request, known);
    else
        http_read_all(request, LIMIT_HOOK_BYTES, dropped);
}

static const struct route routes[] = {
    {HTTP_POST, "/v1/hooks/{token}", hook, "A remote side says that it is ready", "The address that a remote job gives to the service it waits for. Its body is "
     "not looked at: we ask the service ourselves, only sooner. 404 when the address is none of ours.", .takes = "application/json", .schema = "Hooked",
     .status = 202, .open = true},
};

void hooks_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
