/* The metadata of a deck page; used by page.c only. */
#pragma once
#include "stage/deck.h"
#include "vision/layout.h"
#include "vision/recognise.h"

/* Read what the layout found of the block into the deck's metadata; fields that are not there stay unknown. */
int page_meta_read(struct recogniser *recogniser, const struct image *image, const struct layout_block *block,
                   struct deck *deck, struct problem *problem);

/* What free Chinese text wants: full-width brackets around Chinese, no white space between Chinese characters but where `kept`
 * says so. Appended to ret. Here for its test. */
void page_meta_tidy(struct bytes text, struct buf *ret);
/* The date in "2025-09-13", with anything around it; answers false when there is none. */
bool page_meta_date(struct bytes text, char ret[11]);
