/* The stage `llm`: a model is asked one question about the step's input, and its answer is JSON that fits the schema, or the step fails: there is no
 * answer of score 0 that stands for a failure.
 *
 *     prompt, system (asked of a worker) ──▶ call ──▶ read ──▶ fits? ──▶ end
 *                                             ▲                 │ no: once more, with what is wrong said to the model (`repair` times)
 *                                             └─────────────────┘
 *
 * Requests and tokens a minute are the limiter's, shared by all that use the same address and key. Tokens are taken as an estimate (four bytes
 * each, and all that may be answered) and settled by what the answer says. What was paid is told whatever came of it. */
#include "trip/trip.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "trip/llm_api.h"
#include "trip/schema.h"

#include <stdio.h>
#include <stdlib.h>

struct llm {
    struct step step;
    const struct llm_api *api;
    struct json_object *with;         /* borrowed */
    char *prompt, *system;            /* owned */
    char *said, *wrong;               /* of the try before; owned, NULL at first */
    int64_t repairs;                  /* left */
    int asked;                        /* questions of this attempt so far */
    double calls, tokens_in, tokens_cached, tokens_out;
    char usage[256];
};

enum { ANSWER_BYTES = 4 * 1024 * 1024, BYTES_A_TOKEN = 4, REPAIRS = 1 };

static void call(struct llm *llm);

/* ---- what it costs ---- */

static double price(const struct llm *llm, const char *which, double fallback)
{
    return json_get_real(json_get(llm->with, "price"), which, fallback);
}

/* Prices are $ for a million tokens; cached ones cost what others do where nothing is said. */
static double cost(const struct llm *llm)
{
    double in = price(llm, "in", 0), cached = price(llm, "cached_in", in);
    return ((llm->tokens_in - llm->tokens_cached) * in + llm->tokens_cached * cached + llm->tokens_out * price(llm, "out", 0)) / 1e6;
}

static void account(struct llm *llm, const struct llm_answer *answer)
{
    struct buf buf BUF_OWNED;
    llm->calls++;
    llm->tokens_in += answer->tokens_in;
    llm->tokens_cached += answer->tokens_cached;
    llm->tokens_out += answer->tokens_out;
    buf_init(&buf, sizeof llm->usage);
    json_open(&buf, '{');
    json_put_real(&buf, "llm_calls", llm->calls);
    json_put_real(&buf, "tokens_in", llm->tokens_in);
    json_put_real(&buf, "tokens_cached", llm->tokens_cached);
    json_put_real(&buf, "tokens_out", llm->tokens_out);
    if (json_get(llm->with, "price"))
        json_put_real(&buf, "cost", cost(llm));
    json_close(&buf, '}');
    memcpy(llm->usage, buf.at, buf.count);
    llm->step.usage = (struct bytes){llm->usage, buf.count};
}

/* ---- the answer ---- */

/* Models like to put JSON between ``` fences, with a word behind the first. */
static struct bytes without_fences(struct bytes text)
{
    while (text.count && strchr(" \t\r\n", text.at[0]))
        text.at++, text.count--;
    while (text.count && strchr(" \t\r\n", text.at[text.count - 1]))
        text.count--;
    if (!bytes_start(text, BYTES("```")) || text.count < 6 || memcmp(text.at + text.count - 3, "```", 3) != 0)
        return text;
    text = (struct bytes){text.at + 3, text.count - 6};
    bytes_cut(&text, '\n');
    return text;
}

static void give(struct llm *llm, struct json_object *value, struct bytes text)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, ANSWER_BYTES);
    if (value)
        json_tree(&buf, value);
    else
        json_bytes(&buf, text);
    step_end(&llm->step, &(struct step_result){.value = buf_bytes(&buf), .usage = llm->step.usage});
}

static void keep_text(char **place, struct bytes text)
{
    free(*place);
    *place = mem_copy(text.count ? text.at : "", text.count);
}

