/* golden DIR [--write]: every NAME.events.jsonl in DIR is a log of one job, a row a line: {pos,job,seq,epoch,at,kind,item?,attempt?,body}.
 * It is folded and rendered, and what comes out is compared with what lies beside it:
 *
 *     NAME.job.json        the job document at the end of the log
 *     NAME.seed.sse.txt    all frames of the seed face
 *     NAME.job.sse.txt     all frames of the job face
 *
 * NAME.blob.json is what the blob of a result held, when the log names one. --write makes the files anew: look at the difference before
 * you keep it, because clients and other folds (in JavaScript) live by these bytes. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "core/codec.h"
#include "core/document.h"
#include "readers/frame.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_BYTES_MAX = 4 << 20, NAME_MAX_BYTES = 512 };

struct log_of_job {
    const char *dir, *name;
    struct job *job;
    struct frame_header header;
    struct buf blob;              /* what the result's blob held */
    struct buf seed, native;      /* the frames */
    struct item_names {
        struct bytes at;          /* owned copy */
    } *names;                     /* by item */
    size_t names_count;
};

static int passed, failed;

static void complain(const struct log_of_job *log, const char *what, const char *text)
{
    printf("%s: %s: %s\n", log->name, what, text);
}

/* ---- files ---- */

static bool read_file(const char *dir, const char *name, const char *end, struct buf *ret)
{
    char path[NAME_MAX_BYTES], block[4096];
    snprintf(path, sizeof path, "%s/%s%s", dir, name, end);
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    for (size_t count; (count = fread(block, 1, sizeof block, file));)
        buf_add(ret, block, count);
    fclose(file);
    return buf_ok(ret);
}

static bool write_file(const char *dir, const char *name, const char *end, struct bytes bytes)
{
    char path[NAME_MAX_BYTES];
    snprintf(path, sizeof path, "%s/%s%s", dir, name, end);
    FILE *file = fopen(path, "wb");
    if (!file)
        return false;
    bool good = fwrite(bytes.at, 1, bytes.count, file) == bytes.count;
    return fclose(file) == 0 && good;
}

/* ---- rows ---- */

static enum event_kind kind_of(struct bytes name)
{
    for (int kind = 1; kind < EVENT_KINDS_COUNT; kind++)
        if (bytes_equal(name, bytes_of(event_name(kind))))
            return kind;
    return EVENT_NONE;
}

static struct row *row_of(struct bytes line, struct problem *problem)
{
    struct json_object *tree JSON_OWNED = json_parse(line, problem);
    if (!tree)
        return NULL;
    struct row *row = row_new(json_span(line, "body"));
    row->pos = (uint64_t)json_get_int(tree, "pos", 0);
    row->job = json_get_int(tree, "job", 0);
    row->seq = (uint64_t)json_get_int(tree, "seq", 0);
    row->epoch = json_get_int(tree, "epoch", 0);
    row->at_us = json_get_int(tree, "at", 0);
    row->kind = kind_of(json_get_bytes(tree, "kind"));
    row->item = json_get_int(tree, "item", -1);
    row->attempt = (uint32_t)json_get_int(tree, "attempt", 0);
    return row;
}

static void remember_names(struct log_of_job *log, const struct event *event)
{
    log->names = mem_grow(log->names, (log->names_count + event->added.count) * sizeof *log->names);
    for (size_t i = 0; i < event->added.count; i++) {
        struct bytes name = event->added.items[i].name;
        log->names[log->names_count++].at = (struct bytes){mem_copy(name.at, name.count), name.count};
    }
}

static void render_skipped(struct log_of_job *log, const struct event *event, const struct row *row)
{
    for (size_t i = 0; i < event->skipped.count; i++)
        for (int64_t n = event->skipped.ranges[i].from; n <= event->skipped.ranges[i].to; n++)
            frame_skipped(row, n, log->names[n].at, i + 1 == event->skipped.count && n == event->skipped.ranges[i].to, &log->seed);
}

static void render(struct log_of_job *log, const struct event *event, const struct row *row)
{
    struct sha sha;
    bool from_blob = frame_blob(FACE_SEED, row, &sha);
    log->header = frame_header_of(log->job);
    frame_render(&log->header, FACE_SEED, row, from_blob ? buf_bytes(&log->blob) : (struct bytes){0}, &log->seed);
    frame_render(&log->header, FACE_JOB, row, (struct bytes){0}, &log->native);
    if (row->kind == EVENT_ITEMS_SKIPPED)
        render_skipped(log, event, row);
}

