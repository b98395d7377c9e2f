#include "store/log_desk.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static struct desk desk;

/* A job that is created and sealed, with `count` rows of items behind that. */
static void some_job(int64_t job, int count)
{
    desk_append(&desk, job, EVENT_JOB_CREATED, -1, BYTES("{\"id\":1}"));
    desk_append(&desk, job, EVENT_JOB_SEALED, -1, BYTES("{}"));
    for (int i = 0; i < count; i++)
        desk_append(&desk, job, EVENT_ITEM_DONE, i, BYTES("{\"result\":\"易\"}"));
}

static void is_run(const struct log_read *read, uint64_t first, size_t count)
{
    CHECK_INT(read->error, 0);
    CHECK_INT(read->rows_count, count);
    for (size_t i = 0; i < count; i++)
        CHECK(read->rows[i]->seq == first + i && read->rows[i]->job == read->job);
}

TEST(rows_come_back_as_they_went_in)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(1, 1);
    desk_settle(&desk);
    struct log_read *read = desk_read(&desk, 1, 1);
    is_run(read, 1, 3);
    const struct row *first = read->rows[0], *last = read->rows[2];
    CHECK(first->pos == 1 && first->epoch == desk.opening.epoch && first->at_us == 1000000 && first->kind == EVENT_JOB_CREATED);
    CHECK(first->item == -1 && first->attempt == 0);
    CHECK(last->pos == 3 && last->kind == EVENT_ITEM_DONE && last->item == 0 && last->attempt == 3);
    CHECK_BYTES(row_body(last), BYTES("{\"result\":\"易\"}"));
    log_read_free(read);
    desk_done(&desk);
}

TEST(opening_again_tells_what_the_flush_does_not_cover)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    int64_t epoch = desk.opening.epoch;
    some_job(1, 10);
    desk_append(&desk, 2, EVENT_JOB_CREATED, -1, BYTES("{}"));
    desk_flush(&desk, true);
    some_job(3, 2);
    desk_append(&desk, 1, EVENT_JOB_ENDED, -1, BYTES("{}"));
    desk_append(&desk, 3, EVENT_JOB_ENDED, -1, BYTES("{}"));
    desk_close(&desk);
    CHECK_INT(desk_open(&desk), 0);
    CHECK(desk.opening.epoch > epoch);
    CHECK_INT(desk.opening.last_pos, 19);
    CHECK_INT(desk.told_pipelines, 1);
    CHECK_INT(desk.told_rows, 6);
    CHECK(desk.told_first == 14 && desk.told_last == 19);
    CHECK_INT(desk.told_jobs, 3);
    CHECK(desk.told[0].job == 2 && desk.told[0].state == 0);
    CHECK(desk.told[1].job == 1 && desk.told[1].state == 2);
    CHECK_TEXT(desk.told[1].fold, "fold 12");
    CHECK(desk.told[2].job == 3 && !desk.told[2].fold[0]);
    CHECK_TEXT(desk.told[2].id, "job 3");
    CHECK_INT(desk.told_cells, 2);
    CHECK_TEXT(desk.told_cell, "cell 12");
    desk_flush(&desk, true);
    desk_close(&desk);
    CHECK_INT(desk_open(&desk), 0);
    CHECK_INT(desk.told_rows, 0);
    CHECK_INT(desk.told_jobs, 1);
    desk_done(&desk);
}

TEST(reads_go_from_the_place_cache_on_into_the_known_positions)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(1, 2098);
    some_job(2, 3);
    desk_flush(&desk, true);
    for (int i = 0; i < 100; i++)
        desk_append(&desk, 1, EVENT_ITEM_STARTED, i, BYTES("{}"));
    desk_settle(&desk);
    struct log_read *read;
    is_run(read = desk_read(&desk, 1, 1), 1, LIMIT_READ_ROWS);
    log_read_free(read);
    is_run(read = desk_read(&desk, 1, 990), 990, LIMIT_READ_ROWS);    /* over the edge of a page */
    log_read_free(read);
    is_run(read = desk_read(&desk, 1, 2050), 2050, 151);              /* from the cache into the known ones */
    log_read_free(read);
    is_run(read = desk_read(&desk, 1, 2200), 2200, 1);
    log_read_free(read);
    is_run(read = desk_read(&desk, 1, 2201), 2201, 0);
    log_read_free(read);
    is_run(read = desk_read(&desk, 7, 1), 1, 0);
    log_read_free(read);
    desk_done(&desk);
}

