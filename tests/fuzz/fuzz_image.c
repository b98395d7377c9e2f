/* Images as strangers send them: heads by our own reading, then the real decoders, within a limit of pixels. What is decoded has the size that its head said,
 * turned upright. EXIF blocks by themselves too: the first byte says which. */
#include "fuzz.h"

#include "vision/exif.h"
#include "vision/image.h"

enum { PIXELS_MAX = 1 << 14 };

static void check_exif(struct bytes input)
{
    int orientation = exif_orientation(input);
    fuzz_must(orientation >= 1 && orientation <= 8, "an image is held in one of eight ways");
}

static void check_pixels(const struct image *image)
{
    volatile uint8_t sum = 0;
    size_t count = (size_t)image->width * (size_t)image->height * 3;
    for (size_t i = 0; i < count; i += 97)
        sum ^= image->at[i];
    sum ^= image->at[count - 1];
    (void)sum;
    struct image small;
    if (!image_shrink(image, 1 + image->width / 3, &small)) {
        fuzz_must(small.width == 1 + image->width / 3 && small.height > 0, "a small image has its width");
        image_done(&small);
    }
}

FUZZ_TARGET(image)
{
    struct image_head head;
    struct problem problem = {0};
    if (fuzz_byte(&input) & 1) {
        check_exif(input);
        return;
    }
    int failed = image_read_head(input, PIXELS_MAX, &head, &problem);
    fuzz_check_problem(&problem, failed != 0);
    if (failed)
        return;
    fuzz_must(head.width > 0 && head.height > 0 && (int64_t)head.width * head.height <= PIXELS_MAX, "only what is within the limit is decoded");
    struct image image IMAGE_OWNED = {0};
    failed = image_decode(input, &head, &image, &problem);
    fuzz_check_problem(&problem, failed != 0);
    if (failed)
        return;
    bool turned = head.orientation >= 5;
    fuzz_must(image.width == (turned ? head.height : head.width) && image.height == (turned ? head.width : head.height), "it has the size that its head said");
    check_pixels(&image);
}
