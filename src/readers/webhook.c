#include "readers/webhook.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/document.h"
#include "os/fetch_url.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

enum { SECRETS_MAX = 8, SECRET_BYTES_MIN = 16, SECRET_BYTES_MAX = 96, SENTENCE_BYTES = 512 };
#define LINE_US (60 * 1000000LL)      /* whoever waits for a receiver is woken, unless he whose turn it was is gone: then he looks again */

struct secret {
    unsigned char at[SECRET_BYTES_MAX + 3];    /* as decoded; up to two bytes of padding behind it */
    size_t count;
};

/* One receiver: scheme and path do not matter, it is the machine that may hang. */
struct receiver {
    struct bytes name;             /* host or host:port, owned */
    int under_way;
    struct list line;              /* deliveries that wait until there are fewer */
};

struct webhooks {
    struct cursor_world world;
    struct fetch *fetch;
    struct secret secrets[SECRETS_MAX];
    size_t secrets_count;
    void (*tell)(void *data, const char *sentence);
    void *data;
    struct outward *outward;
    struct map receivers;          /* name → receiver */
    struct webhook_numbers numbers;
};

/* One event on its way. */
struct delivery {
    struct webhooks *webhooks;
    struct outward_job *job;
    struct fetch_call *call;       /* NULL between tries */
    struct receiver *receiver;     /* while it is called, or waited for */
    struct list link;              /* in receiver->line while it waits */
    uint64_t seq;
    unsigned tries;                /* that failed */
    char id[33];                   /* of the job */
};

/* How long to wait before the next try, s. Behind the last it is given up: three days after the first. */
static const int waits_s[] = {5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400};
enum { WAITS_COUNT = sizeof waits_s / sizeof *waits_s };

/* ---- what a job says ---- */

static const struct {
    const char *word;
    enum event_kind kind;
} words[] = {{"complete", EVENT_JOB_ENDED}, {"result", EVENT_ITEM_DONE}, {"failed", EVENT_ITEM_FAILED}};

/* 0 = there is no such word. */
static uint32_t bit_of(const char *word)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(words[i].word, word))
            return 1u << words[i].kind;
    return 0;
}

static int read_events(struct json_object *events, uint32_t *ret, struct problem *problem)
{
    if (!json_object_is_type(events, json_type_array) || !json_object_array_length(events))
        return problem_set(problem, "The webhook's \"events\" must be an array of \"complete\", \"result\" and \"failed\".");
    *ret = 0;
    for (size_t i = 0; i < json_object_array_length(events); i++) {
        struct json_object *event = json_object_array_get_idx(events, i);
        uint32_t bit = json_object_is_type(event, json_type_string) ? bit_of(json_object_get_string(event)) : 0;
        if (!bit)
            return problem_set(problem, "The webhook's event %zu is none of \"complete\", \"result\" and \"failed\".", i);
        *ret |= bit;
    }
    return 0;
}

/* The address goes into `ret_url` as it is sent. */
static int read_wish(struct bytes json, struct buf *ret_url, uint32_t *ret_events, struct problem *problem)
{
    struct json_object *object JSON_OWNED = json_parse(json, NULL);
    struct bytes url = json_object_is_type(object, json_type_object) ? json_get_bytes(object, "url") : (struct bytes){0};
    struct json_object *events = url.count ? json_get(object, "events") : NULL;
    *ret_events = 1u << EVENT_JOB_ENDED;
    if (!url.count)
        return problem_set(problem, "The webhook must be an object with a \"url\".");
    if (url.count > LIMIT_WEBHOOK_URL_BYTES)
        return problem_set(problem, "The webhook's url has %zu bytes, at most %d.", url.count, LIMIT_WEBHOOK_URL_BYTES);
    if (json_object_object_length(object) > 1 + (events != NULL))
        return problem_set(problem, "The webhook has a member that is not known: there are \"url\" and \"events\".");
    if (events && read_events(events, ret_events, problem))
        return -1;
    struct problem wrong = {0};
    if (fetch_url_check(url, ret_url, &wrong))
        return problem_set(problem, "The webhook's url cannot be called: %s", wrong.text);
    return 0;
}

int webhook_check(struct bytes json, struct problem *problem)
{
    struct buf url BUF_OWNED;
    uint32_t events;
    buf_init(&url, 4 * LIMIT_WEBHOOK_URL_BYTES);
    return read_wish(json, &url, &events, problem);
}

/* ---- signatures ---- */

