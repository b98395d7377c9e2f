/* Calls of steps: in line at the limiter, out, refused and out again, in. And what belongs to a call: addresses, headers, secrets, and what its end
 * means. */
#include "trip/trip_own.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADERS_MAX = 40, HEADER_ROOM = 400, CALL_TIMEOUT_US = 60000000, FAREWELL_US = 10000000 };

/* A call's own copy of all that it says: it may wait long, and go out several times. */
struct outgoing {
    struct fetch_request request;
    struct bytes headers[HEADERS_MAX];
    char *texts;
    fetch_fn *got;
    int64_t (*used)(struct step *step, const struct fetch_answer *answer);
    bool (*for_good)(struct step *step, const struct fetch_answer *answer);
    int refusals;
};

static struct bytes keep(char **at, struct bytes view)
{
    struct bytes kept = {*at, view.count};
    if (view.count)
        memcpy(*at, view.at, view.count);
    (*at)[view.count] = 0;
    *at += view.count + 1;
    return kept;
}

static bool has_header(const struct outgoing *out, const char *name)
{
    size_t count = strlen(name);
    for (size_t i = 0; i < out->request.headers_count; i++) {
        struct bytes line = out->headers[i];
        if (line.count > count && line.at[count] == ':' && bytes_equal_nocase((struct bytes){line.at, count}, bytes_of(name)))
            return true;
    }
    return false;
}

static void add_header(struct outgoing *out, char **at, const char *name, struct bytes value, const char *suffix)
{
    if (out->request.headers_count == HEADERS_MAX || !value.count || value.count > HEADER_ROOM / 2 || has_header(out, name))
        return;
    int count = snprintf(*at, HEADER_ROOM, "%s: %.*s%s%s", name, BYTES_ARG(value), suffix ? "-" : "", suffix ? suffix : "");
    out->headers[out->request.headers_count++] = (struct bytes){*at, (size_t)count};
    *at += count + 1;
}

static struct outgoing *outgoing_new(const struct step *step, const struct step_call *call)
{
    const struct fetch_request *from = &call->request;
    struct bytes part_name = bytes_of(from->part_name), part_file = bytes_of(from->part_file), key = step->idempotency_key, trace = step->trip->trace;
    size_t count = 8 + from->url.count + from->body.count + from->part_fields.count + part_name.count + part_file.count + 2 * HEADER_ROOM;
    for (size_t i = 0; i < from->headers_count; i++)
        count += from->headers[i].count + 1;
    struct outgoing *out = MEM_NEW(struct outgoing);
    char *at = out->texts = mem_new(count);
    out->request = *from;
    out->request.headers = out->headers;
    out->request.headers_count = 0;
    for (size_t i = 0; i < from->headers_count && i < HEADERS_MAX; i++)
        out->headers[out->request.headers_count++] = keep(&at, from->headers[i]);
    out->request.url = keep(&at, from->url);
    out->request.body = keep(&at, from->body);
    out->request.part_fields = keep(&at, from->part_fields);
    out->request.part_name = from->part_name ? keep(&at, part_name).at : NULL;
    out->request.part_file = from->part_file ? keep(&at, part_file).at : NULL;
    if (!strcmp(from->method, "POST") && json_get_bool(json_get(step->stage, "with"), "idempotency_key", true))
        add_header(out, &at, "Idempotency-Key", key, call->purpose);
    add_header(out, &at, "traceparent", trace, NULL);
    out->used = call->used;
    out->for_good = call->for_good;
    return out;
}

static void outgoing_free(struct outgoing *out)
{
    if (!out)
        return;
    free(out->texts);
    free(out);
}

void call_drop(struct step *step)
{
    fetch_drop(step->call);
    step->call = NULL;
    limiter_leave(&step->place);
    outgoing_free(step->out);
    step->out = NULL;
}

/* ---- who shares what ---- */

/* The name of the first secret of an `auth`: who has another key is counted apart. */
static struct bytes key_name(struct json_object *auth, int depth)
{
    struct bytes name = json_get_bytes(auth, "$env");
    if (name.at || !json_object_is_type(auth, json_type_object) || depth == 3)
        return name;
    json_object_object_foreach(auth, key, value) {
        (void)key;
        struct bytes inner = key_name(value, depth + 1);
        if (inner.at)
            return inner;
    }
    return (struct bytes){0};
}

