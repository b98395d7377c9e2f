/* What is asked of jobs, over both logs: keys, lists, items, deleting. */
#include "store/log_desk.h"
#include "store/store_test.h"

/* ---- a machine with either log ---- */

static struct desk desk;           /* the mailbox and the directory of the log on disk */
static bool on_disk;

static void boot_disk(void)
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

static void begin_on(bool disk)
{
    on_disk = disk;
    begin();
    if (!disk)
        return;
    store_close(bench.store);
    desk_init(&desk);
    boot_disk();
}

static void end_on(void)
{
    end();
    if (on_disk)
        desk_done(&desk);
}

static void turn(void)
{
    if (on_disk)
        desk_turn(&desk);
    else
        sync_all();
}

/* Until all that was handed over is durable, and *answered if one waits for an answer. */
static void settle_until(const int *answered, int count)
{
    while (store_durable(bench.store) < store_pos(bench.store) || (answered && *answered < count))
        turn();
}

static void settle(void)
{
    settle_until(NULL, 0);
}

static void close_and_boot(void)
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

static void end_all(void)
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

static void found(void *data, struct live *live)
{
    found_count++;
    snprintf(found_id, sizeof found_id, "%s", live ? live_job(live)->id : "");
}

static bool is_found(const char *id)
{
    found_count = 0;
    store_find(bench.store, bytes_of(id), found, NULL);
    settle_until(&found_count, 1);
    return !strcmp(found_id, id);
}

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

/* Everything of the job can be read. */
static bool is_whole(const char *id);

static void wait_for_pruning(const char *gone)
{
    for (int i = 0; i < 500 && is_found(gone); i++) {
        store_prune(bench.store, bench.wall_us - 10 * SECOND);
        pass(2 * SECOND);
        settle();
        if (on_disk)                   /* the log's thread takes its steps meanwhile */
            for (int turn = 0; turn < 20; turn++)
                is_found(gone);
    }
    CHECK(!is_found(gone));
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
    store_prune(bench.store, bench.wall_us - 10 * SECOND);
    for (int i = 0; i < 200 && is_found(old); i++)
        pass(1);
    CHECK(!is_found(old));
    CHECK(is_whole(young) && is_whole(keyed));
    CHECK_TEXT(look("me", "k"), keyed);
    pass(60 * SECOND);                 /* the key's time is over */
    wait_for_pruning(keyed);
    CHECK_TEXT(look("me", "k"), "");
}

/* ---- lists ---- */

static struct listed {
    int count_calls, error;
    size_t count;
    bool more;
    char ids[8][40];
    int64_t numbers[8];
} listed;

static void list_came(void *data, struct live **lives, size_t count, bool more, int error)
{
    listed = (struct listed){.count_calls = 1, .error = error, .count = count, .more = more};
    for (size_t i = 0; i < count && i < 8; i++) {
        snprintf(listed.ids[i], sizeof listed.ids[i], "%s", live_job(lives[i])->id);
        listed.numbers[i] = live_job(lives[i])->job;
    }
}

static void list(struct store_list_want want)
{
    listed.count_calls = 0;
    store_list(bench.store, &want, list_came, NULL);
    settle_until(&listed.count_calls, 1);
    CHECK_INT(listed.error, 0);
}

ON_BOTH(jobs_are_listed_newest_first_whether_held_or_read_back)
{
    char ids[6][40];
    for (int i = 0; i < 5; i++)
        snprintf(ids[i], sizeof ids[i], "%s", live_job(create(i % 2 ? "you" : "me", i == 2 ? bench.two : bench.one, 1, false))->id);
    settle();
    close_and_boot();                  /* all five were cut off */
    settle();
    pass(2 * SECOND);
    settle();
    close_and_boot();                  /* and are in memory no more */
    snprintf(ids[5], sizeof ids[5], "%s", live_job(job("me", 1, 1))->id);
    settle();
    list((struct store_list_want){.status = -1, .before = INT64_MAX, .limit = 8});
    CHECK(listed.count == 6 && !listed.more);
    for (int i = 0; i < 6; i++)
        CHECK_TEXT(listed.ids[i], ids[5 - i]);
    list((struct store_list_want){.owner = BYTES("me"), .status = -1, .before = INT64_MAX, .limit = 2});
    CHECK(listed.count == 2 && listed.more);
    CHECK_TEXT(listed.ids[1], ids[4]);
    list((struct store_list_want){.owner = BYTES("me"), .status = -1, .before = listed.numbers[1], .limit = 2});
    CHECK(listed.count == 2 && !listed.more);
    CHECK_TEXT(listed.ids[0], ids[2]);
    CHECK_TEXT(listed.ids[1], ids[0]);
    list((struct store_list_want){.pipeline = BYTES("two"), .status = -1, .before = INT64_MAX, .limit = 1});
    CHECK(listed.count == 1 && !listed.more);
    CHECK_TEXT(listed.ids[0], ids[2]);
    list((struct store_list_want){.status = JOB_CANCELLED, .before = INT64_MAX, .limit = 5});
    CHECK(listed.count == 5 && !listed.more);
    list((struct store_list_want){.owner = BYTES("nobody"), .status = -1, .before = INT64_MAX, .limit = 5});
    CHECK(listed.count == 0 && !listed.more);
}

