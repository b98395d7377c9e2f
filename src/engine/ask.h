/* Asking a worker something in the midst of a trip: expressions over a value, rows out of a file. The asker stands over a small crew of its own, whose
 * tasks are short, so that a page that is being read for 20 s delays nobody's poll. It is that crew's client.
 *
 * Answers are outcomes of the crew: a crash or a deadline too. A blob in an answer comes pinned; whoever gets it lets the pin go.
 * At most LIMIT_ASKS wait in line; callers are bounded by what they hold (trips, orders).
 *
 * Thread: loop. */
#pragma once
#include "base/buf.h"
#include "engine/crew.h"
#include "store/blob.h"

struct asker;
struct asker *asker_new(struct crew *crew, struct blobs *blobs);     /* takes the crew's client; both are borrowed, blobs may be NULL */
void asker_free(struct asker *asker);              /* nobody is answered any more */

/* Who is asked for first. What has begun goes before what has not, so that the first result of many comes after its own questions and not after all. */
enum ask_turn {
    ASK_BEGINS,                    /* the first question of something, a record say, that others of its kind wait beside */
    ASK_GOES_ON,                   /* a further one of something that has begun */
    ASK_LEADS,                     /* few and short, and much waits for them: is a remote job ready? */
    ASK_TURNS
};

struct ask_want {
    struct bytes stages;           /* JSON array of one stage object, e.g. [{"stage":"eval","with":{"programs":{…}}}] */
    struct bytes variables;        /* JSON object: params, vars, batch, job, item, now … (expr/expr.h) */
    struct bytes value;            /* inline JSON, or empty */
    int input_fd;                  /* the input as a file, or -1; taken over */
    struct bytes type;             /* media type of that file, may be empty */
    int64_t timeout_us;            /* 0 = 10 s */
    enum ask_turn turn;
};
struct ask;
typedef void ask_fn(void *data, const struct outcome *outcome);      /* views borrowed during the call */
/* Views are copied. Never answers inside this call. NULL: the line is full, nobody will be answered (the descriptor is closed). */
struct ask *ask_start(struct asker *asker, const struct ask_want *want, ask_fn *done, void *data);
/* Questions of these stages will come: the crew may compile their programs when it has nothing else to do. */
void asker_learn(struct asker *asker, struct bytes stages);
void ask_drop(struct ask *ask);                    /* `done` is not called; not after `done`. NULL does nothing */

/* The value of an answer, whole: appended to `ret`, out of its blob when it is one, which is let go then. False: it could not be read, or is
 * too long for `ret`. */
bool ask_value(struct blobs *blobs, const struct outcome *outcome, struct buf *ret);
