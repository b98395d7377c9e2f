/* Every figure that says what the deck page looks like. Lengths are fractions of the image's width (W), of a card box's width
 * (BW) or height (BH), so that one table serves every size of screenshot. Measured on screenshots 1080 px wide. */
#pragma once

/* Colours, red, green, blue. They are where the search starts: the true ones are measured in each image, because phones
 * and colour profiles shift them. A colour belongs to the nearest of these, at most COLOUR_SHIFT_MAX away in each channel. */
#define COLOUR_PAGE {1, 57, 80}
#define COLOUR_CARD {27, 78, 99}
#define COLOUR_HEADER {1, 81, 124}
#define COLOUR_BLOCK {30, 48, 68}           /* the metadata block above the page */
#define COLOUR_FLAG {242, 196, 125}         /* the ribbon that carries the placement */
#define COLOUR_SHIFT_MAX 24
#define COLOUR_NEAR_CARD 12                 /* how far a pixel of this surface may be from the measured colour */
#define COLOUR_NEAR_HEADER 18
#define COLOUR_NEAR_PAGE 11
#define COLOUR_NEAR_BLOCK 11
#define COLOUR_NEAR_FLAG 45

/* Text is light. Red tells it best: all surfaces have little of it. */
#define INK_CARD 90                         /* red at least this is ink on a card */
#define INK_HEADER 130
#define INK_BLOCK 100                       /* the least channel at least this is ink in the metadata block */

#define INK_FLAG 120                        /* red below this is ink on the ribbon */

/* Card boxes. */
#define BOX_WIDTH_MIN 0.30                  /* W */
#define BOX_WIDTH_MAX 0.52                  /* W */
#define BOX_HEIGHT_MIN 0.06                 /* BW; less is a sliver that holds no text */
#define BOX_HEIGHT_MAX 0.50                 /* BW */
#define BOX_HEIGHT_USUAL 0.312              /* BW */
#define BOX_CLIPPED 0.88                    /* of the usual height: lower boxes are cut by an edge of the picture */
#define BOX_SLACK 0.010                     /* W: rows below a box that still count as its own; the next box is 0.026 away */
#define BOX_EDGE_FROM 0.008                 /* BW: the strip at the left edge that no icon and no text touches … */
#define BOX_EDGE_TO 0.040                   /* BW */
#define BOX_RIGHT_EDGE_TO 0.018             /* BW: … and the one at the right edge, measured from there */
#define ICON_FROM 0.05                      /* BW: where the icon's dark disc is, if there is one */
#define ICON_TO 0.245                       /* BW */
#define ICON_SHARE_MIN 0.15                 /* of that zone is page-coloured when there is an icon */
#define TEXT_FROM 0.262                     /* BW: where text starts behind an icon … */
#define TEXT_FROM_BARE 0.045                /* BW: … and the first place it may start without one */
#define TEXT_TO 0.985                       /* BW */
#define LINE_GAP_MIN 0.10                   /* BH: rows without ink between two lines; less is a gap inside a character */
#define LINE_HEIGHT_MIN 0.045               /* BW; less is noise, or one flat character */
#define QUANTITY_X 0.82                     /* BW: the quantity's zone is right of this … */
#define QUANTITY_Y 0.68                     /* BH: … and below this */
#define QUANTITY_ROOM 0.24                  /* BH: what it needs below that */
#define QUANTITY_HEIGHT_MIN 0.035           /* BW */

/* Section headers. */
#define HEADER_RUN_MIN 0.12                 /* W: unbroken header colour in a row */
#define HEADER_X_MAX 0.20                   /* W: it starts left of this */
#define HEADER_HEIGHT_MIN 0.035             /* W */
#define HEADER_HEIGHT_MAX 0.13              /* W */
#define HEADER_EDGE_FROM 0.021              /* W from the run's start: a strip between the small diamond and the text */
#define HEADER_EDGE_TO 0.034                /* W */
#define HEADER_TEXT_TO 0.22                 /* W from the run's start: text ends left of this */
#define HEADER_LINE_MIN 0.02                /* W: ink height */

/* The metadata block; y is measured upwards from its lower edge, because phones differ in what is above. */
#define BLOCK_STRIP_FROM 0.006              /* W: the strip at the left margin where block and page meet */
#define BLOCK_STRIP_TO 0.026                /* W */
#define PLAYER_Y_FROM 0.125                 /* W */
#define PLAYER_Y_TO 0.035                   /* W */
#define PLAYER_X_FROM 0.142                 /* W: behind the portrait … */
#define PLAYER_X_TO 0.725                   /* W: … and before the switch */
#define EVENT_Y_FROM 0.358                  /* W */
#define EVENT_Y_TO 0.298                    /* W */
#define EVENT_X_FROM 0.035                  /* W */
#define EVENT_X_TO 0.83                     /* W */
#define TITLE_Y_FROM 0.520                  /* W */
#define TITLE_Y_TO 0.365                    /* W */
#define TITLE_X_FROM 0.035                  /* W */
#define TITLE_X_TO 0.83                     /* W */
#define FLAG_Y_FROM 0.50                    /* W */
#define FLAG_Y_TO 0.30                      /* W */
#define FLAG_X_FROM 0.78                    /* W */
#define FLAG_WIDTH_MIN 0.04                 /* W */
#define FLAG_NUMBER_TO 0.50                 /* of the ribbon's height: the number is above, the word below */
#define META_LINE_MIN 0.010                 /* W: ink height of a line */
#define META_GAP_MIN 0.012                  /* W: rows without ink between two lines */
#define SEGMENT_GAP 0.70                    /* of the line's height: columns without ink between two fields in one line */
#define SYMBOL_GAP 0.34                     /* of the line's height: between a field's symbol and its text */

/* A panel may be a repeat of another when no block of this size differs more than this in its mean. */
#define REPEAT_BLOCK 0.0100                 /* W */
#define REPEAT_DIFFERENCE_MAX 45            /* of 255 */
#define REPEAT_MEAN_MAX 7.0                 /* of 255, the blocks' differences on average over a whole box */
