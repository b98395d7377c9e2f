#include "config/compile_own.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/secret.h"
#include "config/units.h"
#include "expr/expr.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- sentences ---- */

const char *compile_guess(struct bytes word, const char *const *names, char *room, size_t size)
{
    const char *nearest = mistakes_nearest(word, names);
    snprintf(room, size, nearest ? ", did you mean \"%s\"?" : ".", nearest);
    return room;
}

static bool wants_program(enum key_type type)
{
    return type == KEY_PROGRAM || type == KEY_TEMPLATE || type == KEY_METHOD;
}

static void wrong_word(struct compile *compile, const struct key *key, const struct yaml *node)
{
    struct buf list BUF_OWNED;
    char guess[64];
    buf_init(&list, 512);
    for (size_t i = 0; key->words[i]; i++)
        buf_print(&list, "%s%s", i ? ", " : "", key->words[i]);
    compile_guess(node->text, key->words, guess, sizeof guess);
    WRONG(compile, node, "\"%s\" must be one of %s, not \"%.*s\"%s", key->name, buf_z(&list), (int)text_cut(node->text, 60), node->text.at, guess);
}

void compile_wrong(struct compile *compile, const struct key *key, const struct yaml *node)
{
    const char *hint = wants_program(key->type) && node->kind != YAML_SCALAR
                           ? ": YAML takes { [ and \": \" for its own. Put the text in quotes '…', or into a block behind |"
                           : "";
    if (node->kind != YAML_SCALAR)
        WRONG(compile, node, "\"%s\" must be %s, not a %s%s.", key->name, grammar_type(key), node->kind == YAML_LIST ? "list" : "mapping", hint);
    else if (node->env)
        WRONG(compile, node, "\"%s\" must be %s; !env cannot stand here.", key->name, grammar_type(key));
    else if (key->type == KEY_WORD)
        wrong_word(compile, key, node);
    else if (key->type == KEY_SECRET)
        WRONG(compile, node, "\"%s\" must be %s.", key->name, grammar_type(key));
    else if (node->text.count)
        WRONG(compile, node, "\"%s\" must be %s, not \"%.*s\".", key->name, grammar_type(key), (int)text_cut(node->text, 60), node->text.at);
    else
        WRONG(compile, node, "\"%s\" must be %s, not nothing.", key->name, grammar_type(key));
}

/* ---- programs ---- */

/* In a plain text " #" begins a comment: the program was cut off there. */
static bool cut_by_comment(const struct yaml *node)
{
    struct bytes line = source_line(node->source, node->line);
    return node->style == YAML_PLAIN && bytes_have(line, " #");
}

static bool program_compiles(struct compile *compile, const struct yaml *node, struct bytes program, bool own_text)
{
    struct expr_place place;
    struct problem problem = {0};
    struct expr *expr = expr_compile(program, &place, &problem);
    int line = node->line, column = node->column;
    if (!expr) {
        if (own_text)
            yaml_place(node, place.line, place.column, &line, &column);
        mistakes_add(compile->mistakes, node->source, line, column, "jq: %s.%s", problem.text,
                     own_text && cut_by_comment(node) ? " (An unquoted \" #\" begins a comment of YAML: put the program in quotes.)" : "");
    }
    expr_free(expr);
    return expr;
}

static bool is_text(const struct yaml *node)
{
    return node->kind == YAML_SCALAR && !node->env && node->text.count;
}

struct json_object *compile_program(struct compile *compile, const struct key *key, const struct yaml *node)
{
    /* A block ends with a line end that means nothing. */
    struct bytes program = node->text;
    while (program.count && (program.at[program.count - 1] == '\n' || program.at[program.count - 1] == ' '))
        program.count--;
    if (!is_text(node) || !program.count) {
        compile_wrong(compile, key, node);
        return NULL;
    }
    return program_compiles(compile, node, program, true) ? json_object_new_string_len(program.at, (int)program.count) : NULL;
}

