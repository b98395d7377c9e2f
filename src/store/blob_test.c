#include "store/blob.h"

#include "base/test.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[64];
static struct blobs *blobs;

static void in_new_dir(void)
{
    memcpy(dir, "/tmp/rivulet-blob-XXXXXX", sizeof "/tmp/rivulet-blob-XXXXXX");
    CHECK(mkdtemp(dir));
    CHECK_INT(blobs_open(dir, &blobs, NULL), 0);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *walk)
{
    return remove(path);
}

static void leave_dir(void)
{
    blobs_close(blobs);
    CHECK_INT(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static int files;

static int count_one(const char *path, const struct stat *about, int kind, struct FTW *walk)
{
    files += kind == FTW_F;
    return 0;
}

static int files_in(const char *folder)
{
    char path[128];
    files = 0;
    snprintf(path, sizeof path, "%s/%s", dir, folder);
    CHECK_INT(nftw(path, count_one, 8, FTW_PHYS), 0);
    return files;
}

static bool is_there(const struct sha *sha)
{
    int fd = blob_open(blobs, sha);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

TEST(a_blob_comes_in_pieces_and_is_named_by_what_it_holds)
{
    struct blob_writer *writer;
    struct sha sha, want = sha_of(BYTES("hello, world"));
    char have[32], hex[SHA_HEX_SIZE], path[160];
    in_new_dir();
    CHECK_INT(blob_writer_open(blobs, &writer), 0);
    CHECK_INT(blob_writer_add(writer, BYTES("hello, ")), 0);
    CHECK_INT(blob_writer_add(writer, BYTES("world")), 0);
    CHECK_INT(blob_writer_commit(writer, &sha), 0);
    CHECK(!memcmp(&sha, &want, sizeof sha));
    int fd = blob_open(blobs, &sha);
    CHECK_INT(read(fd, have, sizeof have), 12);
    CHECK_BYTES(((struct bytes){have, 12}), BYTES("hello, world"));
    close(fd);
    sha_hex(&sha, hex);
    snprintf(path, sizeof path, "%s/blobs/%.2s/%s", dir, hex, hex);
    CHECK_INT(access(path, R_OK), 0);
    CHECK_INT(files_in("tmp"), 0);
    CHECK(blob_space_ok(blobs));
    leave_dir();
}

TEST(a_blob_is_read_whole_or_not_at_all)
{
    struct sha sha, none = sha_of(BYTES("none"));
    struct buf text BUF_OWNED;
    char hex[SHA_HEX_SIZE], path[160];
    in_new_dir();
    CHECK_INT(blob_put(blobs, BYTES("hello, world"), &sha), 0);
    buf_init(&text, 14);
    buf_text(&text, "> ");
    CHECK_INT(blob_read(blobs, &sha, &text), 0);
    CHECK_BYTES(buf_bytes(&text), BYTES("> hello, world"));
    CHECK_INT(blob_read(blobs, &sha, &text), -EFBIG);
    buf_clear(&text);
    CHECK_INT(blob_read(blobs, &none, &text), -ENOENT);
    CHECK_INT(text.count, 0);
    sha_hex(&sha, hex);
    snprintf(path, sizeof path, "%s/blobs/%.2s/%s", dir, hex, hex);
    CHECK_INT(truncate(path, 0), 0);
    CHECK_INT(blob_read(blobs, &sha, &text), 0);      /* who reads it decides what an empty one means */
    CHECK_INT(text.count, 0);
    leave_dir();
}

TEST(the_same_bytes_are_stored_once)
{
    struct sha first, second;
    in_new_dir();
    CHECK(!blob_put(blobs, BYTES("same"), &first) && !blob_put(blobs, BYTES("same"), &second));
    CHECK(!memcmp(&first, &second, sizeof first));
    CHECK_INT(files_in("blobs"), 1);
    CHECK_INT(files_in("tmp"), 0);
    leave_dir();
}

TEST(what_is_given_up_leaves_nothing)
{
    struct blob_writer *writer;
    in_new_dir();
    CHECK_INT(blob_writer_open(blobs, &writer), 0);
    CHECK_INT(blob_writer_add(writer, BYTES("x")), 0);
    CHECK_INT(files_in("tmp"), 1);
    blob_writer_abort(writer);
    blob_writer_abort(NULL);
    CHECK(files_in("tmp") == 0 && files_in("blobs") == 0);
    struct sha none = sha_of(BYTES("x"));
    CHECK_INT(blob_open(blobs, &none), -ENOENT);
    leave_dir();
}

TEST(a_start_throws_away_unfinished_blobs_only)
{
    struct blob_writer *writer;
    struct sha sha;
    in_new_dir();
    CHECK_INT(blob_put(blobs, BYTES("kept"), &sha), 0);
    CHECK_INT(blob_writer_open(blobs, &writer), 0);
    blobs_clean(blobs);
    CHECK(files_in("tmp") == 0 && is_there(&sha));
    blob_writer_abort(writer);
    leave_dir();
}

TEST(a_pinned_blob_stays_until_its_last_pin_goes)
{
    struct sha sha;
    in_new_dir();
    CHECK_INT(blob_put(blobs, BYTES("pinned"), &sha), 0);
    blob_pin(blobs, &sha);
    CHECK_INT(blob_remove(blobs, &sha), 1);
    blob_unpin(blobs, &sha);
    CHECK_INT(blob_remove(blobs, &sha), 1);
    int fd = blob_open(blobs, &sha);
    blob_unpin(blobs, &sha);
    CHECK_INT(blob_remove(blobs, &sha), 0);
    CHECK(!is_there(&sha));
    char byte;
    CHECK_INT(read(fd, &byte, 1), 1);      /* who has it open reads on */
    close(fd);
    CHECK_INT(blob_remove(blobs, &sha), 0);
    leave_dir();
}

static bool is_even(void *data, const struct sha *sha)
{
    ++*(int *)data;
    return sha->at[SHA_SIZE - 1] % 2 == 0;
}

TEST(the_sweep_looks_at_every_file_in_bounded_steps)
{
    struct blob_sweep sweep = {0};
    struct sha shas[40];
    int looked = 0, steps = 0;
    in_new_dir();
    for (int i = 0; i < 40; i++) {
        CHECK_INT(blob_put(blobs, (struct bytes){(char *)&i, sizeof i}, &shas[i]), 0);
        if (i >= 20)
            blob_unpin(blobs, &shas[i]);
    }
    while (blob_sweep(blobs, &sweep, is_even, &looked))
        CHECK(++steps < 1000);
    CHECK_INT(looked, 40);
    for (int i = 0; i < 40; i++)
        CHECK(is_there(&shas[i]) == (i < 20 || shas[i].at[SHA_SIZE - 1] % 2 == 0));
    CHECK(!blob_sweep(blobs, &sweep, is_even, &looked));
    leave_dir();
}

static void *put_many(void *data)
{
    struct sha sha;
    for (int i = 0; i < 30; i++)
        if (blob_put(blobs, (struct bytes){(char *)&i, sizeof i}, &sha))
            return "failed";
    return NULL;
}

TEST(threads_that_write_the_same_blobs_do_not_harm_each_other)
{
    pthread_t threads[3];
    in_new_dir();
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_create(&threads[i], NULL, put_many, NULL));
    for (int i = 0; i < 3; i++) {
        void *answer;
        CHECK(!pthread_join(threads[i], &answer) && !answer);
    }
    CHECK(files_in("blobs") == 30 && files_in("tmp") == 0);
    leave_dir();
}
