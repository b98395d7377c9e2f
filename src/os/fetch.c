/* The loop's side: requests are copied and checked here, given to the thread of their lane, and their answers taken from one list when
 * the bell (an eventfd) rings. */
#include "os/fetch_own.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "os/fetch_url.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* ---- calls ---- */

static const char *const token_extra = "!#$%&'*+-.^_`|~";

static bool is_token(struct bytes text)
{
    for (size_t i = 0; i < text.count; i++) {
        char c = text.at[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && (!c || !strchr(token_extra, c)))
            return false;
    }
    return text.count > 0;
}

static int add_header(struct fetch_call *call, struct bytes line, struct problem *problem)
{
    struct bytes value = line, name = bytes_cut(&value, ':');
    if (!is_token(name) || name.count == line.count)
        return problem_set(problem, "a header line has no name: it must be \"Name: value\"");
    for (size_t i = 0; i < value.count; i++)
        if (((unsigned char)value.at[i] < 0x20 && value.at[i] != '\t') || value.at[i] == 0x7f)
            return problem_set(problem, "the header %.*s has a control character in its value", (int)(name.count < 80 ? name.count : 80), name.at);
    if (line.count > LIMIT_FETCH_HEAD_BYTES)
        return problem_set(problem, "the header %.80s is longer than %d bytes", name.at, LIMIT_FETCH_HEAD_BYTES);
    char *copy MEM_OWNED = NULL;
    value = bytes_trim(value);
    if (value.count) {
        copy = mem_copy(line.at, line.count);
    } else {                                     /* curl's way to say a header without a value */
        copy = mem_copy(line.at, name.count + 1);
        copy[name.count] = ';';
    }
    call->headers = curl_slist_append(call->headers, copy);
    return 0;
}

static int copy_request(struct fetch_call *call, const struct fetch_request *request, struct problem *problem)
{
    struct buf url BUF_OWNED;
    buf_init(&url, 3 * LIMIT_FETCH_URL_BYTES);
    if (fetch_url_check(request->url, &url, problem))
        return -1;
    call->url = mem_text(buf_z(&url));
    if (!request->method || !is_token(bytes_of(request->method)))
        return problem_set(problem, "the method of a call must be a word such as GET or POST");
    call->method = mem_text(request->method);
    if (request->body.count > LIMIT_FETCH_BODY_BYTES)
        return problem_set(problem, "the body of a call has %zu bytes: at most %d are sent", request->body.count, LIMIT_FETCH_BODY_BYTES);
    if (request->body.count)
        call->body = mem_copy(request->body.at, call->body_count = request->body.count);
    for (size_t i = 0; i < request->headers_count; i++)
        if (add_header(call, request->headers[i], problem))
            return -1;
    call->part_name = mem_text(request->part_name);
    call->part_file = mem_text(request->part_file);
    if (request->part_fields.count)
        call->part_fields = mem_copy(request->part_fields.at, request->part_fields.count);
    return 0;
}

void fetch_call_free(struct fetch_call *call)
{
    fetch_easy_free(call);
    curl_slist_free_all(call->headers);
    if (call->own.file >= 0)
        close(call->own.file);
    buf_done(&call->own.head);
    buf_done(&call->own.body);
    free(call->method);
    free(call->url);
    free(call->at);
    free(call->body);
    free(call->part_name);
    free(call->part_file);
    free(call->part_fields);
    free(call);
}

static void ring(struct fetch *fetch)
{
    uint64_t one = 1;
    while (write(fetch->bell, &one, sizeof one) < 0 && errno == EINTR)
        ;                                        /* else it can only fail because the bell rings already */
}

void fetch_answered(struct fetch_call *call)
{
    struct fetch *fetch = call->fetch;
    pthread_mutex_lock(&fetch->lock);
    bool dropped = call->dropped, first = list_empty(&fetch->answered);
    if (dropped) {
        list_leave(&call->drop_link);
    } else {
        call->state = CALL_ANSWERED;
        list_push(&fetch->answered, &call->link);
    }
    pthread_mutex_unlock(&fetch->lock);
    if (dropped)
        fetch_call_free(call);
    else if (first)                              /* else the bell has rung and nobody came yet */
        ring(fetch);
}

