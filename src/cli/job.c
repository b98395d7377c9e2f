/* `rivulet show`, `results`, `cancel`, `retry`, `delete`: one job of a server. */
#include "cli/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAILURES_SHOWN = 20 };

const struct flag remote_flags[] = {REMOTE_FLAGS, {NULL}};
const struct flag show_flags[] = {REMOTE_FLAGS, {NULL}};
const struct flag results_flags[] = {
    REMOTE_FLAGS,
    {"order", "HOW", "input, completion or score; completion"},
    {"follow", NULL, "go on until the job has ended"},
    {NULL},
};
enum { RESULTS_ORDER = REMOTE_OWN, RESULTS_FOLLOW };
const struct flag retry_flags[] = {
    REMOTE_FLAGS,
    {"items", "N,N", "only these items, by their index; all that failed"},
    {NULL},
};
enum { RETRY_ITEMS = REMOTE_OWN };

/* ---- show ---- */

static void say(struct json_object *job, const char *label, const char *key)
{
    struct json_object *value = json_get(job, key);
    if (value && !json_object_is_type(value, json_type_null))
        printf("%-10s %s\n", label, json_object_get_string(value));
}

static void say_counts(struct json_object *job)
{
    printf("%-10s %lld%% of %lld: %lld done, %lld failed, %lld skipped, %lld at work, %lld waiting\n", "progress",
           (long long)json_get_int(job, "overall_progress", 0), (long long)json_get_int(job, "total_batches", 0),
           (long long)json_get_int(job, "batches_completed", 0), (long long)json_get_int(job, "batches_failed", 0),
           (long long)json_get_int(job, "batches_skipped", 0), (long long)json_get_int(job, "batches_processing", 0),
           (long long)json_get_int(job, "batches_pending", 0));
}

static int say_failures(struct remote *remote, const char *id)
{
    char path[256], behind[64];
    struct json_object *page JSON_OWNED = NULL;
    snprintf(behind, sizeof behind, "/items?state=failed&limit=%d", FAILURES_SHOWN);
    if (remote_job_path(remote, id, behind, path) || remote_call(remote, "GET", path, (struct bytes){0}, &page))
        return -1;
    struct json_object *items = json_get(page, "items");
    for (size_t i = 0; json_object_is_type(items, json_type_array) && i < json_object_array_length(items); i++) {
        struct json_object *item = json_object_array_get_idx(items, i);
        printf("%-10s %lld %.*s: %.*s\n", i ? "" : "failed", (long long)json_get_int(item, "item", 0), BYTES_ARG(json_get_bytes(item, "name")),
               BYTES_ARG(json_get_bytes(item, "error")));
    }
    return 0;
}

