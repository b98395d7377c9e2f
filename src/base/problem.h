/* What a user will read when something is wrong: one full sentence that names what, where and the limit. The first
 * problem wins: setting a problem that is already set keeps the first, because it is nearest to the cause. */
#pragma once
#include <stdbool.h>

struct problem {
    char text[512];    /* UTF-8 sentence without a newline; empty = no problem; cut at a character when too long */
};

/* Sets the sentence and answers -1, so that a caller can `return problem_set(...)`. `problem` may be NULL. */
int problem_set(struct problem *problem, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool problem_is(const struct problem *problem);
