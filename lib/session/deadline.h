/* Deadlines: how long a server may take to answer, op_timeout. As with Envoy the time of a command
 * begins when it is the oldest on its connection; what has waited for its slot before has used up a
 * part of it. Looked at now and then, and not when commands are sent and answered. A front leaves
 * that to its inner sessions. */
#ifndef REDISROUTE_SESSION_DEADLINE_H
#define REDISROUTE_SESSION_DEADLINE_H

#include "session/request.h"

/* Notes which links owe an answer. The moment at which the first of them is late; -1: none. */
int64_t deadline_due(const struct session *);
/* Gives up connections whose answers are late. */
void deadline_advance(struct session *, int64_t now_ms);

#endif
