#include "base/map.h"
#include "base/rng.h"
#include "base/test.h"

TEST(a_map_agrees_with_an_array_through_random_sets_and_takes)
{
    static int values[300];
    void *model[300] = {0};
    struct map map = {0};
    struct rng rng = {3};
    for (int i = 0; i < 20000; i++) {
        uint64_t key = rng_below(&rng, 300);
        if (rng_below(&rng, 2)) {
            map_set(&map, key, model[key] = &values[rng_below(&rng, 300)]);
        } else {
            CHECK(map_take(&map, key) == model[key]);
            model[key] = NULL;
        }
        uint64_t other = rng_below(&rng, 300);
        CHECK(map_get(&map, other) == model[other]);
    }
    size_t at = 0, count = 0;
    while (map_next(&map, &at))
        count++;
    CHECK_INT(count, map.count);
    map_done(&map);
}

TEST(text_keys_are_told_apart_by_all_their_bytes)
{
    struct map map = {0};
    int a, b;
    map_set_text(&map, BYTES("ab"), &a);
    map_set_text(&map, BYTES("abc"), &b);
    CHECK(map_get_text(&map, BYTES("ab")) == &a);
    CHECK(map_take_text(&map, BYTES("abc")) == &b);
    CHECK(!map_get_text(&map, BYTES("abc")));
    map_done(&map);
}
