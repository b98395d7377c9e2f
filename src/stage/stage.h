/* What can be done to an item: the stage kinds, one file a kind and one line in kinds.c. A worker process opens each kind
 * that its outfit names once, runs tasks through it one at a time, and closes it at its end.
 *
 * A kind opens every file it will ever need in `open`; after that it may be locked away from the file system: `run` reads
 * only the task's descriptor and memory, and opens nothing. Thread: the worker's only one. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

enum stage_engine {
    STAGE_ENGINE_AUTO,         /* the accurate recogniser where it can be had, else the fallback and a notice */
    STAGE_ENGINE_ONNX,
    STAGE_ENGINE_TESSERACT,
};

/* What a worker is given once, before its first task. Everything is borrowed until `open` has returned. Where a file can come
 * as a descriptor or as a path, the descriptor wins when it is >= 0; it is read with pread from offset 0 and stays the caller's.
 * Start from STAGE_OUTFIT_EMPTY: a zeroed outfit would name descriptor 0. */
struct stage_outfit {
    enum stage_engine engine;
    int catalogue_fd;
    const char *catalogue_path;      /* the card table, CSV; also the name that its problems carry */
    int model_fd;
    const char *model_path;          /* the ONNX recogniser */
    int keys_fd;
    const char *keys_path;           /* its characters, one a line */
    const char *library_path;        /* libonnxruntime.so; opened by the dynamic loader, so a path always */
    const char *tessdata_path;       /* folder of chi_sim.traineddata; NULL = Tesseract's own place */
    const char *scratch_path;        /* where programs get scratch folders; NULL = they have none, and no walls either */
    const char *hidden_paths[2];     /* what programs must not see: the data, the file of keys; NULL = nothing */
    size_t image_bytes_max;          /* 0 = STAGE_IMAGE_BYTES_MAX */
    uint64_t image_pixels_max;       /* 0 = STAGE_IMAGE_PIXELS_MAX */
};

#define STAGE_OUTFIT_EMPTY ((struct stage_outfit){.catalogue_fd = -1, .model_fd = -1, .keys_fd = -1})

enum {
    STAGE_IMAGE_BYTES_MAX = 10 << 20,     /* what a phone's screenshot never reaches; the front doors use the same figure */
    STAGE_IMAGE_PIXELS_MAX = 24000000,    /* 1080 px wide and 22,000 px long; 72 MB decoded, three times that if progressive */
    STAGE_VALUE_MAX = 64 << 20,           /* bytes of one value: a batch of thousands of records */
    STAGE_STATS_MAX = 16,
    STAGE_ERROR_MORE_MAX = 8 << 10,       /* events cut a whole sentence at 2 KiB */
    STAGE_STAT_NAME_SIZE = 65,            /* with the NUL */
};

/* One piece of work, borrowed while `run` runs. */
struct stage_task {
    struct bytes name;         /* the item's name as its sender gave it: for messages, never a path */
    struct bytes type;         /* its media type as its sender gave it; may be empty and may lie */
    struct bytes trace;        /* traceparent (W3C) of its job, for requests that the stage makes; may be empty */
    int input_fd;              /* its bytes, read with pread/mmap from offset 0; -1 = none, then `value` is the input */
    struct bytes value;        /* JSON from the item's earlier leg or its inline input; may be empty */
    struct bytes variables;    /* JSON object for expressions: params, vars, batch, job, item, now …; may be empty */
    struct bytes settings;     /* JSON object: the stage's `with`; may be empty */
    struct bytes retry_on;     /* JSON array: what the stage's `retry.on` names; may be empty */
    void (*hint)(void *hint_data, int percent, const char *status);     /* may be NULL; "ocr" 20, "matching" 70; static texts */
    void *hint_data;
};

enum stage_verdict {
    STAGE_DONE,      /* value and stats hold */
    STAGE_RETRY,     /* error holds; the same task may work later */
    STAGE_FAIL,      /* error and error_type hold; trying again cannot help */
};

struct stage_stat {
    char name[STAGE_STAT_NAME_SIZE];
    double value;
};

/* What came of it. stage_outcome_init before, stage_outcome_done after; `value` is the outcome's own memory. */
struct stage_outcome {
    enum stage_verdict verdict;
    struct buf value;                              /* one JSON value, one line, at most STAGE_VALUE_MAX bytes */
    struct stage_stat stats[STAGE_STATS_MAX];      /* decklists give "accuracy" in %, and "cpu_ms" */
    size_t stats_count;
    struct problem error;                          /* a sentence for the item's sender … */
    struct buf error_more;                         /* … and what follows it: the last words of a program; UTF-8 */
    bool has_score, hit;                           /* of the stage `tail` alone: see core/outcome.h */
    double score;
    bool fail_job;                                 /* FAIL: the whole job ends with it */
    const char *error_type;                        /* static: "validation" (the input is at fault), "processing" or "expression" */
};

struct stage_kind {
    const char *name, *help;
    /* Load everything once. 0 and *ret_state (may stay NULL), or -1 and a problem for whoever starts the program. */
    int (*open)(const struct stage_outfit *outfit, void **ret_state, struct problem *problem);
    /* Do the task. Never fails otherwise than by the outcome. */
    void (*run)(void *state, const struct stage_task *task, struct stage_outcome *outcome);
    /* Write a JSON object of what was loaded: {"engine","cards","base_names","notice"…}. NULL = nothing to say. */
    void (*describe)(void *state, struct buf *buf);
    void (*close)(void *state);                    /* may be NULL */
    /* Compile the programs that `run` will want with these settings: there is time now. What is wrong with them `run` will say. NULL = none ever. */
    void (*learn)(void *state, struct bytes settings);
};

/* One more, for programs that test: the shipped one leaves it NULL. Set before anything else. */
extern const struct stage_kind *stage_kind_extra;
const struct stage_kind *stage_kind_find(struct bytes name);      /* NULL when there is none */
const struct stage_kind *stage_kind_at(size_t index);             /* NULL beyond the last */

void stage_outcome_init(struct stage_outcome *outcome);
void stage_outcome_done(struct stage_outcome *outcome);
/* A name that is too long, and a stat too many, are left out. */
void stage_outcome_stat(struct stage_outcome *outcome, const char *name, double value);
/* Make the outcome a failure: error_type is a static string; the sentence is kept as problem_set would. */
void stage_outcome_fail(struct stage_outcome *outcome, enum stage_verdict verdict, const char *error_type,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
