/* For the tests of trips: a loop, a fetch, an asker over a crew that computes in this very process, an engine's client that takes notes, and a small
 * server that answers as its script says. One a file. */
#pragma once
#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/test.h"
#include "stage/stage.h"
#include "trip/trip_own.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the other side ---- */

struct side {
    int socket, port;
    pthread_t thread;
    /* Writes the answer to the call number `count` (from 0). On the server's thread. */
    void (*script)(int count, struct bytes request, struct buf *ret);
    atomic_int calls;
    atomic_bool over;
    struct buf seen;               /* all requests, one behind the other; looked at after the calls */
};

static inline void side_answer(struct buf *ret, int status, const char *headers, const char *body)
{
    buf_print(ret, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n%s", status, strlen(body), headers, body);
}

static inline bool whole_request(struct bytes seen)
{
    const char *end = memmem(seen.at, seen.count, "\r\n\r\n", 4), *length = memmem(seen.at, seen.count, "Content-Length: ", 16);
    if (!end)
        return false;
    size_t body = length && length < end ? strtoul(length + 16, NULL, 10) : 0;
    return seen.count >= (size_t)(end - seen.at) + 4 + body;
}

static inline void *side_main(void *data)
{
    struct side *side = data;
    char room[65536];
    for (;;) {
        int peer = accept(side->socket, NULL, NULL);
        if (peer < 0 || side->over)
            break;
        size_t count = 0;
        while (!whole_request((struct bytes){room, count})) {
            ssize_t got = recv(peer, room + count, sizeof room - count, 0);
            if (got <= 0)
                break;
            count += (size_t)got;
        }
        struct buf BUF_OWNED answer;
        buf_init(&answer, 4 << 20);
        buf_add(&side->seen, room, count);
        side->script(side->calls++, (struct bytes){room, count}, &answer);
        for (size_t sent = 0; sent < answer.count;) {
            ssize_t some = send(peer, answer.at + sent, answer.count - sent, MSG_NOSIGNAL);
            if (some <= 0)
                break;
            sent += (size_t)some;
        }
        close(peer);
    }
    return NULL;
}

static inline void side_open(struct side *side, void (*script)(int count, struct bytes request, struct buf *ret))
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof here;
    *side = (struct side){.script = script};
    buf_init(&side->seen, 4 << 20);
    side->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(side->socket, (struct sockaddr *)&here, sizeof here), 0);
    CHECK_INT(listen(side->socket, 64), 0);
    CHECK_INT(getsockname(side->socket, (struct sockaddr *)&here, &length), 0);
    side->port = ntohs(here.sin_port);
    CHECK_INT(pthread_create(&side->thread, NULL, side_main, side), 0);
}

static inline void side_close(struct side *side)
{
    side->over = true;
    shutdown(side->socket, SHUT_RDWR);
    pthread_join(side->thread, NULL);
    close(side->socket);
    buf_done(&side->seen);
}

/* ---- workers in this process ---- */

struct thinker {
    struct crew crew;
    struct loop *loop;
    size_t busy, most;
    struct list going;
    struct buf lessons;            /* what it was told to learn, a line each */
    int asked, unlearned;          /* questions, and those of them that no lesson was of */
};

struct thought {
    struct list link;
    struct thinker *thinker;
    struct timer timer;
    struct token token;
    struct stage_outcome outcome;
};

static inline void thought_told(struct timer *timer)
{
    struct thought *thought = TIMER_OF(timer, struct thought, timer);
    struct thinker *thinker = thought->thinker;
    struct stage_outcome *own = &thought->outcome;
    struct outcome outcome = {.verdict = own->verdict == STAGE_DONE ? VERDICT_DONE : own->verdict == STAGE_RETRY ? VERDICT_RETRY : VERDICT_FAIL,
                              .value = buf_bytes(&own->value), .error = bytes_of(own->error.text), .error_type = bytes_of(own->error_type)};
    list_leave(&thought->link);
    thinker->busy--;
    thinker->crew.client.outcome(thinker->crew.client.data, thought->token, &outcome, false);
    stage_outcome_done(own);
    free(thought);
}

static inline void thinker_learn(struct crew *crew, const struct task *task)
{
    struct buf *lessons = &((struct thinker *)crew)->lessons;
    buf_put(lessons, task->stages);
    buf_byte(lessons, '\n');
}

