/* `rivulet run`: the whole engine without a server. The files become a job, a cursor on its log writes each result to standard output
 * the moment it is durable.
 *
 * With --data the log stays. The job's id is then made from the command itself (pipeline, catalogue, files with their sizes and
 * times), so that the very same command finds its job again: what is done is told at once, what is not goes on. A job whose intake was
 * cut off by a kill is of no use; then the id is made from the one before. */
#include "cli/bar.h"
#include "cli/files.h"
#include "cli/host.h"
#include "cli/manual.h"
#include "cli/outlet.h"
#include "cli/report.h"
#include "cli/values.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "core/codec.h"
#include "engine/terms.h"
#include "readers/cursor.h"
#include "readers/lines.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct flag run_flags[] = {
    {"values", "FILE", "JSON Lines, an item a line, instead of files; - is standard input"},
    {"params", "JSON", "parameters of the job, as the pipeline declares them"},
    {"keep-order", NULL, "lines in the order of the files, not as they end"},
    {"joblog", "FILE", "a row for each file that ended, as GNU parallel writes them"},
    {"resume", NULL, "leave out the files that --joblog has already"},
    {"resume-failed", NULL, "leave out those that --joblog says succeeded"},
    {"retry-failed", NULL, "only those that --joblog says failed"},
    {"halt", "WHEN,WHY=N", "stop early: now,fail=1; soon,fail=3; now,success=1; soon,fail=10%"},
    {NULL},
};
enum { RUN_VALUES, RUN_PARAMS, RUN_KEEP_ORDER, RUN_JOBLOG, RUN_RESUME, RUN_RESUME_FAILED, RUN_RETRY_FAILED, RUN_HALT };

struct run {
    struct host host;
    struct settings settings;
    struct cursor_world world;
    struct cursor cursor;
    struct bar bar;
    struct report report;
    struct report_options report_options;
    char *const *names;           /* of all files that the command names */
    int64_t *seqs;                /* which of them are items of the job; owned */
    char **chosen;                /* those, in the order of the items; owned */
    const char *values;           /* the file of values; NULL = there are files */
    struct files files;           /* the items; chosen[] may view their names */
    struct terms terms;           /* of the job */
    struct outlet outlet;         /* where else it is written to */
    struct store_job job;         /* its views are in the terms */
    struct timer tick;            /* draws the bar while nothing happens */
    struct store_wait last;       /* Ctrl-C once: what was accepted becomes durable */
    struct sha print;             /* of the command: its job's id */
    int64_t total;
    struct counts counts;         /* as of what was written */
    bool ended, lost;             /* every line is written; the log cannot be read on */
    bool following;               /* the job has begun */
    bool drained;                 /* Ctrl-C once: what ran is finished and durable */
    bool stopped;                 /* Ctrl-C twice, or before there was a job */
    int signals;                  /* so many came */
    int halted;                   /* --halt was reached: HALT_SOON or HALT_NOW */
};

enum { TICK_US = 100000, LINE_BYTES_MAX = LIMIT_SEED_RESULT_BYTES + 65536 };

/* ---- the command's print ---- */

static void add_text(struct sha_stream *print, const char *text)
{
    sha_add(print, (struct bytes){text ? text : "", text ? strlen(text) + 1 : 1});
}

/* Whatever can change a result is in it. */
static void add_settings(const struct run *run, struct sha_stream *print)
{
    struct stat status = {0};
    struct { int64_t size, seconds, nanoseconds; } version = {0};
    const char *catalogue = run->settings.catalogue;
    if (catalogue && !stat(catalogue, &status)) {
        version.size = status.st_size;
        version.seconds = status.st_mtim.tv_sec;
        version.nanoseconds = status.st_mtim.tv_nsec;
    }
    sha_add(print, (struct bytes){(const char *)&run->host.pipeline->hash, sizeof run->host.pipeline->hash});
    add_text(print, run->settings.engine);
    add_text(print, catalogue);
    sha_add(print, (struct bytes){(const char *)&version, sizeof version});
}

/* Values are named after their lines, or as the pipeline's batches are. */
static void name_values(struct run *run, const struct files *files)
{
    free(run->chosen);
    free(run->seqs);
    run->total = (int64_t)files->count;
    run->chosen = mem_new((files->count + 1) * sizeof *run->chosen);
    run->seqs = mem_new((files->count + 1) * sizeof *run->seqs);
    for (size_t i = 0; i < files->count; i++) {
        run->chosen[i] = (char *)files->specs[i].name.at;
        run->seqs[i] = (int64_t)i;
    }
    run->report_options.seqs = run->seqs;
}

