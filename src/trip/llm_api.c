#include "trip/llm_api.h"

#include "base/json.h"

enum { ANTHROPIC_TOKENS = 1024 };      /* it must be said there */

/* ---- questions ---- */

static void put_message(struct buf *body, const char *role, struct bytes text)
{
    json_open(body, '{');
    json_put_text(body, "role", role);
    json_put_bytes(body, "content", text);
    json_close(body, '}');
}

/* What was said before, and what is wrong with it. */
static void put_talk(struct buf *body, const struct llm_question *question)
{
    struct buf wish BUF_OWNED;
    buf_init(&wish, 4096);
    put_message(body, "user", question->prompt);
    if (!question->wrong.count)
        return;
    buf_print(&wish, "That answer cannot be used: %.*s. Answer again, with JSON only.", BYTES_ARG(question->wrong));
    put_message(body, "assistant", question->said.count ? question->said : BYTES("(nothing)"));
    put_message(body, "user", buf_bytes(&wish));
}

static void put_turns(struct buf *body, const char *key, const struct llm_question *question, bool with_system)
{
    json_key(body, key);
    json_open(body, '[');
    if (with_system && question->system.count)
        put_message(body, "system", question->system);
    put_talk(body, question);
    json_close(body, ']');
}

static void put_params(struct buf *body, struct json_object *params)
{
    if (!params)
        return;
    json_object_object_foreach(params, key, value) {
        json_key_bytes(body, bytes_of(key));
        json_tree(body, value);
    }
}

static void put_schema(struct buf *body, const struct llm_question *question, bool named)
{
    json_open(body, '{');
    json_put_text(body, "type", "json_schema");
    if (named) {
        json_put_text(body, "name", "answer");
        json_put_flag(body, "strict", true);
    }
    json_key(body, "schema");
    json_tree(body, question->schema);
    json_close(body, '}');
}

static void openai_ask(const struct llm_api *api, const struct llm_question *question, struct buf *body)
{
    put_turns(body, "messages", question, true);
    if (question->max_tokens)
        json_put_int(body, "max_completion_tokens", question->max_tokens);
    if (!question->schema)
        return;
    json_key(body, "response_format");
    json_open(body, '{');
    json_put_text(body, "type", "json_schema");
    json_key(body, "json_schema");
    json_open(body, '{');
    json_put_text(body, "name", "answer");
    json_put_flag(body, "strict", true);
    json_key(body, "schema");
    json_tree(body, question->schema);
    json_close(body, '}');
    json_close(body, '}');
}

static void responses_ask(const struct llm_api *api, const struct llm_question *question, struct buf *body)
{
    put_turns(body, "input", question, true);
    if (question->max_tokens)
        json_put_int(body, "max_output_tokens", question->max_tokens);
    if (!question->schema)
        return;
    json_key(body, "text");
    json_open(body, '{');
    json_key(body, "format");
    put_schema(body, question, true);
    json_close(body, '}');
}

static void anthropic_ask(const struct llm_api *api, const struct llm_question *question, struct buf *body)
{
    json_put_int(body, "max_tokens", question->max_tokens ? question->max_tokens : ANTHROPIC_TOKENS);
    if (question->system.count)
        json_put_bytes(body, "system", question->system);
    put_turns(body, "messages", question, false);
    if (!question->schema)
        return;
    json_key(body, "output_config");
    json_open(body, '{');
    json_key(body, "format");
    put_schema(body, question, false);
    json_close(body, '}');
}

void llm_ask(const struct llm_api *api, const struct llm_question *question, struct buf *body)
{
    json_open(body, '{');
    json_put_bytes(body, "model", question->model);
    api->ask(api, question, body);
    put_params(body, question->params);
    json_close(body, '}');
}

/* ---- answers ---- */

static double number(struct json_object *object, const char *key)
{
    double value = json_get_real(object, key, 0);
    return value > 0 ? value : 0;
}

