/* A form, boundary "b": read in one piece and in pieces whose sizes the input chooses, and cut at every byte, it must tell the same. The first two bytes are
 * the sizes. The rest is also tried as a Content-Type. */
#include "fuzz.h"

#include "http/multipart.h"

#include "base/text.h"

enum { EVERY_CUT_BYTES = 300 };

static struct buf *told;
static int open_parts;

static int on_part(void *user, const struct multipart_part *part)
{
    fuzz_must(open_parts++ == 0, "one part at a time");
    fuzz_must(text_is_utf8(part->name) && text_is_utf8(part->filename), "names are UTF-8");
    fuzz_must(part->name.count <= LIMIT_NAME_BYTES && part->filename.count <= LIMIT_NAME_BYTES, "names are bounded");
    fuzz_must(!part->filename.count || part->is_file, "who has a filename is a file");
    buf_print(told, "[%u %.*s|%.*s|%.*s|%d%d]", part->index, BYTES_ARG(part->name), BYTES_ARG(part->filename), BYTES_ARG(part->type),
              part->is_file, part->filename_cut);
    return 0;
}

static int on_data(void *user, struct bytes data)
{
    fuzz_must(open_parts == 1 && data.count > 0, "data belongs to a part");
    buf_put(told, data);
    return 0;
}

static int on_part_end(void *user)
{
    fuzz_must(open_parts-- == 1, "only an open part ends");
    buf_text(told, ";");
    return 0;
}

static const struct multipart_calls CALLS = {on_part, on_data, on_part_end};

static int read_form(struct bytes form, size_t step, size_t then, struct buf *ret)
{
    struct multipart *multipart = multipart_new("b", 20, &CALLS, NULL);
    struct problem problem = {0};
    int answer = 0;
    told = ret;
    open_parts = 0;
    while (!answer && form.count) {
        size_t count = step < form.count ? step : form.count;
        answer = multipart_feed(multipart, (struct bytes){form.at, count}, &problem);
        form.at += count;
        form.count -= count;
        step = then;
    }
    if (!answer)
        answer = multipart_end(multipart, &problem);
    fuzz_must((answer != 0) == problem_is(&problem), "an error has a sentence");
    fuzz_must(answer != 0 || open_parts == 0, "a good form has no open part");
    multipart_free(multipart);
    return answer;
}

FUZZ_TARGET(multipart)
{
    if (input.count < 2)
        return;
    size_t step = (uint8_t)input.at[0] + 1u, then = (uint8_t)input.at[1] + 1u;
    struct bytes form = {input.at + 2, input.count - 2};
    struct buf whole BUF_OWNED, pieces BUF_OWNED;
    char boundary[MULTIPART_BOUNDARY_SIZE];
    struct problem problem = {0};
    fuzz_check_problem(&problem, multipart_boundary(form, boundary, &problem) < 0);
    buf_init(&whole, 1 << 20);
    buf_init(&pieces, 1 << 20);
    int one = read_form(form, form.count, 1, &whole);
    int two = read_form(form, step, then, &pieces);
    fuzz_must(one == two, "split or not, the same answer");
    fuzz_must(one != 0 || bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)), "split or not, the same parts");
    for (size_t cut = 1; form.count <= EVERY_CUT_BYTES && cut < form.count; cut++) {
        buf_clear(&pieces);
        two = read_form(form, cut, form.count, &pieces);
        fuzz_must(one == two, "cut anywhere, the same answer");
        fuzz_must(one != 0 || bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)), "cut anywhere, the same parts");
    }
}
