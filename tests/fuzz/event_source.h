/* An EventSource as the HTML standard has it (§9.2.6), written from the paper alone: what a browser makes of the bytes of a stream. */
#pragma once
#include "base/buf.h"

struct event_source {
    struct buf type, data, id;      /* of the event in the making; id: the last one that was set, kept over events */
    long events;                    /* dispatched */
    struct buf all;                 /* their data, a line each */
};

/* A new one, in memory that is kept over the whole run. */
static inline struct event_source *event_source_new(void)
{
    static struct event_source source;
    if (!source.all.max) {
        buf_init(&source.type, 1 << 20);
        buf_init(&source.data, 4 << 20);
        buf_init(&source.id, 1 << 20);
        buf_init(&source.all, 8 << 20);
    }
    buf_clear(&source.type);
    buf_clear(&source.data);
    buf_clear(&source.id);
    buf_clear(&source.all);
    source.events = 0;
    return &source;
}

static inline void event_source_line(struct event_source *source, struct bytes line)
{
    if (!line.count) {
        if (source->data.count) {
            source->events++;
            buf_put(&source->all, buf_bytes(&source->data));     /* a LF stands behind each line of it */
        }
        buf_clear(&source->data);
        buf_clear(&source->type);
        return;
    }
    struct bytes field = bytes_cut(&line, ':');
    if (line.count && line.at[0] == ' ')
        line = (struct bytes){line.at + 1, line.count - 1};
    if (bytes_equal(field, BYTES("event"))) {
        buf_clear(&source->type);
        buf_put(&source->type, line);
    } else if (bytes_equal(field, BYTES("data"))) {
        buf_put(&source->data, line);
        buf_byte(&source->data, '\n');
    } else if (bytes_equal(field, BYTES("id")) && !memchr(line.at ? line.at : "", 0, line.count)) {
        buf_clear(&source->id);
        buf_put(&source->id, line);
    }
}

/* CR, LF and CR LF end a line. */
static inline void event_source_feed(struct event_source *source, struct bytes text)
{
    size_t from = 0;
    for (size_t i = 0; i < text.count; i++) {
        if (text.at[i] != '\r' && text.at[i] != '\n')
            continue;
        event_source_line(source, (struct bytes){text.at + from, i - from});
        if (text.at[i] == '\r' && i + 1 < text.count && text.at[i + 1] == '\n')
            i++;
        from = i + 1;
    }
}
