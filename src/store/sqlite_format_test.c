/* A log as the program of format 1 left it: no keys, and folds that say nothing of open jobs; and one of format 2: without the tables beside
 * the log. */
#include "store/asks_test.h"

static const char *const to_format_1[] = {
    "DROP TABLE idem",
    "DROP TABLE reader",
    "DROP TABLE cache",
    "UPDATE job SET fold=CAST(json_remove(CAST(fold AS TEXT), '$.open', '$.fed', '$.bytes', '$.trace') AS BLOB)",
    "PRAGMA user_version=1",
};
static const char *const to_format_2[] = {
    "DROP TABLE reader",
    "DROP TABLE cache",
    "PRAGMA user_version=2",
};
static const char *const without_caches[] = {
    "DELETE FROM place",
    "DELETE FROM cell",
    "UPDATE job SET fold=NULL",
    "UPDATE mark SET flushed_pos=0",
};

static void query_all(const char *const *queries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        desk_query(&desk, queries[i]);
}

static void key_free(void *data, struct live *live, const struct sha *print)
{
    CHECK(!live);
    ++*(int *)data;
}

static void key_names(void *data, struct live *live, const struct sha *print)
{
    CHECK(live);
    ++*(int *)data;
}

static void keys_work(void)
{
    int answered = 0;
    store_find_key(bench.store, BYTES("me"), BYTES("k"), key_free, &answered);
    settle_until(&answered, 1);
    struct live *live = store_create(bench.store, &(struct store_job){.owner = BYTES("me"), .pipeline = bench.one, .key = BYTES("k")});
    store_seal(bench.store, live);
    settle();
    store_find_key(bench.store, BYTES("me"), BYTES("k"), key_names, &answered);
    settle_until(&answered, 2);
}

static void upgrade(int format, bool caches)
{
    char ended_id[40], open_id[40];
    begin_on(true);
    snprintf(ended_id, sizeof ended_id, "%s", live_job(job("me", 4, 4))->id);
    settle();
    end_all();
    struct live *live = job("me", 5, 1);
    snprintf(open_id, sizeof open_id, "%s", live_job(live)->id);
    finish(claim(), VERDICT_DONE);
    store_set_client(bench.store, &(struct store_client){0});
    store_close(bench.store);
    if (format == 1)
        query_all(to_format_1, sizeof to_format_1 / sizeof *to_format_1);
    else
        query_all(to_format_2, sizeof to_format_2 / sizeof *to_format_2);
    if (!caches)
        query_all(without_caches, sizeof without_caches / sizeof *without_caches);
    boot_disk();
    CHECK_INT(desk_query(&desk, "PRAGMA user_version"), 3);
    CHECK(is_whole(ended_id));
    CHECK_INT(store_usage(bench.store, BYTES("me")).jobs, 1);
    CHECK_INT(store_usage(bench.store, BYTES("me")).items, 4);
    live = live_ref(store_get(bench.store, bytes_of(open_id)));
    end_all();
    CHECK_INT(live_job(live)->counts.completed + live_job(live)->counts.failed, 5);
    live_unref(live);
    keys_work();
    end_on();
}

TEST(a_log_of_format_1_is_taken_over_with_its_caches)
{
    upgrade(1, true);
}

TEST(a_log_of_format_1_is_taken_over_without_its_caches)
{
    upgrade(1, false);
}

TEST(a_log_of_format_2_is_taken_over)
{
    upgrade(2, true);
}

/* ---- a log that is refused ---- */

static void open_refused(void)
{
    struct store_world world = {.now_us = now_us, .wall_us = wall_us, .random = chance};
    struct problem problem = {0};
    bench.store = store_new(&world);
    CHECK_INT(sqlite_open(desk.dir, desk_door(&desk), store_opening(bench.store), NULL, &bench.log, &problem), 0);
    CHECK_INT(store_start(bench.store, bench.log, &problem), -1);
    CHECK(strstr(problem.text, "of kind 99, which this program does not know"));
    store_close(bench.store);
}

/* The second time it would be in use by another process if the first had left its threads and its lock behind. */
TEST(a_log_that_is_refused_is_let_go)
{
    begin_on(true);
    job("me", 2, 1);
    settle();
    store_set_client(bench.store, &(struct store_client){0});
    store_close(bench.store);
    desk_query(&desk, "INSERT INTO event SELECT pos+1, job, seq+1, epoch, at, 99, NULL, NULL, body FROM event ORDER BY pos DESC LIMIT 1");
    open_refused();
    open_refused();
    desk_query(&desk, "DELETE FROM event WHERE kind=99");
    boot_disk();
    end_on();
}
