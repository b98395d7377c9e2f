#include "cli/follow.h"

#include "base/mem.h"
#include "os/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PATIENCE_S = 120, TURN_MS = 1000, BAR_MS = 100, LINE_BYTES_MAX = CLIENT_LINE_BYTES };

struct fetch {
    struct fetch *next;
    int64_t item, at_us;
    char *name, *head;                /* the line up to its result */
    char *path;
};

static volatile sig_atomic_t interrupts;

static void note_interrupt(int number)
{
    if (interrupts++)
        _Exit(EXIT_SOME_FAILED);
}

void follow_heed_interrupt(void)
{
    struct sigaction action = {.sa_handler = note_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool follow_interrupted(void)
{
    return interrupts > 0;
}

/* ---- events ---- */

/* "2026-11-21T09:30:00.123Z" in µs; 0 when it is none. */
static int64_t time_of(struct bytes text)
{
    struct tm parts = {0};
    char copy[32] = "";
    memcpy(copy, text.at ? text.at : "", text.count < sizeof copy ? text.count : 0);
    char *rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &parts);
    return rest ? (int64_t)timegm(&parts) * 1000000 + (rest[0] == '.' ? strtol(rest + 1, NULL, 10) * 1000 : 0) : 0;
}

static struct bytes name_of(const struct follow *follow, int64_t item, struct json_object *body)
{
    return item < follow->names_count ? bytes_of(follow->names[item]) : json_get_bytes(body, "name");
}

static void put_head(struct buf *line, int64_t item, struct bytes data)
{
    json_open(line, '{');
    json_put_int(line, "index", item);
    json_put_raw(line, "filename", json_span(data, "name"));
}

static void put_end(struct buf *line)
{
    json_close(line, '}');
    buf_byte(line, '\n');
}

static void fetch_later(struct follow *follow, int64_t item, struct bytes name, struct bytes head, struct bytes path, int64_t at_us)
{
    struct fetch *fetch = MEM_NEW(struct fetch);
    *fetch = (struct fetch){NULL, item, at_us, mem_copy(name.at, name.count), mem_copy(head.at, head.count), mem_copy(path.at, path.count)};
    *follow->fetches_end = fetch;
    follow->fetches_end = &fetch->next;
}

static void item_ended(struct follow *follow, bool well, struct json_object *body, struct bytes data)
{
    int64_t item = json_get_int(body, "item", 0), at_us = time_of(json_get_bytes(body, "at"));
    struct bytes name = name_of(follow, item, body), path = json_get_bytes(body, "result_url");
    struct buf line BUF_OWNED;
    buf_init(&line, LINE_BYTES_MAX);
    put_head(&line, item, data);
    if (well && path.count) {
        fetch_later(follow, item, name, buf_bytes(&line), path, at_us);
        return;
    }
    if (well) {
        json_put_raw(&line, follow->result_key, json_span(data, "result"));
    } else {
        json_put_raw(&line, "error", json_span(data, "error"));
        json_put_raw(&line, "error_type", json_span(data, "error_type"));
    }
    put_end(&line);
    report_ended(&follow->report, item, name, well, buf_bytes(&line), at_us);
}

static void items_skipped(struct follow *follow, struct json_object *body)
{
    struct json_object *ranges = json_get(body, "ranges");
    for (size_t i = 0; json_object_is_type(ranges, json_type_array) && i < json_object_array_length(ranges); i++) {
        struct json_object *range = json_object_array_get_idx(ranges, i);
        if (!json_object_is_type(range, json_type_array) || json_object_array_length(range) != 2)
            continue;
        int64_t to = json_object_get_int64(json_object_array_get_idx(range, 1));
        for (int64_t item = json_object_get_int64(json_object_array_get_idx(range, 0)); item <= to; item++)
            report_skipped(&follow->report, item);
    }
}

static void count(struct follow *follow, struct json_object *body)
{
    struct json_object *counts = json_get(body, "counts");
    int64_t each[5];
    if (!json_object_is_type(counts, json_type_array) || json_object_array_length(counts) != 5)
        return;
    follow->total = 0;
    for (size_t i = 0; i < 5; i++)
        follow->total += each[i] = json_object_get_int64(json_object_array_get_idx(counts, i));
    if (follow->total < follow->names_count)
        follow->total = follow->names_count;    /* the rest is still on its way up */
    follow->counts = (struct counts){each[0], each[1], each[2], each[3], each[4]};
}

static void event(void *data, struct bytes name, struct json_object *body, struct bytes line)
{
    struct follow *follow = data;
    struct bytes state = json_get_bytes(body, "state");
    count(follow, body);
    if (follow->remote->json)
        printf("%.*s\n", BYTES_ARG(line)), fflush(stdout);
    if (bytes_equal(name, BYTES("result")) || bytes_equal(name, BYTES("failed")))
        item_ended(follow, name.at[0] == 'r', body, json_span(line, "data"));
    else if (bytes_equal(state, BYTES("processing")))
        report_started(&follow->report, json_get_int(body, "item", 0), time_of(json_get_bytes(body, "at")));
    else if (bytes_equal(state, BYTES("skipped")))
        items_skipped(follow, body);
    follow->cancelled |= bytes_equal(name, BYTES("cancelled"));
    follow->failed_job |= bytes_equal(json_get_bytes(body, "status"), BYTES("error"));
}

static void gap(void *data)
{
    struct follow *follow = data;
    bar_clear(&follow->bar);
    fprintf(stderr, "rivulet: the server's log of this job was restored; what was told so far may be told again\n");
}

/* ---- life ---- */

int follow_check(struct remote *remote, struct halt *ret)
{
    const char *halt = remote->arguments.values[FOLLOW_HALT];
    *ret = (struct halt){0};
    return halt ? halt_parse(halt, ret, &remote->problem) : 0;
}

static int learn(struct follow *follow, const char *job)
{
    char path[256];
    struct json_object *document JSON_OWNED = NULL;
    if (remote_job_path(follow->remote, job, "", path) || remote_call(follow->remote, "GET", path, (struct bytes){0}, &document))
        return -1;
    struct bytes key = json_get_bytes(document, "result_key");
    follow->result_key = key.count ? mem_copy(key.at, key.count) : mem_text("result");
    follow->bar.ended_before = json_get_int(document, "batches_completed", 0) + json_get_int(document, "batches_failed", 0);
    return 0;
}

int follow_begin(struct follow *follow, struct remote *remote, const char *job, const int64_t *seqs, char *const *names, int64_t names_count)
{
    struct report_options options = {.keep_order = remote->arguments.values[FOLLOW_KEEP_ORDER], .joblog = remote->arguments.values[FOLLOW_JOBLOG],
                                     .host = client_base(remote->client), .seqs = seqs, .lines = !remote->json};
    *follow = (struct follow){.remote = remote, .names = names, .names_count = names_count};
    follow->fetches_end = &follow->fetches;
    bar_init(&follow->bar, loop_now_us(NULL));
    if (follow_check(remote, &options.halt) || learn(follow, job) || report_begin(&follow->report, &options, &follow->bar, &remote->problem))
        return -1;
    follow->job = mem_text(job);
    follow->watching = (struct watching){.data = follow, .event = event, .gap = gap};
    watching_begin(&follow->watching, remote->client, job, PATIENCE_S);
    return 0;
}

static void do_fetches(struct follow *follow)
{
    for (struct fetch *fetch; (fetch = follow->fetches);) {
        struct client_answer answer CLIENT_ANSWER_OWNED = {0};
        struct client_request request = {.method = "GET", .path = fetch->path};
        struct problem problem = {0};
        struct buf line BUF_OWNED;
        buf_init(&line, CLIENT_ANSWER_BYTES);
        buf_text(&line, fetch->head);
        bool got = !client_insist(follow->remote->client, &request, PATIENCE_S, &answer, &problem) && answer.status == 200;
        if (got)
            json_put_raw(&line, follow->result_key, buf_bytes(&answer.body));
        else
            json_put_text(&line, "error", problem_is(&problem) ? problem.text : "its result could not be fetched");
        put_end(&line);
        report_ended(&follow->report, fetch->item, bytes_of(fetch->name), true, buf_bytes(&line), fetch->at_us);
        follow->fetches = fetch->next;
        if (!follow->fetches)
            follow->fetches_end = &follow->fetches;
        free(fetch->name);
        free(fetch->head);
        free(fetch->path);
        free(fetch);
    }
}

static void halt(struct follow *follow)
{
    char path[256];
    struct json_object *unused JSON_OWNED = NULL;
    follow->halted = true;
    if (!remote_job_path(follow->remote, follow->job, "/cancel", path))
        remote_call(follow->remote, "POST", path, (struct bytes){0}, &unused);
}

static bool turn(struct follow *follow, int ms_max)
{
    struct watching *watching = &follow->watching;
    int ms = watching_tend(watching);
    if (!watching->over && !problem_is(&watching->lost))
        client_turn(follow->remote->client, ms < ms_max ? ms : ms_max);
    do_fetches(follow);
    bar_draw(&follow->bar, &follow->counts, follow->total, loop_now_us(NULL), watching->over);
    if (!follow->halted && report_halts(&follow->report))
        halt(follow);
    return !watching->over && !problem_is(&watching->lost) && !follow->report.output_error && !follow_interrupted();
}

bool follow_turn(struct follow *follow)
{
    return turn(follow, follow->bar.shown ? BAR_MS : TURN_MS);
}

void follow_turn_now(struct follow *follow)
{
    turn(follow, 0);
}

static int verdict(struct follow *follow)
{
    const struct report *report = &follow->report;
    if (report->output_error == EPIPE)
        return EXIT_SOME_FAILED;
    if (report->output_error)
        fprintf(stderr, "rivulet: standard output cannot be written: %s\n", strerror(report->output_error));
    else if (problem_is(&follow->watching.lost))
        fprintf(stderr, "rivulet: %s; go on with: rivulet watch %s\n", follow->watching.lost.text, follow->job);
    else if (!follow->watching.over)
        fprintf(stderr, "rivulet: the job goes on; follow it with: rivulet watch %s\n", follow->job);
    else if (follow->cancelled)
        fprintf(stderr, "rivulet: the job was cancelled with %lld of %lld items not done\n", (long long)follow->counts.skipped, (long long)follow->total);
    bool well = follow->watching.over && !follow->cancelled && !follow->failed_job && !report->failed && !report->output_error;
    return well ? EXIT_WELL : EXIT_SOME_FAILED;
}

int follow_end(struct follow *follow)
{
    int status = follow->job ? (bar_finish(&follow->bar), verdict(follow)) : EXIT_USAGE;
    watching_end(&follow->watching);
    report_end(&follow->report);
    free(follow->job);
    free(follow->result_key);
    follow->job = follow->result_key = NULL;
    return status;
}
