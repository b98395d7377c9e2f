#include "vision/palette.h"

#include "vision/layout_constants.h"

#include <stdlib.h>

enum { SURFACES = 4, BINS = 64, BIN_SHIFT = 2, STEP = 3, SHARE_MIN = 2000 /* one sampled pixel in so many */ };

static const int expected[SURFACES][3] = {COLOUR_PAGE, COLOUR_CARD, COLOUR_HEADER, COLOUR_BLOCK};

static int distance(const int a[3], const int b[3])
{
    int sum = 0;
    for (int c = 0; c < 3; c++)
        sum += (a[c] - b[c]) * (a[c] - b[c]);
    return sum;
}

/* The surface that a colour belongs to, or -1. */
static int surface_of(const int colour[3])
{
    int best = 0;
    for (int s = 1; s < SURFACES; s++)
        if (distance(colour, expected[s]) < distance(colour, expected[best]))
            best = s;
    for (int c = 0; c < 3; c++)
        if (abs(colour[c] - expected[best][c]) > COLOUR_SHIFT_MAX)
            return -1;
    return best;
}

static int bin_of(const uint8_t *pixel)
{
    return (pixel[0] >> BIN_SHIFT) * BINS * BINS + (pixel[1] >> BIN_SHIFT) * BINS + (pixel[2] >> BIN_SHIFT);
}

static void middle_of(int bin, int ret[3])
{
    int half = 1 << (BIN_SHIFT - 1);
    ret[0] = (bin / BINS / BINS << BIN_SHIFT) + half;
    ret[1] = (bin / BINS % BINS << BIN_SHIFT) + half;
    ret[2] = (bin % BINS << BIN_SHIFT) + half;
}

/* The mean of the pixels around the fullest bin is the colour, finer than the bins are. */
static void refine(const struct image *image, const int peak[3], int ret[3])
{
    int64_t sums[3] = {0}, count = 0;
    for (int y = 0; y < image->height; y += STEP)
        for (int x = 0; x < image->width; x += STEP) {
            const uint8_t *pixel = image_at(image, x, y);
            if (!palette_near(pixel, peak, 5))
                continue;
            count++;
            for (int c = 0; c < 3; c++)
                sums[c] += pixel[c];
        }
    for (int c = 0; c < 3; c++)
        ret[c] = count ? (int)((sums[c] + count / 2) / count) : peak[c];
}

bool palette_measure(const struct image *image, struct palette *ret)
{
    uint32_t *bins = calloc((size_t)BINS * BINS * BINS, sizeof *bins);
    if (!bins)
        return false;
    uint32_t sampled = 0, best_count[SURFACES] = {0};
    int best[SURFACES] = {0}, *colours[SURFACES] = {ret->page, ret->card, ret->header, ret->block};
    for (int y = 0; y < image->height; y += STEP)
        for (int x = 0; x < image->width; x += STEP, sampled++)
            bins[bin_of(image_at(image, x, y))]++;
    for (int bin = 0; bin < BINS * BINS * BINS; bin++) {
        int middle[3], surface;
        middle_of(bin, middle);
        if (!bins[bin] || (surface = surface_of(middle)) < 0 || bins[bin] <= best_count[surface])
            continue;
        best[surface] = bin;
        best_count[surface] = bins[bin];
    }
    free(bins);
    for (int s = 0; s < SURFACES; s++) {
        int peak[3];
        middle_of(best[s], peak);
        if (best_count[s] > sampled / SHARE_MIN)
            refine(image, peak, colours[s]);
        else
            memcpy(colours[s], expected[s], sizeof expected[s]);
    }
    return best_count[1] > sampled / SHARE_MIN;
}
