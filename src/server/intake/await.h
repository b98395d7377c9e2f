/* A request that is answered with a job's document: at once, or when the job has ended (`Prefer: wait`). Either way only when what the
 * document says is durable. Thread: loop. */
#pragma once
#include "server/service_own.h"

struct await_want {
    int status;               /* of an answer that tells a job under way: 202, 200 */
    int64_t wait_us;          /* wait so long for the end, and answer it with 200; 0 = do not wait */
    bool cancel_on_leave;     /* the job ends when this client leaves while it waits */
};

/* Takes the request over: its user and on_close. Headers may have been added before. */
void await_begin(struct service *service, struct http_request *request, struct live *live, const struct await_want *want);
