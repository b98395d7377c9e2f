/* `rivulet check`: pipeline files are compiled, nothing is run; with --data a log is looked over instead (check_log.c). */
#include "cli/check_log.h"
#include "cli/manual.h"

#include "base/json.h"
#include "base/limits.h"
#include "config/compile.h"
#include "config/environment.h"
#include "config/grammar.h"
#include "config/secret.h"
#include "config/yaml.h"
#include "core/pipeline.h"
#include "engine/terms.h"
#include "readers/mirror.h"

#include <stdio.h>
#include <stdlib.h>

const struct flag check_flags[] = {
    {"json", NULL, "the canonical text on standard output, a line a file"},
    {"keys", NULL, "all keys that a pipeline file may have, as Markdown; needs no file"},
    {"data", "DIR", "look over the log and the stored files in DIR instead"},
    {"rebuild", NULL, "with --data: make all caches anew from the events"},
    {"drop", NULL, "with --rebuild: forget the jobs that cannot be mended"},
    {NULL},
};
enum { CHECK_JSON, CHECK_KEYS, CHECK_DATA, CHECK_REBUILD, CHECK_DROP };

enum { TEXT_MAX = 1 << 20 };

static const char *const places[ROOM_COUNT] = {[ROOM_WORKER] = "worker", [ROOM_EXEC] = "program", [ROOM_TRIP] = "network"};

/* ---- the table of a good one ---- */