TEST(reads_by_position_leave_out_what_is_missing)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(1, 3);
    desk_settle(&desk);
    uint64_t positions[] = {5, 1000, 1};
    struct log_read *read = desk_read_at(&desk, positions, 3);
    CHECK_INT(read->rows_count, 2);
    CHECK(read->rows[0]->pos == 5 && read->rows[1]->pos == 1);
    log_read_free(read);
    desk_done(&desk);
}

TEST(an_answer_keeps_to_its_bytes)
{
    char body[60000];
    memset(body, 'x', sizeof body);
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    for (int i = 0; i < 10; i++)
        desk_append(&desk, 1, EVENT_ITEM_DONE, i, (struct bytes){body, sizeof body});
    desk_settle(&desk);
    struct log_read *read = desk_read(&desk, 1, 1);
    is_run(read, 1, LIMIT_READ_BYTES / sizeof body);
    log_read_free(read);
    desk_done(&desk);
}

TEST(small_flushes_fill_up_one_page_of_places)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(1, 0);
    for (int i = 0; i < 150; i++) {
        for (int k = 0; k < 10; k++)
            desk_append(&desk, 1, EVENT_ITEM_DONE, i, BYTES("{}"));
        desk_flush(&desk, i % 50 == 0);
    }
    desk_close(&desk);
    CHECK_INT(desk_query(&desk, "SELECT count(*) FROM place"), 2);
    CHECK_INT(desk_query(&desk, "SELECT sum(count) FROM place"), 1502);
    CHECK_INT(desk_query(&desk, "SELECT flushed_pos FROM mark"), 1502);
    CHECK_INT(desk_open(&desk), 0);
    struct log_read *read = desk_read(&desk, 1, 900);
    is_run(read, 900, LIMIT_READ_ROWS);
    log_read_free(read);
    desk_done(&desk);
}

TEST(jobs_are_found_by_their_id)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(1, 1);
    some_job(2, 1);
    desk_settle(&desk);
    struct log_find *find = desk_find(&desk, "job 2");
    CHECK(find->found_count == 1 && find->found[0].job == 2 && !find->found[0].fold);
    CHECK_TEXT(find->found[0].id, "job 2");
    CHECK_TEXT(find->found[0].owner, "owner");
    log_find_free(find);
    desk_flush(&desk, true);
    find = desk_find(&desk, "job 2");
    CHECK_INT(find->found_count, 1);
    CHECK_BYTES(((struct bytes){find->found[0].fold, find->found[0].fold_bytes}), BYTES("fold 3"));
    log_find_free(find);
    find = desk_find(&desk, "job 9");
    CHECK(!find->found_count && !find->error);
    log_find_free(find);
    desk_done(&desk);
}

TEST_SLOW(a_data_directory_is_held_by_one_log)
{
    static struct desk second;
    desk_init(&desk);
    desk_init(&second);
    rmdir(second.dir);
    CHECK_INT(desk_open(&desk), 0);
    memcpy(second.dir, desk.dir, sizeof desk.dir);
    CHECK(desk_open(&second) < 0);
    test_note("%s", second.problem.text);
    CHECK(strstr(second.problem.text, desk.dir) && strstr(second.problem.text, "in use"));
    desk_close(&desk);
    CHECK_INT(desk_open(&second), 0);
    desk_done(&second);
}

static void refused_with(const char *words)
{
    CHECK(desk_open(&desk) < 0);
    test_note("%s", desk.problem.text);
    CHECK(strstr(desk.problem.text, words) && strstr(desk.problem.text, desk.dir));
}

TEST(what_is_no_log_of_this_format_is_refused)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    desk_close(&desk);
    desk_query(&desk, "PRAGMA user_version=7");
    refused_with("has format 7");
    desk_query(&desk, "PRAGMA user_version=0");
    refused_with("another program");
    char path[80];
    snprintf(path, sizeof path, "%s/log.db", desk.dir);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs("this is not a database, however long one looks at it", file) > 0 && !fclose(file));
    refused_with("not a database");
    desk_done(&desk);
    memcpy(desk.dir, "/proc/nothing", sizeof "/proc/nothing");
    refused_with("could not be made");
}

TEST(a_missing_event_is_told_at_the_opening)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(1, 5);
    desk_close(&desk);
    desk_query(&desk, "DELETE FROM event WHERE pos=4");
    refused_with("event 4 is missing");
    desk_done(&desk);
}

/* ---- pruning ---- */

