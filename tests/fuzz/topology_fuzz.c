/* Whatever a server says: a refusal in words, or a topology that keeps its promises, also
 * after everything that can be told of it later. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "route/topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static struct bytes host_of(const struct topology *t, uint16_t node)
{
    return (struct bytes){t->nodes[node].host, strlen(t->nodes[node].host)};
}

static void check_shards(const struct topology *t)
{
    unsigned members = 0;

    for (uint16_t i = 0; i < t->shard_count; i++) {
        must(t->shards[i].count > 0);
        for (uint16_t j = 0; j < t->shards[i].count; j++) {
            uint16_t node = t->shards[i].nodes[j];

            must(node < t->node_count && t->nodes[node].shard == i);
            must(t->nodes[node].master == (j == 0));
        }
        members += t->shards[i].count;
    }
    must(members == t->node_count);
}

static void check(const struct topology *t)
{
    unsigned owned = 0;

    for (uint16_t i = 0; i < t->node_count; i++)
        must(topology_find(t, host_of(t, i), t->nodes[i].port) == i);
    for (uint16_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (t->owner[slot] == NODE_NONE)
            continue;
        owned++;
        must(t->owner[slot] < t->node_count && t->nodes[t->owner[slot]].master);
        must(t->nodes[t->owner[slot]].first_slot <= slot);
    }
    must(owned == t->owned);
    check_shards(t);
}

static void move(const struct topology *t, uint16_t slot, struct bytes host, uint16_t port)
{
    struct topology *moved = topology_moved(t, slot, host, port);
    uint16_t node;

    must(moved != NULL);
    check(moved);
    node = topology_find(moved, host, port);
    must(node == NODE_NONE || moved->owner[slot] == node);
    topology_unref(moved);
}

/* The bytes as what a node says of others. */
static void add_members(struct topology *t, const uint8_t *bytes, size_t size)
{
    struct bytes text = {(const char *)bytes, size};
    struct topology *whole = topology_with_members(t, text, "asked");

    must(whole != NULL);
    check(whole);
    must(whole->owned == t->owned && whole->node_count >= t->node_count);
    topology_unref(whole);
}

/* … of a master that has all slots. */
static void add_members_to_one(const uint8_t *bytes, size_t size)
{
    static const char one[] = "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$1\r\nh\r\n:1\r\n$1\r\nm\r\n";
    char why[64];
    struct topology *t = topology_parse(one, sizeof one - 1, "asked", 7000, why, sizeof why);

    must(t != NULL);
    add_members(t, bytes, size);
    topology_unref(t);
}

static void check_all(const struct topology *t, const uint8_t *bytes, size_t size)
{
    uint16_t slot = (uint16_t)((size * 31 + bytes[size / 2]) % SLOT_COUNT);
    struct topology *copy = topology_copy(t);

    check(t);
    must(copy != NULL && topology_same(copy, t));
    topology_unref(copy);
    for (uint16_t i = 0; i < t->node_count && i < 8; i++)
        move(t, slot, host_of(t, i), t->nodes[i].port);
    move(t, slot, (struct bytes){(const char *)bytes, size % 8}, 6379);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char why[128] = "";
    struct topology *t = topology_parse((const char *)bytes, size, "asked", 7000, why, sizeof why);

    must((t == NULL) == (why[0] != '\0'));
    if (t != NULL) {
        check_all(t, bytes, size);
        add_members(t, bytes, size);
    }
    topology_unref(t);
    add_members_to_one(bytes, size);
    return 0;
}
