#include "engine/keep.h"

#include "base/limits.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct keep {
    struct loop *loop;
    struct blobs *blobs;           /* borrowed; may be NULL: then nothing can be kept */
    int output_fd;
    struct wire_outcome told;
    struct sha sha;
    char value[160];               /* {"blob":…} */
    struct problem problem;
    keep_fn *kept;
    void *data;
    struct timer room;             /* until it is tried again: the disk was full */
    bool hurried;
};

/* A private copy, because the worker may still write to its output. */
static int copy_out(struct keep *keep, char *at, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t got = pread(keep->output_fd, at + done, count - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? -errno : -ENODATA;
        done += (size_t)got;
    }
    return 0;
}

enum { KEPT, NOT_JSON = 1 };

/* Thread: pool. */
static int keep_work(void *data)
{
    struct keep *keep = data;
    size_t count = keep->told.output_bytes;
    if (!keep->blobs)
        return -ENOTSUP;
    char *value = malloc(count);
    int rc = value ? copy_out(keep, value, count) : -ENOMEM;
    if (!rc && wire_value(value, count, &keep->problem))
        rc = NOT_JSON;
    if (!rc)
        rc = blob_put(keep->blobs, (struct bytes){value, count}, &keep->sha);
    free(value);
    return rc;
}

static void keep_done(void *data, int rc);

static void keep_again(struct timer *timer)
{
    struct keep *keep = TIMER_OF(timer, struct keep, room);
    loop_pool(keep->loop, keep_work, keep_done, keep);
}

static void keep_done(void *data, int rc)
{
    struct keep *keep = data;
    if (file_no_space(rc) && !keep->hurried) {
        timer_start(keep->loop, &keep->room, LIMIT_ROOM_US, keep_again);
        return;
    }
    struct outcome outcome = keep->told.outcome;
    struct problem problem = {0};
    if (rc == KEPT) {
        char hex[SHA_HEX_SIZE];
        sha_hex(&keep->sha, hex);
        int count = snprintf(keep->value, sizeof keep->value, "{\"blob\":\"%s\",\"bytes\":%zu,\"type\":\"application/json\"}", hex,
                             keep->told.output_bytes);
        outcome.value = (struct bytes){keep->value, (size_t)count};
        outcome.blob = &keep->sha;
    } else {
        if (rc == NOT_JSON)
            problem_set(&problem, "The result of %zu bytes is %s.", keep->told.output_bytes, keep->problem.text);
        else
            problem_set(&problem, "The result of %zu bytes could not be stored: %s.", keep->told.output_bytes, strerror(-rc));
        outcome = (struct outcome){.verdict = rc > 0 ? VERDICT_FAIL : VERDICT_RETRY, .error = bytes_of(problem.text),
                                   .error_type = BYTES("processing"), .unsaid = true};
    }
    close(keep->output_fd);
    keep->kept(keep->data, &outcome);
    wire_outcome_done(&keep->told);
    free(keep);
}

struct keep *keep_start(struct loop *loop, struct blobs *blobs, int output_fd, struct wire_outcome *told, keep_fn *kept, void *data)
{
    struct keep *keep = MEM_NEW(struct keep);
    *keep = (struct keep){.loop = loop, .blobs = blobs, .output_fd = output_fd, .told = *told, .kept = kept, .data = data};
    told->head = NULL;
    loop_pool(loop, keep_work, keep_done, keep);
    return keep;
}

void keep_hurry(struct keep *keep)
{
    keep->hurried = true;
    if (timer_runs(&keep->room))
        timer_start(keep->loop, &keep->room, 0, keep_again);
}
