/* Screenshots as pixels. What a file says about itself is read first, without any library and without memory that grows
 * with the picture; only when its size is within the limits is it decoded. Hostile bytes get a problem, never a crash.
 * Any thread; nothing is shared. */
#pragma once
#include "base/bytes.h"
#include "base/problem.h"

enum image_kind { IMAGE_NONE, IMAGE_JPEG, IMAGE_PNG, IMAGE_WEBP };

/* A file's header. */
struct image_head {
    enum image_kind kind;
    int width, height;      /* pixels as stored, before the orientation is applied; both > 0 */
    int orientation;        /* EXIF's 1 … 8; 1 when the file says nothing or nonsense */
};

/* Pixels, 8 bits each of red, green, blue, rows from the top without padding. Owned: image_done. */
struct image {
    uint8_t *at;
    int width, height;
};

#define IMAGE_OWNED __attribute__((cleanup(image_done)))

struct box {
    int x, y, width, height;
};

void image_done(struct image *image);
static inline uint8_t *image_at(const struct image *image, int x, int y)
{
    return image->at + ((size_t)y * (size_t)image->width + (size_t)x) * 3;
}

/* Read the header: 0, or -1 and a problem when it is no JPEG, PNG or WebP, is cut off before its size, or the size is
 * beyond pixels_max. Such a file must not be decoded. */
int image_read_head(struct bytes file, uint64_t pixels_max, struct image_head *ret, struct problem *problem);

/* Decode a file whose head was read, and turn it upright. -1 and a problem when data is missing or damaged, when the
 * pixels are not what the header said, or when memory ran out. */
int image_decode(struct bytes file, const struct image_head *head, struct image *ret, struct problem *problem);

/* A copy `width` pixels wide (at most the image's own), each pixel the mean of what it covers. -1 = no memory. */
int image_shrink(const struct image *image, int width, struct image *ret);

/* Turn and mirror as EXIF orientation 1 … 8 asks, in place. -1 = no memory, the image unchanged. */
int image_turn(struct image *image, int orientation);

/* An image of this size, its pixels black. -1 = no memory. */
int image_new(int width, int height, struct image *ret);