static bool read_secret(struct bytes text, struct secret *ret)
{
    if (!bytes_start(text, BYTES("whsec_")))
        return false;
    struct bytes coded = {text.at + 6, text.count - 6};
    char padded[(SECRET_BYTES_MAX + 2) / 3 * 4 + 4];
    size_t count = coded.count, pad = 0;
    if (count > sizeof padded - 4)
        return false;
    memcpy(padded, coded.at, count);
    while (count % 4)              /* with or without its padding */
        padded[count++] = '=';
    while (pad < 2 && pad < count && padded[count - 1 - pad] == '=')
        pad++;
    int bytes = count ? EVP_DecodeBlock(ret->at, (const unsigned char *)padded, (int)count) : -1;
    ret->count = bytes < (int)pad ? 0 : (size_t)bytes - pad;
    return ret->count >= SECRET_BYTES_MIN && ret->count <= SECRET_BYTES_MAX;
}

static int read_secrets(const char *text, struct secret *ret, size_t *ret_count)
{
    struct bytes rest = bytes_of(text);
    *ret_count = 0;
    while (rest.count) {
        struct bytes one = bytes_cut(&rest, ' ');
        if (!one.count)
            continue;
        if (*ret_count == SECRETS_MAX || !read_secret(one, &ret[*ret_count]))
            return -1;
        ++*ret_count;
    }
    return 0;
}

static void sign(const struct secret *secrets, size_t count, struct bytes id, struct bytes timestamp, struct bytes body, struct buf *ret)
{
    struct buf signed_text BUF_OWNED;
    buf_init(&signed_text, id.count + timestamp.count + body.count + 2);
    buf_put(&signed_text, id);
    buf_byte(&signed_text, '.');
    buf_put(&signed_text, timestamp);
    buf_byte(&signed_text, '.');
    buf_put(&signed_text, body);
    for (size_t i = 0; i < count; i++) {
        unsigned char digest[EVP_MAX_MD_SIZE];
        char coded[48];
        unsigned digest_bytes = 0;
        HMAC(EVP_sha256(), secrets[i].at, (int)secrets[i].count, (const unsigned char *)signed_text.at, signed_text.count, digest, &digest_bytes);
        EVP_EncodeBlock((unsigned char *)coded, digest, (int)digest_bytes);
        buf_print(ret, "%sv1,%s", i ? " " : "", coded);
    }
}

bool webhook_sign(const char *secrets, struct bytes id, struct bytes timestamp, struct bytes body, struct buf *ret)
{
    struct secret read[SECRETS_MAX];
    size_t count;
    if (read_secrets(secrets, read, &count))
        return false;
    sign(read, count, id, timestamp, body, ret);
    return true;
}

/* ---- receivers ---- */

static struct receiver *receiver_of(struct webhooks *webhooks, struct bytes url)
{
    struct buf name BUF_OWNED;
    char *text MEM_OWNED = mem_copy(url.at, url.count);
    buf_init(&name, 4 * LIMIT_WEBHOOK_URL_BYTES);
    fetch_url_host(text, &name);
    struct receiver *receiver = map_get_text(&webhooks->receivers, buf_bytes(&name));
    if (receiver)
        return receiver;
    receiver = MEM_NEW(struct receiver);
    receiver->name = (struct bytes){mem_copy(name.at, name.count), name.count};
    list_init(&receiver->line);
    map_set_text(&webhooks->receivers, receiver->name, receiver);
    return receiver;
}

/* The delivery calls its receiver or waits for it no more: the next one may. */
static void let_go(struct delivery *delivery)
{
    struct receiver *receiver = delivery->receiver;
    if (!receiver)
        return;
    bool waited = !list_empty(&delivery->link);
    list_leave(&delivery->link);
    delivery->receiver = NULL;
    receiver->under_way -= !waited;
    if (!waited && !list_empty(&receiver->line)) {
        struct delivery *next = LIST_OF(list_pop(&receiver->line), struct delivery, link);
        next->receiver = NULL;
        outward_now(next->job);
    }
    if (receiver->under_way || !list_empty(&receiver->line))
        return;
    map_take_text(&delivery->webhooks->receivers, receiver->name);
    free((char *)receiver->name.at);
    free(receiver);
}

/* ---- one event ---- */

static const char *type_of(const struct row *row, const struct job *job)
{
    if (row->kind == EVENT_ITEM_DONE)
        return "item.completed";
    if (row->kind == EVENT_ITEM_FAILED)
        return "item.failed";
    return job->status == JOB_COMPLETED ? "job.completed" : job->status == JOB_CANCELLED ? "job.cancelled" : "job.failed";
}

