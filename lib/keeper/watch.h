/* Watches: the links of the process that have a descriptor, and how long each has
 * been silent. For the keeper's thread, but for watch_lock's users in keeper.c. */
#ifndef REDISROUTE_KEEPER_WATCH_H
#define REDISROUTE_KEEPER_WATCH_H

#include "link/link.h"
#include "route/cluster.h"

/* Looks at every link once a tick: what owes an answer and gave none since the last
 * look makes its cluster suspect. */
void watch_tick(void);
/* The connections to a node that is dead for the majority are cut, so that whoever
 * waits on them wakes. */
void watch_cut(const struct cluster *, const char *host, uint16_t port);
/* The same for every node that owns nothing (any more), where it owes an answer for a
 * tick or more: what it was asked as a master, it may never answer. */
void watch_cut_deposed(const struct cluster *, const struct topology *);

void watch_lock_all(void);
void watch_unlock_all(void);
/* In the child of a fork: the links are the parent's too until they are watched again. */
void watch_forget_all(void);

#endif
