/* Headers, and what is done to pixels once they are there. The decoders are in image_decode.c. */
#include "vision/image.h"

#include "vision/exif.h"

#include <assert.h>
#include <stdlib.h>
#include <webp/decode.h>

void image_done(struct image *image)
{
    free(image->at);
    *image = (struct image){0};
}

int image_new(int width, int height, struct image *ret)
{
    uint8_t *at = calloc((size_t)width * (size_t)height, 3);
    if (!at)
        return -1;
    *ret = (struct image){at, width, height};
    return 0;
}

static uint32_t big(struct bytes file, size_t offset, size_t count)
{
    uint32_t value = 0;
    for (size_t i = 0; i < count && offset + i < file.count; i++)
        value = value << 8 | (unsigned char)file.at[offset + i];
    return value;
}

/* All of it must be there. */
static uint32_t little(struct bytes file, size_t offset, size_t count)
{
    uint32_t value = 0;
    for (size_t i = count; i-- > 0;)
        value = value << 8 | (unsigned char)file.at[offset + i];
    return value;
}

static struct bytes part(struct bytes file, size_t offset, size_t count)
{
    assert(offset <= file.count);
    return (struct bytes){file.at + offset, count < file.count - offset ? count : file.count - offset};
}

static enum image_kind sniff(struct bytes file)
{
    if (bytes_start(file, BYTES("\xff\xd8\xff")))
        return IMAGE_JPEG;
    if (bytes_start(file, BYTES("\x89PNG\r\n\x1a\n")))
        return IMAGE_PNG;
    if (file.count >= 12 && bytes_start(file, BYTES("RIFF")) && !memcmp(file.at + 8, "WEBP", 4))
        return IMAGE_WEBP;
    return IMAGE_NONE;
}

/* What a file that is none of ours seems to be, for its problem. */
static const char *guess(struct bytes file)
{
    static const struct { const char *start, *name; } known[] = {
        {"GIF8", "a GIF"}, {"BM", "a BMP"}, {"%PDF", "a PDF"}, {"II*", "a TIFF"}, {"MM", "a TIFF"}, {"PK\x03\x04", "a ZIP archive"},
        {"<svg", "an SVG"}, {"{", "text"}, {"<", "text"},
    };
    if (file.count >= 12 && !memcmp(file.at + 4, "ftyp", 4))
        return "HEIC, AVIF or a film";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (bytes_start(file, bytes_of(known[i].start)))
            return known[i].name;
    for (size_t i = 0; i < file.count && i < 64; i++)
        if ((unsigned char)file.at[i] < 9)
            return "something else";
    return "text";
}

