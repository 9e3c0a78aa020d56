#include "route/topology.h"

#include "route/topology_build.h"

#include <stdlib.h>
#include <string.h>

/* One block of memory holds all of it, so that the last reference has one thing to free:
 *
 *   topology | nodes | shards | members | hosts, each with its NUL */
struct topology *topology_create(uint16_t node_count, size_t hosts_size)
{
    size_t nodes = node_count * sizeof(struct node), shards = node_count * sizeof(struct shard);
    size_t members = node_count * sizeof(uint16_t);
    struct topology *t = calloc(1, sizeof *t + nodes + shards + members + hosts_size);

    if (t == NULL)
        return NULL;
    atomic_init(&t->references, 1);
    t->node_count = node_count;
    t->hosts_size = hosts_size;
    t->nodes = (struct node *)(t + 1);
    t->shards = (struct shard *)(t->nodes + node_count);
    t->members = (uint16_t *)(t->shards + node_count);
    t->hosts = (char *)(t->members + node_count);
    memset(t->owner, 0xFF, sizeof t->owner); /* NODE_NONE */
    return t;
}

struct topology *topology_ref(struct topology *t)
{
    atomic_fetch_add_explicit(&t->references, 1, memory_order_relaxed);
    return t;
}

void topology_unref(struct topology *t)
{
    if (t != NULL && atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) == 1)
        free(t);
}

int topology_compare(struct bytes host_a, uint16_t port_a, struct bytes host_b, uint16_t port_b)
{
    size_t shorter = host_a.length < host_b.length ? host_a.length : host_b.length;
    int order = shorter ? memcmp(host_a.data, host_b.data, shorter) : 0;

    if (order != 0)
        return order;
    if (host_a.length != host_b.length)
        return host_a.length < host_b.length ? -1 : 1;
    return (int)port_a - (int)port_b;
}

/* The first node that does not come before this address: where it is, or would be. */
static uint16_t place_of(const struct topology *t, struct bytes host, uint16_t port)
{
    uint16_t low = 0, high = t->node_count;

    while (low < high) {
        uint16_t middle = (uint16_t)(low + (high - low) / 2);
        const struct node *n = &t->nodes[middle];

        if (topology_compare((struct bytes){n->host, strlen(n->host)}, n->port, host, port) < 0)
            low = (uint16_t)(middle + 1);
        else
            high = middle;
    }
    return low;
}

uint16_t topology_find(const struct topology *t, struct bytes host, uint16_t port)
{
    uint16_t at = place_of(t, host, port);
    const struct node *n = &t->nodes[at];

    if (at == t->node_count || n->port != port || strlen(n->host) != host.length ||
        memcmp(n->host, host.data, host.length) != 0)
        return NODE_NONE;
    return at;
}

/* Shards in the order of their first node. `members` is free until it is filled. */
static void number_shards(struct topology *t)
{
    uint16_t *number_of = t->members;

    t->shard_count = 0;
    for (uint16_t i = 0; i < t->node_count; i++)
        number_of[i] = NODE_NONE;
    for (uint16_t i = 0; i < t->node_count; i++) {
        uint16_t *number = &number_of[t->nodes[i].shard];

        if (*number == NODE_NONE)
            *number = t->shard_count++;
        t->nodes[i].shard = *number;
    }
}

/* Counting sort of the nodes by shard; the first place of each is its master's. */
static void fill_shards(struct topology *t)
{
    uint16_t *room = t->members;

    for (uint16_t i = 0; i < t->shard_count; i++)
        t->shards[i].count = 0;
    for (uint16_t i = 0; i < t->node_count; i++)
        t->shards[t->nodes[i].shard].count++;
    for (uint16_t i = 0; i < t->shard_count; i++) {
        t->shards[i].nodes = room;
        room += t->shards[i].count;
        t->shards[i].count = 1;
    }
    for (uint16_t i = 0; i < t->node_count; i++) {
        struct shard *shard = &t->shards[t->nodes[i].shard];
        uint16_t *members = t->members + (shard->nodes - t->members);

        members[t->nodes[i].master ? 0 : shard->count++] = i;
    }
}

static void count_slots(struct topology *t)
{
    t->owned = 0;
    for (uint16_t i = 0; i < t->node_count; i++) {
        t->nodes[i].slot_count = 0;
        t->nodes[i].first_slot = SLOT_NONE;
    }
    for (uint16_t slot = SLOT_COUNT; slot-- > 0;) {
        struct node *n;

        if (t->owner[slot] == NODE_NONE)
            continue;
        n = &t->nodes[t->owner[slot]];
        t->owned++;
        n->slot_count++;
        n->first_slot = slot;
    }
}

void topology_settle(struct topology *t)
{
    number_shards(t);
    fill_shards(t);
    count_slots(t);
}

/* The same node in the copy, when one is inserted before `gap`. NODE_NONE: none is. */
static uint16_t shifted(uint16_t node, uint16_t gap)
{
    return (uint16_t)(node + (node >= gap && node != NODE_NONE));
}

/* A copy that is not settled yet. With a gap one node more, still zero, and as many bytes
 * more of hosts as asked for. */
static struct topology *copy_with_gap(const struct topology *t, uint16_t gap, size_t hosts_room)
{
    struct topology *copy =
        topology_create((uint16_t)(t->node_count + (gap != NODE_NONE)), t->hosts_size + hosts_room);

