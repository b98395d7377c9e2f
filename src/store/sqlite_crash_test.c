/* What a log is for: processes that die at any moment. The victims are this same program, started anew as a child (a fork of a
 * program with threads cannot have threads of its own everywhere). */
#include "store/log_desk.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/test.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char victim_env[] = "RIVULET_TEST_LOG_VICTIM", dir_env[] = "RIVULET_TEST_LOG_DIR";
static struct desk desk;
extern char **environ;

/* ---- the victims ---- */

/* Writes rows of three jobs for ever, flushes often, and says on stdout up to where they are durable. */
static void write_for_ever(void)
{
    struct rng rng = {desk.pos};
    char body[400];
    memset(body, 'x', sizeof body);
    if (!desk.pos)
        for (int64_t job = 1; job <= 3; job++)
            desk_append(&desk, job, EVENT_JOB_CREATED, -1, BYTES("{}"));
    for (;;) {
        for (uint64_t count = rng_below(&rng, 40) + 1; count; count--)
            desk_append(&desk, (int64_t)rng_below(&rng, 3) + 1, EVENT_ITEM_DONE, 0, (struct bytes){body, rng_below(&rng, sizeof body)});
        if (rng_below(&rng, 10) == 0)
            desk_flush(&desk, false);
        desk_settle(&desk);
        if (write(STDOUT_FILENO, &desk.durable, sizeof desk.durable) < 0)
            _exit(1);
    }
}

static atomic_int syncs_left;               /* the victim dies in the sync that makes it 0 */
static atomic_bool syncs_fail;
static int (*real_sync)(sqlite3_file *file, int flags);

static int unsafe_sync(sqlite3_file *file, int flags)
{
    if (syncs_left && --syncs_left == 0)
        _exit(0);
    return syncs_fail ? SQLITE_IOERR_FSYNC : real_sync(file, flags);
}

static int (*real_open)(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags);
static sqlite3_io_methods patched[2];      /* the database has locks, its other files have none */

static int open_patched(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    int rc = real_open(vfs, name, file, flags, ret_flags);
    if (file->pMethods) {
        sqlite3_io_methods *own = &patched[!!(flags & SQLITE_OPEN_MAIN_DB)];
        *own = *file->pMethods;
        real_sync = own->xSync;
        own->xSync = unsafe_sync;
        file->pMethods = own;
    }
    return rc;
}

static void use_unsafe_syncs(void)
{
    static sqlite3_vfs vfs;
    vfs = *sqlite3_vfs_find(NULL);
    vfs.zName = "unsafe";
    real_open = vfs.xOpen;
    vfs.xOpen = open_patched;
    sqlite3_vfs_register(&vfs, 1);
}

/* Removes job 1 and dies on the way. */
static void prune_and_die(void)
{
    syncs_left = 12;
    desk.log->ops->prune(desk.log, INT64_MAX, 0);
    for (;;)
        desk_turn(&desk);
}

static void write_without_syncs(void)
{
    syncs_fail = true;
    desk_append(&desk, 1, EVENT_JOB_CREATED, -1, BYTES("{}"));
    desk_settle(&desk);
}

/* Before main, so that a victim runs no test. */
__attribute__((constructor)) static void be_victim(void)
{
    const char *kind = getenv(victim_env), *dir = getenv(dir_env);
    if (!kind || !dir)
        return;
    desk_init(&desk);
    rmdir(desk.dir);
    snprintf(desk.dir, sizeof desk.dir, "%s", dir);
    if (strcmp(kind, "write"))
        use_unsafe_syncs();
    if (desk_open(&desk) < 0) {
        fprintf(stderr, "%s\n", desk.problem.text);
        _exit(3);
    }
    if (!strcmp(kind, "write"))
        write_for_ever();
    if (!strcmp(kind, "prune"))
        prune_and_die();
    if (!strcmp(kind, "sync"))
        write_without_syncs();
    _exit(0);
}

