#include "config/compile_own.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const body_others[] = {"when", "else", NULL};
static const struct yaml nothing = {.kind = YAML_MAP, .line = 1, .column = 1};

/* ---- one stage ---- */

static const struct key *stage_key(const char *name)
{
    for (const struct key *key = grammar_stage.keys; key->name; key++)
        if (!strcmp(key->name, name))
            return key;
    return NULL;
}

/* The names of all kinds, and of one more that has been complained of already. */
static void kind_names(const char *names[32], const char *more)
{
    size_t count = 0;
    for (const struct kind *kind = grammar_kinds; kind->shape.name; kind++)
        names[count++] = kind->shape.name;
    names[count++] = more;
    names[count] = NULL;
}

static void no_such_kind(struct compile *compile, const struct yaml *word)
{
    const char *names[32];
    char guess[64];
    kind_names(names, NULL);
    compile_guess(word->text, names, guess, sizeof guess);
    WRONG(compile, word, "There is no stage kind \"%.*s\"%s", (int)text_cut(word->text, 60), word->text.at, guess);
}

/* The key that names the kind. Without one it answers the only key that could be meant as one, with the complaint made, or NULL. */
static const struct yaml_member *find_kind(struct compile *compile, const struct yaml *map, const struct kind **ret_kind)
{
    const struct yaml_member *found = NULL, *strange = NULL;
    size_t strangers = 0;
    *ret_kind = NULL;
    for (size_t i = 0; i < map->count; i++) {
        const struct yaml_member *member = &map->members[i];
        char *name MEM_OWNED = mem_copy(member->key->text.at, member->key->text.count);
        const struct kind *kind = grammar_kind(member->key->text);
        if (kind && found) {
            WRONG(compile, member->key, "A stage has one kind: this one is \"%s\" already. (Does a \"- \" lack here?)", (*ret_kind)->shape.name);
        } else if (kind) {
            found = member;
            *ret_kind = kind;
        } else if (!stage_key(name)) {
            strange = member;
            strangers++;
        }
    }
    if (!found && strangers == 1) {
        no_such_kind(compile, strange->key);
        return strange;
    }
    if (!found)
        WRONG(compile, map, "A stage needs a kind, such as jq, http or llm.");
    return found;
}

static void compile_body(struct compile *compile, struct draft *draft, const struct yaml *body, struct json_object *with)
{
    const struct kind *kind = draft->kind;
    const struct key *bare = NULL;
    for (const struct key *key = kind->shape.keys; kind->shape.bare && key->name; key++)
        if (!strcmp(key->name, kind->shape.bare))
            bare = key;
    if (yaml_is_null(body))
        compile_keys(compile, &kind->shape, &nothing, draft->at, NULL, with);
    else if (bare && (body->kind != YAML_MAP || !yaml_get(body, bare->name)))
        compile_key(compile, bare, body, with);
    else if (body->kind == YAML_MAP)
        compile_keys(compile, &kind->shape, body, draft->at, body_others, with);
    else
        WRONG(compile, body, "\"%s\" must be a mapping.", kind->shape.name);
}

static struct json_object *compile_with(struct compile *compile, struct draft *draft, const struct yaml *body)
{
    struct json_object *with = NULL;
    if (draft->kind->open && body->kind == YAML_MAP)
        yaml_json(body, compile->mistakes, &with);
    else
        compile_body(compile, draft, body, with = json_object_new_object());
    if (json_object_object_length(with))
        return with;
    json_object_put(with);
    return NULL;
}

/* `when` and `else` may stand beside the kind or in it. */
static void compile_when(struct compile *compile, const struct draft *draft, const struct yaml *map, const struct yaml *body)
{
    for (size_t i = 0; body_others[i] && !draft->kind->open; i++) {
        const struct yaml *inside = yaml_get(body, body_others[i]);
        if (inside && yaml_get(map, body_others[i]))
            WRONG(compile, yaml_key(body, body_others[i]), "\"%s\" stands in the stage twice.", body_others[i]);
        else if (inside)
            compile_key(compile, stage_key(body_others[i]), inside, draft->stage);
    }
}

static void refuse_keys(struct compile *compile, const struct draft *draft, const struct yaml *map, const char *const *names, const char *why)
{
    for (; *names; names++) {
        const struct yaml *key = yaml_key(map, *names);
        if (key)
            WRONG(compile, key, "\"%s\" means nothing for \"%s\"%s.", *names, draft->kind->shape.name, why);
    }
}

