/* YAML 1.2 as a tree with positions, for pipeline files: a thin layer over libfyaml's events. Duplicate keys are mistakes; anchors, aliases and merge
 * keys (<<) work; of tags only these do:
 *
 *   !env NAME [DEFAULT]   a value of the environment, looked up when it is needed
 *   !file PATH            what the file of that path holds, relative to the file that says so
 *
 * Nodes live as long as the tree; a node that an alias repeats is one node with two parents. */
#pragma once
#include "base/problem.h"
#include "config/mistakes.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };
enum yaml_style {
    YAML_PLAIN, YAML_SINGLE, YAML_DOUBLE,      /* 'single' and "double" quotes */
    YAML_LITERAL, YAML_FOLDED,                 /* | and > blocks */
    YAML_FILE,                                 /* what !file brought; its source is that file */
};

struct yaml_member {
    struct yaml *key;                          /* a scalar; NULL in lists */
    struct yaml *value;
};

struct yaml {
    enum yaml_kind kind;
    enum yaml_style style;                     /* of scalars */
    bool env;                                  /* !env: text is NAME, or NAME and a default behind a space */
    const struct source *source;
    int line, column;                          /* from 1; of a block: where its text begins */
    struct bytes text;                         /* of scalars */
    struct yaml_member *members;               /* of maps and lists */
    size_t count;
    size_t size;                               /* nodes in it, itself too */
    struct yaml *next;                         /* of the tree */
};

struct yaml_tree {
    struct yaml *root;                         /* NULL when it could not be read */
    struct yaml *nodes;                        /* all */
};

/* Reads a file's text; what is wrong goes to the mistakes (then root may be there all the same, without what was wrong). `path` is how it is told
 * of and where !file begins. */
void yaml_parse(struct yaml_tree *tree, const char *path, struct bytes text, struct mistakes *mistakes);
void yaml_done(struct yaml_tree *tree);        /* harmless when zeroed */

/* The value of a map's key, or NULL. */
struct yaml *yaml_get(const struct yaml *map, const char *key);
struct yaml *yaml_key(const struct yaml *map, const char *key);     /* the key itself, for its place */

/* Is it a null: nothing, ~ or null? */
bool yaml_is_null(const struct yaml *node);
/* Where line and column of a scalar's text (from 1; 0 = not known) stand in its source. */
void yaml_place(const struct yaml *node, int line, int column, int *ret_line, int *ret_column);
/* The node as JSON: plain scalars are numbers, true, false and null where they look like it. `!env` and nothing else is refused, with a mistake. */
struct json_object;
bool yaml_json(const struct yaml *node, struct mistakes *mistakes, struct json_object **ret);
/* A scalar alone; false = it is none. */
struct json_object *yaml_scalar_json(const struct yaml *node);

/* All of a file of at most `max` bytes. 0, or -1 and a problem that names it. */
int yaml_read_file(const char *path, size_t max, struct buf *ret, struct problem *problem);
