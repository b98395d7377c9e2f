/* The items of a job: pages of them, one, and the result of one. Nothing here walks the log: an item's cell names its last word. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "readers/lines.h"
#include "server/ask.h"
#include "server/lookup.h"

#include <stdlib.h>

enum { PAGE_DEFAULT = 50, PAGE_MAX = LIMIT_READ_ROWS };

struct items {
    struct lookup lookup;
    int group;                        /* enum lines_group to show, -1 = all */
    int64_t limit;
    int64_t from;                     /* the next index to look at */
    int64_t picks[PAGE_MAX];
    size_t count;
    bool more;
    struct timer again;               /* the next window of states: others have their turn first */
    struct cursor large;              /* over the one row whose result is in a blob */
};

static struct items *items_of(struct lookup *lookup)
{
    return LIST_OF(lookup, struct items, lookup);
}

static void items_done(struct lookup *lookup)
{
    timer_stop(lookup->service->loop, &items_of(lookup)->again);
    cursor_close(&items_of(lookup)->large);
    free(items_of(lookup));
}

static void tell(struct store_wait *wait)
{
    struct lookup *lookup = LIST_OF(wait, struct lookup, wait);
    http_answer_buf(lookup->request, 200, "application/json", &lookup->body);
}

/* The answer rests on states as they are now. */
static void tell_when_durable(struct lookup *lookup)
{
    http_header(lookup->request, "Cache-Control", "no-cache");
    store_when(lookup->service->store, &lookup->wait, live_job(lookup->live)->pos, tell);
}

/* ---- GET /v1/jobs/{id}/items ---- */

static void page_came(void *data, const struct store_item *items, size_t count, int error)
{
    struct lookup *lookup = data;
    struct items *own = items_of(lookup);
    struct frame_header header = frame_header_of(live_job(lookup->live));
    struct buf *body = &lookup->body;
    if (!lookup_rest(lookup))
        return;
    if (error < 0) {
        lookup_failed(lookup, error, "items");
        return;
    }
    json_open(body, '{');
    json_key(body, "items");
    json_open(body, '[');
    for (size_t i = 0; i < count; i++)
        lines_item(&header, &items[i], body);
    json_close(body, ']');
    json_close(body, '}');
    if (own->more)
        ask_link_next(lookup->request, own->picks[own->count - 1]);
    tell_when_durable(lookup);
}

static void give_page(struct lookup *lookup)
{
    struct items *own = items_of(lookup);
    lookup_busy(lookup);
    if (own->count)
        store_items(lookup->service->store, lookup->live, own->picks, own->count, page_came, lookup);
    else
        page_came(lookup, NULL, 0, 0);
}

static void ask_again(struct timer *timer);

static void states_came(void *data, const struct store_item *items, size_t count, int error)
{
    struct lookup *lookup = data;
    struct items *own = items_of(lookup);
    if (!lookup_rest(lookup))
        return;
    if (error < 0) {
        lookup_failed(lookup, error, "items");
        return;
    }
    for (size_t i = 0; i < count && !own->more; i++) {
        own->from = items[i].index + 1;
        if ((int)lines_group_of(&items[i].state) != own->group)
            continue;
        own->more = own->count == (size_t)own->limit;
        if (!own->more)
            own->picks[own->count++] = items[i].index;
    }
    if (own->more || !count || own->from >= live_job(lookup->live)->total)
        give_page(lookup);
    else
        timer_start(lookup->service->loop, &own->again, 0, ask_again);
}

static void ask_states(struct lookup *lookup)
{
    lookup_busy(lookup);
    store_states(lookup->service->store, lookup->live, items_of(lookup)->from, states_came, lookup);
}

static void ask_again(struct timer *timer)
{
    ask_states(&TIMER_OF(timer, struct items, again)->lookup);
}

static void items_found(struct lookup *lookup, struct live *live)
{
    struct items *own = items_of(lookup);
    struct http_request *request = lookup->request;
    int64_t after = -1, total = live_job(live)->total;
    own->group = -1;
    own->limit = PAGE_DEFAULT;
    if (!ask_word(request, "state", lines_groups, LINES_GROUPS, &own->group) || !ask_int(request, "limit", 1, PAGE_MAX, &own->limit) ||
        !ask_int(request, "after", 0, INT64_MAX - 1, &after))
        return;
    own->from = after + 1;
    if (own->group >= 0 && own->from < total) {
        ask_states(lookup);
        return;
    }
    for (int64_t item = own->from; item < total && own->count < (size_t)own->limit; item++)
        own->picks[own->count++] = item;
    own->more = own->count && own->picks[own->count - 1] + 1 < total;
    give_page(lookup);
}

