/* A refresh: some nodes of a cluster are asked who owns what, and the answer most
 * agree on is put in force. For the keeper's thread; its poller drives it. */
#ifndef REDISROUTE_KEEPER_REFRESH_H
#define REDISROUTE_KEEPER_REFRESH_H

#include "route/cluster.h"

#include <stdint.h>

/* Begins what is due for any cluster, ends what is overdue. Returns the next moment
 * at which it has to be called again. */
int64_t refresh_advance(int poller, int64_t now_ms);
/* The descriptor of an inquiry became ready; `inquiry` is the event's pointer. */
void refresh_event(void *inquiry, int64_t now_ms);
/* In the child of a fork: what is under way belongs to the parent. */
void refresh_forget_all(void);

#endif
