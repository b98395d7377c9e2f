/* Quotas: how much the owner of a key may have open at a time. What is open is asked of the store when it matters, in the turn of the loop
 * in which it is added to, so nothing is counted twice and nothing is forgotten by a restart; only streams are counted here. Without keys
 * there are no quotas.
 *
 * Each answers 0, or nonzero: the request has been answered with 429, which quota it was, its limit and the present figure. Thread: loop. */
#pragma once
#include "server/service_own.h"

/* service_admit_job and service_admit stand in service_own.h; ask right before the job or the items are made. */

/* May it open another event stream? Ask before anything is made for it: its place is taken from now until the request ends, so that many
 * who come at one time do not pass together. */
int service_admit_stream(struct service *service, struct http_request *request);
/* The request has closed: its place is free, and it is no open stream any more. */
void quota_request_ended(struct service *service, struct http_request *request, enum http_why why);
