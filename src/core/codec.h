/* Events to bytes and back: the body of a row is one line of JSON (EVENTS.md §3 names its fields). */
#pragma once
#include "core/event.h"
#include "core/row.h"
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
#define CODEC_OWNED __attribute__((cleanup(codec_done)))