ON_BOTH(a_list_goes_on_in_steps_until_it_is_full)
{
    struct live *two = create("me", bench.two, 1, false);
    char id[40];
    snprintf(id, sizeof id, "%s", live_job(two)->id);
    for (int i = 0; i < 300; i++)
        store_seal(bench.store, create("me", bench.one, 1, false));
    settle();
    list((struct store_list_want){.pipeline = BYTES("two"), .status = -1, .before = INT64_MAX, .limit = 1});
    CHECK(listed.count == 1 && !listed.more);
    CHECK_TEXT(listed.ids[0], id);
    list((struct store_list_want){.status = -1, .before = INT64_MAX, .limit = 300});
    CHECK(listed.count == 300 && listed.more);
    list((struct store_list_want){.status = -1, .before = INT64_MAX, .limit = 301});
    CHECK(listed.count == 301 && !listed.more);
}

TEST(a_list_has_durable_jobs_only)
{
    begin_on(false);
    job("me", 1, 1);
    sync_all();
    job("me", 1, 1);
    store_list(bench.store, &(struct store_list_want){.status = -1, .before = INT64_MAX, .limit = 5}, list_came, NULL);
    memory_pump(bench.log);
    CHECK_INT(listed.count, 1);
    end_on();
}

/* ---- items ---- */

static struct items_told {
    int calls, error;
    size_t count;
    int64_t first, last;
    int states[8];                 /* how many of each */
    int words, wrong;
} told;

static void items_came(void *data, const struct store_item *items, size_t count, int error)
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

static void items(struct live *live, const int64_t *indexes, size_t count)
{
    told.calls = 0;
    live_ref(live);
    store_items(bench.store, live, indexes, count, items_came, "specs");
    settle_until(&told.calls, 1);
    live_unref(live);
}

static void states(struct live *live, int64_t from)
{
    told.calls = 0;
    live_ref(live);
    store_states(bench.store, live, from, items_came, NULL);
    settle_until(&told.calls, 1);
    live_unref(live);
}

static struct live *got;

static void keep_live(void *data, struct live *live)
{
    got = live ? live_ref(live) : NULL;
    found_count++;
}

static struct live *get(const char *id)
{
    found_count = 0;
    store_find(bench.store, bytes_of(id), keep_live, NULL);
    settle_until(&found_count, 1);
    return got;
}

static bool is_whole(const char *id)
{
    struct live *live = get(id);
    if (!live)
        return false;
    int64_t all[] = {0, 1, 2, 3};
    items(live, all, live_job(live)->total < 4 ? (size_t)live_job(live)->total : 4);
    live_unref(live);
    return !told.error && told.count && told.words == (int)told.count && !told.wrong;
}

ON_BOTH(items_tell_what_they_were_and_what_became_of_them)
{
    static const int64_t some[] = {0, 1, 2, 3, 599, 5};
    struct live *live = job("me", 600, 600);
    char id[40];
    snprintf(id, sizeof id, "%s", live_job(live)->id);
    finish(claim(), VERDICT_DONE);
    finish(claim(), VERDICT_FAIL);
    finish(claim(), VERDICT_RETRY);
    claim();
    items(live, some, 6);              /* open, and its last events were not durable when it was asked */
    CHECK(!told.error && told.count == 6 && told.last == 5);
    CHECK_INT(told.words, 3);
    CHECK_INT(told.wrong, 1);          /* the retry is no failure */
    CHECK(told.states[ITEM_DONE] == 1 && told.states[ITEM_FAILED] == 1 && told.states[ITEM_RUNNING] == 1 && told.states[ITEM_BACKOFF] == 1);
    store_cancel(bench.store, live, BYTES("client"), BYTES("asked"), (struct bytes){0});
    items(live, some, 6);              /* ended, its items still in memory */
    CHECK(told.count == 6 && told.words == 2 && told.states[ITEM_SKIPPED] == 4 && !told.wrong);
    live_ref(live);
    pass(2 * SECOND);
    settle();
    while (live_job(live)->items) {    /* until the flush has made it let go of them */
        pass(2 * SECOND);
        turn();
    }
    items(live, some, 6);
    CHECK(told.count == 6 && told.words == 2 && told.states[ITEM_SKIPPED] == 4 && !told.wrong);
    states(live, 1);
    CHECK(told.count == 599 && told.first == 1 && told.states[ITEM_FAILED] == 1 && told.states[ITEM_SKIPPED] == 598);
    live_unref(live);
    close_and_boot();
    live = get(id);                    /* read back from the disk */
    items(live, some, 6);
    CHECK(told.count == 6 && told.words == 2 && !told.wrong);
    states(live, 600);
    CHECK(!told.error && told.count == 0);
    items(live, some, 0);
    CHECK(!told.error && told.count == 0);
    live_unref(live);
}

ON_BOTH(items_of_many_pages_and_rows_come_in_one_answer)
{
    int64_t far[LIMIT_READ_ROWS];
    struct live *live = job("me", 12000, 12000);
    char id[40];
    snprintf(id, sizeof id, "%s", live_job(live)->id);
    for (struct token token; (token = claim()).attempt;) {
        finish(token, VERDICT_DONE);
        if (store_busy(bench.store))
            settle();
    }
    CHECK(live_job(live)->ended);
    pass(2 * SECOND);
    settle();
    close_and_boot();
    live = get(id);
    for (int i = 0; i < LIMIT_READ_ROWS; i++)
        far[i] = (int64_t)i * 46;
    items(live, far, LIMIT_READ_ROWS);
    CHECK(!told.error && told.count == LIMIT_READ_ROWS && told.words == LIMIT_READ_ROWS && !told.wrong && told.last == 255 * 46);
    states(live, 100);
    CHECK(told.count == 8192 - 100 && told.first == 100);
    states(live, told.last + 1);
    CHECK(told.first == 8192 && told.last == 11999 && told.states[ITEM_DONE] == 12000 - 8192);
    live_unref(live);
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

static int watcher_told;

static void watcher_news(struct watcher *watcher)
{
    watcher_told++;
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
