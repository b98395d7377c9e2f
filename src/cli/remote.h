/* What the commands that talk to a server share: where it is, the key, the answer as a tree. Thread: the only one. */
#pragma once
#include "base/json.h"
#include "cli/command.h"
#include "client/client.h"

/* The flags every such command begins its table with, in this order; its own follow from REMOTE_OWN on. */
#define REMOTE_FLAGS                                                        \
    {"server", "URL", "the server; else RIVULET_SERVER, else http://127.0.0.1:8080"}, \
    {"key-file", "FILE", "a file with the bearer key; else RIVULET_KEY"},   \
    {"json", NULL, "JSON as the server sent it, for other programs"}
enum { REMOTE_SERVER, REMOTE_KEY_FILE, REMOTE_JSON, REMOTE_OWN };

struct remote {
    const struct command *command;
    struct arguments arguments;
    struct client *client;
    struct problem problem;       /* why it could not be done: said by remote_run, which then answers EXIT_USAGE */
    bool json;
};

/* Parse, help, connect; then `body`, whose answer is the exit status unless it set the problem. `words_min`: fewer words are refused with
 * `lacking`. */
int remote_run(const struct command *command, int argc, char **argv, int words_min, const char *lacking, int (*body)(struct remote *remote));

/* One call, its answer as JSON (owned, NULL when it had none); a refusal is a problem. Statuses of 2xx answer 0. */
int remote_call(struct remote *remote, const char *method, const char *path, struct bytes body, struct json_object **ret);
/* "/v1/jobs/ID" and what stands behind. The id is checked: it comes from a command line. */
int remote_job_path(struct remote *remote, const char *id, const char *behind, char ret[256]);
void remote_print(struct json_object *tree);      /* one line */
