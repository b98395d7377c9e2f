/* The events of libfyaml become nodes on a stack of open lists and maps. A map keeps the key that waits for its value. */
#include "config/yaml.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/units.h"

#include <assert.h>
#include <errno.h>
#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>

struct open_node {
    struct yaml *node, *key;      /* key: waits for its value */
    struct bytes anchor;          /* names the node once it is closed: before that an alias to it would be endless */
};

struct builder {
    struct yaml_tree *tree;
    struct mistakes *mistakes;
    const struct source *source;
    struct open_node stack[LIMIT_PIPELINE_DEPTH];
    size_t depth;
    struct map anchors;           /* name -> node; the names are in nodes of their own */
    size_t merged;                /* members that merges have looked at */
    int line, column;             /* of what came last: for values that are nothing */
    bool stop;
};

static struct yaml *new_node(struct builder *builder, enum yaml_kind kind, const struct fy_mark *mark)
{
    struct yaml *node = MEM_NEW(struct yaml);
    if (mark) {
        builder->line = mark->line + 1;
        builder->column = mark->column + 1;
    }
    *node = (struct yaml){.kind = kind, .source = builder->source, .line = builder->line, .column = builder->column, .size = 1,
                          .next = builder->tree->nodes};
    return builder->tree->nodes = node;
}

static void refuse(struct builder *builder, const struct yaml *at, const char *sentence)
{
    mistakes_add(builder->mistakes, builder->source, at->line, at->column, "%s", sentence);
}

/* Refused, and nothing more is read. Said once: what is stopped may be looked at further. */
static void stop(struct builder *builder, const struct yaml *at, const char *sentence)
{
    if (!builder->stop)
        refuse(builder, at, sentence);
    builder->stop = true;
}

static void append(struct yaml *parent, struct yaml *key, struct yaml *value)
{
    if (!(parent->count & (parent->count - 1)))
        parent->members = mem_grow(parent->members, (parent->count ? parent->count * 2 : 1) * sizeof *parent->members);
    parent->members[parent->count++] = (struct yaml_member){key, value};
    parent->size += value->size + (key != NULL);
}

/* `<<: *base`: what base has and the map itself has not. */
static void merge(struct builder *builder, struct yaml *map, const struct yaml *from)
{
    if (from->kind == YAML_LIST) {
        for (size_t i = 0; i < from->count; i++)
            merge(builder, map, from->members[i].value);
    } else if (from->kind == YAML_MAP) {
        for (size_t i = 0; i < from->count; i++) {
            char *name MEM_OWNED = mem_copy(from->members[i].key->text.at, from->members[i].key->text.count);
            if (++builder->merged > LIMIT_PIPELINE_NODES) {
                stop(builder, map, "The file merges too many values, counted each time.");
                return;
            }
            if (!yaml_key(map, name))
                append(map, from->members[i].key, from->members[i].value);
        }
    } else {
        refuse(builder, from, "<< takes a mapping: an alias such as *defaults.");
    }
}

/* Merges come last, so that a map's own keys win wherever they stand. */
static void merge_all(struct builder *builder, struct yaml *map)
{
    for (size_t i = 0; i < map->count; i++) {
        struct yaml_member one = map->members[i];
        if (one.key->style != YAML_PLAIN || !bytes_equal(one.key->text, BYTES("<<")))
            continue;
        memmove(&map->members[i], &map->members[i + 1], (map->count - i - 1) * sizeof one);
        map->count--;
        merge(builder, map, one.value);
        return;
    }
}

static void take_key(struct builder *builder, struct open_node *open, struct yaml *key)
{
    char *name MEM_OWNED = mem_copy(key->text.at, key->text.count);
    if (key->kind != YAML_SCALAR) {
        stop(builder, key, "A key must be a word. (A text that begins with { or [ has to be quoted.)");
    } else if (yaml_key(open->node, name)) {
        const struct yaml *first = yaml_key(open->node, name);
        mistakes_add(builder->mistakes, builder->source, key->line, key->column, "\"%s\" stands here twice: first in line %d.", name, first->line);
    }
    open->key = key;
}

/* A node is complete: it goes to the list or map around it. */
static void put(struct builder *builder, struct yaml *node)
{
    if (node->size > LIMIT_PIPELINE_NODES) {
        stop(builder, node, "The file holds too many values, with aliases written out.");
        return;
    }
    if (!builder->depth) {
        builder->tree->root = node;
        return;
    }
    struct open_node *open = &builder->stack[builder->depth - 1];
    if (open->node->kind == YAML_LIST) {
        append(open->node, NULL, node);
    } else if (!open->key) {
        take_key(builder, open, node);
    } else {
        char *name MEM_OWNED = mem_copy(open->key->text.at, open->key->text.count);
        if (!yaml_key(open->node, name))
            append(open->node, open->key, node);
        open->key = NULL;
    }
}