static int openai_read(struct json_object *answer, struct llm_answer *ret)
{
    struct json_object *choices = json_get(answer, "choices"), *usage = json_get(answer, "usage");
    if (!json_object_is_type(choices, json_type_array) || !json_object_array_length(choices))
        return -1;
    struct json_object *choice = json_object_array_get_idx(choices, 0), *message = json_get(choice, "message");
    struct bytes why = json_get_bytes(choice, "finish_reason"), refusal = json_get_bytes(message, "refusal");
    ret->end = refusal.count || bytes_equal(why, BYTES("content_filter")) ? LLM_REFUSED : bytes_equal(why, BYTES("length")) ? LLM_CUT : LLM_WHOLE;
    buf_put(&ret->text, refusal.count ? refusal : json_get_bytes(message, "content"));
    ret->tokens_in = number(usage, "prompt_tokens");
    ret->tokens_out = number(usage, "completion_tokens");
    ret->tokens_cached = number(json_get(usage, "prompt_tokens_details"), "cached_tokens");
    return 0;
}

/* The texts of all parts of one kind, one behind the other. */
static void gather(struct json_object *parts, struct bytes kind, const char *member, struct buf *ret)
{
    for (size_t i = 0; json_object_is_type(parts, json_type_array) && i < json_object_array_length(parts); i++) {
        struct json_object *part = json_object_array_get_idx(parts, i);
        if (bytes_equal(json_get_bytes(part, "type"), kind))
            buf_put(ret, json_get_bytes(part, member));
    }
}

static int responses_read(struct json_object *answer, struct llm_answer *ret)
{
    struct json_object *output = json_get(answer, "output"), *usage = json_get(answer, "usage");
    struct bytes why = json_get_bytes(json_get(answer, "incomplete_details"), "reason");
    if (!json_object_is_type(output, json_type_array))
        return -1;
    for (size_t i = 0; i < json_object_array_length(output); i++) {
        struct json_object *content = json_get(json_object_array_get_idx(output, i), "content");
        size_t before = ret->text.count;
        gather(content, BYTES("refusal"), "refusal", &ret->text);
        if (ret->text.count > before)
            ret->end = LLM_REFUSED;
        gather(content, BYTES("output_text"), "text", &ret->text);
    }
    if (bytes_equal(json_get_bytes(answer, "status"), BYTES("incomplete")))
        ret->end = bytes_equal(why, BYTES("content_filter")) ? LLM_REFUSED : LLM_CUT;
    ret->tokens_in = number(usage, "input_tokens");
    ret->tokens_out = number(usage, "output_tokens");
    ret->tokens_cached = number(json_get(usage, "input_tokens_details"), "cached_tokens");
    return 0;
}

static int anthropic_read(struct json_object *answer, struct llm_answer *ret)
{
    struct json_object *content = json_get(answer, "content"), *usage = json_get(answer, "usage");
    struct bytes why = json_get_bytes(answer, "stop_reason");
    if (!json_object_is_type(content, json_type_array))
        return -1;
    gather(content, BYTES("text"), "text", &ret->text);
    ret->end = bytes_equal(why, BYTES("refusal")) ? LLM_REFUSED :
               bytes_equal(why, BYTES("max_tokens")) || bytes_equal(why, BYTES("model_context_window_exceeded")) ? LLM_CUT : LLM_WHOLE;
    ret->tokens_cached = number(usage, "cache_read_input_tokens");
    ret->tokens_in = number(usage, "input_tokens") + number(usage, "cache_creation_input_tokens") + ret->tokens_cached;
    ret->tokens_out = number(usage, "output_tokens");
    return 0;
}

int llm_read(const struct llm_api *api, struct bytes body, struct llm_answer *ret, struct problem *problem)
{
    struct problem why = {0};
    struct json_object *answer JSON_OWNED = json_parse(body, &why);
    if (!answer)
        return problem_set(problem, "the model's answer is %s", why.text);
    return api->read(answer, ret) ? problem_set(problem, "the model's answer has not the form of the API %s", api->name) : 0;
}

const struct llm_api *llm_api_find(struct bytes name)
{
    static const struct llm_api apis[] = {
        {"openai", "https://api.openai.com/v1", "/chat/completions", openai_ask, openai_read},
        {"responses", "https://api.openai.com/v1", "/responses", responses_ask, responses_read},
        {"anthropic", "https://api.anthropic.com/v1", "/messages", anthropic_ask, anthropic_read},
    };
    for (size_t i = 0; i < sizeof apis / sizeof *apis; i++)
        if (bytes_equal(name, bytes_of(apis[i].name)))
            return &apis[i];
    return NULL;
}
