/* Inside the compiler. */
#pragma once
#include "base/json.h"
#include "config/compile.h"
#include "config/grammar.h"
#include "config/yaml.h"

enum { DRAFTS_MAX = 64, NAME_MAX_BYTES = 31 };

/* A stage on its way into a leg. */
struct draft {
    const struct kind *kind;
    const struct yaml *at;             /* its kind's key: where its mistakes are told */
    char name[NAME_MAX_BYTES + 16];
    struct json_object *stage;         /* its canonical object, owned until a leg takes it */
    struct json_object *resources;     /* owned, may be NULL */
    bool record;
    bool steady;                       /* no jitter */
    int64_t timeout_us, attempts, backoff_us[2];       /* 0 = not said */
};

struct compile {
    struct mistakes *mistakes;
    struct json_object *out;           /* the canonical tree */
    struct draft drafts[DRAFTS_MAX];
    size_t drafts_count;
    struct json_object *on_error;      /* of the top; NULL = continue */
};

#define WRONG(compile, node, ...) mistakes_add((compile)->mistakes, (node)->source, (node)->line, (node)->column, __VA_ARGS__)

/* The keys of a mapping, into `out`. `at`: where missing keys are told. `others`: names besides, which the caller sees to; ended by NULL, may be NULL. */
void compile_keys(struct compile *compile, const struct shape *shape, const struct yaml *map, const struct yaml *at, const char *const *others,
                  struct json_object *out);
void compile_key(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out);
/* "timeout" must be …, not …. */
void compile_wrong(struct compile *compile, const struct key *key, const struct yaml *node);
/* The text of a program that compiles, else NULL and a mistake. */
struct json_object *compile_program(struct compile *compile, const struct key *key, const struct yaml *node);
struct json_object *compile_template(struct compile *compile, const struct key *key, const struct yaml *node, bool url);
/* {"$env":"NAME"} or {"$env":"NAME","default":"…"}. */
struct json_object *compile_env(struct compile *compile, const struct yaml *node);
/* , did you mean "x"? or nothing. */
const char *compile_guess(struct bytes word, const char *const *names, char *room, size_t size);

/* Keys with a form of their own. */
void compile_on_error(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out);
void compile_params(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out);
void compile_answer(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out);
void compile_argv(struct compile *compile, const struct key *key, const struct yaml *node, struct json_object *out);
struct json_object *compile_resource(struct compile *compile, const struct key *key, const struct yaml *node);

/* Addresses of http and remote_job: there is something that they are put behind, and credentials go to no host that the file does not name. */
void compile_calls(struct compile *compile, const struct yaml *body, struct json_object *with);

/* The drafts become "legs" of compile->out. */
void compile_legs(struct compile *compile);

static inline const char *out_name(const struct key *key)
{
    return key->out ? key->out : key->name;
}
