/* CLUSTER SLOTS leaves out replicas that have not received a write yet. CLUSTER NODES has them, but
 * says every address in all its forms, of which the cluster prefers one. */
#include "route/members.h"
#include "route/topology.h"
#include "route/topology_build.h"

#include <stdlib.h>
#include <string.h>

/* How CLUSTER SLOTS names nodes. */
enum form { FORM_ADDRESS, FORM_NAME, FORM_ASKED };

struct addition {
    struct bytes host;
    struct bytes id;
    uint16_t port;
    uint16_t master; /* index in the snapshot */
};

struct additions {
    const struct topology *t;
    struct bytes asked_host;
    enum form form;
    struct addition *list;
    size_t count;
    size_t capacity;
};

/* A member is named as the first master is that has slots. */
static enum form form_of(const struct topology *t, struct bytes text)
{
    struct member m;

    while (members_next(&text, &m)) {
        if (m.replica)
            continue;
        if (topology_find(t, m.host, m.port) != NODE_NONE)
            return FORM_ADDRESS;
        if (m.name.length > 0 && topology_find(t, m.name, m.port) != NODE_NONE)
            return FORM_NAME;
    }
    return FORM_ASKED;
}

static struct bytes host_of(const struct additions *a, const struct member *m)
{
    struct bytes host = a->form == FORM_ADDRESS ? m->host
                        : a->form == FORM_NAME  ? m->name
                                                : a->asked_host;

    return host.length > 0 ? host : a->asked_host;
}

static uint16_t find_by_id(const struct topology *t, struct bytes id)
{
    for (uint16_t i = 0; i < t->node_count; i++)
        if (id.length > 0 && strlen(t->nodes[i].id) == id.length &&
            memcmp(t->nodes[i].id, id.data, id.length) == 0)
            return i;
    return NODE_NONE;
}

static bool is_listed(const struct additions *a, struct bytes host, uint16_t port)
{
    if (topology_find(a->t, host, port) != NODE_NONE)
        return true;
    for (size_t i = 0; i < a->count; i++)
        if (topology_compare(a->list[i].host, a->list[i].port, host, port) == 0)
            return true;
    return false;
}

/* False: out of memory. */
static bool add(struct additions *a, const struct member *m)
{
    struct bytes host = host_of(a, m);
    uint16_t master;

    if (!m->replica || m->failed || m->absent || m->port == 0 || host.length == 0 ||
        host.length > NODE_HOST_MAX || memchr(host.data, '\0', host.length) != NULL ||
        is_listed(a, host, m->port) || (master = find_by_id(a->t, m->master)) == NODE_NONE ||
        !a->t->nodes[master].master || a->t->node_count + a->count >= NODE_MAX)
        return true;
    if (a->count == a->capacity) {
        size_t capacity = a->capacity ? 2 * a->capacity : 8;
        struct addition *list = realloc(a->list, capacity * sizeof *list);

        if (list == NULL)
            return false;
        a->list = list;
        a->capacity = capacity;
    }
    a->list[a->count++] = (struct addition){host, m->id, m->port, master};
    return true;
}

/* --- the new snapshot --- */

/* A node on its way to its place. */
struct moved {
    struct node node;
    uint16_t before; /* its index; NODE_NONE: it is new */
};

static int by_address(const void *a, const void *b)
{
    const struct node *x = &((const struct moved *)a)->node, *y = &((const struct moved *)b)->node;

    return topology_compare((struct bytes){x->host, strlen(x->host)}, x->port,
                            (struct bytes){y->host, strlen(y->host)}, y->port);
}

static struct node node_of(const struct additions *a, const struct addition *addition, char *host)
{
    struct node node = {.host = host,
                        .port = addition->port,
                        .shard = a->t->nodes[addition->master].shard};

    memcpy(host, addition->host.data, addition->host.length);
    if (addition->id.length < NODE_ID_SIZE)
        memcpy(node.id, addition->id.data, addition->id.length);
    return node;
}

static void collect(const struct additions *a, struct topology *to, struct moved *moved)
{
    const struct topology *t = a->t;
    char *room = to->hosts + t->hosts_size;

    memcpy(to->hosts, t->hosts, t->hosts_size);
    for (uint16_t i = 0; i < t->node_count; i++) {
        moved[i] = (struct moved){t->nodes[i], i};
        moved[i].node.host = to->hosts + (t->nodes[i].host - t->hosts);
    }
    for (size_t i = 0; i < a->count; i++) {
        moved[t->node_count + i] = (struct moved){node_of(a, &a->list[i], room), NODE_NONE};
        room += a->list[i].host.length + 1;
    }
}

static void put_in_place(const struct topology *t, struct topology *to, const struct moved *moved,
                         uint16_t *place_of)
{
    for (uint16_t i = 0; i < to->node_count; i++) {
        to->nodes[i] = moved[i].node;
        if (moved[i].before != NODE_NONE)
            place_of[moved[i].before] = i;
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++)
        if (t->owner[slot] != NODE_NONE)
            to->owner[slot] = place_of[t->owner[slot]];
    memcpy(to->migrating, t->migrating, sizeof t->migrating);
    to->migrating_count = t->migrating_count;
    topology_settle(to);
}

static struct topology *build(const struct additions *a)
{
    size_t hosts_size = a->t->hosts_size, count = a->t->node_count + a->count;
    struct moved *moved = calloc(count, sizeof *moved);
    uint16_t *place_of = calloc(count, sizeof *place_of);
    struct topology *to = NULL;

    for (size_t i = 0; i < a->count; i++)
        hosts_size += a->list[i].host.length + 1;
    if (moved != NULL && place_of != NULL)
        to = topology_create((uint16_t)count, hosts_size);
    if (to != NULL) {
        collect(a, to, moved);
        qsort(moved, count, sizeof *moved, by_address);
        put_in_place(a->t, to, moved, place_of);
    }
    free(moved);
    free(place_of);
    return to;
}

struct topology *topology_with_members(struct topology *t, struct bytes text,
                                       const char *asked_host)
{
    struct additions a = {.t = t, .asked_host = {asked_host, strlen(asked_host)},
                          .form = form_of(t, text)};
    struct topology *result = NULL;
    struct member m;
    bool ok = true;

    while (ok && members_next(&text, &m))
        ok = add(&a, &m);
    if (ok)
        result = a.count > 0 ? build(&a) : topology_ref(t);
    free(a.list);
    return result;
}

bool topology_lacks_replicas(const struct topology *t)
{
    for (uint16_t i = 0; i < t->shard_count; i++)
        if (t->shards[i].count == 1)
            return true;
    return false;
}
