/* The terms of a new job: what its pipeline says, with the parameters that were given filled in. Everything is settled before job.created, so that
 * the fold never has to look at a pipeline. Pure. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"
#include "store/store.h"

enum { TERMS_IN_FLIGHT = 16 };     /* items at once of a job whose items wait for others, where nobody says how many */

enum { TERMS_READERS = 2 };
struct terms {
    char *params;                  /* owned JSON object: those given, with defaults; NULL = none were given and none are declared */
    char *webhook;                 /* owned JSON, or NULL */
    const char *readers[TERMS_READERS];      /* names of outward readers, static */
};

/* Fills pipeline, params, in_flight and ordered (where the job does not say them; in_flight stays 0 when nobody does: as many as there are workers), deadline, top, stop, max_cost and readers of `job`,
 * whose views live as long as `ret`. 0, or -1 and a problem that names the parameter: one that is missing, of another type, or that the pipeline does
 * not declare (a pipeline that declares none takes any).
 * params     JSON object, or empty
 * webhook    JSON {"url":…}, checked before, or empty */
int terms_make(const struct pipeline *pipeline, struct bytes params, struct bytes webhook, struct terms *ret, struct store_job *job,
               struct problem *problem);
void terms_done(struct terms *terms);      /* harmless when zeroed */

/* The outward readers of such a job, by their static names; answers how many. */
size_t terms_readers(const struct pipeline *pipeline, struct bytes webhook, const char *ret[TERMS_READERS]);

/* "stop":{"count":…} and "top":{"keep":…} are numbers, or $params.NAME. For whoever checks a pipeline: 0, or -1 and a problem. */
int terms_check(const struct pipeline *pipeline, struct problem *problem);
