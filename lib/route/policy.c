#include "route/policy.h"

#include <stdbool.h>

enum { TIERS_MAX = 4 };

/* Nodes whose traits, seen through the mask, are those that are wanted. */
struct tier {
    uint8_t mask; /* 0 ends the list */
    uint8_t wanted;
};

enum {
    M = POLICY_MASTER,
    F = POLICY_FIT,
    L = POLICY_LOCAL,
};

#define FIT_MASTER {M | F, M | F}
#define FIT_REPLICA {M | F, F}
#define FIT_NODE {F, F}
#define LOCAL_REPLICA {M | F | L, F | L}
#define LOCAL_MASTER {M | F | L, M | F | L}
#define THE_MASTER {M, M}

/* The first tier that has a node decides. */
static const struct tier tiers_of[READ_POLICIES][TIERS_MAX + 1] = {
    [READ_MASTER] = {THE_MASTER},
    [READ_PREFER_MASTER] = {FIT_MASTER, FIT_REPLICA, THE_MASTER},
    [READ_REPLICA] = {FIT_REPLICA},
    [READ_PREFER_REPLICA] = {FIT_REPLICA, THE_MASTER},
    [READ_ANY] = {FIT_NODE, THE_MASTER},
    [READ_AZ_AFFINITY] = {LOCAL_REPLICA, FIT_REPLICA, THE_MASTER},
    [READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY] = {LOCAL_REPLICA, LOCAL_MASTER, FIT_REPLICA,
                                               THE_MASTER},
};

static bool belongs(const struct tier *tier, uint8_t traits)
{
    return (traits & tier->mask) == tier->wanted;
}

static uint32_t count_of(const struct tier *tier, const uint8_t *traits, uint16_t count)
{
    uint32_t found = 0;

    for (uint16_t i = 0; i < count; i++)
        found += belongs(tier, traits[i]);
    return found;
}

static int nth_of(const struct tier *tier, const uint8_t *traits, uint16_t count, uint32_t n)
{
    for (uint16_t i = 0; i < count; i++)
        if (belongs(tier, traits[i]) && n-- == 0)
            return i;
    return -1;
}

int policy_choose(enum read_policy policy, const uint8_t *traits, uint16_t count, uint32_t turn)
{
    for (const struct tier *tier = tiers_of[policy]; tier->mask != 0; tier++) {
        uint32_t found = count_of(tier, traits, count);

        if (found > 0)
            return nth_of(tier, traits, count, turn % found);
    }
    return -1;
}
