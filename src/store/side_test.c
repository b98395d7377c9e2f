/* Results by key and cursors of outward readers, over both logs. */
#include "store/asks_test.h"

#include <unistd.h>

/* ---- results ---- */

static struct got {
    int calls;
    size_t count;
    char values[8][40];            /* "" = none */
} results;

static void came(void *data, const struct bytes *values, size_t count)
{
    results.calls++;
    results.count = count;
    for (size_t i = 0; i < count && i < 8; i++)
        snprintf(results.values[i], sizeof results.values[i], "%.*s", (int)values[i].count, values[i].at ? values[i].at : "");
}

static struct sha key_of(int number)
{
    char text[20];
    snprintf(text, sizeof text, "key %d", number);
    return sha_of(bytes_of(text));
}

static void put(int key, const char *value, int64_t ttl_us)
{
    struct sha sha = key_of(key);
    store_cache_put(bench.store, &sha, bytes_of(value), ttl_us);
}

static void cache_get(const int *keys, size_t count)
{
    struct sha shas[LIMIT_CACHE_KEYS];
    for (size_t i = 0; i < count; i++)
        shas[i] = key_of(keys[i]);
    results.calls = 0;
    store_cache_get(bench.store, shas, count, came, NULL);
    while (!results.calls)
        turn();
}

static const char *value_of(int key)
{
    cache_get(&key, 1);
    return results.values[0];
}

ON_BOTH(a_result_is_found_at_once_and_behind_a_restart_until_it_expires)
{
    put(1, "{\"one\":1}", 10 * SECOND);
    put(2, "2", 60 * SECOND);
    cache_get((int[]){2, 3, 1}, 3);
    CHECK_INT(results.count, 3);
    CHECK_TEXT(results.values[0], "2");
    CHECK_TEXT(results.values[1], "");
    CHECK_TEXT(results.values[2], "{\"one\":1}");
    put(2, "two", 60 * SECOND);
    CHECK_TEXT(value_of(2), "two");
    close_and_boot();
    put(3, "3", 60 * SECOND);
    cache_get((int[]){2, 3, 1}, 3);
    CHECK_TEXT(results.values[0], "two");
    CHECK_TEXT(results.values[1], "3");
    CHECK_TEXT(results.values[2], "{\"one\":1}");
    pass(10 * SECOND);
    CHECK_TEXT(value_of(1), "");
    CHECK_TEXT(value_of(2), "two");
    close_and_boot();
    pass(60 * SECOND);
    cache_get((int[]){1, 2, 3}, 3);
    for (int i = 0; i < 3; i++)
        CHECK_TEXT(results.values[i], "");
}

ON_BOTH(an_empty_result_a_too_large_one_and_one_without_time)
{
    char *large MEM_OWNED = mem_new(LIMIT_BODY_BYTES + 2);
    memset(large, '1', LIMIT_BODY_BYTES + 1);
    put(1, large, SECOND);
    put(2, "2", 0);
    put(3, "3", INT64_MAX);
    large[LIMIT_BODY_BYTES] = 0;
    put(4, large, SECOND);
    for (int i = 0; i < 2; i++) {
        CHECK_TEXT(value_of(1), "");
        CHECK_TEXT(value_of(2), "");
        CHECK_TEXT(value_of(3), "3");
        CHECK_INT(strlen(value_of(4)), sizeof results.values[0] - 1);
        bench.wall_us -= SECOND;           /* the next opening is a second later */
        close_and_boot();
    }
}

TEST(a_result_that_was_not_durable_is_gone_with_the_power)
{
    begin_on(false);
    put(1, "1", 60 * SECOND);
    sync_all();
    put(2, "2", 60 * SECOND);
    CHECK_TEXT(value_of(2), "2");
    power_cut();
    CHECK_TEXT(value_of(1), "1");
    end_on();
    begin_on(false);
    put(1, "1", 60 * SECOND);
    power_cut();
    CHECK_TEXT(value_of(1), "");
    end_on();
}

static int64_t rows_of(const char *table)
{
    char query[80];
    snprintf(query, sizeof query, "SELECT count(*) FROM %s", table);
    return desk_query(&desk, query);
}

