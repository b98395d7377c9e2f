/* The variables that a task's expressions see (expr/expr.h): one JSON object, made when the task is launched.
 *
 *   {"params":{the job's},"vars":{the pipeline's},"batch":{"index":n,"group":key,"name":name},"job":{"id":…,"pipeline":…},
 *    "item":{"index":n,"name":…,"key":…,"type":…},"now":unix seconds}
 *
 * A leg without expressions gets the parameters alone, or nothing when there are none: making the rest would cost it more than its way through the store.
 *
 * Thread: any. */
#pragma once
#include "base/buf.h"
#include "store/store.h"

/* Puts them into `ret`, which fails beyond its ceiling. */
void variables_put(const struct claim *claim, int64_t wall_us, struct buf *ret);
