#include "core/event.h"

#include <ctype.h>
#include <string.h>

static const struct {
    const char *name, *scope;
} kinds[EVENT_KINDS_COUNT] = {
    [EVENT_NONE] = {"?", ""},
#define X(kind, name, scope) [EVENT_##kind] = {name, #scope},
    EVENT_KINDS(X)
#undef X
};

const char *event_name(enum event_kind kind)
{
    return (unsigned)kind < EVENT_KINDS_COUNT ? kinds[kind].name : "?";
}

bool event_is_item(enum event_kind kind)
{
    return (unsigned)kind < EVENT_KINDS_COUNT && !strcmp(kinds[kind].scope, "ITEM");
}

const char *start_why_name(enum start_why why)
{
    static const char *const names[WHY_COUNT] = {"first", "retry", "due", "restart"};
    return (unsigned)why < WHY_COUNT ? names[why] : "?";
}

const char *job_status_name(enum job_status status)
{
    static const char *const names[JOB_STATUS_COUNT] = {"pending", "running", "completed", "error", "cancelled"};
    return (unsigned)status < JOB_STATUS_COUNT ? names[status] : "?";
}

bool event_is_id(struct bytes id)
{
    for (size_t i = 0; i < id.count; i++)
        if (!isalnum((unsigned char)id.at[i]) && id.at[i] != '-' && id.at[i] != '_')
            return false;
    return id.count > 0 && id.count <= EVENT_ID_BYTES;
}
