#include "base/heap.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

void heap_done(struct heap *heap)
{
    free(heap->nodes);
    *heap = (struct heap){0};
}

static void set(struct heap *heap, size_t place, struct heap_node *node)
{
    heap->nodes[place - 1] = node;
    node->place = place;
}

static void rise(struct heap *heap, size_t place, struct heap_node *node)
{
    while (place > 1 && heap->nodes[place / 2 - 1]->key > node->key) {
        set(heap, place, heap->nodes[place / 2 - 1]);
        place /= 2;
    }
    set(heap, place, node);
}

static void sink(struct heap *heap, size_t place, struct heap_node *node)
{
    for (;;) {
        size_t child = place * 2;
        if (child < heap->count && heap->nodes[child]->key < heap->nodes[child - 1]->key)
            child++;
        if (child > heap->count || heap->nodes[child - 1]->key >= node->key)
            break;
        set(heap, place, heap->nodes[child - 1]);
        place = child;
    }
    set(heap, place, node);
}

void heap_add(struct heap *heap, struct heap_node *node, int64_t key)
{
    assert(!node->place);
    if (heap->count == heap->room) {
        heap->room = heap->room ? heap->room * 2 : 16;
        heap->nodes = mem_grow(heap->nodes, heap->room * sizeof *heap->nodes);
    }
    node->key = key;
    heap->count++;
    rise(heap, heap->count, node);
}

void heap_leave(struct heap *heap, struct heap_node *node)
{
    if (!node->place)
        return;
    size_t place = node->place;
    assert(heap->nodes[place - 1] == node);
    struct heap_node *last = heap->nodes[--heap->count];
    node->place = 0;
    if (last == node)
        return;
    if (place > 1 && heap->nodes[place / 2 - 1]->key > last->key)
        rise(heap, place, last);
    else
        sink(heap, place, last);
}

struct heap_node *heap_top(const struct heap *heap)
{
    return heap->count ? heap->nodes[0] : NULL;
}
