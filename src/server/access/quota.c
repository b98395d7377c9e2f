#include "server/access/quota.h"

#include "base/json.h"
#include "http/problem_json.h"
#include "server/access/keyring.h"

enum { BODY_BYTES_MAX = 16384 };

static int refuse(struct http_request *request, const char *quota, const char *what, int64_t limit, int64_t present, int64_t more)
{
    struct problem detail = {0};
    struct buf body BUF_OWNED;
    buf_init(&body, BODY_BYTES_MAX);
    problem_set(&detail, "The quota of this key is %lld %s; %lld are there and %lld would be added. Try again when some are done.", (long long)limit,
                what, (long long)present, (long long)more);
    problem_json(&body, 429, bytes_of(detail.text), request->path);
    body.count--;      /* its last brace */
    json_put_text(&body, "quota", quota);
    json_put_int(&body, "limit", limit);
    json_put_int(&body, "present", present);
    json_close(&body, '}');
    http_answer_buf(request, 429, PROBLEM_JSON_TYPE, &body);
    return 1;
}

static bool passes(int64_t limit, int64_t present, int64_t more)
{
    return limit < 0 || (present <= limit && more <= limit - present);
}

static int admit(struct service *service, struct http_request *request, int64_t jobs, int64_t items, int64_t bytes)
{
    const struct key *key = key_of(request);
    if (!key)
        return 0;
    const struct quota *quota = &key->quota;
    struct store_usage usage = store_usage(service->store, bytes_of(key->owner));
    if (jobs && !passes(quota->jobs, usage.jobs, jobs))
        return refuse(request, "jobs", "jobs that have not ended", quota->jobs, usage.jobs, jobs);
    if (!passes(quota->items, usage.items, items))
        return refuse(request, "items", "unfinished items", quota->items, usage.items, items);
    if (!passes(quota->bytes, usage.bytes, bytes))
        return refuse(request, "bytes", "bytes of inputs of jobs that have not ended", quota->bytes, usage.bytes, bytes);
    return 0;
}

int quota_admit(struct service *service, struct http_request *request, int64_t items, int64_t bytes)
{
    return admit(service, request, 0, items, bytes);
}

int quota_admit_job(struct service *service, struct http_request *request, int64_t items, int64_t bytes)
{
    return admit(service, request, 1, items, bytes);
}

int quota_admit_stream(struct service *service, struct http_request *request)
{
    struct key *key = key_of(request);
    if (!key)
        return 0;
    if (!passes(key->quota.streams, key->streams, 1))
        return refuse(request, "streams", "open event streams", key->quota.streams, key->streams, 1);
    request->admitted = true;
    key->streams++;
    return 0;
}

void quota_stream_opened(struct service *service, struct http_request *request)
{
    if (request->counted)
        return;
    request->counted = true;
    service->told.open++;
    service->told.opened++;
}

void quota_request_ended(struct service *service, struct http_request *request, enum http_why why)
{
    if (request->admitted)
        key_of(request)->streams--;
    service->told.open -= request->counted;
    service->told.slow_closed += request->counted && why == HTTP_SLOW;
    request->counted = request->admitted = false;
}
