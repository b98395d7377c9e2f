/* Card boxes and section headers are flat surfaces of their own colour. The rows of a box above and below its text are one
 * unbroken run of that colour from edge to edge: such a run starts a box. Strips at its left and right edge, which nothing
 * ever covers, then say how far it reaches up and down; one of them is enough, as text near by stains them in a poor JPEG. */
#include "vision/layout.h"

#include "vision/ink.h"
#include "vision/layout_block.h"
#include "vision/layout_constants.h"
#include "vision/palette.h"

#include <stdlib.h>

static int part_of(int whole, double share)
{
    return (int)(whole * share + 0.5);
}

/* Most pixels of row y between the two columns have the colour. */
static bool row_has(const struct image *image, int y, int from, int to, const int colour[3], int near)
{
    int hits = 0;
    for (int x = from; x < to; x++)
        hits += palette_near(image_at(image, x, y), colour, near);
    return hits * 10 >= (to - from) * 6;
}

struct strips {
    int left_from, left_to, right_from, right_to;      /* columns; the right strip may be empty */
    const int *colour;
    int near;
};

static bool strips_hold(const struct image *image, int y, const struct strips *strips)
{
    return row_has(image, y, strips->left_from, strips->left_to, strips->colour, strips->near)
        || (strips->right_from < strips->right_to
            && row_has(image, y, strips->right_from, strips->right_to, strips->colour, strips->near));
}

/* Follow the strips from row y upwards (step -1) or downwards (+1); two rows of noise in a row do not end them. */
static int follow(const struct image *image, int y, int step, const struct strips *strips)
{
    int last = y;
    for (int at = y + step, missed = 0; at >= 0 && at < image->height && missed <= 2; at += step) {
        if (strips_hold(image, at, strips))
            last = at, missed = 0;
        else
            missed++;
    }
    return last;
}

/* The next run of the colour in row y that starts at or behind *x and before start_max: false when there is none. Single odd
 * pixels do not end a run. */
static bool next_run(const struct image *image, int y, int *x, int start_max, const int colour[3], int near, struct span *ret)
{
    int from = *x;
    while (from < start_max && !palette_near(image_at(image, from, y), colour, near))
        from++;
    int to = from, missed = 0;
    for (int at = from; from < start_max && at < image->width && missed <= 1; at++) {
        if (palette_near(image_at(image, at, y), colour, near))
            to = at + 1, missed = 0;
        else
            missed++;
    }
    *x = to + 1;
    *ret = (struct span){from, to};
    return to > from;
}

static void add_card(const struct image *image, const struct palette *palette, struct span run, int y, struct layout *layout)
{
    int width = run.to - run.from;
    struct strips strips = {run.from + part_of(width, BOX_EDGE_FROM) + 1, run.from + part_of(width, BOX_EDGE_TO),
                            run.to - part_of(width, BOX_RIGHT_EDGE_TO), run.to - 1, palette->card, COLOUR_NEAR_CARD};
    int top = follow(image, y, -1, &strips), bottom = follow(image, y, 1, &strips) + 1;
    if (bottom - top < part_of(width, BOX_HEIGHT_MIN) || bottom - top > part_of(width, BOX_HEIGHT_MAX))
        return;
    layout->cards[layout->cards_count++] = (struct layout_card){.box = {run.from, top, width, bottom - top}, .header = -1};
}

static void add_header(const struct image *image, const struct palette *palette, struct span run, int y, struct layout *layout)
{
    int width = image->width;
    struct strips strips = {run.from + part_of(width, HEADER_EDGE_FROM), run.from + part_of(width, HEADER_EDGE_TO),
                            0, 0, palette->header, COLOUR_NEAR_HEADER};
    int top = follow(image, y, -1, &strips), bottom = follow(image, y, 1, &strips) + 1;
    if (bottom - top < part_of(width, HEADER_HEIGHT_MIN) || bottom - top > part_of(width, HEADER_HEIGHT_MAX))
        return;
    struct box box = {run.from, top, part_of(width, HEADER_TEXT_TO), bottom - top};
    struct box text = {strips.left_to, top + 1, box.width - (strips.left_to - run.from), bottom - top - 2};
    text = ink_bounds(image, text, (struct ink){INK_HEADER, true});
    if (text.height < part_of(width, HEADER_LINE_MIN))
        return;
    layout->headers[layout->headers_count++] = (struct layout_header){.box = box, .text = text, .repeat_of = -1};
}

/* The run is part of a box that is known already. Noise may have cut off an end of the run that started the box, so that a
 * longer one later widens it; and the box's last row may be a run once more, hence the slack below. */
static bool card_known(struct layout *layout, struct span run, int y, int slack)
{
    for (int i = layout->cards_count; i-- > 0 && i >= layout->cards_count - 4;) {
        struct box *box = &layout->cards[i].box;
        int middle = (run.from + run.to) / 2, right = box->x + box->width;
        if (middle < box->x || middle >= right || y >= box->y + box->height + slack)
            continue;
        int from = run.from < box->x ? run.from : box->x, to = run.to > right ? run.to : right;
        box->x = from;
        box->width = to - from;
        return true;
    }
    return false;
}

