/* A crowd of readers for the fan-out measurements: one process of its own with one epoll, so that what is counted on the server's side
 * is the server's alone. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { CROWD_STAMPS = 4096, CROWD_TIMES = 1 << 20 };

/* Memory that the crowd and the server share. */
struct crowd_shared {
    _Atomic uint64_t frames;                     /* the same, in frames */
    uint64_t bytes;                              /* read by all fast readers since they are there; look when crowd.line has spoken */
    _Atomic int64_t sent_us[CROWD_STAMPS];       /* monotonic; of frame n at n % CROWD_STAMPS */
    uint32_t times_count;
    uint32_t times_us[CROWD_TIMES];              /* from sent_us to the byte, one a frame and fast reader */
};

struct crowd_order {
    int port;
    const char *path;         /* GET this and read the head and the first "retry:" away; NULL = say nothing */
    int count;
    int slow_each, dead_each; /* every n-th reader reads a little each tenth of a second, or never; 0 = none */
    bool any;                 /* any server's stream: only the head is read away */
    bool times;               /* frames are timed */
    int jobs;                 /* > 0: reader n reads `path` with its own number in it, frame k of it was sent at sent_us[n] */
};

struct crowd {
    pid_t pid;
    int line;                 /* crowd_wait talks over this */
    struct crowd_shared *shared;
};

/* Fork and connect; when this returns all are connected and have their heads. The caller's loop must serve meanwhile: `serve` is called
 * until it is done. */
struct crowd crowd_start(const struct crowd_order *order, void (*serve)(void *data), void *data);
/* When the fast readers have read so many frames in all, a byte comes on crowd.line. */
void crowd_expect(struct crowd *crowd, uint64_t frames);
void crowd_end(struct crowd *crowd);
