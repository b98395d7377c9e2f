#include "base/heap.h"
#include "base/rng.h"
#include "base/test.h"

TEST(a_heap_gives_its_members_in_order_whatever_left_meanwhile)
{
    struct heap_node nodes[500] = {0};
    struct heap heap = {0};
    struct rng rng = {7};
    for (int i = 0; i < 500; i++)
        heap_add(&heap, &nodes[i], (int64_t)rng_below(&rng, 1000));
    for (int i = 0; i < 500; i += 3)
        heap_leave(&heap, &nodes[i]);
    heap_leave(&heap, &nodes[0]);
    int64_t last = -1;
    size_t seen = 0;
    for (struct heap_node *top; (top = heap_top(&heap)); seen++) {
        CHECK(top->key >= last);
        last = top->key;
        heap_leave(&heap, top);
    }
    CHECK_INT(seen, 333);
    heap_done(&heap);
}
