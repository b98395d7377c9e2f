/* The pipelines that the program brings with it, by name, and those that lie in files. */
#pragma once
#include "core/pipeline.h"

/* The pipeline of that name, or the one in `file` (YAML, or canonical text) when it is given. NULL and a problem: of several mistakes the first. Free
 * with pipeline_free. */
struct pipeline *builtin_load(struct bytes name, const char *file, struct problem *problem);

/* examples/decklists.yaml as it was when the program was built. */
extern const struct bytes builtin_decklists;
