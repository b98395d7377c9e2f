/* GET /v1/jobs/{id}/results: the items that have ended, a line each.
 *
 *     order=completion   a walk through the log: each item.done and item.failed as it stands there
 *     order=input        by index: the states of a window of items are asked for, then the last words of those that have ended
 *     order=score        a walk through the log that keeps 16 bytes an item, sorted in the pool, then their last words in that order
 *
 * Memory: the picks (16 bytes an item by score, at most a window otherwise), the last words of WORDS items, one write. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "readers/lines.h"
#include "server/access/quota.h"
#include "server/ask.h"
#include "server/lookup.h"
#include "server/stream/flow.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum order { ORDER_COMPLETION, ORDER_INPUT, ORDER_SCORE };
enum { WORDS = 32, TURN_ROWS = 1024 };

struct pick {
    double score;
    int64_t item;
};

struct results {
    struct lookup lookup;             /* looks the job up, and keeps it */
    struct flow flow;
    struct cursor cursor;             /* the walk through the log */
    struct cursor large;              /* over one row, for its result in a blob; zeroed while none is read */
    struct store_wait durable;        /* what the states rest on */
    enum order order;
    bool follow, inside;              /* inside fill: what is answered at once does not pump */
    bool asking, gone;                /* the store or the pool has it; its request has closed meanwhile */
    bool counted;                     /* in service.sorts */
    bool gathered, broken;            /* SCORE: the picks are there and sorted; the log could not be read */
    uint64_t until;                   /* without follow: the last event to look at */
    int64_t skip;                     /* lines that the client has already */
    int64_t next, total;              /* INPUT: the next item to look at; without follow: the end */
    bool stopped;                     /* INPUT, follow: the item at `next` has not ended */
    struct pick *picks;               /* owned */
    size_t picks_at, picks_count, picks_room;
    struct row *words[WORDS];         /* one reference each */
    int words_at, words_count;
};

static void results_free(struct results *results)
{
    store_unwait(&results->durable);
    cursor_close(&results->cursor);
    cursor_close(&results->large);
    while (results->words_at < results->words_count)
        row_unref(results->words[results->words_at++]);
    free(results->picks);
    free(results);
}

static void pump(struct results *results)
{
    if (!results->inside)
        flow_pump(&results->flow);
}

static void told(struct cursor *cursor)
{
    pump(LIST_OF(cursor, struct results, cursor));
}

static void large_told(struct cursor *cursor)
{
    pump(LIST_OF(cursor, struct results, large));
}

static void add_pick(struct results *results, double score, int64_t item)
{
    if (results->picks_count == results->picks_room) {
        results->picks_room = results->picks_room ? results->picks_room * 2 : 256;
        results->picks = mem_grow(results->picks, results->picks_room * sizeof *results->picks);
    }
    results->picks[results->picks_count++] = (struct pick){score, item};
}

/* ---- questions to the store and the pool; each is one at a time, and what it needs outlives the request ---- */

static void ask_begin(struct results *results)
{
    results->asking = true;
}

/* False when nobody waits any more: it is all gone. */
static bool ask_end(struct results *results)
{
    results->asking = false;
    if (!results->gone)
        return true;
    lookup_leave(&results->lookup);
    return false;
}

static void states_durable(struct store_wait *wait)
{
    struct results *results = LIST_OF(wait, struct results, durable);
    if (ask_end(results))
        pump(results);
}

/* A window of states, from results->next on: the picks are those that have a line. */
static void states_came(void *data, const struct store_item *items, size_t count, int error)
{
    struct results *results = data;
    results->broken = error < 0 || !count;
    for (size_t i = 0; i < count && !results->stopped && (results->follow || results->next < results->total); i++) {
        const struct item *state = &items[i].state;
        results->stopped = results->follow && !item_ended(state);
        if (results->stopped)
            break;
        results->next = items[i].index + 1;
        if (state->state == ITEM_DONE || state->state == ITEM_FAILED)
            add_pick(results, 0, items[i].index);
    }
    store_when(results->lookup.service->store, &results->durable, live_job(results->lookup.live)->pos, states_durable);
}

static void words_came(void *data, const struct store_item *items, size_t count, int error)
{
    struct results *results = data;
    results->broken = error < 0 || !count;
    results->words_at = results->words_count = 0;
    for (size_t i = 0; i < count; i++)
        if (items[i].word)
            results->words[results->words_count++] = row_ref(items[i].word);
    if (ask_end(results))
        pump(results);
}

static void ask_words(struct results *results)
{
    int64_t items[WORDS];
    size_t count = 0;
    while (count < WORDS && results->picks_at < results->picks_count)
        items[count++] = results->picks[results->picks_at++].item;
    ask_begin(results);
    store_words(results->lookup.service->store, results->lookup.live, items, count, words_came, results);
}

