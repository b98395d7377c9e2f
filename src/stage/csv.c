#include "stage/csv.h"

#include "base/text.h"

enum { RECORD_MAX = 1 << 20 };

void csv_init(struct csv *csv, struct bytes file, const char *name)
{
    *csv = (struct csv){.rest = file, .name = name, .next_line = 1};
    if (bytes_start(file, BYTES("\xef\xbb\xbf")))
        csv->rest = (struct bytes){file.at + 3, file.count - 3};
    buf_init(&csv->text, RECORD_MAX);
}

void csv_done(struct csv *csv)
{
    buf_done(&csv->text);
}

static char peek(const struct csv *csv)
{
    return csv->rest.count ? csv->rest.at[0] : '\n';
}

static bool ends_field(char c)
{
    return c == ',' || c == '\r' || c == '\n';
}

static void step(struct csv *csv, size_t count)
{
    for (size_t i = 0; i < count; i++)
        csv->next_line += csv->rest.at[i] == '\n';
    csv->rest.at += count;
    csv->rest.count -= count;
}

/* Past one line end: LF, CR LF or a lone CR. */
static void step_line(struct csv *csv)
{
    bool lone = peek(csv) == '\r' && !bytes_start(csv->rest, BYTES("\r\n"));
    step(csv, bytes_start(csv->rest, BYTES("\r\n")) ? 2 : csv->rest.count > 0);
    csv->next_line += lone;
}

static int field_problem(const struct csv *csv, const char *what, struct problem *problem)
{
    return problem_set(problem, "%s, line %d, field %d: %s.", csv->name, csv->line, csv->fields_count + 1, what);
}

static int plain_field(struct csv *csv, struct bytes *ret)
{
    size_t count = 0;
    while (count < csv->rest.count && !ends_field(csv->rest.at[count]))
        count++;
    *ret = (struct bytes){csv->rest.at, count};
    step(csv, count);
    return 0;
}

/* The text buffer never moves while a record is read: it gets its whole room at first use. */
static int quoted_field(struct csv *csv, struct bytes *ret, struct problem *problem)
{
    size_t start = csv->text.count;
    if (!buf_reserve(&csv->text, RECORD_MAX - start))
        return field_problem(csv, "the record is longer than 1 MiB", problem);
    step(csv, 1);
    while (csv->rest.count) {
        const char *quote = memchr(csv->rest.at, '"', csv->rest.count);
        size_t count = quote ? (size_t)(quote - csv->rest.at) : csv->rest.count;
        if (!buf_add(&csv->text, csv->rest.at, count))
            return field_problem(csv, "the record is longer than 1 MiB", problem);
        step(csv, count + (quote ? 1 : 0));
        if (!quote)
            break;
        if (peek(csv) != '"' || !csv->rest.count) {
            *ret = (struct bytes){csv->text.at + start, csv->text.count - start};
            return ends_field(peek(csv)) ? 0 : field_problem(csv, "something stands behind the closing quote", problem);
        }
        if (!buf_byte(&csv->text, '"'))
            return field_problem(csv, "the record is longer than 1 MiB", problem);
        step(csv, 1);
    }
    return field_problem(csv, "the quote is never closed", problem);
}

int csv_next(struct csv *csv, struct problem *problem)
{
    buf_clear(&csv->text);
    csv->fields_count = 0;
    while (csv->rest.count && (peek(csv) == '\r' || peek(csv) == '\n'))
        step_line(csv);
    if (!csv->rest.count)
        return CSV_END;
    csv->line = csv->next_line;
    for (;;) {
        struct bytes field;
        if (csv->fields_count == CSV_FIELDS_MAX)
            return field_problem(csv, "a record may have 128 fields at most", problem);
        if ((peek(csv) == '"' && csv->rest.count ? quoted_field(csv, &field, problem) : plain_field(csv, &field)) < 0)
            return -1;
        if (!text_is_utf8(field))
            return field_problem(csv, "this is not UTF-8 text", problem);
        csv->fields[csv->fields_count++] = field;
        if (!csv->rest.count || peek(csv) != ',')
            break;
        step(csv, 1);
    }
    step_line(csv);
    return 0;
}
