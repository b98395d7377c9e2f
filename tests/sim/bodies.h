/* Looking into the bodies of rows and documents, without the codec. */
#pragma once
#include "base/json.h"
#include "core/row.h"

/* Says which rule a row breaks. */
#define RULE(truth, sentence) SIM_CHECK(sim, truth, "job %lld seq %llu pos %llu (%s) item %lld attempt %u: %s\n  %s", (long long)row->job, \
    (unsigned long long)row->seq, (unsigned long long)row->pos, event_name(row->kind), (long long)row->item, row->attempt, sentence, row->body)

static inline int64_t number_in(struct bytes text)
{
    int64_t value;
    return bytes_to_i64(text, &value) ? value : INT64_MIN;
}

static inline int64_t number_of(const struct row *row, const char *key)
{
    return number_in(json_span(row_body(row), key));
}

static inline bool text_is(const struct row *row, const char *key, const char *text)
{
    struct bytes have = json_span(row_body(row), key);
    size_t length = strlen(text);
    return have.count == length + 2 && !memcmp(have.at + 1, text, length);
}

/* The number behind the first occurrence of `before`; 0 when there is none. */
static inline uint64_t number_behind(struct bytes text, const char *before)
{
    const char *at = text.count ? memmem(text.at, text.count, before, strlen(before)) : NULL;
    uint64_t value = 0;
    for (at = at ? at + strlen(before) : NULL; at && at < text.at + text.count && *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

static inline struct counts counts_of(const struct row *row)
{
    struct bytes rest = json_span(row_body(row), "counts");
    int64_t have[5] = {-1, -1, -1, -1, -1};
    if (rest.count > 2)
        rest = (struct bytes){rest.at + 1, rest.count - 2};
    for (int i = 0; i < 5; i++)
        have[i] = number_in(bytes_cut(&rest, ','));
    return (struct counts){have[0], have[1], have[2], have[3], have[4]};
}

static inline bool counts_equal(struct counts a, struct counts b)
{
    return a.pending == b.pending && a.processing == b.processing && a.completed == b.completed && a.failed == b.failed &&
           a.skipped == b.skipped;
}
