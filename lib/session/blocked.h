/* Commands that wait at the server, by a timeout in their words. */
#ifndef REDISROUTE_SESSION_BLOCKED_H
#define REDISROUTE_SESSION_BLOCKED_H

#include "session/request.h"

/* The part, which has its own bytes and has waited already, is sent again: with the time that is
 * left. One that waits for ever is left as it is. */
void blocked_shorten(struct session *, struct part *);

#endif
