/* A connection of the keeper's own, to a node of a cluster. */
#ifndef REDISROUTE_KEEPER_DIAL_H
#define REDISROUTE_KEEPER_DIAL_H

#include "link/wire.h"
#include "route/cluster.h"

/* As wire_open, with the cluster's TLS if it has any. */
enum wire_result dial_open(struct link *, struct cluster *);

#endif
