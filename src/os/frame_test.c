#include "os/frame.h"

#include "base/limits.h"
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static char room[LIMIT_FRAME_BYTES];

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* The lowest free number: the same before and after says that nothing leaked between. */
static int lowest_free(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    return fd;
}

TEST(a_frame_carries_head_body_and_descriptors)
{
    int ends[2], fd = memfd_create("x", MFD_CLOEXEC);
    CHECK_INT(frame_pair(ends), 0);
    CHECK_INT(write(fd, "seven", 5), 5);
    CHECK_INT(frame_send(ends[0], BYTES("{\"a\":1}"), BYTES("raw\nbytes"), (int[]){fd, fd}, 2), 0);
    CHECK_INT(frame_send(ends[0], BYTES("{}"), (struct bytes){0}, NULL, 0), 0);
    struct frame frame = FRAME_EMPTY;
    CHECK_INT(frame_receive(ends[1], room, &frame), 0);
    CHECK_BYTES(frame.head, BYTES("{\"a\":1}"));
    CHECK_BYTES(frame.body, BYTES("raw\nbytes"));
    CHECK_INT(frame.fds_count, 2);
    char five[5];
    CHECK_INT(pread(frame.fds[1], five, 5, 0), 5);
    CHECK(!memcmp(five, "seven", 5));
    CHECK(fcntl(frame.fds[0], F_GETFD) & FD_CLOEXEC);
    int first = frame.fds[0];
    frame_done(&frame);
    CHECK(!is_open(first));
    CHECK_INT(frame_receive(ends[1], room, &frame), 0);
    CHECK_BYTES(frame.head, BYTES("{}"));
    CHECK_INT(frame.body.count + frame.fds_count, 0);
    close(ends[0]);
    CHECK_INT(frame_receive(ends[1], room, &frame), FRAME_END);
    CHECK_INT(frame_send(ends[1], BYTES("{}"), (struct bytes){0}, NULL, 0), FRAME_END);
    close(ends[1]);
    close(fd);
}

