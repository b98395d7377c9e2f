#include "store/place.h"

#include "base/rng.h"
#include "base/test.h"

TEST(positions_come_back_as_they_went_in)
{
    enum { COUNT = 1000 };
    struct rng rng = {7};
    struct buf buf BUF_OWNED;
    uint64_t want[COUNT], last = 0;
    buf_init(&buf, COUNT * PLACE_BYTES_MAX);
    for (size_t i = 0; i < COUNT; i++) {
        want[i] = last + 1 + rng_below(&rng, i % 10 ? 300 : 1u << 30);
        CHECK(place_add(&buf, &last, want[i]));
    }
    struct bytes rest = buf_bytes(&buf);
    last = 0;
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(place_next(&rest, &last));
        CHECK(last == want[i]);
    }
    CHECK(!place_next(&rest, &last));
}

TEST(bytes_that_are_no_positions_are_refused)
{
    uint64_t last = 5;
    struct bytes zero = BYTES("\0"), cut = BYTES("\x80"), endless = BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
                 huge = BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    CHECK(!place_next(&zero, &last) && !place_next(&cut, &last) && !place_next(&endless, &last) && !place_next(&huge, &last));
    CHECK_INT(last, 5);
}
