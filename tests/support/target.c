#define _GNU_SOURCE
#include "target.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster.h"
#include "die.h"
#include "server.h"

static struct server *plain;
static struct cluster *cluster;

int target_count(void)
{
    return getenv("REDISROUTE_TEST_PLAIN") ? TARGET_CLUSTER : TARGET_CLUSTER + 1;
}

void target_setup(void)
{
    plain = server_start(NULL);
    if (target_count() > TARGET_CLUSTER)
        cluster = cluster_start(NULL);
}

void target_teardown(void)
{
    server_stop(plain);
    cluster_stop(cluster);
    plain = NULL;
    cluster = NULL;
}

int target_port(int target)
{
    return target == TARGET_PLAIN ? server_port(plain) : cluster_port(cluster, 0);
}

struct cluster *target_cluster(void)
{
    return cluster;
}

void target_flush(int target)
{
    if (target == TARGET_PLAIN)
        free(server_command(plain, "FLUSHALL"));
    for (int i = 0; target == TARGET_CLUSTER && i < cluster_masters(cluster); i++)
        free(cluster_command(cluster, i, "FLUSHALL"));
}

char *target_look(int target, const char *key, const char *format, ...)
{
    char *command;
    va_list args;
    va_start(args, format);
    MUST(vasprintf(&command, format, args) >= 0);
    va_end(args);
    struct server *server = plain;
    if (target == TARGET_CLUSTER)
        server = cluster_server(cluster, cluster_owner_of_slot(cluster, 0, cluster_slot(key)));
    char *reply = server_command(server, "%s", command);
    free(command);
    return reply;
}

redisContext *connect_port(int port)
{
    redisContext *c = redisConnect("127.0.0.1", port);
    ck_assert_ptr_nonnull(c);
    ck_assert_msg(!c->err, "redisConnect: %s", c->errstr);
    return c;
}

redisContext *connect_target(int target)
{
    return connect_port(target_port(target));
}
