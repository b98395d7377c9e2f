/* What the files of fetch share. A call belongs to the loop until it is asked, then to its lane's thread, and to the loop again when
 * it is answered; it changes hands under fetch.lock. Guarded calls have a lane, and so a thread and a pool of connections, of
 * their own. */
#pragma once
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "os/fetch.h"
#include "os/fetch_fixture.h"
#include "os/fetch_guard.h"

#include <curl/curl.h>
#include <pthread.h>

enum call_state { CALL_ASKED, CALL_TAKEN, CALL_ANSWERED, CALL_DONE };

/* What came back, be it from the wire or from a fixture. */
struct fetch_own {
    struct buf head;               /* header lines of the last answer, each ended by a line feed */
    struct buf body;
    int file;                      /* -1 = none */
    int64_t bytes;                 /* of the body, wherever it is */
    int status;                    /* 0 = none came */
};

struct fetch_call {
    struct fetch *fetch;
    struct list link;              /* lane.asked, host.line, lane.running, or answered */
    struct list drop_link;         /* lane.drops */
    enum call_state state;         /* lock */
    bool dropped;                  /* lock */
    fetch_fn *done;
    void *data;

    char *method, *url;            /* as it was asked */
    struct host *host;             /* while it is in the lane's hands */
    bool runs;                     /* counted by its host and its lane */
    struct curl_slist *headers;
    char *body;                    /* NULL = none */
    size_t body_count;
    char *part_name, *part_file, *part_fields;
    int64_t timeout_us, answer_max;
    bool spool, guarded, redirects;

    struct heap_node wait;         /* lane.waits: a fixture that is not due; a transfer that pauses because the disk is full, or is blind and ends */
    CURL *easy;
    curl_mime *form;
    char *at;                      /* the address of this hop; owned */
    const char *verb;              /* the method of this hop */
    int hops;
    int sent;                      /* times that this hop's request was about to be sent */
    bool opened;                   /* a socket was opened */
    bool closed_door;              /* the guard refused an address */
    bool too_large, cut;
    int file_error;                /* -errno of the spool */
    int blind;                     /* errno: why its socket cannot be watched */
    char error[CURL_ERROR_SIZE];
    int64_t began_us;
    struct fetch_own own;
    struct fetch_answer answer;
};

/* A host that has calls in the lane; it goes with the last of them. */
struct host {
    uint64_t key;                  /* hash of its name and port */
    struct list line;              /* calls that wait for their turn */
    struct list ready_link;        /* lane.ready */
    size_t running;
};

struct lane {
    struct fetch *fetch;
    bool guarded;
    pthread_t thread;
    CURLM *multi;
    int poll;                      /* epoll: the sockets that curl named, and wake */
    int wake;                      /* eventfd: something is asked or dropped, or the lane is to end */
    struct list asked, drops;      /* lock; loop → thread */
    struct map hosts;              /* key → struct host, those with calls */
    struct list ready;             /* hosts that have a call in line and a place for it */
    struct list running;
    size_t running_count;
    struct heap waits;
};

struct fetch {
    struct loop *loop;
    struct watch *watch;           /* of bell */
    int bell;                      /* eventfd: something is answered */
    struct guard guard;
    struct fixtures *fixtures;     /* NULL = the network alone */
    bool replay;                   /* fixtures only */
    char *user_agent, *spool_dir;
    pthread_mutex_t lock;          /* guards what says so */
    struct list answered;          /* lock */
    bool closing;                  /* lock */
    struct lane lanes[2];          /* plain, guarded */
};

/* fetch.c */
void fetch_call_free(struct fetch_call *call);
void fetch_answered(struct fetch_call *call);            /* lane thread: hands the call to the loop; it may be freed by this */

/* What the headers retry-after-ms and Retry-After (seconds, or a date) come to at that time: 0 = nothing, at most LIMIT_FETCH_RETRY_US. */
int64_t fetch_retry_after_us(struct bytes in_ms, struct bytes text, int64_t now_s);

/* fetch_lane.c */
void *fetch_lane_run(void *lane);                        /* the thread */

/* fetch_line.c, lane thread: a line for each host, so that one that is full costs the others nothing, however many wait for it. */
void fetch_line_join(struct lane *lane, struct fetch_call *call);
/* Takes the next that may begin and counts it as running; hosts take turns. NULL when nothing may begin now. */
struct fetch_call *fetch_line_next(struct lane *lane);
void fetch_line_leave(struct lane *lane, struct fetch_call *call);         /* wherever it is: in line or running; its place is free */

/* fetch_poll.c, lane thread: waits for sockets and times, and lets curl do what is due. What a turn costs grows with what happened and not with
 * how many calls are under way. */
int fetch_poll_open(struct lane *lane, struct problem *problem);           /* loop; with its multi. 0, or -1: close it all the same */
void fetch_poll_close(struct lane *lane);                                  /* loop, when the thread is gone */
void fetch_poll_wake(struct lane *lane);                                   /* any thread: ends the wait, or the next one */
void fetch_poll_turn(struct lane *lane, int64_t wait_us);                  /* waits at most so long; < 0 = as long as curl likes */

/* fetch_easy.c, lane thread */
int fetch_easy_begin(struct fetch_call *call, struct problem *problem);    /* makes the handle, not yet in a multi. 0, or -1 */
/* The transfer has ended with `code`: fills call->answer, or prepares the next hop of a redirect and answers true. */
bool fetch_easy_end(struct fetch_call *call, CURLcode code);
/* A transfer that paused goes on, or pauses again. Another answer than CURLE_OK: that is its end. */
CURLcode fetch_easy_resume(struct fetch_call *call);
/* Nobody would hear what its socket has to say: it ends at the end of this turn, when curl may be told. */
void fetch_easy_blind(CURL *easy, int error);
void fetch_easy_free(struct fetch_call *call);
int fetch_spool_file(const char *dir);                   /* a file without a name, or -errno */
