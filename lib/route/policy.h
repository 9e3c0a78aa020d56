/* Which node of a shard answers a read: pure. */
#ifndef REDISROUTE_ROUTE_POLICY_H
#define REDISROUTE_ROUTE_POLICY_H

#include "config/read_policy.h"

#include <stdint.h>

/* What counts about a node. */
enum policy_trait {
    POLICY_MASTER = 1 << 0,
    POLICY_FIT = 1 << 1,   /* answers, with data that is in step */
    POLICY_LOCAL = 1 << 2, /* in our zone */
};

/* The index of the node that answers the `turn`th read: those that are equally good take
 * turns. The master is the last resort whether it is fit or not, but for READ_REPLICA: then -1
 * means that no replica is fit. -1 also when there is no node at all. */
int policy_choose(enum read_policy, const uint8_t *traits, uint16_t count, uint32_t turn);

#endif
