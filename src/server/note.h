/* What the journal will say of a request that is gone when it ends: taken down while it lasts, in request->note. Thread: loop. */
#pragma once
#include "core/job.h"
#include "http/http.h"
#include "server/journal.h"

enum { NOTE_PATH_BYTES = 200, NOTE_TRACE_BYTES = 32 };

struct note {
    enum http_method method;
    int status;
    char path[NOTE_PATH_BYTES + 1], trace[NOTE_TRACE_BYTES + 1], job[33], peer[HTTP_PEER_SIZE];
};

/* A request has come; NULL when nothing is taken down. The same note each time. */
struct note *note_come(const struct journal *journal, struct http_request *request);
void note_about(struct http_request *request, const struct job *job);      /* it is about this job */
/* Its answer begins: the last moment at which its head can be read. */
void note_begun(struct note *note, const struct http_request *request, int status);
void note_done(struct http_request *request);
