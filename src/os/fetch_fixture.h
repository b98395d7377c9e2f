/* Fixtures: answers kept in a folder, so that a pipeline can be run without the network. One file of readable JSON a call:
 *
 *   {"request":{"method":"POST","url":"https://…?token=-"},
 *    "response":{"status":200,"type":"application/json","took_us":81234,"headers":{"Retry-After":"10"},"body":{…}}}
 *
 * "body" is JSON; instead of it may stand "text", a string, or "body_file", the name of a file beside. Request headers are never
 * written, and query values that look secret are masked. A call is known by its method, its masked address and the hash of its
 * body; the n-th call that is the same gets the n-th file, and the last one is given again and again.
 *
 * Thread: lanes (locked inside); open and close: loop. */
#pragma once
#include "base/problem.h"

#include <stdint.h>

struct fixtures;
struct fetch_call;

/* The folder is made when `record`. 0, or -1 and a problem. */
int fixtures_open(const char *dir, bool record, struct fixtures **ret, struct problem *problem);
void fixtures_close(struct fixtures *fixtures);

/* Fills call->own and call->answer.end from the file of this call; *ret_delay_us: when to answer, a tenth of what was recorded, at most a
 * second. 0, or -1 and a problem that names the file that is missing or bad. */
int fixtures_play(struct fixtures *fixtures, struct fetch_call *call, int64_t *ret_delay_us, struct problem *problem);

/* Keeps the answer of a call. 0, or -1 and a problem. */
int fixtures_keep(struct fixtures *fixtures, const struct fetch_call *call, struct problem *problem);
