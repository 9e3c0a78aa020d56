/* A cluster as the whole process knows it: the current snapshot of its topology,
 * and what sessions found out that the keeper should look into.
 *
 * Thread-safe. A session notices a new snapshot by comparing versions, an atomic
 * load; the lock is held only to swap or count a pointer, never while a snapshot
 * is built. Clusters live until the process ends: there are as many as the
 * program dialled. */
#ifndef REDISROUTE_ROUTE_CLUSTER_H
#define REDISROUTE_ROUTE_CLUSTER_H

#include "base/bytes.h"
#include "config/config.h"
#include "config/tls_profile.h"
#include "route/learned.h"
#include "route/scripts.h"
#include "route/topology.h"
#include "stats/stats.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cluster {
    _Atomic uint64_t version; /* grows with every snapshot; the first is 1 */
    _Atomic uint32_t evidence; /* grows with everything that asks for a refresh */
    _Atomic bool surveyed;
    bool secure; /* its nodes are known by the ports at which they speak TLS. Constant */
    _Atomic bool single; /* one server that is no cluster: there is nothing to refresh */
    struct cluster *next;
    struct stats_upstream *_Atomic stats; /* see cluster_stats */
    struct cluster_state *state;
};

/* The cluster known under a dialled address, or NULL. An address is one thing by TLS (`secure`), and
 * another without. */
struct cluster *cluster_find(const char *host, uint16_t port, bool secure);

/* What the address that was dialled answered. Finds the cluster that one of the
 * nodes belongs to already, whatever address it was reached by, or makes one.
 * Takes over the reference to the topology. NULL: out of memory. */
struct cluster *cluster_learn(const char *host, uint16_t port, bool secure, struct topology *);

/* One that no address leads to, and that nobody asks for its topology: it changes by
 * cluster_replace only. The name is for people. Takes over the reference. NULL: out of memory. */
struct cluster *cluster_add(const char *host, uint16_t port, struct topology *);
void cluster_replace(struct cluster *, struct topology *);

/* The address is not a cluster's. Remembered for CLUSTER_PLAIN_MS. */
void cluster_learn_plain(const char *host, uint16_t port, bool secure, int64_t now_ms);
bool cluster_is_plain(const char *host, uint16_t port, bool secure, int64_t now_ms);
enum { CLUSTER_PLAIN_MS = 10000, CLUSTER_DIALLED_SIZE = 256 };

/* The snapshot now in force, with a reference for the caller, and its version. */
struct topology *cluster_topology(struct cluster *, uint64_t *version);

static inline uint64_t cluster_version(const struct cluster *c)
{
    return atomic_load_explicit(&c->version, memory_order_acquire);
}

/* What a server said of a slot: in force at once, for all sessions. */
void cluster_moved(struct cluster *, uint16_t slot, struct bytes host, uint16_t port);
void cluster_migrating(struct cluster *, uint16_t slot, bool migrating);

/* Something is wrong (a lost link, CLUSTERDOWN, a MOVED): the keeper should look. */
void cluster_suspect(struct cluster *);

/* A server sent a command elsewhere, and what it said is in force: whether the rest of the snapshot
 * is old too is looked into, as often as the configuration says. */
void cluster_redirected(struct cluster *, int64_t now_ms);

/* What the configuration says of it: how often it is asked, and by which endpoints it is found when
 * none of its nodes answers (NULL: none; they outlive it). The last word counts. */
void cluster_configure(struct cluster *, const struct config_refresh *,
                       const struct config_cluster *seeds);
/* The name by which it was dialled: where it is found, too, when the configuration says nothing of
 * it. Copied; it lives as long as the cluster. */
void cluster_set_dialled(struct cluster *, const char *name, uint16_t port);
const struct config_cluster *cluster_seeds(struct cluster *);
struct config_refresh cluster_refresh(struct cluster *);

/* Sessions look at the configuration again. */
void cluster_config_changed(struct cluster *);

/* Called after each cluster_suspect, from any thread. */
void cluster_set_alarm(void (*alarm)(void));

/* A refresh, from its beginning to its end: what servers said of single slots in
 * between is newer than its answer, and is kept. Takes over the reference. */
uint64_t cluster_refresh_begin(struct cluster *);
void cluster_refresh_end(struct cluster *, uint64_t begun, struct topology *);

/* The majority of the cluster calls the node dead, or does not any more. A dead node
 * is not connected to: its kernel may still accept what its server never answers. */
void cluster_mark_dead(struct cluster *, const char *host, uint16_t port, bool dead);
bool cluster_is_dead(struct cluster *, const char *host, uint16_t port);

/* What a node says of itself, as far as it decides who answers reads. */
struct node_state {
    bool unreachable;
    bool loading;
    bool cut_off;  /* a replica that does not hear its master, though that is there */
    char zone[64]; /* availability zone; empty: it did not say */
};

/* Sessions of this cluster read from replicas: the keeper is to ask the nodes how they are. */
void cluster_survey(struct cluster *);
bool cluster_is_surveyed(const struct cluster *);
/* Sessions hear of what changed as of a new snapshot. */
void cluster_set_node_state(struct cluster *, const char *host, uint16_t port,
                            const struct node_state *);
/* POLICY_FIT and POLICY_LOCAL of every node of the topology. A node nobody knows anything of is
 * fit. `zone` may be empty: nothing is local then. */
void cluster_traits(struct cluster *, const struct topology *, const char *zone, uint8_t *traits);

/* The AUTH that a session of this cluster proved good, as a RESP command; the keeper asks with it,
 * else with what the configuration says, which outlives the cluster. Copied. cluster_credentials()
 * gives what is to be said to a node: a malloc'ed copy, or NULL. */
void cluster_set_credentials(struct cluster *, struct bytes command);
void cluster_set_logins(struct cluster *, const struct config_login *);
char *cluster_credentials(struct cluster *, const char *host, uint16_t port, size_t *length);
/* A server does not take these, or lets that user ask nothing: those of another session are next,
 * or those of the configuration, if there are any. */
void cluster_doubt_credentials(struct cluster *, struct bytes command);

/* How its nodes are spoken to, as a session of it proved good or the configuration says, and the name
 * that was dialled (NULL: none); the keeper connects with it. Nothing happens when that is as it was.
 * cluster_tls() gives a reference, or NULL, and copies the name. */
void cluster_set_tls(struct cluster *, struct tls_profile *, const char *dialled);
struct tls_profile *cluster_tls(struct cluster *, char dialled[CLUSTER_DIALLED_SIZE]);

/* Where its commands are counted: under its name in the configuration, or else the address by which
 * it was first dialled. The first one stays. NULL: out of memory. */
struct stats_upstream *cluster_stats(struct cluster *);

/* The scripts that were loaded into it. */
struct scripts *cluster_scripts(struct cluster *);

/* The commands of its servers that the table lacks. */
struct learned *cluster_learned(struct cluster *);

/* All clusters, newest first: follow `next`. */
struct cluster *cluster_first(void);

/* Held by the thread that forks, so that the child finds no lock taken. */
void cluster_lock_all(void);
void cluster_unlock_all(void);

/* A cluster of its own, unknown to cluster_find: for tests and simulators. */
struct cluster *cluster_create(struct topology *);
void cluster_destroy(struct cluster *);

#endif
