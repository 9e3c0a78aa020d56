/* Which nodes of a shard may answer commands that only read. The names are Envoy's. */
#ifndef REDISROUTE_CONFIG_READ_POLICY_H
#define REDISROUTE_CONFIG_READ_POLICY_H

/* In the order of the public redisRouteReadPolicy. */
enum read_policy {
    READ_MASTER,         /* the master */
    READ_PREFER_MASTER,  /* the master; a replica while the master cannot be reached */
    READ_REPLICA,        /* a replica; an error when none can be read */
    READ_PREFER_REPLICA, /* a replica; the master when none can be read */
    READ_ANY,            /* all nodes alike */
    READ_AZ_AFFINITY,    /* a replica of our zone; else another; else the master */
    READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY, /* a replica of our zone; its master, when that is in our
                                              zone; else another replica; else the master */
    READ_POLICIES,
};

/* By name, in any case; -1: there is none such. */
int read_policy_parse(const char *name);
const char *read_policy_name(enum read_policy);

#endif
