/* The idempotency keys of a memory_disk, as the table idem on a real one. */
#pragma once
#include "store/log.h"

struct memory_key {
    char *owner, *key;             /* owned */
    size_t key_bytes;
    int64_t job, expires_us;
    struct sha print;
};

struct memory_keys {               /* zeroed = none */
    struct memory_key *at;         /* in no order; owned */
    size_t count;
};

void memory_keys_done(struct memory_keys *keys);
void memory_keys_add(struct memory_keys *keys, const struct log_entry *entry);       /* of a job.created; in the place of an equal one */
void memory_keys_remove(struct memory_keys *keys, int64_t job);                      /* all that name the job */
const struct memory_key *memory_keys_get(const struct memory_keys *keys, const char *owner, struct bytes key);     /* expired or not; NULL */
bool memory_keys_live(const struct memory_keys *keys, int64_t job, int64_t now_us);  /* one that names the job has not expired */
