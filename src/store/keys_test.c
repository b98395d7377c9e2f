/* Idempotency keys, retention and deleting, over both logs. */
#include "store/asks_test.h"

/* ---- keys ---- */

static struct key_asked {
    int count, made;
    int64_t ttl_us;
    char id[40];                   /* of the job that was found or made last; "" */
    bool other_print;
} asked;

static struct sha print_of(const char *text)
{
    return sha_of(bytes_of(text));
}

static struct live *create_keyed(const char *owner, const char *key)
{
    struct live *live = store_create(bench.store, &(struct store_job){.owner = bytes_of(owner), .pipeline = bench.one, .in_flight = 1,
                                     .key = bytes_of(key), .print = print_of("body"), .key_ttl_us = asked.ttl_us});
    CHECK(live);
    return live;
}

/* What a post does: take the job that is there, or make one in the same breath. */
static void key_found(void *data, struct live *live, const struct sha *print)
{
    struct sha want = print_of("body");
    asked.count++;
    CHECK(!live == !print);
    if (!live && data) {
        live = create_keyed("me", data);
        add(live, 1);
        store_seal(bench.store, live);
        asked.made++;
    } else if (live) {
        asked.other_print = memcmp(print, &want, sizeof want) != 0;
    }
    snprintf(asked.id, sizeof asked.id, "%s", live ? live_job(live)->id : "");
}

static const char *post(const char *key)
{
    int before = asked.count;
    store_find_key(bench.store, BYTES("me"), bytes_of(key), key_found, (void *)key);
    settle_until(&asked.count, before + 1);
    return asked.id;
}

/* Who has the key, without making a job. */
static const char *look(const char *owner, const char *key)
{
    int before = asked.count;
    store_find_key(bench.store, bytes_of(owner), bytes_of(key), key_found, NULL);
    settle_until(&asked.count, before + 1);
    return asked.id;
}

static void begin_keys(void)
{
    asked = (struct key_asked){.ttl_us = 60 * SECOND};
}

ON_BOTH(equal_posts_at_one_time_make_one_job)
{
    begin_keys();
    for (int i = 0; i < 1000; i++)
        store_find_key(bench.store, BYTES("me"), BYTES("k"), key_found, "k");
    settle_until(&asked.count, 1000);
    CHECK_INT(asked.made, 1);
    CHECK_INT(store_numbers(bench.store).jobs_open, 1);
    char id[40];
    snprintf(id, sizeof id, "%s", asked.id);
    CHECK_TEXT(post("k"), id);
    CHECK(!asked.other_print);
    CHECK(strcmp(post("other"), id));
    CHECK_INT(asked.made, 2);
    CHECK_TEXT(look("you", "k"), "");
}

ON_BOTH(a_key_names_its_job_behind_a_restart_and_when_it_has_ended)
{
    char id[40];
    begin_keys();
    snprintf(id, sizeof id, "%s", post("k"));
    settle();
    close_and_boot();
    CHECK_TEXT(post("k"), id);
    settle();
    end_all();
    pass(2 * SECOND);
    settle();
    close_and_boot();
    CHECK_INT(store_numbers(bench.store).jobs_held, 0);
    CHECK_TEXT(post("k"), id);
    CHECK_INT(asked.made, 1);
}

TEST(a_key_is_there_exactly_if_its_job_is)
{
    begin_on(false);
    begin_keys();
    memory_sync(bench.log, SIZE_MAX);
    store_find_key(bench.store, BYTES("me"), BYTES("k"), key_found, "k");
    memory_pump(bench.log);
    CHECK_INT(asked.made, 1);
    power_cut();                       /* neither job nor key were durable */
    CHECK_INT(memory_key_job(bench.disk, "me", BYTES("k")), 0);
    store_find_key(bench.store, BYTES("me"), BYTES("k"), key_found, "k");
    memory_pump(bench.log);
    CHECK_INT(asked.made, 2);
    memory_sync(bench.log, 1);         /* job.created, not its seal */
    CHECK(memory_key_job(bench.disk, "me", BYTES("k")));
    power_cut();                       /* ended as cut off, not durable yet */
    CHECK(memory_key_job(bench.disk, "me", BYTES("k")));
    store_find_key(bench.store, BYTES("me"), BYTES("k"), key_found, NULL);
    memory_pump(bench.log);
    CHECK_TEXT(asked.id, "");
    CHECK(memory_key_job(bench.disk, "me", BYTES("k")));
    settle();
    CHECK_INT(memory_key_job(bench.disk, "me", BYTES("k")), 0);
    end_on();
}

ON_BOTH(a_key_is_free_again_when_the_upload_was_cut_off)
{
    begin_keys();
    struct live *live = create_keyed("me", "k");
    settle();
    CHECK(*look("me", "k"));
    store_cancel(bench.store, live, BYTES("server"), BYTES("upload was cut off"), BYTES("upload was cut off"));
    CHECK_TEXT(look("me", "k"), "");
    create_keyed("me", "k");           /* before the end of the first is durable */
    settle();
    CHECK(*look("me", "k"));
    close_and_boot();                  /* ends the second as cut off */
    settle();
    CHECK_TEXT(look("me", "k"), "");
    store_seal(bench.store, live = create_keyed("me", "k"));
    settle();
    CHECK_TEXT(look("me", "k"), live_job(live)->id);    /* it ended, but whole */
}

