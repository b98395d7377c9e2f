/* Files as records: whatever a file is, in each of the forms, the answer is a JSON array in one line, or a sentence. The first byte is the form. */
#include "stage/rows.h"

#include "base/json.h"
#include "base/json_grammar.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);

static void must(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static int64_t lines_with_text(struct bytes file)
{
    int64_t lines = 0;
    if (bytes_start(file, BYTES("\xef\xbb\xbf")))
        file = (struct bytes){file.at + 3, file.count - 3};
    while (file.count) {
        struct bytes line = bytes_cut(&file, '\n');
        bool text = false;
        for (size_t i = 0; i < line.count; i++)
            text |= !strchr(" \t\r", line.at[i]) || !line.at[i];
        lines += text;
    }
    return lines;
}

static void check(struct bytes file, enum rows_format format, bool whole, size_t room)
{
    struct buf rows BUF_OWNED;
    struct problem problem = {0};
    size_t at;
    buf_init(&rows, room);
    int rc = rows_read(file, format, whole, &rows, &problem);
    must(rc == 0 || rc == -1 || rc == ROWS_CUT, "an answer is one of three");
    must((rc != 0) == problem_is(&problem), "a refusal has a sentence");
    if (rc)
        return;
    struct bytes text = buf_bytes(&rows);
    must(json_grammar(text, JSON_DEPTH_MAX + 1, &at) == JSON_GRAMMAR_GOOD, "records are JSON");
    must(!memchr(text.at, '\n', text.count) && !memchr(text.at, '\r', text.count), "records are one line");
    must(whole || text.at[0] == '[', "records are an array");
    if (format != ROWS_JSONL || room < file.count * 64)
        return;
    struct json_object *array JSON_OWNED = json_parse(text, NULL);
    must(!array || (int64_t)json_object_array_length(array) == lines_with_text(file), "no line is lost");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    static const enum rows_format formats[] = {ROWS_ANY, ROWS_JSON, ROWS_JSONL, ROWS_CSV};
    if (count < 1)
        return 0;
    struct bytes file = {(const char *)data + 1, count - 1};
    check(file, formats[data[0] % 4], data[0] & 4, 16 << 20);
    check(file, formats[data[0] % 4], data[0] & 4, 100);
    return 0;
}
