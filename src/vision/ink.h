/* Ink: the light pixels of text on a dark surface, and the bands of rows or columns that hold it. Used by the layout. */
#pragma once
#include "vision/image.h"

struct ink {
    int threshold;       /* at least this bright is ink */
    bool neutral;        /* measure the least channel (grey and white only); else red */
};

struct span {
    int from, to;        /* half open */
};

/* The spans of rows (or of columns) of `zone` that hold ink, top to bottom (left to right). Spans nearer than `gap_min` are
 * joined; then those shorter than `length_min` are dropped. Answers how many; beyond `max` the rest is left out. */
int ink_rows(const struct image *image, struct box zone, struct ink ink, int gap_min, int length_min, struct span *ret, int max);
int ink_columns(const struct image *image, struct box zone, struct ink ink, int gap_min, int length_min, struct span *ret, int max);

/* The smallest box around all ink of the zone; width 0 when there is none. */
struct box ink_bounds(const struct image *image, struct box zone, struct ink ink);

/* The widest run of columns without ink between the first and the last ink of the zone; 0 when there is none. */
int ink_gap(const struct image *image, struct box zone, struct ink ink);

/* `zone` without what is outside the image; width and height never below 0. */
struct box box_within(const struct image *image, struct box zone);