static void put_time(struct buf *ret, int64_t us)
{
    static const struct { const char *name; int64_t us; } units[] = {{"d", 86400000000}, {"h", 3600000000}, {"m", 60000000}, {"s", 1000000}, {"ms", 1000}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (us >= units[i].us && us % units[i].us == 0) {
            buf_print(ret, "%lld%s", (long long)(us / units[i].us), units[i].name);
            return;
        }
    buf_print(ret, "%lldus", (long long)us);
}

static void put_stages(struct buf *ret, const struct leg *leg)
{
    struct json_object *stages JSON_OWNED = json_parse(bytes_of(leg->stages), NULL);
    for (size_t i = 0; stages && i < json_object_array_length(stages); i++) {
        struct json_object *stage = json_object_array_get_idx(stages, i);
        struct bytes name = pipeline_stage_name(stage);
        buf_print(ret, "%s%.*s", i ? ", " : "", BYTES_ARG(name));
    }
}

static void put_legs(struct buf *ret, const struct pipeline *pipeline)
{
    buf_print(ret, "  %-4s%-9s%-8s%-9s%-7s%s\n", "leg", "where", "each", "timeout", "tries", "stages");
    for (size_t i = 0; i < pipeline->legs_count; i++) {
        const struct leg *leg = &pipeline->legs[i];
        struct buf time BUF_OWNED;
        buf_init(&time, 32);
        put_time(&time, leg->timeout_us);
        buf_print(ret, "  %-4zu%-9s%-8s%-9s%-7u", i + 1, places[leg->room], leg->records ? "record" : "item", leg->records ? "-" : buf_z(&time), leg->attempts);
        put_stages(ret, leg);
        buf_byte(ret, '\n');
    }
}

/* The variables of the environment that are asked for, each once. */
static void put_need(void *data, const char *name, bool has_default)
{
    struct buf *ret = data, line BUF_OWNED;
    buf_init(&line, 1024);
    secret_settle(name, SECRET_ANY, NULL);
    buf_print(&line, "  needs %s%s\n", name, has_default ? " (has a default)" : getenv(name) ? "" : " (not set)");
    if (buf_ok(&line) && !strstr(buf_z(ret), buf_z(&line)))
        buf_put(ret, buf_bytes(&line));
}

static void show(const char *path, const struct pipeline *pipeline, bool as_json)
{
    struct buf text BUF_OWNED;
    buf_init(&text, TEXT_MAX);
    if (as_json) {
        puts(pipeline->text);
        return;
    }
    buf_print(&text, "%s: %s\n", path, pipeline->name);
    put_legs(&text, pipeline);
    environment_walk(pipeline->tree, put_need, &text);
    fputs(buf_z(&text), stdout);
}

/* ---- one file ---- */

/* The last key of that name. */
static const struct yaml *find_key(const struct yaml *node, struct bytes name)
{
    const struct yaml *found = NULL;
    for (size_t i = 0; node && node->kind != YAML_SCALAR && i < node->count; i++) {
        const struct yaml_member *member = &node->members[i];
        const struct yaml *inside = find_key(member->value, name);
        found = inside ? inside : member->key && bytes_equal(member->key->text, name) ? member->key : found;
    }
    return found;
}

/* What is found when the stages are one pipeline has no place of its own: it is told at the key that it names, or at the one that it is about. */
static void add_late(struct mistakes *mistakes, const char *path, struct bytes text, const char *about, const struct problem *problem)
{
    struct yaml_tree tree;
    struct bytes rest = bytes_of(problem->text), name;
    yaml_parse(&tree, path, text, mistakes);
    bytes_cut(&rest, '"');
    name = bytes_cut(&rest, '"');
    const struct yaml *key = find_key(tree.root, name);
    key = key ? key : find_key(tree.root, bytes_of(about));
    if (key)
        mistakes_add(mistakes, key->source, key->line, key->column, "%s.", problem->text);
    else
        mistakes_add(mistakes, mistakes->sources, 1, 1, "%s.", problem->text);
    yaml_done(&tree);
}

static bool check_file(const char *path, bool as_json)
{
    struct mistakes mistakes = {0};
    struct problem problem = {0};
    struct buf text BUF_OWNED = {0}, canonical BUF_OWNED, told BUF_OWNED;
    struct pipeline *pipeline = NULL;
    buf_init(&canonical, TEXT_MAX);
    buf_init(&told, TEXT_MAX);
    if (!yaml_read_file(path, LIMIT_PIPELINE_FILE_BYTES, &text, &problem) && compile_pipeline(path, buf_bytes(&text), &mistakes, &canonical))
        pipeline = pipeline_parse(buf_bytes(&canonical), &problem);
    bool whole = pipeline && !terms_check(pipeline, &problem), well = whole && !mirror_check(pipeline, &problem);
    if (!well && !mistakes.count && mistakes.sources)
        add_late(&mistakes, path, buf_bytes(&text), whole ? "firestore" : "stages", &problem);
    mistakes_print(&mistakes, &told);
    fputs(buf_z(&told), stderr);
    if (mistakes.count)
        fprintf(stderr, "%zu mistake%s in %s\n", mistakes.count + mistakes.more, mistakes.count == 1 ? "" : "s", path);
    else if (!well)
        fprintf(stderr, "rivulet check: %s: %s\n", path, problem.text);
    else
        show(path, pipeline, as_json);
    pipeline_free(pipeline);
    mistakes_done(&mistakes);
    return well;
}

static int show_keys(void)
{
    struct buf text BUF_OWNED;
    buf_init(&text, TEXT_MAX);
    grammar_write(&text);
    fputs(buf_z(&text), stdout);
    return EXIT_WELL;
}

/* Flags that do not go together. */
static int sense(const struct arguments *arguments, struct problem *problem)
{
    bool data = arguments->values[CHECK_DATA], rebuild = arguments->values[CHECK_REBUILD], drop = arguments->values[CHECK_DROP];
    if ((rebuild && !data) || (drop && !rebuild))
        return problem_set(problem, "%s", data ? "--drop goes with --rebuild" : "name the data directory: --data DIR --rebuild");
    if (data && (arguments->count || arguments->values[CHECK_JSON]))
        return problem_set(problem, "a data directory and pipeline files are looked over one by one");
    if (!data && !arguments->count)
        return problem_set(problem, "name the pipeline files, or a data directory with --data");
    return 0;
}

int command_check(const struct command *command, int argc, char **argv)
{
    struct arguments arguments;
    struct problem problem = {0};
    int status = EXIT_WELL;
    if (command_parse(command, argc, argv, NULL, &arguments, &problem))
        return command_refuse(command, &problem);
    if (arguments.help)
        return manual_print(command);
    if (arguments.values[CHECK_KEYS])
        return show_keys();
    if (sense(&arguments, &problem))
        return command_refuse(command, &problem);
    if (arguments.values[CHECK_DATA])
        return check_log(arguments.values[CHECK_DATA], arguments.values[CHECK_REBUILD], arguments.values[CHECK_DROP]);
    for (int i = 0; i < arguments.count; i++)
        if (!check_file(arguments.words[i], arguments.values[CHECK_JSON]))
            status = EXIT_SOME_FAILED;
    return status;
}