struct json_object *compile_template(struct compile *compile, const struct key *key, const struct yaml *node, bool url)
{
    struct buf program BUF_OWNED;
    struct problem problem = {0};
    buf_init(&program, 4 * LIMIT_PIPELINE_FILE_BYTES);
    if (!is_text(node)) {
        compile_wrong(compile, key, node);
        return NULL;
    }
    if (expr_template(node->text, url, &program, &problem)) {
        WRONG(compile, node, "\"%s\": %s.", key->name, problem.text);
        return NULL;
    }
    /* A text without \( becomes one literal: nothing of it can be wrong. */
    bool plain = !bytes_have(node->text, "\\(");
    if (!plain && !program_compiles(compile, node, buf_bytes(&program), false))
        return NULL;
    return json_object_new_string_len(program.at, (int)program.count);
}

/* ---- scalars ---- */

struct json_object *compile_env(struct compile *compile, const struct yaml *node)
{
    struct bytes rest = node->text, name = bytes_cut(&rest, ' ');
    for (size_t i = 0; i < name.count; i++)
        if (!((name.at[i] | 32) >= 'a' && (name.at[i] | 32) <= 'z') && name.at[i] != '_' && !(i && name.at[i] >= '0' && name.at[i] <= '9')) {
            WRONG(compile, node, "!env takes the NAME of a variable, and perhaps a default behind it, not \"%.*s\".", BYTES_ARG(name));
            return NULL;
        }
    struct json_object *env = json_object_new_object();
    rest = bytes_trim(rest);
    json_object_object_add(env, "$env", json_object_new_string_len(name.at, (int)name.count));
    if (rest.count)
        json_object_object_add(env, "default", json_object_new_string_len(rest.at, (int)rest.count));
    return env;
}

/* A plain text of the environment is looked up at once: it is no secret, and a job goes on with what it began with. */
static struct json_object *text_of_env(struct compile *compile, const struct yaml *node)
{
    struct json_object *env JSON_OWNED = compile_env(compile, node);
    if (!env)
        return NULL;
    const char *name = json_object_get_string(json_get(env, "$env"));
    struct problem problem = {0};
    if (secret_settle(name, SECRET_ANY, &problem)) {
        WRONG(compile, node, "%s.", problem.text);
        return NULL;
    }
    const char *value = getenv(name);
    if (value && *value)
        return json_object_new_string(value);
    if (json_get(env, "default"))
        return json_object_get(json_get(env, "default"));
    WRONG(compile, node, "The environment has no %s; a default may stand behind it: !env %s DEFAULT.", name, name);
    return NULL;
}

static bool is_http(struct bytes text)
{
    return (bytes_start(text, BYTES("http://")) && text.count > 7) || (bytes_start(text, BYTES("https://")) && text.count > 8);
}

static bool is_name(struct bytes text)
{
    for (size_t i = 0; i < text.count; i++) {
        char byte = text.at[i], lower = byte | 32;
        if (!(lower >= 'a' && lower <= 'z') && !(byte >= '0' && byte <= '9') && byte != '_' && byte != '-')
            return false;
    }
    return text.count && text.count <= NAME_MAX_BYTES;
}

static bool in_range(const struct key *key, int64_t value)
{
    return value >= key->min && value <= (key->max ? key->max : 1000000000000000);
}

static struct json_object *whole_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    int64_t value;
    if (!bytes_to_i64(node->text, &value) && !units_count(node->text, &value)) {
        compile_wrong(compile, key, node);
    } else if (!in_range(key, value)) {
        WRONG(compile, node, "\"%s\" must be a whole number from %lld to %lld, not %lld.", key->name, (long long)key->min, (long long)key->max,
              (long long)value);
    } else {
        return json_object_new_int64(value);
    }
    return NULL;
}

static struct json_object *real_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    double value;
    if (!units_number(node->text, &value) || value < 0 || (key->max && value > (double)key->max)) {
        compile_wrong(compile, key, node);
        return NULL;
    }
    char text[64];
    snprintf(text, sizeof text, "%.*s", BYTES_ARG(node->text));
    return json_object_new_double_s(value, text);
}

