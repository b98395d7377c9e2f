/* Frames: whole messages over a socket pair between two of our processes, with descriptors travelling along.
 *
 * A frame is one SOCK_SEQPACKET message of at most LIMIT_FRAME_BYTES: a head (one line of JSON, never empty), and behind its
 * newline an optional body of raw bytes, whose parts the head describes. At most FRAME_FDS_MAX descriptors come with it, in
 * order. The kernel keeps messages whole, so there is no half frame: one is sent and received entirely or not at all.
 *
 * Any thread; one thread at a time for each direction of a socket. Calls block exactly if the socket does. */
#pragma once
#include "base/bytes.h"

enum {
    FRAME_FDS_MAX = 4,
    FRAME_AGAIN = 1,      /* a non-blocking socket has no room, or no frame, for now */
    FRAME_END = 2,        /* the other side is gone; nothing more will come */
};

struct frame {
    struct bytes head, body;      /* views into the room given to frame_receive */
    int fds[FRAME_FDS_MAX];       /* owned by whoever received the frame; -1 beyond the last */
    size_t fds_count;
};

/* Both ends of a new pair, close-on-exec, blocking. 0 or -errno. */
int frame_pair(int ret_ends[2]);

/* Send one frame. The descriptors are duplicated into the other process; the caller keeps its own.
 * 0, FRAME_AGAIN, FRAME_END, -EMSGSIZE when head and body are beyond LIMIT_FRAME_BYTES, or another -errno. */
int frame_send(int socket, struct bytes head, struct bytes body, const int *fds, size_t fds_count);

/* The same for what may as well be left out: FRAME_AGAIN, and nothing is sent, when more than half of the socket's room would be taken, so that what must go
 * through still does. Never blocks. */
int frame_offer(int socket, struct bytes head);

/* Receive one frame into `room`, LIMIT_FRAME_BYTES of it. 0, FRAME_AGAIN, FRAME_END or -errno; a frame that came truncated, or
 * with more descriptors than fit, is -EMSGSIZE and its descriptors are closed. Received descriptors are close-on-exec. */
int frame_receive(int socket, char *room, struct frame *ret);
int frame_receive_now(int socket, char *room, struct frame *ret);      /* the same, but FRAME_AGAIN where a blocking socket would block */

/* Close the descriptors that are still in the frame. To keep one, take it out by setting its place to -1. */
void frame_done(struct frame *frame);
#define FRAME_OWNED __attribute__((cleanup(frame_done)))
#define FRAME_EMPTY ((struct frame){.fds = {-1, -1, -1, -1}})
