#include "base/problem.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int problem_set(struct problem *problem, const char *format, ...)
{
    if (!problem || problem->text[0])
        return -1;
    va_list args;
    va_start(args, format);
    vsnprintf(problem->text, sizeof problem->text, format, args);
    va_end(args);
    problem->text[text_cut(bytes_of(problem->text), sizeof problem->text - 1)] = 0;
    for (char *at = problem->text; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    return -1;
}

bool problem_is(const struct problem *problem)
{
    return problem->text[0] != 0;
}
