/* The table of stage kinds: add a kind with one file and one line here. */
#include "stage/stage.h"

#include <stdarg.h>
#include <stdio.h>

extern const struct stage_kind stage_decklist, stage_eval, stage_exec, stage_gather, stage_jq, stage_match, stage_noop, stage_rows, stage_split, stage_tail;

static const struct stage_kind *const kinds[] = {
    &stage_decklist, &stage_match, &stage_noop, &stage_jq, &stage_split, &stage_gather, &stage_tail, &stage_eval, &stage_rows,
    &stage_exec,
};

const struct stage_kind *stage_kind_extra;

const struct stage_kind *stage_kind_at(size_t index)
{
    return index < sizeof kinds / sizeof *kinds ? kinds[index] : NULL;
}

const struct stage_kind *stage_kind_find(struct bytes name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (bytes_equal(name, bytes_of(kinds[i]->name)))
            return kinds[i];
    return stage_kind_extra && bytes_equal(name, bytes_of(stage_kind_extra->name)) ? stage_kind_extra : NULL;
}

void stage_outcome_init(struct stage_outcome *outcome)
{
    *outcome = (struct stage_outcome){.verdict = STAGE_DONE};
    buf_init(&outcome->value, STAGE_VALUE_MAX);
    buf_init(&outcome->error_more, STAGE_ERROR_MORE_MAX);
}

void stage_outcome_done(struct stage_outcome *outcome)
{
    buf_done(&outcome->value);
    buf_done(&outcome->error_more);
}

void stage_outcome_stat(struct stage_outcome *outcome, const char *name, double value)
{
    struct stage_stat *stat = &outcome->stats[outcome->stats_count];
    if (outcome->stats_count == STAGE_STATS_MAX || strlen(name) >= sizeof stat->name)
        return;
    *stat = (struct stage_stat){.value = value};
    memcpy(stat->name, name, strlen(name));
    outcome->stats_count++;
}

void stage_outcome_fail(struct stage_outcome *outcome, enum stage_verdict verdict, const char *error_type, const char *format, ...)
{
    char text[sizeof outcome->error.text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    outcome->verdict = verdict;
    outcome->error_type = error_type;
    problem_set(&outcome->error, "%s", text);
}
