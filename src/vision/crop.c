#include "vision/crop.h"

#include "base/mem.h"

#include <math.h>

/* The triangle filter of one output position: weights of `count` inputs from `first`. */
struct taps {
    int first, count;
    float weight[];
};

enum { TAPS_MAX = 64 };

static size_t taps_size(void)
{
    return sizeof(struct taps) + TAPS_MAX * sizeof(float);
}

/* Weights for each of `to` positions over `from` inputs. Shrinking widens the triangle to all inputs that are covered. */
static struct taps *taps_for(int from, int to)
{
    char *all = mem_new((size_t)to * taps_size());
    double scale = (double)from / to, reach = scale > 1 ? scale : 1;
    for (int i = 0; i < to; i++) {
        struct taps *taps = (struct taps *)(all + (size_t)i * taps_size());
        double middle = (i + 0.5) * scale, sum = 0;
        int first = (int)floor(middle - reach), last = (int)ceil(middle + reach);
        first = first < 0 ? 0 : first;
        last = last > from ? from : last;
        taps->first = first;
        for (int at = first; at < last && taps->count < TAPS_MAX; at++) {
            double weight = 1 - fabs((at + 0.5 - middle) / reach);
            taps->weight[taps->count++] = (float)(weight > 0 ? weight : 0);
            sum += weight > 0 ? weight : 0;
        }
        for (int k = 0; k < taps->count; k++)
            taps->weight[k] = (float)(taps->weight[k] / sum);
    }
    return (struct taps *)all;
}

static const struct taps *taps_at(const struct taps *all, int i)
{
    return (const struct taps *)((const char *)all + (size_t)i * taps_size());
}

void crop_resample(const struct image *image, struct box zone, int width, int height, float *ret)
{
    MEM_OWNED struct taps *across = taps_for(zone.width, width);
    MEM_OWNED struct taps *down = taps_for(zone.height, height);
    MEM_OWNED float *rows = mem_new((size_t)zone.height * (size_t)width * 3 * sizeof *rows);
    for (int y = 0; y < zone.height; y++)
        for (int x = 0; x < width; x++) {
            const struct taps *taps = taps_at(across, x);
            const uint8_t *pixel = image_at(image, zone.x + taps->first, zone.y + y);
            float *sum = rows + ((size_t)y * (size_t)width + (size_t)x) * 3;
            for (int k = 0; k < taps->count; k++, pixel += 3)
                for (int c = 0; c < 3; c++)
                    sum[c] += taps->weight[k] * pixel[c];
        }
    size_t plane = (size_t)width * (size_t)height;
    for (int y = 0; y < height; y++) {
        const struct taps *taps = taps_at(down, y);
        for (int x = 0; x < width; x++) {
            float sum[3] = {0};
            for (int k = 0; k < taps->count; k++)
                for (int c = 0; c < 3; c++)
                    sum[c] += taps->weight[k] * rows[((size_t)(taps->first + k) * (size_t)width + (size_t)x) * 3 + (size_t)c];
            for (int c = 0; c < 3; c++)
                ret[(size_t)c * plane + (size_t)y * (size_t)width + (size_t)x] = sum[c];
        }
    }
}
