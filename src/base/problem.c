#include "base/problem.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What users wrote may stand in a sentence, and be anything. */
static void clean(char *at)
{
    size_t count;
    for (struct bytes rest = bytes_of(at); rest.count; rest = (struct bytes){at, rest.count - count}) {
        int32_t code = text_decode(rest, &count);
        if (code < ' ' || code == 0x7f)
            *at = code < 0 ? '?' : ' ';
        at += count;
    }
}

int problem_set(struct problem *problem, const char *format, ...)
{
    if (!problem || problem->text[0])
        return -1;
    va_list args;
    va_start(args, format);
    vsnprintf(problem->text, sizeof problem->text, format, args);
    va_end(args);
    problem->text[text_cut(bytes_of(problem->text), sizeof problem->text - 1)] = 0;
    clean(problem->text);
    return -1;
}

bool problem_is(const struct problem *problem)
{
    return problem->text[0] != 0;
}