static struct bytes token_text(struct fy_token *token)
{
    size_t count = 0;
    const char *text = token ? fy_token_get_text(token, &count) : NULL;
    return (struct bytes){text ? text : "", text ? count : 0};
}

static void name_anchor(struct builder *builder, struct bytes name, struct yaml *node)
{
    if (!name.count)
        return;
    struct yaml *keeper = new_node(builder, YAML_SCALAR, NULL);
    keeper->text = (struct bytes){mem_copy(name.at, name.count), name.count};
    map_set_text(&builder->anchors, keeper->text, node);
}

int yaml_read_file(const char *path, size_t max, struct buf *ret, struct problem *problem)
{
    FILE *file = fopen(path, "re");
    char piece[4096];
    size_t count;
    if (!file)
        return problem_set(problem, "the file \"%s\" cannot be read: %s", path, strerror(errno));
    buf_init(ret, max);
    while (buf_ok(ret) && (count = fread(piece, 1, sizeof piece, file)) > 0)
        buf_add(ret, piece, count);
    int bad = ferror(file) ? errno : 0;
    fclose(file);
    if (bad)
        return problem_set(problem, "the file \"%s\" cannot be read: %s", path, strerror(bad));
    return buf_ok(ret) ? 0 : problem_set(problem, "the file \"%s\" has more than %zu bytes", path, max);
}

/* The path beside the pipeline file. */
static char *path_beside(const struct source *source, struct bytes path)
{
    const char *slash = strrchr(source->path, '/');
    size_t folder = slash && path.count && path.at[0] != '/' ? (size_t)(slash - source->path) + 1 : 0;
    char *whole = mem_new(folder + path.count + 1);
    memcpy(whole, source->path, folder);
    memcpy(whole + folder, path.at, path.count);
    return whole;
}

static void take_file(struct builder *builder, struct yaml *node)
{
    struct buf content BUF_OWNED = {0};
    struct problem problem = {0};
    char *path MEM_OWNED = path_beside(node->source, node->text);
    if (!node->text.count || memchr(node->text.at, 0, node->text.count)) {
        refuse(builder, node, "!file takes the path of a file.");
    } else if (yaml_read_file(path, LIMIT_PIPELINE_FILE_BYTES, &content, &problem)) {
        mistakes_add(builder->mistakes, node->source, node->line, node->column, "!file: %s.", problem.text);
    } else if (!text_is_utf8(buf_bytes(&content))) {
        mistakes_add(builder->mistakes, node->source, node->line, node->column, "!file: \"%s\" is no text in UTF-8.", path);
    } else {
        const struct source *source = mistakes_source(builder->mistakes, path, buf_bytes(&content));
        free((char *)node->text.at);
        node->text = (struct bytes){mem_copy(source->text, source->count), source->count};
        node->source = source;
        node->line = node->column = 1;
        node->style = YAML_FILE;
    }
}

static void take_tag(struct builder *builder, struct yaml *node, struct fy_token *tag)
{
    struct bytes name = token_text(tag);
    if (!name.count || bytes_start(name, BYTES("tag:yaml.org,2002:")))
        return;
    if (bytes_equal(name, BYTES("!env")) && node->kind == YAML_SCALAR && node->text.count)
        node->env = true;
    else if (bytes_equal(name, BYTES("!file")) && node->kind == YAML_SCALAR)
        take_file(builder, node);
    else
        mistakes_add(builder->mistakes, node->source, node->line, node->column, "The tag %.*s is not known here; there are: !env NAME, !file PATH.",
                     BYTES_ARG(name));
}

static size_t first_word(struct bytes line)
{
    size_t at = 0;
    while (at < line.count && (line.at[at] == ' ' || line.at[at] == '\t'))
        at++;
    return at;
}

static int indent_at(const struct source *source, size_t at)
{
    return at < source->count ? (int)first_word((struct bytes){source->text + at, source->count - at}) : 0;
}

static const enum yaml_style styles[] = {
    [FYSS_PLAIN] = YAML_PLAIN, [FYSS_SINGLE_QUOTED] = YAML_SINGLE, [FYSS_DOUBLE_QUOTED] = YAML_DOUBLE, [FYSS_LITERAL] = YAML_LITERAL,
    [FYSS_FOLDED] = YAML_FOLDED,
};

