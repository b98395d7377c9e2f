/* The layout on a page drawn here: flat surfaces in the page's colours, and bars for text. */
#include "base/test.h"
#include "vision/layout.h"

#include <stdlib.h>

struct colour {
    uint8_t red, green, blue;
};

static const struct colour page = {1, 57, 80}, card = {27, 78, 99}, header = {1, 81, 124}, block = {30, 48, 68}, text = {215, 215, 215},
                           ribbon = {242, 196, 125}, dark = {20, 20, 20};

struct sketch {
    struct image image;
    double scale;      /* the figures below are for a page 1080 pixels wide */
};

static void fill(struct sketch *sketch, int x, int y, int width, int height, struct colour colour)
{
    double s = sketch->scale;
    for (int row = (int)(y * s); row < (int)((y + height) * s) && row < sketch->image.height; row++)
        for (int column = (int)(x * s); row >= 0 && column < (int)((x + width) * s) && column < sketch->image.width; column++)
            memcpy(image_at(&sketch->image, column, row), &colour, 3);
}

/* A line of text: characters as boxes with a gap between. */
static void draw_line(struct sketch *sketch, int x, int y, int height, int count)
{
    for (int i = 0; i < count; i++)
        fill(sketch, x + i * (height + 3), y, height - 2, height, text);
}

static void draw_header(struct sketch *sketch, int y)
{
    fill(sketch, 96, y, 300, 81, header);
    draw_line(sketch, 138, y + 20, 40, 3);
}

static void draw_card(struct sketch *sketch, int column, int y, int characters, bool second, bool quantity)
{
    int x = column ? 547 : 94;
    fill(sketch, x, y, 439, 137, card);
    fill(sketch, x + 23, y + 26, 84, 84, page);
    fill(sketch, x + 45, y + 45, 40, 40, text);
    draw_line(sketch, x + 122, y + (second ? 24 : 53), 35, characters);
    if (second)
        draw_line(sketch, x + 122, y + 85, 28, 4);
    if (quantity)
        draw_line(sketch, x + 394, y + 97, 16, 2), fill(sketch, x + 412, y + 95, 15, 26, text);
}

static void draw_block(struct sketch *sketch)
{
    fill(sketch, 0, 0, 1080, 757, block);
    draw_line(sketch, 49, 292, 47, 4);
    draw_line(sketch, 94, 384, 30, 10);
    fill(sketch, 48, 384, 26, 31, text);      /* the event's symbol */
    fill(sketch, 540, 384, 3, 32, text);      /* the rule */
    fill(sketch, 570, 386, 28, 28, text);     /* the date's symbol */
    draw_line(sketch, 616, 388, 26, 5);
    fill(sketch, 915, 270, 98, 110, ribbon);
    fill(sketch, 955, 292, 18, 28, dark);
    draw_line(sketch, 162, 656, 33, 6);
}

static struct sketch sketch_new(double scale, int height)
{
    struct sketch sketch = {.scale = scale};
    CHECK_INT(image_new((int)(1080 * scale), (int)(height * scale), &sketch.image), 0);
    fill(&sketch, 0, 0, 1080, height, page);
    return sketch;
}

static struct layout *find(struct sketch *sketch)
{
    static struct layout layout;
    struct problem problem = {0};
    int answer = layout_find(&sketch->image, &layout, &problem);
    test_note("%s", problem.text);
    CHECK_INT(answer, 0);
    return &layout;
}

static bool about(double scale, int have, int want)
{
    return abs(have - (int)(want * scale)) <= 2;
}

TEST(boxes_headers_lines_and_quantities_are_found_at_every_size)
{
    static const double scales[] = {1, 0.5, 0.75, 1.3333};
    for (int i = 0; i < 4; i++) {
        struct sketch sketch = sketch_new(scales[i], 1800);
        draw_header(&sketch, 900);
        draw_card(&sketch, 0, 1010, 4, true, false);
        draw_header(&sketch, 1200);
        draw_card(&sketch, 0, 1310, 1, true, true);
        draw_card(&sketch, 1, 1310, 7, false, true);
        draw_card(&sketch, 0, 1476, 2, false, false);
        struct layout *layout = find(&sketch);
        test_note("scale %.2f", scales[i]);
        CHECK_INT(layout->headers_count, 2);
        CHECK_INT(layout->cards_count, 4);
        static const int lines[] = {2, 2, 1, 1}, headers[] = {0, 1, 1, 1};
        static const bool quantities[] = {false, true, true, false};
        for (int c = 0; c < 4; c++) {
            CHECK_INT(layout->cards[c].lines_count, lines[c]);
            CHECK_INT(layout->cards[c].header, headers[c]);
            CHECK((layout->cards[c].quantity.width > 0) == quantities[c]);
            CHECK(!layout->cards[c].clipped && !layout->cards[c].quantity_cut);
        }
        CHECK(about(scales[i], layout->cards[2].box.x, 547) && about(scales[i], layout->cards[2].box.y, 1310));
        CHECK(about(scales[i], layout->cards[2].box.width, 439) && about(scales[i], layout->cards[2].box.height, 137));
        CHECK(about(scales[i], layout->cards[2].lines[0].x, 669) && about(scales[i], layout->cards[2].lines[0].width, 7 * 38 - 5));
        CHECK(about(scales[i], layout->headers[1].text.y, 1220));
        image_done(&sketch.image);
    }
}