    if (copy == NULL)
        return NULL;
    copy->upstreams = t->upstreams;
    copy->shard_count = t->shard_count;
    copy->migrating_count = t->migrating_count;
    copy->masters_only = t->masters_only;
    memcpy(copy->migrating, t->migrating, sizeof t->migrating);
    memcpy(copy->hosts, t->hosts, t->hosts_size);
    for (uint16_t i = 0; i < t->node_count; i++) {
        struct node *n = &copy->nodes[shifted(i, gap)];

        *n = t->nodes[i];
        n->host = copy->hosts + (t->nodes[i].host - t->hosts);
    }
    for (uint16_t slot = 0; slot < SLOT_COUNT; slot++)
        copy->owner[slot] = shifted(t->owner[slot], gap);
    return copy;
}

struct topology *topology_of_upstreams(const struct upstreams *upstreams, const char *host,
                                       uint16_t count)
{
    struct topology *t = topology_create(count, strlen(host) + 1);

    if (t == NULL)
        return NULL;
    t->upstreams = upstreams;
    strcpy(t->hosts, host);
    for (uint16_t i = 0; i < count; i++) {
        t->nodes[i] =
            (struct node){.host = t->hosts, .port = (uint16_t)(i + 1), .shard = i, .master = true};
        t->owner[i] = i;
    }
    topology_settle(t);
    return t;
}

struct topology *topology_copy(const struct topology *t)
{
    struct topology *copy = copy_with_gap(t, NODE_NONE, 0);

    if (copy != NULL)
        topology_settle(copy);
    return copy;
}

/* A copy with a new node, the master of a shard of its own. */
static struct topology *copy_and_add(const struct topology *t, struct bytes host, uint16_t port,
                                     uint16_t *added)
{
    uint16_t at = place_of(t, host, port);
    struct topology *copy = copy_with_gap(t, at, host.length + 1);
    char *name;

    if (copy == NULL)
        return NULL;
    name = copy->hosts + t->hosts_size;
    memcpy(name, host.data, host.length);
    copy->nodes[at] =
        (struct node){.host = name, .port = port, .shard = t->shard_count, .master = true};
    *added = at;
    return copy;
}

static void take_over(struct topology *t, uint16_t old, uint16_t node)
{
    t->nodes[old].master = false;
    for (uint16_t slot = 0; slot < SLOT_COUNT; slot++)
        if (t->owner[slot] == old)
            t->owner[slot] = node;
}

/* A replica turns out to be a master. Of another shard than the slot's: what became of its
 * own is not known, so nothing but the slot is believed to be its. */
static void promote(struct topology *t, uint16_t slot, uint16_t node)
{
    uint16_t old = t->owner[slot];

    if (old != NODE_NONE && t->nodes[old].shard == t->nodes[node].shard)
        take_over(t, old, node);
    else
        t->nodes[node].shard = t->shard_count;
    t->nodes[node].master = true;
}

static bool can_be_node(const struct topology *t, struct bytes host)
{
    return t->node_count < NODE_MAX && host.length > 0 && host.length <= NODE_HOST_MAX &&
           memchr(host.data, '\0', host.length) == NULL;
}

struct topology *topology_moved(const struct topology *t, uint16_t slot, struct bytes host,
                                uint16_t port)
{
    uint16_t node = topology_find(t, host, port);
    struct topology *copy;

    if (node == NODE_NONE && !can_be_node(t, host))
        return topology_copy(t);
    copy = node == NODE_NONE ? copy_and_add(t, host, port, &node) : copy_with_gap(t, NODE_NONE, 0);
    if (copy == NULL)
        return NULL;
    if (!copy->nodes[node].master)
        promote(copy, slot, node);
    copy->owner[slot] = node;
    topology_settle(copy);
    return copy;
}

struct topology *topology_with_migrating(const struct topology *t, uint16_t slot, bool migrating)
{
    struct topology *copy = topology_copy(t);
    uint8_t bit = (uint8_t)(1u << slot % 8);

    if (copy == NULL || topology_is_migrating(t, slot) == migrating)
        return copy;
    copy->migrating[slot / 8] ^= bit;
    copy->migrating_count = (uint16_t)(copy->migrating_count + (migrating ? 1 : -1));
    return copy;
}

static bool same_node(const struct node *a, const struct node *b)
{
    return a->port == b->port && a->master == b->master && a->shard == b->shard &&
           strcmp(a->host, b->host) == 0;
}

bool topology_same(const struct topology *a, const struct topology *b)
{
    if (a->node_count != b->node_count || a->masters_only != b->masters_only ||
        memcmp(a->owner, b->owner, sizeof a->owner) != 0)
        return false;
    for (uint16_t i = 0; i < a->node_count; i++)
        if (!same_node(&a->nodes[i], &b->nodes[i]))
            return false;
    return true;
}

static size_t votes_for(struct topology *const *views, size_t count, size_t candidate)
{
    size_t votes = 0;

    for (size_t i = 0; i < count; i++)
        votes += topology_same(views[i], views[candidate]);
    return votes;
}

size_t topology_choose(struct topology *const *views, size_t count)
{
    size_t best = 0, most = 0;

    for (size_t i = 0; i < count; i++) {
        size_t votes = votes_for(views, count, i);

        if (votes < most || (votes == most && views[i]->owned <= views[best]->owned))
            continue;
        best = i;
        most = votes;
    }
    return best;
}