static void on_scalar(struct builder *builder, struct fy_event *event)
{
    struct fy_token *token = event->scalar.value;
    struct bytes text = token_text(token);
    const struct fy_mark *mark = token && text.count ? fy_token_start_mark(token) : NULL;
    struct yaml *node = new_node(builder, YAML_SCALAR, mark);
    enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
    node->text = (struct bytes){mem_copy(text.at, text.count), text.count};
    assert(style >= 0 && style < sizeof styles / sizeof *styles);
    node->style = styles[style];
    if (text.count && (node->style == YAML_SINGLE || node->style == YAML_DOUBLE))
        node->column--;               /* libfyaml's mark is behind the quote */
    else if (mark && (node->style == YAML_LITERAL || node->style == YAML_FOLDED))
        node->column += indent_at(node->source, mark->input_pos);      /* … and of a block where its first line begins */
    take_tag(builder, node, event->scalar.tag);
    name_anchor(builder, token_text(event->scalar.anchor), node);
    put(builder, node);
}

static void on_open(struct builder *builder, enum yaml_kind kind, struct fy_token *token, struct fy_token *tag, struct fy_token *anchor)
{
    struct yaml *node = new_node(builder, kind, token ? fy_token_start_mark(token) : NULL);
    struct bytes name = token_text(anchor);
    take_tag(builder, node, tag);
    if (builder->depth == LIMIT_PIPELINE_DEPTH) {
        stop(builder, node, "Lists and mappings are nested too deep.");
        return;
    }
    builder->stack[builder->depth++] = (struct open_node){node, NULL, {mem_copy(name.at, name.count), name.count}};
}

static void on_close(struct builder *builder)
{
    struct open_node open = builder->stack[--builder->depth];
    if (open.node->kind == YAML_MAP)
        merge_all(builder, open.node);
    name_anchor(builder, open.anchor, open.node);
    free((char *)open.anchor.at);
    put(builder, open.node);
}

static void on_alias(struct builder *builder, struct fy_token *token)
{
    struct bytes name = token_text(token);
    struct yaml *node = map_get_text(&builder->anchors, name);
    if (!node) {
        node = new_node(builder, YAML_SCALAR, fy_token_start_mark(token));
        mistakes_add(builder->mistakes, builder->source, node->line, node->column, "There is no anchor &%.*s before this.", BYTES_ARG(name));
    }
    put(builder, node);
}

static void take(struct builder *builder, struct fy_event *event)
{
    switch (event->type) {
    case FYET_SCALAR: on_scalar(builder, event); break;
    case FYET_ALIAS: on_alias(builder, event->alias.anchor); break;
    case FYET_SEQUENCE_START:
        on_open(builder, YAML_LIST, event->sequence_start.sequence_start, event->sequence_start.tag, event->sequence_start.anchor);
        break;
    case FYET_MAPPING_START:
        on_open(builder, YAML_MAP, event->mapping_start.mapping_start, event->mapping_start.tag, event->mapping_start.anchor);
        break;
    case FYET_SEQUENCE_END: case FYET_MAPPING_END: on_close(builder); break;
    case FYET_DOCUMENT_END: builder->stop = true; break;      /* one document a file */
    default: break;
    }
}

/* What libfyaml says in few words, with what helps most often. */
static void tell_syntax(struct builder *builder, const struct fy_diag_error *error)
{
    bool nested = strstr(error->msg, "nested block mapping") || strstr(error->msg, "multiline plain key");
    mistakes_add(builder->mistakes, builder->source, error->line, error->column, "This is no YAML: %s.%s", error->msg,
                 nested ? " (A plain text must not hold \": \" - quote a jq program such as '{a: 1}', or write it in a block behind |.)" : "");
}

static void read_events(struct builder *builder)
{
    struct fy_diag_cfg diag_config;
    fy_diag_cfg_default(&diag_config);
    struct fy_diag *diag = fy_diag_create(&diag_config);
    assert(diag);
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg config = {.flags = FYPCF_QUIET | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE, .diag = diag};
    struct fy_parser *parser = fy_parser_create(&config);
    struct fy_event *event;
    int failed = parser ? fy_parser_set_string(parser, builder->source->text, builder->source->count) : -1;
    assert(!failed);
    while (!builder->stop && (event = fy_parser_parse(parser))) {
        take(builder, event);
        fy_parser_event_free(parser, event);
    }
    void *at = NULL;
    struct fy_diag_error *error = fy_diag_got_error(diag) ? fy_diag_errors_iterate(diag, &at) : NULL;
    if (error && !builder->stop)
        tell_syntax(builder, error);
    else if (!builder->tree->root && !builder->stop)
        mistakes_add(builder->mistakes, builder->source, 1, 1, "There is nothing in this file.");
    fy_parser_destroy(parser);
    fy_diag_destroy(diag);
}

/* YAML has no control characters but tabs and line ends; libfyaml takes others here and there. The first one's place; NULL = there is none. */
static const char *control_in(struct bytes text, int *ret_line, int *ret_column)
{
    *ret_line = *ret_column = 1;
    for (size_t i = 0; i < text.count; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c < ' ' && c != '\t' && c != '\n' && c != '\r')
            return text.at + i;
        *ret_line += c == '\n';
        *ret_column = c == '\n' ? 1 : *ret_column + ((c & 0xc0) != 0x80);
    }
    return NULL;
}