/* Starts a victim; *ret_out (may be NULL) is the reading end of its stdout. */
static pid_t start(const char *kind, int *ret_out)
{
    int ends[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    char *argv[] = {"unit", NULL};
    CHECK_INT(pipe(ends), 0);
    setenv(victim_env, kind, 1);
    setenv(dir_env, desk.dir, 1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    if (!strcmp(kind, "sync"))
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    CHECK_INT(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    unsetenv(victim_env);
    unsetenv(dir_env);
    close(ends[1]);
    if (ret_out)
        *ret_out = ends[0];
    else
        close(ends[0]);
    return pid;
}

static int wait_for(pid_t pid)
{
    int status;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    return status;
}

/* ---- the tests ---- */

/* Reads a job from its first row to its end in answers, as a client that resumes does. Answers how many rows. */
static uint64_t read_all(int64_t job)
{
    uint64_t seq = 1;
    for (size_t got = 1; got;) {
        struct log_read *read = desk_read(&desk, job, seq);
        CHECK_INT(read->error, 0);
        for (size_t i = 0; i < read->rows_count; i++)
            CHECK(read->rows[i]->seq == seq++);
        got = read->rows_count;
        log_read_free(read);
    }
    return seq - 1;
}

TEST_SLOW(what_was_acknowledged_is_there_after_kill_9)
{
    struct rng rng = {20};
    uint64_t acknowledged = 0, before = 0;
    desk_init(&desk);
    for (int life = 0; life < 10; life++) {
        int out;
        uint64_t told, until = before + 1 + rng_below(&rng, 3000);
        pid_t pid = start("write", &out);
        while (acknowledged < until) {
            CHECK_INT(read(out, &told, sizeof told), sizeof told);
            acknowledged = told;
        }
        kill(pid, SIGKILL);
        CHECK(WIFSIGNALED(wait_for(pid)));
        while (read(out, &told, sizeof told) == sizeof told)
            acknowledged = told;
        close(out);
        CHECK_INT(desk_open(&desk), 0);
        test_note("life %d: acknowledged %llu, there %llu", life, (unsigned long long)acknowledged, (unsigned long long)desk.pos);
        CHECK(desk.opening.last_pos >= acknowledged && desk.told_jobs == 3);
        CHECK(read_all(1) + read_all(2) + read_all(3) == desk.opening.last_pos);
        before = acknowledged = desk.opening.last_pos;
        desk_close(&desk);
        CHECK_INT(desk_query(&desk, "SELECT count(*) - max(pos) FROM event"), 0);
    }
    desk_done(&desk);
}

TEST_SLOW(a_prune_that_was_cut_off_is_finished_by_the_next_start)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    desk_append(&desk, 1, EVENT_JOB_CREATED, -1, BYTES("{}"));
    desk_append(&desk, 2, EVENT_JOB_CREATED, -1, BYTES("{}"));
    for (int i = 0; i < 30 * LIMIT_PLACE_SEQS; i++)
        desk_append(&desk, 1, EVENT_ITEM_DONE, i, BYTES("{}"));
    desk_append(&desk, 1, EVENT_JOB_ENDED, -1, BYTES("{}"));
    desk_flush(&desk, true);
    uint64_t last = desk.pos;
    desk_close(&desk);
    CHECK_INT(wait_for(start("prune", NULL)), 0);
    CHECK_INT(desk_query(&desk, "SELECT state FROM job WHERE job=1"), 3);
    int64_t left = desk_query(&desk, "SELECT count(*) FROM event WHERE job=1");
    CHECK(left > 0 && left < 30 * LIMIT_PLACE_SEQS);
    desk.pruned = 0;
    CHECK_INT(desk_open(&desk), 0);
    CHECK(desk.opening.last_pos == last && desk.told_jobs == 1 && desk.told[0].job == 2);
    while (desk.pruned != 1)
        desk_turn(&desk);
    CHECK_INT(desk_query(&desk, "SELECT count(*) FROM event"), 1);
    CHECK_INT(desk_query(&desk, "SELECT (SELECT count(*) FROM place) + (SELECT count(*) FROM cell) + (SELECT count(*) FROM job)"), 3);
    desk_done(&desk);
}

TEST(a_failed_sync_ends_the_process_with_70)
{
    desk_init(&desk);
    CHECK_INT(desk_open(&desk), 0);
    desk_close(&desk);
    int status = wait_for(start("sync", NULL));
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 70);
    desk_done(&desk);
}