static inline void think(struct crew *crew, const struct task *task)
{
    struct thinker *thinker = (struct thinker *)crew;
    bool learned = thinker->lessons.count && memmem(thinker->lessons.at, thinker->lessons.count, task->stages.at, task->stages.count);
    thinker->asked++;
    thinker->unlearned += !learned;
    if (thinker->lessons.count && !learned)
        test_note("nobody was told to learn %.*s", BYTES_ARG(task->stages));
    JSON_OWNED struct json_object *stages = json_parse(task->stages, NULL);
    struct json_object *stage = json_object_array_get_idx(stages, 0);
    const struct stage_kind *kind = stage_kind_find(json_get_bytes(stage, "stage"));
    struct bytes settings = bytes_of(json_object_to_json_string(json_get(stage, "with")));
    struct thought *thought = MEM_NEW(struct thought);
    void *state = NULL;
    stage_outcome_init(&thought->outcome);
    CHECK(kind && !kind->open(&STAGE_OUTFIT_EMPTY, &state, NULL));
    kind->run(state, &(struct stage_task){.input_fd = task->input_fd, .value = task->value, .type = task->type, .variables = task->variables,
                                          .settings = settings}, &thought->outcome);
    kind->close(state);
    if (task->input_fd >= 0)
        close(task->input_fd);
    thought->thinker = thinker;
    thought->token = task->token;
    list_init(&thought->link);
    list_push(&thinker->going, &thought->link);
    thinker->busy++;
    thinker->most = thinker->busy > thinker->most ? thinker->busy : thinker->most;
    timer_start(thinker->loop, &thought->timer, 0, thought_told);
}

static inline size_t thinker_free(struct crew *crew)
{
    return 2 - ((struct thinker *)crew)->busy;
}

static inline void thinker_stop(struct crew *crew, struct token token, bool for_good)
{
    struct thinker *thinker = (struct thinker *)crew;
    LIST_EACH(link, &thinker->going) {
        struct thought *thought = LIST_OF(link, struct thought, link);
        if (thought->token.item != token.item)
            continue;
        timer_stop(thinker->loop, &thought->timer);
        list_leave(&thought->link);
        stage_outcome_done(&thought->outcome);
        thinker->busy--;
        free(thought);
    }
}

/* ---- the whole ---- */

static struct bench {
    struct loop *loop;
    struct fetch *fetch;
    struct thinker thinker;
    struct asker *asker;
    struct crew *crew;
    struct side side;
    struct pipeline *pipeline;
    struct blobs *blobs;
    char dir[64];
    int outcomes, records, fence_at;       /* fence_at: the record told as number … finds that its item is held by another; 0 = none */
    enum verdict verdict;
    bool fail_job, has_blob, with_record;
    int64_t retry_after_us;
    char value[4096], error[1024], type[64], stage[64], usage[512], told[8192];      /* told: of records, one a line */
} bench;

static inline void copy(char *to, size_t room, struct bytes from)
{
    snprintf(to, room, "%.*s", BYTES_ARG(from));
}

static inline bool on_record(void *data, struct token token, const struct record_outcome *record)
{
    size_t count = strlen(bench.told);
    bench.records++;
    snprintf(bench.told + count, sizeof bench.told - count, "%lld %s %.*s%.*s%s %.*s\n", (long long)record->record,
             record->dropped ? "dropped" : record->failed ? "failed" : "done", BYTES_ARG(record->value), BYTES_ARG(record->error),
             record->hit ? " hit" : "", BYTES_ARG(record->usage));
    if (record->has_score)
        snprintf(bench.told + strlen(bench.told) - 1, 32, " score %g\n", record->score);
    return !bench.fence_at || bench.records < bench.fence_at;
}

static inline void on_outcome(void *data, struct token token, const struct outcome *outcome, bool late)
{
    bench.outcomes++;
    bench.verdict = outcome->verdict;
    bench.fail_job = outcome->fail_job;
    bench.with_record = outcome->record != NULL;
    if (outcome->record)
        on_record(data, token, outcome->record);
    bench.has_blob = outcome->blob != NULL;
    bench.retry_after_us = outcome->retry_after_us;
    copy(bench.value, sizeof bench.value, outcome->value);
    copy(bench.error, sizeof bench.error, outcome->error);
    copy(bench.type, sizeof bench.type, outcome->error_type);
    copy(bench.stage, sizeof bench.stage, outcome->stage);
    copy(bench.usage, sizeof bench.usage, outcome->usage);
    if (outcome->blob)
        blob_unpin(bench.blobs, outcome->blob);
}

