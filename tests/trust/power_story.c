#include "power.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char story_pipeline[] = "{\"name\":\"story\",\"legs\":[{\"stages\":[\"jq\"],\"attempts\":3,\"backoff_ms\":[0,1]},"
                              "{\"stages\":[{\"stage\":\"http\"}],\"each\":\"record\",\"attempts\":3,\"backoff_ms\":[0,1]}]}";

enum { JOBS_MAX = 64, TOKENS = 8, TEXT_ROOM = 16384, BUSY_ITEMS = 28 };
static struct rng rng;
static struct pipeline *pipeline;
static const char *dir;
static int64_t jobs[JOBS_MAX];
static size_t jobs_count, keys;
static char text[TEXT_ROOM];

static void begin(enum phase phase)
{
    journal_note(OP_PHASE, phase);
}

static void boot(enum phase phase)
{
    begin(phase);
    if (machine_open(dir, NULL)) {
        fprintf(stderr, "rivulet: %s\n", machine.problem);
        _exit(3);
    }
}

static void shut(void)
{
    begin(PHASE_STOP);
    machine_close();
}

/* ---- files ---- */

/* A file that is told of in the next event; its pin goes when that is durable. false: refused, there was no place for it. */
static bool put_blob(struct sha *ret)
{
    size_t count = 200 + rng_below(&rng, 9000);
    for (size_t i = 0; i < count; i++)
        text[i] = (char)('a' + (i * 7 + rng.state) % 26);
    snprintf(text, 40, "%llu ", (unsigned long long)rng_next(&rng));
    return !blob_put(machine.blobs, (struct bytes){text, count}, ret);
}

/* ---- uploads ---- */

static void add(struct live *live, size_t count)
{
    struct problem problem = {0};
    struct item_spec items[32] = {0};
    size_t blobs = 0;
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct item_spec){.name = BYTES("a.jpg"), .bytes = 3, .value = BYTES("{\"in\":7}")};
        if (rng_below(&rng, 4) == 0 && put_blob(&items[i].blob)) {
            items[i].has_blob = true;
            items[i].value = (struct bytes){0};
            blobs++;
        }
    }
    store_add(machine.store, live, items, count, &problem);
    machine_settle();
    for (size_t i = 0; i < count && blobs; i++)
        if (items[i].has_blob)
            blob_unpin(machine.blobs, &items[i].blob);
}

static struct live *create(uint32_t in_flight)
{
    char key[32];
    static const char *const readers[] = {"mirror"};
    snprintf(key, sizeof key, "key-%zu", ++keys);
    struct store_job job = {.owner = BYTES("ann"), .pipeline = pipeline, .in_flight = in_flight, .ordered = rng_below(&rng, 4) == 0,
                            .key = bytes_of(key), .trace = bytes_of(key), .print = sha_of(bytes_of(key))};
    if (keys % 3 == 0) {
        job.readers = readers;
        job.readers_count = 1;
    }
    struct live *live = store_create(machine.store, &job);
    if (jobs_count < JOBS_MAX)
        jobs[jobs_count++] = live_job(live)->job;
    return live;
}

static void upload(bool whole)
{
    begin(PHASE_UPLOAD);
    struct live *live = live_ref(create(6));
    if (rng_below(&rng, 2))
        machine_settle();
    for (size_t batches = 1 + rng_below(&rng, 3); batches; batches--)
        add(live, 1 + rng_below(&rng, 12));
    if (whole)
        store_seal(machine.store, live);
    if (rng_below(&rng, 2))
        machine_settle();
    live_unref(live);
}

/* ---- work ---- */

static size_t claim_some(struct token *ret)
{
    struct claim claim;
    size_t count = 0;
    begin(PHASE_CLAIMS);
    store_tick(machine.store);
    while (count < TOKENS && store_claim(machine.store, &claim) == STORE_CLAIMED) {
        ret[count++] = claim.token;
        claim_done(&claim);
    }
    machine_settle();
    return count;
}

static void hear(struct token token, const struct outcome *outcome)
{
    struct claim next = {0};
    if (store_finish(machine.store, token, outcome, &next) == STORE_STEPPED) {
        struct token on = next.token;
        struct record_outcome one = {.record = 0, .value = BYTES("{\"made\":1}"), .usage = BYTES("{\"cost\":1}")};
        struct record_outcome dead = {.record = 1, .failed = true, .error = BYTES("dead end"), .error_type = BYTES("processing")};
        claim_done(&next);
        store_record(machine.store, on, &one);
        if (rng_below(&rng, 3) == 0)
            store_finish(machine.store, on, &(struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("dead end"), .record = &dead}, NULL);
        else
            store_finish(machine.store, on, &(struct outcome){.verdict = VERDICT_DONE, .value = BYTES("[{\"made\":1}]")}, NULL);
    }
}

static void hear_with_blob(struct token token)
{
    struct sha sha;
    char value[200], hex[SHA_HEX_SIZE];
    if (!put_blob(&sha))
        return;
    sha_hex(&sha, hex);
    snprintf(value, sizeof value, "{\"blob\":\"%s\",\"bytes\":300,\"type\":\"application/json\"}", hex);
    hear(token, &(struct outcome){.verdict = VERDICT_DONE, .value = bytes_of(value), .blob = &sha});
    machine_settle();
    blob_unpin(machine.blobs, &sha);
}