struct fetch_call *fetch_start(struct fetch *fetch, const struct fetch_request *request, fetch_fn *done, void *data)
{
    struct fetch_call *call = MEM_NEW(struct fetch_call);
    call->fetch = fetch;
    call->done = done;
    call->data = data;
    call->timeout_us = request->timeout_us > 0 ? request->timeout_us : LIMIT_FETCH_TIMEOUT_US;
    call->answer_max = request->answer_max > 0 ? request->answer_max : LIMIT_FETCH_ANSWER_BYTES;
    call->spool = request->spool;
    call->guarded = request->guarded;
    call->redirects = request->redirects;
    call->own.file = call->answer.file = -1;
    buf_init(&call->own.head, LIMIT_FETCH_HEAD_BYTES);
    buf_init(&call->own.body, call->answer_max > LIMIT_FETCH_ERROR_BYTES ? call->answer_max : LIMIT_FETCH_ERROR_BYTES);
    list_init(&call->link);
    list_init(&call->drop_link);
    if (copy_request(call, request, &call->answer.problem)) {
        call->answer.end = FETCH_REFUSED;
        fetch_answered(call);
        return call;
    }
    struct lane *lane = &fetch->lanes[call->guarded];
    pthread_mutex_lock(&fetch->lock);
    bool first = list_empty(&lane->asked);
    list_push(&lane->asked, &call->link);
    pthread_mutex_unlock(&fetch->lock);
    if (first)                                   /* else it is woken already and has not come yet */
        fetch_poll_wake(lane);
    return call;
}

void fetch_drop(struct fetch_call *call)
{
    if (!call)
        return;
    struct fetch *fetch = call->fetch;
    struct lane *lane = &fetch->lanes[call->guarded];
    pthread_mutex_lock(&fetch->lock);
    bool taken = call->state == CALL_TAKEN, told = call->state == CALL_DONE;
    if (taken) {
        call->dropped = true;
        list_push(&lane->drops, &call->drop_link);
    } else {
        list_leave(&call->link);
    }
    pthread_mutex_unlock(&fetch->lock);
    if (taken)
        fetch_poll_wake(lane);
    else if (!told)                              /* inside its own `done`: it is freed after that */
        fetch_call_free(call);
}

/* ---- answers ---- */

struct bytes fetch_header(const struct fetch_answer *answer, const char *name)
{
    struct bytes found = {NULL, 0}, rest = answer->own ? buf_bytes(&answer->own->head) : found;
    while (rest.count) {
        struct bytes value = bytes_cut(&rest, '\n'), key = bytes_cut(&value, ':');
        if (bytes_equal_nocase(key, bytes_of(name)))
            found = bytes_trim(value);
    }
    return found;
}

static double number_of(struct bytes text)
{
    char copy[32], *end;
    if (!text.count || text.count >= sizeof copy || text.at[0] < '0' || text.at[0] > '9')
        return -1;
    memcpy(copy, text.at, text.count);
    copy[text.count] = 0;
    double value = strtod(copy, &end);
    return *end || !isfinite(value) ? -1 : value;
}

int64_t fetch_retry_after_us(struct bytes in_ms, struct bytes text, int64_t now_s)
{
    double ms = number_of(in_ms);
    double seconds = ms >= 0 ? ms / 1000 : number_of(text);
    if (seconds < 0 && text.count && text.count < 64) {
        char copy[64];
        memcpy(copy, text.at, text.count);
        copy[text.count] = 0;
        time_t date = curl_getdate(copy, NULL);
        seconds = date < 0 ? 0 : difftime(date, (time_t)now_s);
    }
    double most = LIMIT_FETCH_RETRY_US / 1e6;
    return seconds <= 0 ? 0 : (int64_t)((seconds < most ? seconds : most) * 1e6);
}

static void tell(struct fetch_call *call)
{
    struct fetch_answer *answer = &call->answer;
    call->state = CALL_DONE;
    answer->own = &call->own;
    answer->status = call->own.status;
    answer->bytes = call->own.bytes;
    answer->type = fetch_header(answer, "content-type");
    answer->retry_after_us = fetch_retry_after_us(fetch_header(answer, "retry-after-ms"), fetch_header(answer, "retry-after"), time(NULL));
    if (answer->end == FETCH_ANSWERED) {
        answer->file = call->own.file;
        call->own.file = -1;
        if (answer->file < 0)
            answer->body = buf_bytes(&call->own.body);
    }
    call->done(call->data, answer);
    fetch_call_free(call);
}

