#include "cli/report.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PERCENT_ENDED_MIN = 3, ROW_FIELDS = 9 };

static const char JOBLOG_HEAD[] = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/* ---- --halt ---- */

int halt_parse(const char *text, struct halt *ret, struct problem *problem)
{
    static const char *const whens[] = {"never", "soon", "now"}, *const whys[] = {"fail", "success", "done"};
    struct bytes value = bytes_of(text), when = bytes_cut(&value, ','), why = bytes_cut(&value, '=');
    int w = 0, y = 0;
    *ret = (struct halt){0};
    while (w < 3 && !bytes_equal(when, bytes_of(whens[w])))
        w++;
    while (y < 3 && !bytes_equal(why, bytes_of(whys[y])))
        y++;
    ret->percent = value.count && value.at[value.count - 1] == '%';
    value.count -= ret->percent;
    if (w == 0 && !why.count)
        return 0;
    if (w == 3 || y == 3 || !bytes_to_i64(value, &ret->value) || ret->value < 1 || (ret->percent && ret->value > 100))
        return problem_set(problem, "--halt is \"%s\": it must be never, or soon or now with fail, success or done and a number or a percentage: now,fail=1", text);
    ret->when = w;
    ret->why = y;
    return 0;
}

int report_halts(const struct report *report)
{
    const struct halt *halt = &report->options.halt;
    int64_t ended = report->succeeded + report->failed;
    int64_t count = halt->why == HALT_FAIL ? report->failed : halt->why == HALT_SUCCESS ? report->succeeded : ended;
    bool reached = halt->percent ? ended >= PERCENT_ENDED_MIN && count * 100 >= halt->value * ended : count >= halt->value;
    return halt->when != HALT_NEVER && reached ? (int)halt->when : HALT_NEVER;
}

/* ---- resuming ---- */

enum { NOT_LOGGED, LOGGED_WELL, LOGGED_FAILED };

static int read_row(struct bytes line, char *const *names, size_t count, char *logged, struct problem *problem)
{
    struct bytes fields[ROW_FIELDS];
    uint64_t seq, status;
    for (int i = 0; i < ROW_FIELDS - 1; i++)
        fields[i] = bytes_cut(&line, '\t');
    fields[ROW_FIELDS - 1] = line;
    if (!bytes_to_u64(bytes_trim(fields[0]), &seq) || !seq || !bytes_to_u64(bytes_trim(fields[6]), &status))
        return problem_set(problem, "it has a row that is none: \"%.*s\"", (int)(line.count < 60 ? line.count : 60), line.at);
    if (seq > count || !bytes_equal(fields[8], bytes_of(names[seq - 1])))
        return problem_set(problem, "its row %llu is \"%.*s\", which is not what stands there on this command line", (unsigned long long)seq,
                           BYTES_ARG(fields[8]));
    logged[seq - 1] = status ? LOGGED_FAILED : LOGGED_WELL;
    return 0;
}

static int read_log(const char *path, char *const *names, size_t count, char *logged, struct problem *problem)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t got;
    int answer = 0;
    if (!file)
        return errno == ENOENT ? 0 : problem_set(problem, "the job log \"%s\" cannot be read: %s", path, strerror(errno));
    while (!answer && (got = getline(&line, &room, file)) > 0) {
        struct bytes text = {line, (size_t)got - (line[got - 1] == '\n')};
        struct problem what = {0};
        if (!bytes_start(text, BYTES("Seq\t")) && read_row(text, names, count, logged, &what))
            answer = problem_set(problem, "the job log \"%s\" does not fit: %s", path, what.text);
    }
    free(line);
    fclose(file);
    return answer;
}

static bool wanted(enum resume how, char logged)
{
    switch (how) {
    case RESUME_ALL: return true;
    case RESUME_SKIP_LOGGED: return logged == NOT_LOGGED;
    case RESUME_SKIP_SUCCEEDED: return logged != LOGGED_WELL;
    case RESUME_ONLY_FAILED: return logged == LOGGED_FAILED;
    }
    return true;
}

int resume_read(const char *path, enum resume how, char *const *names, size_t count, int64_t **ret, size_t *ret_count, struct problem *problem)
{
    char *logged MEM_OWNED = mem_new(count + 1);
    if (how != RESUME_ALL && read_log(path, names, count, logged, problem))
        return -1;
    *ret = mem_new((count + 1) * sizeof **ret);
    *ret_count = 0;
    for (size_t i = 0; i < count; i++)
        if (wanted(how, logged[i]))
            (*ret)[(*ret_count)++] = (int64_t)i;
    return 0;
}

