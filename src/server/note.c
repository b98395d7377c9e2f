#include "server/note.h"

#include "base/mem.h"
#include "server/trace.h"

#include <stdlib.h>

static void copy(char *ret, size_t room, struct bytes text)
{
    size_t count = text.count < room - 1 ? text.count : room - 1;
    if (count)      /* what is not there may be NULL, which memcpy does not take */
        memcpy(ret, text.at, count);
    ret[count] = 0;
}

struct note *note_come(const struct journal *journal, struct http_request *request)
{
    if (!request->note && journal_is_json(journal))
        request->note = MEM_NEW(struct note);
    return request->note;
}

void note_about(struct http_request *request, const struct job *job)
{
    struct note *note = request->note;
    if (note)
        copy(note->job, sizeof note->job, bytes_of(job->id));
}

void note_begun(struct note *note, const struct http_request *request, int status)
{
    struct bytes trace = trace_of(request);
    note->method = request->method;
    note->status = status;
    struct bytes hooks = BYTES("/v1/hooks/");          /* what follows opens something */
    copy(note->path, sizeof note->path, bytes_start(request->path, hooks) ? hooks : request->path);
    copy(note->trace, sizeof note->trace, trace.count ? (struct bytes){trace.at + 3, NOTE_TRACE_BYTES} : trace);
    if (!note->job[0] && request->params_count && bytes_start(request->path, BYTES("/v1/jobs/")))
        copy(note->job, sizeof note->job, request->params[0]);
    http_peer(request, note->peer);
}

void note_done(struct http_request *request)
{
    free(request->note);
    request->note = NULL;
}
