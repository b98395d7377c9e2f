/* Where things are on a deck page: found by colour alone, before anything is read. All boxes are in the image's pixels and
 * inside it. Pure; any thread. */
#pragma once
#include "vision/image.h"

enum {
    LAYOUT_CARDS_MAX = 160,        /* a full deck has about 30 boxes; a screenshot stitched twice has 60 */
    LAYOUT_HEADERS_MAX = 24,
    LAYOUT_LINES_MAX = 2,          /* lines of text in one card box */
};

struct layout_card {
    struct box box;
    struct box lines[LAYOUT_LINES_MAX];    /* ink of the name, and of the tagline or the wrapped rest */
    int lines_count;
    struct box quantity;                   /* ink of "x3"; width 0 = none, which means one */
    int header;                            /* index of the header above it; -1 = none was seen */
    bool clipped;                          /* an edge of the picture cuts it … */
    bool quantity_cut;                     /* … and with it the place where the quantity would be */
};

struct layout_header {
    struct box box, text;          /* text: its ink */
    int repeat_of;                 /* index of an earlier header whose whole section looks the same, or -1: to be confirmed by what both say */
};

/* The block above the page. A box of width 0 was not found. */
struct layout_block {
    struct box title[LAYOUT_LINES_MAX], event, date, player, placement;
};

struct layout {
    struct layout_block block;
    struct layout_header headers[LAYOUT_HEADERS_MAX];
    struct layout_card cards[LAYOUT_CARDS_MAX];
    int headers_count, cards_count;
};

/* Find everything. -1 and a problem when the image has no deck page in it or more on it than fits. */
int layout_find(const struct image *image, struct layout *ret, struct problem *problem);
