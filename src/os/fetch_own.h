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
    struct list link;              /* asked, line, or answered */
    struct list drop_link;         /* lane.drops */
    enum call_state state;         /* lock */
    bool dropped;                  /* lock */
    fetch_fn *done;
    void *data;

    char *method, *url;            /* as it was asked */
    uint64_t host;                 /* hash of its host */
    bool counted;                  /* in lane.hosts */
    struct curl_slist *headers;
    char *body;                    /* NULL = none */
    size_t body_count;
    char *part_name, *part_file, *part_fields;
    int64_t timeout_us, answer_max;
    bool spool, guarded, redirects;

    struct heap_node wait;         /* lane.waits: a fixture that is not due */
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
    char error[CURL_ERROR_SIZE];
    int64_t began_us;
    struct fetch_own own;
    struct fetch_answer answer;
};

struct lane {
    struct fetch *fetch;
    bool guarded;
    pthread_t thread;
    CURLM *multi;
    struct list asked, drops;      /* lock; loop → thread */
    struct list line;              /* calls that wait for their turn */
    struct list running;
    size_t running_count;
    struct map hosts;              /* hash → how many run, as a pointer */
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

/* fetch_lane.c */
void *fetch_lane_run(void *lane);                        /* the thread */

/* fetch_easy.c, lane thread */
int fetch_easy_begin(struct fetch_call *call, struct problem *problem);    /* makes the handle, not yet in a multi. 0, or -1 */
/* The transfer has ended with `code`: fills call->answer, or prepares the next hop of a redirect and answers true. */
bool fetch_easy_end(struct fetch_call *call, CURLcode code);
void fetch_easy_free(struct fetch_call *call);
int fetch_spool_file(const char *dir);                   /* a file without a name, or -errno */
