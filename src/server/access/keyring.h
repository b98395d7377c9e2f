/* The keys: who may ask, in whose name, and how much each may have open. They come as text, from a file or the environment:
 *
 *     # owner   key                      quotas, each may be left away
 *     alice     a-long-random-key        jobs=10 items=100000 bytes=1000000000 streams=50
 *     bob       sha256:HEX               the SHA-256 of the key instead of the key: then the file holds no secret
 *
 * or as JSON, [{"owner":"alice","key":"…","jobs":10}, …]. In the environment ';' ends a line too. A key has 16 to 256 of the
 * characters of a bearer token. Only SHA-256 digests are kept, and no sentence here ever quotes a key.
 *
 * A `struct key` lives as long as its ring, also after a reload without it, so that whoever holds one need not count; it is dead then.
 * Thread: loop. */
#pragma once
#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/problem.h"
#include "http/http.h"

struct quota {                /* the most that may be open at a time; -1 = as much as it likes */
    int64_t jobs;             /* jobs of the owner that have not ended */
    int64_t items;            /* their unfinished items */
    int64_t bytes;            /* of their inputs */
    int64_t streams;          /* event streams opened with this key */
};

struct key {
    struct list link;
    char *owner;
    struct sha digest;
    struct quota quota;
    int64_t streams;          /* open now */
    bool dead;                /* a reload has taken it away */
};

struct keyring {
    struct list keys;         /* dead ones too */
    size_t count;             /* of all of them, ≤ LIMIT_KEYS_EVER */
};

void keyring_init(struct keyring *ring);
void keyring_done(struct keyring *ring);
/* Put the keys of the file and of the text (each may be NULL) in place of those before. -1 and a problem that names the place: then
 * all is as it was. A file that holds a plain key must not be readable by everybody, and no file may be writable by everybody. */
int keyring_load(struct keyring *ring, const char *path, const char *text, struct problem *problem);
/* The living key that this is, or NULL. Takes the same time whichever it is and whether there is one. */
struct key *keyring_find(const struct keyring *ring, struct bytes token);

/* Whose request this is; NULL without keys, and on open routes. */
static inline struct key *key_of(const struct http_request *request)
{
    return (struct key *)request->caller;
}
