/* The kind `exec`: a program of the user's, started without a shell.
 *
 *   {"argv": [text or {"expr": program} …], "stdin": "json"|"input"|"none", "stdout": "json"|"jsonl"|"text"|"lines"|"none", "cwd": text,
 *    "env": {NAME: program or {"$secret": text}}, "limits": {"cpu_us": n, "memory_bytes": n, "output_bytes": n, "files": n}}
 *
 * The value goes to standard input as JSON, or the input file as it is. Standard output is the result: one JSON value (none at all is {}), a list of such values,
 * a text, a list of lines, or nothing that counts. An exit status other than 0 fails the item with what the program said last on standard error. The stage's
 * retry.on may name "exit" or "exit:N" for another try, and "crash" for an end by a signal, which is the usual. The environment is PATH, HOME, LANG, TMPDIR and what `env` names. {"$secret": …} is what the server made of
 * {"$env": …}: it is struck out of all that comes back.
 *
 * It may write in TMPDIR, a folder of its own that is emptied when it ends, and in `cwd`; it does not see the server's data (stage/jail.h).
 *
 * The program is in the process group of its worker, and what leaves the group is adopted by the worker: whoever ends the one ends the other. What a program
 * has left running when it ends is killed. */
#include "base/mem.h"
#include "base/text.h"
#include "stage/exec_child.h"
#include "stage/jail.h"
#include "stage/program.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXTS_BYTES_MAX = 1 << 20, SECRETS_MAX = 16, SECRET_BYTES_MIN = 4, SAID_BYTES_MAX = 1900 };

struct exec {
    struct expr_shelf *shelf;
    struct jail *jail;
};

/* A program's order, while it is put together. */
struct order {
    const struct stage_task *task;
    struct json_object *settings, *given;      /* owned; given: what the expressions gave, in their order */
    size_t given_at;
    struct exec_child child;
    char *argv[EXEC_ARGS_MAX + 1], *env[EXEC_ENV_MAX + 1];      /* owned texts */
    size_t argv_count, env_count;
    const char *secrets[SECRETS_MAX];          /* borrowed from settings */
    size_t secrets_count;
};

static void order_done(struct order *order)
{
    for (size_t i = 0; i < order->argv_count; i++)
        free(order->argv[i]);
    for (size_t i = 0; i < order->env_count; i++)
        free(order->env[i]);
    json_drop(&order->settings);
    json_drop(&order->given);
    exec_child_done(&order->child);
}

/* ---- texts that are programs ---- */

static void term_add(struct buf *program, struct bytes expr, const char *name)
{
    if (!expr.at)
        return;
    if (program->count > 1)
        buf_text(program, ", ");
    program_term(program, bytes_of(name), expr);
}

/* All of them as one program, so that the value is read once. False: there is none. */
static bool wrap_texts(struct json_object *settings, struct buf *ret)
{
    struct json_object *argv = json_get(settings, "argv"), *env = json_get(settings, "env");
    buf_byte(ret, '[');
    for (size_t i = 0; json_object_is_type(argv, json_type_array) && i < json_object_array_length(argv); i++)
        term_add(ret, json_get_bytes(json_object_array_get_idx(argv, i), "expr"), "argv");
    if (json_object_is_type(env, json_type_object)) {
        json_object_object_foreach(env, name, text)
            if (json_object_is_type(text, json_type_string))
                term_add(ret, bytes_of(json_object_get_string(text)), name);
    }
    bool any = ret->count > 1;
    buf_byte(ret, ']');
    return any;
}

static bool evaluate(struct expr_shelf *shelf, struct order *order, struct stage_outcome *outcome)
{
    struct buf program BUF_OWNED, room BUF_OWNED, given BUF_OWNED;
    struct bytes input;
    buf_init(&program, TEXTS_BYTES_MAX);
    buf_init(&room, STAGE_VALUE_MAX);
    buf_init(&given, TEXTS_BYTES_MAX);
    if (!wrap_texts(order->settings, &program))
        return true;
    if (!program_input_json(order->task, &room, &input, outcome) ||
        !program_run(shelf, buf_bytes(&program), input, order->task, &given, outcome))
        return false;
    order->given = json_parse(buf_bytes(&given), NULL);
    return true;
}

