/* `rivulet jobs` and `rivulet jobs prune`: the jobs of a server, page by page. */
#include "cli/remote.h"

#include "base/mem.h"
#include "os/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAGE_JOBS = 100 };

const struct flag jobs_flags[] = {
    REMOTE_FLAGS,
    {"state", "NAME", "only those that are pending, running, completed, error or cancelled"},
    {"pipeline", "NAME", "only those of this pipeline"},
    {"limit", "N", "at most so many; 20"},
    {NULL},
};
enum { JOBS_STATE = REMOTE_OWN, JOBS_PIPELINE, JOBS_LIMIT };

const struct flag prune_flags[] = {
    REMOTE_FLAGS,
    {"older-than", "TIME", "jobs that ended longer ago than this: 90s, 12h, 7d; 7d"},
    {"dry-run", NULL, "say which, forget none"},
    {NULL},
};
enum { PRUNE_OLDER_THAN = REMOTE_OWN, PRUNE_DRY_RUN };

/* Calls `each` for the jobs from the newest on, at most `limit` of them. */
static int each_job(struct remote *remote, const char *state, const char *pipeline, int64_t limit,
                    int (*each)(struct remote *remote, struct json_object *job, void *data), void *data)
{
    char after[80] = "";
    while (limit > 0) {
        struct buf path BUF_OWNED;
        struct json_object *page JSON_OWNED = NULL;
        int64_t want = limit < PAGE_JOBS ? limit : PAGE_JOBS;
        buf_init(&path, 4096);
        buf_print(&path, "/v1/jobs?limit=%lld", (long long)want);
        const char *const query[][2] = {{"state", state}, {"pipeline", pipeline}, {"after", after[0] ? after : NULL}};
        for (size_t i = 0; i < sizeof query / sizeof *query; i++) {
            if (!query[i][1])
                continue;
            buf_print(&path, "&%s=", query[i][0]);
            client_encode(&path, bytes_of(query[i][1]));
        }
        if (remote_call(remote, "GET", buf_z(&path), (struct bytes){0}, &page))
            return -1;
        struct json_object *jobs = json_get(page, "jobs");
        size_t count = json_object_is_type(jobs, json_type_array) ? json_object_array_length(jobs) : 0;
        for (size_t i = 0; i < count; i++) {
            struct json_object *job = json_object_array_get_idx(jobs, i);
            snprintf(after, sizeof after, "%.*s", BYTES_ARG(json_get_bytes(job, "id")));
            if (each(remote, job, data))
                return -1;
        }
        limit -= (int64_t)count;
        if ((int64_t)count < want)
            break;
    }
    return 0;
}

static int64_t whole(struct remote *remote, int flag, const char *name, int64_t fallback, int64_t max)
{
    const char *value = remote->arguments.values[flag];
    int64_t number = fallback;
    if (value && (!bytes_to_i64(bytes_of(value), &number) || number < 0 || number > max))
        problem_set(&remote->problem, "--%s is \"%s\": it must be a whole number from 0 to %lld", name, value, (long long)max);
    return number;
}

static int print_job(struct remote *remote, struct json_object *job, void *data)
{
    bool *begun = data;
    if (remote->json) {
        remote_print(job);
        return 0;
    }
    if (!*begun)
        printf("%-34s %-12s %-10s %5s %9s %7s  %s\n", "JOB", "PIPELINE", "STATUS", "DONE", "ITEMS", "FAILED", "CREATED");
    *begun = true;
    printf("%-34.*s %-12.*s %-10.*s %4lld%% %9lld %7lld  %.*s\n", BYTES_ARG(json_get_bytes(job, "id")), BYTES_ARG(json_get_bytes(job, "pipeline")),
           BYTES_ARG(json_get_bytes(job, "status")), (long long)json_get_int(job, "overall_progress", 0),
           (long long)json_get_int(job, "total_batches", 0), (long long)json_get_int(job, "batches_failed", 0),
           BYTES_ARG(json_get_bytes(job, "created_at")));
    return 0;
}

static int list(struct remote *remote)
{
    bool begun = false;
    int64_t limit = whole(remote, JOBS_LIMIT, "limit", 20, 1000000);
    if (remote->arguments.count)
        return problem_set(&remote->problem, "\"%s\" is not understood: jobs takes flags, or prune", remote->arguments.words[0]);
    if (problem_is(&remote->problem) ||
        each_job(remote, remote->arguments.values[JOBS_STATE], remote->arguments.values[JOBS_PIPELINE], limit, print_job, &begun))
        return EXIT_USAGE;
    return EXIT_WELL;
}

int command_jobs(const struct command *command, int argc, char **argv)
{
    return remote_run(command, argc, argv, 0, "", list);
}

/* ---- prune ---- */

struct old_jobs {
    time_t before;
    char **ids;
    size_t count, room;
};

static int note_old(struct remote *remote, struct json_object *job, void *data)
{
    struct old_jobs *old = data;
    struct bytes id = json_get_bytes(job, "id"), ended = json_get_bytes(job, "completed_at");
    struct tm parts = {0};
    char text[40];
    snprintf(text, sizeof text, "%.*s", BYTES_ARG(ended));
    if (!ended.count || !strptime(text, "%Y-%m-%dT%H:%M:%S", &parts) || timegm(&parts) > old->before)
        return 0;
    if (old->count == old->room) {
        old->room = old->room ? old->room * 2 : PAGE_JOBS;
        old->ids = mem_grow(old->ids, old->room * sizeof *old->ids);
    }
    old->ids[old->count++] = mem_copy(id.at, id.count);
    return 0;
}

static int forget(struct remote *remote, const char *id)
{
    char path[256];
    struct json_object *unused JSON_OWNED = NULL;
    if (remote_job_path(remote, id, "", path) || remote_call(remote, "DELETE", path, (struct bytes){0}, &unused))
        return -1;
    return 0;
}

static int prune(struct remote *remote)
{
    const char *older = remote->arguments.values[PRUNE_OLDER_THAN];
    int64_t seconds;
    if (!settings_duration(bytes_of(older ? older : "7d"), &seconds) || seconds < 0)
        return problem_set(&remote->problem, "--older-than is \"%s\": it must be a time such as 90s, 15m, 12h or 7d", older);
    struct old_jobs old = {.before = time(NULL) - seconds};
    int status = EXIT_WELL;
    if (problem_is(&remote->problem) || each_job(remote, NULL, NULL, INT64_MAX, note_old, &old))
        status = EXIT_USAGE;
    for (size_t i = 0; i < old.count; i++) {
        if (status == EXIT_WELL && !remote->arguments.values[PRUNE_DRY_RUN] && forget(remote, old.ids[i]))
            status = EXIT_USAGE;
        if (status == EXIT_WELL)
            puts(old.ids[i]);
        free(old.ids[i]);
    }
    free(old.ids);
    return status;
}

int command_prune(const struct command *command, int argc, char **argv)
{
    return remote_run(command, argc, argv, 0, "", prune);
}
