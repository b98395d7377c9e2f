#include "config/compile_own.h"

#include "base/mem.h"
#include "base/text.h"
#include "config/units.h"
#include "core/pipeline.h"

#include <stdio.h>
#include <stdlib.h>

static char *name_of(const struct yaml *scalar)
{
    return mem_copy(scalar->text.at, scalar->text.count);
}

static struct json_object *text_of(struct bytes text)
{
    return json_object_new_string_len(text.at, (int)text.count);
}

/* ---- on_error ---- */

void compile_on_error(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out)
{
    static const char *const words[] = {"continue", "drop_record", "fail_item", "fail_job", "drop_item", NULL};
    if (node->kind == YAML_MAP && node->count == 1 && yaml_get(node, "use")) {
        struct json_object *value, *use = json_object_new_object();
        yaml_json(yaml_get(node, "use"), compile->mistakes, &value);
        json_object_object_add(use, "use", value);
        json_object_object_add(out, key->name, use);
        return;
    }
    for (size_t i = 0; node->kind == YAML_SCALAR && words[i]; i++)
        if (bytes_equal(node->text, bytes_of(words[i]))) {
            json_object_object_add(out, key->name, json_object_new_string(i == 4 ? "drop_record" : words[i]));
            return;
        }
    char guess[64];
    if (node->kind == YAML_SCALAR && mistakes_nearest(node->text, words))
        WRONG(compile, node, "\"%s\" must be %s, not \"%.*s\"%s", key->name, grammar_type(key), BYTES_ARG(node->text),
              compile_guess(node->text, words, guess, sizeof guess));
    else
        compile_wrong(compile, key, node);
}

/* ---- resource ---- */

struct json_object *compile_resource(struct compile *compile, const struct key *key, const struct yaml *node)
{
    struct key name_key = {key->name, KEY_NAME}, units_key = {key->name, KEY_WHOLE, .min = 1, .max = 1000000};
    struct json_object *resources = json_object_new_object(), *scratch = json_object_new_object();
    if (node->kind == YAML_SCALAR) {
        compile_key(compile, &name_key, node, scratch);
        if (json_get(scratch, key->name))
            json_object_object_add(resources, json_object_get_string(json_get(scratch, key->name)), json_object_new_int64(1));
    } else if (node->kind == YAML_MAP && node->count && node->count <= LEG_NEEDS_MAX) {
        for (size_t i = 0; i < node->count; i++) {
            char *name MEM_OWNED = name_of(node->members[i].key);
            compile_key(compile, &name_key, node->members[i].key, scratch);
            units_key.name = name;
            compile_key(compile, &units_key, node->members[i].value, resources);
        }
    } else {
        WRONG(compile, node, "\"%s\" must be %s, of at most %d names.", key->name, grammar_type(key), LEG_NEEDS_MAX);
    }
    json_object_put(scratch);
    return resources;
}

/* ---- argv ---- */

void compile_argv(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out)
{
    struct json_object *list = json_object_new_array();
    if (node->kind != YAML_LIST || !node->count) {
        compile_wrong(compile, key, node);
    }
    for (size_t i = 0; node->kind == YAML_LIST && i < node->count; i++) {
        const struct yaml *word = node->members[i].value;
        struct json_object *program;
        if (word->kind != YAML_SCALAR) {
            compile_wrong(compile, key, word);
        } else if (word->env) {
            WRONG(compile, word, "!env cannot stand among arguments, which everybody on the machine can read: give it in \"env\".");
        } else if (!bytes_have(word->text, "\\(")) {
            json_object_array_add(list, text_of(word->text));
        } else if ((program = compile_template(compile, key, word, false))) {
            struct json_object *expr = json_object_new_object();
            json_object_object_add(expr, "expr", program);
            json_object_array_add(list, expr);
        }
    }
    json_object_object_add(out, key->name, list);
}

/* ---- params ---- */

static const char *const param_types[] = {"string", "integer", "number", "boolean", "array", "object", "any", NULL};