static bool header_known(const struct layout *layout, int y)
{
    const struct box *last = layout->headers_count ? &layout->headers[layout->headers_count - 1].box : NULL;
    return last && y < last->y + last->height;
}

/* Walk all rows; answers false when more is found than fits. */
static bool find_surfaces(const struct image *image, const struct palette *palette, struct layout *layout)
{
    struct span run;
    int width = image->width;
    for (int y = 0; y < image->height; y++) {
        for (int x = 0; next_run(image, y, &x, width - part_of(width, BOX_WIDTH_MIN), palette->card, COLOUR_NEAR_CARD, &run);) {
            int length = run.to - run.from;
            if (length < part_of(width, BOX_WIDTH_MIN) || length > part_of(width, BOX_WIDTH_MAX)
                || card_known(layout, run, y, part_of(width, BOX_SLACK)))
                continue;
            if (layout->cards_count == LAYOUT_CARDS_MAX)
                return false;
            add_card(image, palette, run, y, layout);
        }
        int x = 0, start_max = part_of(width, HEADER_X_MAX);
        while (!header_known(layout, y) && next_run(image, y, &x, start_max, palette->header, COLOUR_NEAR_HEADER, &run)) {
            if (run.to - run.from < part_of(width, HEADER_RUN_MIN))
                continue;
            if (layout->headers_count == LAYOUT_HEADERS_MAX)
                return false;
            add_header(image, palette, run, y, layout);
            break;
        }
    }
    return true;
}

/* Without its icon a card's text may start where the icon would be. */
static bool has_icon(const struct image *image, const struct palette *palette, const struct box *box)
{
    int from = box->x + part_of(box->width, ICON_FROM), to = box->x + part_of(box->width, ICON_TO), hits = 0;
    for (int y = box->y; y < box->y + box->height; y++)
        for (int x = from; x < to; x++)
            hits += palette_near(image_at(image, x, y), palette->page, COLOUR_NEAR_PAGE);
    return hits > part_of((to - from) * box->height, ICON_SHARE_MIN);
}

/* Text of the card, as rows: the name, and the tagline or the wrapped rest below it. */
static void find_lines(const struct image *image, const struct palette *palette, int usual_height, struct layout_card *card)
{
    static const struct ink ink = {INK_CARD, false};
    const struct box *box = &card->box;
    int left = box->x + part_of(box->width, has_icon(image, palette, box) ? TEXT_FROM : TEXT_FROM_BARE);
    int right = box->x + part_of(box->width, TEXT_TO), bottom = box->y + box->height;
    int quantity_x = box->x + part_of(box->width, QUANTITY_X);
    /* A box that the upper edge of the picture cuts is measured from below. */
    int top = card->clipped && box->y <= 2 ? bottom - usual_height : box->y, floor_y = top + part_of(usual_height, QUANTITY_Y);
    /* The quantity's zone ends the lines to its left; above it they may be longer. */
    struct box zone = {left, box->y, quantity_x - left, box->height};
    struct span rows[LAYOUT_LINES_MAX + 2];
    int found = ink_rows(image, zone, ink, part_of(usual_height, LINE_GAP_MIN), part_of(box->width, LINE_HEIGHT_MIN), rows, 4);
    for (int i = 0; i < found && card->lines_count < LAYOUT_LINES_MAX; i++) {
        int to = (rows[i].from + rows[i].to) / 2 < floor_y ? right : quantity_x;
        int lowest = to == right && rows[i].to > floor_y ? floor_y : rows[i].to;
        struct box line = {left, rows[i].from, quantity_x - left, rows[i].to - rows[i].from};
        struct box beyond = {quantity_x, rows[i].from, to - quantity_x, lowest - rows[i].from};
        line = ink_bounds(image, line, ink);
        beyond = to == right ? ink_bounds(image, beyond, ink) : (struct box){0};
        if (beyond.width && beyond.x - quantity_x < line.height)
            line.width = beyond.x + beyond.width - line.x;
        card->lines[card->lines_count++] = line;
    }
    struct box quantity = {quantity_x, floor_y, right + 1 - quantity_x, bottom - floor_y};
    card->quantity_cut = bottom - floor_y < part_of(usual_height, QUANTITY_ROOM);
    if (floor_y < bottom)
        quantity = ink_bounds(image, quantity, ink);
    if (floor_y < bottom && quantity.height >= part_of(box->width, QUANTITY_HEIGHT_MIN))
        card->quantity = quantity;
}

