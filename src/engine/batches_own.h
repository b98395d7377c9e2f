/* Inside batches: what its two files share. batches.c asks and tells, batches_group.c puts inputs together. */
#pragma once
#include "base/map.h"
#include "engine/batches.h"

/* One input told apart, or an item that is whole: texts in one piece of memory. */
struct made {
    struct list link;              /* in a group, or in batches.whole */
    struct bytes value, key, name, error;
    bool has_blob;
    struct sha blob;               /* of an input that is not taken apart, or of a value that is long: pinned then */
    struct sha cached_as;          /* its row's key in the cache */
    bool known;                    /* … has something */
    char texts[];
};

struct group {
    char *name;
    struct list inputs;
    size_t count;
};

struct batches {
    struct batches_world world;
    const struct pipeline *pipeline;
    int64_t first;                 /* index of the next item: for names */
    char *variables;               /* owned JSON */
    char *stages, *file_stages;    /* owned: the task that tells inputs apart, or one that is a file; NULL = no program has to be asked */
    struct json_object *cache_stage;      /* the stage whose rows are cached, or NULL; borrowed from the pipeline */
    bool dedupe, grouped;
    int64_t size;
    struct map seen;               /* first 8 bytes of a key's hash → &seen */
    struct map groups[2];          /* name → group: not known, known */
    struct list whole;             /* made: items to be told */
    size_t held_bytes;             /* of inputs in groups */
    struct list asked;             /* made: inputs told apart whose keys are looked up in the cache */
    /* the call under way */
    const struct item_spec *inputs;
    size_t count, at, asking;      /* of the inputs; how many of them the ask is about */
    batches_fn *got;
    void *data;
    struct ask *ask;
    struct timer soon;
    bool in_pool, looking, dead, flushing;
    struct sha answer;             /* the blob that is being read */
    struct buf answer_text;
    struct item_spec *specs;       /* told last; owned, with `told` */
    struct list told;
    struct sha *pins;              /* blobs made here */
    size_t pins_count, pins_room;
};

/* batches_group.c. Texts are copied. */
struct made *made_new(struct bytes value, struct bytes key, struct bytes name, struct bytes error);
void made_drop_all(struct list *list);
/* A whole item. In a pipeline without batches `key` is its own, else `group` is. blob: its value is that one; NULL = it is `value`. */
void made_item(struct batches *batches, struct bytes value, struct bytes key, struct bytes group, struct bytes error, const struct sha *blob);
void group_place(struct batches *batches, struct made *made);      /* an input, taken over */
void groups_close(struct batches *batches, struct map *groups);    /* what has gathered becomes items */
void groups_drop(struct map *groups);
