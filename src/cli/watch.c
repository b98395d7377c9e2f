/* `rivulet watch`. */
#include "cli/follow.h"

const struct flag watch_flags[] = {REMOTE_FLAGS, FOLLOW_FLAGS, {NULL}};

static int watch(struct remote *remote)
{
    struct follow follow;
    follow_heed_interrupt();
    if (!follow_begin(&follow, remote, remote->arguments.words[0], NULL, NULL, 0))
        while (follow_turn(&follow))
            ;
    return follow_end(&follow);
}

int command_watch(const struct command *command, int argc, char **argv)
{
    return remote_run(command, argc, argv, 1, "name a job: rivulet watch JOB", watch);
}
