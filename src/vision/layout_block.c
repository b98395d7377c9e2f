/* The block above the page: title, event and date in one line, the player's line, the ribbon with the placement. It is
 * measured from its lower edge, where its colour meets the page's. */
#include "vision/layout_block.h"

#include "vision/ink.h"
#include "vision/layout_constants.h"

enum { SEGMENTS_MAX = 16 };

static const struct ink text_ink = {INK_BLOCK, true};

static int part_of(int whole, double share)
{
    return (int)(whole * share + 0.5);
}

/* Most of this row's margin has the colour. */
static bool margin_has(const struct image *image, int y, const int colour[3], int near)
{
    int from = part_of(image->width, BLOCK_STRIP_FROM), to = part_of(image->width, BLOCK_STRIP_TO) + 1, hits = 0;
    for (int x = from; x < to && x < image->width; x++)
        hits += palette_near(image_at(image, x, y), colour, near);
    return hits * 10 > (to - from) * 7;
}

/* The first row of the page below the block, or -1 when the picture shows no block. */
static int block_bottom(const struct image *image, const struct palette *palette)
{
    int last = -1, page_rows = 0, enough = part_of(image->width, 0.02);
    for (int y = 0; y < image->height && page_rows <= enough; y++) {
        if (margin_has(image, y, palette->block, COLOUR_NEAR_BLOCK))
            last = y, page_rows = 0;
        else if (last >= 0 && margin_has(image, y, palette->page, COLOUR_NEAR_PAGE))
            page_rows++;
    }
    return page_rows > enough ? last + 1 : -1;
}

static struct box zone_of(const struct image *image, int bottom, double y_from, double y_to, double x_from, double x_to)
{
    int width = image->width, y = bottom - part_of(width, y_from), x = part_of(width, x_from);
    struct box zone = {x, y, part_of(width, x_to) - x, part_of(width, y_from - y_to)};
    return box_within(image, zone);
}

/* The lines of text in a zone, as boxes around their ink. */
static int lines_in(const struct image *image, struct box zone, struct box *ret, int max)
{
    struct span rows[8];
    int found = ink_rows(image, zone, text_ink, part_of(image->width, META_GAP_MIN), part_of(image->width, META_LINE_MIN), rows, 8);
    int count = 0;
    for (int i = 0; i < found && count < max; i++) {
        struct box line = {zone.x, rows[i].from, zone.width, rows[i].to - rows[i].from};
        line = ink_bounds(image, line, text_ink);
        if (line.width)
            ret[count++] = line;
    }
    return count;
}

/* A field's box without the symbol in front of it: about as wide as high and well apart from the text. */
static struct box without_symbol(const struct image *image, struct box field)
{
    struct span runs[2];
    int gap = part_of(field.height, SYMBOL_GAP);
    struct span first = {0};
    if (ink_columns(image, field, text_ink, gap, 1, runs, 2) == 2)
        first = runs[0];
    int width = first.to - first.from;
    if (width < field.height / 2 || width > field.height * 3 / 2)
        return field;
    return (struct box){runs[1].from, field.y, field.x + field.width - runs[1].from, field.height};
}

/* Event and date stand in one line, with a thin rule between them and a symbol before each. */
static void find_event(const struct image *image, struct box line, struct layout_block *ret)
{
    struct span spans[SEGMENTS_MAX];
    int gap = part_of(line.height, SEGMENT_GAP), rule = -1;
    int count = ink_columns(image, line, text_ink, gap, 1, spans, SEGMENTS_MAX);
    for (int i = count - 1; i > 0 && rule < 0; i--)
        if (spans[i].to - spans[i].from <= line.height / 5)
            rule = i;
    if (!count)
        return;
    int event_to = rule > 0 ? spans[rule - 1].to : spans[0].to;
    struct box event = {line.x, line.y, event_to - line.x, line.height};
    ret->event = without_symbol(image, ink_bounds(image, event, text_ink));
    int from = rule > 0 ? rule + 1 : 1;
    if (from < count) {
        struct box date = {spans[from].from, line.y, spans[count - 1].to - spans[from].from, line.height};
        ret->date = without_symbol(image, ink_bounds(image, date, text_ink));
    }
}

static void widen(struct box *box, int x, int y)
{
    if (!box->width)
        *box = (struct box){x, y, 1, 1};
    int to_x = box->x + box->width, to_y = box->y + box->height;
    box->x = x < box->x ? x : box->x;
    box->y = y < box->y ? y : box->y;
    box->width = (x + 1 > to_x ? x + 1 : to_x) - box->x;
    box->height = (y + 1 > to_y ? y + 1 : to_y) - box->y;
}

/* The ribbon by its own colour, and in its upper part the number, which is dark. */
static struct box find_placement(const struct image *image, int bottom)
{
    static const int colour[3] = COLOUR_FLAG;
    struct box zone = zone_of(image, bottom, FLAG_Y_FROM, FLAG_Y_TO, FLAG_X_FROM, 1.0), flag = {0}, number = {0};
    for (int y = zone.y; y < zone.y + zone.height; y++)
        for (int x = zone.x; x < zone.x + zone.width; x++)
            if (palette_near(image_at(image, x, y), colour, COLOUR_NEAR_FLAG))
                widen(&flag, x, y);
    int inset = flag.width / 10;
    if (flag.width < part_of(image->width, FLAG_WIDTH_MIN))
        return number;
    for (int y = flag.y + inset; y < flag.y + part_of(flag.height, FLAG_NUMBER_TO); y++)
        for (int x = flag.x + inset; x < flag.x + flag.width - inset; x++)
            if (image_at(image, x, y)[0] < INK_FLAG)
                widen(&number, x, y);
    return number;
}

void layout_find_block(const struct image *image, const struct palette *palette, struct layout_block *ret)
{
    struct box line;
    int bottom = block_bottom(image, palette);
    if (bottom < 0)
        return;
    lines_in(image, zone_of(image, bottom, TITLE_Y_FROM, TITLE_Y_TO, TITLE_X_FROM, TITLE_X_TO), ret->title, LAYOUT_LINES_MAX);
    if (lines_in(image, zone_of(image, bottom, EVENT_Y_FROM, EVENT_Y_TO, EVENT_X_FROM, EVENT_X_TO), &line, 1))
        find_event(image, line, ret);
    if (lines_in(image, zone_of(image, bottom, PLAYER_Y_FROM, PLAYER_Y_TO, PLAYER_X_FROM, PLAYER_X_TO), &line, 1))
        ret->player = line;
    ret->placement = find_placement(image, bottom);
}
