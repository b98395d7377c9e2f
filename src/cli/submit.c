/* `rivulet submit`. Files become an open job, so that the first is at work while the rest is on its way; a repeated upload after a lost
 * answer says which place it is for, so that none is in the job twice. Values (--values) go in one body, a line an item. */
#include "cli/follow.h"

#include "base/mem.h"
#include "base/rng.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_S = 120 };

const struct flag submit_flags[] = {
    REMOTE_FLAGS,
    FOLLOW_FLAGS,
    {"watch", NULL, "follow the job: JSON Lines as each item ends"},
    {"values", "FILE", "JSON Lines, an item a line, instead of files; - is standard input"},
    {"params", "JSON", "parameters of the job, a JSON object"},
    {"in-flight", "N", "items of this job at work at once"},
    {"key", "TEXT", "an idempotency key: the same command again finds the same job"},
    {"resume", NULL, "leave out the files that --joblog has already"},
    {"resume-failed", NULL, "leave out those that --joblog says succeeded"},
    {"retry-failed", NULL, "only those that --joblog says failed"},
    {NULL},
};
enum { SUBMIT_WATCH = FOLLOW_OWN, SUBMIT_VALUES, SUBMIT_PARAMS, SUBMIT_IN_FLIGHT, SUBMIT_KEY, SUBMIT_RESUME, SUBMIT_RESUME_FAILED, SUBMIT_RETRY_FAILED };

struct submission {
    struct remote *remote;
    struct follow follow;
    bool watches;
    char job[72];
    char key_header[320];
    char *const *files;               /* all that were named */
    int64_t *seqs;                    /* which of them are sent; owned */
    char **names;                     /* of those */
    size_t count;
};

static void make_key(struct submission *submission)
{
    const char *told = submission->remote->arguments.values[SUBMIT_KEY];
    unsigned char random[16];
    char hex[33];
    rng_system(random, sizeof random);
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", random[i]);
    snprintf(submission->key_header, sizeof submission->key_header, "Idempotency-Key: %s", told ? told : hex);
}

static void put_path(struct submission *submission, bool open, struct buf *ret)
{
    struct remote *remote = submission->remote;
    const char *in_flight = remote->arguments.values[SUBMIT_IN_FLIGHT];
    buf_text(ret, "/v1/jobs?pipeline=");
    client_encode(ret, bytes_of(remote->arguments.words[0]));
    if (open)
        buf_text(ret, "&open=1");
    if (in_flight) {
        buf_text(ret, "&in_flight=");
        client_encode(ret, bytes_of(in_flight));
    }
}

/* The job that was made; its document is shown when nobody watches. */
static int take_job(struct submission *submission, const struct client_answer *answer)
{
    struct remote *remote = submission->remote;
    if (answer->status < 200 || answer->status > 299)
        return client_refusal(answer, &remote->problem);
    struct json_object *document JSON_OWNED = json_parse(buf_bytes(&answer->body), NULL);
    struct bytes id = json_get_bytes(document, "id");
    if (!id.count || id.count >= sizeof submission->job)
        return problem_set(&remote->problem, "%s answered with no job: is it a Rivulet server?", client_base(remote->client));
    snprintf(submission->job, sizeof submission->job, "%.*s", BYTES_ARG(id));
    return 0;
}

static int post_job(struct submission *submission, FILE *values)
{
    struct client_answer answer CLIENT_ANSWER_OWNED = {0};
    struct buf path BUF_OWNED;
    buf_init(&path, 65536);
    put_path(submission, !values, &path);
    struct client_request request = {.method = "POST", .path = buf_z(&path), .headers = {submission->key_header},
                                     .params = values ? NULL : submission->remote->arguments.values[SUBMIT_PARAMS],
                                     .type = values ? "application/x-ndjson" : NULL, .stream = values};
    struct client *client = submission->remote->client;
    struct problem *problem = &submission->remote->problem;
    int failed = values ? client_call(client, &request, &answer, problem) : client_insist(client, &request, PATIENCE_S, &answer, problem);
    return failed ? -1 : take_job(submission, &answer);
}

/* ---- files ---- */

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {{".jpg", "image/jpeg"}, {".jpeg", "image/jpeg"}, {".png", "image/png"}, {".webp", "image/webp"},
                                           {".json", "application/json"}, {".txt", "text/plain"}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (bytes_equal_nocase(bytes_of(dot), bytes_of(types[i][0])))
            return types[i][1];
    return "application/octet-stream";
}

/* A conflict says that the place is taken: by this very file, when the answer to an earlier try was lost. */
static int post_file(struct submission *submission, size_t n)
{
    struct client_answer answer CLIENT_ANSWER_OWNED = {0};
    const char *slash = strrchr(submission->names[n], '/');
    char path[256], behind[64];
    snprintf(behind, sizeof behind, "/items?first=%zu", n);
    remote_job_path(submission->remote, submission->job, behind, path);
    struct client_request request = {.method = "POST", .path = path, .file = submission->names[n], .type = type_of(submission->names[n]),
                                     .file_name = slash ? slash + 1 : submission->names[n]};
    if (client_insist(submission->remote->client, &request, PATIENCE_S, &answer, &submission->remote->problem))
        return -1;
    if (answer.status == 409 || (answer.status >= 200 && answer.status <= 299))
        return 0;
    return client_refusal(&answer, &submission->remote->problem);
}

static int check_files(struct submission *submission)
{
    for (size_t i = 0; i < submission->count; i++) {
        struct stat about;
        if (stat(submission->names[i], &about) || access(submission->names[i], R_OK))
            return problem_set(&submission->remote->problem, "\"%s\" cannot be read: %s", submission->names[i], strerror(errno));
        if (!S_ISREG(about.st_mode))
            return problem_set(&submission->remote->problem, "\"%s\" is no file", submission->names[i]);
    }
    return 0;
}

