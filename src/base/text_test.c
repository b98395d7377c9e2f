#include "base/test.h"
#include "base/text.h"

TEST(a_cut_never_splits_a_character)
{
    struct bytes view = BYTES("ab\xe6\x98\x93\xf0\x9f\x9a\x80z");
    static const size_t want[] = {0, 1, 2, 2, 2, 5, 5, 5, 5, 9, 10, 10};
    for (size_t max = 0; max < 12; max++)
        CHECK_INT(text_cut(view, max), want[max]);
}

TEST(utf8_is_checked_as_rfc_3629_says)
{
    CHECK(text_is_utf8(BYTES("\xe6\x98\x93.jpg")));
    CHECK(!text_is_utf8(BYTES("\xc0\xaf")));
    CHECK(!text_is_utf8(BYTES("\xed\xa0\x80")));
    CHECK(!text_is_utf8(BYTES("\xf4\x90\x80\x80")));
    CHECK(!text_is_utf8(BYTES("\xe6\x98")));
}

TEST(code_points_survive_encode_and_decode)
{
    static const uint32_t codes[] = {0x41, 0x7ff, 0x6613, 0x1f680};
    for (int i = 0; i < 4; i++) {
        struct buf buf BUF_OWNED;
        buf_init(&buf, 8);
        size_t count;
        text_encode(&buf, codes[i]);
        CHECK_INT(text_decode(buf_bytes(&buf), &count), codes[i]);
        CHECK_INT(count, buf.count);
    }
}

TEST(cleaning_replaces_controls_and_broken_bytes)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 100);
    text_clean(&buf, BYTES("a\r\nb\xff"));
    CHECK_TEXT(buf_z(&buf), "a\xef\xbf\xbd\xef\xbf\xbd" "b\xef\xbf\xbd");
}

TEST(a_time_is_written_as_rfc_3339)
{
    char text[TEXT_TIME_SIZE];
    text_time(1763633400123456, text);
    CHECK_TEXT(text, "2025-11-20T10:10:00.123Z");
}
