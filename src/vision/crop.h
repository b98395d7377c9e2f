/* A piece of an image in another size, as floats: what a recogniser eats. */
#pragma once
#include "vision/image.h"

/* Resample `zone` (inside the image) to width x height; every output pixel is a weighted mean of all that it covers, so small
 * text neither vanishes nor flickers. ret: three planes, red, green, blue, 0 … 255. */
void crop_resample(const struct image *image, struct box zone, int width, int height, float *ret);