static int choose_files(struct submission *submission)
{
    struct remote *remote = submission->remote;
    const char *const *values = remote->arguments.values;
    enum resume how = values[SUBMIT_RETRY_FAILED] ? RESUME_ONLY_FAILED : values[SUBMIT_RESUME_FAILED] ? RESUME_SKIP_SUCCEEDED
                    : values[SUBMIT_RESUME] ? RESUME_SKIP_LOGGED : RESUME_ALL;
    size_t all = (size_t)remote->arguments.count - 1;
    if (how != RESUME_ALL && !values[FOLLOW_JOBLOG])
        return problem_set(&remote->problem, "--resume, --resume-failed and --retry-failed need the --joblog that they go by");
    submission->files = remote->arguments.words + 1;
    if (resume_read(values[FOLLOW_JOBLOG], how, submission->files, all, &submission->seqs, &submission->count, &remote->problem))
        return -1;
    submission->names = mem_new((submission->count + 1) * sizeof *submission->names);
    for (size_t i = 0; i < submission->count; i++)
        submission->names[i] = submission->files[submission->seqs[i]];
    return check_files(submission);
}

static int call_job(struct submission *submission, const char *behind)
{
    char path[256];
    struct json_object *unused JSON_OWNED = NULL;
    remote_job_path(submission->remote, submission->job, behind, path);
    return remote_call(submission->remote, "POST", path, (struct bytes){0}, &unused);
}

static int begin_watching(struct submission *submission)
{
    return submission->watches ? follow_begin(&submission->follow, submission->remote, submission->job, submission->seqs, submission->names,
                                              (int64_t)submission->count) : 0;
}

/* The job of a submission that failed; why it did stays said. -1 */
static int cancel_job(struct submission *submission)
{
    struct problem why = submission->remote->problem;
    call_job(submission, "/cancel");
    submission->remote->problem = why;
    return -1;
}

/* What was sent stays when it is cut off; the job does not. */
static int send_files(struct submission *submission)
{
    if (post_job(submission, NULL) || begin_watching(submission))
        return -1;
    for (size_t i = 0; i < submission->count; i++) {
        if (post_file(submission, i))
            return cancel_job(submission);
        if (follow_interrupted()) {
            problem_set(&submission->remote->problem, "interrupted; the job %s is cancelled", submission->job);
            return cancel_job(submission);
        }
        if (submission->watches)
            follow_turn_now(&submission->follow);
    }
    return call_job(submission, "/seal");
}

/* Lines have no place for parameters; an open job has. */
static int send_lines(struct submission *submission, FILE *file)
{
    char path[256];
    struct client_answer answer CLIENT_ANSWER_OWNED = {0};
    struct client_request request = {.method = "POST", .path = path, .type = "application/x-ndjson", .stream = file};
    if (!submission->remote->arguments.values[SUBMIT_PARAMS])
        return post_job(submission, file);
    if (post_job(submission, NULL) || remote_job_path(submission->remote, submission->job, "/items", path) ||
        client_call(submission->remote->client, &request, &answer, &submission->remote->problem))
        return -1;
    if (answer.status > 299) {
        client_refusal(&answer, &submission->remote->problem);
        return cancel_job(submission);
    }
    return call_job(submission, "/seal");
}

static int send_values(struct submission *submission, const char *path)
{
    FILE *file = strcmp(path, "-") ? fopen(path, "re") : stdin;
    if (!file)
        return problem_set(&submission->remote->problem, "\"%s\" cannot be read: %s", path, strerror(errno));
    int answer = send_lines(submission, file);
    if (file != stdin)
        fclose(file);
    return answer ? answer : begin_watching(submission);
}

static int tell(struct submission *submission)
{
    struct remote *remote = submission->remote;
    char path[256];
    struct json_object *document JSON_OWNED = NULL;
    if (!remote->json) {
        puts(submission->job);
        return EXIT_WELL;
    }
    remote_job_path(remote, submission->job, "", path);
    if (remote_call(remote, "GET", path, (struct bytes){0}, &document))
        return EXIT_USAGE;
    remote_print(document);
    return EXIT_WELL;
}

static int submit(struct remote *remote)
{
    struct submission submission = {.remote = remote, .watches = remote->arguments.values[SUBMIT_WATCH]};
    const char *values = remote->arguments.values[SUBMIT_VALUES];
    struct halt unused;
    int status = EXIT_USAGE;
    if (values && remote->arguments.count > 1)
        return problem_set(&remote->problem, "--values and files are two ways to say the same: choose one");
    if (!values && remote->arguments.count < 2)
        return problem_set(&remote->problem, "no files are named");
    follow_heed_interrupt();
    make_key(&submission);
    if (!follow_check(remote, &unused) && (values || !choose_files(&submission)) &&
        !(values ? send_values(&submission, values) : send_files(&submission))) {
        while (submission.watches && follow_turn(&submission.follow))
            ;
        status = submission.watches ? EXIT_WELL : tell(&submission);
    }
    if (submission.watches && submission.follow.job) {
        int verdict = follow_end(&submission.follow);
        status = status == EXIT_WELL ? verdict : status;
    }
    free(submission.seqs);
    free(submission.names);
    return status;
}

int command_submit(const struct command *command, int argc, char **argv)
{
    return remote_run(command, argc, argv, 1, "name a pipeline and files: rivulet submit decklists FILES…", submit);
}
