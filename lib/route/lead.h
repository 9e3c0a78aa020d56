/* Leads: where the endpoints lead that a version of the configuration names for a cluster, or,
 * where it names none, where the dialled address itself leads. The keeper asks there
 * (keeper/scout.h) as soon as the version is in force, so that sessions which are open learn
 * whether they are to go elsewhere, and need not ask: an endpoint may be one more of the same
 * cluster.
 *
 * Thread-safe. What a lead is of (a struct config_cluster) stays as long as the process, and so do
 * leads. */
#ifndef REDISROUTE_ROUTE_LEAD_H
#define REDISROUTE_ROUTE_LEAD_H

#include "config/config.h"
#include "route/cluster.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Who answered there. */
struct lead_end {
    struct cluster *cluster; /* NULL: a server that is no cluster, or does not say what it is */
    struct sockaddr_storage address;
    socklen_t length;
    const char *name; /* of the endpoint, as it was configured; NULL: the dialled address */
};

/* The same endpoints in the same order, whatever their cluster is called; NULL: the dialled
 * address. */
bool lead_is_same(const struct config_cluster *, const struct config_cluster *);

/* Where the cluster's endpoints lead; those of NULL are the address that was dialled. False: nobody
 * has answered there yet; it is asked about from now on, and sessions look again
 * (cluster_config_changed) when somebody has. */
bool lead_find(const struct config_cluster *, const char *dialled_host, uint16_t dialled_port,
               struct lead_end *);
/* It will be asked for. */
void lead_want(const struct config_cluster *, const char *dialled_host, uint16_t dialled_port);

/* A session was made for that address: whatever its listener leads to is of interest. */
void lead_note_dialled(const char *host, uint16_t port);
/* Those addresses, one behind the other; NULL begins. They stay as long as the process. */
struct lead_dialled {
    const struct lead_dialled *next;
    uint16_t port;
    char host[46];
};
const struct lead_dialled *lead_next_dialled(const struct lead_dialled *);

/* What the keeper is to find out: those of the configuration in force that nobody has answered for,
 * one behind the other; NULL begins. */
struct lead *lead_next_wanted(struct lead *);
/* Its endpoints: their number, and one of them. */
int lead_endpoint_count(const struct lead *);
struct config_address lead_endpoint(const struct lead *, int);
/* What is said to them first, and how. The configuration's own. */
const struct config_login *lead_logins(const struct lead *);
struct tls_profile *lead_tls(const struct lead *);
void lead_found(struct lead *, const struct lead_end *);

/* Called when something new is wanted, by any thread. */
void lead_set_alarm(void (*alarm)(void));

/* Held by the thread that forks, so that the child finds no lock taken. */
void lead_lock_all(void);
void lead_unlock_all(void);

#endif