static int list_items(struct run *run, struct files *files, struct problem *problem)
{
    struct sha_stream *print = sha_new();
    int answer = 0;
    add_settings(run, print);
    sha_add(print, run->job.params);
    if (run->values)
        answer = values_read(run->values, &run->host, run->job.params, print, files, problem);
    else
        files_list(files, run->chosen, (size_t)run->total, &run->settings, run->host.blobs, print);
    run->print = sha_end(print);
    if (!answer && run->values)
        name_values(run, files);
    return answer;
}

/* What --joblog has already is left out. */
static int choose(struct run *run, const struct arguments *arguments, struct problem *problem)
{
    const char *const *values = arguments->values;
    enum resume how = values[RUN_RETRY_FAILED] ? RESUME_ONLY_FAILED : values[RUN_RESUME_FAILED] ? RESUME_SKIP_SUCCEEDED
                    : values[RUN_RESUME] ? RESUME_SKIP_LOGGED : RESUME_ALL;
    size_t count;
    if (how != RESUME_ALL && !values[RUN_JOBLOG])
        return problem_set(problem, "--resume, --resume-failed and --retry-failed need the --joblog that they go by");
    run->values = values[RUN_VALUES];
    if (run->values && (how != RESUME_ALL || arguments->count > 1))
        return problem_set(problem, "--values stands for all files, and what is resumed goes by files; --data goes on with a job of values");
    if (values[RUN_HALT] && halt_parse(values[RUN_HALT], &run->report_options.halt, problem))
        return -1;
    run->names = arguments->words + 1;
    if (resume_read(values[RUN_JOBLOG], how, run->names, (size_t)arguments->count - 1, &run->seqs, &count, problem))
        return -1;
    run->chosen = mem_new((count + 1) * sizeof *run->chosen);
    for (size_t i = 0; i < count; i++)
        run->chosen[i] = run->names[run->seqs[i]];
    run->total = (int64_t)count;
    run->report_options.keep_order = values[RUN_KEEP_ORDER];
    run->report_options.joblog = values[RUN_JOBLOG];
    run->report_options.host = ":";
    run->report_options.seqs = run->seqs;
    run->report_options.lines = true;
    return 0;
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

static void skip_row(struct run *run, const struct row *row)
{
    struct event event;
    struct codec_arena arena CODEC_OWNED;
    if (codec_decode(row, &event, &arena, NULL))
        return;
    for (size_t i = 0; i < event.skipped.count; i++)
        for (int64_t item = event.skipped.ranges[i].from; item <= event.skipped.ranges[i].to; item++)
            report_skipped(&run->report, item);
}

static void take_row(struct run *run, const struct row *row, struct bytes line)
{
    bool done = row->kind == EVENT_ITEM_DONE, failed = row->kind == EVENT_ITEM_FAILED;
    run->counts.completed += done;
    run->counts.failed += failed;
    run->ended |= row->kind == EVENT_JOB_ENDED;
    if (row->kind == EVENT_ITEM_STARTED)
        report_started(&run->report, row->item, row->at_us);
    else if (done || failed)
        report_ended(&run->report, row->item, bytes_of(run->chosen[row->item]), done, line, row->at_us);
    else if (row->kind == EVENT_ITEMS_SKIPPED)
        skip_row(run, row);
}

static bool over(const struct run *run)
{
    bool all_told = run->drained && run->cursor.next > live_durable_seq(run->cursor.live);
    return run->ended || run->lost || run->stopped || run->report.output_error || all_told;
}

static void finish_if_over(struct run *run)
{
    if (over(run))
        loop_stop(run->host.loop);
}

static void drain(struct run *run);

/* As GNU parallel has it: SOON starts nothing more and lets end what runs; NOW stops that too. */
static void halt_if_due(struct run *run)
{
    int halt = run->halted ? HALT_NEVER : report_halts(&run->report);
    if (halt == HALT_NEVER || run->ended)
        return;
    run->halted = halt;
    if (halt == HALT_SOON)
        drain(run);
    else
        engine_cancel(run->host.engine, run->cursor.live, BYTES("halt"), BYTES("--halt was reached"));
}

/* All rows that are durable and not written yet. */
static void write_lines(struct run *run)
{
    struct frame_header header = frame_header_of(live_job(run->cursor.live));
    struct buf line BUF_OWNED;
    struct bytes result;
    struct row *row;
    int answer = CURSOR_WAIT;
    buf_init(&line, LINE_BYTES_MAX);
    while (!run->report.output_error && (answer = cursor_next(&run->cursor, &row, &result)) == CURSOR_ROW) {
        buf_clear(&line);
        lines_render(&header, row, result, &line);
        take_row(run, row, buf_bytes(&line));
    }
    run->lost = answer == CURSOR_LOST;
    halt_if_due(run);
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

static void last_durable(struct store_wait *wait)
{
    struct run *run = (struct run *)((char *)wait - offsetof(struct run, last));
    run->drained = true;
    finish_if_over(run);
}

static void idle(void *data)
{
    struct run *run = data;
    store_when(run->host.store, &run->last, store_pos(run->host.store), last_durable);
}

static void drain(struct run *run)
{
    engine_drain(run->host.engine, idle, run);
}

static void interrupted(void *data, int number)
{
    struct run *run = data;
    if (run->signals++ || !run->following) {
        run->stopped = run->host.given_up = true;
        loop_stop(run->host.loop);
        return;
    }
    bar_clear(&run->bar);
    size_t running = engine_running(run->host.engine);
    fprintf(stderr, "rivulet run: finishing %zu running item%s; interrupt again to stop at once\n", running, running == 1 ? "" : "s");
    drain(run);
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

static struct live *find_job(struct run *run)
{
    char id[33];
    struct found found = {run, NULL, false};
    job_id(run, id);
    store_find(run->host.store, bytes_of(id), found_job, &found);
    while (!found.answered)
        loop_run(run->host.loop);
    return found.live;
}

/* The job that an earlier run of the same command began, or NULL and the print is free for a new one. One reference. */
static struct live *earlier_job(struct run *run)
{
    struct live *live;
    while ((live = find_job(run)) && live_job(live)->cancelling) {
        live_unref(live);
        run->print = sha_of((struct bytes){(const char *)&run->print, sizeof run->print});
    }
    return live;
}

static struct live *new_job(struct run *run, const struct files *files, struct problem *problem)
{
    bool busy;
    struct live *live = engine_submit(run->host.engine, &run->job, files->specs, files->count, &busy, problem);
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
    run->following = true;
    if (run->bar.shown)
        timer_start(loop, &run->tick, TICK_US, tick);
    write_lines(run);
    while (!over(run))
        loop_run(loop);
    timer_stop(loop, &run->tick);
    store_unwait(&run->last);
    bar_finish(&run->bar);
    cursor_close(&run->cursor);
    run->following = false;
}

static int verdict(struct run *run)
{
    if (run->halted)
        fprintf(stderr, "rivulet run: --halt was reached with %lld done and %lld failed of %lld\n", (long long)run->counts.completed,
                (long long)run->counts.failed, (long long)run->total);
    if (run->ended || run->halted)
        return run->counts.failed || run->halted ? EXIT_SOME_FAILED : EXIT_WELL;
    int64_t left = run->total - run->counts.completed - run->counts.failed;
    int output_error = run->report.output_error;
    if (output_error == EPIPE)
        return EXIT_SOME_FAILED;    /* its reader has gone away and wants to hear nothing more */
    if (output_error)
        fprintf(stderr, "rivulet run: standard output cannot be written: %s\n", strerror(output_error));
    else if (run->lost)
        fprintf(stderr, "rivulet run: the log in \"%s\" cannot be read any further\n", run->host.dir);
    else
        fprintf(stderr, "rivulet run: stopped with %lld of %lld items not done%s\n", (long long)left, (long long)run->total,
                run->host.temporary ? "" : "; the same command goes on from here");
    return EXIT_SOME_FAILED;
}

/* Whoever names a text file here means it as a decklist. */
static int make_terms(struct run *run, const char *params, struct problem *problem)
{
    struct bytes given = params ? bytes_of(params) : run->host.shelf.entries[0].images && !json_get(run->host.pipeline->tree, "params") ? BYTES("{\"text\":true}") : (struct bytes){0};
    run->job = (struct store_job){.owner = BYTES("local")};
    if (terms_make(run->host.pipeline, given, (struct bytes){0}, &run->terms, &run->job, problem))
        return -1;
    if (!run->job.in_flight)
        run->job.in_flight = (uint32_t)run->settings.max_workers;
    return 0;
}

static int begin(struct run *run, const char *params, struct live **ret_live, struct problem *problem)
{
    struct files files = {0};
    struct live *live = NULL;
    if (run->host.notice)
        fprintf(stderr, "rivulet run: %s\n", run->host.notice);
    if (run->host.missing)
        fprintf(stderr, "rivulet run: %s\n", run->host.missing);
    if (!make_terms(run, params, problem) && !list_items(run, &files, problem) &&
        !report_begin(&run->report, &run->report_options, &run->bar, problem)) {
        live = run->settings.data ? earlier_job(run) : NULL;
        if (!live)
            live = new_job(run, &files, problem);
    }
    *ret_live = live;
    run->files = files;
    return live ? 0 : -1;
}

/* Whatever ends the run, it ends by itself: an interrupt that comes before the loop can hear it waits. */
static void hold_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(how, &set, NULL);
}

static int do_job(struct run *run, const struct arguments *arguments, struct problem *problem)
{
    struct host_options options = {.settings = &run->settings, .pipeline = bytes_of(arguments->words[0]), .dir = run->settings.data,
                                   .id = run->settings.data ? job_id : NULL, .id_data = run};
    struct live *live;
    int status = EXIT_USAGE;
    hold_signals(SIG_BLOCK);
    if (!host_open(&run->host, &options, problem)) {
        loop_on_signal(run->host.loop, SIGINT, interrupted, run);
        loop_on_signal(run->host.loop, SIGTERM, interrupted, run);
        hold_signals(SIG_UNBLOCK);
        int answer = host_wait_ready(&run->host, problem);
        if (answer == HOST_GIVEN_UP) {
            status = EXIT_SOME_FAILED;
        } else if (!answer && !outlet_open(&run->outlet, &run->host, &run->settings, problem) && !begin(run, arguments->values[RUN_PARAMS], &live, problem)) {
            follow(run, live);
            status = verdict(run);
            if (run->ended && !outlet_finish(&run->outlet) && status == EXIT_WELL)
                status = EXIT_SOME_FAILED;
        }
    }
    hold_signals(SIG_BLOCK);    /* for good: what is left takes no time */
    outlet_close(&run->outlet);
    host_close(&run->host);
    return status;
}

/* A path names the pipeline file itself. */
static void name_pipeline(struct run *run, const char *word)
{
    const char *point = strrchr(word, '.');
    bool file = strchr(word, '/') || (point && (!strcmp(point, ".yaml") || !strcmp(point, ".yml") || !strcmp(point, ".json")));
    if (!file)
        return;
    free(run->settings.pipeline);
    run->settings.pipeline = mem_text(word);
}

int command_run(const struct command *command, int argc, char **argv)
{
    struct run run = {0};
    struct arguments arguments;
    struct problem problem = {0};
    struct buf note BUF_OWNED;
    buf_init(&note, 1024);
    int status = EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);       /* a reader that has gone away is an error of writing: the workers and the directory are cleared away */
    if (!settings_init(&run.settings, &problem) && !command_parse(command, argc, argv, &run.settings, &arguments, &problem)) {
        settings_finish(&run.settings, &note);
        if (note.count)
            fprintf(stderr, "rivulet run: %s\n", buf_z(&note));
        if (arguments.help) {
            status = manual_print(command);
        } else if (arguments.count < 2 && !arguments.values[RUN_VALUES]) {
            problem_set(&problem, arguments.count ? "no files are named" : "name a pipeline and files: rivulet run decklists --catalogue FILE FILES…");
        } else if (!choose(&run, &arguments, &problem)) {
            name_pipeline(&run, arguments.words[0]);
            status = run.total || run.values ? do_job(&run, &arguments, &problem) : EXIT_WELL;
        }
    }
    if (problem_is(&problem))
        status = command_refuse(command, &problem);
    report_end(&run.report);
    free(run.seqs);
    free(run.chosen);
    files_done(&run.files);
    terms_done(&run.terms);
    settings_done(&run.settings);
    return status;
}