/* "https://host:port" of an address. */
static struct bytes origin_of(struct bytes url)
{
    const char *start = memmem(url.at, url.count, "://", 3);
    size_t at = start ? (size_t)(start - url.at) + 3 : 0;
    while (at < url.count && !strchr("/?#", url.at[at]))
        at++;
    return (struct bytes){url.at, at};
}

/* Without what may stand before an @: that would be a password. */
static struct bytes host_of(struct bytes url)
{
    struct bytes origin = origin_of(url);
    const char *start = memmem(origin.at, origin.count, "://", 3), *at = memrchr(origin.at, '@', origin.count);
    size_t skip = at ? (size_t)(at - origin.at) + 1 : start ? (size_t)(start - origin.at) + 3 : 0;
    return (struct bytes){origin.at + skip, origin.count - skip};
}

static struct limiter *limiter_for(const struct step *step, struct bytes url)
{
    struct json_object *rate = json_get(step->stage, "rate"), *with = json_get(step->stage, "with");
    struct limiter_spec spec = {
        .concurrency = json_get_int(step->stage, "concurrency", 0),
        .requests = json_get_int(rate, "requests", 0), .requests_per_us = json_get_int(rate, "requests_per_us", 0),
        .tokens = json_get_int(rate, "tokens", 0), .tokens_per_us = json_get_int(rate, "tokens_per_us", 0),
        .careful = step->kind == &step_remote_job,
    };
    struct buf BUF_OWNED name;
    buf_init(&name, 2048);
    struct bytes origin = origin_of(url);
    origin.count = origin.count < 1024 ? origin.count : 1024;
    buf_put(&name, origin);
    buf_byte(&name, ' ');
    struct bytes key = key_name(json_get(with, "auth"), 0);
    buf_put(&name, key.at ? key : key_name(json_get(with, "key"), 0));
    return limiter_of(step->trips->limiters, buf_bytes(&name), &spec);
}

/* ---- out and in ---- */

static void take_place(struct step *step);

static bool is_refusal(const struct fetch_answer *answer)
{
    return answer->end == FETCH_ANSWERED && (answer->status == 429 || (answer->status == 503 && answer->retry_after_us > 0));
}

static void count(struct trips_numbers *numbers, const struct fetch_answer *answer)
{
    int class = answer->status / 100;
    if (answer->end == FETCH_ANSWERED)
        numbers->answers[class >= 1 && class <= 5 ? class : 0]++;
    numbers->broken += answer->end == FETCH_NETWORK;
    numbers->late += answer->end == FETCH_TIMEOUT;
    numbers->refused += answer->end == FETCH_REFUSED || answer->end == FETCH_TOO_LARGE;
}

/* The other side may quote what we said. Here, because half a secret, where a sentence cuts its words, would not be found any more. The body is the call's
 * own, and nobody else's during this. */
static void strike(const struct step *step, struct bytes body)
{
    for (size_t i = 0; i < step->secrets_count; i++) {
        size_t count = strlen(step->secrets[i]);
        char *at = (char *)body.at, *end = at + body.count;
        while (count >= 4 && at && (at = memmem(at, (size_t)(end - at), step->secrets[i], count)) != NULL)
            at = (char *)memset(at, '*', count) + count;
    }
}

static void on_answer(void *data, struct fetch_answer *answer)
{
    struct step *step = data;
    count(&step->trips->numbers, answer);
    struct outgoing *out = step->out;
    strike(step, answer->body);
    bool refused = is_refusal(answer) && !(out->for_good && out->for_good(step, answer));
    step->call = NULL;
    step->spent_us += answer->took_us;
    limiter_give(&step->place, refused, answer->retry_after_us, refused ? 0 : out->used ? out->used(step, answer) : -1);
    if (refused && answer->retry_after_us <= LIMIT_REFUSED_PAUSE_US && ++out->refusals <= LIMIT_REFUSALS) {
        take_place(step);
        return;
    }
    step->out = NULL;
    out->got(step, answer);
    outgoing_free(out);
}

static int64_t time_left(const struct step *step, int64_t wanted_us)
{
    int64_t limit_us = json_get_int(step->stage, "timeout_us", CALL_TIMEOUT_US), left_us = limit_us - step->spent_us;
    if (step->kind->keeps_time)
        return wanted_us ? wanted_us : CALL_TIMEOUT_US;
    return wanted_us && wanted_us < left_us ? wanted_us : left_us;
}

