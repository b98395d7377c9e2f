/* A client of the job face: calls that wait for their answer, and one stream of lines that goes on meanwhile. HTTP is libcurl's.
 *
 *     client_new ──▶ client_call …                      one request, one answer
 *                ──▶ client_listen ──▶ client_turn …    lines as they come, also while a client_call is under way
 *
 * Thread: the caller's, one at a time. Nothing here knows what a job is; watching.h does. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

#include <stdio.h>

struct client;

enum { CLIENT_ANSWER_BYTES = 64 * 1024 * 1024, CLIENT_LINE_BYTES = 4 * 1024 * 1024 };

/* base: "http://127.0.0.1:8080", a path behind it is kept; key: a bearer key, NULL = none. NULL and a problem when base is no such address. */
struct client *client_new(const char *base, const char *key, struct problem *problem);
void client_free(struct client *client);                    /* NULL does nothing */
const char *client_base(const struct client *client);

struct client_request {
    const char *method;           /* "GET" */
    const char *path;             /* "/v1/jobs?limit=5": encoded already, see client_encode */
    const char *type;             /* of the body, NULL = none */
    struct bytes body;
    const char *file;             /* not NULL: the body is a form with this file … */
    const char *file_name;        /* … under this name … */
    const char *params;           /* … or with this JSON in its field "params" */
    FILE *stream;                 /* not NULL: the body is what is read from it, of unknown length; such a call cannot be repeated */
    const char *headers[4];       /* "Prefer: wait=10" …, NULL-ended */
};

struct client_answer {
    int status;                   /* of HTTP */
    int64_t retry_after_s;        /* 0 = the server did not say */
    struct buf body;              /* ≤ CLIENT_ANSWER_BYTES; client_answer_done frees it */
    char location[256];           /* "" = none */
};
#define CLIENT_ANSWER_OWNED __attribute__((cleanup(client_answer_done)))
void client_answer_done(struct client_answer *answer);

/* 0 = there is an answer, whatever its status; -1 and a problem: nobody answered. */
int client_call(struct client *client, const struct client_request *request, struct client_answer *ret, struct problem *problem);
/* The same for requests that may be sent twice without harm: tried again for up to `patience_s` while nobody answers or the server is
 * busy (429, 503), as Retry-After says. */
int client_insist(struct client *client, const struct client_request *request, int64_t patience_s, struct client_answer *ret,
                  struct problem *problem);
/* The sentence of an answer that is a refusal: its `detail`, else its status. */
int client_refusal(const struct client_answer *answer, struct problem *problem);      /* always -1 */
/* The answer's body straight to a stream of bytes; `take` answers false to break off. 0 and *ret_status, -1 and a problem. */
int client_pour(struct client *client, const struct client_request *request, bool (*take)(void *data, struct bytes piece), void *data,
                int *ret_status, struct problem *problem);

/* One stream of lines at a time. `line` is called from inside client_turn, client_call and client_wait. */
struct client_listening {
    void *data;
    void (*line)(void *data, struct bytes line);            /* without its end; borrowed */
    void (*ended)(void *data, int status, struct bytes refusal, const char *broken);   /* status 0: nobody answered; broken: why the wire broke, NULL = a clean end */
};
void client_listen(struct client *client, const char *path, const char *headers[], const struct client_listening *listening);
void client_stop_listening(struct client *client);
bool client_listens(const struct client *client);
/* Go on with what is under way for at most so many ms; a signal that was caught ends it early. */
void client_turn(struct client *client, int ms);

void client_encode(struct buf *buf, struct bytes text);      /* as part of a path or query */
