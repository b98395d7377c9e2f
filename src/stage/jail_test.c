/* Programs behind their walls, as a worker starts them. */
#include "base/json.h"
#include "base/test.h"
#include "os/landlock.h"
#include "stage/stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[64], data[80], scratch[100], keys[80], room[80];
static char said[4096];

static void put(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "secret\n", 7) == 7);
    close(fd);
}

/* top/data with the log, top/keys, top/room. */
static void make_places(void)
{
    snprintf(top, sizeof top, "/tmp/rivulet-test-XXXXXX");
    CHECK(mkdtemp(top));
    snprintf(data, sizeof data, "%s/data", top);
    snprintf(scratch, sizeof scratch, "%s/scratch", data);
    snprintf(keys, sizeof keys, "%s/keys", top);
    snprintf(room, sizeof room, "%s/room", top);
    CHECK(!mkdir(data, 0700) && !mkdir(scratch, 0700) && !mkdir(room, 0700));
    char log[120];
    snprintf(log, sizeof log, "%s/log", data);
    put(log);
    put(keys);
}

/* What a line of shell says when it runs as a program, with $1 the top folder. */
static const char *run(void *state, const char *line, const char *cwd)
{
    struct stage_outcome outcome;
    struct buf settings BUF_OWNED;
    buf_init(&settings, 8192);
    buf_print(&settings, "{\"argv\":[\"sh\",\"-c\",\"%s\",\"sh\",\"%s\"],\"stdout\":\"text\"", line, top);
    if (cwd)
        buf_print(&settings, ",\"cwd\":\"%s\"", cwd);
    buf_byte(&settings, '}');
    stage_outcome_init(&outcome);
    stage_kind_find(BYTES("exec"))->run(state, &(struct stage_task){.input_fd = -1, .settings = buf_bytes(&settings)}, &outcome);
    snprintf(said, sizeof said, "%s", outcome.verdict == STAGE_DONE ? buf_z(&outcome.value) : outcome.error.text);
    stage_outcome_done(&outcome);
    return said;
}

static void *open_exec(void)
{
    void *state = NULL;
    struct stage_outfit outfit = STAGE_OUTFIT_EMPTY;
    outfit.scratch_path = scratch;
    outfit.hidden_paths[0] = data;
    outfit.hidden_paths[1] = keys;
    CHECK(!stage_kind_find(BYTES("exec"))->open(&outfit, &state, NULL));
    return state;
}

static void remove_places(void *state)
{
    char line[200];
    stage_kind_find(BYTES("exec"))->close(state);
    CHECK(access(scratch, F_OK) == 0 && rmdir(scratch) == 0);      /* nothing is left of any worker */
    const char *const names[] = {"data/log", "data", "keys", "room/mine", "room", "new"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(line, sizeof line, "%s/%s", top, names[i]);
        remove(line);
    }
    CHECK_INT(rmdir(top), 0);
}

TEST_SLOW(a_program_sees_the_system_but_not_the_data)
{
    make_places();
    void *state = open_exec();
    if (landlock_level()) {
        CHECK_TEXT(run(state, "cat $1/data/log $1/keys 2>/dev/null; ls $1/data 2>/dev/null; echo end", NULL), "\"end\\n\"");
        CHECK_TEXT(run(state, "ln -s $1/data $TMPDIR/d; cat $TMPDIR/d/log 2>/dev/null; cat /proc/self/root$1/keys 2>/dev/null; echo end", NULL), "\"end\\n\"");
        CHECK_TEXT(run(state, "head -c 4 /etc/passwd; ls -d / /usr | wc -l", NULL), "\"root2\\n\"");
        CHECK_TEXT(run(state, "kill -0 $PPID 2>/dev/null && echo heard; echo end", NULL), landlock_level() >= 6 ? "\"end\\n\"" : "\"heard\\nend\\n\"");
        /* What is new beside the data is seen at once. */
        char path[100];
        snprintf(path, sizeof path, "%s/new", top);
        put(path);
        CHECK_TEXT(run(state, "cat $1/new", NULL), "\"secret\\n\"");
    }
    remove_places(state);
}

TEST_SLOW(a_program_writes_only_where_it_was_told_to)
{
    make_places();
    void *state = open_exec();
    CHECK_TEXT(run(state, "mkdir $TMPDIR/a && echo hi > $TMPDIR/a/b && mv $TMPDIR/a/b $TMPDIR/c && cat $TMPDIR/c; chmod 0 $TMPDIR/a", NULL), "\"hi\\n\"");
    CHECK_TEXT(run(state, "ls -A $TMPDIR | wc -l; echo x > /dev/null", NULL), "\"0\\n\"");
    if (landlock_level()) {
        CHECK_TEXT(run(state, "for f in $1/room/mine $1/new $1/keys $1/data/log /etc/mine /tmp/mine; do (echo x > $f) 2>/dev/null && echo $f; done; rm $1/keys 2>/dev/null; echo end", NULL),
                   "\"end\\n\"");
        CHECK_TEXT(run(state, "(echo x > mine) && cat mine; (echo x > ../new) 2>/dev/null; cat ../data/log 2>/dev/null; echo end", room), "\"x\\nend\\n\"");
        /* A folder with the data in it is not given away by being named. */
        CHECK_TEXT(run(state, "(echo x > data/log) 2>/dev/null; (echo x > new) 2>/dev/null; cat data/log 2>/dev/null; echo end", top), "\"end\\n\"");
    }
    CHECK_INT(access(keys, F_OK), 0);
    remove_places(state);
}

/* With so few descriptors left first the rules, then folders, then pipes cannot be had. None of it may stay. */
TEST_SLOW(rules_that_could_not_be_made_whole_are_made_again)
{
    enum { FEW = 8 };
    struct rlimit before, now;
    make_places();
    void *state = open_exec();
    int next = dup(0);
    CHECK(next > 0 && !close(next) && !getrlimit(RLIMIT_NOFILE, &before));
    for (rlim_t few = 0; few < FEW; few++) {
        now = (struct rlimit){(rlim_t)next + few, before.rlim_max};
        CHECK_INT(setrlimit(RLIMIT_NOFILE, &now), 0);
        const char *told = run(state, "cat $1/data/log 2>/dev/null; echo end", few % 2 ? room : NULL);      /* other rules each time */
        CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
        CHECK(strstr(told, "Too many open files"));
        CHECK_TEXT(run(state, "head -c 4 /etc/passwd; echo x > $TMPDIR/x && cat $TMPDIR/x", few % 2 ? room : NULL), "\"rootx\\n\"");
        if (landlock_level())
            CHECK_TEXT(run(state, "cat $1/data/log 2>/dev/null; echo end", few % 2 ? room : NULL), "\"end\\n\"");
    }
    remove_places(state);
}