static bool has_type(struct json_object *value, const char *type)
{
    return !strcmp(type, "any") || (!strcmp(type, "string") && json_object_is_type(value, json_type_string)) ||
           (!strcmp(type, "boolean") && json_object_is_type(value, json_type_boolean)) ||
           (!strcmp(type, "array") && json_object_is_type(value, json_type_array)) ||
           (!strcmp(type, "object") && json_object_is_type(value, json_type_object)) ||
           (!strcmp(type, "number") && (json_object_is_type(value, json_type_double) || json_object_is_type(value, json_type_int))) ||
           (!strcmp(type, "integer") && json_object_is_type(value, json_type_int));
}

/* "string" or, where a mark may say that it has to be given, "string!". NULL and a mistake. */
static const char *param_type(struct compile *compile, const struct yaml *node, bool *ret_required)
{
    struct bytes word = node->kind == YAML_SCALAR ? node->text : (struct bytes){"", 0};
    char guess[64];
    *ret_required = word.count && word.at[word.count - 1] == '!';
    word.count -= *ret_required;
    for (size_t i = 0; param_types[i]; i++)
        if (bytes_equal(word, bytes_of(param_types[i])))
            return param_types[i];
    WRONG(compile, node,
          "A parameter's type is string, integer, number, boolean, array, object or any, with ! where it has to be given, not \"%.*s\"%s",
          (int)text_cut(word, 60), word.at, compile_guess(word, param_types, guess, sizeof guess));
    return NULL;
}

static const char *const param_words[] = {"type", "default", "required", NULL};

static void param_keys(struct compile *compile, const struct yaml *node)
{
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml *key = node->members[i].key;
        char guess[64];
        bool known = false;
        for (size_t j = 0; param_words[j]; j++)
            known |= bytes_equal(key->text, bytes_of(param_words[j]));
        if (!known)
            WRONG(compile, key, "A parameter has no key \"%.*s\"%s", (int)text_cut(key->text, 60), key->text.at,
                  compile_guess(key->text, param_words, guess, sizeof guess));
    }
}

static struct json_object *param_of(struct compile *compile, const struct yaml *node)
{
    struct json_object *param = json_object_new_object(), *value;
    const struct yaml *said = node->kind == YAML_MAP ? yaml_get(node, "type") : node, *given = yaml_get(node, "default");
    const struct yaml *must = yaml_get(node, "required");
    bool required = false;
    if (!said) {
        WRONG(compile, node, "A parameter needs a \"type\".");
        return param;
    }
    const char *type = param_type(compile, said, &required);
    if (node->kind == YAML_MAP)
        param_keys(compile, node);
    if (type)
        json_object_object_add(param, "type", json_object_new_string(type));
    if (must)
        compile_key(compile, &(struct key){"required", KEY_FLAG}, must, param);
    else if (required)
        json_object_object_add(param, "required", json_object_new_boolean(true));
    if (given && yaml_json(given, compile->mistakes, &value) && type && !has_type(value, type))
        WRONG(compile, given, "The default is no %s.", type);
    if (given)
        json_object_object_add(param, "default", value);
    if (given && json_get_bool(param, "required", false))
        WRONG(compile, given, "A parameter that has to be given needs no default.");
    return param;
}

void compile_params(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out)
{
    struct json_object *params = json_object_new_object();
    if (node->kind != YAML_MAP)
        compile_wrong(compile, key, node);
    for (size_t i = 0; node->kind == YAML_MAP && i < node->count; i++) {
        char *name MEM_OWNED = name_of(node->members[i].key);
        json_object_object_add(params, name, param_of(compile, node->members[i].value));
    }
    json_object_object_add(out, key->name, params);
}

/* ---- the schema of an answer ---- */

static const char *const answer_types[] = {"string", "integer", "number", "boolean", "object", "array", "null", NULL};

static struct json_object *answer_of(struct compile *compile, const struct yaml *node);

static struct json_object *typed(const char *type)
{
    struct json_object *schema = json_object_new_object();
    json_object_object_add(schema, "type", json_object_new_string(type));
    return schema;
}

static struct json_object *number_of(double value)
{
    return value == (double)(int64_t)value ? json_object_new_int64((int64_t)value) : json_object_new_double(value);
}

/* good|bad|ugly */
static struct json_object *choice_of(struct bytes text)
{
    struct json_object *schema = typed("string"), *words = json_object_new_array();
    while (text.count)
        json_object_array_add(words, text_of(bytes_trim(bytes_cut(&text, '|'))));
    json_object_object_add(schema, "enum", words);
    return schema;
}

