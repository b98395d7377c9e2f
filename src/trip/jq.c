/* The stage jq over one record: what a leg over records has between its calls. Done by a worker, as everywhere. */
#include "trip/trip_own.h"

#include "base/json.h"

static void on_made(void *data, const struct outcome *outcome)
{
    struct step *step = data;
    if (outcome->verdict == VERDICT_DONE)
        step_end(step, &(struct step_result){.value = outcome->value, .blob = outcome->blob});
    else
        step_fail_outcome(step, outcome);
}

static void begin(struct step *step)
{
    struct ask_want want = {.input_fd = -1};
    struct buf BUF_OWNED stages;
    buf_init(&stages, LIMIT_FRAME_BYTES);
    buf_text(&stages, "[{\"stage\":\"jq\",\"with\":");
    json_tree(&stages, json_get(step->stage, "with"));
    buf_text(&stages, "}]");
    want.stages = buf_bytes(&stages);
    if (buf_ok(&stages) && step_input(step, (struct bytes){0}, &want))
        step_ask(step, &want, on_made);
    else
        step_fail(step, "processing", true, 0, "Stage %.*s could not be asked for.", BYTES_ARG(trip_stage_name(step->trip, step->run->stage)));
}

const struct step_kind step_jq = {.name = "jq", .size = sizeof(struct step), .begin = begin, .learn = begin};
