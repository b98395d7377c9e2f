/* What must hold of a fold and of a row at any time, computed once more by counting. */
#pragma once
#include "event_source.h"
#include "fuzz.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "core/codec.h"
#include "core/document.h"
#include "core/plan.h"
#include "core/snapshot.h"
#include "readers/frame.h"

#include <stdio.h>

static inline void check_counts(const struct job *job)
{
    int64_t states[8] = {0}, holding = 0, first = job->total;
    for (int64_t n = 0; job->items && n < job->total; n++) {
        states[job->items[n].state]++;
        holding += item_holds_slot(job, &job->items[n]);
        if (job->items[n].state == ITEM_PENDING && first > n)
            first = n;
    }
    struct counts c = job->counts;
    fuzz_must(c.pending + c.processing + c.completed + c.failed + c.skipped == job->total, "counts add up to the total");
    if (job->total && !job->items)
        return;
    fuzz_must(c.pending == states[ITEM_PENDING] && c.completed == states[ITEM_DONE] && c.failed == states[ITEM_FAILED] && c.skipped == states[ITEM_SKIPPED],
              "counts are those of the items");
    fuzz_must(c.processing == states[ITEM_RUNNING] + states[ITEM_WAITING] + states[ITEM_BACKOFF], "the rest is being processed");
    fuzz_must(job->holding == holding, "slots are held by who holds them");
    fuzz_must(job->next <= first, "no pending item lies before the next one");
}

static inline void check_json(struct bytes text, const char *what)
{
    size_t at;
    if (json_grammar(text, JSON_DEPTH_MAX + 8, &at) != JSON_GRAMMAR_GOOD) {
        fprintf(stderr, "%.*s\nat byte %zu: ", BYTES_ARG(text), at);
        fuzz_must(false, what);
    }
}

/* What a row is on the wire: as many events as it says, for whoever reads the stream by the standard, each with JSON on one line, the last with its id. */
static inline void check_frames(const struct frame_header *header, const struct row *row, struct bytes result)
{
    static struct buf text;      /* kept, as the source is */
    char id[FRAME_ID_SIZE];
    if (!text.max)
        buf_init(&text, 4 << 20);
    snprintf(id, sizeof id, "%lld-%llu", (long long)row->epoch, (unsigned long long)row->seq);
    for (int face = FACE_SEED; face <= FACE_JOB; face++) {
        buf_clear(&text);
        struct event_source *source = event_source_new();
        long want = frame_render(header, (enum face)face, row, result, &text);
        fuzz_must(buf_ok(&text), "a frame has room");
        event_source_feed(source, buf_bytes(&text));
        if (source->events != want)
            fprintf(stderr, "%ld events in %.*s\n", source->events, BYTES_ARG(buf_bytes(&text)));
        fuzz_must(source->events == want, "as many events are read as were written");
        fuzz_must(!want || bytes_equal(buf_bytes(&source->id), bytes_of(id)), "the last has the id of its row");
        struct bytes all = buf_bytes(&source->all), rest = buf_bytes(&text);
        struct frame_parts parts;
        for (long i = 0; i < want; i++) {
            struct bytes data = bytes_cut(&all, '\n');
            check_json(data, "the data of an event is JSON, on one line");
            fuzz_must(frame_next(&rest, &parts) && bytes_equal(parts.data, data), "our own reading is the standard's");
        }
        fuzz_must(!all.count && !frame_next(&rest, &parts), "and there is nothing else");
    }
}

static inline void check_document(const struct job *job)
{
    struct buf text BUF_OWNED;
    buf_init(&text, 16 << 20);
    document_job(job, &text);
    check_json(buf_bytes(&text), "a document is JSON");
    fuzz_must(!memchr(text.at, '\n', text.count), "on one line");
}

/* What is decoded and encoded once comes to itself from then on. */
static inline void check_again(const struct row *row, const struct event *event)
{
    struct row *once = codec_encode(event, 4 << 20), *twice;
    struct event again;
    struct codec_arena arena CODEC_OWNED = {0};
    struct problem problem = {0};
    fuzz_must(once, "a decoded event has room");
    check_json(row_body(once), "a body is JSON");
    if (codec_decode(once, &again, &arena, &problem)) {
        fprintf(stderr, "%s: %s\n", once->body, problem.text);
        fuzz_must(false, "what was encoded is decoded");
    }
    twice = codec_encode(&again, 4 << 20);
    if (!twice || !bytes_equal(row_body(once), row_body(twice))) {
        fprintf(stderr, "%s\n%s\n%s\n", row->body, once->body, twice ? twice->body : "");
        fuzz_must(false, "what was encoded comes to itself");
    }
    row_unref(once);
    row_unref(twice);
}

/* The fold as bytes and back. */
static inline void check_snapshot(const struct job *job)
{
    struct buf once BUF_OWNED, twice BUF_OWNED;
    struct problem problem = {0};
    buf_init(&once, 16 << 20);
    buf_init(&twice, 16 << 20);
    if (!job->seq)
        return;
    snapshot_write(job, &once);
    check_json(buf_bytes(&once), "a fold is JSON");
    struct job *back = snapshot_read(buf_bytes(&once), &problem);
    if (!back)
        fprintf(stderr, "%s: %.*s\n", problem.text, BYTES_ARG(buf_bytes(&once)));
    fuzz_must(back, "a fold is read");
    for (int64_t page = 0; back->items && job->items && page < snapshot_pages(job); page++)
        fuzz_must(!snapshot_read_cell(back, page, snapshot_cell(job, page), &problem), "its cells are read");
    snapshot_write(back, &twice);
    if (!bytes_equal(buf_bytes(&once), buf_bytes(&twice)))
        fprintf(stderr, "%.*s\n%.*s\n", BYTES_ARG(buf_bytes(&once)), BYTES_ARG(buf_bytes(&twice)));
    fuzz_must(bytes_equal(buf_bytes(&once), buf_bytes(&twice)), "a fold comes to itself");
    if (back->items && job->items) {
        snapshot_settle(back);
        check_counts(back);
    }
    job_free(back);
}
