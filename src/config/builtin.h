/* The pipelines that the program brings with it, by name. */
#pragma once
#include "core/pipeline.h"

/* The pipeline of that name, or the one in `file` when it is given. NULL and a problem. Free with pipeline_free. */
struct pipeline *builtin_load(struct bytes name, const char *file, struct problem *problem);
