/* The grammar of RFC 8259, and nothing but it: what json_parse lets through to json-c. json-c's own strict mode takes NaN, and its
 * version 0.18 refuses every character beyond ASCII, so this decides alone. */
#pragma once
#include "base/bytes.h"

enum json_grammar {
    JSON_GRAMMAR_GOOD,
    JSON_GRAMMAR_WRONG,      /* not JSON */
    JSON_GRAMMAR_DEEP,       /* more than depth_max arrays and objects inside one another */
};

/* Whether `text` is exactly one value, in UTF-8, white space around it allowed. *ret_at is where it stops being so. Uses
 * depth_max small stack frames at most. Any thread. */
enum json_grammar json_grammar(struct bytes text, unsigned depth_max, size_t *ret_at);
