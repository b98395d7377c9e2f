#include "os/fetch_fixture.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "os/fetch_own.h"
#include "os/fetch_url.h"
#include "os/file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLUG_BYTES = 80, KEY_HEX = 12, INLINE_BYTES = 256 * 1024, FILE_BYTES = 4 * 1024 * 1024, DELAY_PART = 10, DELAY_US_MAX = 1000000 };

struct fixtures {
    char *dir;
    pthread_mutex_t lock;        /* guards seen */
    struct map seen;             /* name → struct seen */
};

struct seen {
    char *name;
    int times;
};

int fixtures_open(const char *dir, bool record, struct fixtures **ret, struct problem *problem)
{
    int failed = record ? file_make_dir(dir) : 0;
    if (!failed && access(dir, record ? R_OK | W_OK | X_OK : R_OK | X_OK))
        failed = -errno;
    if (failed)
        return problem_set(problem, "the folder of fixtures %s cannot be used: %s", dir, strerror(-failed));
    struct fixtures *fixtures = MEM_NEW(struct fixtures);
    fixtures->dir = mem_text(dir);
    pthread_mutex_init(&fixtures->lock, NULL);
    *ret = fixtures;
    return 0;
}

void fixtures_close(struct fixtures *fixtures)
{
    if (!fixtures)
        return;
    size_t at = 0;
    for (struct seen *seen; (seen = map_next(&fixtures->seen, &at)); free(seen))
        free(seen->name);
    map_done(&fixtures->seen);
    pthread_mutex_destroy(&fixtures->lock);
    free(fixtures->dir);
    free(fixtures);
}

/* ---- names ---- */

/* "POST_api.example.com_v3_trigger-3fa9c1d2e4b5": for eyes, then for the lookup. */
static void name_of(const struct fetch_call *call, struct buf *ret)
{
    struct buf key BUF_OWNED;
    char hex[SHA_HEX_SIZE];
    buf_init(&key, 4 * LIMIT_FETCH_URL_BYTES);
    buf_print(&key, "%s\n", call->method);
    size_t from = key.count;
    fetch_url_mask(call->url, &key);
    struct bytes url = {key.at + from, key.count - from}, shown = url;
    struct sha body = sha_of((struct bytes){call->body, call->body_count});
    sha_hex(&body, hex);
    bytes_cut(&shown, '/');                      /* the scheme and the two slashes */
    bytes_cut(&shown, '/');
    buf_print(ret, "%s_", call->method);
    for (size_t i = 0; i < shown.count && shown.at[i] != '?' && i < SLUG_BYTES; i++)
        buf_byte(ret, isalnum((unsigned char)shown.at[i]) || shown.at[i] == '.' ? shown.at[i] : '_');
    buf_print(&key, "\n%s\n%s", hex, call->part_fields ? call->part_fields : "");
    struct sha whole = sha_of(buf_bytes(&key));
    sha_hex(&whole, hex);
    buf_print(ret, "-%.*s", KEY_HEX, hex);
}

static int times_of(struct fixtures *fixtures, struct bytes name)
{
    pthread_mutex_lock(&fixtures->lock);
    struct seen *seen = map_get_text(&fixtures->seen, name);
    if (!seen) {
        seen = MEM_NEW(struct seen);
        seen->name = mem_copy(name.at, name.count);
        map_set_text(&fixtures->seen, bytes_of(seen->name), seen);
    }
    int times = ++seen->times;
    pthread_mutex_unlock(&fixtures->lock);
    return times;
}

static void path_of(const struct fixtures *fixtures, struct bytes name, int number, const char *ending, struct buf *ret)
{
    buf_clear(ret);
    buf_print(ret, "%s/%.*s-%d.%s", fixtures->dir, BYTES_ARG(name), number, ending);
}

/* ---- play ---- */

static int give_file(struct fetch_call *call, int fd, struct problem *problem)
{
    struct stat stat;
    if (fstat(fd, &stat))
        return problem_set(problem, "a fixture's body cannot be read: %s", strerror(errno));
    call->own.file = fd;
    call->own.bytes = stat.st_size;
    if (stat.st_size > call->answer_max)
        call->too_large = true;
    return 0;
}

