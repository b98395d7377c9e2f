#include "stage/rows.h"

#include "base/json.h"
#include "base/test.h"
#include "stage/stage.h"

#include <stdio.h>

static const char *read_as(enum rows_format format, const char *file)
{
    static char text[4096];
    struct problem problem = {0};
    BUF_OWNED struct buf out;
    buf_init(&out, sizeof text - 32);
    int rc = rows_read(bytes_of(file), format, false, &out, &problem);
    snprintf(text, sizeof text, "%s%s", rc == ROWS_CUT ? "cut: " : "", rc ? problem.text : buf_z(&out));
    return text;
}

TEST(json_is_an_array_or_holds_one)
{
    CHECK_TEXT(read_as(ROWS_JSON, " [1,\n {\"a\":2}]\n"), "[1,  {\"a\":2}]");
    CHECK_TEXT(read_as(ROWS_JSON, "{\"total\":1, \"results\" : [1,2] , \"x\":[3]}"), "[1,2]");
    CHECK_TEXT(read_as(ROWS_JSON, "{\"data\":{\"x\":[3]}}"), "[{\"data\":{\"x\":[3]}}]");
    CHECK_TEXT(read_as(ROWS_JSON, "[]"), "[]");
    CHECK_TEXT(read_as(ROWS_JSON, "[1,2"), "cut: The file of 4 bytes ends before its JSON does.");
    CHECK_TEXT(read_as(ROWS_JSON, ""), "cut: The file of 0 bytes ends before its JSON does.");
    CHECK_TEXT(read_as(ROWS_JSON, "[1,}2]"), "The file is no JSON at byte 3.");
    CHECK_TEXT(read_as(ROWS_JSON, "null"), "The file is JSON, but neither an array nor an object.");
}

TEST(a_broken_line_is_a_record_with_an_error)
{
    CHECK_TEXT(read_as(ROWS_JSONL, "{\"a\":1}\r\n\n[2]\n"), "[{\"a\":1},[2]]");
    CHECK_TEXT(read_as(ROWS_JSONL, "{\"a\":1}\n{broken}\n\"x\"\n3"), "[{\"a\":1},{\"error\":\"line 2 is no JSON at byte 1\",\"line\":2},\"x\",3]");
    CHECK_TEXT(read_as(ROWS_JSONL, "{\"a\":1}\n{\"a\":"), "cut: The file ends in the midst of its line 2.");
    CHECK_TEXT(read_as(ROWS_JSONL, "\xef\xbb\xbf{}\n"), "[{}]");
    CHECK_TEXT(read_as(ROWS_JSONL, ""), "[]");
}

TEST(csv_rows_are_objects_of_texts)
{
    CHECK_TEXT(read_as(ROWS_CSV, "name, url\n\"a \"\"b\"\"\",http://x\nc\nd,e,f\n"),
               "[{\"name\":\"a \\\"b\\\"\",\"url\":\"http://x\"},{\"name\":\"c\"},{\"name\":\"d\",\"url\":\"e\",\"field_3\":\"f\"}]");
    CHECK_TEXT(read_as(ROWS_CSV, "name\n"), "[]");
    CHECK_TEXT(read_as(ROWS_CSV, ""), "[]");
    CHECK_TEXT(read_as(ROWS_CSV, "name\n\"abc"), "cut: The file, line 2, field 1: the quote is never closed.");
}

TEST(what_a_file_is_shows_in_how_it_begins)
{
    CHECK_TEXT(read_as(ROWS_ANY, "{\"a\":1}\n{\"a\":2}\n"), "[{\"a\":1},{\"a\":2}]");
    CHECK_TEXT(read_as(ROWS_ANY, "{\"a\":1}\n"), "[{\"a\":1}]");
    CHECK_TEXT(read_as(ROWS_ANY, "{\n\"items\":[1]}\n"), "[1]");
    CHECK_TEXT(read_as(ROWS_ANY, "a,b\n1,2\n"), "[{\"a\":\"1\",\"b\":\"2\"}]");
}

TEST(more_records_than_there_is_room_for_are_refused)
{
    struct problem problem = {0};
    BUF_OWNED struct buf out;
    buf_init(&out, 8);
    CHECK_INT(rows_read(BYTES("[1,2,3,4,5,6]"), ROWS_JSON, false, &out, &problem), -1);
    CHECK_TEXT(problem.text, "The records take more than the 8 bytes that there is room for.");
}

static const char *run(const char *settings, const char *file)
{
    static struct stage_outcome outcome;
    void *state;
    struct stage_outfit outfit = STAGE_OUTFIT_EMPTY;
    const struct stage_kind *kind = stage_kind_find(BYTES("rows"));
    struct stage_task task = {.input_fd = -1, .value = bytes_of(file), .settings = bytes_of(settings)};
    CHECK(kind && !kind->open(&outfit, &state, NULL));
    stage_outcome_done(&outcome);
    stage_outcome_init(&outcome);
    kind->run(state, &task, &outcome);
    kind->close(state);
    if (outcome.verdict == STAGE_RETRY)
        return "retry";
    return outcome.verdict == STAGE_DONE ? buf_z(&outcome.value) : outcome.error.text;
}

TEST_SLOW(the_stage_rows_unwraps_and_counts_errors)
{
    CHECK_TEXT(run("{\"as\":\"jsonl\"}", "{}\nx\n{}\n"), "[{},{\"error\":\"line 2 is no JSON at byte 0\",\"line\":2},{}]");
    CHECK_TEXT(run("{\"as\":\"jsonl\",\"errors\":\"fail\"}", "{}\nx\n{}\n"), "The file's line 2 is no JSON at byte 0.");
    CHECK_TEXT(run("{\"as\":\"jsonl\"}", "{}\n{\"a"), "retry");
    CHECK_TEXT(run("{\"as\":\"json\",\"unwrap\":\".a.b\"}", "{\"a\":{\"b\":[1,2]}}"), "[1,2]");
    CHECK_TEXT(run("{\"as\":\"json\",\"unwrap\":\".a[] | {x: .}\"}", "{\"a\":[1,2]}"), "[{\"x\":1},{\"x\":2}]");
    CHECK_TEXT(run("{\"as\":\"csv\",\"unwrap\":\"map(.n | tonumber)\"}", "n\n4\n"), "[4]");
    CHECK_TEXT(run("{\"as\":\"xml\"}", "<a/>"), "Records cannot be read as \"xml\": only json, jsonl and csv.");
}
