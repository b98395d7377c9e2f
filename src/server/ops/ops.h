/* For those who run the service: /livez, /readyz, /metrics, and the journal's lines about requests, jobs and workers. Thread: loop. */
#pragma once
#include "server/service_own.h"

void ops_open(struct service *service);
void ops_close(struct service *service);
void ops_add(struct service *service);
/* Look on at the HTTP server: hand these to http_open with the service as look_data. */
void ops_begun(struct http_request *request, int status, void *service);
void ops_ended(struct http_request *request, enum http_why why, void *service);