/* What the job's stream says in the data of this event; for its end, its document. */
static void put_data(const struct row *row, const struct job *job, struct buf *body)
{
    struct buf frames BUF_OWNED;
    buf_init(&frames, LIMIT_ROW_BYTES * 4);
    if (row->kind == EVENT_JOB_ENDED)
        document_job(job, &frames);
    struct frame_header header = frame_header_of(job);
    struct frame_parts parts = {.data = buf_bytes(&frames)};
    if (row->kind != EVENT_JOB_ENDED) {
        frame_render(&header, FACE_JOB, row, (struct bytes){0}, &frames);
        struct bytes rest = buf_bytes(&frames);
        frame_next(&rest, &parts);
    }
    json_put_raw(body, "data", parts.data.count && buf_ok(&frames) ? parts.data : BYTES("null"));
}

static void make_body(const struct row *row, const struct job *job, struct buf *body)
{
    char time[TEXT_TIME_SIZE];
    text_time(row->at_us, time);
    json_open(body, '{');
    json_put_text(body, "type", type_of(row, job));
    json_put_text(body, "timestamp", time);
    put_data(row, job, body);
    json_close(body, '}');
}

static void say(struct webhooks *webhooks, const struct delivery *delivery, const char *why)
{
    char sentence[SENTENCE_BYTES];
    webhooks->numbers.given_up++;
    snprintf(sentence, sizeof sentence, "the webhook of job %s was given up at event %llu: %s", delivery->id, (unsigned long long)delivery->seq, why);
    if (webhooks->tell)
        webhooks->tell(webhooks->data, sentence);
}

static void give_up(struct delivery *delivery, const char *why)
{
    say(delivery->webhooks, delivery, why);
    outward_give_up(delivery->job);
}

/* A little apart, so that the jobs that one receiver missed do not all come back in one moment. */
static int64_t wait_us(const struct delivery *delivery, int64_t retry_after_us)
{
    int64_t wait = waits_s[delivery->tries - 1] * 1000000LL;
    wait += wait / 64 * (delivery->job->number % 8);
    return retry_after_us > wait ? retry_after_us < 86400 * 1000000LL ? retry_after_us : 86400 * 1000000LL : wait;
}

static void try_again(struct delivery *delivery, const struct fetch_answer *answer)
{
    delivery->webhooks->numbers.failed++;
    if (++delivery->tries > WAITS_COUNT) {
        char why[SENTENCE_BYTES / 2];
        if (answer->end == FETCH_ANSWERED)
            snprintf(why, sizeof why, "it was answered with %d for three days", answer->status);
        else
            snprintf(why, sizeof why, "for three days: %.200s", answer->problem.text);
        give_up(delivery, why);
        return;
    }
    outward_later(delivery->job, wait_us(delivery, answer->end == FETCH_ANSWERED ? answer->retry_after_us : 0));
}

static void answered(void *data, struct fetch_answer *answer)
{
    struct delivery *delivery = data;
    delivery->call = NULL;
    let_go(delivery);
    if (answer->end == FETCH_TOO_LARGE || (answer->end == FETCH_ANSWERED && answer->status >= 200 && answer->status < 300)) {
        delivery->tries = 0;
        delivery->webhooks->numbers.arrived++;
        outward_arrived(delivery->job, delivery->seq);
    } else if (answer->end == FETCH_ANSWERED && answer->status == 410) {
        give_up(delivery, "its receiver answered with 410, gone");
    } else if (answer->end == FETCH_REFUSED) {
        give_up(delivery, answer->problem.text);
    } else {
        try_again(delivery, answer);
    }
}

static void send_body(struct delivery *delivery, struct bytes url, struct bytes body)
{
    struct webhooks *webhooks = delivery->webhooks;
    struct buf id BUF_OWNED, time BUF_OWNED, lines[3] = {0};
    buf_init(&id, 100);
    buf_init(&time, 40);
    buf_print(&id, "%s-%llu", delivery->id, (unsigned long long)delivery->seq);
    buf_print(&time, "%lld", (long long)(loop_wall_us(webhooks->world.loop) / 1000000));
    for (int i = 0; i < 3; i++)
        buf_init(&lines[i], 100 + 60 * SECRETS_MAX);
    buf_print(&lines[0], "webhook-id: %s", buf_z(&id));
    buf_print(&lines[1], "webhook-timestamp: %s", buf_z(&time));
    buf_text(&lines[2], "webhook-signature: ");
    sign(webhooks->secrets, webhooks->secrets_count, buf_bytes(&id), buf_bytes(&time), body, &lines[2]);
    struct bytes headers[] = {BYTES("Content-Type: application/json"), buf_bytes(&lines[0]), buf_bytes(&lines[1]), buf_bytes(&lines[2])};
    struct fetch_request request = {.method = "POST", .url = url, .headers = headers, .headers_count = 4, .body = body,
                                    .timeout_us = LIMIT_WEBHOOK_US, .answer_max = LIMIT_WEBHOOK_ANSWER_BYTES, .guarded = true};
    delivery->call = fetch_start(webhooks->fetch, &request, answered, delivery);
    for (int i = 0; i < 3; i++)
        buf_done(&lines[i]);
}

