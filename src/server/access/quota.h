/* Quotas: how much the owner of a key may have open at a time. What is open is asked of the store when it matters, in the turn of the loop
 * in which it is added to, so nothing is counted twice and nothing is forgotten by a restart; only streams are counted here. Without keys
 * there are no quotas.
 *
 * Each answers 0, or nonzero: the request has been answered with 429, which quota it was, its limit and the present figure. Thread: loop. */
#pragma once
#include "server/service_own.h"

/* May this caller add so many items, and bytes of their inputs, now? May it make a job of so many? 0 = yes; else the request has been
 * answered with what is exceeded: ask right before they are made. */
int quota_admit_job(struct service *service, struct http_request *request, int64_t items, int64_t bytes);
int quota_admit(struct service *service, struct http_request *request, int64_t items, int64_t bytes);
/* May it open another event stream? Ask before anything is made for it: its place is taken from now until the request ends, so that many
 * who come at one time do not pass together. */
int quota_admit_stream(struct service *service, struct http_request *request);
/* The request has closed: its place is free, and it is no open stream any more. */
void quota_request_ended(struct service *service, struct http_request *request, enum http_why why);
/* The request becomes a stream, or a long poll that waits: counted until it closes (quota.c). */
void quota_stream_opened(struct service *service, struct http_request *request);
