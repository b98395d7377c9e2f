#include "os/child.h"

#include "base/limits.h"
#include "base/test.h"
#include "os/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char room[LIMIT_FRAME_BYTES];

/* Run a line of shell as a child; our end of its pair in *ret_socket. */
static struct child start(char *line, int *ret_socket)
{
    int ends[2];
    struct child child = CHILD_NONE;
    struct problem problem = {0};
    CHECK_INT(frame_pair(ends), 0);
    test_note("%s", line);
    CHECK_INT(child_start("/bin/sh", (char *[]){"sh", "-c", line, NULL}, ends[1], &child, &problem), 0);
    CHECK(child.pid > 0 && child.pidfd >= 0);
    close(ends[1]);
    *ret_socket = ends[0];
    return child;
}

/* All that a child says on descriptor 3, until its end. */
static struct bytes everything(int socket)
{
    struct frame frame;
    size_t count = 0;
    static char text[LIMIT_FRAME_BYTES];
    while (!frame_receive(socket, room, &frame)) {
        size_t whole = frame.head.count + (frame.body.at ? 1 + frame.body.count : 0);
        if (count + whole < sizeof text) {
            memcpy(text + count, room, whole);
            count += whole;
        }
        frame_done(&frame);
    }
    close(socket);
    return (struct bytes){text, count};
}

TEST(a_child_ends_with_its_status_told)
{
    int socket, status;
    char text[64];
    struct child child = start("exit 3", &socket);
    CHECK_INT(child_reap(&child, true, &status), 0);
    CHECK_INT(WEXITSTATUS(status), 3);
    CHECK_INT(child.pidfd, -1);
    child_status_text(status, text, sizeof text);
    CHECK_TEXT(text, "with exit status 3");
    close(socket);
}

TEST(a_killed_child_is_told_from_one_that_runs)
{
    int socket, status;
    char text[64];
    struct child child = start("read line <&3; exit 1", &socket);
    CHECK_INT(child_reap(&child, false, &status), 1);
    child_kill(&child);
    CHECK_INT(child_reap(&child, true, &status), 0);
    child_status_text(status, text, sizeof text);
    CHECK_TEXT(text, "by signal SIGKILL");
    close(socket);
}

TEST(a_child_has_nothing_that_it_was_not_given)
{
    int socket, status, stray[8];
    for (int i = 0; i < 8; i++)
        stray[i] = open("/etc/passwd", O_RDONLY);      /* deliberately not close-on-exec */
    struct child child = start("cd /proc/$$/fd; for f in *; do printf '%s ' $f >&3; done; readlink 0 >&3", &socket);
    struct bytes said = everything(socket);
    CHECK_INT(child_reap(&child, true, &status), 0);
    for (int i = 0; i < 8; i++)
        close(stray[i]);
    test_note("%.*s", BYTES_ARG(said));
    /* 4 is the shell's own, for reading the folder. */
    CHECK(bytes_start(said, BYTES("0 1 2 3 4 /dev/null\n")) || bytes_start(said, BYTES("0 1 2 3 /dev/null\n")));
}

TEST(the_environment_of_a_child_is_fixed)
{
    int socket, status;
    setenv("SECRET_TOKEN", "canary", 1);
    struct child child = start("export -p >&3", &socket);
    struct bytes said = everything(socket);
    CHECK_INT(child_reap(&child, true, &status), 0);
    unsetenv("SECRET_TOKEN");
    test_note("%.*s", BYTES_ARG(said));
    CHECK(!memmem(said.at, said.count, "canary", 6) && !memmem(said.at, said.count, "HOME", 4));
    CHECK(memmem(said.at, said.count, "ORT_DISABLE_TELEMETRY", 21) && memmem(said.at, said.count, "OMP_THREAD_LIMIT", 16));
}

TEST(a_signal_to_the_group_leaves_the_child_alone)
{
    int socket, status;
    struct child child = start("echo up >&3; read line <&3; exit 7", &socket);
    struct frame frame;
    CHECK_INT(frame_receive(socket, room, &frame), 0);
    kill(child.pid, SIGINT);
    kill(child.pid, SIGTERM);
    kill(child.pid, SIGHUP);
    CHECK_INT(frame_send(socket, BYTES("\n"), (struct bytes){0}, NULL, 0), 0);
    CHECK_INT(child_reap(&child, true, &status), 0);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 7);
    close(socket);
}

TEST(a_program_that_is_not_there_is_a_sentence)
{
    int ends[2];
    struct child child = CHILD_NONE;
    struct problem problem = {0};
    CHECK_INT(frame_pair(ends), 0);
    CHECK_INT(child_start("/no/such/program", (char *[]){"x", NULL}, ends[1], &child, &problem), -ENOENT);
    CHECK_TEXT(problem.text, "Cannot start /no/such/program: No such file or directory.");
    CHECK_INT(child.pidfd, -1);
    close(ends[0]);
    close(ends[1]);
}

/* A process whose child ties itself, then dies: the child must be gone too. The pipe is open in the child alone at the end. */
TEST(a_tied_child_dies_with_its_parent)
{
    int pair[2], alive[2];
    CHECK_INT(frame_pair(pair), 0);
    CHECK_INT(pipe(alive), 0);
    pid_t middle = fork();
    if (!middle) {
        int ends[2];
        frame_pair(ends);
        if (!fork()) {
            child_tie(ends[1]);
            if (write(alive[1], "x", 1) == 1)
                for (;;)
                    pause();
        }
        char byte;
        _exit(read(alive[0], &byte, 1) != 1);
    }
    int status;
    CHECK_INT(waitpid(middle, &status, 0), middle);
    CHECK_INT(status, 0);
    close(alive[1]);
    char byte;
    CHECK_INT(read(alive[0], &byte, 1), 0);      /* the end, which only the child's death can bring */
    close(alive[0]);
    close(pair[0]);
    close(pair[1]);
}
