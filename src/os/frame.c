#include "os/frame.h"

#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
    struct cmsghdr head;      /* for the alignment */
    char room[CMSG_SPACE(FRAME_FDS_MAX * sizeof(int))];
};

int frame_pair(int ret_ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ends) ? -errno : 0;
}

static int failure(int error)
{
    if (error == EAGAIN || error == ENOBUFS)
        return FRAME_AGAIN;
    return error == EPIPE || error == ECONNRESET ? FRAME_END : -error;
}

static void attach(struct msghdr *message, union control *control, const int *fds, size_t fds_count)
{
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(fds_count * sizeof(int));
    struct cmsghdr *part = CMSG_FIRSTHDR(message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds_count * sizeof(int));
    memcpy(CMSG_DATA(part), fds, fds_count * sizeof(int));
}

static int send_it(int socket, struct bytes head, struct bytes body, const int *fds, size_t fds_count, int flags)
{
    assert(head.count && fds_count <= FRAME_FDS_MAX);
    if (head.count > LIMIT_FRAME_BYTES || body.count > LIMIT_FRAME_BYTES || head.count + 1 + body.count > LIMIT_FRAME_BYTES)
        return -EMSGSIZE;
    union control control = {0};
    struct iovec parts[] = {{(char *)head.at, head.count}, {"\n", 1}, {(char *)body.at, body.count}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = body.count ? 3 : 1};
    if (fds_count)
        attach(&message, &control, fds, fds_count);
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL | flags);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? failure(errno) : 0;
}

int frame_send(int socket, struct bytes head, struct bytes body, const int *fds, size_t fds_count)
{
    return send_it(socket, head, body, fds, fds_count, 0);
}

/* The kernel counts a frame as the memory it takes, which is less than twice its bytes and a page. */
int frame_offer(int socket, struct bytes head)
{
    int taken = 0, room = 0;
    socklen_t size = sizeof room;
    if (ioctl(socket, SIOCOUTQ, &taken) || getsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, &size))
        return -errno;
    if ((size_t)taken + 2 * head.count + 4096 > (size_t)room / 2)
        return FRAME_AGAIN;
    return send_it(socket, head, (struct bytes){0}, NULL, 0, MSG_DONTWAIT);
}

static void collect(struct msghdr *message, struct frame *frame)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
            assert(frame->fds_count < FRAME_FDS_MAX);      /* the kernel lets through no more than there is room for */
            frame->fds[frame->fds_count++] = fd;
        }
    }
}

static int receive(int socket, char *room, struct frame *ret, int flags)
{
    union control control;
    struct iovec part = {room, LIMIT_FRAME_BYTES};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t count;
    do
        count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return failure(errno);
    struct frame frame = FRAME_EMPTY;
    collect(&message, &frame);
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        frame_done(&frame);
        return -EMSGSIZE;
    }
    if (!count) {      /* frames are never empty, so this is the end */
        frame_done(&frame);
        return FRAME_END;
    }
    const char *line = memchr(room, '\n', (size_t)count);
    size_t head = line ? (size_t)(line - room) : (size_t)count;
    frame.head = (struct bytes){room, head};
    frame.body = line ? (struct bytes){line + 1, (size_t)count - head - 1} : (struct bytes){0};
    *ret = frame;
    return 0;
}

int frame_receive(int socket, char *room, struct frame *ret)
{
    return receive(socket, room, ret, 0);
}

int frame_receive_now(int socket, char *room, struct frame *ret)
{
    return receive(socket, room, ret, MSG_DONTWAIT);
}

void frame_done(struct frame *frame)
{
    for (size_t i = 0; i < FRAME_FDS_MAX; i++)
        if (frame->fds[i] >= 0)
            close(frame->fds[i]);
    *frame = FRAME_EMPTY;
}
