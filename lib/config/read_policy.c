#include "config/read_policy.h"

#include <strings.h>

static const char *const names[] = {
    [READ_MASTER] = "MASTER",
    [READ_PREFER_MASTER] = "PREFER_MASTER",
    [READ_REPLICA] = "REPLICA",
    [READ_PREFER_REPLICA] = "PREFER_REPLICA",
    [READ_ANY] = "ANY",
    [READ_AZ_AFFINITY] = "AZ_AFFINITY",
    [READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY] = "AZ_AFFINITY_REPLICAS_AND_PRIMARY",
};

int read_policy_parse(const char *name)
{
    for (int i = 0; i < READ_POLICIES; i++)
        if (strcasecmp(names[i], name) == 0)
            return i;
    return -1;
}

const char *read_policy_name(enum read_policy policy)
{
    return names[policy];
}
