#include "server/stream/whence.h"

#include "http/query.h"
#include "server/ask.h"

bool whence_parse(struct bytes text, struct stream_want *ret)
{
    if (!text.count)
        ret->place = STREAM_START;
    else if (bytes_equal(text, BYTES("end")))
        ret->place = STREAM_TIP;
    else if (bytes_to_u64(text, &ret->seq))
        ret->place = STREAM_AFTER;
    else if (frame_id_parse(text, &ret->epoch, &ret->seq))
        ret->place = STREAM_RESUME;
    else
        return false;
    return true;
}

void whence_last(struct bytes id, struct stream_want *ret)
{
    ret->place = frame_id_parse(id, &ret->epoch, &ret->seq) ? STREAM_RESUME : STREAM_GAP;
}

bool whence_ask(struct http_request *request, struct stream_want *ret)
{
    char text[FRAME_ID_SIZE];
    struct bytes last = http_head_get(request->head, "Last-Event-ID");
    if (!last.count && !query_text(request->query, "last_event_id", text, sizeof text))
        last = bytes_of(text);
    if (last.count) {
        whence_last(last, ret);
        return true;
    }
    int answer = query_text(request->query, "after", text, sizeof text);
    if (answer > 0 || (!answer && whence_parse(bytes_of(text), ret)))
        return true;
    return ask_refuse(request, "after", text, WHENCE_WORDS);
}

void whence_place(const struct stream_want *want, struct cursor *cursor)
{
    switch (want->place) {
    case STREAM_START: break;
    case STREAM_AFTER: cursor_after(cursor, want->seq); break;
    case STREAM_TIP: cursor_tip(cursor); break;
    case STREAM_RESUME: cursor_resume(cursor, want->epoch, want->seq); break;
    case STREAM_GAP: cursor_gap(cursor); break;
    }
}
