/* For the tests of the decider: a machine with a store over the log in memory, that can be cut off and booted again. One a file. */
#pragma once
#include "store/store.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/test.h"
#include "store/memory.h"

#include <stdlib.h>

#define SECOND 1000000LL
#define ONE_LEG "{\"name\":\"one\",\"legs\":[{\"stages\":[\"a\"],\"backoff_ms\":[1000,8000]}]}"
#define TWO_LEGS "{\"name\":\"two\",\"legs\":[{\"stages\":[\"a\"]},{\"stages\":[\"b\"]}]}"

/* A machine that can be cut off and booted again. */
static struct bench {
    struct memory_disk *disk;
    struct log *log;
    struct store *store;
    struct pipeline *one, *two;
    int64_t now_us, wall_us;
    int due, ended;
} bench;

static inline int64_t now_us(void *data)
{
    return bench.now_us;
}

static inline int64_t wall_us(void *data)
{
    return bench.wall_us;
}

static inline uint64_t chance(void *data)
{
    return UINT64_MAX / 2;
}

static inline void due(void *data)
{
    bench.due++;
}

static inline void ended(void *data, struct live *live)
{
    bench.ended++;
}

static inline void boot(void)
{
    struct store_world world = {.now_us = now_us, .wall_us = wall_us, .random = chance};
    struct problem problem = {0};
    bench.store = store_new(&world);
    bench.log = memory_open(bench.disk, bench.wall_us / SECOND, store_opening(bench.store));
    int answer = store_start(bench.store, bench.log, &problem);
    test_note("%s", problem.text);
    CHECK_INT(answer, 0);
    store_set_client(bench.store, &(struct store_client){.due = due, .ended = ended});
}

static inline void begin(void)
{
    bench = (struct bench){.now_us = 1000, .wall_us = 1790000000 * SECOND, .disk = memory_disk_new()};
    bench.one = pipeline_parse(BYTES(ONE_LEG), NULL);
    bench.two = pipeline_parse(BYTES(TWO_LEGS), NULL);
    CHECK(bench.one && bench.two);
    boot();
}

static inline void sync_all(void)
{
    while (memory_sync(bench.log, SIZE_MAX) + memory_pump(bench.log))
        ;
}

static inline void power_cut(void)
{
    store_forget(bench.store);
    memory_crash(bench.log);
    bench.wall_us += SECOND;
    boot();
}

static inline void end(void)
{
    store_set_client(bench.store, &(struct store_client){0});
    store_close(bench.store);
    memory_disk_free(bench.disk);
    pipeline_free(bench.one);
    pipeline_free(bench.two);
}

static inline void pass(int64_t us)
{
    bench.now_us += us;
    bench.wall_us += us;
    store_tick(bench.store);
}

static inline struct live *create(const char *owner, const struct pipeline *pipeline, uint32_t in_flight, bool ordered)
{
    struct live *live = store_create(bench.store, &(struct store_job){.owner = bytes_of(owner), .pipeline = pipeline, .in_flight = in_flight,
                                                                      .ordered = ordered});
    CHECK(live);
    return live;
}

static inline void add(struct live *live, size_t count)
{
    struct problem problem = {0};
    struct item_spec *items MEM_OWNED = mem_new(count * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct item_spec){.name = BYTES("a.jpg"), .bytes = 3, .value = BYTES("{\"in\":7}")};
    CHECK_INT(store_add(bench.store, live, items, count, &problem), 0);
}

static inline struct live *job(const char *owner, size_t count, uint32_t in_flight)
{
    struct live *live = create(owner, bench.one, in_flight, false);
    add(live, count);
    store_seal(bench.store, live);
    return live;
}

/* Claims one and lets go of all but its token; attempt 0 when nothing was due. */
static inline struct token claim(void)
{
    struct claim got;
    if (store_claim(bench.store, &got) != STORE_CLAIMED)
        return (struct token){0};
    struct token token = got.token;
    claim_done(&got);
    return token;
}

/* The same behind a restart, when what the item was added with must be read first. */
static inline struct token claim_read(void)
{
    struct token token = claim();
    if (token.attempt)
        return token;
    sync_all();
    return claim();
}

static inline int finish(struct token token, enum verdict verdict)
{
    struct claim next = {0};
    int answer = store_finish(bench.store, token, &(struct outcome){.verdict = verdict, .value = BYTES("{\"x\":1}"), .error = BYTES("no"),
                                                                     .error_type = BYTES("crash")}, &next);
    if (answer == STORE_STEPPED)
        claim_done(&next);
    return answer;
}

static inline struct live *first_live(void)
{
    size_t at = 0;
    return store_next_job(bench.store, &at);
}
