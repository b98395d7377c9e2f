#include "server/ops/metrics.h"

#include "base/histogram.h"
#include "base/json.h"
#include "base/mem.h"
#include "readers/mirror.h"
#include "readers/webhook.h"
#include "server/journal.h"
#include "server/stream/stream.h"
#include "trip/trips.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- counting ---- */

static void seen_trouble(struct metrics *metrics, const struct row *row)
{
    struct bytes type = json_span(row_body(row), "error_type");
    metrics->crashes += bytes_equal(type, BYTES("\"crash\""));
    metrics->timeouts += bytes_equal(type, BYTES("\"timeout\""));
}

void metrics_seen(struct metrics *metrics, const struct job *job, const struct row *row)
{
    switch (row->kind) {
    case EVENT_JOB_CREATED: metrics->jobs_created++; break;
    case EVENT_ITEM_DONE: metrics->items_done++; break;
    case EVENT_ITEM_FAILED:
        metrics->items_failed++;
        seen_trouble(metrics, row);
        break;
    case EVENT_ITEM_RETRY:
        metrics->items_retried++;
        seen_trouble(metrics, row);
        break;
    case EVENT_RECORD_DONE: metrics->records_done++; break;
    case EVENT_RECORD_FAILED: metrics->records_failed++; break;
    case EVENT_JOB_ENDED:
        metrics->jobs_ended[job->status]++;
        metrics->items_skipped += (uint64_t)job->counts.skipped;
        break;
    default: break;
    }
}

/* ---- what is asked when somebody looks ---- */

struct queue {
    int64_t jobs[JOB_STATUS_COUNT];
    int64_t pending, processing;
    int64_t oldest_us;            /* when the oldest job with an item that waits was made; 0 = none waits */
};

static struct queue look_at_jobs(struct store *store)
{
    struct queue queue = {0};
    struct live *live;
    for (size_t at = 0; (live = store_next_job(store, &at));) {
        const struct job *job = live_job(live);
        if (job->ended)
            continue;
        queue.jobs[job->status]++;
        queue.pending += job->counts.pending;
        queue.processing += job->counts.processing;
        if (job->counts.pending && (!queue.oldest_us || job->created_us < queue.oldest_us))
            queue.oldest_us = job->created_us;
    }
    return queue;
}