static int show(struct remote *remote)
{
    static const char *const fields[][2] = {{"job", "id"}, {"pipeline", "pipeline"}, {"status", "status"}, {"owner", "owner"}, {"retry of", "retry_of"},
                                            {"created", "created_at"}, {"started", "started_at"}, {"ended", "completed_at"}, {"error", "error"}};
    char path[256];
    struct json_object *job JSON_OWNED = NULL;
    const char *id = remote->arguments.words[0];
    if (remote_job_path(remote, id, "", path) || remote_call(remote, "GET", path, (struct bytes){0}, &job))
        return EXIT_USAGE;
    if (remote->json) {
        remote_print(job);
        return EXIT_WELL;
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        say(job, fields[i][0], fields[i][1]);
    say_counts(job);
    return json_get_int(job, "batches_failed", 0) && say_failures(remote, id) ? EXIT_USAGE : EXIT_WELL;
}

int command_show(const struct command *command, int argc, char **argv)
{
    return remote_run(command, argc, argv, 1, "name a job: rivulet show JOB", show);
}

/* ---- results ---- */

static bool pour(void *data, struct bytes piece)
{
    return fwrite(piece.at, 1, piece.count, stdout) == piece.count && !fflush(stdout);
}

static int results(struct remote *remote)
{
    char path[256], behind[96];
    int status = 0;
    const char *order = remote->arguments.values[RESULTS_ORDER];
    if (order && strcmp(order, "input") && strcmp(order, "completion") && strcmp(order, "score"))
        return problem_set(&remote->problem, "--order is \"%s\": it must be input, completion or score", order);
    snprintf(behind, sizeof behind, "/results?order=%s%s", order ? order : "completion", remote->arguments.values[RESULTS_FOLLOW] ? "&follow=1" : "");
    if (remote_job_path(remote, remote->arguments.words[0], behind, path))
        return EXIT_USAGE;
    struct client_request request = {.method = "GET", .path = path};
    if (client_pour(remote->client, &request, pour, NULL, &status, &remote->problem)) {
        if (!ferror(stdout))
            return EXIT_USAGE;
        remote->problem = (struct problem){0};      /* its reader has gone away and wants to hear nothing more */
        return EXIT_SOME_FAILED;
    }
    return EXIT_WELL;
}

int command_results(const struct command *command, int argc, char **argv)
{
    return remote_run(command, argc, argv, 1, "name a job: rivulet results JOB", results);
}

/* ---- cancel, delete ---- */

static int for_each(struct remote *remote, const char *method, const char *behind)
{
    for (int i = 0; i < remote->arguments.count; i++) {
        char path[256];
        struct json_object *job JSON_OWNED = NULL;
        if (remote_job_path(remote, remote->arguments.words[i], behind, path) || remote_call(remote, method, path, (struct bytes){0}, &job))
            return EXIT_USAGE;
        struct bytes status = json_get_bytes(job, "status");
        if (remote->json && job)
            remote_print(job);
        else
            printf("%s %.*s\n", remote->arguments.words[i], status.count ? (int)status.count : 7, status.count ? status.at : "deleted");
    }
    return EXIT_WELL;
}

static int cancel(struct remote *remote)
{
    return for_each(remote, "POST", "/cancel");
}

int command_cancel(const struct command *command, int argc, char **argv)
{
    return remote_run(command, argc, argv, 1, "name a job: rivulet cancel JOB", cancel);
}

static int delete(struct remote *remote)
{
    return for_each(remote, "DELETE", "");
}

int command_delete(const struct command *command, int argc, char **argv)
{
    return remote_run(command, argc, argv, 1, "name a job: rivulet delete JOB", delete);
}

/* ---- retry ---- */

static int put_items(struct remote *remote, struct buf *body)
{
    struct bytes rest = bytes_of(remote->arguments.values[RETRY_ITEMS]);
    json_open(body, '{');
    json_key(body, "items");
    json_open(body, '[');
    while (rest.count) {
        int64_t item;
        struct bytes word = bytes_trim(bytes_cut(&rest, ','));
        if (!bytes_to_i64(word, &item) || item < 0)
            return problem_set(&remote->problem, "--items has \"%.*s\": it must be indices separated by commas, the first item is 0", BYTES_ARG(word));
        json_int(body, item);
    }
    json_close(body, ']');
    json_close(body, '}');
    return 0;
}

static int retry(struct remote *remote)
{
    char path[256];
    struct json_object *job JSON_OWNED = NULL;
    struct buf body BUF_OWNED;
    buf_init(&body, 1024 * 1024);
    if (remote->arguments.values[RETRY_ITEMS] && put_items(remote, &body))
        return EXIT_USAGE;
    if (remote_job_path(remote, remote->arguments.words[0], "/retry", path) || remote_call(remote, "POST", path, buf_bytes(&body), &job))
        return EXIT_USAGE;
    if (remote->json)
        remote_print(job);
    else
        printf("%.*s\n", BYTES_ARG(json_get_bytes(job, "id")));
    return EXIT_WELL;
}

int command_retry(const struct command *command, int argc, char **argv)
{
    return remote_run(command, argc, argv, 1, "name a job: rivulet retry JOB", retry);
}
