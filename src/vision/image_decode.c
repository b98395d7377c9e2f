/* The three decoders. Each gets memory of exactly the size that the checked header gave, and answers -1 with a problem
 * when the file has less in it than it promised. */
#include "vision/image.h"

#include <png.h>
#include <stdlib.h>
#include <turbojpeg.h>
#include <webp/decode.h>

static int jpeg_problem(tjhandle handle, struct problem *problem)
{
    return problem_set(problem, "The JPEG file is truncated or damaged: %s.", tjGetErrorStr2(handle));
}

/* libjpeg fills what is missing with grey and calls it a warning; for us missing data is an error. Stray bytes between two
 * segments, which some phones write, lose nothing. The limit on scans stops files that decode for minutes. */
static int jpeg_decode(struct bytes file, struct image *image, struct problem *problem)
{
    tjhandle handle = tjInitDecompress();
    if (!handle)
        return problem_set(problem, "No memory for the JPEG decoder.");
    int width, height, sampling, colours, answer = 0;
    const unsigned char *at = (const unsigned char *)file.at;
    if (tjDecompressHeader3(handle, at, file.count, &width, &height, &sampling, &colours) < 0)
        answer = jpeg_problem(handle, problem);
    else if (width != image->width || height != image->height)
        answer = problem_set(problem, "The JPEG file is damaged: it has two headers of different sizes.");
    else if (tjDecompress2(handle, at, file.count, image->at, image->width, 0, image->height, TJPF_RGB,
                           TJFLAG_LIMITSCANS | TJFLAG_ACCURATEDCT) < 0
             && (tjGetErrorCode(handle) != TJERR_WARNING || !strstr(tjGetErrorStr2(handle), "extraneous bytes")))
        answer = jpeg_problem(handle, problem);
    tjDestroy(handle);
    return answer;
}

static int png_decode(struct bytes file, struct image *image, struct problem *problem)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    const png_color black = {0, 0, 0};
    bool good = png_image_begin_read_from_memory(&png, file.at, file.count);
    if (good && (png.width != (png_uint_32)image->width || png.height != (png_uint_32)image->height)) {
        png_image_free(&png);
        return problem_set(problem, "The PNG file is damaged: it has two headers of different sizes.");
    }
    png.format = PNG_FORMAT_RGB;
    good = good && png_image_finish_read(&png, &black, image->at, 0, NULL);
    if (good)
        return 0;
    problem_set(problem, "The PNG file is truncated or damaged: %s.", png.message);
    png_image_free(&png);
    return -1;
}

static int webp_decode(struct bytes file, struct image *image, struct problem *problem)
{
    size_t size = (size_t)image->width * (size_t)image->height * 3;
    if (!WebPDecodeRGBInto((const uint8_t *)file.at, file.count, image->at, size, image->width * 3))
        return problem_set(problem, "The WebP file is truncated or damaged.");
    return 0;
}

int image_decode(struct bytes file, const struct image_head *head, struct image *ret, struct problem *problem)
{
    IMAGE_OWNED struct image image = {0};
    if (image_new(head->width, head->height, &image) < 0)
        return problem_set(problem, "No memory for an image of %d x %d pixels.", head->width, head->height);
    int answer = head->kind == IMAGE_JPEG ? jpeg_decode(file, &image, problem)
               : head->kind == IMAGE_PNG ? png_decode(file, &image, problem) : webp_decode(file, &image, problem);
    if (answer < 0)
        return answer;
    if (image_turn(&image, head->orientation) < 0)
        return problem_set(problem, "No memory to turn an image of %d x %d pixels.", head->width, head->height);
    *ret = image;
    image = (struct image){0};
    return 0;
}
