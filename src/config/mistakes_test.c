#include "config/mistakes.h"
#include "base/limits.h"
#include "base/test.h"

static const char *const names[] = {"concurrency", "timeout", "retry", "rate", "cache", "on_error", "when", "else", "jq", NULL};

TEST(a_slip_of_the_fingers_finds_what_was_meant)
{
    static const char *const pairs[][2] = {
        {"concurency", "concurrency"}, {"timout", "timeout"}, {"reytr", "retry"}, {"onerror", "on_error"}, {"Cache", "cache"}, {"esle", "else"},
        {"jqq", "jq"}, {"on-error", "on_error"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *found = mistakes_nearest(bytes_of(pairs[i][0]), names);
        CHECK(found);
        CHECK_TEXT(found, pairs[i][1]);
    }
}

TEST(what_is_far_from_all_names_is_left_alone)
{
    CHECK(!mistakes_nearest(BYTES("parallelism"), names));
    CHECK(!mistakes_nearest(BYTES("x"), names));
    CHECK(!mistakes_nearest(BYTES(""), names));
    CHECK(!mistakes_nearest(BYTES("a-word-that-is-longer-than-anything-that-is-compared"), names));
}

TEST(mistakes_are_told_by_line_with_a_caret_under_the_character)
{
    struct mistakes mistakes = {0};
    struct buf text BUF_OWNED;
    buf_init(&text, 4096);
    const struct source *source = mistakes_source(&mistakes, "a.yaml", BYTES("first\n\xC3\xBC: x\r\n\tthird\n"));
    mistakes_add(&mistakes, source, 3, 2, "a %s", "third");
    mistakes_add(&mistakes, source, 2, 4, "a\nsecond");
    mistakes_add(&mistakes, source, 9, 1, "beyond");
    mistakes_print(&mistakes, &text);
    CHECK_TEXT(buf_z(&text), "a.yaml:2:4: a second\n    \xC3\xBC: x\n       ^\na.yaml:3:2: a third\n    \tthird\n    \t^\na.yaml:9:1: beyond\n");
    mistakes_done(&mistakes);
}

TEST(beyond_the_limit_mistakes_are_counted)
{
    struct mistakes mistakes = {0};
    struct buf text BUF_OWNED;
    buf_init(&text, 1 << 20);
    const struct source *source = mistakes_source(&mistakes, "a.yaml", BYTES("x\n"));
    for (int i = 0; i < LIMIT_MISTAKES + 7; i++)
        mistakes_add(&mistakes, source, 1, 1, "wrong");
    mistakes_print(&mistakes, &text);
    CHECK_INT(mistakes.count, LIMIT_MISTAKES);
    CHECK(strstr(buf_z(&text), "and 7 more\n"));
    mistakes_done(&mistakes);
}
