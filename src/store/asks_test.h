/* For the tests of what is asked of jobs: the machine of store_test.h over either log, and how it is asked. */
#pragma once
#include "store/log_desk.h"
#include "store/store_test.h"

/* ---- a machine with either log ---- */

static struct desk desk;           /* the mailbox and the directory of the log on disk */
static bool on_disk;

static inline void boot_disk(void)
{
    struct store_world world = {.now_us = now_us, .wall_us = wall_us, .random = chance};
    struct problem problem = {0};
    bench.store = store_new(&world);
    int answer = sqlite_open(desk.dir, desk_door(&desk), store_opening(bench.store), NULL, &bench.log, &problem);
    test_note("%s", problem.text);
    CHECK_INT(answer, 0);
    CHECK_INT(store_start(bench.store, bench.log, &problem), 0);
    store_set_client(bench.store, &(struct store_client){.due = due, .ended = ended});
}

static inline void begin_on(bool disk)
{
    on_disk = disk;
    begin();
    if (!disk)
        return;
    store_close(bench.store);
    desk_init(&desk);
    boot_disk();
}

static inline void end_on(void)
{
    end();
    if (on_disk)
        desk_done(&desk);
}

static inline void turn(void)
{
    if (on_disk)
        desk_turn(&desk);
    else
        sync_all();
}

/* Until all that was handed over is durable, and *answered if one waits for an answer. */
static inline void settle_until(const int *answered, int count)
{
    while (store_durable(bench.store) < store_pos(bench.store) || (answered && *answered < count))
        turn();
}

static inline void settle(void)
{
    settle_until(NULL, 0);
}

static inline void close_and_boot(void)
{
    store_set_client(bench.store, &(struct store_client){0});
    store_close(bench.store);
    bench.wall_us += SECOND;
    if (on_disk)
        boot_disk();
    else
        boot();
}

#define ON_BOTH(name) \
    static void name(void); \
    TEST(name##_in_memory) \
    { \
        begin_on(false); \
        name(); \
        end_on(); \
    } \
    TEST(name##_on_disk) \
    { \
        begin_on(true); \
        name(); \
        end_on(); \
    } \
    static void name(void)

static inline void end_all(void)
{
    while (store_numbers(bench.store).jobs_open) {
        struct token token = claim();
        if (token.attempt)
            finish(token, token.item % 3 == 1 ? VERDICT_FAIL : VERDICT_DONE);
        else
            turn();                    /* its name is to be read first */
    }
}

/* ---- found by id ---- */

static char found_id[40];
static int found_count;

static inline void found(void *data, struct live *live)
{
    found_count++;
    snprintf(found_id, sizeof found_id, "%s", live ? live_job(live)->id : "");
}

static inline bool is_found(const char *id)
{
    found_count = 0;
    store_find(bench.store, bytes_of(id), found, NULL);
    settle_until(&found_count, 1);
    return !strcmp(found_id, id);
}

/* ---- lists ---- */

static struct listed {
    int count_calls, error;
    size_t count;
    bool more;
    char ids[8][40];
    int64_t numbers[8];
} listed;

static inline void list_came(void *data, struct live **lives, size_t count, bool more, int error)
{
    listed = (struct listed){.count_calls = 1, .error = error, .count = count, .more = more};
    for (size_t i = 0; i < count && i < 8; i++) {
        snprintf(listed.ids[i], sizeof listed.ids[i], "%s", live_job(lives[i])->id);
        listed.numbers[i] = live_job(lives[i])->job;
    }
}

static inline void list(struct store_list_want want)
{
    listed.count_calls = 0;
    store_list(bench.store, &want, list_came, NULL);
    settle_until(&listed.count_calls, 1);
    CHECK_INT(listed.error, 0);
}

/* ---- items ---- */

static struct items_told {
    int calls, error;
    size_t count;
    int64_t first, last;
    int states[8];                 /* how many of each */
    int words, wrong;
} told;

static inline void items_came(void *data, const struct store_item *items, size_t count, int error)
{
    told = (struct items_told){.calls = 1, .error = error, .count = count, .first = count ? items[0].index : -1,
                               .last = count ? items[count - 1].index : -1};
    for (size_t i = 0; i < count; i++) {
        const struct store_item *item = &items[i];
        told.states[item->state.state]++;
        told.words += item->word != NULL;
        if (!data)
            continue;
        enum event_kind kind = item->state.state == ITEM_DONE ? EVENT_ITEM_DONE : EVENT_ITEM_FAILED;
        told.wrong += !bytes_equal(item->spec.name, BYTES("a.jpg")) || !bytes_equal(item->spec.value, BYTES("{\"in\":7}"));
        told.wrong += item->word && (item->word->kind != kind || item->word->item != item->index);
    }
}

static inline void items(struct live *live, const int64_t *indexes, size_t count)
{
    told.calls = 0;
    live_ref(live);
    store_items(bench.store, live, indexes, count, items_came, "specs");
    settle_until(&told.calls, 1);
    live_unref(live);
}

static inline void states(struct live *live, int64_t from)
{
    told.calls = 0;
    live_ref(live);
    store_states(bench.store, live, from, items_came, NULL);
    settle_until(&told.calls, 1);
    live_unref(live);
}

static struct live *got;

static inline void keep_live(void *data, struct live *live)
{
    got = live ? live_ref(live) : NULL;
    found_count++;
}

static inline struct live *get(const char *id)
{
    found_count = 0;
    store_find(bench.store, bytes_of(id), keep_live, NULL);
    settle_until(&found_count, 1);
    return got;
}

/* Everything of the job can be read. */
static inline bool is_whole(const char *id)
{
    struct live *live = get(id);
    if (!live)
        return false;
    int64_t all[] = {0, 1, 2, 3};
    items(live, all, live_job(live)->total < 4 ? (size_t)live_job(live)->total : 4);
    live_unref(live);
    return !told.error && told.count && told.words == (int)told.count && !told.wrong;
}
