/* In the pool: pieces that are blobs are read there, and what they make together becomes one. While the disk is full it waits for space. */
#include "trip/trip_own.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct stow {
    struct loop *loop;
    struct timer room;             /* until it is tried again: the disk was full */
    struct blobs *blobs;
    struct bytes *pieces;          /* owned, and each of their texts */
    size_t count;
    bool brackets, dropped;
    struct buf text;               /* as long as it is short */
    struct blob_writer *writer;    /* from then on; NULL before */
    int64_t bytes;
    struct sha sha;
    char value[160];
    stow_fn *done;
    void *data;
};

bool stow_blob_of(struct bytes value, struct sha *ret)
{
    if (!bytes_start(value, BYTES("{\"blob\":\"")) || value.count > 256)
        return false;
    struct bytes hex = json_span(value, "blob");
    return hex.count == SHA_HEX_SIZE + 1 && sha_from_hex((struct bytes){hex.at + 1, SHA_HEX_SIZE - 1}, ret);
}

static int add(struct stow *stow, struct bytes piece)
{
    stow->bytes += (int64_t)piece.count;
    if (stow->bytes > LIMIT_RECORDS_BYTES)
        return -EFBIG;
    if (!stow->writer && stow->text.count + piece.count <= LIMIT_BODY_BYTES)
        return buf_put(&stow->text, piece) ? 0 : -ENOMEM;
    if (!stow->writer) {
        int rc = stow->blobs ? blob_writer_open(stow->blobs, &stow->writer) : -ENOTSUP;
        if (rc || (rc = blob_writer_add(stow->writer, buf_bytes(&stow->text))))
            return rc;
    }
    return blob_writer_add(stow->writer, piece);
}

static int add_blob(struct stow *stow, const struct sha *sha)
{
    char room[16384];
    int fd = stow->blobs ? blob_open(stow->blobs, sha) : -ENOTSUP, rc = fd < 0 ? fd : 0;
    while (!rc) {
        ssize_t got = read(fd, room, sizeof room);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            rc = got ? -errno : 0;
            break;
        }
        rc = add(stow, (struct bytes){room, (size_t)got});
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Thread: pool. */
static int stow_work(void *data)
{
    struct stow *stow = data;
    struct sha sha;
    stow->bytes = 0;
    stow->writer = NULL;
    buf_clear(&stow->text);
    int rc = stow->brackets ? add(stow, BYTES("[")) : 0;
    for (size_t i = 0; i < stow->count && !rc; i++) {
        if (i)
            rc = add(stow, BYTES(","));
        if (!rc)
            rc = stow_blob_of(stow->pieces[i], &sha) ? add_blob(stow, &sha) : add(stow, stow->pieces[i]);
    }
    if (!rc && stow->brackets)
        rc = add(stow, BYTES("]"));
    if (!stow->writer)
        return rc;
    if (!rc)
        return blob_writer_commit(stow->writer, &stow->sha);
    blob_writer_abort(stow->writer);
    return rc;
}

static void stow_free(struct stow *stow)
{
    for (size_t i = 0; i < stow->count; i++)
        free((char *)stow->pieces[i].at);
    free(stow->pieces);
    buf_done(&stow->text);
    free(stow);
}

static void stow_done(void *data, int rc);

static void stow_again(struct timer *timer)
{
    struct stow *stow = TIMER_OF(timer, struct stow, room);
    loop_pool(stow->loop, stow_work, stow_done, stow);
}

static void stow_done(void *data, int rc)
{
    struct stow *stow = data;
    if (file_no_space(rc) && !stow->dropped) {
        timer_start(stow->loop, &stow->room, LIMIT_ROOM_US, stow_again);
        return;
    }
    struct outcome outcome = {.verdict = VERDICT_DONE, .value = buf_bytes(&stow->text)};
    struct problem problem = {0};
    if (rc) {
        problem_set(&problem, rc == -EFBIG ? "The results together have more than the %d bytes that are taken%s%s." :
                    "The results together, beyond %d bytes, could not be stored: %s%s.", rc == -EFBIG ? LIMIT_RECORDS_BYTES : LIMIT_BODY_BYTES,
                    rc == -EFBIG ? "" : strerror(-rc), "");
        outcome = (struct outcome){.verdict = rc == -EFBIG ? VERDICT_FAIL : VERDICT_RETRY, .error = bytes_of(problem.text),
                                   .error_type = BYTES("processing")};
    } else if (stow->writer) {
        char hex[SHA_HEX_SIZE];
        sha_hex(&stow->sha, hex);
        int count = snprintf(stow->value, sizeof stow->value, "{\"blob\":\"%s\",\"bytes\":%lld,\"type\":\"application/json\"}", hex,
                             (long long)stow->bytes);
        outcome.value = (struct bytes){stow->value, (size_t)count};
        outcome.blob = &stow->sha;
    }
    if (!stow->dropped)
        stow->done(stow->data, &outcome);
    else if (outcome.blob)
        blob_abandon(stow->blobs, outcome.blob);
    stow_free(stow);
}

void stow_drop(struct stow *stow)
{
    if (!stow)
        return;
    stow->dropped = true;
    if (!timer_runs(&stow->room))
        return;
    timer_stop(stow->loop, &stow->room);
    stow_free(stow);
}

struct stow *stow_start(struct trips *trips, struct bytes *pieces, size_t count, bool brackets, stow_fn *done, void *data)
{
    struct stow *stow = MEM_NEW(struct stow);
    *stow = (struct stow){.loop = trips->options.loop, .blobs = trips->options.blobs, .pieces = pieces, .count = count, .brackets = brackets, .done = done, .data = data};
    buf_init(&stow->text, LIMIT_BODY_BYTES);
    loop_pool(trips->options.loop, stow_work, stow_done, stow);
    return stow;
}
