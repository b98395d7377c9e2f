#include "os/file.h"

#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char place[64];

static void in_new_dir(void)
{
    memcpy(place, "/tmp/rivulet-file-XXXXXX", sizeof "/tmp/rivulet-file-XXXXXX");
    CHECK(mkdtemp(place));
    CHECK_INT(chdir(place), 0);
}

static void leave_dir(void)
{
    CHECK_INT(chdir("/"), 0);
    CHECK_INT(rmdir(place), 0);
}

TEST(a_file_is_replaced_whole_and_read_back)
{
    struct buf have BUF_OWNED;
    buf_init(&have, 10);
    in_new_dir();
    CHECK_INT(file_replace("a", BYTES("first and long")), 0);
    CHECK_INT(file_read("a", &have), -EFBIG);
    CHECK_INT(file_replace("a", BYTES("second")), 0);
    buf_clear(&have);
    CHECK_INT(file_read("a", &have), 0);
    CHECK_BYTES(buf_bytes(&have), BYTES("second"));
    CHECK_INT(file_read("missing", &have), -ENOENT);
    CHECK(access("a.new", F_OK));
    CHECK_INT(file_replace("no/such/dir", BYTES("x")), -ENOENT);
    unlink("a");
    leave_dir();
}

TEST(directories_are_made_with_their_parents)
{
    in_new_dir();
    CHECK_INT(file_make_dir("a/b//c/"), 0);
    CHECK_INT(file_make_dir("a/b/c"), 0);
    CHECK_INT(file_make_dir("."), 0);
    CHECK_INT(file_replace("a/file", BYTES("")), 0);
    CHECK_INT(file_make_dir("a/file"), -ENOTDIR);
    CHECK_INT(file_make_dir("a/file/b"), -ENOTDIR);
    CHECK_INT(file_sync_dir(AT_FDCWD, "a/b"), 0);
    int dir = open("a", O_RDONLY | O_DIRECTORY);
    CHECK_INT(file_empty_dir(dir), 0);
    CHECK(access("a/file", F_OK));
    CHECK_INT(access("a/b/c", F_OK), 0);
    CHECK(file_space(dir) > 0);
    close(dir);
    CHECK(!rmdir("a/b/c") && !rmdir("a/b") && !rmdir("a"));
    leave_dir();
}

TEST(a_lock_is_held_once_and_ends_with_its_descriptor)
{
    in_new_dir();
    int first = file_lock("lock", 0);
    CHECK(first >= 0);
    CHECK_INT(file_lock("lock", 0), -EBUSY);
    close(first);
    int second = file_lock("lock", 0);
    CHECK(second >= 0);
    close(second);
    CHECK(file_lock("no/lock", 0) == -ENOENT);
    unlink("lock");
    leave_dir();
}

static void *let_go_soon(void *fd)
{
    usleep(20000);
    close(*(int *)fd);
    return NULL;
}

TEST(a_lock_is_waited_for)
{
    pthread_t other;
    in_new_dir();
    int first = file_lock("lock", 0);
    CHECK(!pthread_create(&other, NULL, let_go_soon, &first));
    int second = file_lock("lock", 10000000);
    CHECK(second >= 0);
    pthread_join(other, NULL);
    CHECK_INT(file_lock("lock", 10000), -EBUSY);
    close(second);
    unlink("lock");
    leave_dir();
}
