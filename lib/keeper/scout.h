/* The scout: asks the endpoints that a new version of the configuration names who they are, before
 * sessions go there (see route/lead.h). For the keeper's thread. */
#ifndef REDISROUTE_KEEPER_SCOUT_H
#define REDISROUTE_KEEPER_SCOUT_H

#include "config/config.h"

#include <stdint.h>

/* A version is in force: what it names for the addresses that were dialled is wanted. With no lock
 * held. */
void scout_configure(const struct config *);
/* Asks, and takes answers. `poller` reports `data` when there is something to take. Returns the
 * next moment at which it has to be called again; -1: none. */
int64_t scout_advance(int poller, uint64_t data, int64_t now_ms);
/* In the child of a fork: what is under way belongs to the parent. */
void scout_forget_all(void);

#endif