static void wait_for_rows(const char *table, int64_t count)
{
    int tries = 0;
    while (rows_of(table) != count && ++tries < 2000)
        usleep(5000);              /* the log thread tells nobody when it removes a result */
    CHECK_INT(rows_of(table), count);
}

TEST(pruning_removes_what_has_expired)
{
    begin_on(true);
    for (int i = 0; i < 2500; i++)
        put(i, "1", i < 2400 ? SECOND : 1000 * SECOND);
    wait_for_rows("cache", 2500);
    pass(2 * SECOND);
    store_prune(bench.store, 0);
    wait_for_rows("cache", 100);
    CHECK_TEXT(value_of(2450), "1");
    end_on();
}

TEST_SLOW(beyond_the_bound_those_that_expire_first_go_first)
{
    char value[1001];
    memset(value, '7', 1000);
    value[1000] = 0;
    begin_on(true);
    bench.log->cache_max = 1600 * (1000 + LIMIT_CACHE_ROW_BYTES);
    for (int i = 0; i < 1700; i++)
        put(i, value, (5000 - i) * SECOND);
    wait_for_rows("cache", 1500);  /* fifteen sixteenths of the bound */
    bench.wall_us -= SECOND;
    close_and_boot();
    CHECK_INT(strlen(value_of(0)), sizeof results.values[0] - 1);
    CHECK_INT(strlen(value_of(1499)), sizeof results.values[0] - 1);
    CHECK_TEXT(value_of(1500), "");
    end_on();
}

TEST(beyond_the_bound_memory_does_the_same)
{
    begin_on(false);
    bench.log->cache_max = 3 * (1 + LIMIT_CACHE_ROW_BYTES);
    for (int i = 0; i < 5; i++)
        put(i, "1", (60 - i) * SECOND);
    sync_all();
    close_and_boot();
    cache_get((int[]){0, 1, 2, 3, 4}, 5);
    CHECK(*results.values[0] && *results.values[1] && *results.values[2] && !*results.values[3] && !*results.values[4]);
    end_on();
}

TEST(results_that_the_disk_does_not_take_are_dropped)
{
    char *large MEM_OWNED = mem_new(LIMIT_BODY_BYTES + 1);
    memset(large, '1', LIMIT_BODY_BYTES);
    begin_on(false);
    memory_full(bench.log, true);
    fprintf(stderr, "(a warning follows, as it should) ");
    for (int i = 0; i < 2 * LIMIT_CACHE_QUEUED_BYTES / LIMIT_BODY_BYTES; i++)
        put(i, large, 60 * SECOND);
    memory_full(bench.log, false);
    sync_all();
    bench.wall_us -= SECOND;
    close_and_boot();
    CHECK(*value_of(0));
    CHECK(!*value_of(2 * LIMIT_CACHE_QUEUED_BYTES / LIMIT_BODY_BYTES - 1));
    end_on();
}

TEST(whoever_dropped_his_question_is_not_answered)
{
    struct sha key = key_of(1);
    begin_on(false);
    results.calls = 0;
    store_cache_get(bench.store, &key, 1, came, "me");
    store_drop_asks(bench.store, "you");
    memory_pump(bench.log);
    CHECK_INT(results.calls, 1);
    char me;
    store_cache_get(bench.store, &key, 1, came, &me);
    store_drop_asks(bench.store, &me);
    memory_pump(bench.log);
    CHECK_INT(results.calls, 1);
    store_cache_get(bench.store, &key, 1, came, &me);     /* and the store goes with an open question */
    end_on();
    CHECK_INT(results.calls, 1);
}

/* ---- cursors ---- */

static struct told_rows {
    int count;
    int64_t job;
    uint64_t seq;
} rows;

static void each_row(void *data, int64_t job, uint64_t seq)
{
    rows = (struct told_rows){rows.count + 1, job, seq};
}

static int readers(const char *name)
{
    rows = (struct told_rows){0};
    store_readers(bench.store, name, each_row, NULL);
    return rows.count;
}

static struct live *job_read_by(const char *const *names, size_t count)
{
    struct live *live = store_create(bench.store, &(struct store_job){.owner = BYTES("me"), .pipeline = bench.one, .in_flight = 1,
                                     .readers = names, .readers_count = count});
    add(live, 1);
    store_seal(bench.store, live);
    return live;
}