/* The counts in the body are those of the fold, and the bytes those of the codec: a log written by hand must be a real one. */
static int check_row(struct log_of_job *log, struct event *event, const struct row *row, struct problem *problem)
{
    struct counts have = event->counts;
    bool counted = event_is_item(row->kind) || row->kind == EVENT_JOB_ENDED;
    event->counts = log->job->counts;
    struct row *again = codec_encode(event, LIMIT_ROW_BYTES);
    int answer = 0;
    if (counted && memcmp(&have, &log->job->counts, sizeof have))
        answer = problem_set(problem, "seq %llu (%s): its counts are not those of the fold", (unsigned long long)row->seq, event_name(row->kind));
    else if (!again || !bytes_equal(row_body(again), row_body(row)))
        answer = problem_set(problem, "seq %llu (%s): the codec writes %s", (unsigned long long)row->seq, event_name(row->kind),
                             again ? again->body : "nothing");
    row_unref(again);
    return answer;
}

static int take_row(struct log_of_job *log, const struct row *row, struct problem *problem)
{
    struct event event;
    struct codec_arena arena CODEC_OWNED = {0};
    if (codec_decode(row, &event, &arena, problem) || job_apply(log->job, &event, problem) || check_row(log, &event, row, problem))
        return -1;
    if (row->kind == EVENT_ITEMS_ADDED)
        remember_names(log, &event);
    render(log, &event, row);
    return 0;
}

static int take_lines(struct log_of_job *log, struct bytes lines, struct problem *problem)
{
    while (lines.count) {
        struct bytes line = bytes_cut(&lines, '\n');
        struct row *row = line.count ? row_of(line, problem) : NULL;
        int answer = row ? take_row(log, row, problem) : problem_set(problem, "a line is no row");
        row_unref(row);
        if (answer)
            return answer;
    }
    return 0;
}

/* ---- comparing ---- */

/* The first line that differs, of both. */
static void show_difference(const struct log_of_job *log, const char *end, struct bytes have, struct bytes want)
{
    for (int line = 1; have.count || want.count; line++) {
        struct bytes a = bytes_cut(&have, '\n'), b = bytes_cut(&want, '\n');
        if (bytes_equal(a, b))
            continue;
        printf("%s%s: line %d is\n  %.*s\nand should be\n  %.*s\n", log->name, end, line, BYTES_ARG(a), BYTES_ARG(b));
        return;
    }
}

static void settle(const struct log_of_job *log, const char *end, struct bytes have, bool write)
{
    struct buf want BUF_OWNED;
    buf_init(&want, FILE_BYTES_MAX);
    if (write && !write_file(log->dir, log->name, end, have))
        complain(log, end, "it cannot be written");
    bool good = read_file(log->dir, log->name, end, &want) && bytes_equal(have, buf_bytes(&want));
    passed += good;
    failed += !good;
    if (!good)
        show_difference(log, end, have, buf_bytes(&want));
}

static void log_done(struct log_of_job *log)
{
    for (size_t i = 0; i < log->names_count; i++)
        free((char *)log->names[i].at.at);
    free(log->names);
    job_free(log->job);
    buf_done(&log->blob);
    buf_done(&log->seed);
    buf_done(&log->native);
}

static void one(const char *dir, const char *name, bool write)
{
    struct log_of_job log = {.dir = dir, .name = name, .job = job_new()};
    struct problem problem = {0};
    struct buf lines BUF_OWNED, document BUF_OWNED;
    buf_init(&lines, FILE_BYTES_MAX);
    buf_init(&document, FILE_BYTES_MAX);
    buf_init(&log.blob, FILE_BYTES_MAX);
    buf_init(&log.seed, FILE_BYTES_MAX);
    buf_init(&log.native, FILE_BYTES_MAX);
    read_file(dir, name, ".blob.json", &log.blob);
    if (!read_file(dir, name, ".events.jsonl", &lines) || take_lines(&log, buf_bytes(&lines), &problem)) {
        complain(&log, "the log does not fold", problem.text);
        failed += 3;
    } else {
        document_job(log.job, &document);
        buf_byte(&document, '\n');
        settle(&log, ".job.json", buf_bytes(&document), write);
        settle(&log, ".seed.sse.txt", buf_bytes(&log.seed), write);
        settle(&log, ".job.sse.txt", buf_bytes(&log.native), write);
    }
    log_done(&log);
}

static int is_log(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name), end = strlen(".events.jsonl");
    return length > end && !strcmp(entry->d_name + length - end, ".events.jsonl");
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    bool write = argc > 2 && !strcmp(argv[2], "--write");
    if (argc < 2 || (argc > 2 && !write)) {
        fprintf(stderr, "usage: golden DIR [--write]\n");
        return 2;
    }
    int count = scandir(argv[1], &entries, is_log, alphasort);
    for (int i = 0; i < count; i++) {
        char *name MEM_OWNED = mem_copy(entries[i]->d_name, strlen(entries[i]->d_name) - strlen(".events.jsonl"));
        one(argv[1], name, write);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed;
}
