#include "base/buf.h"
#include "base/sanitized.h"
#include "base/test.h"
#include "vision/exif.h"
#include "vision/image.h"

#include <png.h>
#include <stdlib.h>
#include <turbojpeg.h>
#include <webp/encode.h>

enum { PIXELS_MAX = 24000000 };

/* A picture whose left upper corner is red and whose rest is blue, so that its orientation can be seen. */
static struct image corner(int width, int height)
{
    struct image image;
    CHECK_INT(image_new(width, height, &image), 0);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            image_at(&image, x, y)[x < width / 2 && y < height / 2 ? 0 : 2] = 255;
    return image;
}

static bool is_red(const struct image *image, int x, int y)
{
    const uint8_t *pixel = image_at(image, x, y);
    return pixel[0] > 180 && pixel[2] < 80;
}

static struct buf jpeg_of(const struct image *image, int orientation)
{
    struct buf file;
    unsigned char *at = NULL;
    unsigned long count = 0;
    tjhandle handle = tjInitCompress();
    CHECK_INT(tjCompress2(handle, image->at, image->width, 0, image->height, TJPF_RGB, &at, &count, TJSAMP_444, 95, 0), 0);
    buf_init(&file, 1 << 24);
    buf_add(&file, at, 2);
    if (orientation) {
        char exif[] = "\xff\xe1\x00\x22" "Exif\0\0" "MM\0\x2a\0\0\0\x08" "\0\x01" "\x01\x12\0\x03\0\0\0\x01\0\0\0\0" "\0\0\0";
        exif[4 + 6 + 8 + 2 + 9] = (char)orientation;
        buf_add(&file, exif, 0x22 + 2);
    }
    buf_add(&file, at + 2, count - 2);
    tjFree(at);
    tjDestroy(handle);
    return file;
}

static struct buf png_of(const struct image *image)
{
    struct buf file;
    png_image png = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)image->width, .height = (png_uint_32)image->height, .format = PNG_FORMAT_RGB};
    png_alloc_size_t count = 1 << 20;
    char *at = malloc(count);
    CHECK(png_image_write_to_memory(&png, at, &count, 0, image->at, 0, NULL));
    buf_init(&file, 1 << 24);
    buf_add(&file, at, count);
    free(at);
    return file;
}

static struct buf webp_of(const struct image *image)
{
    struct buf file;
    uint8_t *at;
    size_t count = WebPEncodeLosslessRGB(image->at, image->width, image->height, image->width * 3, &at);
    CHECK(count > 0);
    buf_init(&file, 1 << 24);
    buf_add(&file, at, count);
    WebPFree(at);
    return file;
}

/* Decode; answers the problem's text, "" when it worked. */
static const char *decode(struct bytes file, struct image *ret)
{
    static struct problem problem;
    struct image_head head;
    problem = (struct problem){0};
    if (image_read_head(file, PIXELS_MAX, &head, &problem) == 0)
        image_decode(file, &head, ret, &problem);
    return problem.text;
}

TEST(each_format_is_decoded_to_the_same_picture)
{
    IMAGE_OWNED struct image picture = corner(40, 20);
    struct buf files[3] = {jpeg_of(&picture, 0), png_of(&picture), webp_of(&picture)};
    for (int i = 0; i < 3; i++) {
        IMAGE_OWNED struct image image = {0};
        CHECK_TEXT(decode(buf_bytes(&files[i]), &image), "");
        CHECK_INT(image.width, 40);
        CHECK_INT(image.height, 20);
        CHECK(is_red(&image, 2, 2) && !is_red(&image, 37, 2) && !is_red(&image, 2, 17));
        buf_done(&files[i]);
    }
}

TEST(every_orientation_is_turned_upright)
{
    /* Where the red corner, stored at the left top, belongs: right and bottom by EXIF's definition. */
    static const struct { bool swap, right, bottom; } want[9] = {
        {0}, {0, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1}, {1, 0, 0}, {1, 1, 0}, {1, 1, 1}, {1, 0, 1},
    };
    for (int orientation = 1; orientation <= 8; orientation++) {
        IMAGE_OWNED struct image picture = corner(48, 16), image = {0};
        BUF_OWNED struct buf file = jpeg_of(&picture, orientation);
        CHECK_TEXT(decode(buf_bytes(&file), &image), "");
        CHECK_INT(image.width, want[orientation].swap ? 16 : 48);
        int x = want[orientation].right ? image.width - 3 : 2, y = want[orientation].bottom ? image.height - 3 : 2;
        test_note("orientation %d", orientation);
        CHECK(is_red(&image, x, y) && !is_red(&image, image.width - 1 - x, image.height - 1 - y));
    }
}

