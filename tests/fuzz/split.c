/* Forms cut at every byte: `multipart-split FILE…` reads each whole, in two pieces cut at every byte, and a byte at a time; all must tell the same. A file is a
 * line with the boundary, then the form. Ends with `N passed, N failed`, after a line with the number of readings. */
#include "form.h"

#include "base/mem.h"

#include <stdio.h>

enum { FORM_BYTES_MAX = 1 << 20 };

static char room[FORM_BYTES_MAX];

static bool same(const char *path, size_t cut, int one, int two, const struct buf *whole, const struct buf *pieces)
{
    if (one == two && bytes_equal(buf_bytes(whole), buf_bytes(pieces)))
        return true;
    fprintf(stderr, "%s, cut at %zu: %d and %d, %zu and %zu bytes told\n", path, cut, one, two, whole->count, pieces->count);
    return false;
}

/* What was told before a refusal is compared too: parts that had come were given. */
static bool try(const char *path, const char *boundary, struct bytes form, long *readings)
{
    struct buf whole BUF_OWNED, pieces BUF_OWNED;
    buf_init(&whole, 4 << 20);
    buf_init(&pieces, 4 << 20);
    int one = read_form(boundary, form, form.count ? form.count : 1, 1, &whole);
    for (size_t cut = 0; cut < form.count; cut++) {       /* 0: a byte at a time */
        buf_clear(&pieces);
        int two = read_form(boundary, form, cut ? cut : 1, cut ? form.count : 1, &pieces);
        ++*readings;
        if (!same(path, cut, one, two, &whole, &pieces))
            return false;
    }
    return true;
}

static bool try_file(const char *path, long *readings)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    struct bytes rest = {room, fread(room, 1, sizeof room, file)};
    fclose(file);
    struct bytes line = bytes_cut(&rest, '\n');
    char *boundary = mem_copy(line.at, line.count), *form = mem_copy(rest.at, rest.count);
    bool good = try(path, boundary, (struct bytes){form, rest.count}, readings);
    free(boundary);
    free(form);
    return good;
}

int main(int count, char **words)
{
    int passed = 0, failed = 0;
    long readings = 0;
    for (int i = 1; i < count; i++)
        ++*(try_file(words[i], &readings) ? &passed : &failed);
    printf("%ld readings\n%d passed, %d failed\n", readings, passed, failed);
    return failed || !passed;
}
