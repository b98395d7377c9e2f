/* `rivulet run`: the whole engine without a server. The files become a job, a cursor on its log writes each result to standard output
 * the moment it is durable.
 *
 * With --data the log stays. The job's id is then made from the command itself (pipeline, catalogue, files with their sizes and
 * times), so that the very same command finds its job again: what is done is told at once, what is not goes on. */
#include "cli/bar.h"
#include "cli/host.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/command.h"
#include "readers/cursor.h"
#include "readers/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct run {
    struct host host;
    struct settings settings;
    struct cursor_world world;
    struct cursor cursor;
    struct bar bar;
    struct timer tick;            /* draws the bar while nothing happens */
    struct sha print;             /* of the command: its job's id */
    int64_t total;
    struct counts counts;         /* as of what was written */
    bool ended, lost;             /* every line is written; the log cannot be read on */
    bool draining;                /* Ctrl-C once: what runs is finished */
    bool stopped;                 /* it is finished, or Ctrl-C twice */
    int signals;
};

enum { TICK_US = 250000, LINE_BYTES_MAX = LIMIT_SEED_RESULT_BYTES + 65536 };

/* ---- the items ---- */

struct files {
    struct item_spec *specs;      /* owned, with the texts they view */
    char **texts;
    size_t count, texts_count;
};

static void files_done(struct files *files)
{
    for (size_t i = 0; i < files->texts_count; i++)
        free(files->texts[i]);
    free(files->texts);
    free(files->specs);
}

static struct bytes keep_text(struct files *files, char *text)
{
    files->texts[files->texts_count++] = text;
    return bytes_of(text);
}