/* It does not do: the model may try again, then the stage. */
static void mend(struct llm *llm, struct bytes said, const struct problem *wrong)
{
    if (llm->repairs-- > 0) {
        keep_text(&llm->said, said);
        keep_text(&llm->wrong, bytes_of(wrong->text));
        call(llm);
        return;
    }
    step_fail(&llm->step, "invalid_json", step_may_retry(&llm->step, NULL, "invalid_json"), 0, "The model's answer cannot be used: %s.", wrong->text);
}

static void judge(struct llm *llm, const struct llm_answer *answer)
{
    struct json_object *schema = json_get(llm->with, "schema");
    struct bytes text = buf_bytes(&answer->text);
    struct problem wrong = {0};
    if (answer->end == LLM_REFUSED) {
        step_fail(&llm->step, "refused", false, 0, "The model refused to answer%s%.*s.", text.count ? ": " : "", (int)(text.count < 200 ? text.count : 200),
                  text.count ? text.at : "");
        return;
    }
    if (answer->end == LLM_CUT) {
        problem_set(&wrong, "it was cut off at the limit of its length (max_tokens)");
        mend(llm, text, &wrong);
        return;
    }
    if (!schema) {
        give(llm, NULL, text);
        return;
    }
    struct json_object *value JSON_OWNED = json_parse(without_fences(text), &wrong);
    if (value && !schema_check(schema, value, &wrong))
        give(llm, value, (struct bytes){0});
    else
        mend(llm, text, &wrong);
}

/* ---- the call ---- */

/* No credit left: waiting does not bring it back. */
static bool refused_for_good(struct step *step, const struct fetch_answer *answer)
{
    struct json_object *body JSON_OWNED = json_parse(answer->body, NULL);
    struct json_object *error = json_get(body, "error");
    return bytes_equal(json_get_bytes(error, "code"), BYTES("insufficient_quota")) ||
           bytes_equal(json_get_bytes(error, "type"), BYTES("insufficient_quota"));
}

static int64_t tokens_used(struct step *step, const struct fetch_answer *answer)
{
    const struct llm *llm = (const struct llm *)step;
    struct llm_answer read = {0};
    buf_init(&read.text, ANSWER_BYTES);
    bool known = answer->status == 200 && !llm_read(llm->api, answer->body, &read, NULL);
    buf_done(&read.text);
    return known ? (int64_t)(read.tokens_in + read.tokens_out) : -1;
}

static void came(void *data, struct fetch_answer *answer)
{
    struct llm *llm = data;
    struct llm_answer read = {0};
    struct problem problem = {0};
    if (answer->end != FETCH_ANSWERED || answer->status != 200) {
        if (answer->end == FETCH_ANSWERED && answer->status == 429 && refused_for_good(&llm->step, answer))
            step_fail(&llm->step, "budget", false, 0, "The model's provider says that no credit is left.");
        else
            step_fail_answer(&llm->step, answer, NULL);
        return;
    }
    buf_init(&read.text, ANSWER_BYTES);
    if (llm_read(llm->api, answer->body, &read, &problem)) {
        step_fail(&llm->step, "invalid_json", step_may_retry(&llm->step, NULL, "invalid_json"), 0, "%s.", problem.text);
    } else {
        account(llm, &read);
        judge(llm, &read);
    }
    buf_done(&read.text);
}

/* The key goes out as each API wants it; false: the step has failed. */
static bool add_key(struct llm *llm, struct headers *headers)
{
    struct json_object *from = json_get(llm->with, "key");
    struct buf key BUF_OWNED, line BUF_OWNED;
    buf_init(&key, 8192);
    buf_init(&line, 8300);
    if (!strcmp(llm->api->name, "anthropic"))
        headers_add(headers, "anthropic-version", BYTES("2023-06-01"));
    if (!from)
        return true;
    if (!step_secret(&llm->step, from, &key))
        return false;
    if (!strcmp(llm->api->name, "anthropic")) {
        headers_add(headers, "x-api-key", buf_bytes(&key));
    } else {
        buf_print(&line, "Bearer %.*s", BYTES_ARG(buf_bytes(&key)));
        headers_add(headers, "Authorization", buf_bytes(&line));
    }
    return true;
}