static void on_bell(void *data, int events)
{
    struct fetch *fetch = data;
    struct list told;
    uint64_t times;
    list_init(&told);
    if (read(fetch->bell, &times, sizeof times) != sizeof times)
        return;
    pthread_mutex_lock(&fetch->lock);
    for (struct list *link; (link = list_pop(&fetch->answered));)
        list_push(&told, link);
    pthread_mutex_unlock(&fetch->lock);
    for (struct list *link; (link = list_pop(&told));)
        tell(LIST_OF(link, struct fetch_call, link));
}

/* ---- open and close ---- */

/* Its thread is gone, or never was. Curl still names sockets while it closes them. */
static void close_lane(struct lane *lane)
{
    curl_multi_cleanup(lane->multi);
    lane->multi = NULL;
    fetch_poll_close(lane);
}

static int open_lane(struct fetch *fetch, int which, struct problem *problem)
{
    struct lane *lane = &fetch->lanes[which];
    lane->fetch = fetch;
    lane->guarded = which;
    lane->multi = curl_multi_init();
    if (!lane->multi)
        return problem_set(problem, "libcurl cannot be set up");
    curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, (long)LIMIT_FETCH_OPEN);
    int failed = fetch_poll_open(lane, problem);
    if (!failed && (failed = pthread_create(&lane->thread, NULL, fetch_lane_run, lane)))
        problem_set(problem, "a thread for calls cannot be started: %s", strerror(failed));
    if (failed)
        close_lane(lane);
    return failed ? -1 : 0;
}

static int open_bell(struct fetch *fetch, struct problem *problem)
{
    fetch->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int result = fetch->bell < 0 ? -errno : watch_open(fetch->loop, fetch->bell, on_bell, fetch, &fetch->watch);
    if (result)
        return problem_set(problem, "calls cannot be set up: %s", strerror(-result));
    watch_want(fetch->watch, LOOP_READ);
    return 0;
}

int fetch_open(struct loop *loop, const struct fetch_options *options, struct fetch **ret, struct problem *problem)
{
    struct fetch *fetch = MEM_NEW(struct fetch);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    pthread_mutex_init(&fetch->lock, NULL);
    fetch->loop = loop;
    fetch->bell = -1;
    fetch->user_agent = mem_text(options->user_agent ? options->user_agent : "rivulet/" RIVULET_VERSION);
    fetch->spool_dir = mem_text(options->spool_dir ? options->spool_dir : "/tmp");
    fetch->replay = options->fixtures && !options->record;
    list_init(&fetch->answered);
    for (int i = 0; i < 2; i++) {
        struct list *lists[] = {&fetch->lanes[i].asked, &fetch->lanes[i].drops, &fetch->lanes[i].ready, &fetch->lanes[i].running};
        for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
            list_init(lists[l]);
    }
    if (guard_parse(options->allow, &fetch->guard, problem) ||
        (options->fixtures && fixtures_open(options->fixtures, options->record, &fetch->fixtures, problem)) || open_bell(fetch, problem) ||
        open_lane(fetch, 0, problem) || open_lane(fetch, 1, problem)) {
        fetch_close(fetch);
        return -1;
    }
    *ret = fetch;
    return 0;
}

void fetch_close(struct fetch *fetch)
{
    if (!fetch)
        return;
    pthread_mutex_lock(&fetch->lock);
    fetch->closing = true;
    pthread_mutex_unlock(&fetch->lock);
    for (int i = 0; i < 2; i++) {
        struct lane *lane = &fetch->lanes[i];
        if (!lane->multi)
            continue;
        fetch_poll_wake(lane);
        pthread_join(lane->thread, NULL);
        close_lane(lane);
        for (struct list *link; (link = list_pop(&lane->asked));)
            fetch_call_free(LIST_OF(link, struct fetch_call, link));
    }
    for (struct list *link; (link = list_pop(&fetch->answered));)
        fetch_call_free(LIST_OF(link, struct fetch_call, link));
    watch_close(fetch->watch);
    if (fetch->bell >= 0)
        close(fetch->bell);
    fixtures_close(fetch->fixtures);
    pthread_mutex_destroy(&fetch->lock);
    free(fetch->user_agent);
    free(fetch->spool_dir);
    free(fetch);
    curl_global_cleanup();
}
