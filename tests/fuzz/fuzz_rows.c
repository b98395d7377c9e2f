/* Files as records: whatever a file is, in each of the forms, the answer is a JSON array in one line, or a sentence. The first byte is the form. */
#include "fuzz.h"

#include "stage/rows.h"

#include "base/json.h"
#include "base/json_grammar.h"

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
    fuzz_must(rc == 0 || rc == -1 || rc == ROWS_CUT, "an answer is one of three");
    fuzz_must((rc != 0) == problem_is(&problem), "a refusal has a sentence");
    if (rc)
        return;
    struct bytes text = buf_bytes(&rows);
    fuzz_must(json_grammar(text, JSON_DEPTH_MAX + 1, &at) == JSON_GRAMMAR_GOOD, "records are JSON");
    fuzz_must(!memchr(text.at, '\n', text.count) && !memchr(text.at, '\r', text.count), "records are one line");
    fuzz_must(whole || text.at[0] == '[', "records are an array");
    if (format != ROWS_JSONL || room < file.count * 64)
        return;
    struct json_object *array JSON_OWNED = json_parse(text, NULL);
    fuzz_must(!array || (int64_t)json_object_array_length(array) == lines_with_text(file), "no line is lost");
}

FUZZ_TARGET(rows)
{
    const uint8_t *data = (const uint8_t *)input.at;
    size_t count = input.count;
    static const enum rows_format formats[] = {ROWS_ANY, ROWS_JSON, ROWS_JSONL, ROWS_CSV};
    if (count < 1)
        return;
    struct bytes file = {(const char *)data + 1, count - 1};
    check(file, formats[data[0] % 4], data[0] & 4, 16 << 20);
    check(file, formats[data[0] % 4], data[0] & 4, 100);
}
