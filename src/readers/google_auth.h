/* Access tokens for Google's services: by a service account's file (a signed JWT is exchanged), or from the metadata server of the machine
 * that the program runs on. A token is kept, and fetched anew when 80 % of its time are over.
 *
 * No token and no key is ever in a sentence. Thread: loop. */
#pragma once
#include "base/list.h"
#include "base/problem.h"
#include "os/fetch.h"

struct google_auth;

/* credentials: path of a service account's JSON file; NULL = GOOGLE_APPLICATION_CREDENTIALS when it is set, else the metadata server
 * (GCE_METADATA_HOST, or its usual name). scope: what the token is for. 0, or -1 and a problem (the file). */
int google_auth_open(struct loop *loop, struct fetch *fetch, const char *credentials, const char *scope, struct google_auth **ret,
                     struct problem *problem);
void google_auth_close(struct google_auth *auth);             /* whoever waits is told no more; NULL does nothing */
const char *google_auth_project(const struct google_auth *auth);      /* of the file; NULL = not said */

/* `token` NULL: there is none, as the problem says; trying again may help. Never called inside google_auth_get. */
typedef void google_auth_fn(void *data, const char *token, const struct problem *problem);
struct google_auth_wait {             /* zeroed = not waiting; a field of whoever asks */
    struct list link;
    google_auth_fn *got;
    void *data;
};
void google_auth_get(struct google_auth *auth, struct google_auth_wait *wait, google_auth_fn *got, void *data);
void google_auth_unwait(struct google_auth_wait *wait);       /* harmless when it does not wait */
void google_auth_refused(struct google_auth *auth);           /* the service did not take the token: fetch another */

/* The signed JWT that is exchanged for a token, into `ret`: for tests too. 0, or -1 and a problem. */
int google_auth_jwt(const char *email, const char *private_key, const char *key_id, const char *scope, const char *audience, int64_t now_s,
                    struct buf *ret, struct problem *problem);