static inline void bench_free(void *data)
{
}

/* `leg`: the one leg's members, with %d where the port of the other side goes. */
static inline void bench_open(const char *leg, void (*script)(int count, struct bytes request, struct buf *ret))
{
    struct problem problem = {0};
    char text[8192], filled[4096];
    bench = (struct bench){0};
    side_open(&bench.side, script);
    snprintf(bench.dir, sizeof bench.dir, "/tmp/rivulet-trips-XXXXXX");
    CHECK(mkdtemp(bench.dir));
    CHECK_INT(loop_open(&bench.loop, &problem), 0);
    CHECK_INT(blobs_open(bench.dir, &bench.blobs, &problem), 0);
    CHECK_INT(fetch_open(bench.loop, &(struct fetch_options){.spool_dir = bench.dir}, &bench.fetch, &problem), 0);
    static const struct crew_ops ops = {.slots_free = thinker_free, .start = think, .stop = thinker_stop, .learn = thinker_learn};
    bench.thinker.crew.ops = &ops;
    bench.thinker.loop = bench.loop;
    list_init(&bench.thinker.going);
    buf_init(&bench.thinker.lessons, 1 << 20);
    bench.asker = asker_new(&bench.thinker.crew, bench.blobs);
    bench.crew = trips_new(&(struct trips_options){.loop = bench.loop, .fetch = bench.fetch, .asker = bench.asker, .blobs = bench.blobs});
    bench.crew->client = (struct crew_client){.outcome = on_outcome, .record = on_record, .free = bench_free};
    size_t count = 0;
    for (const char *at = leg; *at && count + 32 < sizeof filled; at++) {
        if (at[0] == '%' && at[1] == 'd')
            count += (size_t)snprintf(filled + count, 32, "%d", bench.side.port), at++;
        else
            filled[count++] = *at;
    }
    filled[count] = 0;
    snprintf(text, sizeof text, "{\"name\":\"trips\",\"legs\":[{%s}]}", filled);
    bench.pipeline = pipeline_parse(bytes_of(text), &problem);
    test_note("%s", problem.text);
    CHECK(bench.pipeline);
}

static inline int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
    return remove(path);
}

static inline void bench_close(void)
{
    trips_free(bench.crew);
    asker_free(bench.asker);
    CHECK_INT(bench.thinker.busy, 0);
    buf_done(&bench.thinker.lessons);
    fetch_close(bench.fetch);
    side_close(&bench.side);
    blobs_close(bench.blobs);
    pipeline_free(bench.pipeline);
    loop_close(bench.loop);
    nftw(bench.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* `input_fd`: instead of a value, taken over; or -1. */
static inline void begin_with(int64_t item, const char *value, int input_fd)
{
    struct task task = {.token = {.job = 7, .item = item, .attempt = 1, .holder = 1}, .stages = bytes_of(bench.pipeline->legs[0].stages),
                        .params = BYTES("{}"), .value = bytes_of(value), .input_fd = input_fd, .pipeline = bench.pipeline, .timeout_us = 60000000,
                        .trace = BYTES("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                        .variables = BYTES("{\"params\":{\"word\":\"hello\"},\"job\":{\"id\":\"abc\"},\"now\":1}")};
    CHECK(bench.crew->ops->slots_free(bench.crew) > 0);
    bench.crew->ops->start(bench.crew, &task);
}

static inline void begin(int64_t item, const char *value)
{
    begin_with(item, value, -1);
}

static inline void until(const int *flag, int want)
{
    while (*flag < want)
        loop_turn(bench.loop, true);
}

/* One item, from its start to its outcome. */
static inline void go(const char *value)
{
    int before = bench.outcomes;
    begin(0, value);
    until(&bench.outcomes, before + 1);
    test_note("%s: %s\n%s", bench.type, bench.error, bench.told);
}

static inline bool seen(const char *text)
{
    return memmem(bench.side.seen.at, bench.side.seen.count, text, strlen(text)) != NULL;
}