static const char *const both[] = {"webhook", "mirror"};

ON_BOTH(cursors_come_with_their_job_and_behind_a_restart)
{
    int64_t number = live_job(job_read_by(both, 2))->job;
    job("me", 1, 1);
    settle();
    CHECK_INT(readers("webhook"), 0);      /* those of the opening, it is said */
    close_and_boot();
    CHECK_INT(readers("other"), 0);
    CHECK_INT(readers("mirror"), 1);
    CHECK(rows.job == number && rows.seq == 0);
    CHECK_INT(readers("webhook"), 1);
    store_reader_set(bench.store, "webhook", number, 2);
    store_reader_set(bench.store, "webhook", number, 3);
    store_reader_drop(bench.store, "mirror", number);
    store_reader_set(bench.store, "mirror", number + 1000, 3);     /* no such job */
    close_and_boot();
    CHECK_INT(readers("mirror"), 0);
    CHECK_INT(readers("webhook"), 1);
    CHECK(rows.job == number && rows.seq == 3);
}

TEST(a_cursor_is_there_exactly_if_its_job_is)
{
    begin_on(false);
    job_read_by(both, 1);
    power_cut();
    CHECK_INT(readers("webhook"), 0);
    job_read_by(both, 1);
    memory_sync(bench.log, 1);     /* job.created */
    power_cut();
    CHECK_INT(readers("webhook"), 1);
    CHECK(rows.seq == 0);
    end_on();
}

static void settle_for_pruning(void)
{
    if (on_disk)
        usleep(2000);
    else
        sync_all();
    pass(1);                       /* what was read back leaves memory */
}

ON_BOTH(a_job_stays_while_a_reader_is_behind_of_it)
{
    char id[40];
    struct live *live = job_read_by(both, 2);
    snprintf(id, sizeof id, "%s", live_job(live)->id);
    int64_t number = live_job(live)->job;
    settle();
    end_all();
    uint64_t last = live_job(live)->seq;
    for (int i = 0; i < 3; i++) {
        char plain[40];
        snprintf(plain, sizeof plain, "%s", live_job(job("me", 1, 1))->id);
        settle();
        end_all();
        pass(2000 * SECOND);
        close_and_boot();
        store_prune(bench.store, bench.wall_us - SECOND);
        while (is_found(plain))    /* it has the higher number: the other one was looked at before */
            settle_for_pruning();
        CHECK_INT(is_found(id), i < 2);
        if (i == 0)
            store_reader_drop(bench.store, "webhook", number);
        if (i == 1)
            store_reader_set(bench.store, "mirror", number, last);
    }
    close_and_boot();
    CHECK_INT(readers("mirror"), 0);
    if (on_disk)
        CHECK_INT(desk_query(&desk, "SELECT count(*) FROM reader"), 0);
}

static int deleted;

static void was_deleted(void *data)
{
    deleted++;
}

ON_BOTH(a_job_that_is_deleted_takes_its_cursors_along)
{
    struct live *live = job_read_by(both, 2);
    int64_t number = live_job(live)->job;
    settle();
    end_all();
    deleted = 0;
    CHECK_INT(store_delete(bench.store, live, was_deleted, NULL), 0);
    settle_until(&deleted, 1);
    store_reader_set(bench.store, "webhook", number, 1);
    close_and_boot();
    CHECK_INT(readers("mirror") + readers("webhook"), 0);
    job("me", 1, 1);
    settle();
    if (!on_disk)
        return;
    store_prune(bench.store, 0);
    wait_for_rows("reader", 0);
}

/* ---- found by number ---- */

ON_BOTH(a_job_is_found_by_its_number)
{
    char id[40];
    struct live *live = job("me", 1, 1);
    int64_t number = live_job(live)->job;
    snprintf(id, sizeof id, "%s", live_job(live)->id);
    settle();
    end_all();
    settle();
    pass(2 * SECOND);
    close_and_boot();
    CHECK(!store_get_number(bench.store, number));
    found_count = 0;
    store_find_number(bench.store, number, found, NULL);
    settle_until(&found_count, 1);
    CHECK_TEXT(found_id, id);
    store_find_number(bench.store, number + 1, found, NULL);
    settle_until(&found_count, 2);
    CHECK_TEXT(found_id, "");
}
