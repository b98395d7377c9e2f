/* What items tell on their way, and what comes back of it: remote sides, records, rooms, and jobs that end early. */
#include "store/store_test.h"

#include "base/json.h"

#include <stdio.h>

#define PLACES "{\"name\":\"places\",\"legs\":[{\"stages\":[\"jq\"]},{\"stages\":[{\"stage\":\"remote_job\"}],\"attempts\":3,\"backoff_ms\":[10,10]}," \
               "{\"stages\":[{\"stage\":\"http\"}],\"each\":\"record\",\"attempts\":3,\"backoff_ms\":[10,10]},{\"stages\":[\"tail\"]}]}"
enum { WORKER = 1u << ROOM_WORKER, TRIP = 1u << ROOM_TRIP };

static struct pipeline *places;

static struct live *job_of_places(const char *owner, size_t count, struct store_job more)
{
    if (!places)
        places = pipeline_parse(BYTES(PLACES), NULL);
    CHECK(places);
    more.owner = bytes_of(owner);
    more.pipeline = places;
    more.in_flight = more.in_flight ? more.in_flight : 10;
    struct live *live = store_create(bench.store, &more);
    CHECK(live);
    add(live, count);
    return live;
}

static struct live *sealed_job(const char *owner, size_t count)
{
    struct live *live = job_of_places(owner, count, (struct store_job){0});
    store_seal(bench.store, live);
    return live;
}

/* The next one of those rooms; read first when it has to be. */
static struct claim claim_in(unsigned rooms)
{
    struct claim got = {0};
    for (int i = 0; i < 5; i++) {
        if (store_claim_for(bench.store, rooms, &got) == STORE_CLAIMED)
            return got;
        sync_all();
    }
    return (struct claim){0};
}

static struct token token_in(unsigned rooms)
{
    struct claim got = claim_in(rooms);
    struct token token = got.token;
    if (got.live)
        claim_done(&got);
    return token;
}

static int said(struct token token, struct outcome outcome)
{
    struct claim next = {0};
    int answer = store_finish(bench.store, token, &outcome, &next);
    if (answer == STORE_STEPPED)
        claim_done(&next);
    return answer;
}

static int done(struct token token)
{
    return said(token, (struct outcome){.value = BYTES("[1,2]")});
}

static const struct item *item_of(const struct live *live, int64_t item)
{
    return &live_job(live)->items[item];
}

TEST(a_full_room_holds_up_nobody_in_another)
{
    begin();
    struct live *ann = sealed_job("ann", 2), *bob = sealed_job("bob", 2);
    struct token first = token_in(WORKER);
    CHECK_INT(first.job, live_job(ann)->job);
    CHECK_INT(done(first), STORE_ACCEPTED);                 /* the next leg is elsewhere: it stands in line there */
    CHECK_INT(token_in(WORKER).job, live_job(bob)->job);
    CHECK_INT(token_in(TRIP).attempt, 1);
    CHECK_INT(token_in(TRIP).attempt, 0);
    CHECK_INT(token_in(WORKER).job, live_job(ann)->job);
    CHECK_INT(token_in(WORKER).job, live_job(bob)->job);
    CHECK_INT(token_in(WORKER | TRIP).attempt, 0);
    end();
}

TEST(owners_take_turns_in_each_room_by_itself)
{
    begin();
    struct live *ann = sealed_job("ann", 6), *bob = sealed_job("bob", 6);
    for (int i = 0; i < 3; i++) {
        done(token_in(WORKER));
        done(token_in(WORKER));
        int64_t one = token_in(TRIP).job, other = token_in(TRIP).job;
        CHECK(one != other && one && other);
    }
    CHECK_INT(live_job(ann)->counts.processing, 3);
    CHECK_INT(live_job(bob)->counts.processing, 3);
    end();
}

TEST(what_comes_back_from_a_trip_goes_on_before_what_waits_for_one)
{
    begin();
    sealed_job("ann", 3);
    done(token_in(WORKER));
    struct claim next = {0};
    CHECK_INT(store_finish(bench.store, token_in(TRIP), &(struct outcome){.value = BYTES("[1]")}, &next), STORE_STEPPED);
    struct token away = next.token, second = token_in(WORKER);
    claim_done(&next);
    CHECK_INT(done(second), STORE_ACCEPTED);                /* waits for a trip … */
    CHECK_INT(done(away), STORE_ACCEPTED);                  /* … and this one for a worker: only its tail is left to be done */
    CHECK_INT(token_in(WORKER).item, 0);
    CHECK_INT(token_in(TRIP).item, 1);
    end();
}

