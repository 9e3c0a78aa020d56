/* Inner sessions of a front (see session/front.h): how they come to be. */
#ifndef REDISROUTE_SOCKET_INNER_H
#define REDISROUTE_SOCKET_INNER_H

#include "socket/endpoint.h"
#include "socket/seed.h"

/* The front's link gets a session to its upstream, to be reached by any of the cluster's endpoints,
 * or by the seed, if there is one. False: out of memory, or no endpoint has an address; link->error
 * says why. */
bool inner_open(struct endpoint *, struct link *);
/* A session to the upstream of the front's link, to be reached by that seed. NULL: out of memory. */
struct session *inner_create(const struct endpoint *, const struct link *, const struct seed *);
bool inner_open_at(struct endpoint *, struct link *, const struct seed *);

/* The settings of a front, or of a session that has none, for an address that is dialled. */
void inner_configure_front(struct session_settings *);

#endif
