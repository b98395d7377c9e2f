#include "cli/files.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXTS_EACH = 3, PIECE_BYTES = 65536 };      /* name, path, refusal */

static struct bytes keep_text(struct files *files, char *text)
{
    files->texts[files->texts_count++] = text;
    return bytes_of(text);
}

static void refuse(struct files *files, struct item_spec *spec, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void refuse(struct files *files, struct item_spec *spec, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    spec->reject_error = keep_text(files, mem_text(text));
    spec->reject_type = BYTES("validation");
}

/* The last part of a path as people will read it: clean UTF-8. */
static char *clean_name(const char *path)
{
    struct buf name;
    const char *slash = strrchr(path, '/');
    buf_init(&name, 4 * PATH_MAX);
    text_clean(&name, bytes_of(slash && slash[1] ? slash + 1 : path));
    name.count = text_cut(buf_bytes(&name), LIMIT_NAME_BYTES);
    char *text = buf_take(&name, NULL);
    return text ? text : mem_text("");
}

/* 0, or -errno. Blocks, which harms nobody: nothing runs yet. The pin is kept for the program's life. */
static int store_file(const char *path, struct blobs *blobs, struct sha *ret)
{
    char piece[PIECE_BYTES];
    struct blob_writer *writer = NULL;
    ssize_t count = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int rc = fd < 0 ? -errno : blob_writer_open(blobs, &writer);
    while (!rc && (count = read(fd, piece, sizeof piece)) > 0)
        rc = blob_writer_add(writer, (struct bytes){piece, (size_t)count});
    if (!rc && count < 0)
        rc = -errno;
    if (fd >= 0)
        close(fd);
    if (!rc)
        return blob_writer_commit(writer, ret);
    blob_writer_abort(writer);
    return rc;
}

static void place_input(struct files *files, struct item_spec *spec, struct bytes path, struct blobs *blobs)
{
    if (text_is_utf8(path)) {
        spec->path = path;
        return;
    }
    int rc = spec->reject_error.count ? 0 : store_file(path.at, blobs, &spec->blob);
    spec->has_blob = !spec->reject_error.count && !rc;
    if (rc)
        refuse(files, spec, "The file cannot be read: %s", strerror(-rc));
}

static void check(struct files *files, struct item_spec *spec, int error, const struct stat *status, int64_t max_mb)
{
    if (error)
        refuse(files, spec, "The file cannot be read: %s", strerror(error));
    else if (!S_ISREG(status->st_mode))
        refuse(files, spec, "This is not a file");
    else if (status->st_size > max_mb << 20)
        refuse(files, spec, "File size (%.1fMB) exceeds maximum (%lldMB)", (double)status->st_size / (1 << 20), (long long)max_mb);
}

static void add(struct files *files, const char *given, int64_t max_mb, struct blobs *blobs, struct sha_stream *print)
{
    struct item_spec *spec = &files->specs[files->count++];
    struct stat status = {0};
    char *absolute = realpath(given, NULL);
    int error = !absolute || stat(absolute, &status) ? errno : 0;
    struct bytes path = keep_text(files, absolute ? absolute : mem_text(given));
    spec->name = keep_text(files, clean_name(given));
    spec->bytes = status.st_size;
    check(files, spec, error, &status, max_mb);
    place_input(files, spec, path, blobs);
    struct { int64_t size, seconds, nanoseconds; } version = {status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
    sha_add(print, (struct bytes){path.at, path.count + 1});
    sha_add(print, (struct bytes){(const char *)&version, sizeof version});
    sha_add(print, spec->reject_error);
}

void files_list(struct files *files, char *const *paths, size_t count, const struct settings *settings, struct blobs *blobs,
                struct sha_stream *print)
{
    files->specs = mem_new(count * sizeof *files->specs);
    files->texts = mem_new(count * TEXTS_EACH * sizeof *files->texts);
    for (size_t i = 0; i < count; i++)
        add(files, paths[i], settings->max_file_mb, blobs, print);
}

void files_done(struct files *files)
{
    for (size_t i = 0; i < files->texts_count; i++)
        free(files->texts[i]);
    free(files->texts);
    free(files->specs);
    *files = (struct files){0};
}