TEST(a_full_or_empty_socket_says_again)
{
    int ends[2];
    CHECK_INT(frame_pair(ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    struct frame frame;
    CHECK_INT(frame_receive(ends[0], room, &frame), FRAME_AGAIN);
    int sent = 0, rc;
    while (!(rc = frame_send(ends[0], BYTES("{}"), (struct bytes){room, 100000}, NULL, 0)) && sent < 100)
        sent++;
    CHECK_INT(rc, FRAME_AGAIN);
    CHECK(sent >= 1);
    close(ends[0]);
    close(ends[1]);
}

TEST(what_is_offered_leaves_half_of_the_room_to_what_is_sent)
{
    int ends[2], offered = 0, pipes[2];
    struct frame frame = FRAME_EMPTY;
    CHECK_INT(frame_pair(ends), 0);
    CHECK_INT(frame_receive_now(ends[1], room, &frame), FRAME_AGAIN);
    while (offered < 10000 && frame_offer(ends[0], BYTES("{\"learn\":1}")) == 0)
        offered++;
    CHECK(offered > 1 && offered < 10000);
    CHECK_INT(frame_offer(ends[0], BYTES("{}")), FRAME_AGAIN);
    CHECK_INT(frame_send(ends[0], BYTES("{\"task\":1}"), (struct bytes){0}, NULL, 0), 0);
    for (int i = 0; i < offered; i++) {
        CHECK_INT(frame_receive_now(ends[1], room, &frame), 0);
        CHECK_BYTES(frame.head, BYTES("{\"learn\":1}"));
        frame_done(&frame);
    }
    CHECK_INT(frame_receive_now(ends[1], room, &frame), 0);
    CHECK_BYTES(frame.head, BYTES("{\"task\":1}"));
    frame_done(&frame);
    close(ends[0]);
    close(ends[1]);
    CHECK(!pipe2(pipes, O_CLOEXEC));                        /* no socket */
    CHECK(frame_offer(pipes[1], BYTES("{}")) < 0);
    close(pipes[0]);
    close(pipes[1]);
}

TEST(the_longest_frame_passes_and_one_byte_more_does_not)
{
    int ends[2];
    CHECK_INT(frame_pair(ends), 0);
    char *body = calloc(1, LIMIT_FRAME_BYTES);
    CHECK_INT(frame_send(ends[0], BYTES("{}"), (struct bytes){body, LIMIT_FRAME_BYTES - 2}, NULL, 0), -EMSGSIZE);
    CHECK_INT(frame_send(ends[0], BYTES("{}"), (struct bytes){body, LIMIT_FRAME_BYTES + 1}, NULL, 0), -EMSGSIZE);
    CHECK_INT(frame_send(ends[0], (struct bytes){body, LIMIT_FRAME_BYTES + 1}, (struct bytes){0}, NULL, 0), -EMSGSIZE);
    CHECK_INT(frame_send(ends[0], BYTES("{}"), (struct bytes){body, LIMIT_FRAME_BYTES - 3}, NULL, 0), 0);
    struct frame frame;
    CHECK_INT(frame_receive(ends[1], room, &frame), 0);
    CHECK_INT(frame.body.count, LIMIT_FRAME_BYTES - 3);
    free(body);
    close(ends[0]);
    close(ends[1]);
}

TEST(a_truncated_frame_is_an_error_and_leaks_no_descriptor)
{
    int ends[2];
    CHECK_INT(frame_pair(ends), 0);
    int before = lowest_free();
    char *big = calloc(1, LIMIT_FRAME_BYTES + 1);
    char control[CMSG_SPACE(6 * sizeof(int))] = {0};
    struct iovec part = {big, LIMIT_FRAME_BYTES + 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    *rights = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(6 * sizeof(int))};
    memcpy(CMSG_DATA(rights), (int[]){0, 0, 0, 0, 0, 0}, 6 * sizeof(int));
    struct frame frame;
    CHECK(sendmsg(ends[0], &message, 0) > 0);               /* too long, and too many descriptors */
    CHECK_INT(frame_receive(ends[1], room, &frame), -EMSGSIZE);
    part.iov_len = 2;
    CHECK(sendmsg(ends[0], &message, 0) > 0);               /* only too many descriptors */
    CHECK_INT(frame_receive(ends[1], room, &frame), -EMSGSIZE);
    CHECK_INT(lowest_free(), before);
    free(big);
    close(ends[0]);
    close(ends[1]);
}

TEST(an_end_that_is_none_or_was_left_with_frames_unread_is_told)
{
    int ends[2];
    struct frame frame;
    CHECK_INT(frame_send(-1, BYTES("{}"), (struct bytes){0}, NULL, 0), -EBADF);
    CHECK_INT(frame_receive(-1, room, &frame), -EBADF);
    CHECK_INT(frame_pair(ends), 0);
    CHECK_INT(frame_send(ends[0], BYTES("{}"), (struct bytes){0}, NULL, 0), 0);
    close(ends[1]);                                         /* whose frame is lost: the kernel says ECONNRESET */
    CHECK_INT(frame_receive(ends[0], room, &frame), FRAME_END);
    close(ends[0]);
}

TEST(without_descriptors_there_is_no_pair)
{
    int ends[2];
    struct rlimit before, none;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){(rlim_t)lowest_free(), before.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    int answer = frame_pair(ends);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_INT(answer, -EMFILE);
}

TEST(what_the_kernel_adds_by_itself_is_no_descriptor)
{
    int ends[2], on = 1;
    struct frame frame;
    CHECK_INT(frame_pair(ends), 0);
    CHECK_INT(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    CHECK_INT(frame_send(ends[0], BYTES("{}"), (struct bytes){0}, NULL, 0), 0);
    CHECK_INT(frame_receive(ends[1], room, &frame), 0);
    CHECK_BYTES(frame.head, BYTES("{}"));
    CHECK_INT(frame.fds_count, 0);
    close(ends[0]);
    close(ends[1]);
}

static int signalled[2];
static struct frame drained;

/* While its thread waits for a frame, one is sent; while it waits for room, one is taken away. */
static void send_one(int number)
{
    frame_send(signalled[0], BYTES("{}"), (struct bytes){0}, NULL, 0);
}

static void take_one(int number)
{
    frame_receive(signalled[1], room, &drained);
}

static void soon(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};      /* no SA_RESTART */
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = 20000}, NULL);
}

TEST(a_signal_ends_no_waiting)
{
    struct frame frame;
    static char body[100000];
    CHECK_INT(frame_pair(signalled), 0);
    soon(send_one);
    CHECK_INT(frame_receive(signalled[1], room, &frame), 0);
    CHECK_BYTES(frame.head, BYTES("{}"));
    fcntl(signalled[0], F_SETFL, O_NONBLOCK);
    while (!frame_send(signalled[0], BYTES("{}"), (struct bytes){body, sizeof body}, NULL, 0))
        ;
    fcntl(signalled[0], F_SETFL, 0);
    soon(take_one);
    CHECK_INT(frame_send(signalled[0], BYTES("{}"), (struct bytes){body, sizeof body}, NULL, 0), 0);
    CHECK_INT(drained.body.count, sizeof body);
    signal(SIGALRM, SIG_DFL);
    close(signalled[0]);
    close(signalled[1]);
}
