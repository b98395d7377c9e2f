/* Webhooks: the receiver that a job names is told of its end, and of results as they come, by signed POSTs (Standard Webhooks). A job asks
 * for it with {"url":"https://…","events":["complete","result","failed"]}; without "events" it is its end.
 *
 *     webhook-id: JOB-SEQ              the same for each try and each replay: receivers know by it what they have had
 *     webhook-timestamp: 1790000000    of this try, unix seconds
 *     webhook-signature: v1,BASE64     HMAC-SHA256(secret, "id.timestamp.body"), one for each secret, with spaces between them
 *     {"type":"job.completed","timestamp":"2026-…Z","data":{…}}
 *
 * type: job.completed, job.failed, job.cancelled with the job's document; item.completed, item.failed with what the stream of the job says in
 * the data of that event. They go out in order, one behind the other; an answer of 2xx is arrival, within 15 s. 410 ends it. Anything else is
 * tried again after 5 s, 5 min, 30 min, 2 h … for three days, longer where Retry-After says so, then given up with a line. What was not
 * seen to arrive is sent again behind a restart, at once. A receiver gets at most LIMIT_WEBHOOKS_OF_ONE at a time; other jobs that have something
 * for it wait in line and keep nobody else's place.
 *
 * Addresses come from users: calls are guarded (os/fetch.h), and no redirect is followed.
 *
 * Thread: loop. */
#pragma once
#include "os/fetch.h"
#include "readers/outward.h"

struct webhooks;

struct webhook_options {
    struct fetch *fetch;           /* borrowed */
    const char *secret;            /* "whsec_BASE64", several with spaces between them, the newest first; NULL = none: nothing is sent, what
                                      waits is given up */
    void (*tell)(void *data, const char *sentence);    /* what was given up and why; NULL = nobody */
    void *data;
};

/* What a job says of its webhook. 0, or -1 and a problem: no object, no http or https address, longer than LIMIT_WEBHOOK_URL_BYTES, an event
 * that is none. Any thread. */
int webhook_check(struct bytes json, struct problem *problem);

/* 0, or -1 and a problem: a secret that is none. It is not in the sentence. The world is borrowed. */
int webhooks_open(const struct cursor_world *world, const struct webhook_options *options, struct webhooks **ret, struct problem *problem);
void webhooks_close(struct webhooks *webhooks);        /* before the fetch and the store; NULL does nothing */

bool webhooks_can(const struct webhooks *webhooks);    /* there is a secret to sign with; NULL: no */
/* Send it all again, with the ids it had; what waits for another try goes now. 0; 1 = the job has no webhook, or nothing can be signed. */
int webhooks_replay(struct webhooks *webhooks, struct live *live);

struct webhook_numbers {
    uint64_t arrived, failed, given_up;    /* POSTs, tries, jobs since the opening */
    struct outward_numbers jobs;
} webhooks_numbers(const struct webhooks *webhooks);

/* For tests: the value of webhook-signature. False when a secret is none. */
bool webhook_sign(const char *secrets, struct bytes id, struct bytes timestamp, struct bytes body, struct buf *ret);