static void secret_note(struct order *order, const char *secret)
{
    if (strlen(secret) >= SECRET_BYTES_MIN && order->secrets_count < SECRETS_MAX)
        order->secrets[order->secrets_count++] = secret;
}

/* The text that a setting stands for, or NULL and the outcome a failure. Borrowed. `expr`: it was among those that were evaluated. */
static const char *text_of(struct order *order, struct json_object *setting, bool expr, const char *what, struct stage_outcome *outcome)
{
    struct bytes secret = json_get_bytes(setting, "$secret"), unset = json_get_bytes(setting, "$unset");
    if (unset.at) {
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "The variable %.*s, which %s needs, is not in the server's environment.", BYTES_ARG(unset), what);
        return NULL;
    }
    if (secret.at) {
        secret_note(order, secret.at);
        return secret.at;
    }
    if (expr)
        setting = json_object_array_get_idx(order->given, order->given_at++);
    if (json_object_is_type(setting, json_type_string) && memchr(json_object_get_string(setting), 0, (size_t)json_object_get_string_len(setting))) {
        stage_outcome_fail(outcome, STAGE_FAIL, "expression", "What stands for %s has a NUL in it: a program would see it cut there.", what);
        return NULL;
    }
    if (setting && !json_object_is_type(setting, json_type_object) && !json_object_is_type(setting, json_type_array))
        return json_object_get_string(setting);
    stage_outcome_fail(outcome, STAGE_FAIL, "expression", "What stands for %s is %s, not a text.", what, setting ? "an array or an object" : "null");
    return NULL;
}

static bool put_argv(struct order *order, struct stage_outcome *outcome)
{
    struct json_object *argv = json_get(order->settings, "argv");
    for (size_t i = 0; i < json_object_array_length(argv); i++) {
        struct json_object *argument = json_object_array_get_idx(argv, i);
        const char *text = text_of(order, argument, json_get(argument, "expr") != NULL, "an argument", outcome);
        if (!text)
            return false;
        order->argv[order->argv_count++] = mem_text(text);
    }
    return true;
}

static void env_put(struct order *order, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *text = mem_new(size);
    snprintf(text, size, "%s=%s", name, value);
    order->env[order->env_count++] = text;
}

static bool put_env(struct order *order, const char *scratch, struct stage_outcome *outcome)
{
    static const char *const usual[][2] = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"HOME", "/"}, {"LANG", "C.UTF-8"}};
    struct json_object *env = json_get(order->settings, "env");
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        const char *value = getenv(usual[i][0]);
        if (!json_get(env, usual[i][0]))
            env_put(order, usual[i][0], value ? value : usual[i][1]);
    }
    if (scratch && !json_get(env, "TMPDIR"))
        env_put(order, "TMPDIR", scratch);
    if (!json_object_is_type(env, json_type_object))
        return true;
    if ((size_t)json_object_object_length(env) > EXEC_ENV_MAX - order->env_count) {
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "The stage names more than %d variables of the environment.", EXEC_ENV_MAX - 4);
        return false;
    }
    json_object_object_foreach(env, name, setting) {
        const char *text = text_of(order, setting, json_object_is_type(setting, json_type_string), name, outcome);
        if (!text)
            return false;
        env_put(order, name, text);
    }
    return true;
}