static void get_items(struct http_request *request, void *service)
{
    lookup_job_in(&MEM_NEW(struct items)->lookup, request, service, items_found, items_done);
}

/* ---- one item ---- */

/* Ask for the item that the path names; refuses when the job has none such. */
static void ask_item(struct lookup *lookup, store_items_fn *came)
{
    struct bytes name = lookup->request->params[1];
    int64_t total = live_job(lookup->live)->total;
    uint64_t item;
    if (!bytes_to_u64(name, &item) || item >= (uint64_t)total) {
        http_refuse(lookup->request, 404, "The job has no item \"%.*s\": it has %lld, counted from 0.", (int)(name.count < 32 ? name.count : 32), name.at,
                    (long long)total);
        return;
    }
    lookup_busy(lookup);
    store_items(lookup->service->store, lookup->live, &(int64_t){(int64_t)item}, 1, came, lookup);
}

static void item_came(void *data, const struct store_item *items, size_t count, int error)
{
    struct lookup *lookup = data;
    if (!lookup_rest(lookup))
        return;
    if (error < 0 || !count) {
        lookup_failed(lookup, error, "items");
        return;
    }
    struct frame_header header = frame_header_of(live_job(lookup->live));
    lines_item(&header, items, &lookup->body);
    tell_when_durable(lookup);
}

static void item_found(struct lookup *lookup, struct live *live)
{
    ask_item(lookup, item_came);
}

static void get_item(struct http_request *request, void *service)
{
    lookup_job(request, service, item_found);
}

/* ---- its result ---- */

/* The blob of the row has been read, or not. */
static void large_came(struct cursor *cursor)
{
    struct items *own = LIST_OF(cursor, struct items, large);
    struct lookup *lookup = &own->lookup;
    struct bytes result;
    struct row *row;
    int answer = cursor_next(cursor, &row, &result);
    if (answer == CURSOR_WAIT)
        return;
    cursor->news = NULL;
    if (answer != CURSOR_ROW || !result.count)
        http_refuse(lookup->request, 410, "The result can no longer be read.");
    else
        http_answer(lookup->request, 200, "application/json", result);
}

static void result_came(void *data, const struct store_item *items, size_t count, int error)
{
    struct lookup *lookup = data;
    struct items *own = items_of(lookup);
    struct sha sha;
    if (!lookup_rest(lookup))
        return;
    if (error < 0 || !count) {
        lookup_failed(lookup, error, "items");
        return;
    }
    const struct row *word = items->word;
    if (items->state.state != ITEM_DONE || !word) {
        http_refuse(lookup->request, 404, "Item %lld has no result%s.", (long long)items->index, item_ended(&items->state) ? "" : " yet");
    } else if (frame_blob(FACE_SEED, word, &sha)) {
        cursor_open(&own->large, &lookup->service->world, lookup->live, FACE_SEED, large_came);
        cursor_after(&own->large, word->seq - 1);
        large_came(&own->large);
    } else {
        buf_put(&lookup->body, json_span(row_body(word), "result"));
        tell_when_durable(lookup);
    }
}

static void result_found(struct lookup *lookup, struct live *live)
{
    ask_item(lookup, result_came);
}

static void get_result(struct http_request *request, void *service)
{
    lookup_job_in(&MEM_NEW(struct items)->lookup, request, service, result_found, items_done);
}

static const struct route routes[] = {
    {HTTP_GET, "/v1/jobs/{id}/items", get_items, "The items of a job, in the order they came in",
     "{\"items\":[…]}. state= is pending, processing, completed, failed or skipped; limit= 1 to 256 (50). A Link header with rel=\"next\" leads to the next "
     "page; after=N begins behind item N.", .query = "state after limit", .schema = "ItemList"},
    {HTTP_GET, "/v1/jobs/{id}/items/{n}", get_item, "One item, counted from 0",
     "{item, name, key, type, bytes, state, attempt}, and result (over 64 KiB: result_url, result_bytes, result_type) or error, error_type, stage.",
     .schema = "Item"},
    {HTTP_GET, "/v1/jobs/{id}/items/{n}/result", get_result, "The result of one item", "404 while there is none.", .schema = "Result"},
};

void api_items_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
