/* The variables of the environment that a pipeline's canonical text asks for: {"$env":NAME}, with a default or without. */
#pragma once
#include "base/buf.h"
#include "core/pipeline.h"

/* `each` once for every place that names one. */
typedef void environment_fn(void *data, const char *name, bool has_default);
void environment_walk(struct json_object *tree, environment_fn *each, void *data);

/* Those that are not set and have no default, "A, B", each once; nothing when there is none. */
void environment_missing(const struct pipeline *pipeline, struct buf *ret);