static bool order_make(struct exec *exec, struct order *order, struct stage_outcome *outcome)
{
    struct json_object *argv = json_get(order->settings, "argv"), *limits = json_get(order->settings, "limits");
    size_t count = json_object_is_type(argv, json_type_array) ? json_object_array_length(argv) : 0;
    if (!count || count > EXEC_ARGS_MAX) {
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "The stage has %zu arguments; 1 to %d are taken, the first is the program.", count, EXEC_ARGS_MAX);
        return false;
    }
    order->child.cwd = json_get_bytes(order->settings, "cwd").at;
    int rc = jail_rules(exec->jail, order->child.cwd, &order->child.rules);
    if (rc) {
        stage_outcome_fail(outcome, STAGE_RETRY, "processing", "What the program may see and write cannot be settled: %s.", strerror(-rc));
        return false;
    }
    if (!evaluate(exec->shelf, order, outcome) || !put_argv(order, outcome) || !put_env(order, jail_scratch(exec->jail), outcome))
        return false;
    struct bytes in = json_get_bytes(order->settings, "stdin");
    order->child.argv = order->argv;
    order->child.env = order->env;
    order->child.input_fd = bytes_equal(in, BYTES("none")) ? -1 : order->task->input_fd;
    order->child.input = bytes_equal(in, BYTES("none")) ? (struct bytes){0} : order->task->value;
    order->child.cpu_s = (json_get_int(limits, "cpu_us", 0) + 999999) / 1000000;
    order->child.output_max = (size_t)json_get_int(limits, "output_bytes", STAGE_VALUE_MAX);
    if (order->child.output_max > STAGE_VALUE_MAX)
        order->child.output_max = STAGE_VALUE_MAX;
    order->child.memory_bytes = json_get_int(limits, "memory_bytes", 0);
    order->child.files = json_get_int(limits, "files", 0);
    return true;
}

/* ---- what comes back ---- */

/* In place: a mark that is no longer than the shortest secret. */
static void strike(struct buf *text, const struct order *order)
{
    for (size_t i = 0; i < order->secrets_count; i++) {
        size_t length = strlen(order->secrets[i]);
        size_t from = 0, to = 0;
        char *at;
        while (text->count && (at = memmem(text->at + from, text->count - from, order->secrets[i], length))) {
            size_t before = (size_t)(at - text->at) - from;
            memmove(text->at + to, text->at + from, before);
            memcpy(text->at + to + before, "****", 4);
            to += before + 4;
            from += before + length;
        }
        if (from) {
            memmove(text->at + to, text->at + from, text->count - from);
            text->count -= from - to;
        }
    }
}

static struct bytes without_space(struct bytes text)
{
    while (text.count && text.at[0] && strchr(" \t\r\n", text.at[0]))
        text.at++, text.count--;
    while (text.count && text.at[text.count - 1] && strchr(" \t\r\n", text.at[text.count - 1]))
        text.count--;
    return text;
}

static void result_lines(struct bytes text, struct buf *ret)
{
    json_open(ret, '[');
    while (text.count && buf_ok(ret)) {
        struct bytes line = bytes_cut(&text, '\n');
        if (line.count && line.at[line.count - 1] == '\r')
            line.count--;
        json_bytes(ret, line);
    }
    json_close(ret, ']');
}

static void result_json(struct bytes text, struct stage_outcome *outcome)
{
    struct bytes json = without_space(text);
    struct problem problem = {0};
    if (!json.count) {
        buf_text(&outcome->value, "{}");
        return;
    }
    if (!program_json(json, &problem)) {
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "What the program wrote to its standard output is %s (stdout may be text too).",
                           problem.text);
        return;
    }
    if (buf_put(&outcome->value, json))
        for (size_t i = 0; i < outcome->value.count; i++)
            if (outcome->value.at[i] == '\n' || outcome->value.at[i] == '\r')
                outcome->value.at[i] = ' ';
}

/* Here a line that is no JSON is a mistake of the program's. */
static void result_jsonl(struct bytes text, struct stage_outcome *outcome)
{
    int64_t number = 1;
    json_open(&outcome->value, '[');
    for (bool more = false; text.count; number++) {
        struct problem problem = {0};
        struct bytes line = without_space(bytes_cut(&text, '\n'));
        if (line.count && !program_json(line, &problem)) {
            stage_outcome_fail(outcome, STAGE_FAIL, "processing", "Line %lld of what the program wrote to its standard output is %s.", (long long)number, problem.text);
            return;
        }
        if (line.count && more)
            buf_byte(&outcome->value, ',');
        buf_put(&outcome->value, line);
        more |= line.count > 0;
    }
    buf_byte(&outcome->value, ']');
}