/* Its own next step waits for a full room, and so does one whose back-off is over: both keep their slots, and the others start. */
TEST(a_job_goes_on_in_one_room_while_another_is_full)
{
    begin();
    struct live *live = job_of_places("ann", 9, (struct store_job){.in_flight = 3});
    store_seal(bench.store, live);
    done(token_in(WORKER));
    done(token_in(WORKER));                                 /* both wait for a trip, and those are full */
    CHECK_INT(token_in(WORKER).item, 2);
    struct token trip = token_in(TRIP);
    CHECK_INT(trip.item, 0);
    said(trip, (struct outcome){.verdict = VERDICT_RETRY, .error = BYTES("no"), .error_type = BYTES("crash")});
    pass(SECOND);                                           /* it is due again: three at work, and one slot that is its own */
    CHECK_INT(token_in(WORKER).attempt, 0);
    CHECK_INT(token_in(TRIP).item, 1);
    CHECK_INT(token_in(TRIP).item, 0);
    CHECK_INT(token_in(WORKER | TRIP).attempt, 0);
    end();
}

TEST(an_item_that_waits_keeps_its_slot_and_is_adopted_by_the_next_opening)
{
    begin();
    struct live *live = job_of_places("ann", 2, (struct store_job){.in_flight = 1});
    store_seal(bench.store, live);
    done(token_in(WORKER));
    struct token token = token_in(TRIP);
    CHECK_INT(token_in(WORKER).attempt, 0);
    CHECK_INT(store_waiting(bench.store, token, BYTES("{\"id\":\"r1\"}"), BYTES("{\"calls\":1}")), STORE_ACCEPTED);
    CHECK_INT(item_of(live, 0)->state, ITEM_WAITING);
    CHECK_INT(token_in(WORKER).attempt, 0);
    sync_all();
    power_cut();
    live = first_live();
    uint64_t seq = live_job(live)->seq;
    CHECK_INT(done(token), STORE_FENCED);                   /* a word of the opening before */
    struct claim got = claim_in(TRIP);
    CHECK_INT(got.token.attempt, token.attempt);
    CHECK_INT(got.token.item, 0);
    CHECK(bytes_equal(got.remote, BYTES("{\"id\":\"r1\"}")));
    CHECK(bytes_equal(got.value, BYTES("[1,2]")));
    CHECK_INT(live_job(live)->seq, seq);                    /* nothing was written for it */
    token = got.token;
    claim_done(&got);
    CHECK_INT(token_in(TRIP).attempt, 0);
    CHECK_INT(store_waiting(bench.store, token, BYTES("{\"id\":\"r1\"}"), (struct bytes){0}), STORE_ACCEPTED);
    CHECK_INT(live_job(live)->seq, seq);
    CHECK_INT(done(token), STORE_STEPPED);
    CHECK_INT(item_of(live, 0)->leg, 2);
    end();
}

TEST(an_ordered_job_waits_for_its_remote_side_too)
{
    begin();
    struct live *live = job_of_places("ann", 2, (struct store_job){.ordered = true});
    store_seal(bench.store, live);
    done(token_in(WORKER));
    struct token token = token_in(TRIP);
    CHECK_INT(store_waiting(bench.store, token, BYTES("{\"id\":\"r1\"}"), (struct bytes){0}), STORE_ACCEPTED);
    CHECK_INT(token_in(WORKER | TRIP).attempt, 0);
    said(token, (struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("no")});
    CHECK_INT(token_in(WORKER).item, 1);
    end();
}

static void retry_and_claim(struct token *token, bool cut)
{
    CHECK_INT(said(*token, (struct outcome){.verdict = VERDICT_RETRY, .error = BYTES("no"), .error_type = BYTES("crash")}), STORE_ACCEPTED);
    sync_all();
    if (cut)
        power_cut();
    pass(SECOND);
}

TEST(a_retry_knows_its_remote_side_also_behind_a_restart_and_the_next_leg_does_not)
{
    begin();
    sealed_job("ann", 1);
    done(token_in(WORKER));
    struct token token = token_in(TRIP);
    CHECK_INT(store_waiting(bench.store, token, BYTES("{\"id\":\"r1\"}"), (struct bytes){0}), STORE_ACCEPTED);
    for (int i = 0; i < 2; i++) {
        retry_and_claim(&token, i);
        struct claim got = claim_in(TRIP);
        CHECK_INT(got.token.attempt, 2 + i);
        CHECK(bytes_equal(got.remote, BYTES("{\"id\":\"r1\"}")));
        token = got.token;
        claim_done(&got);
    }
    struct claim next = {0};
    CHECK_INT(store_finish(bench.store, token, &(struct outcome){.value = BYTES("[3]")}, &next), STORE_STEPPED);
    CHECK_INT(next.remote.count, 0);
    CHECK(!next.has_records);
    claim_done(&next);
    end();
}

