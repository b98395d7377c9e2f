/* What the kinds that run expressions share: their input as JSON, their settings, and programs that are made of several. Thread: the worker's. */
#pragma once
#include "base/json.h"
#include "expr/expr.h"
#include "stage/stage.h"

/* The task's input as JSON text: its file, read into `room` (up to STAGE_VALUE_MAX), or its value; without any, null. False: the outcome is a failure. */
bool program_input(const struct stage_task *task, struct buf *room, struct bytes *ret, struct stage_outcome *outcome);

/* The same for programs that look at anything: a file that is no JSON, an image say, is null to them. */
bool program_input_json(const struct stage_task *task, struct buf *room, struct bytes *ret, struct stage_outcome *outcome);
/* Whether `text` is one JSON value that may be a result; else a problem that goes behind "is". */
bool program_json(struct bytes text, struct problem *problem);

/* A task's settings as an object, never NULL; the caller drops it. */
struct json_object *program_settings(struct bytes settings);

/* Run a program over `input`: its first output goes into `ret`. False: the outcome is a failure ("expression"), for no output too. Without a limit in
 * the settings ("time_limit_us") it has a second, and one more for each million bytes of its input. */
bool program_run(struct expr_shelf *shelf, struct bytes program, struct bytes input, const struct stage_task *task, struct buf *ret,
                 struct stage_outcome *outcome);

/* Compile it, so that program_run finds it on the shelf: it must be the very same text. What cannot be compiled is not told. */
void program_learn(struct expr_shelf *shelf, struct bytes program);

/* Append a term that gives the first output of `program`, null when there is none, and whose error begins with `name`. */
void program_term(struct buf *ret, struct bytes name, struct bytes program);
/* Append an object of such terms, one for each text in `programs`, but for `leave1` and `leave2` (may be NULL). */
void program_object(struct buf *ret, struct json_object *programs, const char *leave1, const char *leave2);
/* Make the outcome the failure that the first program among these is which does not compile by itself. False: all do. */
bool program_blame(struct json_object *programs, struct stage_outcome *outcome);

/* open and close of kinds whose state is a shelf. */
int program_open(const struct stage_outfit *outfit, void **ret_state, struct problem *problem);
void program_close(void *state);
