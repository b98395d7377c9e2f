#include "trip/llm_api.h"

#include "base/json.h"
#include "base/test.h"

static void asked(const char *name, const struct llm_question *question, const char *expected)
{
    struct buf body BUF_OWNED;
    buf_init(&body, 4096);
    llm_ask(llm_api_find(bytes_of(name)), question, &body);
    CHECK_TEXT(buf_z(&body), expected);
}

TEST(questions_in_each_form)
{
    struct json_object *schema JSON_OWNED = json_parse(BYTES("{\"type\":\"object\"}"), NULL), *params JSON_OWNED = json_parse(BYTES("{\"temperature\":0}"), NULL);
    struct llm_question question = {.model = BYTES("m"), .system = BYTES("S"), .prompt = BYTES("P"), .schema = schema, .params = params, .max_tokens = 9};
    asked("openai", &question, "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"P\"}],"
          "\"max_completion_tokens\":9,\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\",\"strict\":true,"
          "\"schema\":{\"type\":\"object\"}}},\"temperature\":0}");
    asked("responses", &question, "{\"model\":\"m\",\"input\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"P\"}],"
          "\"max_output_tokens\":9,\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"answer\",\"strict\":true,\"schema\":{\"type\":\"object\"}}},"
          "\"temperature\":0}");
    asked("anthropic", &question, "{\"model\":\"m\",\"max_tokens\":9,\"system\":\"S\",\"messages\":[{\"role\":\"user\",\"content\":\"P\"}],"
          "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}},\"temperature\":0}");
    CHECK(llm_api_find(BYTES("other")) == NULL);
}

TEST(a_question_asked_again_says_what_was_wrong)
{
    struct llm_question question = {.model = BYTES("m"), .prompt = BYTES("P"), .said = BYTES("{"), .wrong = BYTES("it is cut")};
    asked("openai", &question, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"P\"},{\"role\":\"assistant\",\"content\":\"{\"},"
          "{\"role\":\"user\",\"content\":\"That answer cannot be used: it is cut. Answer again, with JSON only.\"}]}");
}

static void answered(const char *name, const char *body, const char *text, enum llm_end end, double in, double cached, double out)
{
    struct llm_answer answer = {0};
    struct problem problem = {0};
    buf_init(&answer.text, 4096);
    CHECK_INT(llm_read(llm_api_find(bytes_of(name)), bytes_of(body), &answer, &problem), 0);
    CHECK_TEXT(problem.text, "");
    CHECK_TEXT(buf_z(&answer.text), text);
    CHECK_INT(answer.end, end);
    CHECK(answer.tokens_in == in && answer.tokens_cached == cached && answer.tokens_out == out);
    buf_done(&answer.text);
}

TEST(answers_in_each_form)
{
    answered("openai", "{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,"
             "\"prompt_tokens_details\":{\"cached_tokens\":3}}}", "hi", LLM_WHOLE, 5, 3, 2);
    answered("openai", "{\"choices\":[{\"message\":{\"content\":\"{\"},\"finish_reason\":\"length\"}]}", "{", LLM_CUT, 0, 0, 0);
    answered("openai", "{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"no\"},\"finish_reason\":\"stop\"}]}", "no", LLM_REFUSED, 0, 0, 0);
    answered("responses", "{\"status\":\"completed\",\"output\":[{\"type\":\"reasoning\"},{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\"}]}],"
             "\"usage\":{\"input_tokens\":5,\"output_tokens\":2}}", "hi", LLM_WHOLE, 5, 0, 2);
    answered("responses", "{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"output\":[]}", "", LLM_CUT, 0, 0, 0);
    answered("anthropic", "{\"content\":[{\"type\":\"text\",\"text\":\"hi\"}],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":5,\"output_tokens\":2,"
             "\"cache_read_input_tokens\":4,\"cache_creation_input_tokens\":1}}", "hi", LLM_WHOLE, 10, 4, 2);
    answered("anthropic", "{\"content\":[],\"stop_reason\":\"refusal\"}", "", LLM_REFUSED, 0, 0, 0);
}

TEST(what_is_no_answer)
{
    struct llm_answer answer = {0};
    struct problem problem = {0};
    buf_init(&answer.text, 4096);
    CHECK_INT(llm_read(llm_api_find(BYTES("openai")), BYTES("<html>"), &answer, &problem), -1);
    CHECK(problem_is(&problem));
    CHECK_INT(llm_read(llm_api_find(BYTES("anthropic")), BYTES("{\"choices\":[]}"), &answer, NULL), -1);
    buf_done(&answer.text);
}