/* ---- lines ---- */

static void write_line(struct report *report, struct bytes line)
{
    if (!report->options.lines || report->output_error)
        return;
    if (report->shares_terminal)
        bar_clear(report->bar);
    if (fwrite(line.at, 1, line.count, stdout) != line.count || fflush(stdout))
        report->output_error = errno;
}

static struct report_item *item_at(struct report *report, int64_t item)
{
    if (item >= report->items_room) {
        int64_t room = item + 1 > report->items_room * 2 ? item + 1 : report->items_room * 2;
        report->items = mem_grow(report->items, (size_t)room * sizeof *report->items);
        for (int64_t i = report->items_room; i < room; i++)
            report->items[i] = (struct report_item){.at = -1};
        report->items_room = room;
    }
    return &report->items[item];
}

/* The lines that waited and whose turn has come. */
static void write_due(struct report *report)
{
    while (report->next < report->items_room && report->items[report->next].at >= 0) {
        struct report_item *item = &report->items[report->next++];
        char *line MEM_OWNED = mem_new((size_t)item->bytes + 1);
        if (!item->bytes)
            continue;
        fseeko(report->spill, item->at, SEEK_SET);
        if (fread(line, 1, (size_t)item->bytes, report->spill) == (size_t)item->bytes)
            write_line(report, (struct bytes){line, (size_t)item->bytes});
        else
            report->output_error = EIO;
    }
}

static void hold(struct report *report, int64_t n, struct bytes line)
{
    struct report_item *item = item_at(report, n);
    fseeko(report->spill, 0, SEEK_END);
    item->at = ftello(report->spill);
    item->bytes = (int64_t)line.count;
    if (fwrite(line.at, 1, line.count, report->spill) != line.count)
        report->output_error = errno;
    write_due(report);
}

static void put(struct report *report, int64_t item, struct bytes line)
{
    if (!report->options.keep_order) {
        write_line(report, line);
    } else if (item == report->next) {
        report->next++;
        write_line(report, line);
        write_due(report);
    } else {
        hold(report, item, line);
    }
}

static void log_row(struct report *report, int64_t n, struct bytes name, bool well, size_t bytes, int64_t at_us)
{
    int64_t began_us = item_at(report, n)->started_us, seq = report->options.seqs ? report->options.seqs[n] : n;
    if (!report->joblog)
        return;
    began_us = began_us ? began_us : at_us;
    fprintf(report->joblog, "%lld\t%s\t%.3f\t%10.3f\t0\t%zu\t%d\t0\t%.*s\n", (long long)seq + 1, report->options.host, (double)began_us / 1e6,
            (double)(at_us - began_us) / 1e6, bytes, well ? 0 : 1, BYTES_ARG(name));
    fflush(report->joblog);
}

/* ---- life ---- */

int report_begin(struct report *report, const struct report_options *options, struct bar *bar, struct problem *problem)
{
    *report = (struct report){.options = *options, .bar = bar};
    report->shares_terminal = bar && isatty(STDOUT_FILENO);
    if (options->keep_order && !(report->spill = tmpfile()))
        return problem_set(problem, "--keep-order needs a temporary file and cannot make one: %s", strerror(errno));
    if (!options->joblog)
        return 0;
    report->joblog = fopen(options->joblog, "ae");
    if (!report->joblog)
        return problem_set(problem, "the job log \"%s\" cannot be written: %s", options->joblog, strerror(errno));
    fseeko(report->joblog, 0, SEEK_END);
    if (!ftello(report->joblog))
        fputs(JOBLOG_HEAD, report->joblog);
    return 0;
}

void report_started(struct report *report, int64_t item, int64_t at_us)
{
    struct report_item *own = item_at(report, item);
    if (!own->started_us)
        own->started_us = at_us;
}

void report_ended(struct report *report, int64_t item, struct bytes name, bool well, struct bytes line, int64_t at_us)
{
    report->succeeded += well;
    report->failed += !well;
    log_row(report, item, name, well, line.count, at_us);
    put(report, item, line);
}

void report_skipped(struct report *report, int64_t item)
{
    if (report->options.keep_order)
        put(report, item, (struct bytes){"", 0});
}

void report_end(struct report *report)
{
    if (report->spill)
        fclose(report->spill);
    if (report->joblog)
        fclose(report->joblog);
    free(report->items);
    report->spill = report->joblog = NULL;
    report->items = NULL;
}
