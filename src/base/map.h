/* Hash maps from a 64-bit number or from a text to a pointer; open addressing, grows by doubling. Keys of map_text are
 * borrowed: they must live as long as their entry (usually they are a field of the value). */
#pragma once
#include "base/bytes.h"

struct map_slot {
    uint64_t key;          /* the number, or the text's hash */
    struct bytes text;     /* text maps only */
    void *value;           /* NULL = empty slot */
};

struct map {
    struct map_slot *slots;
    size_t count, room;    /* room is 0 or a power of two */
};

void map_done(struct map *map);                                              /* values are not touched */
void *map_get(const struct map *map, uint64_t key);                          /* NULL when missing */
void map_set(struct map *map, uint64_t key, void *value);                    /* value not NULL; replaces */
void *map_take(struct map *map, uint64_t key);                               /* removes and answers the value, or NULL */
void *map_get_text(const struct map *map, struct bytes text);
void map_set_text(struct map *map, struct bytes text, void *value);
void *map_take_text(struct map *map, struct bytes text);
/* Walk: start with *at = 0, each call answers the next value, NULL at the end. Nothing may be added or taken meanwhile. */
void *map_next(const struct map *map, size_t *at);
