/* Passes: short-lived stand-ins for a key, for clients that cannot send one. A ticket opens one event stream once (EventSource sends no
 * headers, so it goes in the query); a session is the page's cookie. Each is 192 random bits, kept in memory as a SHA-256 only: a restart
 * forgets them all. A key has at most `per_key` of them; one more takes the place of its oldest.
 *
 * Thread: loop. Times are monotonic µs. */
#pragma once
#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "server/access/keyring.h"

enum { PASS_TEXT_SIZE = 49 };      /* 48 hex digits and a NUL */

struct passes {
    struct list queue;             /* all live as long, so the oldest ends first */
    struct map by_digest;          /* first 8 bytes of the digest → struct pass */
    int64_t ttl_us;
    size_t per_key;
};

struct pass {
    struct list link;
    struct sha digest;
    struct key *key;
    int64_t until_us;
    char *jobs;                    /* tickets: the ids it opens, separated by spaces; NULL = not bound */
};

void passes_init(struct passes *passes, int64_t ttl_us, size_t per_key);
void passes_done(struct passes *passes);
size_t passes_count(const struct passes *passes);
/* A new one; its text goes to the client and nowhere else. `jobs` may be empty. */
void pass_issue(struct passes *passes, struct key *key, struct bytes jobs, int64_t now_us, char ret[PASS_TEXT_SIZE]);
/* The pass that this text is, if it is good still and its key lives; borrowed until the next call here. */
struct pass *pass_find(struct passes *passes, struct bytes text, int64_t now_us);
void pass_end(struct passes *passes, struct pass *pass);
bool pass_opens(const struct pass *pass, struct bytes job);