static int by_score(const void *a, const void *b)
{
    const struct pick *left = a, *right = b;
    if (left->score != right->score)
        return left->score < right->score ? 1 : -1;
    return (left->item > right->item) - (left->item < right->item);
}

/* In the pool. */
static int sort(void *data)
{
    struct results *results = data;
    if (results->picks_count)
        qsort(results->picks, results->picks_count, sizeof *results->picks, by_score);
    return 0;
}

static void sorted(void *data, int answer)
{
    struct results *results = data;
    results->gathered = true;
    results->picks_at = (size_t)results->skip < results->picks_count ? (size_t)results->skip : results->picks_count;
    if (ask_end(results))
        pump(results);
}

/* ---- lines ---- */

static bool is_past(const struct results *results)
{
    return !results->follow && results->cursor.next > results->until;
}

static int fill_completion(struct results *results, struct buf *buf)
{
    struct frame_header header = frame_header_of(live_job(results->lookup.live));
    for (int rows = 0; rows < TURN_ROWS && buf->count < LIMIT_STREAM_WRITE_BYTES; rows++) {
        struct row *row;
        struct bytes result;
        if (is_past(results))
            return FEED_END;
        int answer = cursor_next(&results->cursor, &row, &result);
        if (answer == CURSOR_WAIT)
            return FEED_WAIT;
        results->broken = answer == CURSOR_LOST;
        if (answer != CURSOR_ROW)
            return FEED_END;
        if (row->kind != EVENT_ITEM_DONE && row->kind != EVENT_ITEM_FAILED)
            continue;
        if (results->skip)
            results->skip--;
        else
            lines_render(&header, row, result, buf);
    }
    return FEED_MORE;
}

/* What ranks an item: its score, else the accuracy among its stats; those without either, and failures, come last. */
static double score_of(const struct row *row)
{
    struct bytes body = row_body(row), raw = json_span(body, "score");
    char text[40];
    if (!raw.count)
        raw = json_span(json_span(body, "stats"), "accuracy");
    if (row->kind != EVENT_ITEM_DONE || !raw.count || raw.count >= sizeof text)
        return row->kind == EVENT_ITEM_DONE ? -DBL_MAX : -INFINITY;
    memcpy(text, raw.at, raw.count);
    text[raw.count] = 0;
    return strtod(text, NULL);
}

/* The walk that gathers the picks. */
static int gather(struct results *results)
{
    for (int rows = 0; rows < TURN_ROWS; rows++) {
        struct row *row;
        struct bytes result;
        int answer = is_past(results) ? CURSOR_END : cursor_next(&results->cursor, &row, &result);
        if (answer == CURSOR_WAIT)
            return FEED_WAIT;
        results->broken = answer == CURSOR_LOST;
        if (results->broken)
            return FEED_END;
        if (answer == CURSOR_END) {
            cursor_close(&results->cursor);
            ask_begin(results);
            loop_pool(results->lookup.service->loop, sort, sorted, results);
            return FEED_WAIT;
        }
        if (row->kind == EVENT_ITEM_DONE || row->kind == EVENT_ITEM_FAILED)
            add_pick(results, score_of(row), row->item);
    }
    return FEED_MORE;
}

/* Ask for the next picks. FEED_MORE: they came at once; FEED_WAIT; FEED_END: there are no more. */
static int next_window(struct results *results)
{
    const struct job *job = live_job(results->lookup.live);
    if (results->follow ? job->ended && results->next >= job->total : results->next >= results->total)
        return FEED_END;
    if (results->next >= job->total || (results->stopped && job->items && !item_ended(&job->items[results->next])))
        return FEED_WAIT;    /* at news */
    results->picks_at = results->picks_count = 0;
    results->stopped = false;
    ask_begin(results);
    store_states(results->lookup.service->store, results->lookup.live, results->next, states_came, results);
    return results->asking ? FEED_WAIT : FEED_MORE;
}

static int next_words(struct results *results)
{
    if (results->asking)
        return FEED_WAIT;
    if (results->order == ORDER_SCORE && !results->gathered)
        return gather(results);
    if (results->order == ORDER_INPUT && results->skip) {
        size_t left = results->picks_count - results->picks_at;
        size_t count = (uint64_t)results->skip < left ? (size_t)results->skip : left;
        results->picks_at += count;
        results->skip -= (int64_t)count;
    }
    if (results->picks_at == results->picks_count)
        return results->order == ORDER_INPUT ? next_window(results) : FEED_END;
    ask_words(results);
    return results->asking ? FEED_WAIT : FEED_MORE;
}

/* The result of a row that a blob holds, by a cursor that gives this one row. 0 = *ret is good until large_close; FEED_WAIT. */
static int large_result(struct results *results, struct row *word, struct bytes *ret)
{
    struct row *row;
    if (!results->large.live) {
        cursor_open(&results->large, &results->lookup.service->world, results->lookup.live, FACE_SEED, large_told);
        cursor_after(&results->large, word->seq - 1);
    }
    int answer = cursor_next(&results->large, &row, ret);
    if (answer == CURSOR_WAIT)
        return FEED_WAIT;
    if (answer != CURSOR_ROW)
        *ret = (struct bytes){0};
    return 0;
}

