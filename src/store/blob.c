#include "store/blob.h"

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "os/file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct blobs {
    int blobs_dir, tmp_dir;        /* descriptors */
    atomic_uint_fast64_t next_tmp; /* makes names in tmp/ */
    pthread_mutex_t folders_mutex; /* over folder_ready and the making of folders */
    bool folder_ready[256];        /* blobs/ab is there and durable, as far as this process knows */
    pthread_mutex_t mutex;         /* over pins, and over every removal of a named file */
    struct map pins;               /* text of the sha → struct pin */
    atomic_bool abandoned;         /* a file may have lost its last pin without an event that names it */
};

struct pin {
    struct sha sha;                /* the key's bytes */
    size_t count;
};

struct blob_writer {
    struct blobs *blobs;
    struct sha_stream *hash;
    int fd;
    char tmp[24];                  /* name in tmp/ */
};

enum { SHA_PATH_SIZE = SHA_HEX_SIZE + 3, EXIT_LOST = 70 };

static void path_of(const struct sha *sha, char ret[SHA_PATH_SIZE])
{
    sha_hex(sha, ret + 3);
    ret[0] = ret[3];
    ret[1] = ret[4];
    ret[2] = '/';
}

static int open_dir(const char *dir, const char *name, int *ret, struct problem *problem)
{
    struct buf path BUF_OWNED;
    buf_init(&path, 4096);
    buf_print(&path, "%s/%s", dir, name);
    const char *text = buf_z(&path);
    int result = buf_ok(&path) ? file_make_dir(text) : -ENAMETOOLONG;
    if (result == 0 && (*ret = open(text, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        result = -errno;
    return result < 0 ? problem_set(problem, "%s/%s could not be opened: %s.", dir, name, strerror(-result)) : 0;
}

int blobs_open(const char *dir, struct blobs **ret, struct problem *problem)
{
    struct blobs *blobs = MEM_NEW(struct blobs);
    blobs->blobs_dir = blobs->tmp_dir = -1;
    pthread_mutex_init(&blobs->mutex, NULL);
    pthread_mutex_init(&blobs->folders_mutex, NULL);
    if (open_dir(dir, "blobs", &blobs->blobs_dir, problem) < 0 || open_dir(dir, "tmp", &blobs->tmp_dir, problem) < 0) {
        blobs_close(blobs);
        return -1;
    }
    *ret = blobs;
    return 0;
}

void blobs_close(struct blobs *blobs)
{
    if (!blobs)
        return;
    size_t at = 0;
    for (struct pin *pin; (pin = map_next(&blobs->pins, &at));)
        free(pin);
    map_done(&blobs->pins);
    pthread_mutex_destroy(&blobs->mutex);
    pthread_mutex_destroy(&blobs->folders_mutex);
    if (blobs->blobs_dir >= 0)
        close(blobs->blobs_dir);
    if (blobs->tmp_dir >= 0)
        close(blobs->tmp_dir);
    free(blobs);
}

void blobs_clean(struct blobs *blobs)
{
    file_empty_dir(blobs->tmp_dir);
}

int blob_writer_open(struct blobs *blobs, struct blob_writer **ret)
{
    struct blob_writer *writer = MEM_NEW(struct blob_writer);
    writer->blobs = blobs;
    snprintf(writer->tmp, sizeof writer->tmp, "%llu", (unsigned long long)atomic_fetch_add(&blobs->next_tmp, 1));
    writer->fd = openat(blobs->tmp_dir, writer->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (writer->fd < 0) {
        int error = errno;
        free(writer);
        return -error;
    }
    writer->hash = sha_new();
    *ret = writer;
    return 0;
}

int blob_writer_add(struct blob_writer *writer, struct bytes piece)
{
    int result = file_write(writer->fd, piece);
    if (result == 0)
        sha_add(writer->hash, piece);
    return result;
}

void blob_writer_abort(struct blob_writer *writer)
{
    if (!writer)
        return;
    unlinkat(writer->blobs->tmp_dir, writer->tmp, 0);
    close(writer->fd);
    if (writer->hash)
        sha_drop(writer->hash);
    free(writer);
}

/* A kernel that could not write says so once, and the next sync of the same may answer that all is well: nobody may ask it again, so the
 * process ends, as it does behind a failed sync of the log (sqlite.h). */
static void end_if_lost(int error, const char *what)
{
    if (error != -EIO && error != -ENOSPC && error != -EDQUOT && error != -EROFS)
        return;
    fprintf(stderr, "rivulet: blobs: a sync of %s failed (%s); what the disk holds is unknown now, so the process ends; "
            "start it again to recover.\n", what, strerror(-error));
    _exit(EXIT_LOST);
}

static int sync_folder(struct blobs *blobs, const char *folder)
{
    int result = file_sync_dir(blobs->blobs_dir, folder);
    end_if_lost(result, "a folder");
    return result;
}

/* Without space nothing is lost that anybody was told of: the file goes, and its writer hears why. */
static int sync_file(int fd)
{
    int result = fsync(fd) ? -errno : 0;
    if (result != -ENOSPC && result != -EDQUOT)
        end_if_lost(result, "a file");
    return result;
}

/* The folder "ab" for the blob, durable itself. Others that need it wait until it is. */
static int make_folder(struct blobs *blobs, const char *name)
{
    unsigned number = (unsigned)strtoul(name, NULL, 16);
    int result = 0;
    pthread_mutex_lock(&blobs->folders_mutex);
    if (!blobs->folder_ready[number]) {
        result = mkdirat(blobs->blobs_dir, name, 0700) && errno != EEXIST ? -errno : sync_folder(blobs, ".");
        blobs->folder_ready[number] = result == 0;
    }
    pthread_mutex_unlock(&blobs->folders_mutex);
    return result;
}

/* Gives the file its name. The folder is synced even if the blob is there already: another thread may have renamed it this
 * very moment and not have synced yet. */
static int give_name(struct blob_writer *writer, const char *path)
{
    struct blobs *blobs = writer->blobs;
    char folder[3] = {path[0], path[1], 0};
    int result = make_folder(blobs, folder);
    if (result < 0)
        return result;
    if (faccessat(blobs->blobs_dir, path, F_OK, 0)) {
        result = sync_file(writer->fd);
        if (result == 0 && renameat(blobs->tmp_dir, writer->tmp, blobs->blobs_dir, path))
            result = -errno;
    }
    return result < 0 ? result : sync_folder(blobs, folder);
}

int blob_writer_commit(struct blob_writer *writer, struct sha *ret)
{
    struct blobs *blobs = writer->blobs;
    char path[SHA_PATH_SIZE];
    struct sha sha = sha_end(writer->hash);
    writer->hash = NULL;
    path_of(&sha, path);
    blob_pin(blobs, &sha);
    int result = give_name(writer, path);
    blob_writer_abort(writer);     /* what is still in tmp/ is not needed: renamed away, or there already */
    if (result < 0)
        blob_unpin(blobs, &sha);
    else
        *ret = sha;
    return result;
}

int blob_put(struct blobs *blobs, struct bytes content, struct sha *ret)
{
    struct blob_writer *writer;
    int result = blob_writer_open(blobs, &writer);
    if (result < 0)
        return result;
    result = blob_writer_add(writer, content);
    if (result == 0)
        return blob_writer_commit(writer, ret);
    blob_writer_abort(writer);
    return result;
}

int blob_open(struct blobs *blobs, const struct sha *sha)
{
    char path[SHA_PATH_SIZE];
    path_of(sha, path);
    int fd = openat(blobs->blobs_dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

static int read_whole(int fd, struct buf *ret)
{
    struct stat about;
    if (fstat(fd, &about))
        return -errno;
    size_t end = ret->count + (size_t)about.st_size;
    if (end > ret->max)
        return -EFBIG;
    if (!buf_reserve(ret, (size_t)about.st_size))
        return -ENOMEM;
    while (ret->count < end) {
        ssize_t got = read(fd, ret->at + ret->count, end - ret->count);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            return -EIO;
        ret->count += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

int blob_read(struct blobs *blobs, const struct sha *sha, struct buf *ret)
{
    int fd = blob_open(blobs, sha);
    if (fd < 0)
        return fd;
    int result = read_whole(fd, ret);
    close(fd);
    return result;
}

static struct bytes key_of(const struct sha *sha)
{
    return (struct bytes){(const char *)sha->at, SHA_SIZE};
}

void blob_pin(struct blobs *blobs, const struct sha *sha)
{
    pthread_mutex_lock(&blobs->mutex);
    struct pin *pin = map_get_text(&blobs->pins, key_of(sha));
    if (!pin) {
        pin = MEM_NEW(struct pin);
        pin->sha = *sha;
        map_set_text(&blobs->pins, key_of(&pin->sha), pin);
    }
    pin->count++;
    pthread_mutex_unlock(&blobs->mutex);
}

void blob_unpin(struct blobs *blobs, const struct sha *sha)
{
    pthread_mutex_lock(&blobs->mutex);
    struct pin *pin = map_get_text(&blobs->pins, key_of(sha));
    assert(pin && pin->count);
    if (--pin->count == 0)
        free(map_take_text(&blobs->pins, key_of(sha)));
    pthread_mutex_unlock(&blobs->mutex);
}

void blob_abandon(struct blobs *blobs, const struct sha *sha)
{
    blob_unpin(blobs, sha);
    atomic_store(&blobs->abandoned, true);
}

bool blob_take_abandoned(struct blobs *blobs)
{
    return atomic_exchange(&blobs->abandoned, false);
}

int blob_remove(struct blobs *blobs, const struct sha *sha)
{
    char path[SHA_PATH_SIZE];
    path_of(sha, path);
    int result = 1;
    pthread_mutex_lock(&blobs->mutex);
    if (!map_get_text(&blobs->pins, key_of(sha)))
        result = unlinkat(blobs->blobs_dir, path, 0) && errno != ENOENT ? -errno : 0;
    pthread_mutex_unlock(&blobs->mutex);
    return result;
}

/* The next folder that is there, opened; NULL behind the last. */
static DIR *next_folder(struct blobs *blobs, struct blob_sweep *at)
{
    while (at->folder < 256) {
        char name[3];
        snprintf(name, sizeof name, "%02x", at->folder & 255);
        int fd = openat(blobs->blobs_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
            return fdopendir(fd);
        at->folder++;
    }
    return NULL;
}

bool blob_sweep(struct blobs *blobs, struct blob_sweep *at, bool (*used)(void *data, const struct sha *sha), void *data)
{
    struct sha sha;
    if (!at->list && !(at->list = next_folder(blobs, at)))
        return false;
    for (int i = 0; i < LIMIT_SWEEP_FILES; i++) {
        struct dirent *entry = readdir(at->list);
        if (!entry) {
            blob_sweep_done(at);
            at->folder++;
            return at->folder < 256;
        }
        if (sha_from_hex(bytes_of(entry->d_name), &sha) && !used(data, &sha))
            blob_remove(blobs, &sha);
    }
    return true;
}

void blob_sweep_done(struct blob_sweep *at)
{
    if (at->list)
        closedir(at->list);
    at->list = NULL;
}

bool blob_space_ok(const struct blobs *blobs)
{
    return file_space(blobs->blobs_dir) >= LIMIT_FREE_DISK_BYTES;
}