static void on_turn(struct limiter_place *place)
{
    struct step *step = (struct step *)((char *)place - offsetof(struct step, place));
    struct fetch_request request = step->out->request;
    request.timeout_us = time_left(step, request.timeout_us);
    if (request.timeout_us > 0)
        step->call = fetch_start(step->trips->options.fetch, &request, on_answer, step);
    else
        step_fail_late(step, "timeout", step_may_retry(step, NULL, "timeout"), "Stage %.*s: the time of the attempt was over.",
                       BYTES_ARG(step_stage_name(step)));
}

static void take_place(struct step *step)
{
    limiter_take(step->limiter, &step->place, step->tokens, on_turn);
}

void step_call(struct step *step, const struct step_call *call, fetch_fn *got)
{
    call_drop(step);
    if (!step->limiter)
        step->limiter = limiter_for(step, call->request.url);
    step->tokens = call->tokens;
    step->out = outgoing_new(step, call);
    step->out->got = got;
    if (!step->out->request.answer_max)
        step->out->request.answer_max = LIMIT_CALL_ANSWER_BYTES;
    snprintf(step->host, sizeof step->host, "%.*s", BYTES_ARG(host_of(call->request.url)));
    take_place(step);
}

/* ---- farewells ---- */

struct farewell {
    struct list link;
    struct trips *trips;
    struct fetch_call *call;
    struct outgoing *out;
};

static void farewell_free(struct farewell *farewell)
{
    list_leave(&farewell->link);
    farewell->trips->farewells_count--;
    outgoing_free(farewell->out);
    free(farewell);
}

static void farewell_done(void *data, struct fetch_answer *answer)
{
    farewell_free(data);
}

void step_farewell(struct step *step, const struct step_call *call)
{
    struct trips *trips = step->trips;
    if (trips->farewells_count >= LIMIT_FAREWELLS)
        return;
    struct farewell *farewell = MEM_NEW(struct farewell);
    farewell->trips = trips;
    farewell->out = outgoing_new(step, call);
    farewell->out->request.timeout_us = FAREWELL_US;
    farewell->out->request.answer_max = LIMIT_BODY_BYTES;
    list_init(&farewell->link);
    list_push(&trips->farewells, &farewell->link);
    trips->farewells_count++;
    farewell->call = fetch_start(trips->options.fetch, &farewell->out->request, farewell_done, farewell);
}

void farewells_drop(struct trips *trips)
{
    LIST_EACH(link, &trips->farewells) {
        struct farewell *farewell = LIST_OF(link, struct farewell, link);
        fetch_drop(farewell->call);
        farewell_free(farewell);
    }
}

/* ---- what an end means ---- */

static bool on_default(const struct fetch_answer *answer, const char *name)
{
    if (name)
        return true;
    if (answer->end != FETCH_ANSWERED)
        return answer->end == FETCH_NETWORK || answer->end == FETCH_TIMEOUT;
    return answer->status == 408 || answer->status == 425 || answer->status == 429 || answer->status >= 500;
}

/* "429", "5xx", 503, "network" … */
bool step_names_status(struct json_object *word, int status)
{
    char digits[16];
    if (json_object_is_type(word, json_type_int))
        return json_object_get_int(word) == status;
    if (!json_object_is_type(word, json_type_string))
        return false;
    snprintf(digits, sizeof digits, "%d", status);
    const char *text = json_object_get_string(word);
    return !strcmp(text, digits) || (strlen(text) == 3 && text[0] == digits[0] && !strcmp(text + 1, "xx"));
}

bool step_may_retry(const struct step *step, const struct fetch_answer *answer, const char *name)
{
    struct json_object *on = json_get(json_get(step->stage, "retry"), "on");
    if (answer && (answer->end == FETCH_REFUSED || answer->end == FETCH_TOO_LARGE))
        return false;
    if (answer && answer->end != FETCH_ANSWERED && !name)
        name = answer->end == FETCH_TIMEOUT ? "timeout" : "network";
    if (!json_object_is_type(on, json_type_array))
        return on_default(answer, name);
    for (size_t i = 0; i < json_object_array_length(on); i++) {
        struct json_object *word = json_object_array_get_idx(on, i);
        bool text = json_object_is_type(word, json_type_string);
        if (name ? text && !strcmp(json_object_get_string(word), name) : step_names_status(word, answer->status))
            return true;
    }
    return false;
}

