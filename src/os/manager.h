/* The service manager that started the program (systemd, or whoever speaks as it does): the socket it hands over, how often it wants to hear that we live, and
 * what it is told: ready, stopping, one line of status. Without a manager all of this does nothing.
 *
 * The pulse is a timer of the loop, not a thread: a loop that hangs stops telling that it lives, and is killed for it.
 *
 * Thread: that of the loop; manager_open and manager_listener before there is another thread. Nothing here blocks. */
#pragma once
#include "os/loop.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { MANAGER_STATUS_SIZE = 256 };

typedef void manager_status_fn(void *data, char ret[MANAGER_STATUS_SIZE]);     /* one line: what `systemctl status` shows */

struct manager {
    int fd;                                      /* -1 = nobody is to be told */
    struct sockaddr_un address;
    socklen_t address_bytes;
    int64_t watchdog_us;                         /* it kills us after a silence of this; 0 = it does not */
    int passed_from, passed_count;               /* descriptors that it handed over and nobody took */
    char passed_names[512];
    struct loop *loop;                           /* NULL before manager_watch */
    struct timer pulse, again;
    manager_status_fn *status_of;
    void *status_data;
    const char *state;                           /* "READY=1", still to be told; NULL = told */
    bool alive_due, status_due;
    char status[MANAGER_STATUS_SIZE];            /* the last one */
};

/* Reads what the manager left in the environment, NOTIFY_SOCKET, WATCHDOG_USEC and _PID, LISTEN_FDS, _PID and _FDNAMES, and takes it out, so that no child
 * takes it for its own. A watchdog and sockets meant for another process are none. */
void manager_open(struct manager *manager);
void manager_close(struct manager *manager);

/* The socket to listen on that was handed over; the caller's from now on. Of several it is the one named "http"; the others are closed. `ret_host` and `ret_port`
 * tell its address. 0; 1 = there is none; -1 and a problem: two of them and none is named "http", or it is no TCP socket that listens. */
int manager_listener(struct manager *manager, int *ret_fd, char ret_host[INET6_ADDRSTRLEN], int *ret_port, struct problem *problem);

/* Begins the pulse, and tells that the program is ready. `status` is asked at each pulse, and sent when it changed. */
void manager_ready(struct manager *manager, struct loop *loop, manager_status_fn *status, void *data);
/* Tells that the program is about to end; the pulse goes on until manager_close. */
void manager_stopping(struct manager *manager);
