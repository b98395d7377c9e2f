/* The metadata block, for layout.c only. */
#pragma once
#include "vision/layout.h"
#include "vision/palette.h"

/* Fill in what is found of it; fields that are not there keep width 0. */
void layout_find_block(const struct image *image, const struct palette *palette, struct layout_block *ret);
