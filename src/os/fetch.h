/* Fetch: HTTP calls that go out. Two threads of its own run them (libcurl multi), one the guarded calls, one all others; the loop asks
 * and is told.
 *
 * A call is *guarded* when its address comes from a user (an item's value, a webhook): then only http and https, no proxy, and the very address
 * that is connected to must be a public one — checked when the socket is opened, so a name that resolves differently the second time, or a
 * redirect, wins nothing. What else may be reached is listed in fetch_options.allow. Guarded calls never share connections with others.
 *
 * What is written about a call (sentences, fixtures) never contains its headers, nor the query of its address.
 *
 * Thread: loop; `done` is called on the loop. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"
#include "os/loop.h"

struct fetch;

struct fetch_options {
    const char *allow;             /* guarded calls may also reach these: "127.0.0.0/8,10.1.2.3,::1/128"; NULL = nothing more */
    const char *user_agent;        /* NULL = "rivulet/VERSION" */
    const char *spool_dir;         /* folder for answers that go to files without a name */
    /* Fixtures: instead of the network, or beside it. */
    const char *fixtures;          /* folder; NULL = none */
    bool record;                   /* call the network, and keep each answer in `fixtures`; else answer from there only */
};

/* 0, or -1 and a problem (allow, fixtures). Texts are copied. */
int fetch_open(struct loop *loop, const struct fetch_options *options, struct fetch **ret, struct problem *problem);
void fetch_close(struct fetch *fetch);         /* calls under way are dropped; NULL does nothing */

struct fetch_request {
    const char *method;            /* "GET", "POST" … */
    struct bytes url;              /* absolute */
    const struct bytes *headers;   /* lines "Name: value"; one with a line break in it refuses the call */
    size_t headers_count;
    struct bytes body;             /* POST, PUT, PATCH; ≤ 16 MiB */
    const char *part_name;         /* not NULL: the body is sent as a file in a multipart form, in the field of this name; others: part_fields */
    const char *part_file;         /* its file name */
    struct bytes part_fields;      /* JSON object of further fields, or empty */
    int64_t timeout_us;            /* for all of it from when it is sent (waiting in line is not counted); 0 = 60 s */
    int64_t answer_max;            /* bytes of a 2xx body; more ends the call: FETCH_TOO_LARGE; 0 = 4 MiB. Other bodies are cut at 64 KiB */
    bool spool;                    /* a 2xx body goes to a file as it comes; other bodies stay in memory */
    bool guarded;
    bool redirects;                /* follow up to 5; only Accept, Content-Type and User-Agent go on to another origin */
};

enum fetch_end {
    FETCH_ANSWERED,                /* there is a status; whatever it is */
    FETCH_NETWORK,                 /* could not connect, the wire broke, or the answer could not be kept: perhaps the other side has acted all the same */
    FETCH_TIMEOUT,
    FETCH_TOO_LARGE,
    FETCH_REFUSED,                 /* not sent: guarded address, bad URL, no fixture. Trying again cannot help */
};

struct fetch_answer {
    enum fetch_end end;
    int status;                    /* ANSWERED; also with TOO_LARGE */
    struct bytes body;             /* borrowed during `done`; empty when spooled */
    int file;                      /* spooled: a descriptor from offset 0, the callee closes it; else -1 */
    int64_t bytes;                 /* of the body */
    struct bytes type;             /* Content-Type, may be empty */
    int64_t retry_after_us;        /* Retry-After (seconds or a date) or retry-after-ms; 0 = not said */
    int64_t took_us;
    struct problem problem;        /* other ends: a sentence that names host and reason */
    const struct fetch_own *own;
};
/* A header of the answer, the last of its name, any case; {NULL, 0} when it is not there. Borrowed during `done`. */
struct bytes fetch_header(const struct fetch_answer *answer, const char *name);

struct fetch_call;
typedef void fetch_fn(void *data, struct fetch_answer *answer);
/* Never answers inside this call. A POST or PATCH is sent once: when a kept connection turns out to be dead it ends as FETCH_NETWORK.
 * At most LIMIT_FETCH_CALLS under way are sent at a time, the others wait in line (bounded by the callers). */
struct fetch_call *fetch_start(struct fetch *fetch, const struct fetch_request *request, fetch_fn *done, void *data);
void fetch_drop(struct fetch_call *call);      /* `done` is not called; the call is broken off. Not after `done`. NULL does nothing */

/* Whether two addresses have the same scheme, host and port. */
bool fetch_same_origin(struct bytes a, struct bytes b);
