/* Does a value fit a JSON Schema? For the answers of models, whose schemas are small. What is understood: type (a name or a list of them), enum, const,
 * properties, required, additionalProperties (false, or a schema), items, minItems, maxItems, minLength, maxLength (in bytes of UTF-8), minimum,
 * maximum, exclusiveMinimum, exclusiveMaximum, anyOf. Other members say nothing here. Pure. */
#pragma once
#include "base/problem.h"

struct json_object;

/* 0, or -1 and a problem that says where and why: `.score is 11, at most 10`. */
int schema_check(struct json_object *schema, struct json_object *value, struct problem *problem);
