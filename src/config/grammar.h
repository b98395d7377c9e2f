/* What a pipeline file may say: one table of keys for the top, for what all stages have, and for each kind of stage. The compiler goes by it, and so does
 * what is written about it (grammar_write). */
#pragma once
#include "base/buf.h"

enum key_type {
    KEY_TEXT,                     /* a text, or !env */
    KEY_NAME,                     /* letters, digits, _ and - */
    KEY_WORD,                     /* one of `words` */
    KEY_FLAG,                     /* true or false */
    KEY_WHOLE, KEY_REAL,          /* from min to max */
    KEY_TIME, KEY_TIMES,          /* config/units.h */
    KEY_SIZE, KEY_RATE,
    KEY_PROGRAM,                  /* jq */
    KEY_LIMIT,                    /* a whole number, or $params.NAME */
    KEY_TEMPLATE,                 /* a text with \(jq) in it */
    KEY_METHOD,                   /* an address with \(jq) in it; the key is the method */
    KEY_BASE,                     /* http:// or https://, or !env */
    KEY_SECRET,                   /* !env only */
    KEY_TEXTS,                    /* a list of texts, or one */
    KEY_CODES,                    /* a list of HTTP statuses */
    KEY_CAUSES,                   /* a list of what may be tried again */
    KEY_SCALARS,                  /* a list of texts, numbers, true, false */
    KEY_PROGRAMS,                 /* a mapping of names to programs */
    KEY_TEMPLATES,                /* a mapping of names to templates or !env */
    KEY_JSON,                     /* anything */
    KEY_ARGV, KEY_ON_ERROR, KEY_RESOURCE, KEY_PARAMS, KEY_ANSWER,      /* told in `help` */
    KEY_GROUP,                    /* a mapping with keys of its own */
    KEY_GROUPS,                   /* a list of such, or one */
    KEY_FLAT,                     /* a mapping whose keys could as well stand here */
    KEY_STAGES,
    KEY_TYPES,
};

struct key {
    const char *name;             /* NULL ends a table */
    enum key_type type;
    const char *help;             /* half a sentence for the documentation */
    const char *out;              /* its name in the canonical text; NULL = the same; "" = it is not there */
    const struct shape *shape;    /* of groups */
    const char *const *words;     /* of KEY_WORD, ended by NULL */
    int64_t min, max;             /* of numbers, times and sizes; max 0 = 1e15 */
    bool required;
};

struct shape {
    const char *name;             /* for sentences: "retry" */
    const struct key *keys;
    const char *bare;             /* a scalar or list in its place is meant as this key; NULL = none is */
    enum { NEEDS_NOTHING, NEEDS_CALL, NEEDS_CALL_OR_INLINE, MAY_CALL } needs;      /* get, post … */
};

/* Where a stage is done. */
enum kind_place { KIND_WORKER, KIND_EXEC, KIND_TRIP, KIND_MIRROR };

struct kind {
    struct shape shape;
    const char *help;
    enum kind_place place;
    bool record;                  /* it may stand between split and gather */
    bool open;                    /* it takes whatever it is given */
};

extern const struct shape grammar_top, grammar_stage;
const struct kind *grammar_kind(struct bytes name);                 /* NULL = there is none */
extern const struct kind grammar_kinds[];                           /* ended by one without a name */
const char *grammar_type(const struct key *key);                    /* "a time such as 500ms, 30s, 5m, 1h or 14d" */

/* All tables as Markdown. */
void grammar_write(struct buf *ret);