void step_fail_answer(struct step *step, const struct fetch_answer *answer, const char *doing)
{
    static const char *const types[] = {
        [FETCH_ANSWERED] = "status", [FETCH_NETWORK] = "network", [FETCH_TIMEOUT] = "timeout", [FETCH_TOO_LARGE] = "validation",
        [FETCH_REFUSED] = "validation",
    };
    bool retry = step_may_retry(step, answer, NULL);
    struct bytes stage = step_stage_name(step);
    const char *colon = doing ? ": " : "";
    struct problem words = {0};
    struct buf BUF_OWNED clean;
    buf_init(&clean, 4096);
    doing = doing ? doing : "";
    if (answer->end != FETCH_ANSWERED) {
        step_fail(step, types[answer->end], retry, 0, "Stage %.*s: %s%s%s", BYTES_ARG(stage), doing, colon, answer->problem.text);
        return;
    }
    /* Its secrets are struck out before it is cut: half a secret is not known again. */
    text_clean(&clean, (struct bytes){answer->body.at, text_cut(answer->body, sizeof words.text / 2)});
    problem_set(&words, "%s", buf_z(&clean));
    step_unsecret(step, &words);
    words.text[text_cut(bytes_of(words.text), 200)] = 0;
    step_fail(step, "status", retry, answer->retry_after_us, "Stage %.*s: %s%s%s answered %d%s%s", BYTES_ARG(stage), doing, colon, step->host,
              answer->status, words.text[0] ? ": " : ".", words.text);
}

/* ---- secrets and headers ---- */

static void remember(struct step *step, const char *secret)
{
    for (size_t i = 0; i < step->secrets_count; i++)
        if (step->secrets[i] == secret)
            return;
    if (step->secrets_count < STEP_SECRETS_MAX)
        step->secrets[step->secrets_count++] = secret;
}

bool step_secret(struct step *step, struct json_object *from, struct buf *ret)
{
    if (json_object_is_type(from, json_type_string))
        return buf_add(ret, json_object_get_string(from), (size_t)json_object_get_string_len(from));
    struct bytes name = json_get_bytes(from, "$env");
    char text[256];
    snprintf(text, sizeof text, "%.*s", BYTES_ARG(name));
    const char *secret = name.at ? getenv(text) : NULL;
    if (!secret || !*secret)
        secret = json_get_bytes(from, "default").at;
    if (!secret || !*secret) {
        step_fail_late(step, "validation", false, "Stage %.*s needs the environment variable %s, which is not set.", BYTES_ARG(step_stage_name(step)),
                       name.at ? text : "that it names");
        return false;
    }
    remember(step, secret);
    return buf_text(ret, secret);
}

/* Values come out of items. What is wrong with one is for fetch to say, so of one that is too long there has to be one byte more than it takes, and a NUL,
 * which would end the line and begin another, becomes another character that it refuses. */
void headers_add(struct headers *headers, const char *name, struct bytes value)
{
    if (value.count > LIMIT_FETCH_HEAD_BYTES)
        value.count = LIMIT_FETCH_HEAD_BYTES + 1;
    buf_print(&headers->text, "%s: ", name);
    for (size_t i = 0; i < value.count; i++)
        buf_byte(&headers->text, value.at[i] ? value.at[i] : 1);
    buf_byte(&headers->text, 0);
    headers->count++;
}

void headers_done(struct headers *headers)
{
    struct bytes rest = buf_bytes(&headers->text);
    headers->count = 0;
    while (rest.count && headers->count < HEADER_LINES) {
        size_t count = strnlen(rest.at, rest.count);
        assert(count < rest.count);
        headers->lines[headers->count++] = (struct bytes){rest.at, count};
        rest.at += count + 1;
        rest.count -= count + 1;
    }
}

void headers_free(struct headers *headers)
{
    buf_done(&headers->text);
}

static bool add_basic(struct step *step, struct json_object *basic, struct headers *ret)
{
    struct buf BUF_OWNED pair, BUF_OWNED coded;
    buf_init(&pair, 2048);
    buf_init(&coded, 4096);
    if (json_get(basic, "user")) {
        if (!step_secret(step, json_get(basic, "user"), &pair) || !buf_byte(&pair, ':') || !step_secret(step, json_get(basic, "password"), &pair))
            return false;
    } else if (!step_secret(step, basic, &pair)) {
        return false;
    }
    buf_text(&coded, "Basic ");
    if (!buf_reserve(&coded, pair.count * 2 + 8))
        return false;
    coded.count += (size_t)EVP_EncodeBlock((unsigned char *)coded.at + coded.count, (const unsigned char *)pair.at, (int)pair.count);
    headers_add(ret, "Authorization", buf_bytes(&coded));
    return true;
}

