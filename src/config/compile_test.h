/* For the tests of pipeline files: what goes through, what it becomes, and what is told of what does not. */
#pragma once
#include "base/test.h"
#include "config/compile.h"

static inline void check_text(const char *yaml, const char *json)
{
    struct mistakes mistakes = {0};
    struct buf text BUF_OWNED, told BUF_OWNED;
    buf_init(&text, 65536);
    buf_init(&told, 65536);
    bool well = compile_pipeline("a.yaml", bytes_of(yaml), &mistakes, &text);
    mistakes_print(&mistakes, &told);
    test_note("%s", buf_z(&told));
    CHECK(well);
    CHECK_TEXT(buf_z(&text), json);
    mistakes_done(&mistakes);
}

static inline void check_stages(const char *stages, const char *legs)
{
    struct buf yaml BUF_OWNED, json BUF_OWNED;
    buf_init(&yaml, 4096);
    buf_init(&json, 4096);
    buf_print(&yaml, "pipeline: p\nstages:\n%s", stages);
    buf_print(&json, "{\"name\":\"p\",\"legs\":[%s]}", legs);
    check_text(buf_z(&yaml), buf_z(&json));
}

#define LEG_END "\"timeout_s\":60,\"attempts\":3,\"backoff_ms\":[500,8000]}"
#define HEAD "pipeline: p\nstages:\n"
#define RECORDS_END "\"timeout_s\":86400,\"attempts\":3,\"backoff_ms\":[500,8000]"

static inline void check_mistake(const char *yaml, int line, int column, const char *part)
{
    struct mistakes mistakes = {0};
    struct buf text BUF_OWNED, told BUF_OWNED;
    buf_init(&text, 65536);
    buf_init(&told, 65536);
    CHECK(!compile_pipeline("a.yaml", bytes_of(yaml), &mistakes, &text));
    mistakes_print(&mistakes, &told);
    test_note("%s", buf_z(&told));
    CHECK_INT(mistakes.count, 1);
    CHECK(strstr(mistakes.list[0].sentence, part));
    CHECK_INT(mistakes.list[0].line, line);
    CHECK_INT(mistakes.list[0].column, column);
    mistakes_done(&mistakes);
}

/* A text, and what is told of it; where it stands is not looked at. */
struct bad {
    const char *yaml, *part;
};

static inline void check_bad(const struct bad *bad, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct mistakes mistakes = {0};
        struct buf text BUF_OWNED, told BUF_OWNED;
        buf_init(&text, 65536);
        buf_init(&told, 65536);
        bool well = compile_pipeline("a.yaml", bytes_of(bad[i].yaml), &mistakes, &text);
        mistakes_print(&mistakes, &told);
        test_note("%s: %s", bad[i].yaml, buf_z(&told));
        CHECK(!well && mistakes.count && strstr(buf_z(&told), bad[i].part));
        mistakes_done(&mistakes);
    }
}
