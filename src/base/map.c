#include "base/map.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>

void map_done(struct map *map)
{
    free(map->slots);
    *map = (struct map){0};
}

static size_t home(const struct map *map, uint64_t key)
{
    return hash_mix(key) & (map->room - 1);
}

static bool same(const struct map_slot *slot, uint64_t key, struct bytes text)
{
    return slot->key == key && bytes_equal(slot->text, text);
}

/* The slot that holds the key, or the empty one where it would go. There is always an empty one: at most 2/3 are full. */
static struct map_slot *find(const struct map *map, uint64_t key, struct bytes text)
{
    size_t i = home(map, key);
    while (map->slots[i].value && !same(&map->slots[i], key, text))
        i = (i + 1) & (map->room - 1);
    return &map->slots[i];
}

static void grow(struct map *map)
{
    struct map old = *map;
    map->room = old.room ? old.room * 2 : 16;
    map->slots = mem_new(map->room * sizeof *map->slots);
    for (size_t i = 0; i < old.room; i++)
        if (old.slots[i].value)
            *find(map, old.slots[i].key, old.slots[i].text) = old.slots[i];
    free(old.slots);
}

static void *get(const struct map *map, uint64_t key, struct bytes text)
{
    return map->room ? find(map, key, text)->value : NULL;
}

static void put(struct map *map, uint64_t key, struct bytes text, void *value)
{
    if ((map->count + 1) * 3 > map->room * 2)
        grow(map);
    struct map_slot *slot = find(map, key, text);
    map->count += !slot->value;
    *slot = (struct map_slot){key, text, value};
}

/* Removing from open addressing: close the hole by moving back every later entry that may live there. */
static void *take(struct map *map, uint64_t key, struct bytes text)
{
    if (!map->room)
        return NULL;
    struct map_slot *slot = find(map, key, text);
    void *value = slot->value;
    if (!value)
        return NULL;
    size_t hole = (size_t)(slot - map->slots), mask = map->room - 1;
    for (size_t i = (hole + 1) & mask; map->slots[i].value; i = (i + 1) & mask) {
        size_t distance = (i - home(map, map->slots[i].key)) & mask;
        if (distance >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct map_slot){0};
    map->count--;
    return value;
}

void *map_get(const struct map *map, uint64_t key)
{
    return get(map, key, (struct bytes){0});
}

void map_set(struct map *map, uint64_t key, void *value)
{
    put(map, key, (struct bytes){0}, value);
}

void *map_take(struct map *map, uint64_t key)
{
    return take(map, key, (struct bytes){0});
}

void *map_get_text(const struct map *map, struct bytes text)
{
    return get(map, hash_bytes(text), text);
}

void map_set_text(struct map *map, struct bytes text, void *value)
{
    put(map, hash_bytes(text), text, value);
}

void *map_take_text(struct map *map, struct bytes text)
{
    return take(map, hash_bytes(text), text);
}

void *map_next(const struct map *map, size_t *at)
{
    while (*at < map->room) {
        void *value = map->slots[(*at)++].value;
        if (value)
            return value;
    }
    return NULL;
}
