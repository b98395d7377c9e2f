/* The traceparent of a request (W3C Trace Context): whatever we do for it bears its name. */
#pragma once
#include "http/http.h"

/* As it was sent, without what a later version may have added; empty when there is none or it is not one. Good until the answer begins. */
struct bytes trace_of(const struct http_request *request);
