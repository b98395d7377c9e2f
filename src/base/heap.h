/* A binary heap of members ordered by a key: the smallest is on top. Used for everything that waits for a time. The
 * member knows its own place, so that it can leave from the middle in O(log n). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;      /* usually a time in µs */
    size_t place;     /* 1-based index in the heap; 0 = in no heap */
};

struct heap {
    struct heap_node **nodes;    /* owned array of borrowed members */
    size_t count, room;
};

#define HEAP_OF(node, type, member) ((type *)((char *)(node) - offsetof(type, member)))

void heap_done(struct heap *heap);                                        /* members are not touched */
void heap_add(struct heap *heap, struct heap_node *node, int64_t key);    /* node must be in no heap */
void heap_leave(struct heap *heap, struct heap_node *node);               /* harmless when in no heap */
struct heap_node *heap_top(const struct heap *heap);                      /* NULL when empty */
