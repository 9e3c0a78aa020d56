#include "route/upstream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* Of one cluster, what is mirrored in the first way, in the second … */
struct identity {
    const char *cluster;
    unsigned way;
};

/* All that is known of one dialled address. */
struct routed {
    struct routed *next;
    struct cluster *cluster;
    const struct upstreams *upstreams;
    uint64_t configured; /* version of the configuration that they are of */
    struct identity *identities;
    uint16_t count;
    uint16_t port;
    char host[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all below */
static struct routed *routed;

static struct routed *find(const char *host, uint16_t port)
{
    struct routed *r = routed;

    while (r != NULL && (r->port != port || strcmp(r->host, host) != 0))
        r = r->next;
    return r;
}

static struct routed *find_or_make(const char *host, uint16_t port)
{
    struct routed *r = find(host, port);

    if (r != NULL)
        return r;
    r = calloc(1, sizeof *r + strlen(host) + 1);
    if (r == NULL)
        return NULL;
    strcpy(r->host, host);
    r->port = port;
    r->next = routed;
    routed = r;
    return r;
}

/* --- numbering --- */

/* What one version of the configuration makes of an address. */
struct draft {
    struct routed *routed;
    struct upstream *list; /* by number; room for all that there may be */
    uint16_t *stores;
    uint16_t stores_count;
    uint16_t *used; /* numbers of this version */
    uint16_t used_count;
    size_t room;
};

static bool same_mirrors(const struct config_mirror *a, const struct config_mirror *b)
{
    for (; a != NULL && b != NULL; a = a->next, b = b->next)
        if (strcmp(a->cluster->name, b->cluster->name) != 0 ||
            a->exclude_reads != b->exclude_reads || a->fraction != b->fraction)
            return false;
    return a == NULL && b == NULL;
}

static uint16_t number_of(struct draft *d, const char *cluster, unsigned way)
{
    struct routed *r = d->routed;
    uint16_t i = 0;

    while (i < r->count &&
           (r->identities[i].way != way || strcmp(r->identities[i].cluster, cluster) != 0))
        i++;
    if (i == r->count)
        r->identities[r->count++] = (struct identity){cluster, way};
    return i;
}

/* The number of the cluster with these mirrors. */
static uint16_t take(struct draft *d, const struct config_cluster *cluster,
                     struct config_mirror *mirrors, bool stores)
{
    bool asked = false, stored = false;
    unsigned way = 0;
    uint16_t number;

    for (uint16_t i = 0; i < d->used_count; i++) {
        struct upstream *u = &d->list[d->used[i]];

        if (strcmp(u->cluster->name, cluster->name) != 0)
            continue;
        if (same_mirrors(u->mirrors, mirrors))
            return d->used[i];
        asked |= u->asked;
        stored |= u->stores;
        way++;
    }
    number = number_of(d, cluster->name, way);
    d->list[number] = (struct upstream){
        .cluster = cluster, .mirrors = mirrors, .asked = !asked, .stores = stores && !stored};
    if (d->list[number].stores)
        d->stores[d->stores_count++] = number;
    d->used[d->used_count++] = number;
    return number;
}

static struct prefix take_route(struct draft *d, const struct config_route *route)
{
    struct prefix p = {.text = {route->prefix, strlen(route->prefix)},
                       .remove = route->remove_prefix,
                       .to = take(d, route->all.cluster, route->mirrors, true)};

    p.reads = p.to;
    return p;
}

/* --- making --- */

static const struct config_route *explicit_empty(const struct config_listener *l)
{
    const struct config_route *route = l->routes;

    while (route != NULL && route->prefix[0] != '\0')
        route = route->next;
    return route;
}

static size_t count_routes(const struct config_listener *l)
{
    size_t count = l->catch_all != NULL;

    for (const struct config_route *route = l->routes; route != NULL; route = route->next)
        count++;
    return count;
}

/* The catch-all's comes first: of a cluster with several upstreams, the first is asked. Those that
 * are only read from come last: of a cluster that is both, the upstream has keys. */
static size_t take_routes(struct draft *d, const struct config_listener *l, struct prefix *prefixes,
                          uint16_t *own)
{
    const struct config_route *last = l->catch_all, *route;
    size_t count = 0, i = 0;

    if (last != NULL)
        *own = take(d, last->all.cluster, last->mirrors, true);
    for (route = l->routes; route != NULL; route = route->next)
        prefixes[count++] = take_route(d, route);
    if (last == NULL)
        *own = prefixes[0].to;
    else if (explicit_empty(l) == NULL)
        prefixes[count++] = take_route(d, last);
    for (route = l->routes; route != NULL; route = route->next, i++)
        if (route->reads.cluster != NULL)
            prefixes[i].reads = take(d, route->reads.cluster, route->mirrors, false);
    if (i < count && last->reads.cluster != NULL)
        prefixes[i].reads = take(d, last->reads.cluster, last->mirrors, false);
    return count;
}

/* Those of versions before keep their places: something may still be on its way there. */
static void keep_before(struct draft *d)
{
    const struct upstreams *before = d->routed->upstreams;

    for (uint16_t i = 0; before != NULL && i < before->count; i++) {
        d->list[i] = before->list[i];
        d->list[i].asked = d->list[i].stores = false;
    }
}

static bool make_room(struct draft *d, size_t routes)
{
    struct identity *identities;

    d->room = d->routed->count + 2 * routes;
    if (d->room >= SLOT_COUNT)
        return false;
    identities = realloc(d->routed->identities, d->room * sizeof *identities);
    if (identities != NULL)
        d->routed->identities = identities;
    d->list = calloc(d->room, sizeof *d->list);
    d->stores = calloc(d->room, sizeof *d->stores);
    d->used = calloc(d->room, sizeof *d->used);
    return identities != NULL && d->list != NULL && d->stores != NULL && d->used != NULL;
}

static struct upstreams *finish(const struct draft *d, const struct prefix *prefixes, size_t count,
                                bool case_insensitive, uint16_t own)
{
    uint16_t upstreams = d->routed->count;
    struct upstreams *u = calloc(1, sizeof *u + upstreams * sizeof u->list[0]);

    if (u == NULL || (u->prefixes = prefixes_create(prefixes, count, case_insensitive)) == NULL) {
        free(u);
        return NULL;
    }
    memcpy(u->list, d->list, upstreams * sizeof u->list[0]);
    u->count = upstreams;
    u->own = own;
    u->before = d->routed->upstreams;
    u->stores = d->stores;
    u->stores_count = d->stores_count;
    return u;
}

static struct upstreams *make(struct routed *r, const struct config_listener *l)
{
    size_t routes = count_routes(l), count;
    struct prefix *prefixes = calloc(routes + 1, sizeof *prefixes);
    struct draft d = {.routed = r};
    struct upstreams *u = NULL;
    uint16_t own = 0;

    if (prefixes != NULL && make_room(&d, routes)) {
        keep_before(&d);
        count = take_routes(&d, l, prefixes, &own);
        u = finish(&d, prefixes, count, l->case_insensitive, own);
    }
    if (u == NULL)
        free(d.stores);
    free(d.list);
    free(d.used);
    free(prefixes);
    return u;
}

/* --- in force --- */

static void put_in_force(struct routed *r, const struct upstreams *u)
{
    struct topology *t = topology_of_upstreams(u, UPSTREAM_HOST, u->count);

    if (t == NULL)
        return;
    if (r->cluster == NULL)
        r->cluster = cluster_add(r->host, r->port, t);
    else
        cluster_replace(r->cluster, t);
    if (r->cluster != NULL)
        r->upstreams = u;
}

static void update(struct routed *r, const struct config *config, const struct config_listener *l)
{
    struct upstreams *u = make(r, l);

    if (u != NULL)
        put_in_force(r, u);
    else
        log_write(LOG_ERROR, "%s port %u: no room for its routes; those before stay", r->host,
                  r->port);
    r->configured = config->version;
}

struct cluster *upstreams_cluster(const char *host, uint16_t port)
{
    const struct config *config = config_get();
    const struct config_listener *l = config_listener(config, host, port);
    bool has_routes = l->cluster != NULL;
    struct cluster *cluster;
    struct routed *r;

    pthread_mutex_lock(&lock);
    r = has_routes ? find_or_make(host, port) : find(host, port);
    if (r != NULL && has_routes && r->configured < config->version)
        update(r, config, l);
    cluster = r != NULL ? r->cluster : NULL;
    pthread_mutex_unlock(&lock);
    return cluster;
}

struct upstream upstreams_find(const char *host, uint16_t port, uint16_t number)
{
    struct upstream found = {0};
    const struct routed *r;

    pthread_mutex_lock(&lock);
    r = find(host, port);
    if (r != NULL && r->upstreams != NULL && number < r->upstreams->count)
        found = r->upstreams->list[number];
    pthread_mutex_unlock(&lock);
    return found;
}

void upstreams_lock_all(void)
{
    pthread_mutex_lock(&lock);
}

void upstreams_unlock_all(void)
{
    pthread_mutex_unlock(&lock);
}