static bool add_secret(struct step *step, const char *name, const char *prefix, struct json_object *from, struct headers *ret)
{
    struct buf BUF_OWNED value;
    buf_init(&value, 16384);
    buf_text(&value, prefix);
    if (!step_secret(step, from, &value))
        return false;
    headers_add(ret, name, buf_bytes(&value));
    return true;
}

bool step_is_literal(struct bytes program)
{
    JSON_OWNED struct json_object *text = program.count ? json_parse(program, NULL) : NULL;
    return json_object_is_type(text, json_type_string);
}

void step_header_programs(struct json_object *headers, struct buf *programs)
{
    char name[160];
    if (!json_object_is_type(headers, json_type_object))
        return;
    json_object_object_foreach(headers, key, value) {
        struct bytes program = {json_object_get_string(value), (size_t)json_object_get_string_len(value)};
        if (!json_object_is_type(value, json_type_string) || step_is_literal(program))
            continue;
        snprintf(name, sizeof name, "header %s", key);
        json_put_bytes(programs, name, program);
    }
}

/* Texts that are no literals are programs: the kind's. */
static bool add_more(struct step *step, struct json_object *headers, bool foreign, struct headers *ret)
{
    if (!json_object_is_type(headers, json_type_object))
        return true;
    json_object_object_foreach(headers, key, value) {
        if (json_object_is_type(value, json_type_object)) {
            if (!foreign && !add_secret(step, key, "", value, ret))
                return false;
            continue;
        }
        bool told = json_object_is_type(value, json_type_string);
        JSON_OWNED struct json_object *text = told ? json_parse(bytes_of(json_object_get_string(value)), NULL) : NULL;
        if (json_object_is_type(text, json_type_string))
            headers_add(ret, key, bytes_of(json_object_get_string(text)));
    }
    return true;
}

bool step_headers(struct step *step, struct json_object *with, bool foreign, struct headers *ret)
{
    struct json_object *auth = foreign ? NULL : json_get(with, "auth"), *own = json_get(auth, "header");
    *ret = (struct headers){0};
    buf_init(&ret->text, (HEADER_LINES + 1) * (LIMIT_FETCH_HEAD_BYTES + LIMIT_BODY_BYTES));
    bool good = (!json_get(auth, "bearer") || add_secret(step, "Authorization", "Bearer ", json_get(auth, "bearer"), ret))
             && (!json_get(auth, "basic") || add_basic(step, json_get(auth, "basic"), ret))
             && (!own || add_secret(step, json_get_bytes(own, "name").at, "", json_get(own, "value"), ret))
             && (!json_get(with, "headers") || add_more(step, json_get(with, "headers"), foreign, ret));
    headers_done(ret);
    return good;
}

/* ---- addresses ---- */

static bool is_absolute(struct bytes url)
{
    return bytes_start(url, BYTES("http://")) || bytes_start(url, BYTES("https://"));
}

bool step_url(struct step *step, struct json_object *with, struct bytes path, struct buf *ret, bool *ret_guarded, bool *ret_foreign)
{
    struct buf BUF_OWNED base;
    buf_init(&base, 4096);
    if (json_get(with, "base") && !step_secret(step, json_get(with, "base"), &base))
        return false;
    while (base.count && base.at[base.count - 1] == '/')
        base.count--;
    if (is_absolute(path)) {
        buf_put(ret, path);
    } else if (!base.count) {
        step_fail_late(step, "validation", false, "Stage %.*s: \"%.*s\" is no http or https address, and the stage has no base.",
                       BYTES_ARG(step_stage_name(step)), (int)text_cut(path, 100), path.at);
        return false;
    } else {
        buf_put(ret, buf_bytes(&base));
        if (path.count && !strchr("/?", path.at[0]))
            buf_byte(ret, '/');
        buf_put(ret, path);
    }
    bool same = base.count && fetch_same_origin(buf_bytes(&base), buf_bytes(ret));
    *ret_guarded = !same && !json_get_bool(with, "allow_private", false);
    *ret_foreign = base.count && !same;
    return buf_ok(ret);
}
