/* The variables of the environment that a pipeline's canonical text asks for: {"$env":NAME}, with a default or without. */
#pragma once
#include "base/buf.h"
#include "core/pipeline.h"

/* `each` once for every place that names one. */
typedef void environment_fn(void *data, const char *name, bool has_default);
void environment_walk(struct json_object *tree, environment_fn *each, void *data);

/* Sees to those that are not set and lie in a file (secret.h). 0, or -1 and a problem: a file that cannot be used. */
int environment_settle(const struct pipeline *pipeline, struct problem *problem);

/* Those that are not set and have no default, "A, B", each once; nothing when there is none. */
void environment_missing(const struct pipeline *pipeline, struct buf *ret);
