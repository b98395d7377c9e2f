#include "vision/ink.h"

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

struct box box_within(const struct image *image, struct box zone)
{
    int x = most(zone.x, 0), y = most(zone.y, 0);
    int to_x = least(zone.x + zone.width, image->width), to_y = least(zone.y + zone.height, image->height);
    return (struct box){x, y, most(to_x - x, 0), most(to_y - y, 0)};
}

static bool is_ink(const uint8_t *pixel, struct ink ink)
{
    int value = ink.neutral ? least(pixel[0], least(pixel[1], pixel[2])) : pixel[0];
    return value >= ink.threshold;
}

static bool row_has_ink(const struct image *image, struct box zone, struct ink ink, int y)
{
    for (int x = zone.x; x < zone.x + zone.width; x++)
        if (is_ink(image_at(image, x, y), ink))
            return true;
    return false;
}

static bool column_has_ink(const struct image *image, struct box zone, struct ink ink, int x)
{
    for (int y = zone.y; y < zone.y + zone.height; y++)
        if (is_ink(image_at(image, x, y), ink))
            return true;
    return false;
}

static int spans(const struct image *image, struct box zone, struct ink ink, bool rows, int gap_min, int length_min,
                 struct span *ret, int max)
{
    zone = box_within(image, zone);
    int from = rows ? zone.y : zone.x, to = from + (rows ? zone.height : zone.width), count = 0;
    struct span span = {0, 0};       /* the one that grows; empty while to == 0 */
    for (int at = from; at <= to; at++) {
        bool inked = at < to && (rows ? row_has_ink(image, zone, ink, at) : column_has_ink(image, zone, ink, at));
        if (inked && span.to == 0)
            span.from = at;
        if (inked)
            span.to = at + 1;
        else if (span.to && (at == to || at - span.to + 1 >= gap_min)) {
            if (span.to - span.from >= length_min && count < max)
                ret[count++] = span;
            span.to = 0;
        }
    }
    return count;
}

int ink_rows(const struct image *image, struct box zone, struct ink ink, int gap_min, int length_min, struct span *ret, int max)
{
    return spans(image, zone, ink, true, gap_min, length_min, ret, max);
}

int ink_columns(const struct image *image, struct box zone, struct ink ink, int gap_min, int length_min, struct span *ret, int max)
{
    return spans(image, zone, ink, false, gap_min, length_min, ret, max);
}

struct box ink_bounds(const struct image *image, struct box zone, struct ink ink)
{
    struct span rows, columns;
    zone = box_within(image, zone);
    if (!ink_rows(image, zone, ink, zone.height + 1, 1, &rows, 1) || !ink_columns(image, zone, ink, zone.width + 1, 1, &columns, 1))
        return (struct box){0};
    return (struct box){columns.from, rows.from, columns.to - columns.from, rows.to - rows.from};
}

int ink_gap(const struct image *image, struct box zone, struct ink ink)
{
    struct span runs[32];
    int count = ink_columns(image, zone, ink, 2, 1, runs, 32), widest = 0;
    for (int i = 1; i < count; i++)
        widest = most(widest, runs[i].from - runs[i - 1].to);
    return widest;
}
