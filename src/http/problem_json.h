/* Refusals as RFC 9457 problem documents: {type, title, status, detail, instance}. */
#pragma once
#include "base/buf.h"

#define PROBLEM_JSON_TYPE "application/problem+json"

/* detail: the sentence for people; instance: the path that was asked for, or empty (left out). */
void problem_json(struct buf *ret, int status, struct bytes detail, struct bytes instance);
const char *problem_title(int status);       /* the phrase of a status ("Not Found"); "Status" for unknown ones */
