/* A form, boundary "b": read in one piece and in pieces whose sizes the input chooses, and cut at every byte, it must tell the same. The first two bytes are
 * the sizes. The rest is also tried as a Content-Type. */
#include "form.h"

enum { EVERY_CUT_BYTES = 300 };

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
    int one = read_form("b", form, form.count, 1, &whole);
    int two = read_form("b", form, step, then, &pieces);
    fuzz_must(one == two, "split or not, the same answer");
    fuzz_must(one != 0 || bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)), "split or not, the same parts");
    for (size_t cut = 1; form.count <= EVERY_CUT_BYTES && cut < form.count; cut++) {
        buf_clear(&pieces);
        two = read_form("b", form, cut, form.count, &pieces);
        fuzz_must(one == two, "cut anywhere, the same answer");
        fuzz_must(one != 0 || bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)), "cut anywhere, the same parts");
    }
}
