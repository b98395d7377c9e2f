/* Who asks, and may they? Without keys everybody may do everything as the service's one owner. With keys every route that is not marked
 * open wants one of these, looked for in this order:
 *
 *     Authorization: Bearer KEY          anywhere
 *     ?ticket=…                          GET …/events only, once, for the jobs it was made for
 *     Cookie: rivulet_session=…          anywhere; what changes something must come from a page of this very origin, or of a listed one
 *
 * The guard sets request->caller to the struct key (keyring.h); service_owner() reads it. Nothing here is ever logged.
 *
 * Thread: loop. */
#pragma once
#include "server/access/keyring.h"
#include "server/service_own.h"

struct access;

/* Loads the keys that the settings name, and sets the router's guard. 0, or -1 and a problem. */
int access_open(struct service *service, struct problem *problem);
void access_close(struct service *service);
/* Reads the keys again. -1 and a problem: all stays as it was. */
int access_reload(struct service *service, struct problem *problem);
/* The routes: sessions and tickets. */
void access_add(struct service *service);