/* Keys that the kind cannot obey are told rather than passed over. */
static void check_sense(struct compile *compile, const struct draft *draft, const struct yaml *map)
{
    static const char *const outward[] = {"rate", "concurrency", "cache", NULL}, *const choosing[] = {"when", "else", NULL};
    static const char *const all[] = {"each", "when", "else", "timeout", "retry", "rate", "concurrency", "resource", "cache", "on_error", NULL};
    bool joint = !strcmp(draft->kind->shape.name, "split") || !strcmp(draft->kind->shape.name, "gather");
    if (draft->kind->place == KIND_MIRROR)
        refuse_keys(compile, draft, map, all, ": it follows the job, and no item waits for it");
    else if (draft->kind->place != KIND_TRIP)
        refuse_keys(compile, draft, map, outward, ", which calls nobody (to share a machine, give it a \"resource\")");
    if (joint)
        refuse_keys(compile, draft, map, choosing, "");
    const struct yaml *other = yaml_key(map, "else");
    if (other && !json_get(draft->stage, "when"))
        WRONG(compile, other, "\"else\" needs a \"when\".");
}

static void take_quantities(struct compile *compile, struct draft *draft, const struct yaml *map)
{
    struct json_object *retry = json_get(draft->stage, "retry"), *backoff = json_get(retry, "backoff_us");
    const struct yaml *resource = yaml_get(map, "resource");
    draft->timeout_us = json_get_int(draft->stage, "timeout_us", 0);
    draft->attempts = json_get_int(retry, "attempts", 0);
    draft->steady = !json_get_bool(retry, "jitter", true);
    for (size_t i = 0; backoff && i < 2; i++)
        draft->backoff_us[i] = json_object_get_int64(json_object_array_get_idx(backoff, i));
    if (resource)
        draft->resources = compile_resource(compile, stage_key("resource"), resource);
}

static void take_name(struct compile *compile, struct draft *draft, const struct yaml *map)
{
    const struct yaml *name = yaml_get(map, "name");
    if (!name || name->kind != YAML_SCALAR || name->text.count > NAME_MAX_BYTES)
        return;
    snprintf(draft->name, sizeof draft->name, "%.*s", BYTES_ARG(name->text));
    for (const struct draft *other = compile->drafts; other < draft; other++)
        if (!strcmp(other->name, draft->name))
            WRONG(compile, name, "Two stages have the name \"%s\": the first is in line %d.", draft->name, other->at->line);
}

/* `- decklist`, or a mapping of one kind and common keys. False: not even its kind is known. */
static bool compile_stage(struct compile *compile, const struct yaml *node, struct draft *draft)
{
    const struct yaml *map = node->kind == YAML_MAP ? node : &nothing;
    const struct yaml_member *member = NULL;
    const char *names[32];
    *draft = (struct draft){.at = node};
    if (node->kind == YAML_SCALAR && !(draft->kind = grammar_kind(node->text)))
        no_such_kind(compile, node);
    else if (node->kind == YAML_MAP && (member = find_kind(compile, node, &draft->kind)))
        draft->at = member->key;
    else if (node->kind == YAML_LIST)
        WRONG(compile, node, "A stage must be a mapping such as jq: '.a', not a list.");
    const struct yaml *body = member ? member->value : node->kind == YAML_SCALAR ? &(struct yaml){.kind = YAML_SCALAR} : &nothing;
    draft->stage = json_object_new_object();
    struct json_object *with = NULL;
    if (draft->kind) {
        json_object_object_add(draft->stage, "stage", json_object_new_string(draft->kind->shape.name));
        take_name(compile, draft, map);
        with = compile_with(compile, draft, body);
        if (with)
            json_object_object_add(draft->stage, "with", with);
        if (draft->kind->place == KIND_TRIP)
            compile_calls(compile, body, with);
    }
    char *strange MEM_OWNED = member && !draft->kind ? mem_copy(member->key->text.at, member->key->text.count) : NULL;
    kind_names(names, strange);
    compile_keys(compile, &grammar_stage, map, draft->at, names, draft->stage);
    if (!draft->kind)
        return false;
    compile_when(compile, draft, map, body);
    check_sense(compile, draft, map);
    take_quantities(compile, draft, map);
    return true;
}

