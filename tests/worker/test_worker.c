/* A worker for the tests: the real one, except that the first stage of its outfit may ask for a rogue one, which does what no honest
 * worker does. Started by engine/workers.c as any worker is. */
#include "base/bytes.h"
#include "base/limits.h"
#include "os/child.h"
#include "os/frame.h"
#include "try.h"
#include "worker/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static char room[LIMIT_FRAME_BYTES];

static void say(const char *head, const char *body)
{
    frame_send(CHILD_SOCKET, bytes_of(head), bytes_of(body), NULL, 0);
}

static void hear(void)
{
    struct frame frame = FRAME_EMPTY;
    if (frame_receive(CHILD_SOCKET, room, &frame))
        _exit(0);
    frame_done(&frame);
}

static const char outcome[] = "{\"frame\":\"outcome\",\"item\":0,\"attempt\":1,\"verdict\":\"done\"}";

/* What it says to its first task, and to all others. */
static void misbehave(const char *how)
{
    if (strstr(how, "rogue-silent")) {
        /* says nothing at all */
    } else if (strstr(how, "rogue-nonsense")) {
        say("{\"frame\":\"outcome\"", NULL);
    } else if (strstr(how, "rogue-value")) {
        say(outcome, "{\"no\":\"json\"");
    } else if (strstr(how, "rogue-other")) {
        say("{\"frame\":\"outcome\",\"item\":7,\"attempt\":1,\"verdict\":\"done\"}", "{}");
    } else if (strstr(how, "rogue-twice")) {
        say(outcome, "{\n\"first\":1\r}");
        say(outcome, "{\"second\":2}");
    } else if (strstr(how, "rogue-output")) {
        say("{\"frame\":\"outcome\",\"item\":0,\"attempt\":1,\"verdict\":\"done\",\"output\":1000000}", NULL);
    } else if (strstr(how, "rogue-flood")) {
        /* The loop looks at LIMIT_WORKER_TURN frames a turn, so the outcome is heard only after a few. */
        for (int i = 0; i < 100; i++)
            say("{\"frame\":\"hint\",\"percent\":1}", NULL);
        say(outcome, "{\"late\":true}");
    }
}

static void rogue(const char *how)
{
    if (strstr(how, "rogue-dies"))
        raise(SIGKILL);
    if (strstr(how, "rogue-exits"))
        _exit(3);
    child_tie(CHILD_SOCKET);
    hear();
    say("{\"frame\":\"ready\",\"seconds\":0,\"loaded\":{}}", NULL);
    for (;;) {
        hear();
        misbehave(how);
    }
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "try"))
        return try_alone(argv[2]);
    static char init[LIMIT_FRAME_BYTES];
    ssize_t count = recv(CHILD_SOCKET, init, sizeof init - 1, MSG_PEEK);
    if (count > 0 && strstr(init, "\"rogue-"))
        rogue(init);
    return worker_main();
}