static struct {
    size_t calls, count;
    int64_t records[8];
    int error;
} told;

static void take_records(void *data, struct row **rows, size_t count, int error)
{
    told.calls++;
    told.count = count;
    told.error = error;
    for (size_t i = 0; i < count && i < 8; i++) {
        int64_t number = -1;
        bytes_to_i64(json_span(row_body(rows[i]), "record"), &number);
        told.records[i] = number;
    }
}

static void ask_records(struct live *live)
{
    memset(&told, 0, sizeof told);
    store_records(bench.store, live, 0, take_records, NULL);
    sync_all();
    CHECK_INT(told.calls, 1);
    CHECK_INT(told.error, 0);
}

TEST(records_of_a_leg_come_back_newest_first_behind_a_restart_and_a_retry)
{
    begin();
    struct live *live = sealed_job("ann", 1);
    done(token_in(WORKER));
    struct claim claim = {0};
    CHECK_INT(store_finish(bench.store, token_in(TRIP), &(struct outcome){.value = BYTES("[7,8,9]")}, &claim), STORE_STEPPED);
    struct token token = claim.token;
    CHECK(!claim.has_records);
    claim_done(&claim);
    ask_records(live);
    CHECK_INT(told.count, 0);
    CHECK_INT(store_record(bench.store, token, &(struct record_outcome){.record = 2, .value = BYTES("\"x\""), .usage = BYTES("{\"calls\":2}")}),
              STORE_ACCEPTED);
    CHECK_INT(store_record(bench.store, token, &(struct record_outcome){.record = 0, .failed = true, .error = BYTES("no")}), STORE_ACCEPTED);
    ask_records(live);
    CHECK_INT(told.count, 2);
    power_cut();
    live = first_live();
    claim = claim_in(TRIP);
    CHECK_INT(claim.token.attempt, 2);
    CHECK(claim.has_records && bytes_equal(claim.value, BYTES("[7,8,9]")));
    token = claim.token;
    claim_done(&claim);
    CHECK_INT(store_record(bench.store, token, &(struct record_outcome){.record = 1, .value = BYTES("1")}), STORE_ACCEPTED);
    retry_and_claim(&token, true);
    live = first_live();
    claim = claim_in(TRIP);
    CHECK_INT(claim.token.attempt, 3);
    CHECK(claim.has_records && bytes_equal(claim.value, BYTES("[7,8,9]")));
    claim_done(&claim);
    ask_records(live);
    CHECK_INT(told.count, 3);
    CHECK_INT(told.records[0], 1);
    CHECK_INT(told.records[1], 0);
    CHECK_INT(told.records[2], 2);
    CHECK_INT(live_job(live)->records.completed, 2);
    CHECK_INT(live_job(live)->records.failed, 1);
    CHECK_INT(live_job(live)->usage_count, 1);
    end();
}

TEST(a_record_that_takes_its_item_along_is_durable_with_the_items_end_or_not_at_all)
{
    for (size_t synced = 0; synced < 2; synced++) {
        begin();
        sealed_job("ann", 1);
        done(token_in(WORKER));
        struct claim claim = {0};
        CHECK_INT(store_finish(bench.store, token_in(TRIP), &(struct outcome){.value = BYTES("[7,8]")}, &claim), STORE_STEPPED);
        struct token token = claim.token;
        claim_done(&claim);
        sync_all();
        struct record_outcome record = {.record = 1, .failed = true, .error = BYTES("no"), .usage = BYTES("{\"calls\":2}")};
        CHECK_INT(store_finish(bench.store, token, &(struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("no"), .record = &record}, NULL),
                  STORE_ACCEPTED);
        CHECK_INT(memory_waiting(bench.log), 3);       /* record.failed, item.failed; job.ended */
        CHECK_INT(memory_sync(bench.log, synced), 2 * synced);
        power_cut();
        const struct job *job = live_job(first_live());
        CHECK_INT(job->records.failed, synced);
        CHECK_INT(job->counts.failed, synced);
        CHECK_INT(job->usage_count, synced);
        CHECK(job->ended == (synced == 1));
        end();
    }
}