static bool blob_is_there(const struct sha *sha)
{
    int fd = blob_open(desk.blobs, sha);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void prune_until(int64_t job)
{
    desk.log->ops->prune(desk.log, INT64_MAX, 0);
    while (desk.pruned != job)
        desk_turn(&desk);
}

TEST(pruning_removes_old_jobs_and_blobs_that_nobody_uses)
{
    struct sha own, shared, pinned;
    desk_init(&desk);
    CHECK_INT(desk_open_with_blobs(&desk), 0);
    CHECK(!blob_put(desk.blobs, BYTES("own"), &own) && !blob_put(desk.blobs, BYTES("shared"), &shared) &&
          !blob_put(desk.blobs, BYTES("pinned"), &pinned));
    some_job(1, 2500);
    desk_append_naming(&desk, 1, &own);
    desk_append_naming(&desk, 1, &shared);
    desk_append_naming(&desk, 1, &pinned);
    some_job(2, 10);
    desk_append_naming(&desk, 2, &shared);
    desk_append(&desk, 1, EVENT_JOB_ENDED, -1, BYTES("{}"));
    desk_settle(&desk);
    blob_unpin(desk.blobs, &own);
    blob_unpin(desk.blobs, &shared);
    desk_flush(&desk, true);
    prune_until(1);
    CHECK(!blob_is_there(&own) && blob_is_there(&shared) && blob_is_there(&pinned));
    struct log_read *read = desk_read(&desk, 1, 1);
    CHECK_INT(read->rows_count, 0);
    log_read_free(read);
    is_run(read = desk_read(&desk, 2, 1), 1, 13);
    log_read_free(read);
    struct log_find *find = desk_find(&desk, "job 1");
    CHECK(!find->found_count && !find->error);
    log_find_free(find);
    CHECK_INT(desk_query(&desk, "SELECT count(*) FROM event"), 13);
    CHECK_INT(desk_query(&desk, "SELECT (SELECT count(*) FROM place WHERE job=1) + (SELECT count(*) FROM cell WHERE job=1) + "
                         "(SELECT count(*) FROM job WHERE job=1) + (SELECT count(*) FROM blob_use WHERE job=1)"), 0);
    desk_done(&desk);
}

TEST(positions_are_not_used_again_when_everything_was_pruned)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(1, 3);
    desk_append(&desk, 1, EVENT_JOB_ENDED, -1, BYTES("{}"));
    desk_flush(&desk, true);
    prune_until(1);
    desk_close(&desk);
    CHECK_INT(desk_query(&desk, "SELECT count(*) FROM event"), 0);
    CHECK_INT(desk_open(&desk), 0);
    CHECK_INT(desk.opening.last_pos, 6);
    desk_done(&desk);
}

/* Whether a prune went as far as job 2, and left job 1 alone. */
static void spares_job_1(int64_t ended_before_us)
{
    desk.log->ops->prune(desk.log, ended_before_us, 0);
    while (desk.pruned != 2)
        desk_turn(&desk);
    CHECK_INT(desk_query(&desk, "SELECT state FROM job WHERE job=1"), 2);
}

TEST(pruning_spares_jobs_that_are_young_or_not_flushed)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(2, 1);
    desk_append(&desk, 2, EVENT_JOB_ENDED, -1, BYTES("{}"));    /* position 4, so at 4 s */
    some_job(1, 1);
    desk_append(&desk, 1, EVENT_JOB_ENDED, -1, BYTES("{}"));    /* position 8 */
    desk_flush(&desk, true);
    spares_job_1(8000000);
    desk_done(&desk);
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(1, 1);
    some_job(2, 1);
    desk_append(&desk, 2, EVENT_JOB_ENDED, -1, BYTES("{}"));
    desk_flush(&desk, true);
    desk_append(&desk, 1, EVENT_JOB_ENDED, -1, BYTES("{}"));
    desk_settle(&desk);
    spares_job_1(INT64_MAX);
    desk_done(&desk);
}

TEST(files_that_nothing_uses_are_swept_after_a_start)
{
    struct sha used, unused;
    desk_init(&desk);
    CHECK_INT(desk_open_with_blobs(&desk), 0);
    CHECK(!blob_put(desk.blobs, BYTES("used"), &used) && !blob_put(desk.blobs, BYTES("unused"), &unused));
    some_job(1, 1);
    desk_append_naming(&desk, 1, &used);
    desk_close(&desk);
    CHECK_INT(desk_open_with_blobs(&desk), 0);
    for (int i = 0; i < 500 && blob_is_there(&unused); i++)
        usleep(10000);                 /* the sweep is slow and tells nobody */
    CHECK(!blob_is_there(&unused) && blob_is_there(&used));
    desk_done(&desk);
}