static int give_body(struct fetch_call *call, struct bytes body, struct problem *problem)
{
    struct fetch_own *own = &call->own;
    own->bytes = body.count;
    if (own->bytes > call->answer_max && own->status / 100 == 2) {
        call->too_large = true;
        return 0;
    }
    if (!call->spool || own->status / 100 != 2) {
        if (!buf_put(&own->body, body))
            return problem_set(problem, "a fixture's body of %zu bytes is too long for this call", body.count);
        return 0;
    }
    own->file = fetch_spool_file(call->fetch->spool_dir);
    int failed = own->file < 0 ? own->file : file_write(own->file, body);
    if (failed)
        return problem_set(problem, "a fixture's body cannot be kept in %s: %s", call->fetch->spool_dir, strerror(-failed));
    lseek(own->file, 0, SEEK_SET);
    return 0;
}

static int give_beside(const struct fixtures *fixtures, struct fetch_call *call, struct bytes name, struct problem *problem)
{
    char path[4096];
    struct buf body BUF_OWNED;
    buf_init(&body, call->answer_max);
    if (memchr(name.at, '/', name.count) || name.count > 255)
        return problem_set(problem, "a fixture's body_file must be a name without a slash");
    snprintf(path, sizeof path, "%s/%.*s", fixtures->dir, BYTES_ARG(name));
    if (call->spool && call->own.status / 100 == 2) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? problem_set(problem, "the fixture %s cannot be read: %s", path, strerror(errno)) : give_file(call, fd, problem);
    }
    int failed = file_read(path, &body);
    if (failed == -EFBIG) {
        call->too_large = true;
        return 0;
    }
    return failed ? problem_set(problem, "the fixture %s cannot be read: %s", path, strerror(-failed)) : give_body(call, buf_bytes(&body), problem);
}

static void give_head(struct fetch_call *call, struct json_object *response)
{
    struct buf *head = &call->own.head;
    struct json_object *headers = json_get(response, "headers");
    struct bytes type = json_get_bytes(response, "type");
    if (type.count)
        buf_print(head, "Content-Type: %.*s\n", BYTES_ARG(type));
    if (!headers || json_object_get_type(headers) != json_type_object)
        return;
    json_object_object_foreach(headers, key, value)
        buf_print(head, "%s: %s\n", key, value ? json_object_get_string(value) : "");
}

static int give(const struct fixtures *fixtures, struct fetch_call *call, const char *path, struct bytes file, int64_t *ret_delay_us,
                struct problem *problem)
{
    struct json_object *tree JSON_OWNED = json_parse(file, problem), *response = json_get(tree, "response");
    if (!response)
        return problem_set(problem, "the fixture %s has no response", path);
    call->own.status = (int)json_get_int(response, "status", 200);
    int64_t delay_us = json_get_int(response, "took_us", 0) / DELAY_PART;
    *ret_delay_us = delay_us < 0 ? 0 : delay_us < DELAY_US_MAX ? delay_us : DELAY_US_MAX;
    give_head(call, response);
    struct bytes name = json_get_bytes(response, "body_file"), text = json_get_bytes(response, "text");
    struct buf body BUF_OWNED;
    buf_init(&body, FILE_BYTES);
    if (json_get(response, "body"))
        json_tree(&body, json_get(response, "body"));
    int failed = name.count ? give_beside(fixtures, call, name, problem) : give_body(call, text.at ? text : buf_bytes(&body), problem);
    if (failed)
        return -1;
    call->answer.end = call->too_large ? FETCH_TOO_LARGE : FETCH_ANSWERED;
    if (call->too_large)
        problem_set(&call->answer.problem, "the answer in %s is longer than %lld bytes", path, (long long)call->answer_max);
    return 0;
}

int fixtures_play(struct fixtures *fixtures, struct fetch_call *call, int64_t *ret_delay_us, struct problem *problem)
{
    struct buf name BUF_OWNED, path BUF_OWNED, file BUF_OWNED;
    buf_init(&name, 4096);
    buf_init(&path, 4096);
    buf_init(&file, FILE_BYTES);
    name_of(call, &name);
    int failed = -ENOENT;
    for (int number = times_of(fixtures, buf_bytes(&name)); number > 0 && failed == -ENOENT; number--) {
        buf_clear(&file);
        path_of(fixtures, buf_bytes(&name), number, "json", &path);
        failed = file_read(buf_z(&path), &file);
    }
    if (failed)
        return problem_set(problem, "there is no recorded answer for this call: %s %s", buf_z(&path),
                           failed == -ENOENT ? "is missing" : strerror(-failed));
    return give(fixtures, call, buf_z(&path), buf_bytes(&file), ret_delay_us, problem);
}

/* ---- keep ---- */