static struct json_object *quantity_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    int64_t value;
    bool read = key->type == KEY_TIME ? units_time(node->text, &value) : units_size(node->text, &value);
    if (!read)
        compile_wrong(compile, key, node);
    else if (!in_range(key, value))
        WRONG(compile, node, "\"%s\" is too %s: %.*s.", key->name, value < key->min ? "small" : "large", BYTES_ARG(node->text));
    else
        return json_object_new_int64(value);
    return NULL;
}

static struct json_object *times_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    int64_t us[2];
    if (!units_time_range(node->text, us)) {
        compile_wrong(compile, key, node);
    } else if (!in_range(key, us[0]) || !in_range(key, us[1])) {
        WRONG(compile, node, "\"%s\" is out of its range: %.*s.", key->name, BYTES_ARG(node->text));
    } else {
        struct json_object *pair = json_object_new_array();
        json_object_array_add(pair, json_object_new_int64(us[0]));
        json_object_array_add(pair, json_object_new_int64(us[1]));
        return pair;
    }
    return NULL;
}

static struct json_object *flag_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    bool on = bytes_equal(node->text, BYTES("true"));
    if (on || bytes_equal(node->text, BYTES("false")))
        return json_object_new_boolean(on);
    compile_wrong(compile, key, node);
    return NULL;
}

static struct json_object *word_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    for (size_t i = 0; key->words[i]; i++)
        if (bytes_equal(node->text, bytes_of(key->words[i])))
            return json_object_new_string(key->words[i]);
    compile_wrong(compile, key, node);
    return NULL;
}

static struct json_object *text_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    bool well = key->type == KEY_NAME ? is_name(node->text) : key->type == KEY_BASE ? is_http(node->text) : node->text.count > 0;
    if (well)
        return json_object_new_string_len(node->text.at, (int)node->text.count);
    compile_wrong(compile, key, node);
    return NULL;
}

static struct json_object *scalar_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    bool takes_env = key->type == KEY_TEXT || key->type == KEY_BASE || key->type == KEY_SECRET;
    if (node->kind != YAML_SCALAR || (node->env && !takes_env)) {
        compile_wrong(compile, key, node);
        return NULL;
    }
    if (node->env)
        return key->type == KEY_TEXT ? text_of_env(compile, node) : compile_env(compile, node);
    switch (key->type) {
    case KEY_FLAG: return flag_of(compile, key, node);
    case KEY_WHOLE: return whole_of(compile, key, node);
    case KEY_REAL: return real_of(compile, key, node);
    case KEY_TIME: case KEY_SIZE: return quantity_of(compile, key, node);
    case KEY_TIMES: return times_of(compile, key, node);
    case KEY_WORD: return word_of(compile, key, node);
    case KEY_TEXT: case KEY_NAME: case KEY_BASE: return text_of(compile, key, node);
    default: compile_wrong(compile, key, node); return NULL;      /* a secret that stands in the file */
    }
}

/* ---- lists and mappings ---- */

static bool is_code(struct bytes text, int64_t *ret)
{
    return text.count == 3 && bytes_to_i64(text, ret) && *ret >= 100 && *ret <= 599;
}

static bool is_cause(struct bytes text)
{
    static const char *const causes[] = {"network", "timeout", "crash", "invalid_json", "failed", "exit", "4xx", "5xx", NULL};
    int64_t code;
    for (size_t i = 0; causes[i]; i++)
        if (bytes_equal(text, bytes_of(causes[i])))
            return true;
    if (bytes_start(text, BYTES("exit:")))
        return bytes_to_i64((struct bytes){text.at + 5, text.count - 5}, &code) && code > 0 && code < 256;
    return is_code(text, &code);
}

static struct json_object *element_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    int64_t code;
    bool well = node->kind == YAML_SCALAR && !node->env && node->text.count;
    if (well && key->type == KEY_CODES && is_code(node->text, &code))
        return json_object_new_int64(code);
    if (well && (key->type == KEY_TEXTS || (key->type == KEY_CAUSES && is_cause(node->text))))
        return json_object_new_string_len(node->text.at, (int)node->text.count);
    if (well && key->type == KEY_SCALARS && !yaml_is_null(node))
        return yaml_scalar_json(node);
    compile_wrong(compile, key, node);
    return NULL;
}

