/* Upstreams: the clusters that the keys of one connection are spread over, by their prefixes.
 *
 * To a session whose keys have several clusters, each of them is what a node is to others: the
 * snapshot of its topology has a node and a slot for each upstream, both of the same number, and
 * says which prefix leads to which. An upstream is a cluster and what is mirrored of what goes
 * there. It keeps its number as long as the process lives, also when a later version of the
 * configuration has no use for it any more. */
#ifndef REDISROUTE_ROUTE_UPSTREAM_H
#define REDISROUTE_ROUTE_UPSTREAM_H

#include "config/config.h"
#include "route/cluster.h"
#include "route/prefix.h"

#include <stdbool.h>
#include <stdint.h>

struct upstream {
    const struct config_cluster *cluster;
    struct config_mirror *mirrors;
    bool asked;  /* what all servers are asked: of each cluster one upstream is */
    bool stores; /* … and what is about all keys; not where a route only reads */
};

/* Belongs to a topology. Never changed once it is made, and stays as long as the process, as the
 * configuration does that it was made from. */
struct upstreams {
    struct prefixes *prefixes;
    uint16_t own; /* of what has no key, and of the connection itself */
    uint16_t count;
    uint16_t stores_count;
    uint16_t *stores; /* in the order of the file: whoever reads the same file counts the same */
    const struct upstreams *before; /* that these replaced */
    struct upstream list[];
};

/* For connections to an address whose keys go by their prefixes, as the configuration in force says
 * it: its topology is that of the upstreams, and a newer version when the configuration has one.
 * NULL: out of memory, or there never were routes for that address. Thread-safe. */
struct cluster *upstreams_cluster(const char *host, uint16_t port);

/* The upstream as it was last put in force. Thread-safe. */
struct upstream upstreams_find(const char *host, uint16_t port, uint16_t number);

/* Held by the thread that forks, so that the child finds no lock taken. */
void upstreams_lock_all(void);
void upstreams_unlock_all(void);

/* What the nodes are called: the number, plus one, is the port. */
#define UPSTREAM_HOST "cluster"

#endif
