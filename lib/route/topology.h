/* A topology: one snapshot of who owns which slots. Never changed once it is made; shared
 * by reference count, which may be touched by any thread. Everything else is pure.
 *
 * Invariants: the nodes are sorted by host, then port, and each occurs once; shards are
 * numbered in the order of their first node. So two snapshots that say the same have the
 * same indices, whatever order their servers listed things in. Otherwise indices of nodes and
 * shards mean something in their own snapshot only: carry host and port over to another. */
#ifndef REDISROUTE_ROUTE_TOPOLOGY_H
#define REDISROUTE_ROUTE_TOPOLOGY_H

#include "base/bytes.h"
#include "route/slot.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODE_NONE 0xFFFF

enum {
    NODE_MAX = 65534,  /* nodes of one topology */
    NODE_ID_SIZE = 41, /* 40 hexadecimal digits */
    NODE_HOST_MAX = 255,
};

struct node {
    const char *host; /* inside the topology */
    uint16_t port;
    uint16_t shard;
    uint16_t slot_count; /* slots it owns */
    uint16_t first_slot; /* the lowest of them; SLOT_NONE: none */
    bool master;
    char id[NODE_ID_SIZE]; /* empty when the server did not say */
};

struct upstreams;

/* The nodes of one shard, its master first. */
struct shard {
    const uint16_t *nodes;
    uint16_t count;
};

struct topology {
    _Atomic unsigned references;
    uint16_t node_count;
    uint16_t shard_count;
    uint16_t owned;           /* slots that have an owner */
    uint16_t migrating_count; /* slots that are known to be migrating */
    bool masters_only;        /* from the word of servers on single slots: replicas are not known */
    size_t hosts_size;
    struct node *nodes;
    struct shard *shards;
    uint16_t *members;          /* what `shards` points into */
    char *hosts;                /* what `nodes` points into */
    const struct upstreams *upstreams; /* NULL: nodes are servers, and keys are hashed */
    uint16_t owner[SLOT_COUNT]; /* the index of a master; NODE_NONE: nobody owns it */
    uint8_t migrating[SLOT_COUNT / 8];
};

/* From the reply to CLUSTER SLOTS. A host that is null or empty means the one that was
 * asked; so does "?", unless the server adds an IP address. An empty array is a topology
 * that owns nothing. NULL: malformed, an error, or out of memory, and `why` says so in words. */
struct topology *topology_parse(const char *reply, size_t length, const char *asked_host,
                                uint16_t asked_port, char *why, size_t why_size);

/* One node owns all slots. NULL: out of memory, or no such host. */
struct topology *topology_single(const char *host, uint16_t port);

/* Node and slot `i` are upstream `i`. NULL: out of memory. See upstream.h. */
struct topology *topology_of_upstreams(const struct upstreams *, const char *host, uint16_t count);

struct topology *topology_ref(struct topology *);
void topology_unref(struct topology *); /* NULL is nothing */

/* Each of these makes a new snapshot with one reference. NULL: out of memory. */
struct topology *topology_copy(const struct topology *);

/* What a MOVED says. An unknown node is added as the master of a shard of its own. A replica
 * of the slot's shard has taken over: the roles swap, and all slots of the old master are
 * its. A replica of another shard has left it. A host that no node can have changes nothing. */
struct topology *topology_moved(const struct topology *, uint16_t slot, struct bytes host,
                                uint16_t port);
/* … with the replicas that CLUSTER NODES knows of and CLUSTER SLOTS does not: those that have not
 * received a write yet. The same one when there are none. */
struct topology *topology_with_members(struct topology *, struct bytes nodes,
                                       const char *asked_host);
bool topology_lacks_replicas(const struct topology *);
struct topology *topology_with_migrating(const struct topology *, uint16_t slot, bool migrating);

/* The index, or NODE_NONE. */
uint16_t topology_find(const struct topology *, struct bytes host, uint16_t port);

/* The same nodes, roles, shards and owners. What is migrating, and ids, do not count. */
bool topology_same(const struct topology *, const struct topology *);

/* Which of several views to believe: the one that most agree on, then the one that covers
 * more slots, then the first. Returns its index. */
size_t topology_choose(struct topology *const *views, size_t count);

static inline bool topology_is_migrating(const struct topology *t, uint16_t slot)
{
    return t->migrating[slot / 8] >> (slot % 8) & 1;
}

#endif