static int by_place(const void *a, const void *b)
{
    const struct box *p = &((const struct layout_card *)a)->box, *q = &((const struct layout_card *)b)->box;
    /* Boxes of one row may differ by a pixel in height; a row is read from left to right. */
    if (abs(p->y - q->y) > p->height / 3)
        return p->y < q->y ? -1 : 1;
    return p->x < q->x ? -1 : p->x > q->x;
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int usual_height(const struct layout *layout)
{
    int heights[LAYOUT_CARDS_MAX];
    for (int i = 0; i < layout->cards_count; i++)
        heights[i] = layout->cards[i].box.height;
    qsort(heights, (size_t)layout->cards_count, sizeof *heights, by_number);
    int median = heights[layout->cards_count / 2], expected = part_of(layout->cards[0].box.width, BOX_HEIGHT_USUAL);
    return abs(median - expected) * 4 < expected ? median : expected;
}

static void find_texts(const struct image *image, const struct palette *palette, struct layout *layout)
{
    int usual = usual_height(layout);
    for (int i = 0; i < layout->cards_count; i++) {
        struct layout_card *card = &layout->cards[i];
        card->clipped = card->box.height < part_of(usual, BOX_CLIPPED);
        for (int h = 0; h < layout->headers_count; h++)
            if (layout->headers[h].box.y < card->box.y + card->box.height / 2)
                card->header = h;
        find_lines(image, palette, usual, card);
    }
}

/* The glow behind the deck's title can look like a box in a poor JPEG: nothing is written in it and no section is above it. A real box
 * without readable text stands under a header, and is kept: it must not vanish without a word. */
static void drop_ghosts(struct layout *layout)
{
    int kept = 0;
    for (int i = 0; i < layout->cards_count; i++)
        if (layout->cards[i].lines_count || layout->cards[i].header >= 0 || !layout->headers_count)
            layout->cards[kept++] = layout->cards[i];
    layout->cards_count = kept;
}

/* Two boxes of cards look alike, each measured from its own corner. Blocks are compared by their means: noise and the half pixel by
 * which a picture made smaller may differ level out, another character does not. */
static bool boxes_alike(const struct image *image, const struct box *a, const struct box *b, int block)
{
    int width = a->width < b->width ? a->width : b->width, height = a->height < b->height ? a->height : b->height;
    int64_t total = 0;
    for (int top = 0; top < height; top += block)
        for (int left = 0; left < width; left += block) {
            int sum = 0, count = 0;
            for (int y = top; y < top + block && y < height; y++)
                for (int x = left; x < left + block && x < width; x++, count++)
                    sum += image_at(image, a->x + x, a->y + y)[0] - image_at(image, b->x + x, b->y + y)[0];
            if (abs(sum) > REPEAT_DIFFERENCE_MAX * count)
                return false;
            total += abs(sum);
        }
    return (double)total <= REPEAT_MEAN_MAX * width * height;
}

static int cards_below(const struct layout *layout, int header, int *ret_first)
{
    int count = 0;
    for (int i = 0; i < layout->cards_count; i++)
        if (layout->cards[i].header == header && !count++)
            *ret_first = i;
    return count;
}

static bool sections_alike(const struct image *image, const struct layout *layout, int a, int b)
{
    int first_a = 0, first_b = 0, count = cards_below(layout, a, &first_a);
    int block = part_of(image->width, REPEAT_BLOCK) + 1;
    if (!count || cards_below(layout, b, &first_b) != count)
        return false;
    for (int i = 0; i < count; i++) {
        const struct box *p = &layout->cards[first_a + i].box, *q = &layout->cards[first_b + i].box;
        if (abs(p->x - q->x) > 2 || abs(p->width - q->width) > 2 || abs(p->height - q->height) > 2
            || !boxes_alike(image, p, q, block))
            return false;
    }
    return true;
}

/* A panel that the phone may have stitched in twice: the whole section looks the same. One box more is no repeat. */
static void find_repeats(const struct image *image, struct layout *layout)
{
    for (int b = 1; b < layout->headers_count; b++)
        for (int a = 0; a < b && layout->headers[b].repeat_of < 0; a++)
            if (layout->headers[a].repeat_of < 0 && sections_alike(image, layout, a, b))
                layout->headers[b].repeat_of = a;
}

int layout_find(const struct image *image, struct layout *ret, struct problem *problem)
{
    struct palette palette;
    *ret = (struct layout){0};
    if (!palette_measure(image, &palette))
        return problem_set(problem, "The image (%d x %d pixels) shows no deck page: the colour of its card boxes is nowhere in it.",
                           image->width, image->height);
    if (!find_surfaces(image, &palette, ret))
        return problem_set(problem, "The image has more than %d card boxes or %d section headers.", LAYOUT_CARDS_MAX, LAYOUT_HEADERS_MAX);
    if (!ret->cards_count)
        return problem_set(problem, "The image (%d x %d pixels) shows no deck page: no card box was found in it.",
                           image->width, image->height);
    qsort(ret->cards, (size_t)ret->cards_count, sizeof *ret->cards, by_place);
    find_texts(image, &palette, ret);
    drop_ghosts(ret);
    find_repeats(image, ret);
    layout_find_block(image, &palette, &ret->block);
    return 0;
}
