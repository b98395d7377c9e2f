#include "server/service_own.h"

#include "server/access/keyring.h"
#include "server/note.h"

void service_job_headers(struct http_request *request, const struct job *job)
{
    struct buf location BUF_OWNED;
    buf_init(&location, 256);
    buf_print(&location, "/v1/jobs/%s", job->id);
    http_header(request, "X-Job-Id", job->id);
    http_header(request, "Location", buf_z(&location));
    note_about(request, job);
}

struct bytes service_owner(const struct service *service, const struct http_request *request)
{
    const struct key *key = key_of(request);
    return key ? bytes_of(key->owner) : service->settings.owner;
}

bool service_may_see(const struct service *service, const struct http_request *request, const struct job *job)
{
    return bytes_equal(bytes_of(job->owner), service_owner(service, request));
}

void service_refuse_busy(const struct service *service, struct http_request *request, const struct problem *problem)
{
    bool full = store_disk_full(service->store);
    if (!full)
        http_header(request, "Retry-After", "1");
    http_refuse(request, full ? 507 : 503, "%s", problem_is(problem) ? problem->text : "No work is taken in at the moment.");
}

int service_feed_fill(struct service *service, struct feed *feed, struct buf *buf)
{
    uint64_t before = feed->frames;
    int answer = feed_fill(feed, buf);
    service->told.frames += feed->frames - before;
    return answer;
}

struct service_facts service_facts_now(const struct service *service)
{
    struct service_facts facts = {.ready = true};
    if (service->settings.facts)
        service->settings.facts(service->settings.facts_data, &facts);
    return facts;
}

void service_left(struct service *service, struct live *live, enum http_why why, bool cancel_on_leave)
{
    if (cancel_on_leave && (why == HTTP_GONE || why == HTTP_SLOW) && !live_job(live)->ended)
        engine_cancel(service->engine, live, BYTES("client"), BYTES("its client has left"));
}
