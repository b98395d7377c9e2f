#include "stage/rows.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "stage/csv.h"

#include <stdio.h>

static struct bytes without_space(struct bytes text)
{
    while (text.count && strchr(" \t\r\n", text.at[0]) && text.at[0])
        text.at++, text.count--;
    while (text.count && strchr(" \t\r\n", text.at[text.count - 1]) && text.at[text.count - 1])
        text.count--;
    return text;
}

/* A raw line break in JSON is space between tokens. */
static void put_line(struct buf *ret, struct bytes json)
{
    size_t start = ret->count;
    if (!buf_put(ret, json))
        return;
    for (size_t i = start; i < ret->count; i++)
        if (ret->at[i] == '\n' || ret->at[i] == '\r')
            ret->at[i] = ' ';
}

static int full(const struct buf *ret, struct problem *problem)
{
    return buf_ok(ret) ? 0 : problem_set(problem, "The records take more than the %zu bytes that there is room for.", ret->max);
}

/* ---- JSON ---- */

static void records_of(struct bytes text, struct buf *ret)
{
    static const char *const names[] = {"data", "results", "profiles", "items"};
    struct bytes rest = text, key, value;
    while (text.at[0] == '{' && json_member(&rest, &key, &value))
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            struct bytes array = without_space(value);
            if (bytes_equal(key, bytes_of(names[i])) && array.count && array.at[0] == '[') {
                put_line(ret, array);
                return;
            }
        }
    bool array = text.at[0] == '[';
    if (!array)
        buf_byte(ret, '[');
    put_line(ret, text);
    if (!array)
        buf_byte(ret, ']');
}

static int read_json(struct bytes file, bool whole, struct buf *ret, struct problem *problem)
{
    size_t at = 0;
    struct bytes text = without_space(file);
    enum json_grammar grammar = json_grammar(text, JSON_DEPTH_MAX, &at);
    if (grammar == JSON_GRAMMAR_DEEP)
        return problem_set(problem, "The file is JSON that is nested more than %d deep.", JSON_DEPTH_MAX);
    if (grammar != JSON_GRAMMAR_GOOD) {
        bool cut = at >= text.count;
        problem_set(problem, cut ? "The file of %zu bytes ends before its JSON does." : "The file is no JSON at byte %zu.", cut ? file.count : at);
        return cut ? ROWS_CUT : -1;
    }
    if (whole)
        put_line(ret, text);
    else if (text.at[0] == '[' || text.at[0] == '{')
        records_of(text, ret);
    else
        return problem_set(problem, "The file is JSON, but neither an array nor an object.");
    return full(ret, problem);
}

/* ---- JSON Lines ---- */

static void bad_line(struct buf *ret, enum json_grammar grammar, size_t at, int64_t line)
{
    char sentence[96];
    if (grammar == JSON_GRAMMAR_DEEP)
        snprintf(sentence, sizeof sentence, "line %lld is nested more than %d deep", (long long)line, JSON_DEPTH_MAX);
    else
        snprintf(sentence, sizeof sentence, "line %lld is no JSON at byte %zu", (long long)line, at);
    json_open(ret, '{');
    json_put_text(ret, "error", sentence);
    json_put_int(ret, "line", line);
    json_close(ret, '}');
}

static int read_jsonl(struct bytes file, struct buf *ret, struct problem *problem)
{
    int64_t number = 0;
    bool more = false;
    json_open(ret, '[');
    while (file.count && buf_ok(ret)) {
        size_t at = 0;
        bool ended = memchr(file.at, '\n', file.count);
        struct bytes line = without_space(bytes_cut(&file, '\n'));
        number++;
        if (!line.count)
            continue;
        enum json_grammar grammar = json_grammar(line, JSON_DEPTH_MAX, &at);
        if (!ended && grammar == JSON_GRAMMAR_WRONG) {
            problem_set(problem, "The file ends in the midst of its line %lld.", (long long)number);
            return ROWS_CUT;
        }
        if (more)
            buf_byte(ret, ',');
        if (grammar == JSON_GRAMMAR_GOOD)
            put_line(ret, line);
        else
            bad_line(ret, grammar, at, number);
        more = true;
    }
    buf_byte(ret, ']');
    return full(ret, problem);
}

/* ---- CSV ---- */

/* The names, owned: the reader forgets a row with the next one. */
struct names {
    struct buf text;
    size_t ends[CSV_FIELDS_MAX];
    int count;
};

static void names_take(struct names *names, const struct csv *csv)
{
    for (names->count = 0; names->count < csv->fields_count; names->count++) {
        buf_put(&names->text, bytes_trim(csv->fields[names->count]));
        names->ends[names->count] = names->text.count;
    }
}

static void put_record(const struct names *names, const struct csv *csv, struct buf *ret)
{
    json_open(ret, '{');
    for (int i = 0; i < csv->fields_count; i++) {
        size_t start = i && i < names->count ? names->ends[i - 1] : 0;
        char extra[32];
        struct bytes name = {extra, (size_t)snprintf(extra, sizeof extra, "field_%d", i + 1)};
        if (i < names->count && names->ends[i] > start)
            name = (struct bytes){names->text.at + start, names->ends[i] - start};
        json_key_bytes(ret, name);
        json_bytes(ret, csv->fields[i]);
    }
    json_close(ret, '}');
}

static int csv_records(struct csv *csv, struct names *names, struct buf *ret, struct problem *problem)
{
    int rc = csv_next(csv, problem);
    if (!rc)
        names_take(names, csv);
    json_open(ret, '[');
    while (!rc && buf_ok(ret) && (rc = csv_next(csv, problem)) == 0)
        put_record(names, csv, ret);
    json_close(ret, ']');
    return rc < 0 ? rc : 0;
}

/* A quote that is never closed takes all that is left: then it was the file that ended too soon. */
static int read_csv(struct bytes file, struct buf *ret, struct problem *problem)
{
    struct csv csv;
    struct names names = {0};
    csv_init(&csv, file, "The file");
    buf_init(&names.text, 1 << 20);
    int rc = csv_records(&csv, &names, ret, problem);
    if (rc && !csv.rest.count)
        rc = ROWS_CUT;
    buf_done(&names.text);
    csv_done(&csv);
    return rc ? rc : full(ret, problem);
}

/* ---- which ---- */

/* What begins like JSON and is one text is JSON; what is one only up to the end of its first line is JSON Lines. */
static enum rows_format format_of(struct bytes file)
{
    size_t at;
    struct bytes text = without_space(file), first = text;
    if (!text.count || !strchr("[{", text.at[0]) || !text.at[0])
        return ROWS_CSV;
    first = without_space(bytes_cut(&first, '\n'));
    bool lines = first.count < text.count && json_grammar(first, JSON_DEPTH_MAX, &at) == JSON_GRAMMAR_GOOD;
    return lines ? ROWS_JSONL : ROWS_JSON;
}

int rows_read(struct bytes file, enum rows_format format, bool whole, struct buf *ret, struct problem *problem)
{
    if (bytes_start(file, BYTES("\xef\xbb\xbf")))
        file = (struct bytes){file.at + 3, file.count - 3};
    if (format == ROWS_ANY)
        format = format_of(file);
    return format == ROWS_JSON ? read_json(file, whole, ret, problem)
           : format == ROWS_CSV ? read_csv(file, ret, problem)
                                : read_jsonl(file, ret, problem);
}
