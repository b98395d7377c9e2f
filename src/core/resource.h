/* Resources: what legs of all pipelines share, by name, and how many units of each there are: "gpu=1,llm=8". One that is not named
 * has one unit.
 *
 * Thread: any; a table is read-only once it is made. */
#pragma once
#include "core/pipeline.h"

enum { RESOURCES_MAX = 32, RESOURCE_UNITS_MAX = 1000000 };

struct resources {
    struct resource {
        char name[RESOURCE_NAME_MAX + 1];
        uint32_t units;
    } all[RESOURCES_MAX];
    size_t count;
};

/* 0, or -1 and a problem that names the word. An empty text is an empty table. */
int resources_parse(struct bytes text, struct resources *ret, struct problem *problem);
uint32_t resources_units(const struct resources *resources, const char *name);
/* Whether each leg can ever start: 0, or -1 and a problem that names the resource. */
int resources_check(const struct resources *resources, const struct pipeline *pipeline, struct problem *problem);
