/* Events to bytes and back: the body of a row is one line of JSON (EVENTS.md §3 names its fields). */
#pragma once
#include "core/event.h"
#include "core/row.h"
#include "base/buf.h"
#include "base/problem.h"

/* The event as a row; refs 1. NULL when its body would pass `body_max` bytes: the caller must have put large values into
 * blobs before. Text fields are JSON-escaped, JSON fields are spliced as they are (they were checked when they came in). */
struct row *codec_encode(const struct event *event, size_t body_max);

/* What decoding needs to keep alive: the parsed tree and the arrays the event points into. */
struct codec_arena {
    struct json_object *tree;
    struct item_spec *items;
    struct item_range *ranges;
};

/* Reads a row back. 0, or -1 with a problem naming pos and field. The views are good until codec_done(arena). */
int codec_decode(const struct row *row, struct event *ret, struct codec_arena *ret_arena, struct problem *problem);
void codec_done(struct codec_arena *arena);

/* One item of an items.added row by itself. `codec_places` answers where in the row's body each of its `count` items begins, and behind
 * the last one where it ends: count + 1 numbers, owned by the caller; NULL when the row has not so many. `codec_item` reads the text
 * between two of them, its views good as long as row and arena; 0, or -1 when it is damaged. */
uint32_t *codec_places(const struct row *row, size_t count);
int codec_item(struct bytes text, struct item_spec *ret, struct codec_arena *ret_arena);
/* The member "counts", as in every event: pending, processing, completed, failed, skipped. */
void codec_put_counts(struct buf *buf, const struct counts *counts);
#define CODEC_OWNED __attribute__((cleanup(codec_done)))
