/* What the files of a cluster know of it, and nobody else: cluster.c (its snapshot),
 * cluster_registry.c (which there are), cluster_nodes.c (how its nodes are), cluster_login.c (how
 * they are spoken to). */
#ifndef REDISROUTE_ROUTE_CLUSTER_STATE_H
#define REDISROUTE_ROUTE_CLUSTER_STATE_H

#include "route/cluster.h"

#include <pthread.h>

/* Of different users, which may be allowed different things. */
enum { CREDENTIALS_MOST = 4 };

struct fix;
struct dialled;
struct node_mark;

struct cluster_state {
    pthread_mutex_t lock; /* for everything below */
    struct topology *topology;
    struct bytes credentials[CREDENTIALS_MOST]; /* malloc'ed; the next to be used first */
    const struct config_login *logins;
    const struct config_cluster *seeds;
    struct dialled *dialled_names; /* the last one first */
    struct tls_profile *tls; /* NULL: none */
    char dialled[CLUSTER_DIALLED_SIZE];
    struct node_mark *marks;
    unsigned refreshes; /* under way */
    struct fix *fixes;
    size_t fix_count;
    size_t fix_capacity;
    struct scripts *scripts; /* these two have locks of their own */
    struct learned *learned;
    struct config_refresh refresh;
    int64_t redirects; /* since they last brought a refresh, … */
    int64_t redirected_ms; /* … and when that was */
    char name[280];          /* "HOST:PORT"; constant */
};

/* The addresses of its nodes lead to it. */
void cluster_note_nodes(struct cluster *, const struct topology *);

/* Wakes the keeper. */
void cluster_raise_alarm(void);

/* For cluster_destroy. */
void cluster_forget_nodes(struct cluster *);
void cluster_forget_logins(struct cluster *);

#endif