/* ---- all stages ---- */

struct order {
    const struct yaml *split;     /* the records' beginning, or NULL */
    const struct yaml *mirror;
};

static void check_place(struct compile *compile, struct order *order, struct draft *draft, const struct yaml *node)
{
    const char *kind = draft->kind->shape.name;
    const struct yaml *each = yaml_get(node, "each");
    bool said_record = each && bytes_equal(each->text, BYTES("record"));
    if (order->mirror)
        WRONG(compile, order->mirror, "\"firestore\" must be the last stage.");
    order->mirror = draft->kind->place == KIND_MIRROR ? draft->at : NULL;
    if (order->mirror)
        return;
    if (!strcmp(kind, "gather")) {
        if (!order->split)
            WRONG(compile, draft->at, "There is no \"split\" before this \"gather\".");
        order->split = NULL;
        return;
    }
    draft->record = order->split || said_record;
    if (!strcmp(kind, "split")) {
        if (order->split)
            WRONG(compile, draft->at, "A \"split\" within records: the one of line %d has not been gathered.", order->split->line);
        order->split = draft->at;
        draft->record = false;
    } else if (draft->record && !draft->kind->record) {
        WRONG(compile, draft->at, "\"%s\" cannot %s: records go through jq, http and llm only.", kind,
              order->split ? "stand between split and gather" : "be of each record");
    } else if (order->split && each && !said_record) {
        WRONG(compile, each, "Between split and gather each stage is of each record.");
    }
}

static void check_retry(struct compile *compile, const struct draft *draft, const struct yaml *node)
{
    static const char *const causes[] = {"on", NULL};
    const struct yaml *retry = yaml_get(node, "retry");
    if (retry && draft->kind->place == KIND_WORKER && !draft->record)
        refuse_keys(compile, draft, retry, causes, ": a worker that crashed or took too long is tried again, and nothing else");
}

static bool drops_records(struct json_object *on_error)
{
    return on_error && json_object_is_type(on_error, json_type_string) && !strcmp(json_object_get_string(on_error), "drop_record");
}

static void settle_on_error(struct compile *compile, struct draft *draft, const struct yaml *node)
{
    struct json_object *said = json_get(draft->stage, "on_error");
    if (drops_records(said) && !draft->record)
        WRONG(compile, yaml_get(node, "on_error"), "\"drop_record\" needs records: the stage does not stand between split and gather.");
    if (!said && compile->on_error && (draft->record || !drops_records(compile->on_error)))
        json_object_object_add(draft->stage, "on_error", json_object_get(compile->on_error));
}

static void keep_mirror(struct compile *compile, struct draft *draft)
{
    struct json_object *with = json_get(draft->stage, "with"), *mirror = json_object_new_object();
    if (json_get(compile->out, "mirror"))
        WRONG(compile, draft->at, "There is a \"firestore\" already.");
    json_object_object_add(mirror, "firestore", with ? json_object_get(with) : json_object_new_object());
    json_object_object_add(compile->out, "mirror", mirror);
    json_object_put(draft->stage);
    json_object_put(draft->resources);
}

static bool has_name(const struct compile *compile, const char *name)
{
    for (size_t i = 0; i < compile->drafts_count; i++)
        if (!strcmp(compile->drafts[i].name, name))
            return true;
    return false;
}

/* A stage without a name has that of its kind; a second one is jq-2. */
static void name_drafts(struct compile *compile)
{
    for (size_t i = 0; i < compile->drafts_count; i++) {
        struct draft *draft = &compile->drafts[i];
        const char *kind = draft->kind->shape.name;
        char name[sizeof draft->name];
        snprintf(name, sizeof name, "%s", draft->name[0] ? draft->name : kind);
        for (int number = 2; !draft->name[0] && has_name(compile, name); number++)
            snprintf(name, sizeof name, "%s-%d", kind, number);
        memcpy(draft->name, name, sizeof name);
        if (strcmp(name, kind))
            json_object_object_add(draft->stage, "name", json_object_new_string(name));
        /* What a model says becomes a member of what it was asked about. */
        struct json_object *with = json_get(draft->stage, "with");
        if (!strcmp(kind, "llm") && with && !json_get(with, "into"))
            json_object_object_add(with, "into", json_object_new_string(name));
    }
}