static bool address(struct llm *llm, struct buf *url)
{
    struct json_object *base = json_get(llm->with, "base");
    if (!base) {
        buf_text(url, llm->api->base);
    } else if (!step_secret(&llm->step, base, url)) {
        return false;
    }
    while (url->count && url->at[url->count - 1] == '/')
        url->count--;
    buf_text(url, llm->api->path);
    return true;
}

static void call(struct llm *llm)
{
    struct json_object *params = json_get(llm->with, "params");
    struct llm_question question = {.model = json_get_bytes(llm->with, "model"), .system = bytes_of(llm->system), .prompt = bytes_of(llm->prompt),
                                    .said = bytes_of(llm->said), .wrong = bytes_of(llm->wrong), .schema = json_get(llm->with, "schema"),
                                    .params = params, .max_tokens = json_get_int(llm->with, "max_tokens", 0)};
    struct headers headers = {0};
    struct buf url BUF_OWNED, body BUF_OWNED;
    buf_init(&url, 4096);
    buf_init(&body, ANSWER_BYTES);
    bool ready = address(llm, &url) && step_headers(&llm->step, llm->with, false, &headers) && add_key(llm, &headers);
    if (ready) {
        headers_add(&headers, "Content-Type", BYTES("application/json"));
        headers_done(&headers);
        llm_ask(llm->api, &question, &body);
        struct step_call request = {
            .request = {.method = "POST", .url = buf_bytes(&url), .headers = headers.lines, .headers_count = headers.count, .body = buf_bytes(&body),
                        .answer_max = ANSWER_BYTES},
            .tokens = (int64_t)(body.count / BYTES_A_TOKEN) + question.max_tokens,
            .used = tokens_used,
            .for_good = refused_for_good,
        };
        char purpose[32];      /* another question, which must not get the first one's answer again */
        snprintf(purpose, sizeof purpose, "repair-%d", llm->asked);
        request.purpose = llm->asked++ ? purpose : NULL;
        step_call(&llm->step, &request, came);
    }
    headers_free(&headers);
}

/* ---- the step ---- */

static void rendered(struct step *step, struct json_object *answer)
{
    struct llm *llm = (struct llm *)step;
    struct json_object *prompt = json_get(answer, "prompt"), *system = json_get(answer, "system");
    if (!json_object_is_type(prompt, json_type_string)) {
        step_fail(step, "expression", false, 0, "The prompt must be a text.");
        return;
    }
    llm->prompt = mem_text(json_object_get_string(prompt));
    llm->system = json_object_is_type(system, json_type_string) ? mem_text(json_object_get_string(system)) : NULL;
    call(llm);
}

static void begin(struct step *step)
{
    struct llm *llm = (struct llm *)step;
    struct buf programs BUF_OWNED;
    buf_init(&programs, LIMIT_BODY_BYTES);
    llm->with = json_get(step->stage, "with");
    llm->api = llm_api_find(json_get(llm->with, "api") ? json_get_bytes(llm->with, "api") : BYTES("openai"));
    llm->repairs = json_get_int(llm->with, "repair", REPAIRS);
    if (!llm->api) {
        step_fail(step, "validation", false, 0, "There is no API \"%.*s\".", BYTES_ARG(json_get_bytes(llm->with, "api")));
        return;
    }
    json_open(&programs, '{');
    json_put_bytes(&programs, "prompt", json_get_bytes(llm->with, "prompt"));
    if (json_get(llm->with, "system"))
        json_put_bytes(&programs, "system", json_get_bytes(llm->with, "system"));
    json_close(&programs, '}');
    step_eval(step, buf_bytes(&programs), (struct bytes){0}, (struct bytes){0}, rendered);
}

static void stop(struct step *step, bool for_good)
{
    /* A call that was broken off is all that is left of it. */
}

static void llm_free(struct step *step)
{
    struct llm *llm = (struct llm *)step;
    free(llm->prompt);
    free(llm->system);
    free(llm->said);
    free(llm->wrong);
}

const struct step_kind step_llm = {.name = "llm", .size = sizeof(struct llm), .begin = begin, .learn = begin, .stop = stop, .free = llm_free};
