#include "route/cluster_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An address that was dialled, or that a snapshot named. */
struct address {
    struct address *next;
    struct cluster *cluster; /* NULL: plain, until plain_until_ms */
    int64_t plain_until_ms;
    uint16_t port;
    bool secure;
    char host[];
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER; /* for the two lists */
static struct cluster *clusters;
static struct address *addresses;

static struct address *find_address(const char *host, uint16_t port, bool secure)
{
    struct address *a = addresses;

    while (a != NULL && (a->port != port || a->secure != secure || strcmp(a->host, host) != 0))
        a = a->next;
    return a;
}

static struct address *note_address(const char *host, uint16_t port, bool secure)
{
    struct address *a = find_address(host, port, secure);

    if (a != NULL)
        return a;
    a = malloc(sizeof *a + strlen(host) + 1);
    if (a == NULL)
        return NULL;
    *a = (struct address){.next = addresses, .port = port, .secure = secure};
    strcpy(a->host, host);
    addresses = a;
    return a;
}

static void set_name(struct cluster *c, const char *host, uint16_t port)
{
    bool is_ipv6 = strchr(host, ':') != NULL;

    snprintf(c->state->name, sizeof c->state->name, "%s%s%s:%u", is_ipv6 ? "[" : "", host,
             is_ipv6 ? "]" : "", port);
}

struct cluster *cluster_find(const char *host, uint16_t port, bool secure)
{
    struct address *a;
    struct cluster *c;

    pthread_mutex_lock(&registry_lock);
    a = find_address(host, port, secure);
    c = a ? a->cluster : NULL;
    pthread_mutex_unlock(&registry_lock);
    return c;
}

static struct cluster *known_by_a_node(const struct topology *t, bool secure)
{
    for (uint16_t i = 0; i < t->node_count; i++) {
        const struct address *a = find_address(t->nodes[i].host, t->nodes[i].port, secure);

        if (a != NULL && a->cluster != NULL)
            return a->cluster;
    }
    return NULL;
}

static void note_nodes(struct cluster *c, const struct topology *t)
{
    for (uint16_t i = 0; i < t->node_count; i++) {
        struct address *a = note_address(t->nodes[i].host, t->nodes[i].port, c->secure);

        if (a != NULL)
            a->cluster = c;
    }
}

struct cluster *cluster_learn(const char *host, uint16_t port, bool secure,
                              struct topology *topology)
{
    struct address *dialled;
    struct cluster *c;

    pthread_mutex_lock(&registry_lock);
    c = known_by_a_node(topology, secure);
    if (c != NULL) {
        topology_unref(topology);
    } else if ((c = cluster_create(topology)) == NULL) {
        topology_unref(topology);
    } else {
        c->secure = secure;
        set_name(c, host, port);
        c->next = clusters;
        clusters = c;
        note_nodes(c, topology);
    }
    dialled = c ? note_address(host, port, secure) : NULL;
    if (dialled != NULL)
        dialled->cluster = c;
    pthread_mutex_unlock(&registry_lock);
    return c;
}

struct cluster *cluster_add(const char *host, uint16_t port, struct topology *topology)
{
    struct cluster *c = cluster_create(topology);

    if (c == NULL) {
        topology_unref(topology);
        return NULL;
    }
    set_name(c, host, port);
    atomic_store(&c->single, true);
    pthread_mutex_lock(&registry_lock);
    c->next = clusters;
    clusters = c;
    pthread_mutex_unlock(&registry_lock);
    return c;
}

void cluster_learn_plain(const char *host, uint16_t port, bool secure, int64_t now_ms)
{
    struct address *a;

    pthread_mutex_lock(&registry_lock);
    a = note_address(host, port, secure);
    if (a != NULL && a->cluster == NULL)
        a->plain_until_ms = now_ms + CLUSTER_PLAIN_MS;
    pthread_mutex_unlock(&registry_lock);
}

bool cluster_is_plain(const char *host, uint16_t port, bool secure, int64_t now_ms)
{
    const struct address *a;
    bool plain;

    pthread_mutex_lock(&registry_lock);
    a = find_address(host, port, secure);
    plain = a != NULL && a->cluster == NULL && now_ms < a->plain_until_ms;
    pthread_mutex_unlock(&registry_lock);
    return plain;
}

void cluster_note_nodes(struct cluster *c, const struct topology *t)
{
    pthread_mutex_lock(&registry_lock);
    note_nodes(c, t);
    pthread_mutex_unlock(&registry_lock);
}

struct cluster *cluster_first(void)
{
    struct cluster *c;

    pthread_mutex_lock(&registry_lock);
    c = clusters;
    pthread_mutex_unlock(&registry_lock);
    return c;
}

void cluster_lock_all(void)
{
    pthread_mutex_lock(&registry_lock);
    for (struct cluster *c = clusters; c != NULL; c = c->next) {
        pthread_mutex_lock(&c->state->lock);
        scripts_lock(c->state->scripts);
        learned_lock(c->state->learned);
    }
}

void cluster_unlock_all(void)
{
    for (struct cluster *c = clusters; c != NULL; c = c->next) {
        learned_unlock(c->state->learned);
        scripts_unlock(c->state->scripts);
        pthread_mutex_unlock(&c->state->lock);
    }
    pthread_mutex_unlock(&registry_lock);
}