ON_BOTH(an_expired_key_names_nothing_and_one_without_a_time_lives_as_long_as_its_job)
{
    char id[40];
    begin_keys();
    snprintf(id, sizeof id, "%s", post("k"));
    settle();
    pass(59 * SECOND);
    CHECK_TEXT(look("me", "k"), id);
    pass(2 * SECOND);
    CHECK_TEXT(look("me", "k"), "");
    CHECK(strcmp(post("k"), id));
    settle();
    asked.ttl_us = 0;
    snprintf(id, sizeof id, "%s", post("for ever"));
    settle();
    pass(1000000 * SECOND);
    CHECK_TEXT(look("me", "for ever"), id);
}

static int watcher_told;

static void watcher_news(struct watcher *watcher)
{
    watcher_told++;
}

/* The job goes; what ended 10 s ago may. */
static void prune_until_gone(const char *id)
{
    struct watcher watcher = {.news = watcher_news};
    struct live *live = get(id);
    CHECK(live);
    store_watch(live, &watcher);
    live_unref(live);
    watcher_told = 0;
    store_prune(bench.store, bench.wall_us - 10 * SECOND);
    settle_until(&watcher_told, 1);
    store_unwatch(&watcher);
    pass(1);
    CHECK(!is_found(id));
}

ON_BOTH(no_job_goes_before_its_time_or_while_its_key_lives)
{
    char young[40], keyed[40], old[40];
    begin_keys();
    snprintf(keyed, sizeof keyed, "%s", post("k"));
    snprintf(old, sizeof old, "%s", live_job(job("me", 4, 4))->id);
    settle();
    end_all();
    pass(20 * SECOND);
    settle();
    snprintf(young, sizeof young, "%s", live_job(job("me", 4, 4))->id);
    settle();
    end_all();
    pass(2 * SECOND);
    settle();
    CHECK(is_whole(old) && is_whole(young) && is_whole(keyed));
    store_prune(bench.store, bench.wall_us - 30 * SECOND);    /* nothing is so old */
    settle();
    pass(2 * SECOND);
    CHECK(is_whole(old) && is_whole(young) && is_whole(keyed));
    prune_until_gone(old);
    CHECK(is_whole(young) && is_whole(keyed));
    CHECK_TEXT(look("me", "k"), keyed);
    pass(60 * SECOND);                 /* the key's time is over */
    prune_until_gone(keyed);
    CHECK_TEXT(look("me", "k"), "");
}

/* ---- deleting ---- */

static int deleted;

static void was_deleted(void *data)
{
    deleted++;
}

static void delete(struct live *live)
{
    deleted = 0;
    CHECK_INT(store_delete(bench.store, live, was_deleted, NULL), 0);
}

ON_BOTH(a_deleted_job_is_found_no_more)
{
    char id[40], kept[40];
    struct watcher watcher = {.news = watcher_news};
    begin_keys();
    snprintf(id, sizeof id, "%s", post("k"));
    struct live *live = get(id);
    snprintf(kept, sizeof kept, "%s", live_job(job("me", 4, 4))->id);
    CHECK_INT(store_delete(bench.store, live, was_deleted, NULL), 1);
    settle();
    end_all();
    settle();
    store_watch(live, &watcher);
    watcher_told = 0;
    pass(2 * SECOND);                  /* a flush runs now */
    delete(live);
    CHECK(!store_get(bench.store, bytes_of(id)));
    CHECK(!is_found(id));
    CHECK_TEXT(look("me", "k"), "");
    settle_until(&deleted, 1);
    settle_until(&watcher_told, 1);    /* its rows are gone */
    store_unwatch(&watcher);
    live_unref(live);
    pass(1);
    CHECK(!is_found(id));
    list((struct store_list_want){.status = -1, .before = INT64_MAX, .limit = 5});
    CHECK_INT(listed.count, 1);
    CHECK_TEXT(listed.ids[0], kept);
    close_and_boot();
    CHECK(!is_found(id));
    CHECK(is_whole(kept));
    CHECK(strcmp(post("k"), id));
    if (on_disk) {
        settle();
        CHECK_INT(desk_query(&desk, "SELECT count(*) FROM job"), 2);
        CHECK_INT(desk_query(&desk, "SELECT count(*) FROM idem"), 1);
    }
}

ON_BOTH(a_job_deleted_before_its_caches_are_written_leaves_no_hole)
{
    job("me", 2, 2);
    settle();
    end_all();
    struct live *live = first_live();
    delete(live);                      /* nothing was flushed since its beginning */
    settle_until(&deleted, 1);
    job("me", 1, 1);
    settle();
    close_and_boot();
    CHECK_INT(store_numbers(bench.store).jobs_open, 1);
    list((struct store_list_want){.status = -1, .before = INT64_MAX, .limit = 5});
    CHECK_INT(listed.count, 1);
}

TEST(a_delete_that_was_not_durable_never_happened)
{
    char id[40];
    begin_on(false);
    snprintf(id, sizeof id, "%s", live_job(job("me", 2, 2))->id);
    settle();
    end_all();
    settle();
    delete(first_live());
    CHECK(!is_found(id) || deleted);
    power_cut();
    CHECK(deleted ? !is_found(id) : is_whole(id));
    end_on();
}