TEST(a_value_that_is_a_stored_file_comes_back_as_one_also_behind_a_restart)
{
    char text[160], hex[SHA_HEX_SIZE];
    begin();
    struct sha sha = sha_of(BYTES("large"));
    sha_hex(&sha, hex);
    snprintf(text, sizeof text, "{\"blob\":\"%s\",\"bytes\":70000,\"type\":\"application/json\"}", hex);
    sealed_job("ann", 1);
    CHECK_INT(said(token_in(WORKER), (struct outcome){.value = bytes_of(text), .blob = &sha}), STORE_ACCEPTED);
    for (int i = 0; i < 2; i++) {
        struct claim got = claim_in(TRIP);
        CHECK(got.has_blob && !memcmp(&got.blob, &sha, sizeof sha));
        CHECK_INT(got.value.count, 0);
        claim_done(&got);
        sync_all();
        power_cut();
    }
    end();
}

TEST(a_job_that_has_enough_skips_the_rest_and_is_completed)
{
    begin();
    struct live *live = store_create(bench.store, &(struct store_job){.owner = BYTES("ann"), .pipeline = bench.one, .in_flight = 2, .open = true,
                                                                      .stop_count = 1});
    add(live, 5);
    struct token first = claim(), second = claim();
    said(first, (struct outcome){.value = BYTES("1")});
    CHECK(!live_job(live)->ended);
    said(second, (struct outcome){.value = BYTES("1"), .hit = true, .usage = BYTES("{\"cost\":0.5}")});
    CHECK(live_job(live)->ended);                           /* although it never was sealed */
    CHECK_INT(live_job(live)->status, JOB_COMPLETED);
    CHECK_INT(live_job(live)->counts.skipped, 3);
    CHECK_INT(bench.ended, 1);
    CHECK(store_add(bench.store, live, &(struct item_spec){.name = BYTES("x"), .value = BYTES("1")}, 1, &(struct problem){0}) < 0);
    CHECK_INT(store_stop(bench.store, live, "enough", (struct bytes){0}), 1);
    end();
}

TEST(a_job_that_is_too_dear_ends_as_an_error_that_names_the_figures)
{
    begin();
    struct live *live = store_create(bench.store, &(struct store_job){.owner = BYTES("ann"), .pipeline = bench.one, .in_flight = 2, .max_cost = 1});
    add(live, 5);
    store_seal(bench.store, live);
    said(claim(), (struct outcome){.value = BYTES("1"), .usage = BYTES("{\"cost\":1}")});
    CHECK(!live_job(live)->ended);
    said(claim(), (struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("no"), .usage = BYTES("{\"cost\":0.25}")});
    CHECK(live_job(live)->ended);
    CHECK_INT(live_job(live)->status, JOB_ERROR);
    CHECK_TEXT(live_job(live)->error, "the job has cost 1.25, more than its max_cost of 1");
    end();
}

