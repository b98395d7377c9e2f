/* The table of stage kinds that leave the machine, and of those that may stand between them in a leg over records: add a kind with one file and one
 * line here. */
#include "trip/trip.h"

static const struct step_kind *const kinds[] = {
    &step_http,
    &step_jq,
    &step_llm,
    &step_remote_job,
};

const struct step_kind *step_kind_find(struct bytes name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (bytes_equal(name, bytes_of(kinds[i]->name)))
            return kinds[i];
    return NULL;
}