static struct json_object *list_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    struct json_object *list = json_object_new_array(), *element;
    if (node->kind != YAML_LIST && (element = element_of(compile, key, node)))
        json_object_array_add(list, element);
    for (size_t i = 0; node->kind == YAML_LIST && i < node->count; i++)
        if ((element = element_of(compile, key, node->members[i].value)))
            json_object_array_add(list, element);
    if (node->kind == YAML_LIST && !node->count)
        compile_wrong(compile, key, node);
    return list;
}

static struct json_object *by_name(struct compile *compile, const struct key *key, const struct yaml *node)
{
    struct json_object *object = json_object_new_object();
    if (node->kind != YAML_MAP) {
        compile_wrong(compile, key, node);
        return object;
    }
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml *value = node->members[i].value;
        char *name MEM_OWNED = mem_copy(node->members[i].key->text.at, node->members[i].key->text.count);
        struct key one = {name, key->type == KEY_PROGRAMS ? KEY_PROGRAM : KEY_TEMPLATE};
        struct json_object *made = value->env && key->type == KEY_TEMPLATES ? compile_env(compile, value)
                                   : key->type == KEY_PROGRAMS              ? compile_program(compile, &one, value)
                                                                            : compile_template(compile, &one, value, false);
        if (made)
            json_object_object_add(object, name, made);
    }
    return object;
}

static void rate_into(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out)
{
    int64_t count, per_us;
    char per[32];
    if (node->kind != YAML_SCALAR || node->env || !units_rate(node->text, &count, &per_us)) {
        compile_wrong(compile, key, node);
        return;
    }
    snprintf(per, sizeof per, "%s_per_us", key->name);
    json_object_object_add(out, key->name, json_object_new_int64(count));
    json_object_object_add(out, per, json_object_new_int64(per_us));
}

/* Known when a job is made, so that it can be told with the job's first event. */
static struct json_object *limit_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    struct bytes name = node->kind == YAML_SCALAR && !node->env ? node->text : (struct bytes){"", 0};
    int64_t value;
    char text[64];
    if (units_count(name, &value)) {
        snprintf(text, sizeof text, "%lld", (long long)value);
        return json_object_new_string(text);
    }
    if (bytes_start(name, BYTES("$params.")) && name.count < sizeof text) {
        snprintf(text, sizeof text, "%.*s", BYTES_ARG(name));
        if (json_get(json_get(compile->out, "params"), text + 8))
            return json_object_new_string(text);
    }
    compile_wrong(compile, key, node);
    return NULL;
}

static const struct key *key_of(const struct shape *shape, const char *name)
{
    for (const struct key *key = shape->keys; name && key->name; key++)
        if (!strcmp(key->name, name))
            return key;
    return NULL;
}

static struct json_object *group_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    struct json_object *object = json_object_new_object();
    const struct key *bare = key_of(key->shape, key->shape->bare);
    if (node->kind == YAML_MAP)
        compile_keys(compile, key->shape, node, node, NULL, object);
    else if (bare && !yaml_is_null(node))
        compile_key(compile, bare, node, object);
    else
        compile_wrong(compile, key, node);
    return object;
}

static struct json_object *groups_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    struct json_object *list = json_object_new_array();
    if (node->kind != YAML_LIST)
        json_object_array_add(list, group_of(compile, key, node));
    for (size_t i = 0; node->kind == YAML_LIST && i < node->count; i++)
        json_object_array_add(list, group_of(compile, key, node->members[i].value));
    return list;
}

static struct json_object *any_of(struct compile *compile, const struct yaml *node)
{
    struct json_object *value;
    yaml_json(node, compile->mistakes, &value);
    return value;
}

static struct json_object *value_of(struct compile *compile, const struct key *key, const struct yaml *node)
{
    switch (key->type) {
    case KEY_PROGRAM: return compile_program(compile, key, node);
    case KEY_LIMIT: return limit_of(compile, key, node);
    case KEY_TEMPLATE: return compile_template(compile, key, node, false);
    case KEY_TEXTS: case KEY_CODES: case KEY_CAUSES: case KEY_SCALARS: return list_of(compile, key, node);
    case KEY_PROGRAMS: case KEY_TEMPLATES: return by_name(compile, key, node);
    case KEY_GROUP: return group_of(compile, key, node);
    case KEY_GROUPS: return groups_of(compile, key, node);
    case KEY_JSON: return any_of(compile, node);
    default: return scalar_of(compile, key, node);
    }
}

