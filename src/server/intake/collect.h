/* Answers that come when the job has ended: the blocking endpoints. A cursor goes through the same log as every stream; what it gathers
 * is bounded by LIMIT_HTTP_ANSWER_BYTES. Thread: loop. */
#pragma once
#include "server/service_own.h"

enum collect_what {
    COLLECT_ONE,      /* the result of item 0 alone, or its error */
    COLLECT_BATCH,    /* {total, successful, failed, average_accuracy, processing_time_seconds, results[], errors[]} */
};

/* Takes the request over: its user and on_close. Headers may have been added before. */
void collect_begin(struct service *service, struct http_request *request, struct live *live, enum collect_what what, bool cancel_on_leave);
