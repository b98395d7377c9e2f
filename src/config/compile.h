/* Pipeline files become canonical text (core/pipeline.h). docs/PIPELINES.md has the language, grammar.h its keys.
 *
 *   compile.c        the top and its stages
 *   compile_value.c  values of keys: quantities, programs, templates
 *   compile_special.c  those that have a form of their own: on_error, params, an answer's schema …
 *   compile_legs.c   stages become legs
 *
 * Thread: any, one at a time for each call. Takes about 30 ms for each program in the file. */
#pragma once
#include "config/mistakes.h"

/* The canonical text of a file's text, put behind what is in `ret`; false and at least one mistake when there is none. `path` is how it is told of;
 * files that it takes in lie beside it. Canonical text itself is taken too, and goes through as it is. */
bool compile_pipeline(const char *path, struct bytes text, struct mistakes *mistakes, struct buf *ret);