static void method_into(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out)
{
    struct json_object *url = compile_template(compile, key, node, true);
    json_object_object_add(out, "method", json_object_new_string(key->out));
    if (url)
        json_object_object_add(out, "url", url);
}

void compile_key(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out)
{
    struct json_object *value;
    switch (key->type) {
    case KEY_METHOD: method_into(compile, key, node, out); return;
    case KEY_RATE: rate_into(compile, key, node, out); return;
    case KEY_ON_ERROR: compile_on_error(compile, key, node, out); return;
    case KEY_PARAMS: compile_params(compile, key, node, out); return;
    case KEY_ANSWER: compile_answer(compile, key, node, out); return;
    case KEY_ARGV: compile_argv(compile, key, node, out); return;
    case KEY_RESOURCE: case KEY_STAGES: return;       /* whoever makes the stages looks at them */
    case KEY_FLAT:
        if (node->kind == YAML_MAP)
            compile_keys(compile, key->shape, node, node, NULL, out);
        else
            compile_wrong(compile, key, node);
        return;
    default: value = value_of(compile, key, node);
    }
    if (value && *out_name(key))
        json_object_object_add(out, out_name(key), value);
    else
        json_object_put(value);
}

/* ---- the keys of a mapping ---- */

static void refuse_unknown(struct compile *compile, const struct shape *shape, const struct yaml *key, const char *const *others)
{
    const char *names[128];
    size_t count = 0;
    char guess[64];
    for (const struct key *known = shape->keys; known->name; known++)
        if (bytes_equal(key->text, bytes_of(names[count++] = known->name)))
            return;
    for (size_t i = 0; others && others[i]; i++)
        if (bytes_equal(key->text, bytes_of(names[count++] = others[i])))
            return;
    assert(count < sizeof names / sizeof *names);      /* what the tables hold, and one word more */
    names[count] = NULL;
    compile_guess(key->text, names, guess, sizeof guess);
    WRONG(compile, key, "\"%s\" has no key \"%.*s\"%s", shape->name, (int)text_cut(key->text, 60), key->text.at, guess);
}

/* One of get, post …, or what may stand in its place. */
static void check_call(struct compile *compile, const struct shape *shape, const struct yaml *map, const struct yaml *at)
{
    size_t calls = 0;
    const struct yaml *second = NULL;
    for (size_t i = 0; i < map->count; i++) {
        const struct key *key = NULL;
        for (const struct key *one = shape->keys; one->name && !key; one++)
            if (bytes_equal(map->members[i].key->text, bytes_of(one->name)))
                key = one;
        bool is_call = key && (key->type == KEY_METHOD || (shape->needs == NEEDS_CALL_OR_INLINE && !strcmp(key->name, "inline")));
        if (is_call && ++calls == 2)
            second = map->members[i].key;
    }
    if (second)
        WRONG(compile, second, "\"%s\" can call one address only: this is a second one.", shape->name);
    else if (!calls && shape->needs != MAY_CALL)
        WRONG(compile, at, "\"%s\" needs an address: get, post, put, patch or delete%s.", shape->name,
              shape->needs == NEEDS_CALL_OR_INLINE ? ", or inline" : "");
}

void compile_keys(struct compile *compile, const struct shape *shape, const struct yaml *map, const struct yaml *at, const char *const *others,
                  struct json_object *out)
{
    for (const struct key *key = shape->keys; key->name; key++) {
        const struct yaml *node = yaml_get(map, key->name);
        if (node)
            compile_key(compile, key, node, out);
        else if (key->required)
            WRONG(compile, at, "\"%s\" needs \"%s\": %s.", shape->name, key->name, grammar_type(key));
    }
    for (size_t i = 0; i < map->count; i++)
        refuse_unknown(compile, shape, map->members[i].key, others);
    if (shape->needs)
        check_call(compile, shape, map, at);
}