TEST(every_cut_of_a_file_is_a_problem)
{
    IMAGE_OWNED struct image picture = corner(64, 64);
    struct buf files[3] = {jpeg_of(&picture, 6), png_of(&picture), webp_of(&picture)};
    for (int i = 0; i < 3; i++) {
        /* What ends a file carries no pixels: JPEG's two bytes of end mark are missed all the same, PNG's IEND and check sum are not. */
        size_t end = i == 1 ? files[i].count - 16 : files[i].count;
        for (size_t count = 0; count < end; count++) {
            IMAGE_OWNED struct image image = {0};
            char *exact = malloc(count ? count : 1);      /* so that a sanitizer sees a byte too far */
            memcpy(exact, files[i].at, count);
            bool refused = *decode((struct bytes){exact, count}, &image) != '\0';
            free(exact);
            test_note("file %d cut at %zu of %zu", i, count, files[i].count);
            CHECK(refused);
        }
        buf_done(&files[i]);
    }
}

TEST(what_is_no_image_is_told_by_its_kind)
{
    struct image image = {0};
    CHECK_TEXT(decode(BYTES(""), &image), "The file is empty.");
    CHECK_TEXT(decode(BYTES("GIF89a......"), &image), "File must be an image (JPG/PNG/WebP); this looks like a GIF.");
    CHECK_TEXT(decode(BYTES("3x Defy\n2x Charm\n"), &image), "File must be an image (JPG/PNG/WebP); this looks like text.");
    CHECK(strstr(decode(BYTES("\xff\xd8\xff\xe0\0\x04"), &image), "header is cut off") != NULL);
}

TEST(a_bomb_is_refused_by_its_header)
{
    IMAGE_OWNED struct image picture = corner(8, 8), image = {0};
    BUF_OWNED struct buf png = png_of(&picture), jpeg = jpeg_of(&picture, 0);
    memcpy(png.at + 16, "\0\0\x75\x30\0\0\x75\x30", 8);
    CHECK(strstr(decode(buf_bytes(&png), &image), "30000 x 30000 pixels, which is more than the maximum of 24.0 megapixels") != NULL);
    for (size_t at = 0; at + 9 < jpeg.count; at++)
        if (!memcmp(jpeg.at + at, "\xff\xc0", 2))
            memcpy(jpeg.at + at + 5, "\xff\xff\xff\xff", 4);
    CHECK(strstr(decode(buf_bytes(&jpeg), &image), "65535 x 65535") != NULL);
    CHECK(image.at == NULL);
}

TEST(a_header_that_lies_is_an_error)
{
    IMAGE_OWNED struct image picture = corner(32, 32), image = {0};
    BUF_OWNED struct buf png = png_of(&picture), jpeg = jpeg_of(&picture, 0);
    png.at[19] = 64;
    CHECK(*decode(buf_bytes(&png), &image) != '\0');
    for (size_t at = 0; at + 9 < jpeg.count; at++)
        if (!memcmp(jpeg.at + at, "\xff\xc0", 2))
            jpeg.at[at + 6] = 120;      /* taller than its data */
    CHECK(*decode(buf_bytes(&jpeg), &image) != '\0');
}

TEST(exif_that_makes_no_sense_means_upright)
{
    CHECK_INT(exif_orientation(BYTES("")), 1);
    CHECK_INT(exif_orientation(BYTES("II\x2a\0\xff\xff\xff\xff")), 1);
    CHECK_INT(exif_orientation(BYTES("II\x2a\0\x08\0\0\0\xff\xff")), 1);
    CHECK_INT(exif_orientation(BYTES("II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0")), 6);
    CHECK_INT(exif_orientation(BYTES("II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0")), 1);
    CHECK_INT(exif_orientation(BYTES("MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08")), 8);
}

TEST(shrinking_keeps_the_mean)
{
    IMAGE_OWNED struct image picture = corner(90, 60), small = {0};
    CHECK_INT(image_shrink(&picture, 30, &small), 0);
    CHECK_INT(small.height, 20);
    CHECK(is_red(&small, 5, 5) && !is_red(&small, 25, 5));
    CHECK_INT(image_at(&small, 25, 15)[2], 255);
}

/* A header that says so, or the sentence that it gets. */
static const char *head_of(struct bytes file, struct image_head *head)
{
    static struct problem problem;
    problem = (struct problem){0};
    return image_read_head(file, PIXELS_MAX, head, &problem) < 0 ? problem.text : "";
}