static void result_take(struct order *order, struct stage_outcome *outcome)
{
    struct bytes as = json_get_bytes(order->settings, "stdout"), text = buf_bytes(&order->child.output);
    if (bytes_equal(as, BYTES("text")))
        json_bytes(&outcome->value, text);
    else if (bytes_equal(as, BYTES("none")))
        buf_text(&outcome->value, "{}");
    else if (bytes_equal(as, BYTES("jsonl")))
        result_jsonl(text, outcome);
    else if (bytes_equal(as, BYTES("lines")))
        result_lines(text, &outcome->value);
    else
        result_json(text, outcome);
}

/* Whether the stage's retry.on names this end of a program. */
static bool may_help(const struct order *order, int status)
{
    char exact[24];
    JSON_OWNED struct json_object *on = order->task->retry_on.count ? json_parse(order->task->retry_on, NULL) : NULL;
    size_t count = json_object_is_type(on, json_type_array) ? json_object_array_length(on) : 0;
    if (!on)
        return WIFSIGNALED(status);
    snprintf(exact, sizeof exact, "exit:%d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(on, i));
        if (name && (!strcmp(name, WIFEXITED(status) ? "exit" : "crash") || !strcmp(name, exact)))
            return true;
    }
    return false;
}

static void fail_status(struct order *order, struct stage_outcome *outcome)
{
    int status = order->child.status;
    struct bytes said = without_space(buf_bytes(&order->child.errors));
    const char *name = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;
    enum stage_verdict verdict = may_help(order, status) ? STAGE_RETRY : STAGE_FAIL;
    if (WIFSIGNALED(status))
        stage_outcome_fail(outcome, verdict, "processing", "The program %.200s was ended by the signal %s%s", order->argv[0], name ? name : "?",
                           said.count ? ": " : ".");
    else
        stage_outcome_fail(outcome, verdict, "processing", "The program %.200s ended with status %d%s", order->argv[0], WEXITSTATUS(status),
                           said.count ? ": " : ".");
    if (said.count > SAID_BYTES_MAX)
        said = (struct bytes){said.at + said.count - SAID_BYTES_MAX, SAID_BYTES_MAX};
    text_clean(&outcome->error_more, said);
}

static void order_run(struct order *order, struct stage_outcome *outcome)
{
    struct problem problem = {0};
    int rc = exec_child_run(&order->child, &problem);
    strike(&order->child.output, order);
    strike(&order->child.errors, order);
    if (rc)
        stage_outcome_fail(outcome, rc == EXEC_AGAIN ? STAGE_RETRY : STAGE_FAIL, "processing", "%s", problem.text);
    else if (order->child.status)
        fail_status(order, outcome);
    else
        result_take(order, outcome);
}

static void run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    struct exec *exec = state;
    struct order order = {.task = task, .settings = program_settings(task->settings), .child = EXEC_CHILD_NONE};
    if (order_make(exec, &order, outcome)) {
        order_run(&order, outcome);
        jail_clean(exec->jail);
    }
    order_done(&order);
}

static void learn(void *state, struct bytes text)
{
    const struct exec *exec = state;
    struct buf program BUF_OWNED;
    JSON_OWNED struct json_object *settings = program_settings(text);
    buf_init(&program, TEXTS_BYTES_MAX);
    if (wrap_texts(settings, &program) && buf_ok(&program))
        program_learn(exec->shelf, buf_bytes(&program));
}

static void finish(void *state)
{
    struct exec *exec = state;
    if (!exec)
        return;
    jail_close(exec->jail);
    program_close(exec->shelf);
    free(exec);
}

static int open_exec(const struct stage_outfit *outfit, void **ret_state, struct problem *problem)
{
    struct exec *exec = MEM_NEW(struct exec);
    void *shelf = NULL;
    if (program_open(outfit, &shelf, problem) || jail_open(outfit->scratch_path, outfit->hidden_paths, &exec->jail, problem)) {
        program_close(shelf);
        free(exec);
        return -1;
    }
    exec->shelf = shelf;
    *ret_state = exec;
    return 0;
}

const struct stage_kind stage_exec = {
    .name = "exec", .help = "a program of your own: the value in, the result out", .open = open_exec, .run = run, .close = finish,
    .learn = learn,
};