TEST(the_metadata_block_is_measured_from_its_lower_edge)
{
    struct sketch sketch = sketch_new(1, 1300);
    draw_block(&sketch);
    draw_header(&sketch, 900);
    draw_card(&sketch, 0, 1010, 4, false, false);
    struct layout_block *found = &find(&sketch)->block;
    CHECK(about(1, found->title[0].x, 49) && about(1, found->title[0].y, 292));
    CHECK_INT(found->title[1].width, 0);
    CHECK(about(1, found->event.x, 94) && about(1, found->event.width, 10 * 33 - 5));
    CHECK(about(1, found->date.x, 616) && about(1, found->date.width, 5 * 29 - 5));
    CHECK(about(1, found->player.x, 162));
    CHECK(about(1, found->placement.x, 955) && about(1, found->placement.width, 18) && about(1, found->placement.height, 28));
    image_done(&sketch.image);
}

TEST(a_page_without_a_block_has_no_metadata)
{
    struct sketch sketch = sketch_new(1, 600);
    draw_card(&sketch, 0, 100, 4, false, true);
    struct layout *layout = find(&sketch);
    CHECK_INT(layout->cards[0].header, -1);
    CHECK_INT(layout->block.player.width + layout->block.title[0].width + layout->block.placement.width, 0);
    image_done(&sketch.image);
}

TEST(a_box_cut_by_the_edge_says_so)
{
    struct sketch sketch = sketch_new(1, 390);
    draw_card(&sketch, 0, -40, 4, false, true);
    draw_card(&sketch, 0, 126, 4, false, true);
    draw_card(&sketch, 0, 292, 4, false, true);
    struct layout *layout = find(&sketch);
    CHECK_INT(layout->cards_count, 3);
    CHECK(layout->cards[0].clipped && !layout->cards[0].quantity_cut && layout->cards[0].quantity.width > 0);
    CHECK(!layout->cards[1].clipped);
    CHECK(layout->cards[2].clipped && layout->cards[2].quantity_cut && layout->cards[2].lines_count == 1);
    image_done(&sketch.image);
}

TEST(text_may_start_where_the_icon_is_missing)
{
    struct sketch sketch = sketch_new(1, 600);
    draw_card(&sketch, 0, 100, 4, false, false);
    fill(&sketch, 94, 100, 439, 137, card);
    draw_line(&sketch, 120, 153, 35, 5);
    struct layout *layout = find(&sketch);
    CHECK_INT(layout->cards[0].lines_count, 1);
    CHECK(about(1, layout->cards[0].lines[0].x, 120));
    image_done(&sketch.image);
}

TEST(only_a_section_that_looks_the_same_throughout_is_a_repeat)
{
    struct sketch sketch = sketch_new(1, 2200);
    for (int i = 0; i < 4; i++) {
        draw_header(&sketch, 100 + i * 500);
        draw_card(&sketch, 0, 200 + i * 500, 4, false, true);
        draw_card(&sketch, 1, 200 + i * 500, i == 2 ? 5 : 3, false, i != 3);
    }
    struct layout *layout = find(&sketch);
    static const int want[] = {-1, 0, -1, -1};      /* the third has another name, the fourth another quantity */
    CHECK_INT(layout->headers_count, 4);
    for (int i = 0; i < 4; i++)
        CHECK_INT(layout->headers[i].repeat_of, want[i]);
    image_done(&sketch.image);
}

TEST(a_picture_of_something_else_is_a_problem)
{
    static struct layout layout;
    struct problem problem = {0};
    struct sketch sketch = sketch_new(1, 500);
    CHECK(layout_find(&sketch.image, &layout, &problem) < 0);
    CHECK(strstr(problem.text, "shows no deck page") != NULL);
    image_done(&sketch.image);
}

TEST(a_glow_in_the_title_is_no_box_but_an_unreadable_one_under_a_header_is_kept)
{
    struct sketch sketch = sketch_new(1, 1800);
    draw_block(&sketch);
    fill(&sketch, 312, 20, 456, 40, card);         /* no header above, nothing written in it */
    draw_header(&sketch, 900);
    draw_card(&sketch, 0, 1010, 4, false, true);
    fill(&sketch, 547, 1010, 439, 137, card);      /* blank, but where a card stands */
    struct layout *layout = find(&sketch);
    CHECK_INT(layout->cards_count, 2);
    CHECK_INT(layout->cards[0].lines_count, 1);
    CHECK_INT(layout->cards[1].lines_count, 0);
    image_done(&sketch.image);
}
