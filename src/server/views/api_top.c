/* The best of a job so far: which they are stands in the fold, what they are in the log. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "server/ask.h"
#include "server/lookup.h"

#include <errno.h>
#include <stdlib.h>

enum { TOP_DEFAULT = 50, TOP_MAX = LIMIT_READ_ROWS };

struct top {
    struct lookup lookup;
    struct job_best *best;            /* as of the question, the best first; owned */
    size_t count, from;               /* all of them; the first that is wanted */
    int64_t limit;
    uint64_t revision;
    bool complete;
};

static struct top *top_of(struct lookup *lookup)
{
    return LIST_OF(lookup, struct top, lookup);
}

static void top_done(struct lookup *lookup)
{
    free(top_of(lookup)->best);
    free(top_of(lookup));
}

static int better_first(const void *a, const void *b)
{
    const struct job_best *one = a, *two = b;
    if (one->score != two->score)
        return one->score > two->score ? -1 : 1;
    return one->pos < two->pos ? -1 : 1;
}

static void put_one(const struct job_best *best, struct row **rows, size_t count, struct buf *body)
{
    json_open(body, '{');
    json_put_int(body, "item", best->item);
    if (best->record >= 0)
        json_put_int(body, "record", best->record);
    json_put_real(body, "score", best->score);
    for (size_t i = 0; i < count; i++) {
        struct bytes value = rows[i]->pos == best->pos ? json_span(row_body(rows[i]), best->record >= 0 ? "value" : "result") : (struct bytes){0};
        if (value.count)
            json_put_raw(body, "value", value);
    }
    json_close(body, '}');
}

static size_t wanted(const struct top *top)
{
    size_t left = top->count > top->from ? top->count - top->from : 0;
    return left < (size_t)top->limit ? left : (size_t)top->limit;
}

static void rows_came(void *data, struct row **rows, size_t count, int error)
{
    struct lookup *lookup = data;
    struct top *top = top_of(lookup);
    struct buf *body = &lookup->body;
    if (!lookup_rest(lookup))
        return;
    if (error < 0 || count < wanted(top)) {        /* what the fold names is in the log, unless the job was removed meanwhile */
        lookup_failed(lookup, error < 0 ? error : -ENOENT, "results");
        return;
    }
    json_open(body, '{');
    json_put_int(body, "revision", (int64_t)top->revision);
    json_put_flag(body, "is_complete", top->complete);
    json_put_int(body, "total", (int64_t)top->count);
    json_key(body, "top");
    json_open(body, '[');
    for (size_t i = 0; i < wanted(top); i++)
        put_one(&top->best[top->from + i], rows, count, body);
    json_close(body, ']');
    json_close(body, '}');
    http_header(lookup->request, "Cache-Control", "no-cache");
    http_answer_buf(lookup->request, 200, "application/json", body);
}

static void found(struct lookup *lookup, struct live *live)
{
    struct top *top = top_of(lookup);
    const struct job *job = live_job(live);
    int64_t from = 0;
    uint64_t positions[TOP_MAX];
    top->limit = TOP_DEFAULT;
    if (!ask_int(lookup->request, "limit", 1, TOP_MAX, &top->limit) || !ask_int(lookup->request, "from", 0, JOB_TOP_MAX, &from))
        return;
    top->from = (size_t)from;
    top->count = job->top_count;
    top->revision = job->top_revision;
    top->complete = job->ended;
    if (job->top_count) {
        top->best = (struct job_best *)mem_copy(job->top, job->top_count * sizeof *job->top);
        qsort(top->best, top->count, sizeof *top->best, better_first);
    }
    for (size_t i = 0; i < wanted(top); i++)
        positions[i] = top->best[top->from + i].pos;
    lookup_busy(lookup);
    if (wanted(top))
        store_at(lookup->service->store, live, positions, wanted(top), rows_came, lookup);
    else
        rows_came(lookup, NULL, 0, 0);
}

static void get_top(struct http_request *request, void *service)
{
    lookup_job_in(&MEM_NEW(struct top)->lookup, request, service, found, top_done);
}

static const struct route routes[] = {
    {HTTP_GET, "/v1/jobs/{id}/top", get_top, "The best results of a job so far",
     "What the pipeline's `top` keeps, the best first: {revision, is_complete, total, top: [{item, record?, score, value}]}. A value over 64 KiB is told as "
     "{blob, bytes}. revision rises with each change.", .query = "from limit", .schema = "Top"},
};

void api_top_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