static int64_t resident_bytes(void)
{
    long long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lld %lld", &all, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

/* Newer kernels tell the number as the directory's size; with older ones somebody has to count. */
static int64_t open_descriptors(void)
{
    struct stat status;
    int64_t count = 0;
    if (!stat("/proc/self/fd", &status) && status.st_size > 0)
        return status.st_size;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count - 1;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- the text ---- */

static void family(struct buf *ret, const char *name, const char *type, const char *unit, const char *help)
{
    buf_print(ret, "# TYPE %s %s\n", name, type);
    if (unit)
        buf_print(ret, "# UNIT %s %s\n", name, unit);
    buf_print(ret, "# HELP %s %s\n", name, help);
}

static void sample(struct buf *ret, const char *name, const char *label, const char *value, uint64_t number)
{
    buf_text(ret, name);
    if (label)
        buf_print(ret, "{%s=\"%s\"}", label, value);
    buf_print(ret, " %llu\n", (unsigned long long)number);
}

static void gauge(struct buf *ret, const char *name, const char *unit, const char *help, int64_t number)
{
    family(ret, name, "gauge", unit, help);
    sample(ret, name, NULL, NULL, (uint64_t)(number > 0 ? number : 0));
}

/* `name` without its _total. */
static void counter(struct buf *ret, const char *name, const char *help, uint64_t number)
{
    char full[80];
    family(ret, name, "counter", NULL, help);
    snprintf(full, sizeof full, "%s_total", name);
    sample(ret, full, NULL, NULL, number);
}

static void put_histogram(struct buf *ret, const char *name, const char *label, const struct histogram *histogram)
{
    uint64_t count = 0;
    const char *comma = *label ? "," : "";
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        int64_t bound_us = histogram_bounds_us[i];
        count += histogram->counts[i];
        buf_print(ret, "%s_bucket{%s%sle=\"%g%s\"} %llu\n", name, label, comma, (double)bound_us / 1e6, bound_us % 1000000 ? "" : ".0",
                  (unsigned long long)count);
    }
    count += histogram->counts[HISTOGRAM_BOUNDS];
    buf_print(ret, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, label, comma, (unsigned long long)count);
    const char *open = *label ? "{" : "", *close = *label ? "}" : "";
    buf_print(ret, "%s_sum%s%s%s %.6f\n", name, open, label, close, (double)histogram->sum_us / 1e6);
    buf_print(ret, "%s_count%s%s%s %llu\n", name, open, label, close, (unsigned long long)count);
}

static void put_work(struct buf *ret, struct service *service)
{
    const struct metrics *metrics = service->metrics;
    struct queue queue = look_at_jobs(service->store);
    gauge(ret, "rivulet_items_pending", NULL, "Items that wait for their first start.", queue.pending);
    gauge(ret, "rivulet_items_processing", NULL, "Items that were started and have not ended.", queue.processing);
    gauge(ret, "rivulet_oldest_pending_seconds", "seconds", "Since the oldest job that has an item waiting was made.",
          queue.oldest_us ? (loop_wall_us(service->loop) - queue.oldest_us) / 1000000 : 0);
    family(ret, "rivulet_items", "counter", NULL, "Items that ended, by what became of them; skipped ones when their job ends.");
    sample(ret, "rivulet_items_total", "outcome", "done", metrics->items_done);
    sample(ret, "rivulet_items_total", "outcome", "failed", metrics->items_failed);
    sample(ret, "rivulet_items_total", "outcome", "skipped", metrics->items_skipped);
    family(ret, "rivulet_records", "counter", NULL, "Records of items that ended, by what became of them; failed ones may have been dropped on purpose.");
    sample(ret, "rivulet_records_total", "outcome", "done", metrics->records_done);
    sample(ret, "rivulet_records_total", "outcome", "failed", metrics->records_failed);
    counter(ret, "rivulet_item_retries", "Attempts that failed and are made again.", metrics->items_retried);
    family(ret, "rivulet_jobs", "gauge", NULL, "Jobs that have not ended, by state.");
    for (int status = JOB_PENDING; status <= JOB_RUNNING; status++)
        sample(ret, "rivulet_jobs", "state", job_status_name(status), (uint64_t)queue.jobs[status]);
    counter(ret, "rivulet_jobs_created", "Jobs that were taken in.", metrics->jobs_created);
    family(ret, "rivulet_jobs_ended", "counter", NULL, "Jobs that ended, by state.");
    for (int status = JOB_COMPLETED; status < JOB_STATUS_COUNT; status++)
        sample(ret, "rivulet_jobs_ended_total", "state", job_status_name(status), metrics->jobs_ended[status]);
}

static void put_workers(struct buf *ret, struct service *service)
{
    const struct metrics *metrics = service->metrics;
    struct service_facts facts = service_facts_now(service);
    struct engine_numbers numbers = engine_numbers(service->engine);
    char label[40];
    family(ret, "rivulet_workers", "gauge", NULL, "Worker processes: all that there should be, those that are loaded, those with an item.");
    sample(ret, "rivulet_workers", "state", "configured", (uint64_t)facts.workers);
    sample(ret, "rivulet_workers", "state", "ready", (uint64_t)facts.workers_ready);
    sample(ret, "rivulet_workers", "state", "busy", (uint64_t)facts.workers_busy);
    if (facts.walls_told) {
        family(ret, "rivulet_worker_wall", "gauge", NULL, "1 where workers are walled off: from the network, from files, from calls that no work takes.");
        sample(ret, "rivulet_worker_wall", "wall", "network", facts.network_wall);
        sample(ret, "rivulet_worker_wall", "wall", "files", facts.files_wall);
        sample(ret, "rivulet_worker_wall", "wall", "calls", facts.calls_wall);
    }
    family(ret, "rivulet_worker_losses", "counter", NULL, "Workers that were lost over an item, by why.");
    sample(ret, "rivulet_worker_losses_total", "why", "crash", metrics->crashes);
    sample(ret, "rivulet_worker_losses_total", "why", "timeout", metrics->timeouts);
    counter(ret, "rivulet_programs_awaited", "Expressions that work had to wait for while a worker compiled them: most are learned ahead.", facts.programs_awaited);
    family(ret, "rivulet_leg_seconds", "histogram", "seconds", "From the launch of an item's leg to its outcome.");
    for (size_t i = 0; i < numbers.legs_count; i++) {
        snprintf(label, sizeof label, "leg=\"%zu\"", i);
        put_histogram(ret, "rivulet_leg_seconds", label, &numbers.legs[i]);
    }
}

static void put_outcome(struct buf *ret, const char *name, const char *outcome, uint64_t number)
{
    sample(ret, name, "outcome", outcome, number);
}

static void put_trips(struct buf *ret, struct service *service)
{
    static const char *const classes[] = {NULL, NULL, "2xx", "3xx", "4xx", "5xx"}, *name = "rivulet_calls_total";
    if (!service->settings.trips)
        return;
    struct trips_numbers numbers = trips_numbers(service->settings.trips);
    family(ret, "rivulet_calls", "counter", NULL, "Calls of pipelines that ended, by class of status, or by what ended them.");
    for (int i = 2; i < 6; i++)
        put_outcome(ret, name, classes[i], numbers.answers[i]);
    put_outcome(ret, name, "network", numbers.broken);
    put_outcome(ret, name, "timeout", numbers.late);
    put_outcome(ret, name, "refused", numbers.refused);
    gauge(ret, "rivulet_calls_open", NULL, "Calls of pipelines that are under way.", (int64_t)numbers.limiters.going);
    gauge(ret, "rivulet_calls_waiting", NULL, "Calls that wait for their turn: for a place, a rate, or a pause to end.", (int64_t)numbers.limiters.line);
    counter(ret, "rivulet_pauses", "Pauses that an answer such as 429 began, for all who call the same address.", numbers.limiters.pauses);
    gauge(ret, "rivulet_paused", NULL, "Addresses that are not called now, or by one call only that goes to see.", (int64_t)numbers.limiters.paused);
}

/* Jobs of which something has still to be sent are behind; those that are idle are not. */
static void put_outward(struct buf *ret, struct service *service)
{
    struct webhook_numbers hooks = {0};
    struct mirror_numbers mirror = {0};
    if (service->settings.webhooks)
        hooks = webhooks_numbers(service->settings.webhooks);
    if (service->settings.mirror)
        mirror = mirror_numbers(service->settings.mirror);
    family(ret, "rivulet_readers_behind", "gauge", NULL, "Jobs of which something has still to be sent, by the reader that goes outwards.");
    sample(ret, "rivulet_readers_behind", "reader", "webhook", hooks.jobs.line + hooks.jobs.work + hooks.jobs.later);
    sample(ret, "rivulet_readers_behind", "reader", "firestore", mirror.line + mirror.work + mirror.later);
    family(ret, "rivulet_webhooks", "counter", NULL, "Webhooks, by what became of them; failed ones are tried again.");
    put_outcome(ret, "rivulet_webhooks_total", "arrived", hooks.arrived);
    put_outcome(ret, "rivulet_webhooks_total", "failed", hooks.failed);
    put_outcome(ret, "rivulet_webhooks_total", "given_up", hooks.given_up);
    family(ret, "rivulet_mirror", "counter", NULL, "Commits of the Firestore mirror, those that are made again, and jobs that it gave up.");
    put_outcome(ret, "rivulet_mirror_total", "commits", mirror.commits);
    put_outcome(ret, "rivulet_mirror_total", "retries", mirror.retries);
    put_outcome(ret, "rivulet_mirror_total", "given_up", mirror.given_up);
}

static void put_log(struct buf *ret, struct service *service)
{
    struct store_numbers numbers = store_numbers(service->store);
    struct histogram commits = store_commits(service->store);
    counter(ret, "rivulet_events", "Events that were accepted.", numbers.accepted);
    counter(ret, "rivulet_outcomes_fenced", "Outcomes that came too late and were dropped.", numbers.fenced);
    struct engine_numbers engine = engine_numbers(service->engine);
    family(ret, "rivulet_late_outcomes", "counter", NULL, "Outcomes that workers told when their item was no longer theirs: offered to the log, which refuses.");
    put_outcome(ret, "rivulet_late_outcomes_total", "refused", engine.late_refused);
    put_outcome(ret, "rivulet_late_outcomes_total", "taken", engine.late - engine.late_refused);
    gauge(ret, "rivulet_events_queued", NULL, "Events that are accepted and not durable yet.",
          (int64_t)(store_pos(service->store) - store_durable(service->store)));
    family(ret, "rivulet_fsync_seconds", "histogram", "seconds", "How long a commit of the log takes, its fsync included.");
    put_histogram(ret, "rivulet_fsync_seconds", "", &commits);
    gauge(ret, "rivulet_disk_full", NULL, "1 while the disk is too full to take work.", store_disk_full(service->store));
    counter(ret, "rivulet_journal_dropped", "Log lines that standard error did not take in time.", journal_dropped(service->journal));
}

static void put_readers(struct buf *ret, struct service *service)
{
    struct stream_numbers numbers = stream_numbers(service);
    static const char *const classes[] = {NULL, "1xx", "2xx", "3xx", "4xx", "5xx"};
    gauge(ret, "rivulet_streams", NULL, "Event streams, followed results and waiting long polls that are open.", numbers.open);
    gauge(ret, "rivulet_streams_behind", NULL, "Of the event streams of one job: those that have not caught up with it.", numbers.behind);
    gauge(ret, "rivulet_stream_lag_events", NULL, "Events that the stream furthest behind has still to be sent.", (int64_t)numbers.lag_events);
    counter(ret, "rivulet_streams_opened", "Event streams, followed results and waiting long polls that were opened.", numbers.opened);
    counter(ret, "rivulet_frames_delivered", "Frames that were handed to a socket.", numbers.frames);
    counter(ret, "rivulet_slow_readers_closed", "Streams that were closed because their socket took nothing for too long.", numbers.slow_closed);
    family(ret, "rivulet_http_requests", "counter", NULL, "Requests that were answered, by class of status.");
    for (int i = 2; i < 6; i++)
        sample(ret, "rivulet_http_requests_total", "class", classes[i], service->metrics->answers[i]);
    gauge(ret, "rivulet_http_connections", NULL, "Connections that are open.", http_connections(service->http));
}

static void put_process(struct buf *ret, struct service *service)
{
    family(ret, "rivulet_build", "info", NULL, "What runs.");
    sample(ret, "rivulet_build_info", "version", service->settings.version, 1);
    gauge(ret, "process_resident_memory_bytes", "bytes", "Memory of the server process, workers not counted.", resident_bytes());
    gauge(ret, "rivulet_memory_taken_bytes", "bytes", "Of it what is allocated: the rest is the program itself, and what bursts left behind.", (int64_t)mem_taken());
    gauge(ret, "process_open_fds", NULL, "Descriptors that are open.", open_descriptors());
    family(ret, "process_cpu_seconds", "counter", "seconds", "CPU time of the server process.");
    buf_print(ret, "process_cpu_seconds_total %.3f\n", cpu_seconds());
}

void metrics_render(struct service *service, struct buf *ret)
{
    put_work(ret, service);
    put_workers(ret, service);
    put_trips(ret, service);
    put_outward(ret, service);
    put_log(ret, service);
    put_readers(ret, service);
    put_process(ret, service);
    buf_text(ret, "# EOF\n");
}
