/* Watching a job from afar: every event of its log once and in order, however often the wire breaks or the server goes away and comes
 * back. The place is the id of the last event that was told; a reconnect asks for what stands behind it.
 *
 * Thread: as the client's. The callbacks come from inside client_turn and client_call. */
#pragma once
#include "base/json.h"
#include "client/client.h"

struct watching {
    struct client *client;
    char *job;                             /* owned */
    char place[64];                        /* id of the last durable event; "" = from the beginning */
    void *data;
    /* One event: its name, its data as a tree (borrowed), and the line as it came. */
    void (*event)(void *data, struct bytes name, struct json_object *body, struct bytes line);
    void (*gap)(void *data);               /* what was told so far is void: the log follows from its beginning */
    bool over;                             /* the terminal event was told */
    struct problem lost;                   /* set: it cannot go on, and why (no such job, no right to it) */
    int64_t again_at_us, pause_us;         /* when to ask again after the wire broke, monotonic */
    int64_t patience_us, silent_since_us;  /* gives up when nobody has answered for so long */
};

/* Zeroed before. `job` is copied. patience_s: how long nobody may answer. */
void watching_begin(struct watching *watching, struct client *client, const char *job, int64_t patience_s);
/* Asks again when it is time; call it before each client_turn. Answers the most ms until it wants to be called again. */
int watching_tend(struct watching *watching);
void watching_end(struct watching *watching);
