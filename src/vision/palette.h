/* The page's colours as they are in one image. */
#pragma once
#include "vision/image.h"

struct palette {
    int page[3], card[3], header[3], block[3];
};

/* Measure them: the most frequent colour near each expected one. Answers false when no card colour is in the image at all. */
bool palette_measure(const struct image *image, struct palette *ret);

static inline bool palette_near(const uint8_t *pixel, const int colour[3], int distance)
{
    for (int c = 0; c < 3; c++)
        if (pixel[c] > colour[c] + distance || pixel[c] < colour[c] - distance)
            return false;
    return true;
}