static char *reject(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *reject(const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return mem_text(text);
}

/* The name as people will read it: clean UTF-8. */
static char *clean_name(const char *path)
{
    struct buf name;
    buf_init(&name, 4 * PATH_MAX);
    text_clean(&name, bytes_of(path));
    name.count = text_cut(buf_bytes(&name), LIMIT_NAME_BYTES);
    return buf_take(&name, NULL);
}

/* What can be said of a file without reading it. A file that cannot be had fails as one item and harms no other. */
static void add_file(struct files *files, const char *path, const struct settings *settings, struct sha_stream *print)
{
    struct item_spec *spec = &files->specs[files->count++];
    struct stat status = {0};
    char *absolute = realpath(path, NULL);
    int error = !absolute || stat(absolute, &status) ? errno : 0;
    const char *slash = strrchr(path, '/');
    spec->name = keep_text(files, clean_name(slash && slash[1] ? slash + 1 : path));
    spec->path = keep_text(files, absolute ? absolute : mem_text(path));
    spec->bytes = status.st_size;
    char *why = NULL;
    if (error)
        why = reject("The file cannot be read: %s", strerror(error));
    else if (!S_ISREG(status.st_mode))
        why = reject("This is not a file");
    else if (status.st_size > settings->max_file_mb << 20)
        why = reject("File size (%.1fMB) exceeds maximum (%lldMB)", (double)status.st_size / (1 << 20), (long long)settings->max_file_mb);
    if (why) {
        spec->reject_error = keep_text(files, why);
        spec->reject_type = BYTES("validation");
    }
    struct { int64_t size, seconds, nanoseconds; } version = {status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
    sha_add(print, (struct bytes){spec->path.at, spec->path.count + 1});
    sha_add(print, (struct bytes){(const char *)&version, sizeof version});
}

static void add_catalogue(const char *path, struct sha_stream *print)
{
    struct stat status = {0};
    if (path && !stat(path, &status))
        sha_add(print, (struct bytes){(const char *)&status.st_mtim, sizeof status.st_mtim});
    sha_add(print, bytes_of(path ? path : ""));
}

static void list_files(struct run *run, const struct arguments *arguments, struct files *files)
{
    struct sha_stream *print = sha_new();
    size_t count = (size_t)arguments->count - 1;
    files->specs = mem_new(count * sizeof *files->specs);
    files->texts = mem_new(count * 3 * sizeof *files->texts);
    sha_add(print, bytes_of(arguments->words[0]));
    add_catalogue(run->settings.catalogue, print);
    for (size_t i = 0; i < count; i++)
        add_file(files, arguments->words[1 + i], &run->settings, print);
    run->print = sha_end(print);
    run->total = (int64_t)count;
}

static void job_id(void *data, char ret[33])
{
    struct run *run = data;
    char hex[SHA_HEX_SIZE];
    sha_hex(&run->print, hex);
    memcpy(ret, hex, 32);
    ret[32] = 0;
}

/* ---- writing ---- */

static void count_row(struct run *run, const struct row *row)
{
    run->counts.completed += row->kind == EVENT_ITEM_DONE;
    run->counts.failed += row->kind == EVENT_ITEM_FAILED;
    run->ended |= row->kind == EVENT_JOB_ENDED;
}

static void finish_if_over(struct run *run)
{
    if (run->ended || run->lost || run->stopped)
        loop_stop(run->host.loop);
}

/* All rows that are durable and not written yet. A reader of standard output that has gone away ends the program, as it does
 * for every filter. */
static void write_lines(struct run *run)
{
    struct frame_header header = frame_header_of(live_job(run->cursor.live));
    struct buf line BUF_OWNED;
    struct bytes result;
    struct row *row;
    int answer;
    buf_init(&line, LINE_BYTES_MAX);
    while ((answer = cursor_next(&run->cursor, &row, &result)) == CURSOR_ROW || answer == CURSOR_GAP) {
        buf_clear(&line);
        if (answer == CURSOR_ROW && lines_render(&header, row, result, &line)) {
            bar_clear(&run->bar);
            fwrite(line.at, 1, line.count, stdout);
            fflush(stdout);
        }
        if (answer == CURSOR_ROW)
            count_row(run, row);
    }
    run->lost = answer == CURSOR_LOST;
    bar_draw(&run->bar, &run->counts, run->total, loop_now_us(run->host.loop), run->ended);
    finish_if_over(run);
}

static void news(struct cursor *cursor)
{
    write_lines((struct run *)((char *)cursor - offsetof(struct run, cursor)));
}

static void tick(struct timer *timer)
{
    struct run *run = TIMER_OF(timer, struct run, tick);
    bar_draw(&run->bar, &run->counts, run->total, loop_now_us(run->host.loop), false);
    timer_start(run->host.loop, &run->tick, TICK_US, tick);
}

/* ---- the job ---- */

static void idle(void *data)
{
    struct run *run = data;
    run->stopped = true;
    finish_if_over(run);
}

static void interrupted(void *data, int number)
{
    struct run *run = data;
    if (run->signals++) {
        run->stopped = true;
        finish_if_over(run);
        return;
    }
    bar_clear(&run->bar);
    fprintf(stderr, "rivulet run: finishing %zu running items; interrupt again to stop at once\n", engine_running(run->host.engine));
    run->draining = true;
    engine_drain(run->host.engine, idle, run);
}

struct found {
    struct run *run;
    struct live *live;
    bool answered;
};

static void found_job(void *data, struct live *live)
{
    struct found *found = data;
    found->answered = true;
    found->live = live ? live_ref(live) : NULL;
    loop_stop(found->run->host.loop);
}

/* The job that an earlier run of the same command began, or NULL. One reference. */
static struct live *earlier_job(struct run *run)
{
    char id[33];
    struct found found = {run, NULL, false};
    job_id(run, id);
    store_find(run->host.store, bytes_of(id), found_job, &found);
    while (!found.answered)
        loop_run(run->host.loop);
    return found.live;
}

static struct live *new_job(struct run *run, const struct files *files, struct problem *problem)
{
    bool busy;
    struct store_job job = {.owner = BYTES("local"), .pipeline = run->host.pipeline, .in_flight = (uint32_t)run->settings.max_workers};
    struct live *live = engine_submit(run->host.engine, &job, files->specs, files->count, &busy, problem);
    return live ? live_ref(live) : NULL;
}

static void follow(struct run *run, struct live *live)
{
    struct loop *loop = run->host.loop;
    run->world = (struct cursor_world){loop, run->host.store, run->host.blobs};
    bar_init(&run->bar, loop_now_us(loop));
    run->bar.ended_before = live_job(live)->counts.completed + live_job(live)->counts.failed;
    cursor_open(&run->cursor, &run->world, live, FACE_SEED, news);
    live_unref(live);
    loop_on_signal(loop, SIGINT, interrupted, run);
    loop_on_signal(loop, SIGTERM, interrupted, run);
    if (run->bar.shown)
        timer_start(loop, &run->tick, TICK_US, tick);
    write_lines(run);
    while (!run->ended && !run->lost && !run->stopped)
        loop_run(loop);
    timer_stop(loop, &run->tick);
    if (run->bar.shown)
        fputc('\n', stderr);
    cursor_close(&run->cursor);
}

static int verdict(struct run *run)
{
    if (run->ended)
        return run->counts.failed ? EXIT_SOME_FAILED : EXIT_WELL;
    int64_t left = run->total - run->counts.completed - run->counts.failed;
    if (run->lost)
        fprintf(stderr, "rivulet run: the log in \"%s\" cannot be read any further\n", run->host.dir);
    else
        fprintf(stderr, "rivulet run: stopped with %lld of %lld items not done%s\n", (long long)left, (long long)run->total,
                run->host.temporary ? "" : "; the same command goes on from here");
    return EXIT_SOME_FAILED;
}

static int do_job(struct run *run, const struct arguments *arguments, struct problem *problem)
{
    struct files files = {0};
    list_files(run, arguments, &files);
    struct host_options options = {.settings = &run->settings, .pipeline = bytes_of(arguments->words[0]), .dir = run->settings.data,
                                   .id = run->settings.data ? job_id : NULL, .id_data = run};
    int status = EXIT_USAGE;
    if (!host_open(&run->host, &options, problem) && !host_wait_ready(&run->host, problem)) {
        if (run->host.notice)
            fprintf(stderr, "rivulet run: %s\n", run->host.notice);
        struct live *live = run->settings.data ? earlier_job(run) : NULL;
        live = live ? live : new_job(run, &files, problem);
        if (live) {
            follow(run, live);
            status = verdict(run);
        }
    }
    host_close(&run->host);
    files_done(&files);
    return status;
}

static void help(void)
{
    struct buf text BUF_OWNED;
    buf_init(&text, 16384);
    buf_text(&text, "rivulet run PIPELINE [flags] FILES…\n\n"
                    "Each file goes through the pipeline (decklists) on its own; its result is one line of JSON on standard output the\n"
                    "moment it is ready. Status 0: all succeeded; 1: some failed or it was stopped; 2: it could not begin.\n"
                    "With --data DIR the log is kept, and the same command goes on where it was stopped or killed.\n\n");
    settings_help(&text);
    fputs(buf_z(&text), stdout);
}

int command_run(int argc, char **argv)
{
    struct run run = {0};
    struct arguments arguments;
    struct problem problem = {0};
    struct buf note BUF_OWNED;
    buf_init(&note, 1024);
    int status = EXIT_USAGE;
    if (!settings_init(&run.settings, &problem) && !command_parse(argc, argv, &run.settings, &arguments, &problem)) {
        settings_finish(&run.settings, &note);
        if (arguments.help) {
            help();
            status = EXIT_WELL;
        } else if (arguments.count < 2) {
            problem_set(&problem, arguments.count ? "no files are named" : "name a pipeline and files: rivulet run decklists --catalogue FILE FILES…");
        } else {
            status = do_job(&run, &arguments, &problem);
        }
    }
    if (problem_is(&problem))
        status = command_refuse("run", &problem);
    settings_done(&run.settings);
    return status;
}
