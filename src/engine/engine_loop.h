/* The engine in its real world: os/loop gives it time and turns, the blob store its files. */
#pragma once
#include "engine/engine.h"
#include "os/loop.h"
#include "store/blob.h"

struct engine_loop;

/* A store world over the loop, for store_new(). */
struct store_world engine_loop_store_world(struct loop *loop);

/* The engine over an opened store. Its crews (one a room; NULL = none) and blobs are borrowed until engine_loop_free, which frees the engine too. */
struct engine_loop *engine_loop_new(struct loop *loop, struct store *store, struct crew *const crews[ROOM_COUNT], struct blobs *blobs,
                                    int64_t retention_us);
struct engine *engine_loop_engine(struct engine_loop *self);
void engine_loop_free(struct engine_loop *self);
