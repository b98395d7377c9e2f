#include "cli/remote.h"

#include "base/mem.h"
#include "cli/manual.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_S = 10 };

/* The first line of the file, or RIVULET_KEY. *ret owned, NULL = no key. */
static int find_key(struct remote *remote, char **ret)
{
    const char *path = remote->arguments.values[REMOTE_KEY_FILE], *value = getenv("RIVULET_KEY");
    char line[4096] = "";
    *ret = !path && value && value[0] ? mem_text(value) : NULL;
    if (!path)
        return 0;
    FILE *file = fopen(path, "re");
    bool got = file && fgets(line, sizeof line, file);
    int error = errno;
    if (file)
        fclose(file);
    if (!got)
        return problem_set(&remote->problem, "the key file \"%s\" cannot be read: %s", path, file ? "it is empty" : strerror(error));
    line[strcspn(line, "\r\n")] = 0;
    *ret = mem_text(line);
    return 0;
}

static int connect_to(struct remote *remote)
{
    const char *server = remote->arguments.values[REMOTE_SERVER], *told = getenv("RIVULET_SERVER");
    char *key MEM_OWNED = NULL;
    if (find_key(remote, &key))
        return -1;
    server = server ? server : told && told[0] ? told : "http://127.0.0.1:8080";
    remote->client = client_new(server, key, &remote->problem);
    remote->json = remote->arguments.values[REMOTE_JSON];
    return remote->client ? 0 : -1;
}

int remote_run(const struct command *command, int argc, char **argv, int words_min, const char *lacking, int (*body)(struct remote *remote))
{
    struct remote remote = {.command = command};
    int status = EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);
    if (command_parse(command, argc, argv, NULL, &remote.arguments, &remote.problem)) {
        /* said below */
    } else if (remote.arguments.help) {
        status = manual_print(command);
    } else if (remote.arguments.count < words_min) {
        problem_set(&remote.problem, "%s", lacking);
    } else if (!connect_to(&remote)) {
        status = body(&remote);
    }
    client_free(remote.client);
    return problem_is(&remote.problem) ? command_refuse(command, &remote.problem) : status;
}

int remote_call(struct remote *remote, const char *method, const char *path, struct bytes body, struct json_object **ret)
{
    struct client_answer answer CLIENT_ANSWER_OWNED = {0};
    struct client_request request = {.method = method, .path = path, .type = body.count ? "application/json" : NULL, .body = body};
    *ret = NULL;
    if (client_insist(remote->client, &request, PATIENCE_S, &answer, &remote->problem))
        return -1;
    if (answer.status < 200 || answer.status > 299)
        return client_refusal(&answer, &remote->problem);
    *ret = answer.body.count ? json_parse(buf_bytes(&answer.body), NULL) : NULL;
    return 0;
}

int remote_job_path(struct remote *remote, const char *id, const char *behind, char ret[256])
{
    size_t count = strspn(id, "0123456789abcdefABCDEF-");
    if (!count || id[count] || count > 64)
        return problem_set(&remote->problem, "\"%.64s\" is no id of a job: those are hexadecimal digits", id);
    snprintf(ret, 256, "/v1/jobs/%s%s", id, behind);
    return 0;
}

void remote_print(struct json_object *tree)
{
    struct buf line BUF_OWNED;
    buf_init(&line, CLIENT_ANSWER_BYTES);
    json_tree(&line, tree);
    puts(buf_z(&line));
}