/* One line of the words at hand; FEED_WAIT while its result is being read. */
static int put_word(struct results *results, struct buf *buf)
{
    struct frame_header header = frame_header_of(live_job(results->lookup.live));
    struct row *word = results->words[results->words_at];
    struct bytes result = {0};
    struct sha sha;
    if (frame_blob(FACE_SEED, word, &sha) && large_result(results, word, &result) == FEED_WAIT)
        return FEED_WAIT;
    lines_render(&header, word, result, buf);
    cursor_close(&results->large);
    row_unref(word);
    results->words_at++;
    return FEED_MORE;
}

static int fill_picked(struct results *results, struct buf *buf)
{
    int answer = FEED_MORE;
    int64_t window = results->next;    /* one a turn: a million states without a line must not hold the loop */
    for (int turn = 0; turn < TURN_ROWS && answer == FEED_MORE && buf->count < LIMIT_STREAM_WRITE_BYTES && window == results->next; turn++) {
        if (results->broken)
            return FEED_END;
        answer = results->words_at < results->words_count ? put_word(results, buf) : next_words(results);
    }
    return answer;
}

static int fill(struct flow *flow, struct buf *buf)
{
    struct results *results = LIST_OF(flow, struct results, flow);
    results->inside = true;
    int answer = results->order == ORDER_COMPLETION ? fill_completion(results, buf) : fill_picked(results, buf);
    results->inside = false;
    if (results->broken) {
        buf_text(buf, "{\"error\":\"The log of the job can no longer be read.\",\"error_type\":\"interrupted\"}\n");
        return FEED_END;
    }
    return answer;
}

static void pause_reading(struct flow *flow)
{
    struct results *results = LIST_OF(flow, struct results, flow);
    if (results->cursor.live)
        cursor_rest(&results->cursor);
}

/* ---- life ---- */

static void flow_done(struct flow *flow)
{
    struct results *results = LIST_OF(flow, struct results, flow);
    results->gone = true;
    flow->service->sorts -= results->counted;
    if (!results->asking)
        lookup_leave(&results->lookup);
}

static void lookup_done(struct lookup *lookup)
{
    results_free(LIST_OF(lookup, struct results, lookup));
}

static const struct flow_kind results_kind = {
    .content_type = "application/jsonl", .fill = fill, .pause = pause_reading, .done = flow_done, .sign = "\n",
    .farewell = "{\"error\":\"The server is going down; ask again with after=N for the lines behind the first N.\",\"error_type\":\"interrupted\"}\n",
};

static void results_found(struct lookup *lookup, struct live *live)
{
    static const char *const orders[] = {"completion", "input", "score"};
    struct results *results = LIST_OF(lookup, struct results, lookup);
    struct http_request *request = lookup->request;
    int order = ORDER_COMPLETION;
    if (!ask_flag(request, "follow", &results->follow) || !ask_word(request, "order", orders, 3, &order) ||
        !ask_int(request, "after", 0, INT64_MAX, &results->skip))
        return;
    if (order == ORDER_SCORE && lookup->service->sorts >= LIMIT_SORTS) {
        http_refuse(request, 503, "%d answers are being put in order by score, as many as are at a time.", LIMIT_SORTS);
        return;
    }
    results->order = (enum order)order;
    results->counted = order == ORDER_SCORE;
    lookup->service->sorts += results->counted;
    if (results->follow)
        quota_stream_opened(lookup->service, request);
    results->until = live_durable_seq(live);
    results->total = live_job(live)->total;
    service_job_headers(request, live_job(live));
    cursor_open(&results->cursor, &lookup->service->world, live, order == ORDER_COMPLETION ? FACE_SEED : FACE_JOB, told);
    flow_begin(&results->flow, lookup->service, request, &results_kind);
}

static void get_results(struct http_request *request, void *service)
{
    lookup_job_in(&MEM_NEW(struct results)->lookup, request, service, results_found, lookup_done);
}

static const struct route routes[] = {
    {HTTP_GET, "/v1/jobs/{id}/results", get_results, "The results as JSON Lines",
     "A line for each item that has ended: {index, filename, and the result under the pipeline's key} or {index, filename, error, error_type}. Skipped "
     "items have none. follow=1 goes on until the job has ended (an empty line is a sign of life). order=completion (default) is the order of the log; input goes by index and, "
     "when following, waits for the next one; score puts the highest first, when following after the end. after=N leaves the first N lines away. "
     "Results of up to 1 MiB stand in their line. A line without an index says why there are no more.",
     .gives = "application/jsonl", .query = "follow order after", .schema = "ResultLine"},
};

void api_results_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}