TEST(headers_are_walked_with_care)
{
    struct image_head head;
    CHECK(strstr(head_of(BYTES("\0\0\0\x18" "ftypheic" "\0\0\0\0"), &head), "HEIC"));
    CHECK(strstr(head_of(BYTES("\x01\x02"), &head), "something else"));
    CHECK(strstr(head_of(BYTES("hello, this is just a text that goes on for more than sixty-four bytes, as texts do"), &head), "text"));
    CHECK_TEXT(head_of(BYTES("\xff\xd8\xff\xff\xff\xc0\0\x11\x08\0\x05\0\x06\x03\0\0\0\0\0\0\0\0\0"), &head), "");
    CHECK(head.width == 6 && head.height == 5);
    CHECK_TEXT(head_of(BYTES("\xff\xd8\xff\xc4\0\x02\xff\xc8\0\x02\xff\xcc\0\x02\xff\xcf\0\x11\x08\0\x05\0\x06\x03\0\0\0\0\0\0\0\0\0"), &head), "");
    CHECK(*head_of(BYTES("\xff\xd8\xff\xe0\0\x01 "), &head));
    CHECK(*head_of(BYTES("\xff\xd8\xff\xd9\0\x04  "), &head));
    CHECK(*head_of(BYTES("\xff\xd8\xff\xda\0\x04  "), &head));
    CHECK(*head_of(BYTES("\xff\xd8\xff\xe0\0\x04  x"), &head));
    CHECK(strstr(head_of(BYTES("\xff\xd8\xff\xc0\0\x11\x08\0\0\0\x06\x03\0\0\0\0\0\0\0\0\0"), &head), "damaged"));
    CHECK(strstr(head_of(BYTES("\xff\xd8\xff\xc0\0\x11\x08\0\x05\0\0\x03\0\0\0\0\0\0\0\0\0"), &head), "damaged"));
    CHECK(*head_of(BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\xff\xff\xff\xff\xff\xff\xff\xff\x08\x02\0\0\0 crc"), &head));
    CHECK(*head_of(BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0cIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0 crc"), &head));
    CHECK(*head_of(BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0dIDAT\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0 crc"), &head));
    CHECK(*head_of(BYTES("\xff\xd8\xff\xe0\0\x04  \0\0\0\0"), &head));
    CHECK(*head_of(BYTES("RIFF\x10\0\0\0WEBPVP8 "), &head));
    CHECK(strstr(head_of(BYTES("RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x03\0\0\x03\0\0"), &head), "WebP file is damaged"));      /* animated */
}

static void add_chunk(struct buf *file, const char *name, struct bytes content)
{
    char head[9] = {name[0], name[1], name[2], name[3], (char)content.count};
    buf_add(file, head, 8);
    buf_put(file, content);
    if (content.count & 1)
        buf_byte(file, 0);
}

TEST(a_webp_says_its_orientation_with_a_mark_before_it_or_without)
{
    static const struct { struct bytes exif; int orientation; } cases[] = {
        {BYTES("II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"), 6},
        {BYTES("Exif\0\0II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0"), 3}, {BYTES("Exif\0"), 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        IMAGE_OWNED struct image picture = corner(48, 16), image = {0};
        BUF_OWNED struct buf plain = webp_of(&picture), file;
        struct image_head head;
        buf_init(&file, 1 << 24);
        buf_add(&file, plain.at, 12);
        add_chunk(&file, "VP8X", BYTES("\x08\0\0\0\x2f\0\0\x0f\0\0"));
        buf_add(&file, plain.at + 12, plain.count - 12);
        add_chunk(&file, "EXIF", cases[i].exif);
        file.at[4] = (char)(file.count - 8);
        file.at[5] = (char)((file.count - 8) >> 8);
        CHECK_TEXT(head_of(buf_bytes(&file), &head), "");
        CHECK_INT(head.orientation, cases[i].orientation);
        CHECK_TEXT(decode(buf_bytes(&file), &image), "");
        CHECK_INT(image.width, head.orientation == 6 ? 16 : 48);
    }
}

TEST(of_two_orientations_the_first_counts)
{
    IMAGE_OWNED struct image picture = corner(48, 16);
    BUF_OWNED struct buf first = jpeg_of(&picture, 6), both, then = jpeg_of(&picture, 3);
    struct image_head head;
    buf_init(&both, 1 << 24);
    buf_add(&both, first.at, 2 + 0x24);
    buf_add(&both, then.at + 2, then.count - 2);
    CHECK_TEXT(head_of(buf_bytes(&both), &head), "");
    CHECK_INT(head.orientation, 6);
}

TEST(an_orientation_that_there_is_not_turns_nothing)
{
    IMAGE_OWNED struct image picture = corner(8, 4);
    CHECK_INT(image_turn(&picture, 9), 0);
    CHECK(picture.width == 8 && is_red(&picture, 1, 1));
}

/* Pixels that two columns share, a width whose last column ends beyond the picture by a rounding, and a picture of less than a row. */
TEST(shrinking_takes_any_width)
{
    static const struct { int width, height, to, want_height; } cases[] = {{10, 10, 3, 3}, {21, 21, 19, 19}, {100, 1, 10, 1}, {7, 7, 90, 7}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        IMAGE_OWNED struct image picture = {0}, small = {0};
        CHECK_INT(image_new(cases[i].width, cases[i].height, &picture), 0);
        memset(picture.at, 200, (size_t)cases[i].width * (size_t)cases[i].height * 3);
        CHECK_INT(image_shrink(&picture, cases[i].to, &small), 0);
        CHECK_INT(small.height, cases[i].want_height);
        for (int x = 0; x < small.width; x++)
            CHECK_INT(image_at(&small, x, small.height - 1)[1], 200);
    }
}

#ifndef SANITIZED
TEST(a_picture_beyond_all_memory_is_an_answer)
{
    struct image image = {NULL, INT32_MAX, INT32_MAX}, ret;
    CHECK_INT(image_new(INT32_MAX, INT32_MAX, &ret), -1);
    CHECK_INT(image_turn(&image, 3), -1);
    CHECK(image.width == INT32_MAX && !image.at);
    CHECK_INT(image_shrink(&image, INT32_MAX, &ret), -1);
}
#endif