static bool is_frame_header(uint32_t marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/* Walk the segments up to the frame header. Answers false when the file ends first or is no chain of segments. */
static bool jpeg_head(struct bytes file, struct image_head *head)
{
    size_t at = 2;
    while (at + 4 <= file.count && big(file, at, 1) == 0xff) {
        uint32_t marker = big(file, at + 1, 1), length = big(file, at + 2, 2);
        if (marker == 0xff) {      /* fill bytes may stand before any marker */
            at++;
            continue;
        }
        if (length < 2 || marker == 0xd9 || marker == 0xda)
            return false;
        struct bytes segment = part(file, at + 4, length - 2);
        if (marker == 0xe1 && bytes_start(segment, BYTES("Exif\0\0")) && head->orientation == 1)
            head->orientation = exif_orientation(part(segment, 6, segment.count));
        if (is_frame_header(marker)) {
            head->height = (int)big(segment, 1, 2);
            head->width = (int)big(segment, 3, 2);
            return segment.count >= 6;
        }
        at += 2 + (size_t)length;
    }
    return false;
}

static bool png_head(struct bytes file, struct image_head *head)
{
    if (file.count < 33 || big(file, 8, 4) != 13 || memcmp(file.at + 12, "IHDR", 4))
        return false;
    uint32_t width = big(file, 16, 4), height = big(file, 20, 4);
    head->width = width > INT32_MAX ? INT32_MAX : (int)width;
    head->height = height > INT32_MAX ? INT32_MAX : (int)height;
    for (size_t at = 33; at + 12 <= file.count;) {
        uint32_t length = big(file, at, 4);
        if (!memcmp(file.at + at + 4, "IDAT", 4))
            break;
        if (length > file.count - at - 12)      /* libpng would take that memory before it looks whether the bytes are there */
            return false;
        if (!memcmp(file.at + at + 4, "eXIf", 4))
            head->orientation = exif_orientation(part(file, at + 8, length));
        at += 12 + (size_t)length;
    }
    return true;
}

static bool webp_head(struct bytes file, struct image_head *head)
{
    WebPBitstreamFeatures features;
    if (WebPGetFeatures((const uint8_t *)file.at, file.count, &features) != VP8_STATUS_OK || features.has_animation)
        return false;
    head->width = features.width;
    head->height = features.height;
    for (size_t at = 12; at + 8 <= file.count;) {
        uint32_t length = little(file, at + 4, 4);
        if (length > file.count)
            break;
        struct bytes chunk = part(file, at + 8, length);
        if (!memcmp(file.at + at, "EXIF", 4)) {
            size_t skip = bytes_start(chunk, BYTES("Exif\0\0")) ? 6 : 0;
            head->orientation = exif_orientation(part(chunk, skip, chunk.count));
        }
        at += 8 + (size_t)length + (length & 1);
    }
    return true;
}

int image_read_head(struct bytes file, uint64_t pixels_max, struct image_head *ret, struct problem *problem)
{
    static const char *const names[] = {"", "JPEG", "PNG", "WebP"};
    struct image_head head = {.kind = sniff(file), .orientation = 1};
    if (!file.count)
        return problem_set(problem, "The file is empty.");
    if (head.kind == IMAGE_NONE)
        return problem_set(problem, "File must be an image (JPG/PNG/WebP); this looks like %s.", guess(file));
    bool whole = head.kind == IMAGE_JPEG ? jpeg_head(file, &head)
               : head.kind == IMAGE_PNG ? png_head(file, &head) : webp_head(file, &head);
    if (!whole)
        return problem_set(problem, "The %s file is damaged: its header is cut off or makes no sense.", names[head.kind]);
    if (head.width <= 0 || head.height <= 0)
        return problem_set(problem, "The %s file is damaged: its header says %d x %d pixels.", names[head.kind], head.width, head.height);
    if ((uint64_t)head.width * (uint64_t)head.height > pixels_max)
        return problem_set(problem, "The image has %d x %d pixels, which is more than the maximum of %.1f megapixels.",
                           head.width, head.height, (double)pixels_max / 1e6);
    *ret = head;
    return 0;
}

/* Where the pixel that belongs at (x, y) of the upright image is stored. */
static void stored_at(int orientation, int width, int height, int x, int y, int *ret_x, int *ret_y)
{
    bool swap = orientation >= 5;      /* 5 … 8 exchange rows and columns */
    int sx = swap ? y : x, sy = swap ? x : y;
    bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    *ret_x = flip_x ? width - 1 - sx : sx;
    *ret_y = flip_y ? height - 1 - sy : sy;
}

int image_turn(struct image *image, int orientation)
{
    if (orientation <= 1 || orientation > 8)
        return 0;
    struct image upright;
    bool swap = orientation >= 5;
    if (image_new(swap ? image->height : image->width, swap ? image->width : image->height, &upright) < 0)
        return -1;
    for (int y = 0; y < upright.height; y++)
        for (int x = 0; x < upright.width; x++) {
            int sx, sy;
            stored_at(orientation, image->width, image->height, x, y, &sx, &sy);
            memcpy(image_at(&upright, x, y), image_at(image, sx, sy), 3);
        }
    image_done(image);
    *image = upright;
    return 0;
}

/* Add one stored row, weighted, to the sums of a row `width` pixels wide. */
static void shrink_row(const struct image *image, int y, double weight, int width, double *sums)
{
    double scale = (double)image->width / width;
    for (int x = 0; x < width; x++) {
        double from = x * scale, to = (x + 1) * scale;
        for (int sx = (int)from; sx < to && sx < image->width; sx++) {
            double covered = (to < sx + 1 ? to : sx + 1) - (from > sx ? from : sx);
            const uint8_t *pixel = image_at(image, sx, y);
            for (int c = 0; c < 3; c++)
                sums[x * 3 + c] += pixel[c] * covered * weight;
        }
    }
}

int image_shrink(const struct image *image, int width, struct image *ret)
{
    struct image small;
    width = width < image->width ? width : image->width;
    double scale = (double)image->width / width;
    int height = (int)(image->height / scale + 0.5);
    if (height < 1)
        height = 1;
    double *sums = malloc((size_t)width * 3 * sizeof *sums);
    if (!sums || image_new(width, height, &small) < 0) {
        free(sums);
        return -1;
    }
    double down = (double)image->height / height;
    for (int y = 0; y < height; y++) {
        memset(sums, 0, (size_t)width * 3 * sizeof *sums);
        double from = y * down, to = (y + 1) * down;
        for (int sy = (int)from; sy < to && sy < image->height; sy++)
            shrink_row(image, sy, (to < sy + 1 ? to : sy + 1) - (from > sy ? from : sy), width, sums);
        for (int i = 0; i < width * 3; i++)
            small.at[(size_t)y * (size_t)width * 3 + (size_t)i] = (uint8_t)(sums[i] / (scale * down) + 0.5);
    }
    free(sums);
    *ret = small;
    return 0;
}