static void finish(struct token token)
{
    size_t count = 20 + rng_below(&rng, 1500);
    memset(text, 'x', count);
    text[0] = text[count - 1] = '"';
    switch (rng_below(&rng, 8)) {
    case 0: hear(token, &(struct outcome){.verdict = VERDICT_FAIL, .error = BYTES("no"), .error_type = BYTES("processing")}); break;
    case 1: hear(token, &(struct outcome){.verdict = VERDICT_RETRY, .error = BYTES("not now"), .error_type = BYTES("crash")}); break;
    case 2: hear_with_blob(token); break;
    default: hear(token, &(struct outcome){.verdict = VERDICT_DONE, .value = {text, count}, .stats = BYTES("{\"accuracy\":0.5}")});
    }
}

/* Until nothing is due, or `rounds` are over. */
static void work(int rounds)
{
    struct token tokens[TOKENS];
    for (int idle = 0; rounds > 0 && idle < 4; rounds--) {
        size_t count = claim_some(tokens);
        idle = count ? 0 : idle + 1;
        if (!count)
            machine_turn(2);       /* what it was added with is being read, or a back-off goes on */
        begin(PHASE_FINISHES);
        for (size_t i = 0; i < count; i++)
            finish(tokens[i]);
        if (rng_below(&rng, 2))
            machine_settle();
    }
    machine_settle();
}

/* ---- caches, checkpoints, removal ---- */

static void flush(void)
{
    struct sha key = sha_of((struct bytes){(const char *)&rng.state, sizeof rng.state});
    begin(PHASE_FLUSH);
    store_cache_put(machine.store, &key, BYTES("{\"cached\":true}"), 1000000000);
    if (jobs_count)
        store_reader_set(machine.store, "mirror", jobs[jobs_count - 1], 2);
    store_flush(machine.store);
    machine_turn(20);
    while (machine_turn(5))
        ;
}

/* Small commits, each with its caches behind it: they touch pages enough for some checkpoints. */
static void fill_wal(void)
{
    struct token tokens[TOKENS];
    size_t count;
    begin(PHASE_UPLOAD);
    struct live *live = create(TOKENS);
    live_ref(live);
    for (int left = BUSY_ITEMS; left > 0; left -= 14)
        add(live, 14);
    store_seal(machine.store, live);
    machine_settle();
    live_unref(live);
    for (int idle = 0; idle < 4; idle += !count) {
        count = claim_some(tokens);
        begin(PHASE_CHECKPOINT);
        memset(text, 'y', 2000);
        text[0] = text[1999] = '"';
        for (size_t i = 0; i < count; i++) {
            hear(tokens[i], &(struct outcome){.verdict = VERDICT_DONE, .value = {text, 2000}});
            machine_settle();
            store_flush(machine.store);
            machine_turn(20);
        }
        if (!count)
            machine_turn(2);
    }
}

static void deleted(void *data)
{
    *(bool *)data = true;
}

static void remove_old(void)
{
    struct timespec now;
    int64_t to_delete = 0;
    bool done = false;
    flush();
    begin(PHASE_REMOVAL);
    for (size_t i = 0; i < jobs_count; i++) {
        struct live *live = store_get_number(machine.store, jobs[i]);
        if (live && !live_job(live)->ended)
            continue;
        journal_note(OP_GOING, jobs[i]);
        if (live)
            to_delete = jobs[i];
        if (i % 2)
            store_reader_drop(machine.store, "mirror", jobs[i]);
    }
    struct live *live = to_delete ? store_get_number(machine.store, to_delete) : NULL;
    if (live && !store_delete(machine.store, live, deleted, &done))
        machine_until(&done);
    clock_gettime(CLOCK_REALTIME, &now);
    store_prune(machine.store, now.tv_sec * 1000000LL);
    while (machine_turn(120))
        ;
}

/* ---- formats ---- */

static void go_back_to_format(int format)
{
    static const char to_1[] = "BEGIN; DROP TABLE idem; DROP TABLE reader; DROP TABLE cache; PRAGMA user_version=1; COMMIT";
    static const char to_2[] = "BEGIN; DROP TABLE reader; DROP TABLE cache; PRAGMA user_version=2; COMMIT";
    char path[PATH_ROOM];
    sqlite3 *db;
    begin(PHASE_NONE);
    snprintf(path, sizeof path, "%s/log.db", dir);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK || sqlite3_exec(db, format == 1 ? to_1 : to_2, NULL, NULL, NULL) != SQLITE_OK)
        _exit(5);
    sqlite3_close(db);
}

void story_live(const char *where, bool full)
{
    rng = (struct rng){42};
    dir = where;
    pipeline = pipeline_parse(bytes_of(story_pipeline), NULL);
    boot(PHASE_CREATION);
    for (int day = 0; day < (full ? 3 : 2); day++) {
        for (int i = 0; i < (full ? 5 : 2); i++)
            upload(i != 2);
        work(full ? 6 : 3);
        flush();
        begin(PHASE_FINISHES);
        struct live *live = store_get_number(machine.store, jobs[jobs_count - 1]);
        if (live && day % 2)
            store_cancel(machine.store, live, BYTES("ann"), BYTES("no more"), (struct bytes){0});
        work(2);
        if (day == 0)
            fill_wal();
        remove_old();
        upload(true);
        work(1);                   /* something is under way at the stop */
        shut();
        if (day)
            go_back_to_format(day == 1 ? 2 : 1);
        boot(day ? PHASE_UPGRADE : PHASE_START);
        work(3);
    }
    shut();
    begin(PHASE_NONE);
    pipeline_free(pipeline);
}
