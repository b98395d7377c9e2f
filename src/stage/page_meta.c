#include "stage/page_meta.h"

#include "base/text.h"
#include "vision/ink.h"
#include "vision/layout_constants.h"

#include <stdio.h>

/* Columns without ink that make a space between two characters, as a share of the line's height. Characters stand about 0.1
 * apart, a space makes it 0.35. */
static const double space_gap = 0.27;

static bool is_chinese(int32_t code)
{
    return (code >= 0x4e00 && code <= 0x9fff) || (code >= 0x3400 && code <= 0x4dbf) || (code >= 0x20000 && code <= 0x3ffff);
}

static bool is_letter(int32_t code)
{
    return is_chinese(code) || (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z') || code == '&';
}

/* The text with the spaces that the picture shows and the model leaves out: between two characters without punctuation, which
 * has room of its own around it. */
static void with_spaces(const struct image *image, struct box line, const struct reading *reading, struct buf *ret)
{
    struct bytes rest = reading->text;
    int32_t before = 0;
    for (int i = 0; rest.count; i++) {
        size_t length;
        int32_t code = text_decode(rest, &length);
        if (i && i < reading->places_count && is_letter(before) && is_letter(code)) {
            int from = reading->places[i - 1], to = reading->places[i];
            struct box between = {from, line.y, to - from, line.height};
            if (ink_gap(image, between, (struct ink){INK_BLOCK, true}) > space_gap * line.height)
                buf_byte(ret, ' ');
        }
        buf_add(ret, rest.at, length);
        before = code;
        rest.at += length;
        rest.count -= length;
    }
}

static int32_t peek(struct bytes text)
{
    size_t length;
    return text.count ? text_decode(text, &length) : 0;
}

void page_meta_tidy(struct bytes text, struct buf *ret)
{
    int32_t before = 0;
    bool space = false, opened = false;
    while (text.count) {
        size_t length;
        int32_t code = text_decode(text, &length);
        struct bytes here = {text.at, length};
        text.at += length;
        text.count -= length;
        if (code == ' ') {
            space = before != 0;
            continue;
        }
        bool wide_open = code == 0xff08 || (code == '(' && is_chinese(peek(text)));
        bool wide_close = code == 0xff09 || (code == ')' && opened);
        if (space && !wide_open && !wide_close && before != 0xff08 && before != 0xff09)
            buf_byte(ret, ' ');
        if (wide_open || wide_close)
            buf_text(ret, wide_open ? "（" : "）");
        else
            buf_put(ret, here);
        opened = wide_open || (opened && !wide_close);
        before = wide_open ? 0xff08 : wide_close ? 0xff09 : code;
        space = false;
    }
}

/* Text engines put spaces between Chinese characters at will. */
static void without_chinese_spaces(struct bytes text, struct buf *ret)
{
    int32_t before = 0;
    while (text.count) {
        size_t length;
        int32_t code = text_decode(text, &length);
        struct bytes rest = {text.at + length, text.count - length};
        if (code != ' ' || !(is_chinese(before) || is_chinese(peek(rest))))
            buf_add(ret, text.at, length);
        before = code == ' ' ? before : code;
        text = rest;
    }
}

static int read_text(struct recogniser *recogniser, const struct image *image, struct box line, struct buf *ret, struct problem *problem)
{
    struct reading reading;
    BUF_OWNED struct buf spaced;
    buf_init(&spaced, 8 * DECK_TEXT_MAX);
    if (!line.width)
        return 0;
    if (recogniser->engine->read(recogniser, image, line, READ_LINE, &reading, problem) < 0)
        return -1;
    if (reading.places)
        with_spaces(image, line, &reading, &spaced);
    else
        without_chinese_spaces(reading.text, &spaced);
    if (ret->count)
        buf_byte(ret, ' ');
    page_meta_tidy(buf_bytes(&spaced), ret);
    return 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool page_meta_date(struct bytes text, char ret[11])
{
    static const char form[] = "dddd-dd-dd";
    for (size_t at = 0; at + sizeof form - 1 <= text.count; at++) {
        size_t i = 0;
        while (form[i] && (form[i] == 'd' ? is_digit(text.at[at + i]) : !is_digit(text.at[at + i])))
            i++;
        int month = form[i] ? 0 : (text.at[at + 5] - '0') * 10 + text.at[at + 6] - '0';
        int day = form[i] ? 0 : (text.at[at + 8] - '0') * 10 + text.at[at + 9] - '0';
        if (month < 1 || month > 12 || day < 1 || day > 31)
            continue;
        snprintf(ret, 11, "%.4s-%02d-%02d", text.at + at, month, day);
        return true;
    }
    return false;
}

static int read_numbers(struct recogniser *recogniser, const struct image *image, const struct layout_block *block,
                        struct deck *deck, struct problem *problem)
{
    struct reading reading;
    uint64_t number;
    char date[11];
    if (block->date.width) {
        if (recogniser->engine->read(recogniser, image, block->date, READ_NUMBER, &reading, problem) < 0)
            return -1;
        if (page_meta_date(reading.text, date))
            deck_text(deck->date, bytes_of(date));
    }
    if (block->placement.width) {
        if (recogniser->engine->read(recogniser, image, block->placement, READ_NUMBER, &reading, problem) < 0)
            return -1;
        if (bytes_to_u64(bytes_trim(reading.text), &number) && number > 0 && number < 100000)
            deck->placement = (int)number;
    }
    return 0;
}

int page_meta_read(struct recogniser *recogniser, const struct image *image, const struct layout_block *block,
                   struct deck *deck, struct problem *problem)
{
    BUF_OWNED struct buf title, event, player;
    buf_init(&title, 16 * DECK_TEXT_MAX);
    buf_init(&event, 8 * DECK_TEXT_MAX);
    buf_init(&player, 8 * DECK_TEXT_MAX);
    for (int i = 0; i < LAYOUT_LINES_MAX; i++)
        if (read_text(recogniser, image, block->title[i], &title, problem) < 0)
            return -1;
    if (read_text(recogniser, image, block->event, &event, problem) < 0 || read_text(recogniser, image, block->player, &player, problem) < 0
        || read_numbers(recogniser, image, block, deck, problem) < 0)
        return -1;
    deck_text(deck->name, buf_bytes(&title));
    deck_text(deck->event, buf_bytes(&event));
    deck_text(deck->player, buf_bytes(&player));
    return 0;
}
