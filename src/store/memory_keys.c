#include "store/memory_keys.h"

#include "base/mem.h"

#include <stdlib.h>

static void key_done(struct memory_key *key)
{
    free(key->owner);
    free(key->key);
}

void memory_keys_done(struct memory_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        key_done(&keys->at[i]);
    free(keys->at);
    *keys = (struct memory_keys){0};
}

const struct memory_key *memory_keys_get(const struct memory_keys *keys, const char *owner, struct bytes key)
{
    for (size_t i = 0; i < keys->count; i++) {
        const struct memory_key *found = &keys->at[i];
        if (!strcmp(found->owner, owner) && bytes_equal((struct bytes){found->key, found->key_bytes}, key))
            return found;
    }
    return NULL;
}

void memory_keys_add(struct memory_keys *keys, const struct log_entry *entry)
{
    const char *owner = entry->owner ? entry->owner : "";
    struct memory_key *key = (struct memory_key *)memory_keys_get(keys, owner, (struct bytes){entry->key, entry->key_bytes});
    if (!key) {
        keys->at = mem_grow(keys->at, (keys->count + 1) * sizeof *keys->at);
        key = &keys->at[keys->count++];
        *key = (struct memory_key){.owner = mem_text(owner), .key = mem_copy(entry->key, entry->key_bytes), .key_bytes = entry->key_bytes};
    }
    key->job = entry->row->job;
    key->expires_us = entry->key_expires_us;
    key->print = entry->print;
}

void memory_keys_remove(struct memory_keys *keys, int64_t job)
{
    for (size_t i = keys->count; i-- > 0;) {
        if (keys->at[i].job != job)
            continue;
        key_done(&keys->at[i]);
        keys->at[i] = keys->at[--keys->count];
    }
}

bool memory_keys_live(const struct memory_keys *keys, int64_t job, int64_t now_us)
{
    for (size_t i = 0; i < keys->count; i++)
        if (keys->at[i].job == job && keys->at[i].expires_us > now_us)
            return true;
    return false;
}