/* "integer 1..10", "string", "a|b" */
static struct json_object *scalar_schema(struct compile *compile, const struct yaml *node)
{
    struct bytes rest = bytes_trim(node->text), type = bytes_cut(&rest, ' ');
    double ends[2];
    char guess[64];
    if (memchr(node->text.at, '|', node->text.count))
        return choice_of(bytes_trim(node->text));
    rest = bytes_trim(rest);
    for (size_t i = 0; answer_types[i]; i++) {
        if (!bytes_equal(type, bytes_of(answer_types[i])))
            continue;
        struct json_object *schema = typed(answer_types[i]);
        bool numeric = i == 1 || i == 2;
        if (rest.count && (!numeric || !units_range(rest, ends))) {
            WRONG(compile, node, "Behind %s%s, not \"%.*s\".", answer_types[i], numeric ? " may stand a range such as 1..10" : " nothing may stand",
                  BYTES_ARG(rest));
        } else if (rest.count) {
            json_object_object_add(schema, "minimum", number_of(ends[0]));
            json_object_object_add(schema, "maximum", number_of(ends[1]));
        }
        return schema;
    }
    WRONG(compile, node,
          "A type is string, integer, number or boolean, with a range such as integer 1..10, [TYPE], words such as good|bad, or a mapping, not \"%.*s\"%s",
          (int)text_cut(type, 60), type.at, compile_guess(type, answer_types, guess, sizeof guess));
    return NULL;
}

static struct json_object *object_schema(struct compile *compile, const struct yaml *node)
{
    struct json_object *schema = typed("object"), *properties = json_object_new_object(), *required = json_object_new_array(), *one;
    for (size_t i = 0; i < node->count; i++) {
        char *name MEM_OWNED = name_of(node->members[i].key);
        size_t count = strlen(name);
        bool optional = count > 1 && name[count - 1] == '?';
        if (optional)
            name[count - 1] = 0;
        else
            json_object_array_add(required, json_object_new_string(name));
        if ((one = answer_of(compile, node->members[i].value)))
            json_object_object_add(properties, name, one);
    }
    json_object_object_add(schema, "properties", properties);
    json_object_object_add(schema, "required", required);
    json_object_object_add(schema, "additionalProperties", json_object_new_boolean(false));
    return schema;
}

static struct json_object *answer_of(struct compile *compile, const struct yaml *node)
{
    if (node->kind == YAML_MAP && node->count)
        return object_schema(compile, node);
    if (node->kind == YAML_LIST && node->count == 1) {
        struct json_object *schema = typed("array"), *items = answer_of(compile, node->members[0].value);
        if (items)
            json_object_object_add(schema, "items", items);
        return schema;
    }
    if (node->kind == YAML_SCALAR && !node->env && node->text.count)
        return scalar_schema(compile, node);
    WRONG(compile, node, "A type must stand here, such as string, integer 1..10, [string] or good|bad.");
    return NULL;
}

/* A JSON Schema names its own type, and what it is made of. */
static bool is_json_schema(const struct yaml *node)
{
    const struct yaml *type = yaml_get(node, "type");
    return yaml_get(node, "$schema") || yaml_get(node, "anyOf") || yaml_get(node, "$ref") ||
           (type && type->kind == YAML_SCALAR && (yaml_get(node, "properties") || yaml_get(node, "items") || yaml_get(node, "enum")));
}

void compile_answer(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out)
{
    struct json_object *schema = NULL;
    if (node->kind == YAML_SCALAR && node->style == YAML_FILE) {
        struct problem problem = {0};
        if (!(schema = json_parse(node->text, &problem)))
            WRONG(compile, node, "\"%s\" must be a JSON Schema in that file: %s.", key->name, problem.text);
    } else if (node->kind != YAML_MAP || !node->count) {
        compile_wrong(compile, key, node);
    } else if (is_json_schema(node)) {
        yaml_json(node, compile->mistakes, &schema);
    } else {
        schema = answer_of(compile, node);
    }
    if (schema)
        json_object_object_add(out, key->name, schema);
}
