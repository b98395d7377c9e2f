/* A leg inside a worker: its stages one after another, the value of one being the input of the next, with the keys that all stages have:
 *
 *   "when"      a program over the stage's input: false or null leaves the stage out. Its value is then what "else" gives, or the input itself.
 *   "on_error"  "fail_job": a failure ends the whole job; {"use": value}: the value takes the failure's place. Both wait for the last of the stage's
 *               "retry": {"attempts": n} (3) where another attempt may help.
 *   "with"      the stage's settings
 *
 * A stage is such an object or its kind's name alone. Thread: the worker's. */
#pragma once
#include "base/json.h"
#include "base/limits.h"
#include "stage/stage.h"

struct leg_kind {
    const struct stage_kind *kind;
    void *state;
};

/* What a worker has loaded. */
struct leg_kinds {
    struct leg_kind at[LIMIT_WORKER_STAGES];
    size_t count;
    void *shelf;                   /* of program_open(), for "when" and "else" */
};

/* Compile what one stage will want, its "when" and "else" and its kind's own programs, so that leg_run need not. */
void leg_learn(const struct leg_kinds *kinds, struct json_object *stage);

/* Do all of it. `stages` is an array; `task` is for the first stage and is changed on the way. The outcome is the last stage's, with what all have
 * measured; *ret_stage names the stage that ran last, borrowed from `stages`. */
void leg_run(const struct leg_kinds *kinds, struct json_object *stages, int64_t attempt, struct stage_task *task, struct stage_outcome *ret,
             const char **ret_stage);