/* In the folder that a sweep comes to last. */
static struct bytes last_of_all(char text[16])
{
    int count = 0;
    for (int i = 0; sha_of((struct bytes){text, (size_t)count}).at[0] != 0xff; i++)
        count = snprintf(text, 16, "%d", i);
    return (struct bytes){text, (size_t)count};
}

TEST(files_that_were_given_up_are_swept_with_a_later_pruning)
{
    struct sha last, kept, abandoned;
    char text[16];
    desk_init(&desk);
    CHECK_INT(desk_open_with_blobs(&desk), 0);
    CHECK(!blob_put(desk.blobs, last_of_all(text), &last) && !blob_put(desk.blobs, BYTES("kept"), &kept));
    desk_close(&desk);
    CHECK_INT(desk_open_with_blobs(&desk), 0);
    CHECK(!blob_put(desk.blobs, BYTES("kept"), &kept) && !blob_put(desk.blobs, BYTES("abandoned"), &abandoned));
    while (blob_is_there(&last))
        usleep(10000);                 /* the sweep of the start is over then */
    blob_abandon(desk.blobs, &abandoned);
    while (blob_is_there(&abandoned)) {
        desk.log->ops->prune(desk.log, 0, 0);
        usleep(10000);
    }
    CHECK(blob_is_there(&kept) && !blob_take_abandoned(desk.blobs));
    desk_done(&desk);
}

/* ---- a full disk ---- */

TEST(a_full_disk_delays_rows_and_loses_none)
{
    struct rlimit before, small;
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(1, 10);
    desk_settle(&desk);
    signal(SIGXFSZ, SIG_IGN);
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 600000, .rlim_max = before.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &small), 0);
    static char body[50000];
    memset(body, 'x', sizeof body);
    for (int i = 0; i < 30; i++)
        desk_append(&desk, 1, EVENT_ITEM_DONE, i, (struct bytes){body, sizeof body});
    while (!desk.fulls)
        desk_turn(&desk);
    uint64_t durable = desk.durable;
    CHECK(durable < desk.pos && !desk.fulls_over);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &before), 0);
    desk_settle(&desk);
    CHECK_INT(desk.fulls_over, 1);
    desk_close(&desk);
    CHECK_INT(desk_open(&desk), 0);
    CHECK_INT(desk.told_rows, 42);
    CHECK_INT(desk.told_last, 42);
    desk_done(&desk);
}

static void count_answer(void *data, struct log_read *read)
{
    ++*(int *)data;
    log_read_free(read);
}

static struct log_read *question(void (*done)(void *data, struct log_read *read), void *data)
{
    struct log_read *read = MEM_NEW(struct log_read);
    *read = (struct log_read){.job = 1, .from_seq = 1, .done = done, .data = data};
    return read;
}

TEST(closing_answers_every_question)
{
    int answers = 0;
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    some_job(1, 1000);
    for (int i = 0; i < 100; i++)
        desk.log->ops->read(desk.log, question(count_answer, &answers));
    desk_flush(&desk, false);
    desk_close(&desk);
    CHECK(desk.flushed == 1 && desk.durable == desk.pos);
    CHECK_INT(answers, 100);
    desk_done(&desk);
}

static void ask_again(void *data, struct log_read *read)
{
    count_answer(data, read);
    desk.log->ops->read(desk.log, question(ask_again, data));
}

TEST(what_is_asked_in_the_last_answers_is_not_answered)
{
    int answers = 0;
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    desk.log->ops->read(desk.log, question(ask_again, &answers));
    desk_close(&desk);
    CHECK_INT(answers, 1);
    desk_done(&desk);
}

TEST(rows_of_one_unit_are_never_parted_by_a_group)
{
    enum { UNIT = 7 };
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    desk_append(&desk, 1, EVENT_JOB_CREATED, -1, BYTES("{}"));
    desk_settle(&desk);
    for (int i = 0; i < 3 * LIMIT_COMMIT_EVENTS; i++)
        desk_append_unit(&desk, 1, UNIT);
    while (desk.durable < desk.pos) {
        desk_turn(&desk);
        CHECK_INT((desk.durable - 1) % UNIT, 0);
    }
    desk_done(&desk);
}
