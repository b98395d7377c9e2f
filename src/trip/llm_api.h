/* The three wire forms in which a language model is asked: what a question looks like, and how an answer is read. Pure.
 *
 *   openai      POST BASE/chat/completions   messages, response_format                      OpenAI chat; llama.cpp, vLLM, Ollama … speak it too
 *   responses   POST BASE/responses          input, text.format                             OpenAI Responses
 *   anthropic   POST BASE/messages           system, messages, output_config, x-api-key     Anthropic Messages */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

struct json_object;
struct llm_question;
struct llm_answer;

struct llm_api {
    const char *name, *base, *path;       /* base: where it is when the pipeline names no other */
    void (*ask)(const struct llm_api *api, const struct llm_question *question, struct buf *body);
    int (*read)(struct json_object *answer, struct llm_answer *ret);
};
const struct llm_api *llm_api_find(struct bytes name);       /* NULL = none of that name */

/* Borrowed. `said` and `wrong` hold the first try when the answer is to be mended: what the model said, and why it does not do. */
struct llm_question {
    struct bytes model, system, prompt, said, wrong;
    struct json_object *schema;           /* JSON Schema of the answer, or NULL */
    struct json_object *params;           /* further members of the body (temperature …), or NULL */
    int64_t max_tokens;                   /* 0 = not said */
};

enum llm_end { LLM_WHOLE, LLM_CUT, LLM_REFUSED };
struct llm_answer {
    struct buf text;                      /* init before, done after */
    enum llm_end end;
    double tokens_in, tokens_cached, tokens_out;      /* in: with those that were cached */
};

void llm_ask(const struct llm_api *api, const struct llm_question *question, struct buf *body);
/* 0, or -1 and a problem: this is no answer of that form. */
int llm_read(const struct llm_api *api, struct bytes body, struct llm_answer *ret, struct problem *problem);