TEST(usage_that_is_no_object_of_numbers_counts_for_nothing)
{
    static const char *const bad[] = {"{\"cost\":-5}", "[1]", "{\"cost\":\"1\"}", "{\"cost\":{}}", "cost", "{\"cost\":"};
    begin();
    struct live *live = job("ann", sizeof bad / sizeof *bad, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        said(claim(), (struct outcome){.value = BYTES("1"), .usage = bytes_of(bad[i])});
    CHECK(live_job(live)->ended);
    CHECK_INT(live_job(live)->usage_count, 0);
    end();
}

TEST(an_item_can_take_its_whole_job_along)
{
    begin();
    struct live *live = job("ann", 4, 2);
    struct token first = claim(), second = claim();
    said(first, (struct outcome){.value = BYTES("1")});
    said(second, (struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("the key is wrong"), .fail_job = true});
    CHECK(live_job(live)->ended);
    CHECK_INT(live_job(live)->status, JOB_ERROR);
    CHECK_TEXT(live_job(live)->error, "the key is wrong");
    CHECK_INT(live_job(live)->counts.skipped, 2);
    live = job("ann", 2, 2);                                /* also when nothing is left to be skipped */
    said(claim(), (struct outcome){.value = BYTES("1")});
    said(claim(), (struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("the key is wrong"), .fail_job = true});
    CHECK_INT(live_job(live)->status, JOB_ERROR);
    end();
}

TEST(a_deadline_is_kept_over_a_restart_and_a_clock_that_jumps)
{
    begin();
    struct live *live = store_create(bench.store, &(struct store_job){.owner = BYTES("ann"), .pipeline = bench.one, .in_flight = 1,
                                                                      .deadline_us = 60 * SECOND});
    add(live, 2);
    store_seal(bench.store, live);
    said(claim(), (struct outcome){.value = BYTES("1")});
    pass(20 * SECOND);
    sync_all();
    power_cut();                                            /* takes a second */
    bench.wall_us += 1000 * SECOND;                         /* behind the opening, the clock that only runs counts */
    CHECK(store_tick(bench.store) <= bench.now_us + 39 * SECOND);
    pass(38 * SECOND);
    CHECK(!live_job(first_live())->ended);
    live = live_ref(first_live());
    pass(2 * SECOND);
    CHECK(live_job(live)->ended);
    CHECK_INT(live_job(live)->status, JOB_COMPLETED);
    CHECK_INT(live_job(live)->counts.skipped, 1);
    live_unref(live);
    end();
}

/* The log may end behind any event: what was begun is brought to its end. */
TEST(a_stop_that_the_power_cut_off_is_done_by_the_next_opening)
{
    for (size_t durable = 1; durable < 12; durable++) {
        begin();
        struct live *live = store_create(bench.store, &(struct store_job){.owner = BYTES("ann"), .pipeline = bench.one, .in_flight = 1, .max_cost = 1});
        add(live, 3);
        store_seal(bench.store, live);
        said(claim(), (struct outcome){.value = BYTES("1"), .usage = BYTES("{\"cost\":2}")});
        CHECK(live_job(live)->ended);
        uint64_t all = live_job(live)->seq;
        memory_sync(bench.log, durable);
        power_cut();
        live = first_live();
        if (durable >= 5 && durable < all) {                /* created, added, sealed, started, done: now it is too dear */
            CHECK(live_job(live)->ended);
            CHECK_INT(live_job(live)->status, JOB_ERROR);
            CHECK_INT(live_job(live)->counts.skipped, 2);
        }
        end();
    }
}

TEST(an_item_that_takes_its_job_along_does_so_wherever_the_power_cuts_it_off)
{
    for (size_t durable = 5; durable < 8; durable++) {      /* created, added, sealed, started, failed: from here on it is due */
        begin();
        struct live *live = job("ann", 3, 1);
        said(claim(), (struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("the key is wrong"), .fail_job = true});
        CHECK_INT(live_job(live)->seq, 7);
        memory_sync(bench.log, durable);
        power_cut();
        live = first_live();
        CHECK(!live || live_job(live)->ended || durable == 7);
        if (live && durable < 7) {
            CHECK_INT(live_job(live)->status, JOB_ERROR);
            CHECK_TEXT(live_job(live)->error, "the key is wrong");
            CHECK_INT(live_job(live)->counts.skipped, 2);
        }
        end();
    }
}

/* A deadline is told by the log's own time, which never goes back. */
TEST(a_clock_that_was_set_back_over_a_restart_does_not_put_a_deadline_off)
{
    begin();
    struct live *live = store_create(bench.store, &(struct store_job){.owner = BYTES("ann"), .pipeline = bench.one, .in_flight = 1,
                                                                      .deadline_us = 60 * SECOND});
    add(live, 2);
    store_seal(bench.store, live);
    pass(50 * SECOND);
    said(claim(), (struct outcome){.value = BYTES("1")});
    sync_all();
    bench.wall_us -= 3600 * SECOND;
    power_cut();
    live = live_ref(first_live());
    pass(11 * SECOND);
    CHECK(live_job(live)->ended);
    live_unref(live);
    end();
}

TEST(what_a_remote_side_is_known_by_has_to_be_small_json)
{
    static char large[LIMIT_REMOTE_BYTES + 2];
    begin();
    struct live *live = sealed_job("ann", 2);
    memset(large, '1', sizeof large - 1);
    done(token_in(WORKER));
    CHECK_INT(store_waiting(bench.store, token_in(TRIP), bytes_of(large), (struct bytes){0}), STORE_FENCED);
    CHECK_INT(item_of(live, 0)->state, ITEM_FAILED);
    done(token_in(WORKER));
    CHECK_INT(store_waiting(bench.store, token_in(TRIP), BYTES("{\"id\":"), (struct bytes){0}), STORE_FENCED);
    CHECK_INT(item_of(live, 1)->state, ITEM_FAILED);
    end();
}