static bool is_of_interest(struct bytes name)
{
    static const char *const names[] = {"retry-after", "retry-after-ms", "link", "location", "content-range", "x-total-count"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bytes_equal_nocase(name, bytes_of(names[i])))
            return true;
    for (size_t i = 0; i + 9 <= name.count; i++)
        if (bytes_equal_nocase((struct bytes){name.at + i, 9}, BYTES("ratelimit")))
            return true;
    return false;
}

static void put_headers(struct buf *file, struct bytes head)
{
    json_key(file, "headers");
    json_open(file, '{');
    while (head.count) {
        struct bytes value = bytes_cut(&head, '\n'), name = bytes_cut(&value, ':');
        if (!is_of_interest(name))
            continue;
        json_key_bytes(file, name);
        json_bytes(file, bytes_trim(value));
    }
    json_close(file, '}');
}

static int copy_file(int from, int64_t count, const char *path)
{
    char piece[65536];
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), failed = to < 0 ? -errno : 0;
    for (int64_t at = 0; !failed && at < count;) {
        ssize_t got = pread(from, piece, sizeof piece, at);
        failed = got < 0 ? -errno : got ? file_write(to, (struct bytes){piece, got}) : -EIO;
        at += got > 0 ? got : 0;
    }
    if (to >= 0)
        close(to);
    return failed;
}

/* The body goes where it can be read best: into the JSON, as a text, or to a file beside. */
static int put_body(const struct fixtures *fixtures, const struct fetch_call *call, struct bytes name, int number, struct buf *file)
{
    struct buf copy BUF_OWNED, path BUF_OWNED;
    buf_init(&copy, INLINE_BYTES);
    buf_init(&path, 4096);
    struct bytes body = buf_bytes(&call->own.body);
    if (call->own.file >= 0 && call->own.bytes <= INLINE_BYTES && call->own.bytes && buf_reserve(&copy, call->own.bytes) &&
        pread(call->own.file, copy.at, call->own.bytes, 0) == call->own.bytes)
        body = (struct bytes){copy.at, call->own.bytes};
    struct json_object *tree JSON_OWNED = body.count && body.count <= INLINE_BYTES ? json_parse(body, NULL) : NULL;
    if (tree) {
        json_put_raw(file, "body", body);
    } else if ((int64_t)body.count == call->own.bytes && body.count <= INLINE_BYTES && text_is_utf8(body)) {
        json_put_bytes(file, "text", body);
    } else {
        path_of(fixtures, name, number, "body", &path);
        int failed = call->own.file >= 0 ? copy_file(call->own.file, call->own.bytes, buf_z(&path)) : file_replace(buf_z(&path), body);
        if (failed)
            return failed;
        json_put_text(file, "body_file", strrchr(buf_z(&path), '/') + 1);
    }
    return 0;
}

static int write_file(const struct fixtures *fixtures, const struct fetch_call *call, struct bytes name, int number, struct buf *path)
{
    struct buf file BUF_OWNED, url BUF_OWNED;
    buf_init(&file, FILE_BYTES);
    buf_init(&url, 4 * LIMIT_FETCH_URL_BYTES);
    fetch_url_mask(call->url, &url);
    buf_text(&file, "{\"request\":");
    json_open(&file, '{');
    json_put_text(&file, "method", call->method);
    json_put_bytes(&file, "url", buf_bytes(&url));
    json_close(&file, '}');
    buf_text(&file, ",\n \"response\":");
    json_open(&file, '{');
    json_put_int(&file, "status", call->own.status);
    json_put_bytes(&file, "type", fetch_header(&(struct fetch_answer){.own = &call->own}, "content-type"));
    json_put_int(&file, "took_us", call->answer.took_us);
    put_headers(&file, buf_bytes(&call->own.head));
    int failed = put_body(fixtures, call, name, number, &file);
    json_close(&file, '}');
    buf_text(&file, "}\n");
    path_of(fixtures, name, number + 1, "json", path);
    unlink(buf_z(path));                         /* of an earlier recording: the last file is what is repeated */
    path_of(fixtures, name, number, "json", path);
    if (failed)
        return failed;
    return buf_ok(&file) ? file_replace(buf_z(path), buf_bytes(&file)) : -EFBIG;
}

int fixtures_keep(struct fixtures *fixtures, const struct fetch_call *call, struct problem *problem)
{
    struct buf name BUF_OWNED, path BUF_OWNED;
    buf_init(&name, 4096);
    buf_init(&path, 4096);
    name_of(call, &name);
    int failed = write_file(fixtures, call, buf_bytes(&name), times_of(fixtures, buf_bytes(&name)), &path);
    return failed ? problem_set(problem, "the answer cannot be recorded in %s: %s", buf_z(&path), strerror(-failed)) : 0;
}
