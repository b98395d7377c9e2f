/* What comes from the far side of a call: answers of language models in three forms, and whether they fit a schema; addresses and states of remote jobs;
 * what a job says of its webhook; when to come again; and documents on their way to Firestore. The first byte says which. */
#include "fuzz.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/limits.h"
#include "base/text.h"
#include "os/fetch_own.h"
#include "readers/firestore.h"
#include "readers/webhook.h"
#include "trip/llm_api.h"
#include "trip/remote_job.h"
#include "trip/schema.h"

#include <math.h>

static void check_json(struct bytes text, const char *what)
{
    size_t at;
    fuzz_must(json_grammar(text, 4 * JSON_DEPTH_MAX, &at) == JSON_GRAMMAR_GOOD, what);
    fuzz_must(!memchr(text.at, '\n', text.count), "on one line");
}

static void check_llm(const struct llm_api *api, struct bytes body)
{
    struct llm_answer answer = {0};
    struct problem problem = {0};
    buf_init(&answer.text, 1 << 20);
    int failed = llm_read(api, body, &answer, &problem);
    fuzz_check_problem(&problem, failed != 0);
    if (!failed) {
        fuzz_must(text_is_utf8(buf_bytes(&answer.text)), "what a model said is text");
        fuzz_must(answer.tokens_in >= 0 && answer.tokens_out >= 0 && answer.tokens_cached >= 0, "tokens are not negative");
        fuzz_must(answer.end == LLM_WHOLE || answer.end == LLM_CUT || answer.end == LLM_REFUSED, "it ended somehow");
    }
    struct buf question BUF_OWNED;
    buf_init(&question, 1 << 20);
    struct llm_question again = {.model = BYTES("m"), .system = body, .prompt = body, .said = buf_bytes(&answer.text), .wrong = body, .max_tokens = body.count % 3};
    llm_ask(api, &again, &question);
    check_json(buf_bytes(&question), "a question is JSON");
    buf_done(&answer.text);
}

/* A schema, a line feed, a value. */
static void check_schema(struct bytes input)
{
    struct bytes text = bytes_cut(&input, '\n');
    struct json_object *schema JSON_OWNED = json_parse(text, NULL), *value JSON_OWNED = json_parse(input, NULL);
    struct problem problem = {0};
    if (schema)
        fuzz_check_problem(&problem, schema_check(schema, value, &problem) != 0);
}

/* What goes into an address is of the letters that need no escape, and escapes. */
static void check_escaped(struct bytes text)
{
    for (size_t i = 0; i < text.count; i++)
        fuzz_must(text.at[i] && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%=&?", text.at[i]), "an address holds no other letters");
}

static void check_addresses(struct bytes input)
{
    struct buf url BUF_OWNED, text BUF_OWNED;
    struct bytes name = bytes_cut(&input, '\n'), mark = BYTES(REMOTE_ID_MARK);
    buf_init(&url, 1 << 20);
    buf_init(&text, 1 << 20);
    remote_job_param(&url, name, input);
    remote_job_param(&url, input, name);
    check_escaped(buf_bytes(&url));
    buf_clear(&url);
    remote_job_json_of(input, &text);
    check_json(buf_bytes(&text), "any body is JSON in the end");
    remote_job_fill(BYTES("http://h/" REMOTE_ID_MARK "/x"), mark, buf_bytes(&text), &url);
    fuzz_must(bytes_start(buf_bytes(&url), BYTES("http://h/")) && url.count >= 11 && !memcmp(url.at + url.count - 2, "/x", 2), "an id stands between what was around it");
    check_escaped((struct bytes){url.at + 9, url.count - 11});
}

static void check_walk(struct bytes input)
{
    struct bytes program = bytes_cut(&input, '\n');
    struct json_object *tree JSON_OWNED = json_parse(input, NULL), *value = NULL;
    struct buf text BUF_OWNED;
    buf_init(&text, 1 << 20);
    if (remote_job_walk(tree, program, &value)) {
        remote_job_value(value, &text);
        check_json(buf_bytes(&text), "what is found is JSON");
    }
    remote_job_among(tree, value);
    fuzz_must(!value || remote_job_among(value, value) || json_object_is_type(value, json_type_array), "a value is among itself");
}

static void check_when(struct bytes input)
{
    struct bytes ms = bytes_cut(&input, '\n');
    int64_t us = fetch_retry_after_us(ms, input, 1763716800);
    fuzz_must(us >= 0 && us <= LIMIT_FETCH_RETRY_US, "a wait is bounded");
}

static void check_webhook(struct bytes input)
{
    struct problem problem = {0};
    struct buf signature BUF_OWNED;
    int failed = webhook_check(input, &problem);
    fuzz_check_problem(&problem, failed != 0);
    if (!failed)
        check_json(input.count && memchr(input.at, '\n', input.count) ? BYTES("{}") : input, "a webhook is JSON");
    buf_init(&signature, 4096);
    char secrets[200];
    size_t count = input.count < sizeof secrets - 1 ? input.count : sizeof secrets - 1;
    memcpy(secrets, input.at ? input.at : "", count);
    secrets[count] = 0;
    if (webhook_sign(secrets, BYTES("id"), BYTES("1"), BYTES("{}"), &signature))
        fuzz_must(!signature.count || bytes_start(buf_bytes(&signature), BYTES("v1,")), "a signature says its version");
    firestore_path_ok(input);
}

static void check_document(struct bytes input)
{
    struct json_object *tree JSON_OWNED = json_parse(input, NULL);
    struct firestore_doc doc;
    struct buf writes BUF_OWNED;
    buf_init(&writes, 8 << 20);
    firestore_doc_init(&doc, 1 << 20);
    firestore_put_bytes(&doc, "text", input);
    struct firestore_mark mark = firestore_mark(&doc);
    firestore_put_json(&doc, "value", tree);
    fuzz_must(!tree || firestore_size(tree) > 0 || json_object_get_type(tree) == json_type_object || json_object_get_type(tree) == json_type_array, "a value has a size");
    if (json_object_is_type(tree, json_type_array))
        firestore_put_slice(&doc, "slice", tree, 0, json_object_array_length(tree));
    if (input.count % 2)
        firestore_rewind(&doc, mark);
    firestore_put_real(&doc, "real", (double)input.count / 3);
    if (firestore_doc_ok(&doc)) {
        firestore_put_write(&writes, &doc, BYTES("projects/p/databases/d/documents/a/b"), FIRESTORE_AT, input);
        check_json(buf_bytes(&writes), "a write is JSON");
    }
    firestore_doc_done(&doc);
    for (int i = 0; i < 3; i++)
        firestore_int(tree, i ? "value" : "fields", 1);
}

FUZZ_TARGET(remote)
{
    static const char *const apis[] = {"openai", "responses", "anthropic"};
    unsigned which = fuzz_byte(&input) % 9;
    switch (which) {
    case 0:
    case 1:
    case 2: check_llm(llm_api_find(bytes_of(apis[which])), input); break;
    case 3: check_schema(input); break;
    case 4: check_addresses(input); break;
    case 5: check_walk(input); break;
    case 6: check_when(input); break;
    case 7: check_webhook(input); break;
    default: check_document(input);
    }
}
