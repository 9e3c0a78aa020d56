/* A real Redis Cluster of redis-server processes on the loopback address.
 *
 * Nodes are numbered: the masters first, in the order of their slots (which redis-cli would give
 * them too), then the replicas of master 0, those of master 1, and so on. The numbers stay with
 * the processes when roles change. */
#ifndef SUPPORT_CLUSTER_H
#define SUPPORT_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>

enum { CLUSTER_SLOTS = 16384 };

struct certificates;
struct cluster;
struct server;

/* All zero is 3 masters, no replicas, every slot with an owner. */
struct cluster_options {
    int masters;
    int replicas;            /* of each master */
    int node_timeout_ms;     /* cluster-node-timeout; 0: 5000 */
    bool partial_coverage;   /* cluster-require-full-coverage no */
    const char *requirepass; /* null: no password */
    int unassigned_first;    /* with unassigned_count > 0: these slots belong to nobody */
    int unassigned_count;
    bool is_unformed;  /* the nodes run, but have not met and own no slots */
    const char *extra; /* more lines for every redis.conf, may be null */
    const struct certificates *tls; /* these three: as in struct server_options */
    bool tls_asks_clients;
    bool tls_beside;
};

/* Returns when every node sees the whole cluster, in the same way, and the replicas are in step.
 * As server_start: it dies with the calling thread. Null options are all zero. */
struct cluster *cluster_start(const struct cluster_options *options);
void cluster_stop(struct cluster *cluster);

/* Lets the nodes of an unformed cluster meet and waits until it is whole. */
void cluster_form(struct cluster *cluster);

int cluster_size(const struct cluster *cluster);
int cluster_masters(const struct cluster *cluster);
int cluster_port(const struct cluster *cluster, int node);
struct server *cluster_server(const struct cluster *cluster, int node);

/* The reply of one node as text (wire_text), freed by the caller. */
char *cluster_command(const struct cluster *cluster, int node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether the reply of one node is exactly that text. */
bool cluster_says(const struct cluster *cluster, int node, const char *expected, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));

/* --- keys and slots --- */

int cluster_slot(const char *key);

/* The node that `asked` takes for the owner of a slot, or -1. */
int cluster_owner_of_slot(const struct cluster *cluster, int asked, int slot);

/* A key that lies in that slot (among "k:0", "k:1", …), the nth such; freed by the caller. */
char *cluster_key_in_slot(int slot, int nth);

/* A key whose slot that master was given at the start; freed by the caller. */
char *cluster_key_for(const struct cluster *cluster, int master, int nth);

/* --- a slot moves; from and to are masters --- */

void cluster_migrate_begin(struct cluster *cluster, int slot, int from, int to);

/* Moves up to `most` keys; how many it moved. */
int cluster_migrate_keys(struct cluster *cluster, int slot, int from, int to, int most);

/* Returns when every node names the new owner. */
void cluster_migrate_finish(struct cluster *cluster, int slot, int from, int to);

/* All three. */
void cluster_migrate(struct cluster *cluster, int slot, int from, int to);

/* --- nodes die --- */

/* SIGKILL is waited for; SIGSTOP makes the node silent, SIGCONT lets it speak again. */
void cluster_signal(struct cluster *cluster, int node, int signal);
void cluster_restart(struct cluster *cluster, int node);

/* Waits until the living nodes agree on a new owner for the slots master `dead` began with, and
 * say that the cluster is well. The new owner's number. */
int cluster_await_failover(struct cluster *cluster, int dead);

/* Every master names it at least as often as there are masters, in CLUSTER SLOTS. */
void cluster_await_in_slots(struct cluster *cluster, const char *word);

/* CLUSTER FAILOVER asked of a replica; returns when every node knows. */
void cluster_failover(struct cluster *cluster, int replica);

/* --- what the nodes counted --- */

/* Calls of a command (lower case) that ran, on one node, and summed over the first masters. */
long cluster_calls(const struct cluster *cluster, int node, const char *command);
long cluster_calls_of_masters(const struct cluster *cluster, const char *command);

#endif
