#include "server/access/ticket.h"

#include "base/mem.h"
#include "base/rng.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

void passes_init(struct passes *passes, int64_t ttl_us, size_t per_key)
{
    *passes = (struct passes){.ttl_us = ttl_us, .per_key = per_key};
    list_init(&passes->queue);
}

static uint64_t short_of(const struct sha *digest)
{
    uint64_t number;
    memcpy(&number, digest->at, sizeof number);
    return number;
}

void pass_end(struct passes *passes, struct pass *pass)
{
    map_take(&passes->by_digest, short_of(&pass->digest));
    list_leave(&pass->link);
    free(pass->jobs);
    free(pass);
}

void passes_done(struct passes *passes)
{
    while (!list_empty(&passes->queue))
        pass_end(passes, LIST_OF(passes->queue.next, struct pass, link));
    map_done(&passes->by_digest);
}

size_t passes_count(const struct passes *passes)
{
    return passes->by_digest.count;
}

static void sweep(struct passes *passes, int64_t now_us)
{
    while (!list_empty(&passes->queue)) {
        struct pass *oldest = LIST_OF(passes->queue.next, struct pass, link);
        if (oldest->until_us > now_us)
            return;
        pass_end(passes, oldest);
    }
}

static void make_room(struct passes *passes, const struct key *key)
{
    struct pass *oldest = NULL;
    size_t count = 0;
    LIST_EACH(link, &passes->queue) {
        struct pass *pass = LIST_OF(link, struct pass, link);
        if (pass->key == key && !count++)
            oldest = pass;
    }
    if (count >= passes->per_key)
        pass_end(passes, oldest);
}

void pass_issue(struct passes *passes, struct key *key, struct bytes jobs, int64_t now_us, char ret[PASS_TEXT_SIZE])
{
    unsigned char secret[(PASS_TEXT_SIZE - 1) / 2];
    struct pass *pass = MEM_NEW(struct pass);
    sweep(passes, now_us);
    make_room(passes, key);
    do {
        rng_system(secret, sizeof secret);
        for (size_t i = 0; i < sizeof secret; i++)
            snprintf(ret + 2 * i, 3, "%02x", secret[i]);
        pass->digest = sha_of(bytes_of(ret));
    } while (map_get(&passes->by_digest, short_of(&pass->digest)));
    pass->key = key;
    pass->until_us = now_us + passes->ttl_us;
    pass->jobs = jobs.count ? mem_copy(jobs.at, jobs.count) : NULL;
    list_push(&passes->queue, &pass->link);
    map_set(&passes->by_digest, short_of(&pass->digest), pass);
}

struct pass *pass_find(struct passes *passes, struct bytes text, int64_t now_us)
{
    sweep(passes, now_us);
    if (text.count != PASS_TEXT_SIZE - 1)
        return NULL;
    struct sha digest = sha_of(text);
    struct pass *pass = map_get(&passes->by_digest, short_of(&digest));
    if (!pass || CRYPTO_memcmp(pass->digest.at, digest.at, SHA_SIZE) || pass->key->dead)
        return NULL;
    return pass;
}

bool pass_opens(const struct pass *pass, struct bytes job)
{
    struct bytes left = bytes_of(pass->jobs);
    while (left.count)
        if (bytes_equal(bytes_cut(&left, ' '), job))
            return true;
    return false;
}