void yaml_parse(struct yaml_tree *tree, const char *path, struct bytes text, struct mistakes *mistakes)
{
    struct builder builder = {.tree = tree, .mistakes = mistakes, .line = 1, .column = 1};
    *tree = (struct yaml_tree){0};
    builder.source = mistakes_source(mistakes, path, text);
    int line, column;
    const char *control = control_in(text, &line, &column);
    if (!text_is_utf8(text) || memchr(text.at ? text.at : "", 0, text.count))
        mistakes_add(mistakes, builder.source, 1, 1, "The file is no text in UTF-8.");
    else if (control)
        mistakes_add(mistakes, builder.source, line, column, "There is a control character (%d): write it in double quotes, as \"\\x%02x\".", *control, *control);
    else
        read_events(&builder);
    while (builder.depth)
        free((char *)builder.stack[--builder.depth].anchor.at);
    map_done(&builder.anchors);
}

void yaml_done(struct yaml_tree *tree)
{
    for (struct yaml *node = tree->nodes, *next; node; node = next) {
        next = node->next;
        free(node->members);
        free((char *)node->text.at);
        free(node);
    }
    *tree = (struct yaml_tree){0};
}

static const struct yaml_member *member(const struct yaml *map, const char *key)
{
    for (size_t i = 0; map->kind == YAML_MAP && i < map->count; i++)
        if (bytes_equal(map->members[i].key->text, bytes_of(key)))
            return &map->members[i];
    return NULL;
}

struct yaml *yaml_get(const struct yaml *map, const char *key)
{
    const struct yaml_member *found = member(map, key);
    return found ? found->value : NULL;
}

struct yaml *yaml_key(const struct yaml *map, const char *key)
{
    const struct yaml_member *found = member(map, key);
    return found ? found->key : NULL;
}

bool yaml_is_null(const struct yaml *node)
{
    return node->kind == YAML_SCALAR && node->style == YAML_PLAIN && !node->env &&
           (!node->text.count || bytes_equal(node->text, BYTES("~")) || bytes_equal(node->text, BYTES("null")));
}

void yaml_place(const struct yaml *node, int line, int column, int *ret_line, int *ret_column)
{
    bool own_lines = node->style == YAML_FILE || node->style == YAML_LITERAL;
    *ret_line = own_lines && line > 0 ? node->line + line - 1 : node->line;
    *ret_column = node->column;
    if (own_lines) {
        /* A block's text is its lines without the indentation that they have in common. */
        struct bytes there = source_line(node->source, *ret_line), rest = node->text, own = {0};
        for (int i = 0; i < line && rest.count; i++)
            own = bytes_cut(&rest, '\n');
        size_t cut = there.count > own.count && line > 0 ? there.count - own.count : 0;
        *ret_column = (int)(column > 0 ? cut + (size_t)column : first_word(there) + 1);
    } else if (column > 0 && line <= 1 && node->style != YAML_FOLDED) {
        *ret_column = node->column + column - 1 + (node->style != YAML_PLAIN);
    }
}

struct json_object *yaml_scalar_json(const struct yaml *node)
{
    double real;
    int64_t whole;
    if (node->style == YAML_PLAIN) {
        if (yaml_is_null(node))
            return NULL;
        if (bytes_equal(node->text, BYTES("true")) || bytes_equal(node->text, BYTES("false")))
            return json_object_new_boolean(node->text.at[0] == 't');
        if (units_number(node->text, &real)) {
            char text[64];
            if (bytes_to_i64(node->text, &whole))
                return json_object_new_int64(whole);
            snprintf(text, sizeof text, "%.*s", BYTES_ARG(node->text));
            return json_object_new_double_s(real, text);
        }
    }
    return json_object_new_string_len(node->text.at, (int)node->text.count);
}

bool yaml_json(const struct yaml *node, struct mistakes *mistakes, struct json_object **ret)
{
    struct json_object *value, *object;
    *ret = NULL;
    if (node->env) {
        mistakes_add(mistakes, node->source, node->line, node->column,
                     "!env cannot stand here: what is here is seen by programs and kept in the log.");
        return false;
    }
    if (node->kind == YAML_SCALAR) {
        *ret = yaml_scalar_json(node);
        return true;
    }
    bool well = true;
    object = node->kind == YAML_LIST ? json_object_new_array() : json_object_new_object();
    for (size_t i = 0; i < node->count; i++) {
        well &= yaml_json(node->members[i].value, mistakes, &value);
        if (node->kind == YAML_LIST) {
            json_object_array_add(object, value);
        } else {
            char *name MEM_OWNED = mem_copy(node->members[i].key->text.at, node->members[i].key->text.count);
            json_object_object_add(object, name, value);
        }
    }
    *ret = object;
    return well;
}