/* ---- the kind of reader ---- */

static uint32_t wants(void *data, const struct job *job)
{
    struct buf url BUF_OWNED;
    uint32_t events;
    buf_init(&url, 4 * LIMIT_WEBHOOK_URL_BYTES);
    if (!job->webhook || !*job->webhook || read_wish(bytes_of(job->webhook), &url, &events, NULL))
        return 0;
    return events;
}

static struct delivery *delivery_of(struct webhooks *webhooks, struct outward_job *job, const struct job *about)
{
    struct delivery *delivery = job->own;
    if (delivery)
        return delivery;
    delivery = job->own = MEM_NEW(struct delivery);
    delivery->webhooks = webhooks;
    delivery->job = job;
    list_init(&delivery->link);
    snprintf(delivery->id, sizeof delivery->id, "%s", about->id);
    return delivery;
}

static int row_came(void *data, struct outward_job *job, struct live *live, const struct row *row, struct bytes result)
{
    struct webhooks *webhooks = data;
    const struct job *about = live_job(live);
    struct delivery *delivery = delivery_of(webhooks, job, about);
    struct buf url BUF_OWNED, body BUF_OWNED;
    uint32_t events;
    buf_init(&url, 4 * LIMIT_WEBHOOK_URL_BYTES);
    buf_init(&body, LIMIT_ROW_BYTES * 5);
    if (row->seq != delivery->seq)
        delivery->tries = 0;
    delivery->seq = row->seq;
    if (!webhooks->secrets_count) {
        give_up(delivery, "RIVULET_WEBHOOK_SECRET is not set");
        return OUTWARD_FULL;
    }
    make_body(row, about, &body);
    if (!buf_ok(&body) || read_wish(bytes_of(about->webhook), &url, &events, NULL))
        return OUTWARD_PASSED;
    let_go(delivery);              /* it may have waited long enough to look again by itself */
    delivery->receiver = receiver_of(webhooks, buf_bytes(&url));
    if (delivery->receiver->under_way == LIMIT_WEBHOOKS_OF_ONE) {
        list_push(&delivery->receiver->line, &delivery->link);
        outward_later(job, LINE_US);
        return OUTWARD_FULL;
    }
    delivery->receiver->under_way++;
    send_body(delivery, buf_bytes(&url), buf_bytes(&body));
    return OUTWARD_FULL;
}

static void job_gone(void *data, struct outward_job *job)
{
    struct delivery *delivery = job->own;
    if (!delivery)
        return;
    fetch_drop(delivery->call);
    let_go(delivery);
    free(delivery);
    job->own = NULL;
}

static const struct outward_kind kind = {.name = "webhook", .face = FACE_JOB, .places = LIMIT_WEBHOOKS, .wants = wants, .row = row_came,
                                         .gone = job_gone};

int webhooks_open(const struct cursor_world *world, const struct webhook_options *options, struct webhooks **ret, struct problem *problem)
{
    struct webhooks *webhooks = MEM_NEW(struct webhooks);
    *webhooks = (struct webhooks){.world = *world, .fetch = options->fetch, .tell = options->tell, .data = options->data};
    if (options->secret && (read_secrets(options->secret, webhooks->secrets, &webhooks->secrets_count) || !webhooks->secrets_count)) {
        free(webhooks);
        return problem_set(problem, "RIVULET_WEBHOOK_SECRET must be whsec_ and base64 of %d to %d bytes, up to %d of them with spaces between",
                           SECRET_BYTES_MIN, SECRET_BYTES_MAX, SECRETS_MAX);
    }
    webhooks->outward = outward_open(&webhooks->world, &kind, webhooks);
    *ret = webhooks;
    return 0;
}

void webhooks_close(struct webhooks *webhooks)
{
    if (!webhooks)
        return;
    outward_close(webhooks->outward);
    map_done(&webhooks->receivers);
    OPENSSL_cleanse(webhooks->secrets, sizeof webhooks->secrets);
    free(webhooks);
}

bool webhooks_can(const struct webhooks *webhooks)
{
    return webhooks && webhooks->secrets_count;
}

int webhooks_replay(struct webhooks *webhooks, struct live *live)
{
    return webhooks_can(webhooks) ? outward_again(webhooks->outward, live, 0) : 1;
}

struct webhook_numbers webhooks_numbers(const struct webhooks *webhooks)
{
    struct webhook_numbers numbers = webhooks->numbers;
    numbers.jobs = outward_numbers(webhooks->outward);
    return numbers;
}
