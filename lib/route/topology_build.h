/* A topology in the making: for topology.c and topology_parse.c only. */
#ifndef REDISROUTE_ROUTE_TOPOLOGY_BUILD_H
#define REDISROUTE_ROUTE_TOPOLOGY_BUILD_H

#include "route/topology.h"

/* One reference, `node_count` nodes that are zero, no owners. NULL: out of memory. */
struct topology *topology_create(uint16_t node_count, size_t hosts_size);

/* The order of nodes. */
int topology_compare(struct bytes host_a, uint16_t port_a, struct bytes host_b, uint16_t port_b);

/* Brings everything that follows from the nodes and the owners in line with them. Comes
 * last. Takes the `shard` of nodes for a label less than node_count that the nodes of a
 * shard share, one of them a master. */
void topology_settle(struct topology *);

#endif