static void compile_stages(struct compile *compile, const struct yaml *list)
{
    struct order order = {0};
    if (list->kind != YAML_LIST || !list->count) {
        WRONG(compile, list, "\"stages\" must be a list of at least one stage.");
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct yaml *node = list->members[i].value;
        struct draft *draft = &compile->drafts[compile->drafts_count];
        if (compile->drafts_count == DRAFTS_MAX) {
            WRONG(compile, node, "There are more than %d stages.", DRAFTS_MAX);
            return;
        }
        if (!compile_stage(compile, node, draft)) {
            json_object_put(draft->stage);
            json_object_put(draft->resources);
            continue;
        }
        check_place(compile, &order, draft, node);
        check_retry(compile, draft, node);
        settle_on_error(compile, draft, node);
        if (draft->kind->place == KIND_MIRROR)
            keep_mirror(compile, draft);
        else
            compile->drafts_count++;
    }
    name_drafts(compile);
    if (!compile->drafts_count && !compile->mistakes->count)
        WRONG(compile, list, "There is no stage that does anything.");
}

/* ---- the top ---- */

/* batch.in_flight is the pipeline's. */
static void settle_in_flight(struct compile *compile, const struct yaml *root)
{
    struct json_object *batch = json_get(compile->out, "batch"), *in_flight = json_get(batch, "in_flight");
    if (!in_flight)
        return;
    if (json_get(compile->out, "in_flight"))
        WRONG(compile, yaml_key(root, "in_flight"), "\"in_flight\" stands in \"batch\" already.");
    json_object_object_add(compile->out, "in_flight", json_object_get(in_flight));
    json_object_object_del(batch, "in_flight");
}

static void compile_top(struct compile *compile, const struct yaml *root)
{
    const struct yaml *stages = yaml_get(root, "stages");
    if (root->kind != YAML_MAP) {
        WRONG(compile, root, "A pipeline file is a mapping: pipeline, stages and so on.");
        return;
    }
    compile_keys(compile, &grammar_top, root, root, NULL, compile->out);
    settle_in_flight(compile, root);
    compile->on_error = json_object_get(json_get(compile->out, "on_error"));
    json_object_object_del(compile->out, "on_error");
    if (stages)
        compile_stages(compile, stages);
    if (!compile->mistakes->count)
        compile_legs(compile);
    if (json_get(compile->out, "legs") && json_object_array_length(json_get(compile->out, "legs")) > 16)
        WRONG(compile, stages, "The stages make more than 16 legs.");
}

/* Canonical text, as a program wrote it or by hand. */
static void pass_canonical(struct compile *compile, const struct yaml *root, struct bytes text, struct buf *ret)
{
    struct json_object *tree JSON_OWNED = json_parse(text, NULL);
    if (tree) {
        buf_put(ret, text);
    } else if (yaml_json(root, compile->mistakes, &tree)) {
        json_tree(ret, tree);
    }
}

static void compile_done(struct compile *compile)
{
    for (size_t i = 0; i < compile->drafts_count; i++) {
        json_object_put(compile->drafts[i].stage);
        json_object_put(compile->drafts[i].resources);
    }
    json_object_put(compile->on_error);
    json_object_put(compile->out);
    free(compile);
}

bool compile_pipeline(const char *path, struct bytes text, struct mistakes *mistakes, struct buf *ret)
{
    struct compile *compile = MEM_NEW(struct compile);
    struct yaml_tree tree;
    size_t before = ret->count;
    compile->mistakes = mistakes;
    compile->out = json_object_new_object();
    yaml_parse(&tree, path, text, mistakes);
    bool canonical = tree.root && yaml_get(tree.root, "legs") && !yaml_get(tree.root, "stages");
    if (canonical && !mistakes->count)
        pass_canonical(compile, tree.root, text, ret);
    else if (tree.root)
        compile_top(compile, tree.root);
    if (!canonical && !mistakes->count)
        json_tree(ret, compile->out);
    if (!mistakes->count && (!buf_ok(ret) || ret->count - before > LIMIT_BODY_BYTES))
        mistakes_add(mistakes, mistakes->sources, 1, 1, "With all files that it takes in, the pipeline has more than %d bytes.", LIMIT_BODY_BYTES);
    compile_done(compile);
    yaml_done(&tree);
    return !mistakes->count;
}
